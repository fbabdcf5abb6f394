"""The exceptions that Lamina raises: what went wrong, how it looks in code, and the cure.

Every class derives from :class:`LaminaError` and from the built-in exception that a reader of
Python would expect (``ValueError``, ``TypeError``, ...), so ``except lamina.errors.ShapeError`` and
``except ValueError`` both catch it. The docstring of each class shows code that fails and its cure.
"""

from __future__ import annotations


class LaminaError(Exception):
    """Base of every exception that Lamina raises on purpose."""


class ShapeError(LaminaError, ValueError):
    """Sizes that do not fit: a layer's input, a merge of branches, a target against an output.

    Fails::

        x = lamina.Input((32, 32, 3))
        lamina.layers.Dense(10)(lamina.layers.LSTM(8)(x))  # LSTM wants (batch, time, features)

    Cure: give the layer the number of axes it asks for, here one image row a time step::

        x = lamina.Input((32, 96))
    """


class DTypeError(LaminaError, TypeError):
    """A value of a kind that the receiver cannot use (text in a number input, float class ids).

    Fails::

        model.predict(np.array(["a", "b"]))

    Cure: turn text into numbers first, for example with an index of words.
    """


class StructureError(LaminaError, ValueError):
    """Inputs, targets or weights whose nesting or names differ from what the model declares.

    Fails::

        model = lamina.Model({"title": a, "body": b}, y)
        model.predict({"title": titles})  # "body" is missing

    Cure: pass one entry for each declared name.
    """


class ArgumentError(LaminaError, ValueError):
    """An argument with a value outside of what the function accepts.

    Fails::

        lamina.layers.Dense(-3)

    Cure: read the message; it names the argument, what it accepts and what it received.
    """


class SignatureError(LaminaError, TypeError):
    """A constructor or a layer called with arguments that it does not have.

    Fails::

        lamina.layers.Dense(10, 5, 3, 4, 5, 6, 7, 8, 9, 10, 11)

    Cure: the message shows which arguments there are; pass all but the first by name.
    """


class UnknownNameError(LaminaError, ValueError):
    """A name that no table knows: a loss, metric, optimizer, activation, layer or output.

    Fails::

        model.compile(loss="mean_square_error")

    Cure: the message lists the closest known names; here ``"mean_squared_error"``.
    """


class GraphError(LaminaError, ValueError):
    """A graph that cannot become a model: an output that no input reaches, a layer not called.

    Fails::

        a, b = lamina.Input((4,)), lamina.Input((4,))
        lamina.Model(a, lamina.layers.Dense(1)(b))  # b is not among the inputs

    Cure: list every ``Input`` that the outputs are computed from.
    """


class SymbolicTensorError(LaminaError, TypeError):
    """A symbolic tensor used where only numbers can be: ``if x > 0``, ``float(x)``, ``numpy(x)``.

    A symbolic tensor has a shape and a dtype but no values yet. Fails::

        x = lamina.Input((4,))
        if x.sum() > 0:
            ...

    Cure: use an op (``lamina.ops.where(condition, a, b)``), or move the code into a layer's
    ``call``, or call the finished model on an array.
    """


class NotBuiltError(LaminaError, ValueError):
    """Weights, shapes or a summary asked of a layer or model that has not seen an input yet.

    Fails::

        lamina.Sequential([lamina.layers.Dense(3)]).count_params()

    Cure: start with ``lamina.Input((4,))``, or call ``model.build((None, 4))`` or the model once.
    """


class NotCompiledError(LaminaError, RuntimeError):
    """Training or evaluation asked of a model that has no optimizer or loss yet.

    Cure: ``model.compile(optimizer="adam", loss="mse")`` before ``fit`` or ``evaluate``.
    """


class DataError(LaminaError, ValueError):
    """Data that cannot make a batch: empty, of unequal lengths, or a generator that ran dry."""


class NonFiniteError(LaminaError, FloatingPointError):
    """A training step whose loss or new weights are NaN or infinite, under ``check_nans=True``.

    Cure: the message names where it began: the data, a layer, the loss, a gradient.
    """


class StateError(LaminaError, RuntimeError):
    """A variable written where its new value would be lost, as inside somebody else's ``jit``.

    Fails::

        jax.jit(lambda x: batch_norm(x, training=True))(x)  # moving averages have nowhere to go

    Cure: use ``layer.stateless_call(...)``, which returns the new values.
    """


class SerializationError(LaminaError, ValueError):
    """An object that has no description as data, or a description that names no known class.

    Cure: write ``get_config``, register the class with
    ``lamina.saving.register_serializable``, or pass ``custom_objects={"Name": Class}``.
    """


class UnsafeFileError(LaminaError, ValueError):
    """A file that asks for more than data: code, links, paths outside, another file's content."""


class CorruptFileError(LaminaError, ValueError):
    """A file that is truncated, altered, or not of the format that its name promises."""


class DownloadError(LaminaError, OSError):
    """A download that failed: no network, a refused address, a wrong digest, too many bytes."""


class MaskWarning(UserWarning):
    """A mask reached a layer that cannot use it, and ends there."""


class TrainingWarning(UserWarning):
    """Something in training that is legal but rarely meant: a NaN loss, an ignored key, ..."""


class SavingWarning(UserWarning):
    """Something that a file leaves out, or that is left out of what a file holds."""
