"""Configs: how the weights and the inputs of a layer are quantized."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.variable import value_of
from lamina.errors import ArgumentError
from lamina.quantizers.calibration import Calibrated, awq, gptq
from lamina.quantizers.integers import AbsMaxQuantizer, Quantizer
from lamina.serialization import registry
from lamina.serialization.fields import (
    Configurable,
    field,
    is_integer,
    number,
    optional,
    positive_int,
)
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config


def _read_quantizer(value: Any) -> Any:
    value = registry.resolve("quantizers", value, "quantizer")
    if value is not None and not isinstance(value, Quantizer):
        raise ArgumentError(f"expected a quantizer or None. Received: {value!r}.")
    return value


def _read_activation(value: Any) -> Any:
    return value if value == "default" else _read_quantizer(value)


def _read_group(value: Any) -> int:
    if not is_integer(value) or int(value) < -1 or int(value) == 0:
        raise ArgumentError(f"expected a positive integer, or -1. Received: {value!r}.")
    return int(value)


@builtin("quantizers")
class QuantizationConfig(Configurable):
    """Base class of the arguments of ``layer.quantize`` and ``model.quantize``.

    Args:
        weight_quantizer: Quantizer of the weights; that of the mode when None.
        activation_quantizer: Quantizer of the inputs; None to leave them as floats.

    Attributes:
        mode: ``"int8"``, ``"int4"`` or ``"float8"``.

    >>> Int8QuantizationConfig(activation_quantizer=None).mode
    'int8'
    """

    weight_quantizer: Any = field(default=None, convert=_read_quantizer)
    activation_quantizer: Any = field(default=None, convert=_read_quantizer)

    mode: ClassVar[str] = ""

    @staticmethod
    def weight_quantizer_or_default(config: QuantizationConfig | None, default: Any) -> Any:
        """The quantizer of the weights, or ``default`` without a config or without that."""
        return default if config is None else config.weight_quantizer or default

    @staticmethod
    def activation_quantizer_or_default(config: QuantizationConfig | None, default: Any) -> Any:
        """The quantizer of the inputs, which may be None; ``default`` without a config."""
        return default if config is None else config.activation_quantizer


def _check_weights(config: QuantizationConfig, **wanted: Any) -> None:
    """Check attributes of the quantizer of the weights."""
    quantizer = config.weight_quantizer
    for name, value in wanted.items():
        received = None if quantizer is None else vars(quantizer).get(name)
        if quantizer is not None and received != value:
            raise ArgumentError(
                f"{type(config).__name__}() expects a `weight_quantizer` with {name}={value!r}. "
                f"Received: {received!r}."
            )


@builtin("quantizers")
class Int8QuantizationConfig(QuantizationConfig):
    """Weights in 8 bits, with a scale for each output, and by default inputs in 8 bits too.

    The products of 8-bit inputs and weights are summed as 32-bit integers.

    Args:
        weight_quantizer: Quantizer of the weights; the largest magnitude of each output is mapped
            to 127 when None.
        activation_quantizer: Quantizer of the inputs of products. ``"default"``: the largest
            magnitude of each sample is mapped to 127. None to leave them as floats.

    Raises:
        ArgumentError: A ``weight_quantizer`` with a dtype other than int8.

    >>> import lamina
    >>> dense = lamina.layers.Dense(2)
    >>> dense.build((None, 3))
    >>> dense.quantize(config=Int8QuantizationConfig())
    >>> dense.kernel.dtype
    'int8'
    """

    weight_quantizer: Any = field(default=None, convert=_read_quantizer)
    activation_quantizer: Any = field(default="default", convert=_read_activation)
    mode: ClassVar[str] = "int8"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation_quantizer == "default":
            self.activation_quantizer = AbsMaxQuantizer()
        _check_weights(self, output_dtype="int8")


@builtin("quantizers")
class Int4QuantizationConfig(QuantizationConfig):
    """Weights in 4 bits, two in a byte; by default inputs stay floats.

    Args:
        weight_quantizer: Quantizer of the weights, without blocks; the largest magnitude of each
            output is mapped to 7 when None.
        activation_quantizer: Quantizer of the inputs of products, without blocks; ``"default"``
            and None leave them as floats.
        block_size: Number of inputs that share a scale and a zero point for each output; None or
            -1 for one scale for each output and no zero point.

    Raises:
        ArgumentError: Quantizers together with blocks, or a ``weight_quantizer`` with another range
            than ``(-8, 7)`` or a dtype other than int8.

    >>> Int4QuantizationConfig(block_size=64).block_size
    64
    """

    weight_quantizer: Any = field(default=None, convert=_read_quantizer)
    activation_quantizer: Any = field(default="default", convert=_read_activation)
    block_size: Any = field(default=128, convert=optional(_read_group))
    mode: ClassVar[str] = "int4"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation_quantizer == "default":
            self.activation_quantizer = None
        given = [n for n in ("weight_quantizer", "activation_quantizer") if vars(self)[n]]
        if given and self.block_size not in (None, -1):
            raise ArgumentError(
                f"Int4QuantizationConfig(): blocks have no quantizers of your own, {given}. Pass "
                f"`block_size=None` for one scale for each output. Received: {self.block_size}."
            )
        _check_weights(self, value_range=(-8, 7), output_dtype="int8")

    @classmethod
    @reads_config
    def from_config(cls, config: Any) -> Any:
        """Create a config from the result of :meth:`get_config`."""
        # Files without a block size are from before there were blocks.
        return super().from_config({"block_size": None, **config})


@builtin()
class _FixedQuantizers(QuantizationConfig, without="weight_quantizer activation_quantizer"):
    """Base class of configs whose quantizers cannot be chosen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weight_quantizer = self.activation_quantizer = None


@builtin("quantizers")
class Float8QuantizationConfig(_FixedQuantizers):
    """Training whose products are of 8-bit floats; the weights stay as they are.

    >>> Float8QuantizationConfig().mode
    'float8'
    """

    mode: ClassVar[str] = "float8"


# ---- quantization with the inputs of layers ------------------------------------------------------


@runtime_checkable
class _Tokenizes(Protocol):
    """A tokenizer that is not a function."""

    def tokenize(self, text: Any) -> Any: ...


def _bits(*choices: int) -> Any:
    def read(value: Any) -> int:
        if not is_integer(value) or int(value) not in choices:
            raise ArgumentError(f"expected one of {list(choices)}. Received: {value!r}.")
        return int(value)

    return field(default=4, convert=read, kw_only=True)


_GIVEN: Any = field()
_COUNT: Any = functools.partial(field, convert=positive_int)


@builtin()
class CalibratedConfig(_FixedQuantizers):
    """Base class of the configs of quantization that sees what inputs the layers have."""

    dataset: Any = _GIVEN
    tokenizer: Any = _GIVEN
    weight_bits: int = _bits(2, 3, 4, 8)
    num_samples: int = _COUNT(default=128, kw_only=True)
    sequence_length: int = _COUNT(default=512, kw_only=True)
    group_size: int = field(default=128, convert=_read_group, kw_only=True)
    quantization_layer_structure: Any = field(default=None, kw_only=True)

    def observe(self, inputs: Any) -> Any:
        """What is kept of the inputs of a matrix, ``(count, rows)`` floats."""
        raise NotImplementedError

    def join(self, kept: Any, more: Any) -> Any:
        """Combine what :meth:`observe` returned for two calls."""
        raise NotImplementedError

    def calibrate(self, weights: Any, kept: Any) -> Calibrated:
        """Quantize the transpose of a matrix, with what was kept of its inputs, or None."""
        raise NotImplementedError

    def dtype_policy_string(self) -> str:
        """The mode of the policy of quantized layers, such as ``"gptq/4/128"``."""
        return f"{self.mode}/{self.weight_bits}/{self.group_size}"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, without the data and the layers of the calibration."""
        once = ("dataset", "tokenizer", "quantization_layer_structure")
        return {**super().get_config(), **dict.fromkeys(once)}

    def calibration_samples(self) -> np.ndarray:
        """The sequences of the calibration, ``(num_samples, 1, sequence_length)`` integers.

        All elements of the dataset are joined, and repeated if there are too few; the sequences
        begin at regular distances.

        Raises:
            ArgumentError: No dataset, an empty one, text without a tokenizer, or elements that are
                not integers.

        >>> AWQConfig(
        ...     [[1, 2, 3], [4]], None, num_samples=2, sequence_length=3
        ... ).calibration_samples()
        array([[[1, 2, 3]],
        <BLANKLINE>
               [[4, 1, 2]]], dtype=int32)
        """
        who, data = type(self).__name__, self.dataset
        if data is None or isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
            raise ArgumentError(
                f"{who}: `dataset` is an iterable of texts, or of integers that a tokenizer made "
                f"of them. Received: {data!r} (of type {type(data).__name__})."
            )
        joined = np.concatenate([np.zeros(0, "int32"), *map(self._tokens, data)])
        if not joined.size:
            raise ArgumentError(f"{who}: `dataset` contains no tokens.")
        length, count = self.sequence_length, self.num_samples
        tokens = np.resize(
            joined, max(joined.size, -(-length * count // joined.size) * joined.size)
        )
        last = tokens.size - length
        starts = np.arange(count) * max(1, (last + 1) // count) % (last + 1)
        windows = np.lib.stride_tricks.sliding_window_view(tokens, length)
        return windows[starts][:, None]

    def _tokens(self, element: Any) -> np.ndarray:
        if isinstance(element, str):
            tokenizer = self.tokenizer
            if tokenizer is None:
                raise ArgumentError(
                    f"{type(self).__name__}: `dataset` contains text. Pass a `tokenizer`, or "
                    "integers in place of the text."
                )
            element = (tokenizer.tokenize if isinstance(tokenizer, _Tokenizes) else tokenizer)(
                element
            )
        tokens = np.asarray(value_of(element))
        if tokens.size and tokens.dtype.kind not in "iu":
            raise ArgumentError(
                f"{type(self).__name__}: the elements of `dataset` are texts or integers. "
                f"Received: an element of dtype {tokens.dtype}."
            )
        return tokens.reshape(-1).astype("int32")


@builtin("quantizers")
class GPTQConfig(CalibratedConfig, kw_only=True):
    """Weights of 2 to 8 bits, rounded so that the outputs of the layer change least: GPTQ.

    The inputs of a row of weights that is rounded late make up for the errors of those rounded
    before. What the inputs are is found out by running the model on a few sequences. Frantar et
    al. 2022, arXiv:2210.17323; see :func:`lamina.quantizers.calibration.gptq`.

    Args:
        dataset: Iterable of texts, or of integers that a tokenizer made of them.
        tokenizer: Function from a text to integers, or an object with such a method ``tokenize``;
            None if ``dataset`` is of integers.
        weight_bits: Number of bits of a weight: 2, 3, 4 or 8. 4-bit weights are stored two in a
            byte, others one.
        num_samples: Number of sequences of the calibration.
        per_channel: Whether each output has its own scales.
        sequence_length: Number of integers in a sequence.
        hessian_damping: What is added to the diagonal of the inputs' second moments, as a fraction
            of its mean, so that they can be inverted.
        group_size: Number of inputs that share a scale and a zero point; -1 for all.
        symmetric: Whether the zero point is the middle of the range.
        activation_order: Whether to round the weights of the largest inputs first.
        quantization_layer_structure: Dict of the layers that make ``"pre_block_layers"`` and the
            ``"sequential_blocks"`` whose layers are quantized, each a list; what
            ``model.get_quantization_layer_structure("gptq")`` returns when None.

    ``get_config`` leaves out the data and the layers, which are needed only once.

    >>> import lamina
    >>> table, block = lamina.layers.Embedding(9, 4), lamina.layers.Dense(4, name="block")
    >>> model = lamina.Sequential([lamina.Input((6,), dtype="int32"), table, block])
    >>> config = GPTQConfig(
    ...     [[1, 2, 3, 4, 5, 6, 7, 8]],
    ...     None,
    ...     num_samples=2,
    ...     sequence_length=6,
    ...     quantization_layer_structure={
    ...         "pre_block_layers": [table],
    ...         "sequential_blocks": [block],
    ...     },
    ... )
    >>> model.quantize("gptq", config=config)
    >>> block.dtype_policy.name
    'gptq/4/128_from_float32'
    """

    per_channel: bool = True
    hessian_damping: float = field(default=0.01, convert=number("[0, 1]"))
    symmetric: bool = False
    activation_order: bool = False
    mode: ClassVar[str] = "gptq"

    def observe(self, inputs: Any) -> Any:
        return inputs.shape[0], inputs.T @ inputs

    def join(self, kept: Any, more: Any) -> Any:
        return jax.tree.map(jnp.add, kept, more)

    def calibrate(self, weights: Any, kept: Any) -> Calibrated:
        count, products = (1, jnp.zeros((weights.shape[1],) * 2)) if kept is None else kept
        return gptq(
            weights, products * (2 / count), self.weight_bits, self.group_size, self.symmetric,
            self.per_channel, self.hessian_damping, self.activation_order,
        )  # fmt: skip


@builtin("quantizers")
class AWQConfig(CalibratedConfig, kw_only=True):
    """4-bit weights, scaled before they are rounded so that those of large inputs are exact: AWQ.

    How large the inputs are is found out by running the model on a few sequences. Lin et al. 2023,
    arXiv:2306.00978; see :func:`lamina.quantizers.calibration.awq`.

    Args:
        dataset: Iterable of texts, or of integers that a tokenizer made of them.
        tokenizer: Function from a text to integers, or an object with such a method ``tokenize``;
            None if ``dataset`` is of integers.
        weight_bits: Number of bits of a weight, 4.
        num_samples: Number of sequences of the calibration.
        sequence_length: Number of integers in a sequence.
        group_size: Number of inputs that share a scale and a zero point; -1 for all.
        num_grid_points: Number of exponents of the inputs' magnitudes that are tried, besides 0.
        quantization_layer_structure: Dict of the layers that make ``"pre_block_layers"`` and the
            ``"sequential_blocks"`` whose layers are quantized, each a list; what
            ``model.get_quantization_layer_structure("awq")`` returns when None.

    ``get_config`` leaves out the data and the layers, which are needed only once.

    >>> AWQConfig(None, None, group_size=64).dtype_policy_string()
    'awq/4/64'
    """

    weight_bits: int = _bits(4)
    num_grid_points: int = _COUNT(default=20)
    mode: ClassVar[str] = "awq"

    def observe(self, inputs: Any) -> Any:
        return jnp.abs(inputs).max(0)

    def join(self, kept: Any, more: Any) -> Any:
        return jnp.maximum(kept, more)

    def calibrate(self, weights: Any, kept: Any) -> Calibrated:
        largest = jnp.ones(weights.shape[1]) if kept is None else kept
        return awq(weights, largest, self.group_size, self.num_grid_points)


_DEFAULTS = {c.mode: c for c in (Int8QuantizationConfig, Int4QuantizationConfig,
                                 Float8QuantizationConfig)}  # fmt: skip
_CALIBRATED = {c.mode: c for c in (GPTQConfig, AWQConfig)}


def read_config(mode: Any, config: Any) -> QuantizationConfig:
    """The config that the arguments of ``quantize`` mean.

    Raises:
        ArgumentError: An unknown mode, something that is not a config, or a config of another mode.

    >>> read_config("int4", None).block_size
    128
    """
    if isinstance(config, str):
        mode, config = config, None
    if config is None and mode in _DEFAULTS:
        return _DEFAULTS[mode]()
    if not isinstance(config, QuantizationConfig):
        example = _CALIBRATED.get(mode, Int8QuantizationConfig)
        arguments = "dataset, tokenizer" if mode in _CALIBRATED else ""
        raise ArgumentError(
            f"quantize() takes one of the modes {list(_DEFAULTS)}, or a `config`, such as "
            f"`{example.__name__}({arguments})`. Received: mode={mode!r}, config={config!r}."
        )
    if mode is not None and mode != config.mode:
        raise ArgumentError(
            f"quantize() received mode={mode!r} and a config of mode {config.mode!r}. Leave out "
            "the mode."
        )
    return config
