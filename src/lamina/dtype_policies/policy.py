"""Policies that combine a dtype of weights with a dtype of computation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.dtype_policies.dtypes import is_float, standardize_dtype
from lamina.errors import ArgumentError
from lamina.patterns import PatternMap

QUANTIZATION_MODES = ("int8", "int4", "float8", "gptq", "awq")


@runtime_checkable
class _Tensor(Protocol):
    """An array or a symbolic tensor."""

    @property
    def dtype(self) -> Any: ...

    def astype(self, dtype: Any) -> Any: ...


class DTypePolicy:
    """The dtypes in which a layer stores its weights and computes.

    Args:
        name: A dtype, for both, or ``"mixed_float16"`` or ``"mixed_bfloat16"`` (weights in float32,
            computation in 16 bits); that of the default policy when None.

    >>> policy = DTypePolicy("mixed_bfloat16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'bfloat16')
    """

    def __init__(self, name: str | None = None) -> None:
        name = dtype_policy().name if name is None else name
        self._dtypes = _dtypes_of(name)
        self._name = name if self._dtypes[0] != self._dtypes[1] else self._dtypes[0]

    @property
    def name(self) -> str:
        """The name that stands for the policy."""
        return self._name

    @property
    def variable_dtype(self) -> str:
        """The dtype in which weights are stored."""
        return self._dtypes[0]

    @property
    def compute_dtype(self) -> str:
        """The dtype in which layers compute."""
        return self._dtypes[1]

    @property
    def quantization_mode(self) -> str | None:
        """``"int8"``, ``"int4"``, ``"float8"``, ``"gptq"`` or ``"awq"``; None if not quantized."""
        return None

    def convert_input(self, x: Any, autocast: bool, dtype: Any) -> Any:
        """Convert an input of a layer: arrays to JAX arrays, floats to ``dtype``.

        Args:
            x: An array or a symbolic tensor; anything else is returned unchanged.
            autocast: Whether to cast floats.
            dtype: The dtype to cast them to.

        >>> DTypePolicy("float32").convert_input(np.ones(2), True, "float16").dtype
        dtype('float16')
        """
        dtype = standardize_dtype(dtype)
        if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biufc":
            x = jnp.asarray(x)
        if isinstance(x, (jax.Array, _Tensor)) and autocast:
            here = standardize_dtype(x.dtype)
            return x.astype(dtype) if is_float(here) and here != dtype else x
        return x

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Create a policy from the result of :meth:`get_config`."""
        try:
            return cls(**config)
        except TypeError as e:
            raise ArgumentError(
                f"The config of a dtype policy is a dict with its name. Received: {config!r}."
            ) from e

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.get_config() == self.get_config()

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<DTypePolicy {self.name!r}>"


def _dtypes_of(name: str) -> tuple[str, str]:
    """The dtypes of weights and computation."""
    if name in ("mixed_float16", "mixed_bfloat16"):
        return "float32", name.removeprefix("mixed_")
    name = standardize_dtype(name)
    return name, name


class FloatDTypePolicy(DTypePolicy):
    """A policy of floating-point dtypes, equal to the :class:`DTypePolicy` of the same name.

    Args:
        name: As for :class:`DTypePolicy`.

    >>> FloatDTypePolicy("float32") == DTypePolicy("float32")
    True
    """


class QuantizedDTypePolicy(DTypePolicy):
    """The policy of a layer with quantized weights; ``layer.quantize(mode)`` sets it.

    Args:
        mode: ``"int8"``, ``"int4"`` (one scale for each output) or ``"float8"``.
        source_name: Name of the policy without quantization; that of the default policy when None.

    Raises:
        ArgumentError: Another mode, or ``"int8"`` with computation in float16, whose range is too
            small for it.

    >>> policy = QuantizedDTypePolicy("int8", "mixed_bfloat16")
    >>> policy.name, policy.compute_dtype
    ('int8_from_mixed_bfloat16', 'bfloat16')
    """

    def __init__(self, mode: str, source_name: str | None = None) -> None:
        source = dtype_policy().name if source_name is None else source_name
        self._mode, self._source_name = mode, source
        self._name, self._dtypes = f"{mode}_from_{source}", _dtypes_of(source)
        kind = self.quantization_mode
        if kind not in QUANTIZATION_MODES:
            raise ArgumentError(
                f"{type(self).__name__}() expects `mode` to be one of {list(QUANTIZATION_MODES)}. "
                f"Received: {mode!r}."
            )
        if mode in ("gptq", "awq"):
            raise ArgumentError(
                f"A policy of mode {mode!r} has a number of bits and a group size: "
                f"`{mode.upper()}DTypePolicy('{mode}/4/128')`. Received: mode={mode!r}."
            )
        if kind == "int8" and self.compute_dtype == "float16":
            raise ArgumentError(
                "Mode 'int8' needs computation in float32 or bfloat16, because float16 overflows "
                f"above 65504. Received the policy {source!r}; use 'mixed_bfloat16'."
            )

    @property
    def quantization_mode(self) -> str:
        """How weights are quantized."""
        return self._mode

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"mode": self._mode, "source_name": self._source_name}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class QuantizedFloat8DTypePolicy(QuantizedDTypePolicy):
    """The policy of a layer that trains with products of 8-bit floats.

    Args:
        mode: ``"float8"``.
        source_name: Name of the policy without quantization; that of the default policy when None.
        amax_history_length: Number of training steps whose largest magnitudes determine a scale.

    Raises:
        ArgumentError: Another mode, or a length that is not a positive integer.

    >>> QuantizedFloat8DTypePolicy("float8", "float32", 16).amax_history_length
    16
    """

    default_amax_history_length: ClassVar[int] = 1024

    def __init__(
        self, mode: str, source_name: str | None = None, amax_history_length: int = 1024
    ) -> None:
        super().__init__(mode, source_name)
        if not isinstance(amax_history_length, int) or amax_history_length < 1:
            raise ArgumentError(
                "QuantizedFloat8DTypePolicy() expects `amax_history_length` to be a positive "
                f"integer. Received: {amax_history_length!r}."
            )
        self._amax_history_length = amax_history_length

    @property
    def amax_history_length(self) -> int:
        """Number of training steps whose largest magnitudes determine a scale."""
        return self._amax_history_length

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "amax_history_length": self.amax_history_length}


class SizedDTypePolicy(QuantizedDTypePolicy):
    """Base class of policies whose mode contains sizes, such as ``"gptq/4/128"``."""

    _kind: ClassVar[str]
    # The sizes by name: what they may be, and an example.
    _sizes: ClassVar[dict[str, tuple[str, int]]]

    def __init__(self, mode: str, source_name: str | None = None) -> None:
        allowed = (f"({pattern})" for pattern, _ in self._sizes.values())
        match = re.fullmatch("/".join((self._kind, *allowed)), mode)
        if match is None:
            example = "/".join((self._kind, *(str(n) for _, n in self._sizes.values())))
            raise ArgumentError(
                f"{type(self).__name__}() expects `mode` to be like {example!r}: {self._kind!r}, "
                + "".join(f"{name} ({pattern}), " for name, (pattern, _) in self._sizes.items())
                + f"separated by slashes. Received: {mode!r}."
            )
        for name, size in zip(self._sizes, match.groups(), strict=True):
            vars(self)[name] = int(size)
        self.mode = self._kind
        super().__init__(mode, source_name)

    @property
    def quantization_mode(self) -> str:
        """How weights are quantized."""
        return self.mode


_GROUP = "-1|[1-9][0-9]*"


class Int4DTypePolicy(SizedDTypePolicy):
    """The policy of a layer with 4-bit weights whose scales are those of blocks of inputs.

    Args:
        mode: ``"int4/128"`` for one scale for each output and each block of 128 inputs;
            ``"int4/-1"`` for one scale for each output.
        source_name: Name of the policy without quantization; that of the default policy when None.

    Raises:
        ArgumentError: Another mode, or a block size that is neither positive nor -1.

    >>> policy = Int4DTypePolicy("int4/128", "float32")
    >>> policy.block_size, policy.quantization_mode
    (128, 'int4')
    """

    _kind, _sizes = "int4", {"block_size": (_GROUP, 128)}
    block_size: int


class CalibratedDTypePolicy(SizedDTypePolicy):
    """Base class of the policies of weights that are quantized with the inputs of their layer."""

    weight_bits: int
    group_size: int


class GPTQDTypePolicy(CalibratedDTypePolicy):
    """The policy of a layer whose weights were quantized by GPTQ.

    Args:
        mode: ``"gptq/4/128"`` for 4 bits (or 2, 3 or 8), and one scale for each output and each
            group of 128 inputs; ``"gptq/4/-1"`` for one scale for each output.
        source_name: Name of the policy without quantization; that of the default policy when None.

    Raises:
        ArgumentError: Another mode.

    >>> policy = GPTQDTypePolicy("gptq/4/128", "float32")
    >>> policy.weight_bits, policy.group_size, policy.name
    (4, 128, 'gptq/4/128_from_float32')
    """

    _kind, _sizes = "gptq", {"weight_bits": ("[2348]", 4), "group_size": (_GROUP, 128)}


class AWQDTypePolicy(CalibratedDTypePolicy):
    """The policy of a layer whose weights were quantized by AWQ.

    Args:
        mode: ``"awq/4/128"`` for 4 bits, and one scale for each output and each group of 128
            inputs; ``"awq/4/-1"`` for one scale for each output.
        source_name: Name of the policy without quantization; that of the default policy when None.

    Raises:
        ArgumentError: Another mode.

    >>> AWQDTypePolicy("awq/4/-1", "float32").group_size
    -1
    """

    _kind, _sizes = "awq", {"weight_bits": ("4", 4), "group_size": (_GROUP, 128)}


class DTypePolicyMap(DTypePolicy, PatternMap[DTypePolicy]):
    """Policies of single layers by their paths, and one for all others.

    A key is the path of a layer, such as ``"encoder/dense"``, or a regular expression that matches
    it from beginning to end. Pass the map as ``dtype`` of a layer that passes it on to its inner
    layers; each takes its own policy from it.

    Args:
        default_policy: The policy where no key matches; the default policy when None.
        policy_map: Dict of keys to policies.

    Raises:
        ArgumentError: A key that is there already, something that is not a policy, or, in a
            look-up, a path that several keys match.

    >>> policies = DTypePolicyMap("float32", {"encoder/.*": "bfloat16"})
    >>> policies["encoder/dense"].name, policies["decoder/dense"].name
    ('bfloat16', 'float32')
    """

    def __init__(self, default_policy: Any = None, policy_map: Any = None) -> None:
        if isinstance(default_policy, DTypePolicyMap) or not isinstance(
            policy_map, (Mapping, type(None))
        ):
            raise ArgumentError(
                "DTypePolicyMap() expects a single `default_policy`, and `policy_map` to be a dict "
                f"of policies. Received: {default_policy!r} and {policy_map!r}."
            )
        self._given = None if default_policy is None else get_policy(default_policy)
        PatternMap.__init__(self)
        self.update(policy_map or {})

    @property
    def default_policy(self) -> DTypePolicy:
        """The policy where no key matches."""
        return dtype_policy() if self._given is None else self._given

    @property
    def name(self) -> str:
        """``"map_"`` and the name of the default policy."""
        return f"map_{self.default_policy.name}"

    @property
    def variable_dtype(self) -> str:
        """That of the default policy."""
        return self.default_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """That of the default policy."""
        return self.default_policy.compute_dtype

    @property
    def quantization_mode(self) -> str | None:
        """That of the default policy."""
        return self.default_policy.quantization_mode

    def _default_value(self) -> DTypePolicy:
        return self.default_policy

    def _converted(self, value: Any) -> DTypePolicy:
        return get_policy(value)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"default_policy": self._given, "policy_map": dict(self._entries)}

    def __repr__(self) -> str:
        shown = {key: policy.name for key, policy in self._entries.items()}
        return f"<DTypePolicyMap {self.default_policy.name!r}, {shown}>"


CLASSES: dict[str, type[DTypePolicy]] = {
    cls.__name__: cls
    for cls in (DTypePolicy, FloatDTypePolicy, QuantizedDTypePolicy, QuantizedFloat8DTypePolicy,
                Int4DTypePolicy, GPTQDTypePolicy, AWQDTypePolicy, DTypePolicyMap)
}  # fmt: skip
_BY_MODE = {"float8": QuantizedFloat8DTypePolicy, "gptq": GPTQDTypePolicy, "awq": AWQDTypePolicy}
_default: ContextVar[DTypePolicy | None] = ContextVar("lamina_dtype_policy", default=None)


def dtype_policy() -> DTypePolicy:
    """The default policy, used by layers without a ``dtype`` argument.

    >>> dtype_policy()
    <DTypePolicy 'float32'>
    """
    return _default.get() or DTypePolicy(settings.floatx())


def set_dtype_policy(policy: str | DTypePolicy | None) -> None:
    """Set the default policy of new layers; None resets it to ``floatx``.

    Args:
        policy: A policy, its name such as ``"mixed_bfloat16"``, or None.

    >>> set_dtype_policy("mixed_bfloat16")
    >>> dtype_policy().compute_dtype
    'bfloat16'
    >>> set_dtype_policy(None)
    """
    _default.set(None if policy is None else get_policy(policy))


def get_policy(identifier: Any) -> DTypePolicy:
    """The policy that ``identifier`` stands for.

    Args:
        identifier: A policy, its name, a dtype, what :func:`serialize` returned, or None for the
            default policy.

    Raises:
        ArgumentError: ``identifier`` is none of these.

    >>> get_policy("mixed_bfloat16").compute_dtype, get_policy("int8_from_float32")
    ('bfloat16', <QuantizedDTypePolicy 'int8_from_float32'>)
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    name = identifier if isinstance(identifier, str) else standardize_dtype(identifier)
    mode, separator, source = name.partition("_from_")
    if not separator:
        return DTypePolicy(name)
    other = Int4DTypePolicy if "/" in mode else QuantizedDTypePolicy
    return _BY_MODE.get(mode.partition("/")[0], other)(mode, source)


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """Convert a policy to JSON data.

    Args:
        dtype_policy: The policy.

    >>> serialize(DTypePolicy("float32"))["config"]
    {'name': 'float32'}
    """
    cls, config = type(dtype_policy), dtype_policy.get_config()
    if isinstance(dtype_policy, DTypePolicyMap):
        default, policies = config["default_policy"], config["policy_map"]
        config = {
            "default_policy": None if default is None else serialize(default),
            "policy_map": {key: serialize(policy) for key, policy in policies.items()},
        }
    return {
        "module": file_module_of(cls),
        "class_name": cls.__name__,
        "config": config,
        "registered_name": None,
    }


def file_module_of(cls: type[DTypePolicy]) -> str:
    """The module of a class of policies in Keras's files."""
    return "keras" if cls in (DTypePolicy, FloatDTypePolicy) else "keras.dtype_policies"


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> DTypePolicy:
    """The policy that :func:`serialize` described.

    Args:
        config: What :func:`serialize` returned, or the name of a policy.
        custom_objects: Your own classes of policies, by name.

    Raises:
        ArgumentError: The config does not describe a policy.

    >>> deserialize(serialize(DTypePolicy("mixed_float16")))
    <DTypePolicy 'mixed_float16'>
    """
    if not isinstance(config, Mapping):
        return get_policy(config)
    inner, name = config.get("config", config), config.get("class_name", "DTypePolicy")
    cls = {**CLASSES, **(custom_objects or {})}.get(name)
    if cls is None or not isinstance(inner, Mapping) or not inner:
        raise ArgumentError(
            f"The config of a dtype policy has one of the classes {list(CLASSES)} and a dict of "
            f"its arguments. Received: {config!r}."
        )
    try:
        return cls.from_config(inner)
    except TypeError as e:
        raise ArgumentError(
            f"The config of a {name} is not valid: {e}. Received: {config!r}."
        ) from e
