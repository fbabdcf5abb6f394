"""The basic layers: Input, Dense, Embedding, Activation, Identity, Masking, Lambda."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from lamina import activations, ops, regularizers
from lamina.core import naming, spec
from lamina.core.operation import record
from lamina.core.scope import set_mask
from lamina.core.spec import TensorSpec, agree, entries_of, show_dims
from lamina.core.symbolic import SymbolicTensor
from lamina.dtype_policies import dtypes
from lamina.dtype_policies.policy import get_policy
from lamina.errors import ArgumentError, SerializationError, ShapeError
from lamina.layers.adapters import Matrix
from lamina.layers.arguments import map_shapes, shapes_of
from lamina.layers.base import InputSpec, Layer
from lamina.layers.matrices import MatrixLayer
from lamina.layers.weights import (
    KernelAndBias,
    add_weight,
    constraint,
    initializer,
    regularizer,
)
from lamina.ops.lowering.matmul import matmul
from lamina.quantizers import unpack_int4
from lamina.serialization import registry
from lamina.serialization.fields import field, positive_int
from lamina.serialization.functions import FunctionOfOps
from lamina.serialization.registry import builtin
from lamina.tree import nested


@builtin("layers", file_module="keras.layers")
class InputLayer(Layer):
    """An entry point of the graph: the layer behind an :func:`Input`.

    Args:
        shape: Shape of one sample, without the batch dimension: integers, None for an unknown
            dimension, or names.
        batch_size: Size of the batch, if it is fixed.
        dtype: Dtype of the values; ``floatx`` when None.
        sparse: Only False (dense tensors) is supported.
        ragged: Only False is supported.
        batch_shape: Shape with the batch dimension, instead of ``shape`` and ``batch_size``.
        input_tensor: A symbolic tensor whose shape and dtype to use.
        optional: Whether None may be passed for this input.
        name: Name of the input.
        dims: Bounds of named dimensions: ``{"time": (1, 512)}``, both ends included.

    Raises:
        ArgumentError: The arguments contradict each other, or the shape is not valid.

    >>> layer = InputLayer((3,), name="point")
    >>> layer.batch_shape, layer.output.name
    ((None, 3), 'point')
    """

    _untracked = Layer._untracked | {"bounds"}  # a dict that holds no layers

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Any = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        dims: Any = None,
        **kwargs: Any,
    ) -> None:
        shape = kwargs.pop("input_shape", shape)  # former names, which Keras takes too
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        if sparse or ragged:
            raise ArgumentError("Input() supports dense tensors. Received: sparse or ragged=True.")
        if input_tensor is not None:
            batch_shape, dtype = input_tensor.spec.dims_raw, dtype or input_tensor.dtype
        if batch_shape is not None and shape is not None:
            raise ArgumentError(
                f"Input() takes `shape` or `batch_shape`, not both. Received: shape={shape!r}, "
                f"batch_shape={batch_shape!r}."
            )
        if batch_shape is None and shape is None:
            raise ArgumentError(
                "Input() needs `shape`, the shape of one sample: `Input(shape=(784,))`."
            )
        if batch_shape is None:
            batch_shape = (batch_size, *entries_of(shape, "Input", "shape"))
        elif batch_size is not None and input_tensor is None:
            raise ArgumentError(
                "Input() takes `batch_size` or `batch_shape`, which contains it, not both. "
                f"Received: batch_size={batch_size!r}, batch_shape={batch_shape!r}."
            )
        batch_shape = entries_of(batch_shape, "Input", "batch_shape")
        if not batch_shape:
            raise ArgumentError(
                "Input() expects `batch_shape` to have at least the batch axis. Received: ()."
            )
        super().__init__(name=name or naming.auto_name("input_layer"), **kwargs)
        sizes = [spec.BATCH if batch_shape[0] is None else batch_shape[0], *batch_shape[1:]]
        self.spec = TensorSpec(sizes, dtypes.standardize_dtype(dtype))
        self.bounds = {name: _bounds(name, b, self.spec) for name, b in dict(dims or {}).items()}
        self.optional = optional
        self.built = True
        record(self, (), {}, self.spec)

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """Shape with the batch dimension; None for unknown dimensions."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """Dtype of the input values."""
        return self.spec.dtype if "spec" in self.__dict__ else self._own_policy.variable_dtype

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self._dtype_policy = get_policy(value)

    def call(self, inputs: Any) -> Any:
        """Return the value that was passed."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Shape with the batch, dtype and name."""
        config: dict[str, Any] = {
            "batch_shape": self.batch_shape, "dtype": self.dtype, "sparse": False, "ragged": False,
            "name": self.name,
        }  # fmt: skip
        return {**config, "optional": True} if self.optional else config

    def get_build_config(self) -> dict[str, Any] | None:
        """The names of unknown dimensions, which Keras's configs cannot hold."""
        dims = [d if isinstance(d, int) else None if str(d) == "batch" or spec.is_anonymous(d)
                else str(d) for d in self.spec.dims_raw]  # fmt: skip
        if not any(isinstance(d, str) for d in dims):
            return None
        bounds = {name: list(ends) for name, ends in self.bounds.items()}
        return {"dims": dims, "bounds": bounds} if bounds else {"dims": dims}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Restore the names of unknown dimensions, if nothing was computed from them yet."""
        dims = config.get("dims")
        if dims is not None:
            dims = [spec.BATCH if dims[0] is None else dims[0], *dims[1:]]
            self.spec = self.output.spec = TensorSpec(dims, self.spec.dtype)
            bounds = config.get("bounds") or {}
            self.bounds = {name: _bounds(name, ends, self.spec) for name, ends in bounds.items()}


def _bounds(name: str, bounds: Any, shape: TensorSpec) -> tuple[int, int]:
    """Check the bounds of a named dimension."""
    if name not in shape.dims:
        raise ArgumentError(
            f"Input(): `dims` bounds {name!r}, which is not a dimension of the shape {shape.dims}."
        )
    low, high = bounds if isinstance(bounds, (tuple, list)) and len(bounds) == 2 else (None, None)
    if not isinstance(low, int) or not isinstance(high, int) or not 0 <= low <= high:
        raise ArgumentError(
            f"Input(): the bounds of {name!r} must be two integers (smallest, largest). "
            f"Received: {bounds!r}."
        )
    return low, high


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
    dims: Any = None,
) -> SymbolicTensor:
    """Create a symbolic tensor to call layers on: the start of a model's graph.

    Args:
        shape: Shape of one sample, without the batch dimension. An integer is a fixed size, None an
            unknown dimension. A name (``"time"``) is an unknown dimension too; all dimensions of
            one name must be equal, which is checked while the model is built.
        batch_size: Size of the batch, if it is fixed.
        dtype: Dtype of the values; ``floatx`` when None.
        sparse: Only False (dense tensors) is supported.
        ragged: Only False is supported.
        batch_shape: Shape with the batch dimension, instead of ``shape`` and ``batch_size``.
        name: Name of the input, by which ``fit`` finds its data in a dict.
        tensor: A symbolic tensor whose shape and dtype to use.
        optional: Whether None may be passed for this input.
        dims: Bounds of named dimensions, both ends included, such as ``{"time": (1, 512)}``; data
            outside of them is rejected.

    Returns:
        The symbolic tensor.

    Raises:
        ArgumentError: Neither ``shape`` nor ``batch_shape``, or both, or a shape that is not valid.

    >>> x = Input(shape=("time", 64))
    >>> x.shape, x.dims
    ((None, None, 64), ('batch', 'time', 64))
    """
    layer = InputLayer(
        shape=shape, batch_size=batch_size, dtype=dtype, sparse=sparse, ragged=ragged,
        batch_shape=batch_shape, input_tensor=tensor, optional=optional, name=name, dims=dims,
    )  # fmt: skip
    return layer.output


@builtin("layers")
class Dense(MatrixLayer, KernelAndBias):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A fully connected layer: ``activation(inputs @ kernel + bias)``.

    Args:
        units: Number of units, which is the last dimension of the output.
        activation: Function applied to the result; None for none.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer of the kernel, of shape ``(features, units)``.
        bias_initializer: Initializer of the bias, of shape ``(units,)``.
        lora_rank: If given, freeze the kernel and train a difference of this rank to it: see
            :meth:`enable_lora`.
        lora_alpha: The difference is multiplied by ``lora_alpha / lora_rank``; ``lora_rank`` when
            None.
        quantization_config: How to quantize the weights, where the dtype policy is a quantized one.

    Shapes: ``(batch, ..., features)`` to ``(batch, ..., units)``.

    Raises:
        ShapeError: Fewer than two axes, or a different number of features than on the first call.

    >>> x = Input((784,))
    >>> Dense(64, activation="relu")(x).shape
    (None, 64)
    """

    units: int = field(convert=positive_int)
    activation: Any = field(default=None, convert=activations.get)
    use_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Add ``kernel`` and ``bias``."""
        features = known_size(self, input_shape, -1)
        self._build_matrices((features, self.units))
        self.bias = add_weight(self, "bias", (self.units,)) if self.use_bias else None
        self._add_adapter()
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})

    @property
    def kernel(self) -> Any:
        """The variable of the kernel; with an adapter, or 4-bit weights, the matrix itself."""
        return self._matrix()

    def call(self, inputs: Any) -> Any:
        """Multiply, add the bias, apply the activation, if any."""
        return self._activated(self._product(inputs))


@builtin("layers")
class Embedding(
    MatrixLayer,
    positional="input_dim output_dim embeddings_initializer embeddings_regularizer "
    "embeddings_constraint mask_zero weights lora_rank lora_alpha quantization_config",
):
    """A learned vector for each integer: ``embeddings[inputs]``.

    Args:
        input_dim: Number of different integers, 0 included.
        output_dim: Length of the vectors.
        embeddings_initializer: Initializer of the table, of shape ``(input_dim, output_dim)``.
        embeddings_regularizer: Penalty on the table, added to the loss.
        activity_regularizer: Penalty on the output, added to the loss.
        embeddings_constraint: Projection of the table after each update.
        mask_zero: Whether the integer 0 is padding, which is masked for later layers.
        weights: Initial table, as an array or a list of one array.
        lora_rank: If given, freeze the table and train a difference of this rank to it: see
            :meth:`enable_lora`.
        lora_alpha: The difference is multiplied by ``lora_alpha / lora_rank``; ``lora_rank`` when
            None.
        quantization_config: How to quantize the table, where the dtype policy is a quantized one.

    Shapes: ``(batch, ...)`` to ``(batch, ..., output_dim)``. Floats are truncated to integers. The
    vector of an integer outside the table is NaN; -1 is the last one.

    >>> Embedding(1000, 64)(Input((None,), dtype="int32")).shape
    (None, None, 64)
    """

    input_dim: int = field(convert=positive_int)
    output_dim: int = field(convert=positive_int)
    embeddings_initializer: Any = initializer("uniform")
    embeddings_regularizer: Any = regularizer()
    activity_regularizer: Any = field(default=None, convert=regularizers.get, kw_only=True)
    embeddings_constraint: Any = constraint()
    mask_zero: bool = False
    weights: Any = field(default=None, in_config=False)  # pyright: ignore[reportIncompatibleMethodOverride]

    _modes = ("int8", "int4")
    _after_first = ()
    _without_effect = ("input_length",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = self.mask_zero
        # 16-bit floats do not hold all integers above 256.
        self.autocast = False

    def build(self, input_shape: Any = None) -> None:
        """Add the table."""
        self._build_matrices((self.input_dim, self.output_dim))
        if self._given_weights is not None:
            table = self._given_weights
            table = table[0] if isinstance(table, (list, tuple)) else table
            vars(self)["_embeddings"].assign(table)
            self._given_weights = None
        self._add_adapter()

    def _matrices_of(self, shape: tuple[int, ...]) -> tuple[Matrix, ...]:
        return (Matrix("embeddings", shape, (1,), (shape[0], shape[1]), axis=1),)

    def quantized_build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, embeddings_shape: Any, mode: str, config: Any = None
    ) -> None:
        """Add the variables of the quantized form; :meth:`build` and :meth:`quantize` call this.

        Args:
            embeddings_shape: Shape of the table as floats.
            mode: How to quantize.
            config: A config; that of the layer when None.
        """
        super().quantized_build(embeddings_shape, mode, config)

    def _names_of_matrices(self) -> tuple[str, ...]:
        return ("embeddings",)

    @property
    def embeddings(self) -> Any:
        """The variable of the table; with an adapter, or 4-bit weights, the table itself."""
        return self._matrix()

    def call(self, inputs: Any) -> Any:
        """Look up the vectors."""
        ids = inputs.astype("int32")
        rows = self._rows(ids)
        if self.lora_enabled:
            a, b, factor = self._adapter()
            rows = rows + factor * matmul(jnp.take(a, ids, axis=0), b)
        return rows.astype(self.compute_dtype)

    def _rows(self, ids: Any) -> Any:
        """The rows of the table, from which only these are made floats."""
        own, mode, m = vars(self), self.quantization_mode, self._matrices[0]
        table = own[m.attribute]
        if mode is None:
            return jnp.take(table.value.astype(self.compute_dtype), ids, axis=0)
        rows, scale, zero = (
            x if x is None else jnp.take(x.value, ids, axis=0)
            for x in (table, own[f"{m.name}_scale"], own.get(f"{m.name}_zero"))
        )
        rows = unpack_int4(rows, self.output_dim, -1) if mode == "int4" else rows
        return self._restored(rows, scale, zero, -1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """True where the input is not 0."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None


@builtin("layers")
class Activation(Layer):
    """Apply an activation function, elementwise or, as softmax, along the last axis.

    Args:
        activation: Name of an activation, or a function.

    >>> Activation("relu")(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    activation: Any = field(convert=activations.get)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return self.activation(inputs)


@builtin("layers")
class Identity(Layer):
    """Return the input unchanged.

    >>> Identity()(jnp.ones(2)).tolist()
    [1.0, 1.0]
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Return the input."""
        return inputs


@builtin("layers")
class Masking(Layer):
    """Mask the time steps in which every feature equals ``mask_value``.

    Args:
        mask_value: The value that stands for missing data.

    Shapes: ``(batch, time, features)``, unchanged; masked steps become zeros.

    >>> Masking()(jnp.ones((1, 2, 3))).shape
    (1, 2, 3)
    """

    mask_value: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """True for time steps with at least one other value."""
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs: Any) -> Any:
        """Set masked steps to zero and attach the mask."""
        mask = self.compute_mask(inputs)
        outputs = inputs * mask[..., None].astype(inputs.dtype)
        set_mask(outputs, mask)
        return outputs


@builtin("layers")
class Lambda(Layer):
    """Any function of tensors as a layer.

    A model with it can be saved if the function has a name and is registered with
    ``lamina.saving.register_serializable``, or if it only calls functions of ``lamina.ops``: the
    file then contains these ops.

    Args:
        function: Takes the inputs, and the mask if it has a parameter ``mask``; a parameter
            ``training`` is True during training, unless ``arguments`` has it.
        output_shape: Shape of one output sample without the batch dimension, or a function of the
            input shape that returns it. Shapes are found by running the function, so this is only
            needed where a function cannot run on unknown dimensions; it is checked against the
            output of every call.
        mask: A mask of the output, or a function ``(inputs, mask) -> mask``.
        arguments: Further keyword arguments of the function.

    Raises:
        ShapeError: An output that does not have ``output_shape``.

    >>> Lambda(lambda x: x**2)(jnp.array([3.0])).tolist()
    [9.0]
    """

    function: Callable[..., Any] = field(
        convert=lambda f: registry.resolve("activations", f, "function")
    )
    output_shape: Any = None
    mask: Any = None
    arguments: Any = field(default=None, convert=lambda a: dict(a or {}))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = self.mask is not None

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Call the function."""
        keywords = dict(self.arguments)
        if mask is not None and _takes(self.function, "mask"):
            keywords["mask"] = mask
        if _takes(self.function, "training"):
            keywords.setdefault("training", training)
        outputs = self.function(inputs, **keywords)
        if self.output_shape is not None:
            self._check_shape(inputs, outputs)
        return outputs

    def _check_shape(self, inputs: Any, outputs: Any) -> None:
        """Compare the outputs with ``output_shape``."""
        expected: list[Any] = []
        if callable(self.output_shape):
            map_shapes(expected.append, self.output_shape(shapes_of(inputs)))
        else:
            batch = nested.flatten(inputs)[0].shape[:1]
            map_shapes(lambda shape: expected.append((*batch, *shape)), self.output_shape)
        received = [tuple(x.shape) for x in nested.flatten(outputs)]
        if len(expected) != len(received) or not all(map(agree, received, expected)):
            raise ShapeError(
                f"Layer {self.name!r} (Lambda) did not return its `output_shape`.",
                layer=self.name,
                expected=", ".join(map(show_dims, expected)),
                received=", ".join(map(show_dims, received)),
                cure=(
                    "Correct `output_shape`, or leave it out: the shape is found by running "
                    "the function."
                ),
            )

    def get_config(self) -> dict[str, Any]:
        """The arguments; the function by name, as Keras's files store it."""
        config = super().get_config()
        try:
            name = registry.serialize(self.function)
        except SerializationError as e:
            return {**config, "function": self._function_of_ops(e), "arguments": {}}
        if isinstance(name, str):
            config["function"] = {
                "module": "builtins", "class_name": "function", "config": name,
                "registered_name": name,
            }  # fmt: skip
        return config

    def _function_of_ops(self, error: SerializationError) -> FunctionOfOps:
        """The function as data, for which the layer must be part of a graph."""
        made = None
        in_training = _takes(self.function, "training") and "training" not in self.arguments
        if self._inbound_nodes and not (in_training or _takes(self.function, "mask")):
            function = functools.partial(self.function, **self.arguments)
            made = FunctionOfOps.traced(function, self._inbound_nodes[0].args)
        if made is None:
            raise error.with_details(
                cure=(
                    "Or use only functions of `lamina.ops` in it: a layer of a functional or "
                    "sequential model is then saved as the ops that its function consists of."
                )
            )
        return made

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The given mask, or the result of the given function."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask


def _takes(function: Callable[..., Any], name: str) -> bool:
    return inspect.isfunction(function) and name in inspect.signature(function).parameters


def known_size(layer: Layer, shape: Any, axis: int) -> int:
    """The size of ``axis``, which must be known because the shape of a weight depends on it.

    Raises:
        ShapeError: The dimension is unknown, or the axis does not exist.
    """
    if isinstance(shape, Mapping) or (shape and any(nested.is_nested(s) for s in shape)):
        raise ShapeError(
            f"Layer {layer.name!r} ({type(layer).__name__}) takes one tensor. "
            f"Received several, of shapes {shape}."
        )
    who, rank = f"Layer {layer.name!r} ({type(layer).__name__})", len(shape)
    if not -rank <= axis < rank:
        raise ShapeError(
            f"{who} uses axis {axis}, which its input does not have.",
            expected=f"an axis from {-rank} to {rank - 1}",
            received=f"an input of shape {show_dims(tuple(shape))}",
        )
    if shape[axis] is None:
        raise ShapeError(
            f"{who} has weights whose shape depends on axis {axis}, an unknown dimension.",
            expected=f"a known size of axis {axis}",
            received=f"an input of shape {show_dims(tuple(shape))}",
            cure=(
                "Give the `Input` an integer there, or reduce the unknown dimension first, "
                "for example with global pooling or a recurrent layer instead of "
                "`Flatten`."
            ),
        )
    return shape[axis]


__all__ = [
    "Activation", "Dense", "Embedding", "Identity", "Input", "InputLayer", "Lambda", "Masking",
]  # fmt: skip
