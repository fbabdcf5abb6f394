"""Laws of losses and metrics, over the tables of all of them."""

from __future__ import annotations

import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import losses, metrics, ops
from lamina.core.scope import Record, Scope, entered, set_mask
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, ShapeError, UnknownNameError
from lamina.losses.base import values_of
from lamina.metrics.reduction import FunctionMetric
from tests.cases.losses import CASES as LOSSES
from tests.cases.metrics import CASES as METRICS

BOTH = [(losses, case) for case in LOSSES] + [(metrics, case) for case in METRICS]
PAIRS = [(space, case) for space, case in BOTH if case.name not in ("Mean", "Sum")]


def identify(x):
    return x.__name__.rpartition(".")[2] if inspect.ismodule(x) else str(x)


def over(rows):
    return pytest.mark.parametrize(("space", "case"), rows, ids=identify)


def rng():
    return np.random.default_rng(5)


def evaluate(space, case, y_true, y_pred, sample_weight=None, **more):
    """The loss, or the metric after one update; as numbers."""
    made = case.make(space, **more)
    return np.asarray(made(y_true, y_pred, sample_weight=sample_weight))


@pytest.mark.parametrize(
    ("space", "table"), [(losses, LOSSES), (metrics, METRICS)], ids=["losses", "metrics"]
)
def test_every_public_class_has_a_row(space, table):
    public = {n for n in space.__all__ if inspect.isclass(getattr(space, n))}
    assert public - {c.name for c in table} == (
        {"Loss", "LossFunctionWrapper"} if space is losses else {"Metric"}
    )


@over(BOTH)
def test_config_round_trip(space, case):
    made = case.make(space, name="mine")
    data = json.loads(json.dumps(space.serialize(made)))
    again = space.deserialize(data)
    assert again == made
    assert type(again) is type(made)
    assert again.name == "mine"
    assert type(made).from_config(made.get_config()) == made
    if case.kwargs:
        required = set(inspect.signature(type(made)).parameters) & set(case.kwargs)
        assert required == set(case.kwargs) or case.name == "MeanMetricWrapper"


@pytest.mark.parametrize("case", {c.name: c for c in LOSSES}.values(), ids=str)
def test_jit_is_eager_for_losses(case):
    y_true, y_pred = case.sample(rng())
    weights = None if case.values is None else rng().uniform(size=case.values).astype("f4")
    loss = case.make(losses)
    np.testing.assert_allclose(
        jax.jit(loss)(y_true, y_pred, weights), loss(y_true, y_pred, weights), rtol=1e-5, atol=1e-6
    )


# Means of functions accumulate alike: a few of them stand for all.
JITTED = {
    c.name: c
    for c in METRICS
    if not isinstance(c.make(metrics), FunctionMetric)
    or c.name in ("MeanMetricWrapper", "RootMeanSquaredError", "SparseTopKCategoricalAccuracy")
}


@pytest.mark.parametrize("case", JITTED.values(), ids=str)
def test_jit_is_eager_for_metrics(case):
    batch = case.sample(rng())
    weights = rng().uniform(size=case.values).astype("f4")
    eager, pure = case.make(metrics), case.make(metrics)
    eager.update_state(*batch, sample_weight=weights)
    pure.build(*[x.shape for x in batch] * (2 // len(batch)))
    start = [v.value for v in pure.variables]
    state = jax.jit(pure.stateless_update_state)(start, *batch, sample_weight=weights)
    for new, variable in zip(state, eager.variables, strict=True):
        np.testing.assert_allclose(new, variable.value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pure.stateless_result(state), eager.result(), rtol=1e-5, atol=1e-6)
    for variable, value in zip(pure.variables, start, strict=True):
        assert variable.value is value  # untouched
    for value in pure.stateless_reset_state():
        assert not value.any()


def test_state_made_in_a_pure_call_is_recorded():
    metric, record = metrics.F1Score(), Record()
    with entered(Scope(pure=True, record=record)):
        metric.update_state(np.eye(2), np.eye(2))
    assert set(record.updates) == set(metric.variables)
    assert not any(v.numpy().any() for v in metric.variables)


# ---- the shape rule ------------------------------------------------------------------------------


@over([(s, c) for s, c in PAIRS if c.name != "CTC"])
def test_an_axis_of_size_1_changes_nothing(space, case):
    y_true, y_pred = case.sample(rng())
    expected = evaluate(space, case, y_true, y_pred)
    if y_true.ndim < y_pred.ndim or y_true.shape == y_pred.shape:
        np.testing.assert_allclose(
            evaluate(space, case, y_true[..., None], y_pred), expected, rtol=1e-6, atol=1e-7
        )


def _kind(made):
    return getattr(getattr(made, "_function", None), "kind", None)


@over([(s, c) for s, c in PAIRS if _kind(c.make(s)) == "elements"])
def test_vectors_and_columns_are_the_same(space, case):
    y_true, y_pred = (x.reshape(len(x), -1)[:, 0] for x in case.sample(rng()))
    weights = np.arange(6, dtype="f4")
    for more in [{"reduction": r} for r in ("mean", "sum", "none")] if space is losses else [{}]:
        for weight in (None, weights, weights[:, None]):
            results = [
                evaluate(space, case, t, p, weight, **more)
                for t in (y_true, y_true[:, None])
                for p in (y_pred, y_pred[:, None])
            ]
            for result in results[1:]:
                np.testing.assert_allclose(result, results[0], rtol=1e-6)


@over(PAIRS)
def test_other_shapes_are_refused(space, case):
    y_true, y_pred = case.sample(rng())
    wrong = [y_true[:5], np.stack([y_true, y_true], -1)]
    if y_true.shape == y_pred.shape and y_true.shape[-1] > 1:
        wrong += [y_true[:, :1], y_true[..., :-1], y_true[0], y_true[:, 0]]
    for bad in wrong:
        with pytest.raises(ShapeError) as caught:
            evaluate(space, case, bad, y_pred)
        assert str(bad.shape) in str(caught.value)
        assert str(y_pred.shape) in str(caught.value)
    with pytest.raises(ShapeError):  # while tracing, before any number is computed
        jax.eval_shape(case.make(space), wrong[0], y_pred)


@over(BOTH)
def test_weights(space, case):
    batch = case.sample(rng())
    if case.values is None:
        # One number for the whole batch: weights multiply it by their mean, as in Keras.
        plain = np.asarray(case.make(space)(*batch))
        half = np.asarray(case.make(space)(*batch, sample_weight=np.full(6, 0.5, "f4")))
        np.testing.assert_allclose(half, plain / 2, rtol=1e-6)
        return
    weights = rng().uniform(size=case.values).astype("f4")

    def result(sample_weight):
        return np.asarray(case.make(space)(*batch, sample_weight=sample_weight))

    np.testing.assert_allclose(result(weights[..., None]), result(weights), rtol=1e-5)
    per_sample = np.arange(6, dtype="f4")
    wide = per_sample.reshape([6] + [1] * (len(case.values) - 1)) * np.ones(case.values, "f4")
    np.testing.assert_allclose(result(per_sample), result(wide), rtol=1e-5, atol=1e-6)
    for bad in (np.ones(5), np.ones((6, 3)), np.ones((6, 4, 3, 2)), np.ones((2, 6))):
        if case.values != bad.shape:
            with pytest.raises(ShapeError, match="sample_weight") as caught:
                result(bad)
            assert str(bad.shape) in str(caught.value)


def test_messages_name_the_cure():
    targets = np.zeros((8, 1)), np.zeros(8), np.zeros((8, 2)), np.zeros((8, 3, 3))
    cures = "1 unit instead of 3", "to_categorical(y, 3)", "2 units instead", "Reshape"
    for y_true, cure in zip(targets, cures, strict=True):
        with pytest.raises(ShapeError) as caught:
            losses.mean_squared_error(y_true, np.zeros((8, 3)))
        assert cure in str(caught.value)
    with pytest.raises(ShapeError, match="one-hot"):
        losses.SparseCategoricalCrossentropy()(np.eye(3), np.eye(3))
    with pytest.raises(ShapeError, match=r"sample_weight.mean\(axis=1\)"):
        losses.MeanSquaredError()(np.zeros((8, 3)), np.zeros((8, 3)), np.ones((8, 3)))


def test_functions_and_classes_share_the_rule():
    """Wrapping changes no value and no accepted shape, by name, function or class."""
    y_true, y_pred = np.array([0.0, 1.0, 1.0]), np.array([[0.2], [0.3], [0.9]])
    fn = losses.get("mse")
    values = [
        losses.MeanSquaredError()(y_true, y_pred),
        losses.LossFunctionWrapper(fn)(y_true, y_pred),
        losses.as_loss("mse")(y_true, y_pred),
        np.mean(fn(y_true, y_pred)),
        metrics.MeanSquaredError()(y_true, y_pred),
        metrics.MeanMetricWrapper(fn)(y_true, y_pred),
        np.mean(values_of(fn, y_true, y_pred)),
    ]
    np.testing.assert_allclose(values, values[0], rtol=1e-6)


# ---- masks and weights of nothing ----------------------------------------------------------------


def test_masks_reach_metrics():
    y_true, y_pred = np.zeros((2, 3, 1)), jnp.array([[1.0, 1, 9], [1, 9, 9]])[..., None]
    set_mask(y_pred, np.array([[True, True, False], [True, False, False]]))
    for name in ("MeanSquaredError", "RootMeanSquaredError"):
        assert getattr(metrics, name)()(y_true, y_pred) == 1.0
    assert metrics.FalsePositives()(y_true, y_pred) == 3.0
    assert metrics.AUC()(1 - y_true, y_pred) == 0.0  # three entries, one class


def test_ignored_classes_are_left_out_alike():
    y_true, y_pred = np.array([0, -1, 1]), np.array([[0.5, 0.5], [0.1, 0.9], [0.5, 0.5]])
    for space in (losses, metrics):
        made = space.SparseCategoricalCrossentropy(ignore_class=-1)
        assert made(y_true, y_pred) == pytest.approx(np.log(2), rel=1e-5)


def test_a_weight_of_zero_removes_what_is_not_finite():
    y_true, weights = np.array([1, 99]), np.array([1.0, 0.0])
    loss = losses.SparseCategoricalCrossentropy(reduction="sum")
    logits = jnp.array([[0.5, 0.5], [0.5, 0.5]])
    value, gradient = jax.value_and_grad(lambda p: loss(y_true, p, weights))(logits)
    assert value == pytest.approx(np.log(2), rel=1e-5)
    assert jnp.isfinite(gradient).all()
    assert jnp.isnan(loss(y_true, logits))
    assert metrics.Mean()([1.0, np.nan], sample_weight=weights) == 1.0


def test_nothing_seen_is_zero():
    for case in METRICS:
        assert not np.any(case.make(metrics).result())


# ---- what users write ----------------------------------------------------------------------------


class Pinball(losses.Loss):
    def __init__(self, quantile=0.5, name="pinball", **kwargs):
        super().__init__(name=name, **kwargs)
        self.quantile = quantile

    def call(self, y_true, y_pred):
        error = y_true["y"] - y_pred["y"]
        return ops.mean(ops.maximum(self.quantile * error, (self.quantile - 1) * error), -1)


class Span(metrics.Metric):
    """State of all kinds: made here, a variable, a metric."""

    def __init__(self, name="span", **kwargs):
        super().__init__(name=name, **kwargs)
        self.low = self.add_variable((), lambda shape, dtype: jnp.full(shape, 9.0, dtype))
        self.steps = Variable(np.zeros((), "int32"), name="steps")
        self.inner = [metrics.Sum(name="inner")]

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.low.assign(jnp.minimum(self.low, jnp.min(y_pred)))
        self.steps.assign_add(1)
        self.inner[0].update_state(y_pred)

    def result(self):
        return {"low": self.low.value, "sum": self.inner[0].result()}


def test_a_users_loss():
    loss = Pinball(0.25, reduction="sum")
    batch = {"y": np.zeros((2, 3))}, {"y": np.ones((2, 3))}
    assert loss(*batch) == pytest.approx(1.5)
    assert loss.get_config() == {"quantile": 0.25, "reduction": "sum"}
    assert Pinball.from_config(loss.get_config()) == loss
    with pytest.raises(NotImplementedError, match="call"):
        losses.Loss()(np.zeros(2), np.zeros(2))


def test_a_users_metric():
    metric = Span()
    assert [v.path for v in metric.variables[1:]] == ["steps", "inner/total"]
    assert metric(0, np.array([1.0, 3.0])) == {"low": 1.0, "sum": 4.0}
    metric.reset_state()
    assert metric.low.value == 9.0
    assert metric.steps.value == 0
    state = [v.value for v in metric.variables]
    state = jax.jit(metric.stateless_update_state)(state, 0, np.array([2.0]))
    assert metric.stateless_result(state) == {"low": 2.0, "sum": 2.0}
    assert metric.steps.value == 0


def test_a_users_function_takes_any_shapes():
    def scaled(y_true, y_pred, scale):
        return scale * jnp.abs(y_pred[:, 0] - y_true)

    y_true, y_pred = np.zeros(2), np.ones((2, 3))
    assert losses.LossFunctionWrapper(scaled, scale=3.0)(y_true, y_pred) == 3.0
    assert metrics.MeanMetricWrapper(scaled, scale=3.0)(y_true, y_pred) == 3.0


def test_names_and_arguments():
    assert losses.get(None) is None
    assert losses.as_loss(None) is None
    assert isinstance(losses.get("Huber"), losses.Huber)
    assert losses.get({"class_name": "Huber", "config": {"delta": 3.0}}).delta == 3.0
    for space, name in ((losses, "mean_square_error"), (metrics, "binary_acuracy")):
        with pytest.raises(UnknownNameError, match="Did you mean"):
            space.get(name)
    with pytest.raises(ArgumentError, match="reduction"):
        losses.MeanSquaredError(reduction="average")
    with pytest.raises(ArgumentError, match="from 0 to 1"):
        metrics.Precision(thresholds=2.0)
    with pytest.raises(ArgumentError, match="target_class_ids"):
        metrics.IoU(2, [2])


def test_losses_of_symbolic_tensors_are_nodes():
    layers = pytest.importorskip("lamina.layers")
    x, y = layers.Input((3,)), layers.Input((3,))
    assert losses.mean_squared_error(x, y).shape == (None,)
    assert losses.CosineSimilarity()(x, y).shape == ()
    with pytest.raises(ShapeError, match="3"):
        losses.mean_absolute_error(x, layers.Input((4,)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_inputs_are_computed_in_full(dtype):
    y_true, y_pred = np.ones((4, 1)), jnp.full((4, 1), 3.0, dtype)
    assert losses.MeanSquaredError()(y_true, y_pred).dtype == "float32"
    assert losses.mean_squared_error(y_true, y_pred).dtype == dtype
    assert losses.MeanSquaredError(dtype=dtype)(y_true, y_pred).dtype == dtype
    assert metrics.MeanSquaredError()(y_true, y_pred) == 4.0


def test_r2_keeps_its_digits_far_from_zero():
    y_true = 1e4 + rng().normal(size=(200, 1))
    y_pred = y_true + 0.1 * rng().normal(size=(200, 1))
    metric = metrics.R2Score()
    for half in (slice(0, 60), slice(60, 200)):
        metric.update_state(y_true[half], y_pred[half])
    exact = 1 - np.sum((y_true - y_pred) ** 2) / np.sum((y_true - y_true.mean()) ** 2)
    assert metric.result() == pytest.approx(exact, abs=1e-3)
