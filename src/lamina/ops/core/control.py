"""Loops and conditions over functions.

In a graph, a function may capture symbolic tensors, which become inputs of the op's node.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.errors import ArgumentError
from lamina.ops.templates import as_array, tensor
from lamina.tree import nested

FILE_MODULE = "core"  # of Keras's files


def _arrays(x: Any) -> Any:
    # Python numbers stay: JAX gives them the dtype that a loop carries in their place.
    return nested.map_structure(lambda leaf: None if leaf is None else tensor(leaf), x)


def _plain(f: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function for JAX, which needs weak references to it and arrays as results."""
    return functools.wraps(f)(lambda *args: _arrays(f(*args)))  # messages name the user's function


@op
def cond(pred: Tensor, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """``true_fn()`` if ``pred`` is true, else ``false_fn()``; only one of them is computed.

    Args:
        pred: A scalar boolean.
        true_fn: A function without arguments.
        false_fn: A function without arguments that returns the same shapes and dtypes.

    >>> int(cond(True, lambda: 1, lambda: 2))
    1
    """
    return jax.lax.cond(as_array(pred), _plain(true_fn), _plain(false_fn))


@op
def switch(index: Tensor, branches: Sequence[Callable[..., Any]], *operands: Tensor) -> Any:
    """``branches[index](*operands)``; an index out of range is clipped to the first or last branch.

    Args:
        index: A scalar integer.
        branches: Functions of the operands that return the same shapes and dtypes.
        operands: Tensors.

    >>> int(switch(1, [lambda x: x + 1, lambda x: x * 10], 3))
    30
    """
    functions = [_plain(f) for f in branches]
    return jax.lax.switch(as_array(index), functions, *(_arrays(x) for x in operands))


@op
def scan(
    f: Callable[[Any, Any], Any],
    init: Tensor,
    xs: Tensor | None = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> Any:
    """Apply a function to the entries of ``xs`` one after the other, carrying a state.

    Args:
        f: ``(state, x) -> (state, y)``.
        init: The initial state: a tensor or a nested structure of tensors.
        xs: Tensors to iterate over along axis 0, or None.
        length: Number of steps if ``xs`` is None.
        reverse: Whether to start at the end.
        unroll: Number of steps to unroll into one iteration; True for all.

    Returns:
        The final state, and all ``y`` stacked along a new axis 0.

    >>> scan(lambda s, x: (s + x, s + x), 0, jnp.array([1, 2, 3]))[1]
    Array([1, 3, 6], dtype=int32)
    """
    if xs is None and length is None:
        raise ArgumentError("scan() needs `xs` or `length`. Received: None for both.")
    return jax.lax.scan(_plain(f), _arrays(init), _arrays(xs), length, reverse, unroll)


@op
def associative_scan(
    f: Callable[[Any, Any], Any], elems: Tensor, reverse: bool = False, axis: int = 0
) -> Any:
    """Cumulative results of an associative function, in a logarithmic number of steps.

    Args:
        f: ``(a, b) -> c`` for slices of ``elems``, with ``f(a, f(b, c)) == f(f(a, b), c)``.
        elems: A tensor or a nested structure of tensors.
        reverse: Whether to start at the end.
        axis: The axis to scan along.

    >>> associative_scan(lambda a, b: a + b, jnp.array([1, 2, 3]))
    Array([1, 3, 6], dtype=int32)
    """
    return jax.lax.associative_scan(_plain(f), _arrays(elems), reverse, axis)


@op
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Tensor,
    maximum_iterations: int | None = None,
) -> Any:
    """``loop_vars = body(*loop_vars)`` as long as ``cond(*loop_vars)`` is true.

    Args:
        cond: Function that returns a scalar boolean.
        body: Function that returns new loop variables of the same shapes and dtypes.
        loop_vars: A list or tuple of tensors, or one tensor.
        maximum_iterations: Upper bound of the number of iterations; None for no bound.

    Returns: The final loop variables. If the number of iterations is not known, the loop has no
    gradient; use :func:`scan` or :func:`fori_loop` then.

    >>> int(while_loop(lambda i: i < 5, lambda i: i + 2, 0))
    6
    """
    is_many = isinstance(loop_vars, (list, tuple))
    first = tuple(_arrays(v) for v in loop_vars) if is_many else (_arrays(loop_vars),)

    def step(carried: Any) -> Any:
        count, values = carried
        new = body(*values)
        new = tuple(new) if isinstance(new, (list, tuple)) else (new,)
        return count + 1, _arrays(new)

    def goes_on(carried: Any) -> Any:
        count, values = carried
        wanted = jnp.asarray(cond(*values))
        return wanted if maximum_iterations is None else wanted & (count < maximum_iterations)

    last = jax.lax.while_loop(goes_on, step, (as_array(0), first))[1]
    return (list(last) if isinstance(loop_vars, list) else last) if is_many else last[0]


@op
def fori_loop(lower: int, upper: int, body_fun: Callable[[Any, Any], Any], init_val: Tensor) -> Any:
    """``value = body_fun(i, value)`` for ``i`` from ``lower`` to ``upper - 1``.

    Args:
        lower: The first ``i``.
        upper: The end, excluded.
        body_fun: Function that returns a new
            value of the same shapes and dtypes.
        init_val: The initial value: a tensor or a nested structure of tensors.

    >>> int(fori_loop(0, 4, lambda i, x: x + i, 0))
    6
    """
    return jax.lax.fori_loop(lower, upper, _plain(body_fun), _arrays(init_val))


@op
def map(f: Callable[[Any], Any], xs: Tensor) -> Any:
    """Apply ``f`` to each entry of ``xs`` along axis 0, sequentially, and stack the results.

    Args:
        f: Function of one entry.
        xs: A tensor or a nested structure of tensors, of the same size along axis 0.

    >>> map(lambda x: x * 2, jnp.array([1, 2]))
    Array([2, 4], dtype=int32)
    """
    return jax.lax.map(_plain(f), _arrays(xs))


@op
def vectorized_map(function: Callable[[Any], Any], elements: Tensor) -> Any:
    """Apply ``function`` to all entries of ``elements`` along axis 0 at once; stack the results.

    Args:
        function: Function of one entry.
        elements: A tensor or a nested structure of tensors, of the same size along axis 0.

    >>> vectorized_map(lambda x: x * 2, jnp.array([1, 2]))
    Array([2, 4], dtype=int32)
    """
    return jax.vmap(_plain(function))(_arrays(elements))
