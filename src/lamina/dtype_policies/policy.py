"""Policies that pair the dtype of weights with the dtype of computation."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from lamina import settings
from lamina.dtype_policies.dtypes import standardize_dtype


class DTypePolicy:
    """Which dtype a layer stores its weights in, and which it computes in.

    Args:
        name: a dtype (both dtypes are it), ``"mixed_float16"`` or ``"mixed_bfloat16"`` (weights in
            float32, computation in 16 bits).

    >>> policy = DTypePolicy("mixed_bfloat16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'bfloat16')
    """

    def __init__(self, name: str | None = None) -> None:
        name = settings.floatx() if name is None else name
        if name in ("mixed_float16", "mixed_bfloat16"):
            self.variable_dtype, self.compute_dtype = "float32", name.removeprefix("mixed_")
        else:
            name = self.variable_dtype = self.compute_dtype = standardize_dtype(name)
        self.name = name

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<DTypePolicy {self.name!r}>"


_default: ContextVar[DTypePolicy | None] = ContextVar("lamina_dtype_policy", default=None)


def dtype_policy() -> DTypePolicy:
    """The policy that a layer takes when it is given no ``dtype``."""
    return _default.get() or DTypePolicy()


def set_dtype_policy(policy: str | DTypePolicy | None) -> None:
    """Set the default policy of layers made from now on (``None``: back to ``floatx``)."""
    _default.set(None if policy is None else get_policy(policy))


def get_policy(value: Any) -> DTypePolicy:
    """Resolve a policy, a dtype, a serialized policy or None (the default)."""
    if value is None:
        return dtype_policy()
    if isinstance(value, DTypePolicy):
        return value
    if isinstance(value, dict):
        return DTypePolicy(value.get("config", value)["name"])
    return DTypePolicy(value if isinstance(value, str) else standardize_dtype(value))
