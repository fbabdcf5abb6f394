"""Connectionist temporal classification: label sequences without alignment in time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.errors import ShapeError
from lamina.losses.base import DTYPE, REDUCTION, FunctionLoss, as_float, loss_function
from lamina.serialization.registry import builtin

# In place of log 0: the loss of an impossible sequence is about 1e5, with a finite gradient.
_LOG_ZERO = -1e5


@loss_function("labels")
def ctc(y_true: Any, y_pred: Any) -> Any:
    """``-log`` of the probability of the labels ``y_true`` under the logits ``y_pred``.

    Every time step emits a label or the blank, class 0; repeated labels are merged, then blanks are
    removed. The probabilities of all alignments that give the labels are summed.
    Graves et al. 2006, doi:10.1145/1143844.1143891.

    Args:
        y_true: Labels >= 1, ``(batch, max_length)``, padded with 0 at the end.
        y_pred: Logits, ``(batch, time, classes)``, where class 0 is the blank.

    Returns:
        Values of shape ``(batch,)``.

    Raises:
        ShapeError: Different shapes.

    >>> round(ctc([[1]], jnp.zeros((1, 1, 2))).item(), 4)  # one step, two classes
    0.6931
    """
    y_pred, labels = as_float(y_pred), jnp.asarray(y_true).astype("int32")
    if y_pred.ndim != 3 or labels.ndim != 2 or labels.shape[0] != y_pred.shape[0]:
        raise ShapeError(
            "ctc: the targets and predictions do not match.",
            expected=(
                "y_true of shape (batch, max_length), y_pred of shape (batch, time, classes)"
            ),
            received=f"y_true of shape {labels.shape}, y_pred of shape {y_pred.shape}",
            cure="Pad shorter targets with 0.",
        )
    return _negative_log_likelihood(labels, y_pred)


@jax.jit  # so that eager calls do not compile the scan again
def _negative_log_likelihood(labels: jax.Array, logits: jax.Array) -> jax.Array:
    batch, length = labels.shape
    # States of a path: a blank before, between and after the labels.
    states = jnp.zeros((batch, 2 * length + 1), "int32").at[:, 1::2].set(labels)
    emitted = jnp.take_along_axis(
        jax.nn.log_softmax(logits),
        jnp.broadcast_to(states[:, None], (batch, logits.shape[1], states.shape[1])),
        axis=-1,
    )
    two_back = jnp.pad(states, ((0, 0), (2, 0)), constant_values=-1)[:, :-2]
    may_skip = (states != 0) & (states != two_back)

    def step(before: jax.Array, now: jax.Array) -> tuple[jax.Array, None]:
        stay_or_go = jnp.logaddexp(before, _shifted(before, 1))
        skip = jnp.where(may_skip, _shifted(before, 2), _LOG_ZERO)
        return jnp.logaddexp(stay_or_go, skip) + now, None

    first = jnp.where(jnp.arange(states.shape[1]) < 2, emitted[:, 0], _LOG_ZERO)
    last, _ = jax.lax.scan(step, first, jnp.moveaxis(emitted[:, 1:], 1, 0))
    end = 2 * jnp.sum(labels != 0, axis=1, keepdims=True)
    on_label = jnp.where(end > 0, jnp.take_along_axis(last, jnp.maximum(end - 1, 0), 1), _LOG_ZERO)
    return -jnp.logaddexp(jnp.take_along_axis(last, end, 1), on_label)[:, 0]


def _shifted(x: jax.Array, by: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (by, 0)), constant_values=_LOG_ZERO)[:, :-by]


@builtin("losses")
class CTC(FunctionLoss):
    """CTC loss of label sequences without alignment in time: see :func:`ctc`.

    >>> round(CTC()([[1]], jnp.zeros((1, 1, 2))).item(), 4)
    0.6931
    """

    fn = staticmethod(ctc)
    reduction: str | None = REDUCTION
    name: str | None = "ctc"
    dtype: Any = DTYPE
