"""Rematerialization: recompute values in the backward pass instead of storing them."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from typing import Any, ClassVar, Self

import jax
import jax.core
import numpy as np

from lamina.core.scope import Record, current, entered, get_mask, set_mask
from lamina.errors import ArgumentError
from lamina.tree import nested

# The mode "activations" stores the results of these; elementwise functions of them are cheap.
_EXPENSIVE = ("dot_general", "conv_general_dilated")


class RematScope:
    """Context manager that makes the layers created inside rematerialize their activations.

    Such a layer stores its inputs; its intermediate values are not stored for the gradients during
    training, but recomputed in the backward pass. This saves memory at the cost of computation.

    Args:
        mode: ``"full"`` recomputes all values; ``"activations"`` all but the results of matrix
            products and convolutions, which are stored; ``"larger_than"`` is like ``"full"``, for
            layers whose outputs have more elements than ``output_size_threshold``;
            ``"list_of_layers"`` is like ``"full"``, for the layers named in ``layer_names``; None
            recomputes nothing, even within another scope.
        output_size_threshold: Number of elements, including the batch, for ``"larger_than"``.
        layer_names: Names of layers, for ``"list_of_layers"``.

    Raises:
        ArgumentError: The mode is not one of these.

    Chen et al. 2016, https://arxiv.org/abs/1604.06174

    >>> from lamina import layers
    >>> with RematScope("full"):
    ...     layer = layers.Dense(3, activation="gelu")
    """

    MODES: ClassVar[tuple[str | None, ...]] = (
        "full", "activations", "larger_than", "list_of_layers", None,
    )  # fmt: skip

    def __init__(
        self,
        mode: str | None = "full",
        output_size_threshold: int = 1024,
        layer_names: Sequence[str] | None = None,
    ) -> None:
        if mode not in self.MODES:
            raise ArgumentError(
                f"RematScope() expects a `mode` of {list(self.MODES)}. Received: {mode!r}."
            )
        self.mode, self.output_size_threshold = mode, output_size_threshold
        self.layer_names = list(layer_names or [])
        self._tokens: list[Token[RematScope | None]] = []

    def __enter__(self) -> Self:
        self._tokens.append(_scope.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _scope.reset(self._tokens.pop())

    def call(self, name: str, fn: Callable[..., Any], *args: Any) -> Any:
        """Call ``fn(*args)``, with rematerialization if this scope applies to the layer ``name``.

        Args:
            name: Name of the layer.
            fn: The layer's computation.
            args: Its arguments.
        """
        if self.mode == "list_of_layers" and name not in self.layer_names:
            return fn(*args)
        least = self.output_size_threshold if self.mode == "larger_than" else None
        policy = _keeps_products if self.mode == "activations" else None
        return _checkpointed(fn, args, {}, policy=policy, larger_than=least)


_scope: ContextVar[RematScope | None] = ContextVar("lamina_remat", default=None)


def current_remat() -> RematScope | None:
    """The innermost active :class:`RematScope`; None if its mode is None."""
    scope = _scope.get()
    return None if scope is None or scope.mode is None else scope


def remat(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function like ``f`` whose intermediate values are recomputed in the backward pass.

    It may call layers: updates of their variables, losses and random draws are those of ``f``.

    Args:
        f: A function of arrays, in any nesting.

    Chen et al. 2016, https://arxiv.org/abs/1604.06174

    >>> float(jax.grad(remat(lambda x: jax.numpy.sin(x) ** 2))(0.0))
    0.0
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return _checkpointed(f, args, kwargs)

    return call


def _keeps_products(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name in _EXPENSIVE


def _is_array(x: Any) -> bool:
    return isinstance(x, (jax.Array, np.ndarray))


def _checkpointed(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    policy: Any = None,
    larger_than: int | None = None,
) -> Any:
    """Call ``fn(*args, **kwargs)`` under ``jax.checkpoint``, including its side effects.

    A call is not a pure function: it assigns to variables, adds losses and sets masks. Inside the
    checkpoint, these effects are collected in a separate record and returned as arrays; then they
    are added to the record of the enclosing call.
    """
    scope = current()
    leaves = nested.flatten((args, kwargs))
    traced = any(isinstance(x, jax.core.Tracer) for x in leaves)
    pure = scope is not None and scope.pure
    # Not in shape inference, in eager calls, or where a hook reads intermediate values.
    if (scope is not None and (scope.abstract or scope.hook is not None)) or not (traced or pure):
        return fn(*args, **kwargs)
    arrays = [x for x in leaves if _is_array(x)]
    masks = [get_mask(x) for x in arrays]
    left: list[Any] = []  # structures and names, which are not arrays

    def run(arrays: list[Any], masks: list[Any]) -> Any:
        given = iter(arrays)
        new_args, new_kwargs = nested.map_structure(
            lambda x: next(given) if _is_array(x) else x, (args, kwargs)
        )
        record = Record()
        if scope is None or not scope.pure:
            return _outputs(fn(*new_args, **new_kwargs), record, left)
        record.draws = Counter(scope.record.draws)
        inside = dataclasses.replace(
            scope, record=record, values={**scope.values, **scope.record.updates}
        )
        with entered(inside):
            for x, mask in zip(arrays, masks, strict=True):
                if mask is not None:
                    set_mask(x, mask)
            return _outputs(fn(*new_args, **new_kwargs), record, left)

    if larger_than is not None:
        outputs = jax.eval_shape(run, arrays, masks)[0]
        if sum(math.prod(x.shape) for x in outputs) <= larger_than:
            return fn(*args, **kwargs)
    outputs, out_masks, updates, losses, parts, logs = jax.checkpoint(run, policy=policy)(
        arrays, masks
    )
    structure, record, variables = left[-1]
    if scope is not None and scope.pure:
        scope.record.updates.update(zip(variables, updates, strict=True))
        scope.record.losses.extend(losses)
        scope.record.parts.update(parts)
        scope.record.logs.update(logs)
        scope.record.draws.update(record.draws - scope.record.draws)
        scope.record.unbound.update(record.unbound)
    found = iter(outputs)
    result = nested.map_structure(lambda x: next(found) if x is _ARRAY else x, structure)
    for x, mask in zip(outputs, out_masks, strict=True):
        if mask is not None:
            set_mask(x, mask)
    return result


class _Array:
    """A placeholder for an array in the result of a call."""


_ARRAY = _Array()


def _outputs(result: Any, record: Record, left: list[Any]) -> Any:
    arrays = [x for x in nested.flatten(result) if _is_array(x)]
    structure = nested.map_structure(lambda x: _ARRAY if _is_array(x) else x, result)
    left.append((structure, record, list(record.updates)))
    masks = [get_mask(x) for x in arrays]
    return (
        arrays, masks, list(record.updates.values()), record.losses, record.parts, record.logs,
    )  # fmt: skip
