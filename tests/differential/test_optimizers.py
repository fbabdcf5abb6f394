"""Optimizers against Keras and optax: ten steps from the same start."""

import inspect

import jax
import keras
import numpy as np
import optax
import pytest

from lamina import constraints, optimizers
from lamina.core.variable import Variable
from lamina.optimizers import schedules
from tests.cases.optimizers import COMMON, OPTIMIZERS, SCHEDULES

# Keras's variables have an `__array__` of before NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS = 10
SHAPES = {"a": (3, 4), "b": (4,)}
rng = np.random.default_rng(0)
START, GOAL = ({k: rng.normal(size=s).astype("float32") for k, s in SHAPES.items()} for _ in "12")
CURVATURE = {k: (0.5 + rng.random(s)).astype("float32") for k, s in SHAPES.items()}


def gradients(values):
    """Of a quadratic with its minimum at GOAL."""
    return [CURVATURE[k] * (np.asarray(v) - GOAL[k]) for k, v in values.items()]


def compare(ours, theirs, constraint=None):
    """Take ten steps with both and compare weights, state and final values."""
    mine = {k: Variable(v.copy(), name=k) for k, v in START.items()}
    other = {k: keras.Variable(v, name=k) for k, v in START.items()}
    if constraint is not None:
        name, arguments = constraint
        for k in SHAPES:
            mine[k].constraint = getattr(constraints, name)(**arguments)
            other[k].constraint = getattr(keras.constraints, name)(**arguments)
    theirs.build(list(other.values()))
    values = [v.value for v in other.values()]
    state = [v.value for v in theirs.variables]
    step = jax.jit(theirs.stateless_apply)
    for t in range(STEPS):
        grads = gradients(dict(zip(SHAPES, values, strict=True)))
        values, state = step(state, grads, values)
        ours.apply_gradients(zip(gradients(mine), mine.values(), strict=True))
        for k, expected in zip(SHAPES, values, strict=True):
            np.testing.assert_allclose(
                mine[k].value, expected, rtol=1e-5, atol=1e-6, err_msg=f"step {t}, {k}"
            )
    assert len(ours.variables) == len(state)
    for variable, expected in zip(ours.variables, state, strict=True):
        assert variable.dtype == str(expected.dtype)
        np.testing.assert_allclose(
            variable.value, expected, rtol=2e-5, atol=1e-6, err_msg=variable.path
        )
    assert int(ours.iterations) == int(np.asarray(state[0])) // (
        theirs.gradient_accumulation_steps or 1
    )
    for v, value in zip([*other.values(), *theirs.variables], [*values, *state], strict=True):
        v.assign(value)
    ours.finalize_variable_values(list(mine.values()))
    theirs.finalize_variable_values(list(other.values()))
    for k in SHAPES:
        np.testing.assert_allclose(mine[k].value, other[k].value, rtol=1e-5, atol=1e-6)


def pair(name, arguments):
    return getattr(optimizers, name)(**arguments), getattr(keras.optimizers, name)(**arguments)


WRAPPERS = ("LossScaleOptimizer", "MultiOptimizer", "Optax")
KERAS = {n: rows for n, rows in OPTIMIZERS.items() if n not in WRAPPERS}


@pytest.mark.parametrize(
    ("name", "arguments"), [(n, arguments) for n, rows in KERAS.items() for arguments in rows]
)
def test_each_optimizer(name, arguments):
    compare(*pair(name, {"learning_rate": 0.1, "weight_decay": 0.05, **arguments}))


@pytest.mark.parametrize("arguments", COMMON)
def test_common_rules(arguments):
    compare(*pair("Adam", {"learning_rate": 0.1, **arguments}))


@pytest.mark.parametrize("arguments", COMMON[-5:])
def test_common_rules_with_a_constraint(arguments):
    # With a rate below 1 the constraint shows how often and when it was applied.
    bound = ("MinMaxNorm", {"min_value": 0.2, "max_value": 1.0, "rate": 0.5})
    compare(*pair("SGD", {"learning_rate": 0.1, **arguments}), bound)


@pytest.mark.parametrize(
    ("name", "arguments"), [(n, arguments) for n, rows in SCHEDULES.items() for arguments in rows]
)
def test_each_schedule(name, arguments):
    schedule = getattr(schedules, name)(**arguments)
    ours = jax.jit(schedule)
    theirs = jax.jit(getattr(keras.optimizers.schedules, name)(**arguments))
    for step in range(15):
        np.testing.assert_allclose(ours(step), theirs(step), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(schedule(4), ours(4), rtol=1e-6)


def test_schedule_in_an_optimizer_with_accumulation():
    arguments = SCHEDULES["ExponentialDecay"][0]
    ours = optimizers.Adam(schedules.ExponentialDecay(**arguments), gradient_accumulation_steps=2)
    theirs = keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(**arguments), gradient_accumulation_steps=2
    )
    compare(ours, theirs)


def test_exclusion_from_weight_decay():
    ours, theirs = pair("AdamW", {"learning_rate": 0.1, "weight_decay": 0.5})
    ours.exclude_from_weight_decay(var_names=["^b$"])
    theirs.exclude_from_weight_decay(var_names=["^b$"])
    compare(ours, theirs)


def test_absent_gradients_leave_a_weight_as_it_is():
    ours = optimizers.Adam(0.1, use_ema=True, weight_decay=0.1)
    a, b = (Variable(START[k].copy(), name=k) for k in "ab")
    ours.apply([gradients({"a": a})[0], None], [a, b])
    np.testing.assert_array_equal(b.value, START["b"])
    assert not np.allclose(a.value, START["a"])
    theirs = keras.optimizers.Adam(0.1, use_ema=True, weight_decay=0.1)
    ka, kb = (keras.Variable(START[k], name=k) for k in "ab")
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        theirs.apply([gradients({"a": ka})[0], None], [ka, kb])
    for ours_v, theirs_v in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(ours_v.value, theirs_v.value, rtol=1e-5, atol=1e-6)


def test_loss_scale():
    ours = optimizers.LossScaleOptimizer(optimizers.SGD(0.1, momentum=0.9), 8.0, 2)
    theirs = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9), 8.0, 2)
    mine, other = Variable(START["b"].copy(), name="b"), keras.Variable(START["b"], name="b")
    theirs.build([other])
    values, state = [other.value], [v.value for v in theirs.variables]
    step = jax.jit(theirs.stateless_apply)
    for t in range(STEPS):
        gradient = 8 * START["b"] if t not in (2, 6) else np.full_like(START["b"], np.inf)
        values, state = step(state, [gradient], values)
        ours.apply([gradient], [mine])
        np.testing.assert_allclose(mine.value, values[0], rtol=1e-5)
        for v, expected in list(zip(ours.variables, state, strict=True))[1:]:
            np.testing.assert_allclose(v.value, expected, rtol=1e-5, err_msg=v.path)
    assert ours.scale_loss(1.0) == state[3]
    assert int(ours.iterations) == STEPS - 2


TRANSFORMATIONS = {
    "adam": lambda: optax.adam(0.1),
    "chain": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1, momentum=0.9)),
    "adamw": lambda: optax.adamw(optax.cosine_decay_schedule(0.1, 20), weight_decay=0.1),
    "injected": lambda: optax.inject_hyperparams(optax.rmsprop)(learning_rate=0.1),
    "multi": lambda: optax.multi_transform(
        {"x": optax.sgd(0.1), "y": optax.adam(0.1)}, {"layer/a": "x", "layer/b": "y"}
    ),
}


@pytest.mark.parametrize("name", list(TRANSFORMATIONS))
def test_optax_is_optax(name):
    transformation = TRANSFORMATIONS[name]()
    parameters = {f"layer/{k}": jax.numpy.asarray(v) for k, v in START.items()}
    inner = transformation.init(parameters)
    ours = optimizers.get(transformation)
    ours.build({a: Variable(p, name=a[-1]) for a, p in parameters.items()})
    mine, state = parameters, {k: v.value for k, v in ours.state_variables.items()}

    @jax.jit
    def theirs(gradients, inner, parameters):
        changes, inner = transformation.update(gradients, inner, parameters)
        return optax.apply_updates(parameters, changes), inner

    update = jax.jit(ours.update)
    for _ in range(STEPS):
        grads = {a: CURVATURE[a[-1]] * (p - GOAL[a[-1]]) for a, p in parameters.items()}
        parameters, inner = theirs(grads, inner, parameters)
        mine, state = update(grads, mine, state)
    for address, expected in parameters.items():
        np.testing.assert_allclose(mine[address], expected, rtol=1e-6)
    assert int(state["iteration"]) == STEPS


def test_learning_rate_of_optax():
    ours = optimizers.get(TRANSFORMATIONS["injected"]())
    w = Variable(START["b"].copy(), name="b")
    ours.build([w])
    ours.learning_rate = 0.0
    ours.apply([START["b"]], [w])
    np.testing.assert_array_equal(w.value, START["b"])
    with pytest.raises(ValueError, match="inject_hyperparams"):
        _ = optimizers.get(optax.adam(0.1)).learning_rate


# ---- outer face ----------------------------------------------------------------------------------


def test_arguments_and_defaults_are_keras_s():
    for name in KERAS:
        ours = inspect.signature(getattr(optimizers, name).__init__).parameters
        theirs = inspect.signature(getattr(keras.optimizers, name).__init__).parameters
        wanted = {n: p.default for n, p in theirs.items() if n not in ("self", "kwargs")}
        assert {n: p.default for n, p in ours.items() if n != "self"} == wanted, name
        if name != "Muon":  # whose own arguments come after the common ones, in any order here
            assert [n for n in ours if n != "self"] == list(wanted), name
    for name in SCHEDULES:
        ours = inspect.signature(getattr(schedules, name).__init__).parameters
        theirs = inspect.signature(getattr(keras.optimizers.schedules, name).__init__).parameters
        assert [(n, p.default) for n, p in ours.items()] == [
            (n, p.default) for n, p in theirs.items()
        ], name


# Keras 3.15 cannot load its own Lamb.
@pytest.mark.parametrize("name", [*(n for n in KERAS if n != "Lamb"), "LossScaleOptimizer"])
def test_configs_go_both_ways(name):
    arguments = OPTIMIZERS[name][-1]
    ours = getattr(optimizers, name)(**arguments)
    theirs = keras.optimizers.deserialize(optimizers.serialize(ours))
    assert type(theirs).__name__ == name
    back = optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert back == ours


def test_schedule_configs_go_both_ways():
    ours = optimizers.SGD(schedules.CosineDecay(0.1, 5, warmup_target=0.2, warmup_steps=2))
    theirs = keras.optimizers.deserialize(optimizers.serialize(ours))
    assert optimizers.deserialize(keras.optimizers.serialize(theirs)) == ours


def test_files_of_variables_go_both_ways():
    ours, theirs = pair("Adam", {"amsgrad": True})
    mine = {k: Variable(v.copy(), name=k) for k, v in START.items()}
    other = {k: keras.Variable(v, name=k) for k, v in START.items()}
    ours.apply(gradients(mine), mine.values())
    store = {}
    ours.save_own_variables(store)
    theirs.build(list(other.values()))
    theirs.load_own_variables(store)
    again = {}
    theirs.save_own_variables(again)
    fresh = optimizers.Adam(amsgrad=True)
    fresh.build(list(mine.values()))
    fresh.load_own_variables(again)
    for a, b in zip(ours.variables, fresh.variables, strict=True):
        np.testing.assert_array_equal(a.value, b.value)


def test_stateless_apply_is_keras_s():
    ours, theirs = pair("RMSprop", {"momentum": 0.9})
    mine = [Variable(v.copy(), name=k) for k, v in START.items()]
    other = [keras.Variable(v, name=k) for k, v in START.items()]
    ours.build(mine)
    theirs.build(other)
    grads = gradients(START)
    result = ours.stateless_apply([v.value for v in ours.variables], grads, [v.value for v in mine])
    expected = theirs.stateless_apply(
        [v.value for v in theirs.variables], grads, [v.value for v in other]
    )
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    np.testing.assert_array_equal(mine[0].value, START["a"])


def test_an_optimizer_in_keras_s_style():
    """The text of a user's class, with either library in place of ``library``."""

    def make(library):
        class Heavy(library.Optimizer):
            def __init__(self, learning_rate=0.1, drag=0.9, name="heavy", **kwargs):
                super().__init__(learning_rate=learning_rate, name=name, **kwargs)
                self.drag = drag

            def build(self, variables):
                if self.built:
                    return
                super().build(variables)
                self.speeds = [
                    self.add_variable_from_reference(reference_variable=v, name="speed")
                    for v in variables
                ]

            def update_step(self, gradient, variable, learning_rate):
                speed = self.speeds[self._get_variable_index(variable)]
                step = self.iterations + 1
                self.assign(speed, self.drag * speed - learning_rate * gradient / step)
                self.assign_add(variable, speed)

            def get_config(self):
                return {**super().get_config(), "drag": self.drag}

        return Heavy

    for arguments in ({}, {"weight_decay": 0.1, "clipnorm": 0.5, "gradient_accumulation_steps": 2}):
        ours, theirs = make(optimizers), make(keras.optimizers)
        compare(ours(**arguments), theirs(**arguments))
        assert ours.from_config(ours(drag=0.5).get_config()).drag == 0.5
    built = make(optimizers)()
    built.build({"layer/w": Variable(START["a"])})
    assert list(built.state_variables) == ["iteration", "learning_rate", "speed/layer/w"]


def test_several_optimizers():
    def make(module):
        # Keras numbers names by what else the process has made.
        pattern = {"b": module.Adam(0.1, use_ema=True, weight_decay=0.05, name="of_b")}
        default = module.SGD(0.1, 0.9, name="of_others")
        return module.MultiOptimizer(module.OptimizerMap(default, pattern), 4.0)

    ours, theirs = make(optimizers), make(keras.optimizers)
    assert float(ours.scale_loss(2.0)) == float(theirs.scale_loss(2.0)) == 8.0
    compare(ours, theirs)
    again = optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert again == ours
