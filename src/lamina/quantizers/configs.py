"""Configs: how the weights and the inputs of a layer are quantized."""

from __future__ import annotations

from typing import Any, ClassVar

from lamina.errors import ArgumentError
from lamina.quantizers.integers import AbsMaxQuantizer, Quantizer
from lamina.serialization import registry
from lamina.serialization.fields import Configurable, field
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config


def _read_quantizer(value: Any) -> Any:
    value = registry.resolve("quantizers", value, "quantizer")
    if value is not None and not isinstance(value, Quantizer):
        raise ArgumentError(f"expected a quantizer or None. Received: {value!r}.")
    return value


def _read_activation(value: Any) -> Any:
    return value if value == "default" else _read_quantizer(value)


def _read_block(value: Any) -> Any:
    if value is not None and (not isinstance(value, int) or value < -1 or value == 0):
        raise ArgumentError(f"expected a positive integer, -1 or None. Received: {value!r}.")
    return value


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
        ArgumentError: A ``weight_quantizer`` with another dtype than int8.

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
            than ``(-8, 7)`` or another dtype than int8.

    >>> Int4QuantizationConfig(block_size=64).block_size
    64
    """

    weight_quantizer: Any = field(default=None, convert=_read_quantizer)
    activation_quantizer: Any = field(default="default", convert=_read_activation)
    block_size: Any = field(default=128, convert=_read_block)
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


@builtin("quantizers")
class Float8QuantizationConfig(QuantizationConfig):
    """Training whose products are of 8-bit floats; the weights stay as they are.

    >>> Float8QuantizationConfig().mode
    'float8'
    """

    mode: ClassVar[str] = "float8"

    def __init__(self) -> None:
        super().__init__()

    def get_config(self) -> dict[str, Any]:
        """Nothing: there are no quantizers of your own."""
        return {}


CONFIGS = {c.mode: c for c in (Int8QuantizationConfig, Int4QuantizationConfig,
                               Float8QuantizationConfig)}  # fmt: skip


def read_config(mode: Any, config: Any) -> QuantizationConfig:
    """The config that the arguments of ``quantize`` mean.

    Raises:
        ArgumentError: An unknown mode, something that is not a config, or a config of another mode.

    >>> read_config("int4", None).block_size
    128
    """
    if isinstance(config, str):
        mode, config = config, None
    if config is None and mode in CONFIGS:
        return CONFIGS[mode]()
    if not isinstance(config, QuantizationConfig):
        raise ArgumentError(
            f"quantize() takes one of the modes {list(CONFIGS)}, or a `config`, such as "
            f"`Int8QuantizationConfig()`. Received: mode={mode!r}, config={config!r}."
        )
    if mode is not None and mode != config.mode:
        raise ArgumentError(
            f"quantize() received mode={mode!r} and a config of mode {config.mode!r}. Leave out "
            "the mode."
        )
    return config
