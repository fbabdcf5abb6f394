"""The scope of a call: the implicit inputs and outputs of a traced call.

Outside a call there is no scope. Inside one, it holds the values bound to variables, the training
mode and the random key; everything that a call produces besides its result (new values of
variables, losses, masks) is collected in its :class:`Record`.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import jax
import jax.core
import jax.numpy as jnp

from lamina import settings
from lamina.core import prng
from lamina.errors import StateError


@dataclasses.dataclass(slots=True)
class Record:
    """What a call produces besides its result."""

    updates: dict[Any, Any] = dataclasses.field(default_factory=dict)
    losses: list[Any] = dataclasses.field(default_factory=list)
    parts: dict[str, Any] = dataclasses.field(default_factory=dict)
    logs: dict[str, Any] = dataclasses.field(default_factory=dict)
    masks: dict[int, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    draws: Counter[str] = dataclasses.field(default_factory=Counter)
    # Variables that a pure call read although no value was bound to them.
    unbound: dict[Any, None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """Immutable context of a call: bound values, mode, key, path, and the record of side effects.

    Attributes:
        values: Arrays bound to variables during the call.
        training: Whether layers are in training mode; None if unspecified.
        key: The random key of the step; None outside a compiled step.
        compute_dtype: Dtype to which floating variables are cast when read.
        path: Names of the layers being called, outermost first.
        draw_path: Like ``path``, for random draws: independent of what else the process created.
        step: Number of the training step, from which the keys of explicit seeds are derived.
        layer: The innermost layer being called.
        pure: Whether new values of variables go to the record instead of the variables.
        abstract: Whether only shapes are needed; variables then read as zeros.
        building: The layer whose weights are being created.
        hook: Called with each layer, its arguments and outputs; its result replaces the outputs.
        record: Collects what the call produces besides its result.
        host: Gives what layers of the host compute for inputs of a compiled call, ahead of it.
    """

    values: Mapping[Any, Any] = dataclasses.field(default_factory=dict)
    training: bool | None = None
    key: Any = None
    compute_dtype: str | None = None
    path: tuple[str, ...] = ()
    layer: Any = None
    pure: bool = False
    abstract: bool = False
    building: Any = None
    hook: Any = None
    draw_path: tuple[str, ...] = ()
    step: Any = None
    record: Record = dataclasses.field(default_factory=Record)
    host: Any = None

    def inside(
        self,
        name: str,
        draw_name: str,
        layer: Any,
        training: bool | None,
        compute_dtype: str | None,
    ) -> Scope:
        """The scope of an inner call of ``layer``, which has the name ``name`` here."""
        return Scope(
            self.values,
            training,
            self.key,
            compute_dtype,
            (*self.path, name),
            layer,
            self.pure,
            self.abstract,
            None,
            self.hook,
            (*self.draw_path, draw_name),
            self.step,
            self.record,
            self.host,
        )


_current: ContextVar[Scope | None] = ContextVar("lamina_scope", default=None)


def current() -> Scope | None:
    """The scope of the call in progress, or None outside a call."""
    return _current.get()


@contextmanager
def entered(scope: Scope) -> Iterator[Scope]:
    """Context manager that makes ``scope`` the current one."""
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)


def random_key(seed: int | None = None, name: str = "") -> jax.Array:
    """A new random key for the layer being called.

    It depends on the key of the step, the path of the layer and the number of its earlier draws in
    this call; with an explicit ``seed`` it depends on the seed, the step and that number instead,
    so that two layers with equal seeds draw equal numbers. Outside a compiled step it depends on
    the global seed and a counter.
    """
    scope = current()
    draw_path = "/".join((*(scope.draw_path if scope else ()), name))
    if scope is not None and scope.key is not None:
        # In a step, the number that makes the outermost name unique in the process does not count.
        outermost = scope.draw_path[0].partition(":")[0] if scope.draw_path else ""
        draw_path = "/".join((outermost, *scope.draw_path[1:], name))
        n = scope.record.draws[draw_path]
        scope.record.draws[draw_path] += 1
        if seed is None:
            return prng.derive(scope.key, draw_path, n)
        if scope.step is None:
            return prng.derive(scope.key, "seed", seed, n)
        return prng.derive(jax.random.fold_in(prng.base_key(seed), scope.step), n)
    path = "/".join((*(scope.path if scope else ()), name))
    if isinstance(jnp.zeros(()), jax.core.Tracer):
        raise StateError(
            f"{path.rstrip('/')!r} draws random numbers inside a `jax.jit` of your own, where "
            "every run would repeat the same draw. Pass the randomness in: "
            "`model.stateless_call(..., training=True, seed=key)` with a new `jax.random.key` (or "
            "integer) at each run."
        )
    return prng.key(prng.eager_seed(seed, settings.global_seed(), draw_path))


# ---- masks ---------------------------------------------------------------------------------------


_MASK_IN_KERAS = "_keras_mask"  # the attribute that programs for Keras read
# Outside a pure call, tensors are concrete arrays, and a mask is kept as long as its array.
_eager_masks: dict[int, tuple[weakref.ref[Any], Any]] = {}


def set_mask(tensor: Any, mask: Any) -> None:
    """Attach ``mask`` to ``tensor``."""
    scope = current()
    if scope is not None and scope.pure:
        # The pair keeps the tensor alive, so that its id is not reused by another one.
        scope.record.masks[id(tensor)] = (tensor, mask)
    else:
        key = id(tensor)
        _eager_masks[key] = (weakref.ref(tensor, lambda _: _eager_masks.pop(key, None)), mask)
        with suppress(AttributeError):
            setattr(tensor, _MASK_IN_KERAS, mask)


def get_mask(tensor: Any) -> Any:
    """The mask that is attached to ``tensor``, or None."""
    scope = current()
    if scope is not None:
        found = scope.record.masks.get(id(tensor))
        if found is not None:
            return found[1]
    weak = _eager_masks.get(id(tensor))
    return weak[1] if weak is not None and weak[0]() is tensor else None
