"""What holds for every optimizer."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lamina
from lamina import layers, optimizers
from lamina.core.variable import Variable
from lamina.errors import ArgumentError
from lamina.optimizers import schedules
from lamina.serialization.registry import serialize
from tests.cases.optimizers import COMMON, OPTIMIZERS, SCHEDULES, make

ROWS = [(name, arguments) for name, rows in OPTIMIZERS.items() for arguments in rows]
CONFIGURED = [row for row in ROWS if row[0] != "Optax"]


def problem(optimizer, dtype="float32"):
    """Parameters, and state of ``optimizer``, by address."""
    parameters = {
        "layer/w": jnp.arange(6, dtype=dtype).reshape(2, 3) / 3 - 1,
        "layer/b": jnp.ones(3, dtype),
    }
    optimizer.build({a: Variable(p, dtype=dtype, name=a[-1]) for a, p in parameters.items()})
    return parameters, {k: jnp.array(v.value) for k, v in optimizer.state_variables.items()}


def test_every_class_has_a_row():
    def classes(module):
        return {n for n in module.__all__ if inspect.isclass(getattr(module, n))}

    assert classes(optimizers) - {"Optimizer", "OptimizerMap"} == set(OPTIMIZERS)
    assert classes(schedules) - {"LearningRateSchedule"} == set(SCHEDULES)


@pytest.mark.parametrize(("name", "arguments"), CONFIGURED)
def test_config_round_trip(name, arguments):
    optimizer = make(name, arguments)
    again = type(optimizer).from_config(optimizer.get_config())
    assert again == optimizer
    assert repr(again) == repr(optimizer)
    assert optimizers.deserialize(optimizers.serialize(optimizer)) == optimizer
    assert optimizer != make(name, {**arguments, "name": "another"})


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_schedule_round_trip(name):
    schedule = getattr(schedules, name)(**SCHEDULES[name][-1])
    assert schedules.deserialize(schedules.serialize(schedule)) == schedule
    assert serialize(schedule)["module"] == "keras.optimizers.schedules"
    assert isinstance(optimizers.SGD(serialize(schedule))._rate, type(schedule))


@pytest.mark.parametrize(("name", "arguments"), [*ROWS, *(("Adam", c) for c in COMMON)])
def test_update_keeps_structure_and_compiles_once(name, arguments):
    optimizer = make(name, arguments)
    parameters, state = problem(optimizer)
    traces = []

    def update(gradients, parameters, state):
        traces.append(1)
        return optimizer.update(gradients, parameters, state)

    compiled = jax.jit(update, donate_argnums=(1, 2))
    specs = jax.tree.map(lambda x: (x.shape, x.dtype), (parameters, state))
    for _ in range(4):
        gradients = {a: jnp.full(p.shape, 0.1) for a, p in parameters.items()}
        parameters, state = compiled(gradients, parameters, state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), (parameters, state)) == specs
    assert len(traces) == 1
    assert int(state["iteration"]) == 4


@pytest.mark.parametrize(("name", "arguments"), [r for r in ROWS if r[0] != "LossScaleOptimizer"])
def test_narrow_weights_keep_their_dtype(name, arguments):
    optimizer = make(name, arguments)
    parameters, state = problem(optimizer, "bfloat16")
    specs = jax.eval_shape(lambda x: x, (parameters, state))
    assert jax.eval_shape(optimizer.update, parameters, parameters, state) == specs


RATES = {"Adadelta": 100.0, "Adafactor": 1.0, "Ftrl": 1.0, "Adagrad": 1.0}
PARABOLA = {
    **{name: {"learning_rate": RATES.get(name, 0.2)} for name in OPTIMIZERS},
    "LossScaleOptimizer": {"inner_optimizer": {"class_name": "Adam", "config": {
        "learning_rate": 0.2}}, "initial_scale": 1.0},
    "MultiOptimizer": OPTIMIZERS["MultiOptimizer"][0],
    "Optax": {"transformation": optax.adam(0.2)},
    "Lamb": {"learning_rate": schedules.CosineDecay(0.2, 200)},
    "Muon": {"learning_rate": schedules.CosineDecay(0.2, 200)},
    "Lion": {"learning_rate": schedules.CosineDecay(0.1, 200)},
}  # fmt: skip


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_a_parabola_is_solved(name):
    optimizer = make(name, PARABOLA[name])
    parameters, state = problem(optimizer)

    def loss(parameters):
        return sum(jnp.sum((p - 0.5) ** 2) for p in parameters.values())

    @jax.jit
    def train(parameters, state):
        def body(_, carry):
            return optimizer.update(jax.grad(loss)(carry[0]), *carry)

        return jax.lax.fori_loop(0, 200, body, (parameters, state))

    before = loss(parameters)
    parameters, state = train(parameters, state)
    assert loss(parameters) < 0.02 * before


def test_apply_and_update_agree():
    ours, pure = optimizers.Adam(0.1), optimizers.Adam(0.1)
    parameters, state = problem(pure)
    variables = {a: Variable(p, name=a[-1]) for a, p in parameters.items()}
    ours.build(variables)
    update = jax.jit(pure.update)
    for _ in range(3):
        gradients = {a: jnp.cos(p) for a, p in parameters.items()}
        ours.apply([gradients[a] for a in variables])
        parameters, state = update(gradients, parameters, state)
    for address, value in parameters.items():
        np.testing.assert_allclose(variables[address].value, value, rtol=1e-6)
    for key, value in state.items():
        np.testing.assert_allclose(ours.state_variables[key].value, value, rtol=1e-6, atol=1e-9)


def test_equal_paths_get_addresses_of_their_own():
    optimizer = optimizers.SGD(momentum=0.9)
    optimizer.build([Variable(np.ones(2), name="w"), Variable(np.ones(2), name="w")])
    assert list(optimizer.state_variables) == [
        "iteration", "learning_rate", "momentum/w", "momentum/w_1",
    ]  # fmt: skip


def test_learning_rate_can_be_read_and_set():
    optimizer = optimizers.Adam(0.5)
    assert float(optimizer.learning_rate) == 0.5
    optimizer.learning_rate = 0.25
    optimizer.learning_rate.assign(optimizer.learning_rate * 0.5)
    assert optimizer.get_config()["learning_rate"] == 0.125
    assert optimizer.state_variables["learning_rate"] is optimizer.learning_rate
    scheduled = optimizers.Adam(schedules.ExponentialDecay(0.5, 10, 0.5))
    assert float(scheduled.learning_rate) == 0.5
    with pytest.raises(ValueError, match="takes its learning rate from ExponentialDecay"):
        scheduled.learning_rate = 0.1
    assert float(optimizers.SGD(lambda: 0.25).learning_rate) == 0.25


def test_constraints_hold_after_every_step():
    w = Variable(np.float32([1.0, -1.0]), name="w", constraint=lambda w: jnp.maximum(w, 0))
    optimizers.SGD(0.5).apply([np.float32([4.0, 4.0])], [w])
    np.testing.assert_array_equal(w.value, [0.0, 0.0])


def test_names():
    assert optimizers.get("adam") == optimizers.Adam()
    assert optimizers.get("RMSprop") == optimizers.get("rmsprop")
    assert optimizers.get(optimizers.SGD) == optimizers.SGD()
    assert optimizers.get({"class_name": "SGD", "config": {"learning_rate": 0.5}}).get_config()[
        "learning_rate"
    ] == 0.5  # fmt: skip
    assert optimizers.get(None) is None


def w():
    return Variable(np.ones(2), name="w")


def built(optimizer):
    optimizer.build([w()])
    return optimizer


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: optimizers.get("adm"), "Unknown optimizer: 'adm'. Did you mean 'adam'"),
        (lambda: optimizers.get(len), "Expected an optimizer"),
        (lambda: optimizers.Adam("fast"), "A learning rate is a number"),
        (lambda: optimizers.Adam(clipnorm=1.0, clipvalue=1.0), "takes one of `clipnorm`"),
        (lambda: optimizers.Adam(gradient_accumulation_steps=1), "`gradient_accumulation_steps`"),
        (lambda: optimizers.Adam(ema_momentum=2.0), "`ema_momentum` between 0 and 1"),
        (lambda: optimizers.Adam(ema_overwrite_frequency=0), "`ema_overwrite_frequency` >= 1"),
        (lambda: optimizers.SGD(momentum=2.0), "`momentum` between 0 and 1"),
        (lambda: optimizers.AdamW(weight_decay=None), "a number for `weight_decay`"),
        (lambda: optimizers.Ftrl(learning_rate_power=1.0), "`learning_rate_power` <= 0"),
        (lambda: optimizers.SGD().apply([np.ones(2)], [w(), w()]), "one gradient for each"),
        (lambda: optimizers.SGD().apply([None], [w()]), "no gradient for any variable"),
        (lambda: optimizers.SGD().apply([np.ones(3)], [w()]), "The gradient of 'w' has shape"),
        (lambda: built(optimizers.SGD()).apply([np.ones(2)], [w()]), "built for other variables"),
        (lambda: optimizers.SGD().stateless_apply([], [], []), "no state yet"),
        (lambda: built(optimizers.SGD()).stateless_apply([], [], []), "of lengths"),
        (lambda: built(optimizers.Adam()).load_own_variables({}), "the file contains 0"),
        (lambda: built(optimizers.AdamW()).exclude_from_weight_decay([]), "after the optimizer"),
        (lambda: optimizers.Optax(optax.sgd(0.1)).get_config(), "cannot be saved"),
        (
            lambda: schedules.ExponentialDecay(0.1, 0, 0.5),
            r"`decay_steps`: expected a number in \(0, inf\)",
        ),
        (lambda: schedules.PiecewiseConstantDecay([1], [1.0]), "one more value than boundaries"),
    ],
)
def test_messages(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_a_map_of_optimizers_finds_paths_and_patterns():
    adam, sgd = optimizers.Adam(), optimizers.SGD()
    found = optimizers.OptimizerMap(sgd, {"encoder/.*": adam, "encoder/0/bias": sgd})
    assert found["encoder/0/kernel"] is adam
    assert found["encoder/0/bias"] is sgd  # the whole path comes first
    assert found["my_encoder/kernel"] is sgd
    assert len(found) == 2
    found[".*/0/.*"] = sgd
    for wrong in (
        lambda: found["encoder/0/gamma"],
        lambda: found.__setitem__("encoder/.*", sgd),
        lambda: found.__setitem__("(", sgd),
        lambda: found.__setitem__("a", "adam"),
        lambda: found.__delitem__("b"),
        lambda: optimizers.OptimizerMap("sgd"),
        lambda: optimizers.OptimizerMap(sgd, [adam]),
        lambda: optimizers.OptimizerMap(optimizers.LossScaleOptimizer("sgd")),
    ):
        with pytest.raises(ArgumentError):
            wrong()


def test_several_optimizers_in_training():
    """Each changes its own weights only; the rates and the averages are theirs."""
    inputs = lamina.Input((3,))
    outputs = layers.Dense(1, name="head")(layers.Dense(2, name="body")(inputs))
    model = lamina.Model(inputs, outputs)
    rest, head = optimizers.SGD(0.1, use_ema=True), optimizers.SGD(0.0)
    choose = {"head": head}
    optimizer = optimizers.MultiOptimizer(lambda v: choose.get(v.path.split("/")[0], rest))
    model.compile(optimizer, "mse")
    before = [v.numpy() for v in model.layers[2].weights]
    x = np.ones((4, 3), "float32")
    model.fit(x, x[:, :1], epochs=2, verbose=0)
    for old, new in zip(before, model.layers[2].weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert set(optimizer.moving_averages) == set(model.layers[1].weights)
    assert int(optimizer.iterations) == int(rest.iterations) == 2
    with pytest.raises(ArgumentError, match=r"each of its `optimizers`: \['sgd', 'sgd'\]"):
        _ = optimizer.learning_rate
    with pytest.raises(ArgumentError, match="weight decay"):
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(ArgumentError, match="Received: None"):
        optimizers.MultiOptimizer(lambda v: None).build([w()])
    with pytest.raises(ArgumentError, match="OptimizerMap"):
        optimizers.MultiOptimizer("adam")
