"""The graph: order, plans, limits that must not be there."""

import sys

import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.core.graph import make_plan, topological_order, verify
from lamina.errors import GraphError, SymbolicTensorError


def test_a_chain_of_ten_thousand_layers_needs_no_recursion():
    x = inputs = lamina.Input((2,))
    shared = layers.Activation("relu")
    for _ in range(10_000):
        x = shared(x)
    assert sys.getrecursionlimit() < 10_000
    plan = make_plan([inputs], [x])
    verify(plan)
    assert len(plan.steps) == 10_000
    order = topological_order([x], [inputs])
    position = {node: i for i, node in enumerate(order)}
    assert all(position[p] < position[n] for n in order for p in n.parents if p in position)


def test_a_model_of_ten_thousand_layers():
    x = inputs = lamina.Input((2,))
    for _ in range(10_000):
        x = layers.Identity()(x)
    model = lamina.Model(inputs, x)
    assert len(model.layers) == 10_001
    assert model.layer_graph.is_chain


def test_a_model_can_be_cut_out_of_the_middle():
    a = lamina.Input((4,))
    b = layers.Dense(5)(a)
    c = layers.Dense(6)(b)
    tail = lamina.Model(b, c)
    assert tail.input_shape == (None, 5)
    assert tail(np.zeros((2, 5), "float32")).shape == (2, 6)
    assert len(tail.weights) == 2


def test_an_output_may_be_an_input():
    a = lamina.Input((4,))
    model = lamina.Model(a, [a, a * 2])
    one, two = model(np.ones((1, 4), "float32"))
    assert float(one.sum()) == 4
    assert float(two.sum()) == 8


def test_an_input_in_the_middle_keeps_the_fed_value():
    a = lamina.Input((2,))
    left, right = ops.split(a * 3, 2, axis=1)
    model = lamina.Model([a, left], [left + 1, right])
    got_left, got_right = model([np.ones((1, 2), "float32"), np.full((1, 1), 10.0, "float32")])
    assert got_left.tolist() == [[11.0]]
    assert got_right.tolist() == [[3.0]]


@pytest.mark.parametrize("given", ["float16", "float32", "int32"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_an_input_has_the_dtype_that_it_was_declared_with(policy, dtype, given):
    x = lamina.Input((3,), dtype=dtype)
    y = x * 0.1
    model = lamina.Model(x, y)
    model.dtype_policy = policy
    found = model(np.full((1, 3), 3, given))
    assert found.dtype == y.dtype == dtype
    np.testing.assert_array_equal(found, ops.full((1, 3), 3, dtype) * 0.1)


def test_an_unlisted_input_is_named_with_its_way():
    a, b = lamina.Input((4,), name="title"), lamina.Input((4,), name="body")
    y = layers.Dense(1, name="score")(ops.concatenate([a, b], axis=-1))
    with pytest.raises(GraphError, match=r"body(.|\n)*body -> concatenate(.|\n)*-> score"):
        lamina.Model(a, y)


def test_a_layer_is_not_a_tensor():
    a = lamina.Input((4,))
    with pytest.raises(GraphError, match="forget to call it"):
        lamina.Model(a, layers.Dense(3))
    with pytest.raises(GraphError, match="forget to call it"):
        layers.Dense(3)(layers.Dense(3))
    with pytest.raises(GraphError, match="not a symbolic tensor"):
        lamina.Model(a, np.zeros(3))


def test_two_layers_of_one_name_are_refused_with_both_places():
    a = lamina.Input((4,))
    y = layers.Dense(4, name="same")(layers.Dense(4, name="same")(a))
    with pytest.raises(GraphError, match="same"):
        lamina.Model(a, y)


def test_an_input_listed_twice():
    a = lamina.Input((4,))
    with pytest.raises(GraphError, match="twice"):
        lamina.Model([a, a], layers.Dense(1)(a))


def test_operators_and_numpy_functions_record_nodes():
    a = lamina.Input((4, 3))
    y = np.sin((2 - a[:, :2] / 3) ** 2 @ np.ones((3, 2), "float32"))
    model = lamina.Model(a, y)
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
    want = np.sin((2 - x[:, :2] / 3) ** 2 @ np.ones((3, 2), "float32"))
    np.testing.assert_allclose(model(x), want, rtol=1e-5, atol=1e-5)
    assert [op.name for op in model.operations][1].startswith("get_item")


@pytest.mark.parametrize("use", [bool, float, int, len, np.asarray, list])
def test_symbolic_tensors_have_no_values(use):
    with pytest.raises(SymbolicTensorError, match="symbolic tensor"):
        use(lamina.Input(()))


def test_jax_functions_say_what_to_use():
    import jax.numpy as jnp

    with pytest.raises(SymbolicTensorError, match=r"lamina\.ops"):
        jnp.sin(lamina.Input((3,)))
