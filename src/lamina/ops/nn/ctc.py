"""Connectionist temporal classification of unaligned labels. Graves et al. 2006, ICML."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lamina.core.declaration import Tensor, op
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.templates import as_array, floating

FILE_MODULE = "nn"  # of Keras's files

# The log-probability of impossible events: finite, so that differences and gradients are too.
_NEVER = -1e5


def _frames(name: str, x: Tensor) -> jax.Array:
    x = floating(x)
    if x.ndim != 3:
        raise ShapeError(
            f"ops.{name} expects a score for each class at each time step.",
            expected="(batch, time, classes)",
            received=show_dims(x.shape),
        )
    return x


@op(file_class="CTCLoss")
def ctc_loss(
    target: Tensor,
    output: Tensor,
    target_length: Tensor,
    output_length: Tensor,
    mask_index: int = 0,
) -> jax.Array:
    """``-log(sum of the probabilities of all paths that decode to the target)``.

    A path has a class at each time step; it is decoded by merging repeated classes and then
    removing blanks.

    Args:
        target: Class indices ``(batch, labels)``; entries beyond the length are ignored.
        output: Logits ``(batch, time, classes)``.
        target_length: Number of labels, ``(batch,)``.
        output_length: Number of time steps, ``(batch,)``.
        mask_index: The class index of the blank.

    Returns:
        Tensor ``(batch,)``, at least in single precision; about 100,000 if no path decodes to the
        target.

    >>> f"{ctc_loss([[1]], jnp.zeros((1, 1, 2)), [1], [1])[0]:.3f}"
    '0.693'
    """
    logits = _frames("ctc_loss", output)
    logits = logits.astype(jnp.promote_types(logits.dtype, "float32"))  # a sum of many numbers
    labels, label_count, times = map(as_array, (target, target_length, output_length))
    batch, width = labels.shape
    log = jax.nn.log_softmax(logits, -1)
    # Blanks around the labels: 2 * width + 1 states, where the even ones are blanks.
    states = jnp.full((batch, 2 * width + 1), mask_index, labels.dtype)
    states = states.at[:, 1::2].set(labels)
    emitted = jnp.take_along_axis(log, states[:, None, :], -1)  # (batch, time, states)
    # A label may follow the previous one without a blank if they differ.
    earlier = jnp.pad(states, ((0, 0), (2, 0)), constant_values=mask_index)[:, :-2]
    skips = (states != mask_index) & (states != earlier)
    # Beyond the length of the target, labels may be the index of the blank.
    skips = skips & (jnp.arange(2 * width + 1) % 2 == 1) & (jnp.arange(2 * width + 1) > 1)

    first = jnp.full(states.shape, _NEVER, log.dtype).at[:, :2].set(emitted[:, 0, :2])

    def step(alpha: jax.Array, frame: Any) -> Any:
        time, emission = frame
        one = jnp.pad(alpha, ((0, 0), (1, 0)), constant_values=_NEVER)[:, :-1]
        two = jnp.pad(alpha, ((0, 0), (2, 0)), constant_values=_NEVER)[:, :-2]
        reached = jnp.logaddexp(alpha, one)
        reached = jnp.where(skips, jnp.logaddexp(reached, two), reached)
        new = reached + emission
        return jnp.where((time < times)[:, None], new, alpha), None

    frames = (jnp.arange(1, log.shape[1]), jnp.moveaxis(emitted, 1, 0)[1:])
    alpha, _ = lax.scan(step, first, frames)
    last = (2 * label_count)[:, None]
    blank = jnp.take_along_axis(alpha, last, 1)[:, 0]
    label = jnp.take_along_axis(alpha, jnp.maximum(last - 1, 0), 1)[:, 0]
    return -jnp.where(label_count > 0, jnp.logaddexp(blank, label), blank)


@op(file_class="CTCDecode")
def ctc_decode(
    inputs: Tensor,
    sequence_lengths: Tensor,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """Decode class scores over time to labels.

    Args:
        inputs: Logits ``(batch, time, classes)``.
        sequence_lengths: Number of time steps, ``(batch,)``.
        strategy: ``"greedy"`` for the best class at each time step; ``"beam_search"`` for the most
            probable labels among the extensions of the ``beam_width`` best prefixes.
        beam_width: Number of prefixes that beam search keeps.
        top_paths: Number of results of beam search; at most ``beam_width``.
        merge_repeated: Whether to merge repeated classes; beam search always does.
        mask_index: The class index of the blank.

    Returns:
        Labels ``(top_paths, batch, time)``, padded with -1; and scores
        ``(batch, top_paths)``: the logarithm of their probability in beam search, minus the sum of
        the best logits in greedy search.

    >>> ctc_decode([[[0.0, 9.0], [0.0, 9.0], [9.0, 0.0]]], [3])[0]
    Array([[[ 1, -1, -1]]], dtype=int32)
    """
    logits = _frames("ctc_decode", inputs)
    lengths = as_array(sequence_lengths)
    if strategy == "greedy":
        return _greedy(logits, lengths, merge_repeated, mask_index)
    if strategy != "beam_search":
        raise ArgumentError(
            f"ctc_decode(): `strategy` must be 'greedy' or 'beam_search'. Received: {strategy!r}."
        )
    if not 1 <= top_paths <= beam_width:
        raise ArgumentError(
            "ctc_decode(): `top_paths` must be at least 1 and at most `beam_width`. "
            f"Received: top_paths={top_paths}, beam_width={beam_width}."
        )
    log = jax.nn.log_softmax(logits, -1)
    paths, scores = jax.vmap(lambda x, n: _beams(x, n, beam_width, top_paths, mask_index))(
        log, lengths
    )
    return jnp.moveaxis(paths, 1, 0), scores


def _greedy(logits: jax.Array, lengths: jax.Array, merge: bool, blank: int) -> Any:
    time = jnp.arange(logits.shape[1])
    inside = time < lengths[:, None]
    best = jnp.argmax(logits, -1).astype("int32")
    kept = inside & (best != blank)
    if merge:
        kept = kept & ((time == 0) | (best != jnp.roll(best, 1, 1)))
    # Move the labels to keep to the front, in order.
    order = jnp.argsort(~kept, axis=1, stable=True)
    labels = jnp.where(jnp.take_along_axis(kept, order, 1),
                       jnp.take_along_axis(best, order, 1), -1)  # fmt: skip
    score = -jnp.sum(jnp.where(inside, jnp.max(logits, -1), 0), -1, keepdims=True)
    return labels[None], score


def _beams(log: jax.Array, length: jax.Array, width: int, top: int, blank: int) -> Any:
    """Beam search over prefixes (Hannun et al. 2014, arXiv:1408.2873) for one example."""
    times, classes = log.shape
    never = -jnp.inf
    rows = jnp.arange(width)
    start = (
        jnp.full((width, times), -1, "int32"),  # prefixes
        jnp.zeros(width, "int32"),  # their lengths
        jnp.where(rows == 0, 0.0, never).astype(log.dtype),  # paths that end with a blank
        jnp.full(width, never, log.dtype),  # and that end with the prefix's last label
    )

    def step(beams: Any, frame: Any) -> Any:
        t, x = frame
        prefixes, sizes, blanks, labels = beams
        total = jnp.logaddexp(blanks, labels)
        last = jnp.where(sizes > 0, prefixes[rows, sizes - 1], -1)
        # The prefix stays the same with a blank, or with its last label repeated.
        stay_blank = total + x[blank]
        stay_label = jnp.where(last >= 0, labels + x[last], never)
        # It is extended by a class; by its last label only after a blank.
        source = jnp.where(jnp.arange(classes) == last[:, None], blanks[:, None], total[:, None])
        grown = (source + x).at[:, blank].set(never)  # (width, classes)
        # Extensions that equal another prefix are added to it.
        parents = jnp.where(jnp.arange(times) == sizes[:, None] - 1, -1, prefixes)
        same = (parents[:, None] == prefixes[None]).all(-1) & (sizes[:, None] == sizes[None] + 1)
        alive = total > never
        same = same & alive[:, None] & alive[None]
        joined = jnp.where(same, grown[rows[None], last[:, None]], never)  # (prefix, parent)
        stay_label = jnp.logaddexp(stay_label, jax.nn.logsumexp(joined, 1))
        taken = jnp.zeros((width, classes), bool).at[rows[None], last[:, None]].max(same)
        grown = jnp.where(taken, never, grown)

        scores = jnp.concatenate([jnp.logaddexp(stay_blank, stay_label), grown.reshape(-1)])
        chosen = lax.top_k(scores, width)[1]
        grows = chosen >= width
        parent = jnp.where(grows, (chosen - width) // classes, chosen)
        label = jnp.where(grows, (chosen - width) % classes, -1)
        size = sizes[parent]
        new = prefixes[parent]
        new = new.at[rows, size].set(jnp.where(grows, label, new[rows, size]), mode="drop")
        after = (
            new.astype("int32"),
            size + grows.astype("int32"),
            jnp.where(grows, never, stay_blank[parent]),
            jnp.where(grows, scores[chosen], stay_label[parent]),
        )
        goes_on = t < length
        return jax.tree.map(lambda a, b: jnp.where(goes_on, a, b), after, beams), None

    (prefixes, _, blanks, labels), _ = lax.scan(step, start, (jnp.arange(times), log))
    scores, order = lax.top_k(jnp.logaddexp(blanks, labels), top)
    return prefixes[order], scores
