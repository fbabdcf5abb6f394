"""Policies that combine a dtype of weights with a dtype of computation."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Self

from lamina import settings
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError


class DTypePolicy:
    """The dtypes in which a layer stores its weights and computes.

    Args:
        name: A dtype, for both, or ``"mixed_float16"`` or ``"mixed_bfloat16"`` (weights in float32,
            computation in 16 bits).

    >>> policy = DTypePolicy("mixed_bfloat16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'bfloat16')
    """

    def __init__(self, name: str | None = None) -> None:
        name = settings.floatx() if name is None else name
        if name in ("mixed_float16", "mixed_bfloat16"):
            self._dtypes = "float32", name.removeprefix("mixed_")
        else:
            name = standardize_dtype(name)
            self._dtypes = name, name
        self.name = name

    @property
    def variable_dtype(self) -> str:
        """The dtype in which weights are stored."""
        return self._dtypes[0]

    @property
    def compute_dtype(self) -> str:
        """The dtype in which layers compute."""
        return self._dtypes[1]

    @property
    def quantization_mode(self) -> None:
        """None, since weights are not quantized."""
        return

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
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<DTypePolicy {self.name!r}>"


class FloatDTypePolicy(DTypePolicy):
    """A policy of floating-point dtypes, equal to the :class:`DTypePolicy` of the same name.

    >>> FloatDTypePolicy("float32") == DTypePolicy("float32")
    True
    """


_default: ContextVar[DTypePolicy | None] = ContextVar("lamina_dtype_policy", default=None)


def dtype_policy() -> DTypePolicy:
    """The default policy, used by layers without a ``dtype`` argument."""
    return _default.get() or DTypePolicy()


def set_dtype_policy(policy: str | DTypePolicy | None) -> None:
    """Set the default policy of new layers; None resets it to ``floatx``."""
    _default.set(None if policy is None else get_policy(policy))


def get_policy(identifier: Any) -> DTypePolicy:
    """The policy that ``identifier`` stands for.

    Args:
        identifier: A policy, its name, a dtype, what :func:`serialize` returned, or None for the
            default policy.

    Raises:
        ArgumentError: ``identifier`` is none of these.

    >>> get_policy("mixed_bfloat16").compute_dtype
    'bfloat16'
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    name = identifier if isinstance(identifier, str) else standardize_dtype(identifier)
    return DTypePolicy(name)


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """Convert a policy to JSON data.

    >>> serialize(DTypePolicy("float32"))["config"]
    {'name': 'float32'}
    """
    return {
        "module": "keras",
        "class_name": type(dtype_policy).__name__,
        "config": dtype_policy.get_config(),
        "registered_name": None,
    }


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
    inner = config.get("config", config)
    if not isinstance(inner, Mapping) or "name" not in inner:
        raise ArgumentError(f"The config of a dtype policy needs a 'name'. Received: {config!r}.")
    name = config.get("class_name", "DTypePolicy")
    if custom_objects and name in custom_objects:
        return custom_objects[name].from_config(inner)
    cls = FloatDTypePolicy if name == "FloatDTypePolicy" else DTypePolicy
    return cls(inner["name"])
