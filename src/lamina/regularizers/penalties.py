"""The regularizers: sums of absolute values and squares, and deviation from orthogonality."""

from __future__ import annotations

from typing import Any

from lamina import ops
from lamina.errors import ShapeError
from lamina.serialization.fields import Configurable, field, number, one_of
from lamina.serialization.registry import builtin


@builtin("regularizers")
class Regularizer(Configurable):
    """Base class of regularizers: callables that return a penalty, a scalar to add to the loss.

    Subclasses implement ``__call__``. A plain function may be used in place of a regularizer.

    >>> class Total(Regularizer):
    ...     def __call__(self, x):
    ...         return ops.sum(x)
    >>> float(Total()(ops.ones((2, 2))))
    4.0
    """

    def __call__(self, x: Any) -> Any:
        """The penalty of ``x``, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `__call__(self, x)`.")


_strength = number("[0, inf)")


def _factor(default: float) -> Any:
    """A factor of a penalty; None stands for its default."""
    return field(default=default, convert=lambda x: _strength(default if x is None else x))


@builtin("regularizers")
class L1(Regularizer):
    """``l1 * sum(|x|)``, which makes weights sparse.

    Args:
        l1: Factor, >= 0.

    >>> float(L1(0.5)(ops.ones((2, 2))))
    2.0
    """

    l1: float = _factor(0.01)

    def __call__(self, x: Any) -> Any:
        return self.l1 * ops.sum(ops.abs(x))


@builtin("regularizers")
class L2(Regularizer):
    """``l2 * sum(x ** 2)``, which keeps weights small.

    Args:
        l2: Factor, >= 0.

    >>> float(L2(0.5)(2 * ops.ones((2, 2))))
    8.0
    """

    l2: float = _factor(0.01)

    def __call__(self, x: Any) -> Any:
        return self.l2 * ops.sum(ops.square(x))


@builtin("regularizers", "l1_l2")
class L1L2(Regularizer):
    """``l1 * sum(|x|) + l2 * sum(x ** 2)``.

    Args:
        l1: Factor of the first term, >= 0.
        l2: Factor of the second term, >= 0.

    >>> float(L1L2(1.0, 0.5)(2 * ops.ones((2, 2))))
    16.0
    """

    l1: float = _factor(0.0)
    l2: float = _factor(0.0)

    def __call__(self, x: Any) -> Any:
        return self.l1 * ops.sum(ops.abs(x)) + self.l2 * ops.sum(ops.square(x))


@builtin("regularizers")
class OrthogonalRegularizer(Regularizer):
    """The mean of ``|cosine|`` between the rows (or columns) of a matrix, times ``factor / 2``.

    With ``n`` rows scaled to norm 1 and ``G = x @ x.T``:
    ``factor / 2 * sum over i != j of |G[i, j]| / (n (n - 1) / 2)``.

    Args:
        factor: Factor of the penalty, >= 0.
        mode: ``"rows"`` or ``"columns"``: which of them should be orthogonal.

    Raises:
        ShapeError: On use, a tensor that is not a matrix.

    >>> float(OrthogonalRegularizer(0.5)(ops.eye(3)))
    0.0
    """

    factor: float = field(default=0.01, convert=_strength)
    mode: str = field(default="rows", convert=one_of("rows", "columns"))

    def __call__(self, x: Any) -> Any:
        if len(x.shape) != 2:
            raise ShapeError(
                f"OrthogonalRegularizer() expects a matrix. Received: a tensor of shape {x.shape}."
            )
        rows = ops.normalize(x if self.mode == "rows" else ops.transpose(x), axis=1)
        n = rows.shape[0]
        cosines = ops.matmul(rows, ops.transpose(rows)) * (1 - ops.eye(n, dtype=rows.dtype))
        return self.factor * 0.5 * ops.sum(ops.abs(cosines)) / max(1.0, n * (n - 1) / 2)
