"""Regression metrics: the means of loss functions, and measures of correlation.

The means of loss functions are made by a function:

>>> metric = MeanSquaredError()
>>> metric.update_state([[0.0], [1.0]], [[1.0], [3.0]])
>>> metric.result()
Array(2.5, dtype=float32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from lamina import losses, settings
from lamina.core.scope import get_mask
from lamina.errors import ArgumentError
from lamina.losses.base import DTYPE, as_pair, safe_divide, weighted
from lamina.metrics.base import Metric, metric_function
from lamina.metrics.reduction import FunctionMetric
from lamina.serialization.fields import field, is_integer, one_of
from lamina.serialization.registry import builtin

# ---- means of loss functions ---------------------------------------------------------------------


def _mean_of(
    function: Callable[..., Any],
    class_name: str,
    example: str,
    *aliases: str,
    name: str | None = None,
    **arguments: Any,
) -> type[FunctionMetric]:
    """A class for the mean of a loss function; ``name`` and ``dtype`` come first, as in Keras.

    Args:
        function: The loss function.
        class_name: Name of the class.
        example: ``"y_true, y_pred -> mean"`` for its docstring.
        *aliases: Other names in files and for ``get``.
        name: Default name of the metric; that of the function when None.
        **arguments: Defaults of the function's other arguments.
    """
    batch, _, mean = example.partition(" -> ")
    defaults = {"name": name or function.__name__, "dtype": DTYPE, **arguments}
    text = f"""Mean of :func:`lamina.losses.{defaults["name"]}` over all samples.

>>> metric = {class_name}()
>>> metric.update_state({batch})
>>> metric.result().item()
{mean}
"""
    namespace = {
        "__module__": __name__,
        "__doc__": text,
        "__annotations__": dict.fromkeys(defaults, "Any"),
        "_function": staticmethod(function),
        "direction": "max" if function is _cosine else "min",
        **defaults,
    }
    return builtin("metrics", *aliases)(type(class_name, (FunctionMetric,), namespace))


def _cosine(y_true: Any, y_pred: Any, axis: int) -> Any:
    """The cosine: 1 for equal directions, for which the loss is -1.

    Args:
        axis: Axis of the vectors.
    """
    return -losses.cosine_similarity(y_true, y_pred, axis)


MeanSquaredError = _mean_of(
    losses.mean_squared_error,
    "MeanSquaredError",
    "[[0.0], [1.0]], [[1.0], [3.0]] -> 2.5",
    "mse",
    "MSE",
)
MeanAbsoluteError = _mean_of(
    losses.mean_absolute_error,
    "MeanAbsoluteError",
    "[[0.0], [1.0]], [[1.0], [3.0]] -> 1.5",
    "mae",
    "MAE",
)
MeanAbsolutePercentageError = _mean_of(
    losses.mean_absolute_percentage_error,
    "MeanAbsolutePercentageError",
    "[[2.0], [4.0]], [[1.0], [3.0]] -> 37.5",
    "mape",
    "MAPE",
)
MeanSquaredLogarithmicError = _mean_of(
    losses.mean_squared_logarithmic_error,
    "MeanSquaredLogarithmicError",
    "[[0.0], [1.0]], [[1.0], [1.0]] -> 0.2402...",
    "msle",
    "MSLE",
)
LogCoshError = _mean_of(
    losses.log_cosh, "LogCoshError", "[[0.0], [1.0]], [[1.0], [1.0]] -> 0.2168...", name="logcosh"
)
CosineSimilarity = _mean_of(
    _cosine,
    "CosineSimilarity",
    "[[0.0, 1.0]], [[3.0, 4.0]] -> 0.8...",
    name="cosine_similarity",
    axis=-1,
)
KLDivergence = _mean_of(
    losses.kl_divergence, "KLDivergence", "[[0.0, 1.0]], [[0.5, 0.5]] -> 0.6931..."
)
Poisson = _mean_of(losses.poisson, "Poisson", "[[0.0], [2.0]], [[1.0], [1.0]] -> 0.9999...")
Hinge = _mean_of(losses.hinge, "Hinge", "[[-1.0], [1.0]], [[-2.0], [0.5]] -> 0.25")
SquaredHinge = _mean_of(
    losses.squared_hinge, "SquaredHinge", "[[-1.0], [1.0]], [[-2.0], [0.0]] -> 0.5"
)
CategoricalHinge = _mean_of(
    losses.categorical_hinge, "CategoricalHinge", "[[0.0, 1.0]], [[0.25, 0.75]] -> 0.5"
)
BinaryCrossentropy = _mean_of(
    losses.binary_crossentropy, "BinaryCrossentropy",
    "[[1.0], [0.0]], [[0.5], [0.5]] -> 0.6931...", "bce", "BCE",
    from_logits=False, label_smoothing=0.0,
)  # fmt: skip
CategoricalCrossentropy = _mean_of(
    losses.categorical_crossentropy, "CategoricalCrossentropy",
    "[[0.0, 1.0]], [[0.75, 0.25]] -> 1.3862...",
    from_logits=False, label_smoothing=0.0, axis=-1,
)  # fmt: skip
SparseCategoricalCrossentropy = _mean_of(
    losses.sparse_categorical_crossentropy, "SparseCategoricalCrossentropy",
    "[1], [[0.75, 0.25]] -> 1.3862...",
    from_logits=False, ignore_class=None, axis=-1,
)  # fmt: skip


@builtin("metrics")
class RootMeanSquaredError(FunctionMetric):
    """``sqrt(mean((y_true - y_pred) ** 2))`` over all batches.

    >>> metric = RootMeanSquaredError()
    >>> metric.update_state([[0.0], [0.0]], [[1.0], [7.0]])
    >>> metric.result()
    Array(5., dtype=float32)
    """

    _function = staticmethod(losses.mean_squared_error)
    direction = "min"
    name: str | None = "root_mean_squared_error"
    dtype: Any = DTYPE

    def result(self) -> Any:
        return jnp.sqrt(super().result())


# ---- correlation ---------------------------------------------------------------------------------


def _centred(x: Any, axis: int) -> tuple[Any, Any]:
    mean = jnp.mean(x, axis=axis, keepdims=True)
    return mean.squeeze(axis), x - mean


@metric_function("vectors")
def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """``cov(y_true, y_pred) / (std(y_true) * std(y_pred))`` along ``axis``; NaN if one is constant.

    Pearson 1895, doi:10.1098/rspl.1895.0041.

    Args:
        axis: Axis of the vectors.

    Returns:
        Values from -1 to 1, of the same shape without ``axis``.

    >>> pearson_correlation([[0.0, 1.0, 2.0]], [[2.0, 1.0, 0.0]])
    Array([-1.], dtype=float32)
    """
    (_, t), (_, p) = _centred(y_true, axis), _centred(y_pred, axis)
    norms = jnp.sqrt(jnp.sum(t * t, axis=axis) * jnp.sum(p * p, axis=axis))
    return jnp.sum(t * p, axis=axis) / norms


@metric_function("vectors")
def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """``2 cov(t, p) / (var(t) + var(p) + (mean(t) - mean(p)) ** 2 + epsilon)`` along ``axis``.

    1 only if both are equal: differences in location and scale reduce it. Lin 1989,
    doi:10.2307/2532051.

    Args:
        axis: Axis of the vectors.

    Returns:
        Values from -1 to 1, of the same shape without ``axis``.

    >>> concordance_correlation([[0.0, 2.0]], [[1.0, 3.0]]).round(4)
    Array([0.6667], dtype=float32)
    """
    (mean_t, t), (mean_p, p) = _centred(y_true, axis), _centred(y_pred, axis)
    spread = jnp.mean(t * t, axis=axis) + jnp.mean(p * p, axis=axis)
    denominator = spread + jnp.square(mean_t - mean_p) + settings.epsilon()
    return 2.0 * jnp.mean(t * p, axis=axis) / denominator


@builtin("metrics")
class PearsonCorrelation(FunctionMetric):
    """Mean of the samples' :func:`pearson_correlation`.

    >>> metric = PearsonCorrelation()
    >>> metric.update_state([[0.0, 1.0, 2.0]], [[0.0, 10.0, 20.0]])
    >>> round(metric.result().item(), 4)
    1.0
    """

    _function = staticmethod(pearson_correlation)
    direction = "max"
    name: str | None = "pearson_correlation"
    dtype: Any = DTYPE
    axis: int = -1


@builtin("metrics")
class ConcordanceCorrelation(FunctionMetric):
    """Mean of the samples' :func:`concordance_correlation`.

    >>> metric = ConcordanceCorrelation()
    >>> metric.update_state([[0.0, 2.0]], [[1.0, 3.0]])
    >>> round(metric.result().item(), 4)
    0.6667
    """

    _function = staticmethod(concordance_correlation)
    direction = "max"
    name: str | None = "concordance_correlation"
    dtype: Any = DTYPE
    axis: int = -1


def _count(value: Any) -> int:
    if not is_integer(value) or value < 0:
        raise ArgumentError(f"expected an integer >= 0. Received: {value!r}.")
    return int(value)


@builtin("metrics")
class R2Score(Metric):
    """Coefficient of determination: the fraction of the targets' variance that is explained.

    ``1 - sum((y_true - y_pred) ** 2) / sum((y_true - mean(y_true)) ** 2)`` for each column. The
    sums are combined batch by batch (Chan et al. 1983, doi:10.1080/00031305.1983.10483115), so that
    a large mean does not cost precision. If all targets are equal, it is 1 for exact predictions
    and 0 for others.

    Args:
        class_aggregation: ``"uniform_average"`` of the columns, ``"variance_weighted_average"``,
            or None for one score for each column.
        num_regressors: Number p of independent variables, for the adjusted score
            ``1 - (1 - R2) * (n - 1) / (n - p - 1)``; 0 for the unadjusted score. As in Keras, n is
            the number of elements of ``y_true``, and n <= p + 1 gives the unadjusted score.

    >>> metric = R2Score()
    >>> metric.update_state([[1.0], [2.0], [3.0]], [[1.0], [2.0], [2.0]])
    >>> metric.result()
    Array(0.5, dtype=float32)
    """

    direction = "max"
    class_aggregation: str | None = field(
        default="uniform_average",
        convert=one_of("uniform_average", "variance_weighted_average", None),
    )
    num_regressors: int = field(default=0, convert=_count)
    name: str | None = "r2_score"
    dtype: Any = DTYPE

    def __post_init__(self) -> None:
        super().__post_init__()
        self.num_samples = self.add_weight(name="num_samples")

    def _make_state(self, y_pred_shape: tuple[int, ...]) -> None:
        columns = y_pred_shape[-1:] if len(y_pred_shape) > 1 else (1,)
        self.count = self.add_weight(columns, name="count")
        self.mean = self.add_weight(columns, name="mean")
        self.spread = self.add_weight(columns, name="spread")
        self.residual = self.add_weight(columns, name="residual")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the state with a batch.

        Args:
            y_true: Targets, ``(batch, columns)`` or ``(batch,)``.
            y_pred: Predictions of the same shape, or differing by one trailing axis of size 1.
            sample_weight: Weights, ``(batch,)`` or of the shape of ``y_pred``.

        Raises:
            ShapeError: Targets or weights whose shapes do not match those of the predictions.
        """
        mask = get_mask(y_pred)
        t, p = as_columns(y_true, y_pred, str(self.name), self._float_dtype())
        self.build(t.shape, p.shape)
        weights = self._weights(p, sample_weight, mask)
        if weights is None:
            weights = jnp.ones_like(p)
        axes = tuple(range(p.ndim - 1))

        def total(values: Any) -> Any:
            return jnp.sum(weighted(values, weights), axis=axes)

        count = jnp.sum(weights, axis=axes)
        mean = safe_divide(total(t), count)
        before, step = self.count.value, mean - self.mean.value
        whole = before + count
        between = jnp.square(step) * safe_divide(before * count, whole)
        self.spread.assign_add(total(jnp.square(t - mean)) + between)
        self.mean.assign_add(step * safe_divide(count, whole))
        self.count.assign(whole)
        self.residual.assign_add(total(jnp.square(t - p)))
        self.num_samples.assign_add(t.size)

    def result(self) -> Any:
        if not self.built:
            return jnp.zeros(())
        spread, residual = self.spread.value, self.residual.value
        scores = jnp.where(
            spread == 0, residual == 0, 1.0 - residual / jnp.where(spread == 0, 1.0, spread)
        )
        scores = jnp.where(self.count.value == 0, jnp.nan, scores)  # nothing was scored
        if self.class_aggregation == "uniform_average":
            scores = jnp.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = safe_divide(jnp.sum(scores * spread), jnp.sum(spread))
        if self.num_regressors:
            n = self.num_samples.value
            freedom = n - self.num_regressors - 1.0
            adjusted = 1.0 - (1.0 - scores) * (n - 1.0) / jnp.where(freedom > 0, freedom, 1.0)
            scores = jnp.where(freedom > 0, adjusted, scores)
        return scores


def as_columns(y_true: Any, y_pred: Any, where: str, dtype: str) -> tuple[Any, Any]:
    """Both with one shape ``(batch, columns)``, also if each sample is a single number."""
    t, p = as_pair(y_true, jnp.asarray(y_pred, dtype), where)
    return (t[:, None], p[:, None]) if p.ndim == 1 else (t, p)
