"""The exceptions that Lamina raises, each with code that raises it and the way to fix it.

Every class derives from :class:`LaminaError` and from the built-in exception that fits
(``ValueError``, ``TypeError``, ...), so ``except lamina.errors.ShapeError`` and ``except
ValueError`` both catch it. The docstring of each class shows code that fails and how to fix it.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from typing import Any, Self

# Number of characters that a message shows of one part.
_LONGEST = 6000


class LaminaError(Exception):
    """Base of every exception that Lamina raises on purpose.

    >>> import lamina
    >>> try:
    ...     lamina.layers.Dense(-3)
    ... except lamina.errors.LaminaError as e:
    ...     print(e)
    Dense(): `units`: expected a positive integer. Received: -3.

    The parts of a message are attributes, for programs that format errors themselves:

    >>> try:
    ...     lamina.layers.LSTM(8)(lamina.Input((4,), name="features"))
    ... except lamina.errors.LaminaError as e:
    ...     print(e.expected, "|", e.received, "|", e.layer)
    3 axes, (batch, time, features) | (batch, 4) float32 | lstm

    Attributes:
        subject: What happened, and to what.
        expected: What was expected; None if ``subject`` says it.
        received: What was received instead; None if ``subject`` says it.
        cure: How to fix it, or "".
        path: The layers between an input of the graph and the error, one entry for each tensor.
        location: ``file:line`` of the user's call, or "".
        layer: The name of the layer in which the error occurred, or "".
    """

    def __init__(
        self, subject: object = "", *, expected: object = None, received: object = None,
        cure: str = "", path: Sequence[str] = (), location: str = "", layer: str = "",
    ) -> None:  # fmt: skip
        super().__init__(subject)
        self.subject = subject
        self.expected, self.received, self.cure = expected, received, cure
        self.path, self.location, self.layer = tuple(path), location, layer

    def __str__(self) -> str:
        lines = [_clipped(self.subject)]
        if self.expected is not None:
            lines.append(f"  expected: {_clipped(self.expected)}")
        if self.received is not None:
            lines.append(f"  received: {_clipped(self.received)}")
        if self.cure:
            lines.append(self.cure)
        for i, path in enumerate(self.path):
            lines.append(("  path from the inputs: " if i == 0 else " " * 24) + path)
        if self.location:
            lines.append(f"  called at: {self.location}")
        return "\n".join(lines)

    def with_details(self, where: str = "", **details: Any) -> Self:
        """A copy of the error with more details.

        Args:
            where: Where the error occurred; prepended to ``subject``.
            details: Attributes to set unless they are already set.
        """
        error = copy.copy(self)
        if where:
            error.subject = f"{where}: {self.subject}"
        for name, value in details.items():
            if getattr(error, name) in (None, "", ()):
                setattr(error, name, value)
        return error


class ShapeError(LaminaError, ValueError):
    """Incompatible shapes: of a layer's input, of branches to merge, of targets and outputs.

    >>> import lamina
    >>> image = lamina.Input((32, 32, 3), name="image")
    >>> lamina.layers.LSTM(8, name="lstm")(image)
    Traceback (most recent call last):
    ...
    lamina.errors.ShapeError: Layer 'lstm' (LSTM) cannot take this input.
      expected: 3 axes, (batch, time, features)
      received: (batch, 32, 32, 3) float32
    ...

    Fix: give the layer the axes that it expects, here one row of the image for each time step:

    >>> rows = lamina.layers.Reshape((32, 96))(image)
    >>> lamina.layers.LSTM(8)(rows).shape
    (None, 8)
    """


class DTypeError(LaminaError, TypeError):
    """A value of a dtype or type that cannot be used, such as text for a numeric input.

    >>> import lamina
    >>> import numpy as np
    >>> inputs = lamina.Input((2,))
    >>> model = lamina.Model(inputs, lamina.layers.Dense(1)(inputs))
    >>> model.predict(np.array([["red", "large"]]), verbose=0)
    Traceback (most recent call last):
    ...
    lamina.errors.DTypeError: Data for a model is numbers. ...

    Fix: convert text to numbers first, for example with a vocabulary:

    >>> words = {"red": 0, "blue": 1, "small": 2, "large": 3}
    >>> model.predict(np.array([[words["red"], words["large"]]]), verbose=0).shape
    (1, 1)
    """


class StructureError(LaminaError, ValueError):
    """Inputs, targets or weights whose nesting or names differ from those of the model.

    >>> import lamina
    >>> import numpy as np
    >>> title, body = lamina.Input((2,)), lamina.Input((2,))
    >>> model = lamina.Model({"title": title, "body": body}, title + body)
    >>> x = np.ones((1, 2))
    >>> model({"title": x})
    Traceback (most recent call last):
    ...
    lamina.errors.StructureError: The input data has no entry for ['body']. ...

    Fix: pass one entry for each name:

    >>> model({"title": x, "body": x}).tolist()
    [[2.0, 2.0]]
    """


class ArgumentError(LaminaError, ValueError):
    """An argument with a value that the function does not accept.

    >>> import lamina
    >>> lamina.layers.Dropout(50)
    Traceback (most recent call last):
    ...
    lamina.errors.ArgumentError: Dropout(): `rate`: expected a number in [0, 1]. Received: 50.

    Fix: the message says which values the argument accepts and which one it received:

    >>> lamina.layers.Dropout(0.5).rate
    0.5
    """


class SignatureError(LaminaError, TypeError):
    """An unknown or a missing argument of a constructor or a call.

    >>> import lamina
    >>> left, right = lamina.Input((2,)), lamina.Input((3,))
    >>> lamina.layers.Concatenate(name="join")(left, right)
    Traceback (most recent call last):
    ...
    lamina.errors.SignatureError: Layer 'join' (Concatenate) was called with wrong arguments: ...

    Fix: the message shows which arguments the call takes, here one list of tensors:

    >>> lamina.layers.Concatenate()([left, right]).shape
    (None, 5)
    """


class UnknownNameError(LaminaError, ValueError):
    """An unknown name of a loss, metric, optimizer, activation, layer or output.

    >>> import lamina
    >>> lamina.losses.get("mean_square_error")
    Traceback (most recent call last):
    ...
    lamina.errors.UnknownNameError: Unknown loss: 'mean_square_error'. Did you mean ...?

    Fix: the message lists the closest known names:

    >>> lamina.losses.get("mean_squared_error").__name__
    'mean_squared_error'
    """


class GraphError(LaminaError, ValueError):
    """A graph that is not a valid model: a disconnected output, or a layer that is not called.

    >>> import lamina
    >>> a, b = lamina.Input((4,), name="a"), lamina.Input((4,), name="b")
    >>> y = lamina.layers.Dense(1)(lamina.layers.add([a, b]))
    >>> lamina.Model(a, y)
    Traceback (most recent call last):
    ...
    lamina.errors.GraphError: The outputs depend on the input 'b', which is not among the ...

    Fix: list every ``Input`` that the outputs are computed from:

    >>> lamina.Model([a, b], y).output_shape
    (None, 1)
    """


class SymbolicTensorError(LaminaError, TypeError):
    """A symbolic tensor used where values are needed: ``if x > 0``, ``float(x)``, ``numpy(x)``.

    A symbolic tensor has a shape and a dtype but no values.

    >>> import lamina
    >>> x = lamina.Input((4,))
    >>> y = x if lamina.ops.sum(x) > 0 else -x
    Traceback (most recent call last):
    ...
    lamina.errors.SymbolicTensorError: A Python condition (`if`, ...) needs concrete values. ...

    Fix: use an op, or call the finished model on an array:

    >>> lamina.ops.where(lamina.ops.sum(x) > 0, x, -x).shape
    (None, 4)
    """


class NotBuiltError(LaminaError, ValueError, AttributeError):
    """Weights, shapes or a file requested from a layer or model that has not been built.

    It is an ``AttributeError`` too, so that ``hasattr(model, "output")`` is False.

    >>> import lamina
    >>> lamina.Sequential([lamina.layers.Dense(3)], name="net").count_params()
    Traceback (most recent call last):
    ...
    lamina.errors.NotBuiltError: Layer 'net' has no weights yet: ...

    Fix: start with an ``Input``, or call ``model.build((None, 4))`` or the model once:

    >>> lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3)]).count_params()
    15
    """


class NotCompiledError(LaminaError, RuntimeError):
    """Training or evaluation of a model that has not been compiled.

    >>> import lamina
    >>> import numpy as np
    >>> model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(1)], name="net")
    >>> model.evaluate(np.ones((2, 4)), np.ones(2))
    Traceback (most recent call last):
    ...
    lamina.errors.NotCompiledError: Model 'net' is not compiled yet. ...

    Fix: compile before ``fit`` or ``evaluate``:

    >>> model.compile(optimizer="adam", loss="mse")
    >>> model.evaluate(np.ones((2, 4)), np.ones(2), verbose=0) >= 0
    True
    """


class DataError(LaminaError, ValueError):
    """Data that does not form a batch, or values out of range, such as an index of no class.

    >>> import lamina
    >>> import numpy as np
    >>> words = lamina.Input((2,), dtype="int32", name="words")
    >>> model = lamina.Model(words, lamina.layers.Embedding(10, 3, name="table")(words))
    >>> model.predict(np.array([[1, 10]]), verbose=0)
    Traceback (most recent call last):
    ...
    lamina.errors.DataError: Input 'words' contains indices that are out of range for layer 'table'
    (Embedding).
      expected: integers from 0 to 9, because of input_dim=10
      received: numbers from 1 to 10
    ...

    Fix: as the message says, here ``Embedding(11, 3)``, or numbers below 10:

    >>> model.predict(np.array([[1, 9]]), verbose=0).shape
    (1, 2, 3)
    """


class NonFiniteError(LaminaError, FloatingPointError):
    """A training step with ``check_nans=True`` whose loss or new weights are NaN or infinite.

    >>> import lamina
    >>> import numpy as np
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> model.fit(np.array([[np.nan]]), np.ones(1), verbose=0, check_nans=True)
    Traceback (most recent call last):
    ...
    lamina.errors.NonFiniteError: ...

    Fix: the message names the first non-finite value: the data, a layer, the loss or a gradient.
    """


class StateError(LaminaError, RuntimeError):
    """An assignment to a variable that would be lost, as inside your own ``jax.jit``.

    >>> import jax
    >>> import lamina
    >>> import numpy as np
    >>> norm, x = lamina.layers.BatchNormalization(), np.ones((2, 3), "float32")
    >>> norm.build((None, 3))
    >>> jax.jit(lambda x: norm(x, training=True))(x)
    Traceback (most recent call last):
    ...
    lamina.errors.StateError: ...

    Fix: use the stateless form of the call, which returns the new values:

    >>> values = [[v.value for v in norm.weights if v.trainable == t] for t in (True, False)]
    >>> y, moved = jax.jit(lambda x: norm.stateless_call(*values, x, training=True))(x)
    >>> [m.shape for m in moved]
    [(3,), (3,)]
    """


class SerializationError(LaminaError, ValueError):
    """An object that cannot be serialized, or a config that names an unknown class.

    >>> import lamina
    >>> class Twice(lamina.Layer):
    ...     def call(self, inputs):
    ...         return inputs * 2
    >>> record = lamina.saving.serialize_keras_object(Twice(name="twice"))
    >>> lamina.saving.deserialize_keras_object(record)
    Traceback (most recent call last):
    ...
    lamina.errors.SerializationError: The config names class 'Twice' ...

    Fix: pass the class, or register it with ``lamina.saving.register_serializable``:

    >>> lamina.saving.deserialize_keras_object(record, custom_objects={"Twice": Twice}).name
    'twice'
    """

    @classmethod
    def damaged(cls, what: str, e: Exception) -> SerializationError:
        """An error for data that is not what its format says; ``what`` contains the verb."""
        reason = f"{e} is missing" if isinstance(e, KeyError) else repr(e)
        return cls(f"{what} damaged: {reason}.")


class UnsafeFileError(LaminaError, ValueError):
    """A file that contains more than data: code, links, paths outside, content of other files.

    >>> import pathlib, tempfile
    >>> import h5py
    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.weights.h5")
    ...     with h5py.File(path, "w") as file:
    ...         file["layers"] = h5py.ExternalLink("private.h5", "/")
    ...     model.load_weights(path)
    Traceback (most recent call last):
    ...
    lamina.errors.UnsafeFileError: ...'layers' is a link to another object or file. ...

    Fix: none; ask the author of the file.
    """


class CorruptFileError(LaminaError, ValueError):
    """A file that is truncated, altered, or not of the format that its suffix says.

    >>> import pathlib, tempfile
    >>> import lamina
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.keras")
    ...     _ = path.write_bytes(b"half a download")
    ...     lamina.saving.load_model(path)
    Traceback (most recent call last):
    ...
    lamina.errors.CorruptFileError: ...

    Fix: download or save the file again. Lamina writes files atomically: never a part of one.
    """


class DownloadError(LaminaError, OSError):
    """A download that failed: no network, a refused address, a wrong digest, too many bytes.

    >>> import tempfile
    >>> import lamina
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lamina.utils.get_file("cats.zip", "http://localhost:9/cats.zip", cache_dir=folder)
    Traceback (most recent call last):
    ...
    lamina.errors.DownloadError: ...

    Fix: the message gives the reason; a file that is already in the cache needs no download.
    """


class AbsentNameError(LaminaError, AttributeError):
    """A name of Keras that Lamina does not have, asked of ``keras`` where that means Lamina.

    Where ``python -m lamina run`` or :func:`lamina.alias_keras` lets ``import keras`` find Lamina::

        import keras

        keras.layers.Dens(3)
        # AbsentNameError: keras.layers.Dens: neither Keras 3.15.0 nor Lamina has it.
        # Did you mean `keras.layers.Dense`?

    Fix: the message gives the nearest names, or what to use instead.
    """


class AbsentModuleError(LaminaError, ImportError):
    """An import of Keras that Lamina cannot answer, where ``keras`` means Lamina.

    Where ``python -m lamina run`` or :func:`lamina.alias_keras` lets ``import keras`` find Lamina::

        from keras.layers import TorchModuleWrapper
        # AbsentModuleError: keras.layers.TorchModuleWrapper: Lamina does not have it.
        # It runs PyTorch modules, and Lamina runs on JAX alone.

    Fix: the message gives the nearest names, or what to use instead.
    """


class MissingPackageError(LaminaError, ImportError):
    """A feature that needs an optional package, which is not installed.

    >>> from lamina.runtime.optional import load
    >>> load("not_installed", "NotBuilt()", "not-installed")
    Traceback (most recent call last):
    ...
    lamina.errors.MissingPackageError: NotBuilt() needs the package 'not_installed', ...

    Fix: install it, with the command in the message.
    """


class MaskWarning(UserWarning):
    """A mask reached a layer that does not support masks and does not propagate it.

    >>> import warnings
    >>> import lamina
    >>> words = lamina.Input((5,), dtype="int32", name="words")
    >>> x = lamina.layers.Embedding(10, 3, mask_zero=True, name="table")(words)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error")
    ...     lamina.layers.Flatten(name="flat")(x)
    Traceback (most recent call last):
    ...
    lamina.errors.MaskWarning: Layer 'flat' (Flatten) does not support masking, so the mask of ...

    Fix: use a layer that supports masks, or ignore the warning if masked positions may count.

    >>> lamina.layers.GlobalAveragePooling1D()(x).shape
    (None, 3)
    """


class TrainingWarning(UserWarning):
    """Something in training that is allowed but rarely intended: a NaN loss, an ignored key, ...

    >>> import warnings
    >>> import lamina
    >>> inputs = lamina.Input((4,))
    >>> model = lamina.Model(inputs, lamina.layers.Dense(3, name="scores")(inputs))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error")
    ...     model.compile(loss="sparse_categorical_crossentropy")
    Traceback (most recent call last):
    ...
    lamina.errors.TrainingWarning: Output 'scores' has no activation, so it may be any number, ...

    Fix: as the message says, or none if it is intended:

    >>> model.compile(loss=lamina.losses.SparseCategoricalCrossentropy(from_logits=True))
    """


class SavingWarning(UserWarning):
    """Something that was not saved to a file, or content of a file that was not loaded.

    >>> import pathlib, tempfile, warnings
    >>> import lamina
    >>> small, large = (
    ...     lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(n)]) for n in (1, 3)
    ... )
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    ...     warnings.simplefilter("error")
    ...     path = pathlib.Path(folder, "small.weights.h5")
    ...     small.save_weights(path)
    ...     large.load_weights(path, skip_mismatch=True)
    Traceback (most recent call last):
    ...
    lamina.errors.SavingWarning: ...

    Fix: none if it is intended; otherwise a model with the shapes in the file.
    """


def _clipped(part: object) -> str:
    """A part of a message; what came from a file may be of any size."""
    text = str(part)
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST * 2 // 3]} ... ({len(text)} characters) ... {text[-_LONGEST // 3 :]}"


def _likeness(a: str, b: Any) -> float:
    return difflib.SequenceMatcher(None, a, str(b)).ratio()


def unknown_name(what: str, name: Any, known: Any) -> UnknownNameError:
    """An error that lists the closest of the known names."""
    if len(str(name)) > 100:  # no misspelling, and a comparison would take long
        return UnknownNameError(f"Unknown {what}: {str(name)[:100]!r}...")
    names = sorted({str(k) for k in known})
    spellings: dict[str, str] = {}
    for n in names:  # of several spellings of one name, the closest to the request
        plain = n.lower().replace("_", "")
        if plain not in spellings or _likeness(n, name) > _likeness(spellings[plain], name):
            spellings[plain] = n
    close = difflib.get_close_matches(str(name), list(spellings.values()), 3, 0.5)
    if not close and str(name).isalpha() and len(str(name)) > 1:  # initials, as in `lr`
        close = [n for n in names if "".join(w[:1] for w in n.split("_")) == name]
    hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Known: {names}."
    return UnknownNameError(f"Unknown {what}: {name!r}. {hint}")
