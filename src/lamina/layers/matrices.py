"""Layers around a matrix of weights: low-rank adaptation (LoRA) and quantization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina import initializers
from lamina.core.boundary import public
from lamina.core.variable import Variable
from lamina.dtype_policies.policy import (
    DTypePolicy,
    Int4DTypePolicy,
    QuantizedFloat8DTypePolicy,
    get_policy,
)
from lamina.errors import ArgumentError, NotBuiltError
from lamina.layers.base import Layer
from lamina.layers.weights import add_weight
from lamina.quantizers import (
    AbsMaxQuantizer,
    Int4QuantizationConfig,
    QuantizationConfig,
    abs_max_quantize_grouped_with_zero_point,
    compute_float8_amax_history,
    compute_float8_scale,
    pack_int4,
    quantize_and_dequantize,
    unpack_int4,
)
from lamina.quantizers.configs import read_config
from lamina.serialization import registry
from lamina.serialization.fields import field, number, optional, positive_int
from lamina.serialization.registry import builtin

_FLOAT8 = ("inputs", "kernel", "outputs_grad")


class Matrix(NamedTuple):
    """A matrix of weights, and how it is quantized.

    Attributes:
        name: Its name, which files use.
        shape: Its shape.
        axes: The axes that a product sums over; along the others, 8-bit weights have scales.
        grid: The rows and columns that it is packed as with 4 bits.
        axis: The axis of the grid along which 4-bit weights share scales, all or in blocks.
        packed: The axis of the grid along which two of them share a byte.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    grid: tuple[int, int]
    axis: int = 0
    packed: int = 1

    @property
    def attribute(self) -> str:
        """The attribute of the layer that holds its variable."""
        return f"_{self.name}" if self.name in ("kernel", "embeddings") else self.name


def _read_config(value: Any) -> Any:
    value = registry.deserialize(value) if isinstance(value, Mapping) else value
    if value is not None and not isinstance(value, QuantizationConfig):
        raise ArgumentError(
            "expected a config, such as `lamina.quantizers.Int8QuantizationConfig()`. "
            f"Received: {value!r}."
        )
    return value


# By their own names, because type checkers take `field(...)` in a class for a positional argument.
_RANK: Any = field(default=None, convert=optional(positive_int))
_ALPHA: Any = field(default=None, convert=optional(number("(0, inf)")))
_CONFIG: Any = field(default=None, convert=_read_config)


@builtin()
class MatrixLayer(Layer, trailing=True, kw_only=True):
    """The last arguments of layers with a matrix, which can be adapted and quantized."""

    lora_rank: int | None = _RANK
    lora_alpha: float | None = _ALPHA
    quantization_config: Any = _CONFIG

    _modes: ClassVar[tuple[str, ...]] = ("int8", "int4", "float8")
    _after_first: ClassVar[tuple[str, ...]] = ("bias",)  # in files, before what quantization adds

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lora_enabled = False
        self.inputs_quantizer = None
        self._matrices: tuple[Matrix, ...] = ()
        if self.lora_alpha is None:
            self.lora_alpha = self.lora_rank

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name, without those of adapters that there are not."""
        optional = ("lora_rank", "lora_alpha", "quantization_config")
        return {k: v for k, v in super().get_config().items() if v is not None or k not in optional}

    # ---- building ------------------------------------------------------------------------------

    def _build_matrices(self, *matrices: Matrix) -> None:
        """Add the variables of the matrices, quantized if the policy says so."""
        self._matrices = matrices
        mode = self.quantization_mode
        if mode not in ("int8", "int4"):
            for m in matrices:
                setattr(self, m.attribute, self._add_floats(m))
        if mode is not None:
            self._check_mode(mode)
            self._add_quantized(mode, {})

    def _add_floats(self, m: Matrix) -> Variable:
        return add_weight(self, m.name, m.shape)

    def _add_adapter(self, a_initializer: Any = "he_uniform", b_initializer: Any = "zeros") -> None:
        """Add the adapter if there is a rank; the matrix itself is frozen then."""
        rank = self.lora_rank
        if rank is None:
            return
        m = self._matrices[0]
        for part, shape, initializer in (
            ("a", (*m.shape[:-1], rank), a_initializer), ("b", (rank, m.shape[-1]), b_initializer),
        ):  # fmt: skip
            name = f"lora_{m.name}_{part}"
            setattr(self, name, self.add_weight(
                shape, initializers.get(initializer), "float32", name=name,
                regularizer=vars(self)[f"{m.name}_regularizer"],
            ))  # fmt: skip
        frozen = vars(self)[m.attribute]
        frozen.trainable = frozen.is_weight = False
        self.lora_enabled = True

    def _add_quantized(self, mode: str, values: Mapping[Matrix, dict[str, Any]]) -> None:
        """Add the variables of the quantized form, with the given values if there are any."""
        self._is_quantized = True
        if mode == "float8":
            policy = self._own_policy
            length = QuantizedFloat8DTypePolicy.default_amax_history_length
            if isinstance(policy, QuantizedFloat8DTypePolicy):
                length = policy.amax_history_length
            for name in _FLOAT8:
                for what, shape, first in (
                    ("scale", (), "ones"), ("amax_history", (length,), "zeros"),
                ):  # fmt: skip
                    setattr(self, f"{name}_{what}", self.add_weight(
                        shape, first, "float32", autocast=False, overwrite_with_gradient=True,
                        name=f"{name}_{what}",
                    ))  # fmt: skip
            return
        default = AbsMaxQuantizer() if mode == "int8" else None
        of_inputs = QuantizationConfig.activation_quantizer_or_default
        self.inputs_quantizer = of_inputs(self.quantization_config, default)
        for m in self._matrices:
            arrays = values.get(m) or self._quantized(m, np.zeros(m.shape, self.dtype), mode)
            for suffix, array in arrays.items():
                name, is_scale = f"{m.name}{suffix}", suffix == "_scale"
                variable = self.add_weight(
                    array.shape, "ones" if is_scale else "zeros",
                    None if is_scale else array.dtype, trainable=False, name=name,
                )  # fmt: skip
                if m in values:
                    variable.assign(array)
                setattr(self, name if suffix else m.attribute, variable)
        block = self._block_size if mode == "int4" else None
        if block is not None:
            m = self._matrices[0]
            groups = np.arange(m.grid[m.axis]) // block
            self.g_idx = self.add_weight(
                groups.shape, lambda shape, dtype: jnp.asarray(groups, dtype), "float32",
                trainable=False, name="g_idx",
            )  # fmt: skip

    # ---- low-rank adaptation -------------------------------------------------------------------

    @public
    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the matrix, and train the difference to it as a product of two small ones.

        The layer computes with ``matrix + lora_alpha / rank * a @ b``. Files contain this sum in
        place of the matrix; a layer that is loaded from one starts with ``b = 0``. Hu et al. 2021,
        arXiv:2106.09685.

        Args:
            rank: Number of columns of ``a`` and rows of ``b``.
            lora_alpha: The difference is multiplied by ``lora_alpha / rank``; ``rank`` when None.
            a_initializer: Initializer of ``a``, of the shape of the matrix but for the last axis.
            b_initializer: Initializer of ``b``.

        Raises:
            NotBuiltError: The layer has no weights yet.
            ArgumentError: It has an adapter already, or a constraint, which the sum would not meet.
        """
        who = f"Layer {self.name!r} ({type(self).__name__})"
        if not self.built:
            raise NotBuiltError(
                f"{who} has no weights yet. Call it, or its `build(input_shape)`, before "
                "`enable_lora`, or pass `lora_rank` to its constructor.",
                layer=self.name,
            )
        if self.lora_enabled:
            raise ArgumentError(
                f"{who} has an adapter of rank {self.lora_rank} already.", layer=self.name
            )
        name = self._matrices[0].name
        if vars(self)[f"{name}_constraint"] is not None:
            raise ArgumentError(
                f"{who} has a `{name}_constraint`, which its matrix with an adapter would not "
                "meet. Create it without.",
                layer=self.name,
            )
        self.lora_rank = positive_int(rank)
        self.lora_alpha = rank if lora_alpha is None else lora_alpha
        self._add_adapter(a_initializer, b_initializer)

    def _adapter(self, cast: bool = True) -> tuple[Any, Any, float]:
        """The two small matrices, and the factor of their product."""
        name, own = self._matrices[0].name, vars(self)
        a, b = own[f"lora_{name}_a"], own[f"lora_{name}_b"]
        factor = (self.lora_alpha or 1) / (self.lora_rank or 1)
        return (a.value, b.value, factor) if cast else (a, b, factor)

    def _matrix(self) -> Any:
        """The variable of the first matrix; with an adapter or 4 bits, what it stands for."""
        if not self.built:
            raise AttributeError(
                f"Layer {self.name!r} ({type(self).__name__}) has no weights yet. Call it, or its "
                "`build(input_shape)`, first."
            )
        m = self._matrices[0]
        variable, mode = vars(self)[m.attribute], self.quantization_mode
        if self.lora_enabled:
            return self._adapted(m).astype(self.compute_dtype)
        if mode == "int4":
            return unpack_int4(variable, m.grid[m.packed], m.packed).reshape(m.shape)
        return variable

    def _adapted(self, m: Matrix) -> Any:
        a, b, factor = self._adapter()
        return self._floats(m) + factor * jnp.matmul(a, b)

    # ---- quantization --------------------------------------------------------------------------

    @property
    def _block_size(self) -> int | None:
        """Number of inputs that share a scale with 4 bits; None if all do."""
        config, policy, size = self.quantization_config, self._own_policy, None
        if isinstance(config, Int4QuantizationConfig):
            size = config.block_size
        elif isinstance(policy, Int4DTypePolicy):
            size = policy.block_size
        return None if size == -1 else size

    def _check_mode(self, mode: str) -> None:
        if mode not in self._modes:
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) can be quantized to "
                f"{list(self._modes)}. Received: {mode!r}.",
                layer=self.name,
            )

    def can_be_quantized(self, mode: str, type_check: bool = True) -> bool:
        """Whether :meth:`quantize` accepts the mode, for the class itself or for users' too.

        Args:
            mode: ``"int8"``, ``"int4"`` or ``"float8"``.
            type_check: Whether to leave out classes of users, whose `call` may use the floats.
        """
        own = registry.registration_of(type(self)) is not None
        return mode in self._modes and not self._is_quantized and (own or not type_check)

    @public
    def quantize(
        self, mode: str | None = None, type_check: bool = True, config: Any = None
    ) -> None:
        who = f"Layer {self.name!r} ({type(self).__name__})"
        config = read_config(mode, config)
        kind = config.mode
        self._check_mode(kind)
        if not self.built:
            raise NotBuiltError(
                f"{who} has no weights yet. Call it, or its `build(input_shape)`, before "
                "`quantize`.",
                layer=self.name,
            )
        if self._is_quantized:
            raise ArgumentError(
                f"{who} is quantized already: {self._own_policy.name!r}.", layer=self.name
            )
        if not self.can_be_quantized(kind, type_check):
            raise ArgumentError(
                f"{who} is of your own class, whose `call` may use the weights as floats. If it "
                "does not, pass `type_check=False`.",
                layer=self.name,
            )
        block = f"/{config.block_size or -1}" if isinstance(config, Int4QuantizationConfig) else ""
        new = get_policy(f"{kind}{block}_from_{self._own_policy.name}")
        self.quantization_config = config
        values = {} if kind == "float8" else {
            m: self._quantized(m, vars(self)[m.attribute].numpy(), kind) for m in self._matrices
        }  # fmt: skip
        for m in values:
            self._own_weights.remove(vars(self)[m.attribute])
            delattr(self, m.attribute)
        self._add_quantized(kind, values)
        if self.dtype_policy.quantization_mode is None:
            self.dtype_policy = new

    def _quantize_for(self, policy: DTypePolicy) -> None:
        config = None
        if policy.quantization_mode == "int4":
            size = policy.block_size if isinstance(policy, Int4DTypePolicy) else None
            config = Int4QuantizationConfig(block_size=size)
        self.quantize(policy.quantization_mode, config=config)

    def _quantized(self, m: Matrix, value: np.ndarray, mode: str) -> dict[str, Any]:
        """The arrays of the quantized form of a matrix by the suffix of their names."""
        of_weights = QuantizationConfig.weight_quantizer_or_default
        if mode == "int8":
            quantizer = of_weights(self.quantization_config, AbsMaxQuantizer(axis=m.axes))
            integers, scale = _integers(quantizer, value, m.axes)
            return {"": integers, "_scale": self._stored_scale(m, scale)}
        grid, block = value.reshape(m.grid), self._block_size
        if block is not None:
            parts = abs_max_quantize_grouped_with_zero_point(
                grid.T if m.axis else grid, block, to_numpy=True
            )
            integers, scale, zero = (jnp.transpose(x) for x in parts) if m.axis else parts
            arrays = {"_scale": scale, "_zero": zero}
        else:
            default = AbsMaxQuantizer(axis=m.axis, value_range=(-8, 7))
            quantizer = of_weights(self.quantization_config, default)
            integers, scale = _integers(quantizer, grid, m.axis)
            arrays = {"_scale": jnp.squeeze(scale, m.axis)}
        return {"": pack_int4(integers, m.packed)[0], **arrays}

    def _stored_scale(self, m: Matrix, scale: Any) -> Any:
        """A scale with size 1 along ``m.axes``, in the form in which it is stored."""
        return jnp.squeeze(scale, m.axes)

    def _full_scale(self, m: Matrix, scale: Any) -> Any:
        """A stored scale, with size 1 along ``m.axes``."""
        return jnp.expand_dims(scale, m.axes)

    def _floats(self, m: Matrix) -> Any:
        """The matrix as floats of the compute dtype in a call, else of the dtype of the weights."""
        own, mode = vars(self), self.quantization_mode
        values = own[m.attribute].value
        if mode not in ("int8", "int4"):
            return values
        scale = own[f"{m.name}_scale"].value
        if mode == "int8":
            return values.astype(scale.dtype) / self._full_scale(m, scale)
        integers = unpack_int4(values, m.grid[m.packed], m.packed)
        zero = own.get(f"{m.name}_zero")
        return self._restored(integers, scale, zero, m.axis).reshape(m.shape)

    def _restored(self, integers: Any, scale: Any, zero: Any, axis: int) -> Any:
        """Floats from 4-bit integers, whose scales and zero points are those of blocks or rows."""
        if zero is None:
            return integers.astype(scale.dtype) / jnp.expand_dims(scale, axis)
        groups = vars(self)["g_idx"].value.astype("int32")
        zero, scale = (jnp.take(jnp.asarray(x), groups, axis) for x in (zero, scale))
        return (integers - zero.astype(scale.dtype)) * scale

    # ---- products ------------------------------------------------------------------------------

    def _project(self, x: Any, matrix: Any, dtype: Any = None) -> Any:
        """The product of inputs and a matrix, summed in ``dtype``."""
        return jnp.matmul(x, matrix, preferred_element_type=dtype)

    def _low_rank(self, x: Any, a: Any, b: Any) -> Any:
        """The product of inputs and ``a @ b``."""
        return jnp.matmul(jnp.matmul(x, a), b)

    def _input_axes(self, ndim: int) -> Any:
        """The axes of inputs that a product sums over."""
        return -1

    def _rescaled(self, y: Any, inputs_scale: Any, scale: Any, ndim: int) -> Any:
        """The product of integers as floats."""
        return y / (inputs_scale * scale)

    def _product(self, x: Any) -> Any:
        """The product of inputs and the first matrix, in whatever form it is stored."""
        m = self._matrices[0]
        y = self._product_with(x, m, self._project)
        if not self.lora_enabled:
            return y
        a, b, factor = self._adapter()
        return (y + factor * self._low_rank(x, a, b)).astype(self.compute_dtype)

    def _product_with(self, x: Any, m: Matrix, project: Callable[..., Any]) -> Any:
        mode, own = self.quantization_mode, vars(self)
        if mode is None:
            return project(x, own[m.attribute].value)
        if mode == "float8":
            x, matrix = (
                _rounded(v, own[f"{name}_scale"].value, own[f"{name}_amax_history"].value)
                for name, v in (("inputs", x), ("kernel", own[m.attribute].value))
            )
            return _with_rounded_gradient(
                project(x, matrix), own["outputs_grad_scale"].value,
                own["outputs_grad_amax_history"].value,
            )  # fmt: skip
        x = x.astype(self.compute_dtype)
        quantizer = self.inputs_quantizer
        if mode == "int8" and quantizer is not None:
            scale = own[f"{m.name}_scale"].value
            return self._integer_product(x, own[m.attribute].value, scale, m, project)
        if quantizer is not None:
            integers, scale = quantizer(x, axis=self._input_axes(x.ndim))
            rounded = integers.astype(x.dtype) / scale
            x = x + jax.lax.stop_gradient(rounded - x)
        return project(x, self._floats(m))

    def _integer_product(
        self, x: Any, matrix: Any, scale: Any, m: Matrix, project: Callable[..., Any]
    ) -> Any:
        """The product of 8-bit inputs and weights, whose gradient is that of the floats."""
        quantizer: Any = self.inputs_quantizer

        @jax.custom_vjp
        def product(x: Any, matrix: Any, scale: Any) -> Any:
            integers, inputs_scale = quantizer(x, axis=self._input_axes(x.ndim))
            y = project(integers, matrix, jnp.int32).astype(x.dtype)
            return self._rescaled(y, inputs_scale, scale, x.ndim)

        def forward(x: Any, matrix: Any, scale: Any) -> Any:
            return product(x, matrix, scale), (x, matrix, scale)

        def backward(kept: Any, g: Any) -> Any:
            x, matrix, scale = kept
            floats = matrix.astype(x.dtype) / self._full_scale(m, scale)
            return *jax.vjp(lambda x: project(x, floats), x)[1](g), None, None

        product.defvjp(forward, backward)
        return product(x, matrix, scale)

    def _with_bias(self, x: Any) -> Any:
        """Add the bias, if there is one; float8 training rounds it to bfloat16."""
        bias = vars(self)["bias"]
        if bias is None:
            return x
        value = bias.value
        if self.quantization_mode == "float8" and value.dtype == "float32":
            value = value.astype("bfloat16").astype(value.dtype)
        return x + value

    # ---- files ---------------------------------------------------------------------------------

    def _names_of_matrices(self) -> tuple[str, ...]:
        """The names of the matrices, which are known before they are built."""
        return ("kernel",)

    @property
    def variable_serialization_spec(self) -> dict[str | None, list[str]]:
        """The names of the variables in the order of files, for each quantization mode."""
        first, *others = self._names_of_matrices()
        spec: dict[str | None, list[str]] = {}
        for mode in (None, *self._modes):
            suffixes = {"int8": ["_scale"], "int4": ["_scale", "_zero"]}.get(mode or "", [])
            names = [first, *self._after_first, *(f"{first}{s}" for s in suffixes)]
            names += ["g_idx"] if mode == "int4" else []
            if mode == "float8":
                names += [f"{n}_{s}" for n in _FLOAT8 for s in ("scale", "amax_history")]
            for name in others:
                names += [name, *(f"{name}{s}" for s in suffixes)]
            spec[mode] = names
        return spec

    def _file_variables(self) -> list[Variable]:
        attributes = {m.name: m.attribute for m in self._matrices}
        names = self.variable_serialization_spec[self.quantization_mode]
        found = [vars(self).get(attributes.get(name, name)) for name in names]
        listed = [v for v in found if isinstance(v, Variable)]
        adapter = self._adapter(cast=False)[:2] if self.lora_enabled else ()
        return [*listed, *(v for v in super()._file_variables() if v not in (*listed, *adapter))]

    def _writes_itself(self) -> bool:
        return self.lora_enabled or any(
            registry.defined_by_user(type(self), n)
            for n in ("save_own_variables", "load_own_variables")
        )

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        merged: dict[Variable, Any] = {}
        if self.lora_enabled:  # the sum of the matrix and its adapter takes the matrix's place
            m = self._matrices[0]
            value, mode = np.asarray(self._adapted(m)), self.quantization_mode
            arrays = {"": value}
            if mode in ("int8", "int4"):
                arrays = self._quantized(m, value, mode)
            for suffix, array in arrays.items():
                variable = vars(self)[f"{m.name}{suffix}" if suffix else m.attribute]
                merged[variable] = np.asarray(array).astype(variable.dtype)
        for i, variable in enumerate(self._file_variables()):
            store[str(i)] = merged[variable] if variable in merged else variable.numpy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        missing = [n for n in map(str, range(len(self._file_variables()))) if n not in store]
        if missing:
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) needs the arrays {missing} too. "
                f"Received: {sorted(store)}.",
                layer=self.name,
            )
        super().load_own_variables(store)
        if self.lora_enabled:
            b = self._adapter(cast=False)[1]
            b.assign(jnp.zeros(b.shape, b.dtype))


def _integers(quantizer: Any, value: Any, axes: Any) -> tuple[Any, Any]:
    """What a quantizer makes of weights, along ``axes`` unless it says along which."""
    if not isinstance(quantizer, AbsMaxQuantizer):
        return quantizer(value)
    return quantizer(value, axes if quantizer.axis is None else None, to_numpy=True)


# ---- products of 8-bit floats --------------------------------------------------------------------


@jax.custom_vjp
def _rounded(x: Any, scale: Any, history: Any) -> Any:
    """Floats rounded to 8 bits; the gradients of the scale and the history are their new values."""
    return quantize_and_dequantize(x, scale, "float8_e4m3fn", x.dtype)


def _rounded_forward(x: Any, scale: Any, history: Any) -> Any:
    most = float(jnp.finfo("float8_e4m3fn").max)
    new = (
        compute_float8_scale(jnp.max(history), scale, most),
        compute_float8_amax_history(x, history),
    )
    return _rounded(x, scale, history), new


def _rounded_backward(new: Any, g: Any) -> Any:
    return g, *new


_rounded.defvjp(_rounded_forward, _rounded_backward)


@jax.custom_vjp
def _with_rounded_gradient(y: Any, scale: Any, history: Any) -> Any:
    """``y``, whose gradient is rounded to 8 bits."""
    return y


def _unrounded_forward(y: Any, scale: Any, history: Any) -> Any:
    return y, (scale, history)


def _unrounded_backward(kept: Any, g: Any) -> Any:
    scale, history = kept
    most = float(jnp.finfo("float8_e5m2").max)
    new_scale = compute_float8_scale(jnp.max(history), scale, most)
    rounded = quantize_and_dequantize(g, scale, "float8_e5m2", g.dtype)
    return rounded, new_scale, compute_float8_amax_history(g, history)


_with_rounded_gradient.defvjp(_unrounded_forward, _unrounded_backward)


__all__ = ["Matrix", "MatrixLayer"]
