"""Layers around a matrix of weights: low-rank adaptation (LoRA) and quantization."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.boundary import public
from lamina.core.spec import structs_of
from lamina.core.variable import Variable, value_of
from lamina.dtype_policies.policy import (
    CalibratedDTypePolicy,
    DTypePolicy,
    Int4DTypePolicy,
    QuantizedDTypePolicy,
    QuantizedFloat8DTypePolicy,
    get_policy,
)
from lamina.errors import ArgumentError
from lamina.layers.adapters import AdaptedLayer, Matrix
from lamina.layers.base import Layer
from lamina.layers.weights import add_weight
from lamina.ops.lowering.matmul import matmul
from lamina.quantizers import (
    AbsMaxQuantizer,
    Int4QuantizationConfig,
    QuantizationConfig,
    abs_max_quantize_grouped_with_zero_point,
    pack_int4,
    unpack_int4,
)
from lamina.quantizers.calibration import Calibrated
from lamina.quantizers.configs import CalibratedConfig, read_config
from lamina.quantizers.float8 import round_to_float8, with_rounded_gradient
from lamina.serialization import registry
from lamina.serialization.fields import field
from lamina.serialization.registry import builtin

_FLOAT8 = ("inputs", "kernel", "outputs_grad")
CALIBRATED = ("gptq", "awq")  # modes that see what inputs the layers have


def _read_config(value: Any) -> Any:
    value = registry.deserialize(value) if isinstance(value, Mapping) else value
    if value is not None and not isinstance(value, QuantizationConfig):
        raise ArgumentError(
            "expected a config, such as `lamina.quantizers.Int8QuantizationConfig()`. "
            f"Received: {value!r}."
        )
    return value


# By its own name, because type checkers take `field(...)` in a class for a positional argument.
_CONFIG: Any = field(default=None, convert=_read_config)


@builtin()
class MatrixLayer(AdaptedLayer, trailing=True, kw_only=True):
    """The last arguments of layers with a matrix, which can be adapted and quantized."""

    quantization_config: Any = _CONFIG

    _optional = (*AdaptedLayer._optional, "gptq_unpacked_column_size", "quantization_config")
    _modes: ClassVar[tuple[str, ...]] = ("int8", "int4", "float8", *CALIBRATED)
    _after_first: ClassVar[tuple[str, ...]] = ("bias",)  # in files, before what quantization adds

    def __post_init__(self) -> None:
        super().__post_init__()
        self.inputs_quantizer = None

    # ---- building ------------------------------------------------------------------------------

    def _matrices_of(self, shape: tuple[int, ...]) -> tuple[Matrix, ...]:
        """The matrices, the first of which has this shape."""
        return (Matrix("kernel", shape, (0,), (shape[0], shape[1])),)

    def _build_matrices(self, shape: tuple[int, ...]) -> None:
        """Add the variables of the matrices, quantized if the policy says so."""
        self._matrices = self._matrices_of(shape)
        mode = self.quantization_mode
        if mode is None or mode == "float8":
            for m in self._matrices:
                setattr(self, m.attribute, self._add_floats(m))
        if mode is not None:
            self.quantized_build(shape, mode, self.quantization_config)

    def _add_floats(self, m: Matrix) -> Variable:
        return add_weight(self, m.name, m.shape)

    def quantized_build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, kernel_shape: Any, mode: str, config: Any = None
    ) -> None:
        """Add the variables of the quantized form; :meth:`build` and :meth:`quantize` call this.

        Args:
            kernel_shape: Shape of the first matrix as floats.
            mode: How to quantize.
            config: A config; that of the layer when None.
        """
        self._check_mode(mode)
        if config is not None:
            self.quantization_config = config
        self._matrices = self._matrices_of(tuple(kernel_shape))
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
            for attribute, array in self._blank(m, mode).items():
                is_scale = attribute.endswith(("_scale", "_scales"))
                first: Any = "ones" if is_scale else "zeros"
                if attribute == "g_idx" and (block := self._block_size) is not None:
                    first = functools.partial(_numbers_of_blocks, block)
                name = "kernel" if attribute == "quantized_kernel" else attribute.lstrip("_")
                dtype = None if is_scale else array.dtype
                setattr(self, attribute, self.add_weight(
                    array.shape, first, dtype, trainable=False, name=name,
                ))  # fmt: skip

    def _unadapted(self, m: Matrix) -> Any:
        mode = self.quantization_mode
        if mode in CALIBRATED:
            return self._calibrated_integers()
        if mode == "int4":
            return unpack_int4(vars(self)[m.attribute], m.grid[m.packed], m.packed).reshape(m.shape)
        return super()._unadapted(m)

    def _may_adapt(self) -> None:
        super()._may_adapt()
        if self.quantization_mode in CALIBRATED:
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) is quantized by "
                f"{self.quantization_mode!r}, which has no adapters. Enable LoRA with 'int8' or "
                "'int4' weights, or without quantization.",
                layer=self.name,
            )

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

    def _takes(self, mode: str) -> bool:
        """Whether the layer has a form of this mode."""
        return mode in self._modes

    def _check_mode(self, mode: str) -> None:
        if not self._takes(mode):
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) can be quantized to "
                f"{[n for n in self._modes if self._takes(n)]}. Received: {mode!r}.",
                layer=self.name,
            )

    def can_be_quantized(self, mode: str, type_check: bool = True) -> bool:
        """Whether :meth:`quantize` accepts the mode, for the class itself or for users' too.

        Args:
            mode: Such as ``"int8"``.
            type_check: Whether to leave out classes of users, whose `call` may use the floats.
        """
        if registry.defined_by_user(type(self), "quantize"):
            return not self._is_quantized
        own = registry.registration_of(type(self)) is not None
        return self._takes(mode) and not self._is_quantized and (own or not type_check)

    @public
    def quantize(
        self, mode: str | None = None, type_check: bool = True, config: Any = None
    ) -> None:
        config = read_config(mode, config)
        if isinstance(config, CalibratedConfig) and config.dataset is not None:
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) alone cannot use the `dataset` of "
                f"the {type(config).__name__}: what its inputs are is known by running a model. "
                "Call `quantize` of the model; or pass `dataset=None` to round to the nearest.",
                layer=self.name,
            )
        self._quantize(config, type_check, None)

    def _quantize(self, config: QuantizationConfig, type_check: bool, kept: Any) -> None:
        who, kind = f"Layer {self.name!r} ({type(self).__name__})", config.mode
        self._check_mode(kind)
        self._need_weights("`quantize`")
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
        name = kind
        if isinstance(config, Int4QuantizationConfig):
            name = f"int4/{config.block_size or -1}"
        elif isinstance(config, CalibratedConfig):
            name, config = config.dtype_policy_string(), config.from_config(config.get_config())
            if self.lora_enabled:
                raise ArgumentError(
                    f"{who} has an adapter, which {kind!r} weights cannot have. Save the model, "
                    "whose file contains the sum of both, and quantize what is loaded from it.",
                    layer=self.name,
                )
        new = get_policy(f"{name}_from_{self._own_policy.name}")
        before, self.quantization_config = self.quantization_config, config
        values: dict[str, Any] = {}
        try:
            for m in () if kind == "float8" else self._matrices:
                values |= self._quantized(m, vars(self)[m.attribute].numpy(), kind, kept)
        except BaseException:
            self.quantization_config = before
            raise
        if values:
            self._remove_floats()
        self.quantized_build(self._matrices[0].shape, kind, config)
        for attribute, value in values.items():
            vars(self)[attribute].assign(value)
        if self.dtype_policy.quantization_mode is None:
            self.dtype_policy = new

    def _remove_floats(self) -> None:
        for m in self._matrices:
            delattr(self, m.attribute)

    def _form(self) -> list[Any]:
        """How the layer is quantized, as data."""
        return [registry.serialize(x) for x in (self._own_policy, self.quantization_config)]

    def _take_form(self, policy: QuantizedDTypePolicy, config: Any) -> None:
        """Create the variables of a quantized form; their values are loaded afterwards."""
        mode = policy.quantization_mode
        self._check_mode(mode)
        self.quantization_config = config
        self._is_quantized = self.built  # so that setting the policy does not quantize
        self.dtype_policy = policy
        if self.built:
            if mode != "float8":
                self._remove_floats()
            self.quantized_build(self._matrices[0].shape, mode, config)

    def _quantize_for(self, policy: DTypePolicy) -> None:
        config = None
        if policy.quantization_mode in CALIBRATED:
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) has weights already, which a policy "
                f"of mode {policy.quantization_mode!r} does not calibrate. Call "
                f"`quantize({policy.quantization_mode!r}, config=...)` of the model.",
                layer=self.name,
            )
        if policy.quantization_mode == "int4":
            size = policy.block_size if isinstance(policy, Int4DTypePolicy) else None
            config = Int4QuantizationConfig(block_size=size)
        self.quantize(policy.quantization_mode, config=config)

    def _blank(self, m: Matrix, mode: str) -> dict[str, Any]:
        """The shapes and dtypes of the quantized form of a matrix, by attribute, without arrays."""
        struct = jax.ShapeDtypeStruct  # files may describe matrices that are larger than any memory
        if mode not in CALIBRATED:
            floats = struct(m.shape, self.dtype)
            return structs_of(lambda x: self._quantized(m, x, mode), floats)
        (rows, columns), size = m.grid, self._calibration.group_size
        groups = struct((columns, 1 if size == -1 else -(-rows // size)), self.dtype)
        each = struct((rows,), self.dtype)
        found = Calibrated(struct((columns, rows), self.dtype), groups, groups, each, each)
        return structs_of(lambda x: self._stored(x, mode), found)

    @property
    def _calibration(self) -> CalibratedConfig | CalibratedDTypePolicy:
        """What tells the number of bits and the size of groups."""
        for found in (self.quantization_config, self._own_policy):
            if isinstance(found, (CalibratedConfig, CalibratedDTypePolicy)):
                return found
        raise ArgumentError(
            f"Layer {self.name!r} ({type(self).__name__}) needs a config, or a policy such as "
            "'gptq/4/128_from_float32', that tells the number of bits.",
            layer=self.name,
        )

    def _stored(self, found: Calibrated, mode: str) -> dict[str, Any]:
        integers = jnp.asarray(found.integers).astype("uint8")
        if self._calibration.weight_bits == 4:
            integers = pack_int4(integers, 0, "uint8")[0]
        return {
            "quantized_kernel": integers, "kernel_scale": jnp.asarray(found.scale),
            "kernel_zero": jnp.asarray(found.zero).astype("uint8"),
            **({"awq_scales": jnp.asarray(found.factors)} if mode == "awq" else {}),
            "g_idx": jnp.asarray(found.groups, "float32"),
        }  # fmt: skip

    def _calibrated_integers(self) -> Any:
        integers = vars(self)["quantized_kernel"]
        if self._calibration.weight_bits != 4:
            return integers
        return unpack_int4(integers, self._matrices[0].grid[1], 0, "uint8")

    def _quantized(
        self, m: Matrix, value: np.ndarray, mode: str, kept: Any = None
    ) -> dict[str, Any]:
        """The arrays of the quantized form of a matrix, by the attributes that hold them."""
        config = self.quantization_config
        if isinstance(config, CalibratedConfig):
            weights = jnp.asarray(value.reshape(m.grid).T)
            return self._stored(config.calibrate(weights, kept), mode)
        of_weights = QuantizationConfig.weight_quantizer_or_default
        if mode == "int8":
            quantizer = of_weights(self.quantization_config, AbsMaxQuantizer(axis=m.axes))
            integers, scale = _integers(quantizer, value, m.axes)
            scale = self._stored_scale(m, scale)
            return {m.attribute: integers, f"{m.name}_scale": scale}
        grid, block = value.reshape(m.grid), self._block_size
        if block is not None:
            parts = abs_max_quantize_grouped_with_zero_point(
                grid.T if m.axis else grid, block, to_numpy=True
            )
            integers, scale, zero = (jnp.transpose(x) for x in parts) if m.axis else parts
            arrays = {f"{m.name}_scale": scale, f"{m.name}_zero": zero}
            if m is self._matrices[0]:
                arrays["g_idx"] = _numbers_of_blocks(block, (m.grid[m.axis],), "float32")
        else:
            default = AbsMaxQuantizer(axis=m.axis, value_range=(-8, 7))
            quantizer = of_weights(self.quantization_config, default)
            integers, scale = _integers(quantizer, grid, m.axis)
            arrays = {f"{m.name}_scale": jnp.squeeze(scale, m.axis)}
        return {m.attribute: pack_int4(integers, m.packed)[0], **arrays}

    def _stored_scale(self, m: Matrix, scale: Any) -> Any:
        """A scale with size 1 along ``m.axes``, in the form in which it is stored."""
        return jnp.squeeze(scale, m.axes)

    def _full_scale(self, m: Matrix, scale: Any) -> Any:
        """A stored scale, with size 1 along ``m.axes``."""
        return jnp.expand_dims(scale, m.axes)

    def _floats(self, m: Matrix) -> Any:
        """The matrix as floats of the compute dtype in a call, else of the dtype of the weights."""
        own, mode = vars(self), self.quantization_mode
        if mode in CALIBRATED:
            integers = value_of(self._calibrated_integers())
            scale, zero = own["kernel_scale"].value, own["kernel_zero"].value
            floats = self._restored(integers, scale, zero, 1).T
            if mode == "awq":
                floats = floats / own["awq_scales"].value[:, None]
            return floats.reshape(m.shape)
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

    def input_rows(self, x: Any) -> Any:
        """The inputs of a call as vectors that the first matrix is multiplied by: a matrix."""
        return x.reshape(-1, x.shape[-1])

    # ---- products ------------------------------------------------------------------------------

    def _project(self, x: Any, matrix: Any, dtype: Any = None) -> Any:
        """The product of inputs and a matrix, summed in ``dtype``."""
        return matmul(x, matrix, dtype=dtype)

    def _low_rank(self, x: Any, a: Any, b: Any) -> Any:
        """The product of inputs and ``a @ b``."""
        return matmul(matmul(x, a), b)

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
                round_to_float8(v, own[f"{name}_scale"].value, own[f"{name}_amax_history"].value)
                for name, v in (("inputs", x), ("kernel", own[m.attribute].value))
            )
            return with_rounded_gradient(
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

    def _activated(self, x: Any) -> Any:
        """Add the bias and apply the activation, if any."""
        outputs, activation = self._with_bias(x), vars(self)["activation"]
        return outputs if activation is None else activation(outputs)

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
            if mode in CALIBRATED:
                scales = ["awq_scales"] if mode == "awq" else []
                names = [*self._after_first, "quantized_kernel", "kernel_scale", "kernel_zero",
                         *scales, "g_idx"]  # fmt: skip
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
        return [*listed, *(v for v in super()._file_variables() if v not in {*listed})]

    def _in_files(self, m: Matrix, value: Any) -> dict[str, Any]:
        mode = self.quantization_mode
        if mode in ("int8", "int4"):
            return self._quantized(m, value, mode)
        return super()._in_files(m, value)


def _integers(quantizer: Any, value: Any, axes: Any) -> tuple[Any, Any]:
    """What a quantizer makes of weights, along ``axes`` unless it says along which."""
    if not isinstance(quantizer, AbsMaxQuantizer):
        return quantizer(value)
    return quantizer(value, axes if quantizer.axis is None else None, to_numpy=True)


def _numbers_of_blocks(size: int, shape: Any, dtype: Any) -> Any:
    """The number of the block of each row, as an initializer."""
    return (jnp.arange(shape[0]) // size).astype(dtype)


def calibrate(layer: MatrixLayer, config: CalibratedConfig, type_check: bool, kept: Any) -> None:
    """Quantize a layer with what the config has kept of its inputs."""
    layer._quantize(config, type_check, kept)


def forms_of(layers: Sequence[Layer]) -> list[list[Any]]:
    """How layers are quantized, as data: the position, the policy and the config of each.

    Files of models contain it, for the layers inside others, which have no configs of their own.
    """
    return [
        [i, *x._form()]
        for i, x in enumerate(layers) if isinstance(x, MatrixLayer) and x._is_quantized
    ]  # fmt: skip


def take_forms(layers: Sequence[Layer], forms: Any) -> None:
    """Give layers the forms that :func:`forms_of` described, before weights are loaded.

    Layers that are quantized already are not changed, and invalid data is ignored.
    """
    for form in forms if isinstance(forms, list) else ():
        if not isinstance(form, list) or len(form) != 3 or type(form[0]) is not int:
            continue
        layer = layers[form[0]] if 0 <= form[0] < len(layers) else None
        if isinstance(layer, MatrixLayer) and layer.quantization_mode is None:
            policy = registry.deserialize(form[1])
            if isinstance(policy, QuantizedDTypePolicy):
                layer._take_form(policy, _read_config(form[2]))


__all__ = ["CALIBRATED", "MatrixLayer", "calibrate", "forms_of", "take_forms"]
