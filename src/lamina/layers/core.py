"""The layers everything starts from: Input, Dense, Embedding, Activation, Lambda, Masking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from lamina import activations, constraints, initializers, regularizers
from lamina.core import naming, spec
from lamina.core.operation import record
from lamina.core.scope import set_mask
from lamina.core.spec import TensorSpec
from lamina.core.symbolic import SymbolicTensor
from lamina.dtype_policies import dtypes
from lamina.dtype_policies.policy import get_policy
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.base import InputSpec, Layer
from lamina.serialization import registry
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin
from lamina.tree import nested

initializer = initializers.get
regularizer = regularizers.get
constraint = constraints.get
activation = activations.get


@builtin("layers", file_module="keras.layers")
class InputLayer(Layer):
    """A door of the graph: the node that an :func:`Input` comes from.

    Args:
        shape: sizes without the batch; integers, None (open), or names.
        batch_size: the size of the batch, when it is fixed.
        dtype: dtype of the values; ``floatx`` when None.
        sparse: only False (dense tensors) is supported.
        batch_shape: sizes with the batch, instead of ``shape`` and ``batch_size``.
        input_tensor: an existing symbolic tensor to take shape and dtype from.
        optional: whether None may be fed.
        name: the input's name.
        dims: bounds of named sizes: ``{"time": (1, 512)}``, both ends included.
    """

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
        if sparse or ragged:
            raise ArgumentError("Input() has dense tensors only. Received sparse or ragged=True.")
        if input_tensor is not None:
            batch_shape, dtype = input_tensor.spec.dims_raw, dtype or input_tensor.dtype
        if batch_shape is not None and shape is not None:
            raise ArgumentError(
                f"Input() takes `shape` or `batch_shape`, not both. Received shape={shape!r}, "
                f"batch_shape={batch_shape!r}."
            )
        if batch_shape is None and shape is None:
            raise ArgumentError(
                "Input() needs a `shape`, the sizes of one sample: `Input(shape=(784,))`."
            )
        if isinstance(shape, (int, str)):
            raise ArgumentError(
                f"`shape` is a tuple of sizes. Received {shape!r}; did you mean ({shape!r},)?"
            )
        if batch_shape is None:
            batch_shape = (batch_size, *(shape or ()))
        if not batch_shape:
            raise ArgumentError("`batch_shape` needs at least the batch axis. Received: ().")
        super().__init__(name=name or naming.auto_name("input_layer"), **kwargs)
        sizes = [spec.BATCH if batch_shape[0] is None else batch_shape[0], *batch_shape[1:]]
        self.spec = TensorSpec(sizes, dtypes.standardize_dtype(dtype))
        self.bounds = {name: _bounds(name, b, self.spec) for name, b in dict(dims or {}).items()}
        self.optional = optional
        self.built = True
        record(self, (), {}, self.spec)

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """Sizes with the batch; None for those that are not numbers."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """Dtype of the values that are fed."""
        return self.spec.dtype if "spec" in self.__dict__ else self._policy.variable_dtype

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self._policy = get_policy(value)

    def call(self, inputs: Any) -> Any:
        """The fed value itself."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Shape with the batch, dtype and name."""
        config: dict[str, Any] = {
            "batch_shape": self.batch_shape, "dtype": self.dtype, "sparse": False, "ragged": False,
            "name": self.name,
        }  # fmt: skip
        return {**config, "optional": True} if self.optional else config

    def get_build_config(self) -> dict[str, Any] | None:
        """The names of open sizes, for which Keras's configs have no place."""
        dims = [d if isinstance(d, int) else None if str(d) == "batch" or spec.is_anonymous(d)
                else str(d) for d in self.spec.dims_raw]  # fmt: skip
        if not any(isinstance(d, str) for d in dims):
            return None
        bounds = {name: list(ends) for name, ends in self.bounds.items()}
        return {"dims": dims, "bounds": bounds} if bounds else {"dims": dims}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Take back the names of open sizes, before anything was computed from them."""
        dims = config.get("dims")
        if dims is not None:
            dims = [spec.BATCH if dims[0] is None else dims[0], *dims[1:]]
            self.spec = self.output.spec = TensorSpec(dims, self.spec.dtype)
            bounds = config.get("bounds") or {}
            self.bounds = {name: _bounds(name, ends, self.spec) for name, ends in bounds.items()}


def _bounds(name: str, bounds: Any, shape: TensorSpec) -> tuple[int, int]:
    """The bounds of a named size, read and checked."""
    if name not in shape.dims:
        raise ArgumentError(
            f"`dims` gives bounds of {name!r}, which is not a name in the shape {shape.dims}."
        )
    low, high = bounds if isinstance(bounds, (tuple, list)) and len(bounds) == 2 else (None, None)
    if not isinstance(low, int) or not isinstance(high, int) or not 0 <= low <= high:
        raise ArgumentError(
            f"The bounds of {name!r} are two integers (smallest, largest). Received: {bounds!r}."
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
    """Start a graph: a symbolic tensor to call layers on.

    Args:
        shape: sizes of one sample, without the batch. An integer fixes a size; None leaves it
            open; a name (``"time"``) leaves it open too, and every size of that name must agree,
            which is checked while the model is built.
        batch_size: the size of the batch, when it is fixed.
        dtype: dtype of the values; ``"float32"`` unless the default was changed.
        sparse: only False is supported.
        ragged: only False is supported.
        batch_shape: sizes with the batch, instead of ``shape`` and ``batch_size``.
        name: the input's name, by which ``fit`` finds its data in a dict.
        tensor: a symbolic tensor to take shape and dtype from.
        optional: whether None may be fed.
        dims: bounds of named sizes, both ends included, such as ``{"time": (1, 512)}``: data
            outside of them is refused.

    Returns:
        The symbolic tensor.

    Raises:
        ArgumentError: neither ``shape`` nor ``batch_shape``, or both, or a size that is none.

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
class Dense(Layer):
    """A fully connected layer: ``activation(inputs @ kernel + bias)``.

    Args:
        units: size of the output's last axis.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: for the kernel, of shape ``(features, units)``.
        bias_initializer: for the bias, of shape ``(units,)``.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each step.
        bias_constraint: projection of the bias after each step.

    Shapes: ``(batch, ..., features)`` to ``(batch, ..., units)``.

    Raises:
        ShapeError: fewer than two axes, or another number of features than at the first call.

    >>> x = Input((784,))
    >>> Dense(64, activation="relu")(x).shape
    (None, 64)
    """

    units: int = field(convert=positive_int)
    activation: Any = field(None, convert=activation)
    use_bias: bool = True
    kernel_initializer: Any = field("glorot_uniform", convert=initializer)
    bias_initializer: Any = field("zeros", convert=initializer)
    kernel_regularizer: Any = field(None, convert=regularizer)
    bias_regularizer: Any = field(None, convert=regularizer)
    activity_regularizer: Any = field(None, convert=regularizer)
    kernel_constraint: Any = field(None, convert=constraint)
    bias_constraint: Any = field(None, convert=constraint)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Make ``kernel`` and ``bias``."""
        features = known_size(self, input_shape, -1)
        self.kernel = self.add_weight(
            (features, self.units), self.kernel_initializer, regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint, name="kernel",
        )  # fmt: skip
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,), self.bias_initializer, regularizer=self.bias_regularizer,
                constraint=self.bias_constraint, name="bias",
            )  # fmt: skip
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs: Any) -> Any:
        """Multiply, add, activate."""
        x = jnp.matmul(inputs, self.kernel.value)
        if self.bias is not None:
            x = x + self.bias.value
        return self.activation(x)


@builtin("layers")
class Embedding(Layer):
    """A learned vector for each integer: ``embeddings[inputs]``.

    Args:
        input_dim: number of integers, 0 included.
        output_dim: length of the vectors.
        embeddings_initializer: for the table, of shape ``(input_dim, output_dim)``.
        embeddings_regularizer: penalty on the table.
        embeddings_constraint: projection of the table after each step.
        mask_zero: whether 0 means "no value": positions of it are masked for layers that follow.
        weights: an initial table.

    Shapes: ``(batch, ...)`` to ``(batch, ..., output_dim)``. Floating inputs are read as integers.

    >>> Embedding(1000, 64)(Input((None,), dtype="int32")).shape
    (None, None, 64)
    """

    input_dim: int = field(convert=positive_int)
    output_dim: int = field(convert=positive_int)
    embeddings_initializer: Any = field("uniform", convert=initializer)
    embeddings_regularizer: Any = field(None, convert=regularizer)
    activity_regularizer: Any = field(None, convert=regularizer)
    embeddings_constraint: Any = field(None, convert=constraint)
    mask_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = self.mask_zero
        # Whole numbers above 256 do not survive 16-bit floats.
        self.autocast = False

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        self._initial_table = extra.pop("weights", None)
        extra.pop("input_length", None)
        return super()._accept_extra(extra)

    def build(self, input_shape: Any = None) -> None:
        """Make the table."""
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim), self.embeddings_initializer, name="embeddings",
            regularizer=self.embeddings_regularizer, constraint=self.embeddings_constraint,
        )  # fmt: skip
        if self._initial_table is not None:
            table = self._initial_table
            self.embeddings.assign(table[0] if isinstance(table, (list, tuple)) else table)

    def call(self, inputs: Any) -> Any:
        """Look the vectors up."""
        table = self.embeddings.value.astype(self.compute_dtype)
        return jnp.take(table, inputs.astype("int32"), axis=0, mode="clip")

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """True where the input is not 0."""
        return inputs != 0 if self.mask_zero else None


@builtin("layers")
class Activation(Layer):
    """Apply a function element by element (softmax: along the last axis).

    Args:
        activation: a name or a function.

    >>> Activation("relu")(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    activation: Any = field(convert=activation)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return self.activation(inputs)


@builtin("layers")
class Identity(Layer):
    """Return the input as it is.

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
        mask_value: the value that means "no data".

    Shapes: ``(batch, time, features)``, unchanged; masked steps become zeros.

    >>> Masking()(jnp.ones((1, 2, 3))).shape
    (1, 2, 3)
    """

    mask_value: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """True for steps with at least one other value."""
        return jnp.any(inputs != self.mask_value, axis=-1)

    def call(self, inputs: Any) -> Any:
        """Zero the masked steps and let the mask travel on."""
        mask = self.compute_mask(inputs)
        outputs = inputs * mask[..., None].astype(inputs.dtype)
        set_mask(outputs, mask)
        return outputs


@builtin("layers")
class Lambda(Layer):
    """Any function of tensors as a layer.

    Prefer an op (``lamina.ops``), which a file can hold; a Lambda's function must be registered
    with ``lamina.saving.register_serializable`` before its model can be saved.

    Args:
        function: takes the inputs (and ``mask``, if it has such a parameter).
        output_shape: kept for compatibility; shapes are found by running the function abstractly.
        mask: a mask for the output, or a function ``(inputs, mask) -> mask``.
        arguments: further keyword arguments of the function.

    >>> Lambda(lambda x: x**2)(jnp.array([3.0])).tolist()
    [9.0]
    """

    function: Callable[..., Any] = field(
        convert=lambda f: registry.resolve("activations", f, "function")
    )
    output_shape: Any = None
    mask: Any = None
    arguments: Any = field(None, convert=lambda a: dict(a or {}))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = self.mask is not None

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Call the function."""
        keywords = dict(self.arguments)
        code = getattr(self.function, "__code__", None)
        if mask is not None and code is not None and "mask" in code.co_varnames[: code.co_argcount]:
            keywords["mask"] = mask
        return self.function(inputs, **keywords)

    def get_config(self) -> dict[str, Any]:
        """The arguments; the function by name, in the form that Keras's files have for it."""
        config = super().get_config()
        name = registry.serialize(self.function)
        if isinstance(name, str):
            config["function"] = {
                "module": "builtins", "class_name": "function", "config": name,
                "registered_name": name,
            }  # fmt: skip
        return config

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask that was given, or its function's answer."""
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask


def known_size(layer: Layer, shape: Any, axis: int) -> int:
    """The size of ``axis``, which must be a number because a weight depends on it.

    Raises:
        ShapeError: the size is open, or the axis does not exist.
    """
    if isinstance(shape, Mapping) or (shape and any(nested.is_nested(s) for s in shape)):
        raise ShapeError(
            f"Layer {layer.name!r} ({type(layer).__name__}) takes one tensor. "
            f"Received several, of shapes {shape}."
        )
    who, rank = f"Layer {layer.name!r} ({type(layer).__name__})", len(shape)
    if not -rank <= axis < rank:
        raise ShapeError(
            f"{who} has axis={axis}, which its input does not have.\n"
            f"  expected: an axis from {-rank} to {rank - 1}"
        )
    if shape[axis] is None:
        raise ShapeError(
            f"{who} makes weights for each entry along axis {axis}, whose size is open.\n"
            f"  expected: a number on axis {axis}\n"
            "Give the `Input` a number there; or leave the open axis out before, for example with "
            "a global pooling or a recurrent layer instead of `Flatten`."
        )
    return shape[axis]


__all__ = [
    "Activation", "Dense", "Embedding", "Identity", "Input", "InputLayer", "Lambda", "Masking",
]  # fmt: skip
