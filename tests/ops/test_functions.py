"""Functions given to ops in a graph: what they read, how they are saved, what they must not do."""

import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.core.subgraph import Body
from lamina.errors import (
    ArgumentError,
    DTypeError,
    GraphError,
    LaminaError,
    ShapeError,
    SymbolicTensorError,
)
from lamina.tree import nested

A = np.array([[1.0, -2.0, 3.0], [0.5, 0.25, -4.0]], "float32")
B = np.array([[2.0, 1.0, -1.0], [1.5, -3.0, 0.5]], "float32")

# Each is a function of `x` and `y`; the inner functions read `y`, or what was made of both.
GRAPHS = {
    "cond": lambda x, y: ops.cond(ops.sum(x) > 0, lambda: x + y, lambda: x - 1.0),
    "cond of tensors from outside": lambda x, y: ops.cond(ops.sum(x) > 0, lambda: y, lambda: x),
    "switch": lambda x, y: ops.switch(
        ops.cast(ops.sum(x) > 0, "int32"), [lambda a: a + y, lambda a, y=y: a * y], x
    ),
    "scan": lambda x, y: ops.scan(
        lambda state, row: (state + row, state * ops.sum(y)), ops.zeros_like(y[0]), x
    ),
    "while_loop": lambda x, y: ops.while_loop(
        lambda i, h: i < 3, lambda i, h: (i + 1, h * y), (0, x)
    ),
    "while_loop with a limit": lambda x, y: ops.while_loop(
        lambda h: ops.sum(h) < 1e6, lambda h: [h + ops.abs(y)], [x], maximum_iterations=4
    ),
    "fori_loop": lambda x, y: ops.fori_loop(
        0, 3, lambda i, h: h + ops.cast(i, "float32") * y, x
    ),
    "fori_loop of a number": lambda x, y: (
        ops.fori_loop(0, 2, lambda i, h: h + ops.mean(y), 0.0) + x
    ),
    "map": lambda x, y: ops.map(lambda row: row * ops.max(y), x),
    "map of a nesting": lambda x, y: ops.map(lambda rows: rows["a"] - rows["b"], {"a": x, "b": y}),
    "vectorized_map": lambda x, y: ops.vectorized_map(lambda row: row * ops.sum(y), x),
    "associative_scan": lambda x, y: ops.associative_scan(lambda a, b: a + b, x, axis=1) + y,
    "jvp": lambda x, y: ops.jvp(lambda a: a * a * y, (x,), (y,)),
    "inside of one another": lambda x, y: ops.map(
        lambda row: ops.cond(ops.sum(row) > 0, lambda: row + ops.sum(y), lambda: row * 2.0), x
    ),
    "slices and axes": lambda x, y: ops.map(
        lambda row: ops.concatenate([row[::-1], ops.sum(y, axis=(0, 1))[None]], axis=0), x
    ),
    "a constant": lambda x, y: ops.map(lambda row: row * np.arange(3, dtype="float32") + y[0], x),
}  # fmt: skip


def model_of(name):
    x, y = layers.Input((3,)), layers.Input((3,))
    return lamina.Model([x, y], GRAPHS[name](x, y))


def outputs(model):
    return [np.asarray(v) for v in nested.flatten(model([A, B]))]


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_compute_what_arrays_do(name):
    model = model_of(name)
    expected = nested.flatten(GRAPHS[name](jnp.asarray(A), jnp.asarray(B)))
    for symbol, a, b in zip(nested.flatten(model.output), outputs(model), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
        assert (symbol.dtype, len(symbol.shape)) == (a.dtype.name, a.ndim)


@pytest.mark.parametrize("name", GRAPHS)
def test_files_hold_them(name, tmp_path):
    model = model_of(name)
    model.save(tmp_path / "model.keras")
    loaded = lamina.saving.load_model(tmp_path / "model.keras")
    for a, b, c in zip(
        outputs(model), outputs(loaded), outputs(lamina.models.clone_model(model)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert loaded.to_json() == model.to_json()


def test_what_a_function_reads_is_an_input_of_the_node():
    x, y = layers.Input((3,)), layers.Input((3,))
    node = ops.map(lambda row: row * ops.sum(y), x).node
    body = node.args[0]
    assert isinstance(body, Body)
    assert body.captures == (y,)
    assert node.inputs == [y, x]


def test_a_forgotten_input_is_told_of():
    x, y = layers.Input((3,)), layers.Input((3,), name="forgotten")
    z = ops.map(lambda row: row * ops.sum(y), x)
    with pytest.raises(GraphError, match="forgotten"):
        lamina.Model(x, z)


def test_functions_may_call_jax_but_then_not_read_symbolic_tensors():
    x, y = layers.Input((3,)), layers.Input((3,))
    model = lamina.Model(x, ops.map(jnp.sort, x))
    np.testing.assert_array_equal(model(A), np.sort(A, 1))
    with pytest.raises(SymbolicTensorError, match=r"lamina\.ops"):
        ops.map(lambda row: jnp.sort(row) + y[0], x)


def test_layers_inside_are_refused():
    x, dense = layers.Input((3,)), layers.Dense(3, name="inner")
    with pytest.raises(GraphError, match="'inner'"):
        ops.map(lambda row: dense(row[None])[0], x)


@pytest.mark.parametrize(
    ("change", "message"),
    [(('"op": "multiply"', '"op": "eval"'), "eval"), (('{"slot": 0}', '{"slot": 99}'), "99"),
     (('"outputs": [3]', '"outputs": [3, 4]'), "zip"), (('"outputs"', '"others"'), "outputs")],
)  # fmt: skip
def test_a_damaged_function_is_an_error(change, message):
    x, y = layers.Input((3,)), layers.Input((3,))
    text = lamina.Model([x, y], ops.map(lambda row: row * ops.max(y), x)).to_json()
    assert change[0] in text
    with pytest.raises(LaminaError, match=message):
        lamina.models.model_from_json(text.replace(*change))


def test_gradients_pass_through_captures():
    import jax

    model = model_of("fori_loop")

    def loss(b):
        return jnp.sum(model.stateless_call([], [], [A, b])[0])

    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(B)), np.full((2, 3), 3.0))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.bitwise_right_shift(A, 1), DTypeError, r"\(2, 3\) float32"),
        (lambda: ops.cross(A > 0, A > 0), DTypeError, r"\(2, 3\) bool"),
        (lambda: ops.lcm(A, 2), ArgumentError, "integers"),
        (lambda: ops.matmul(A, A), ShapeError, "contracting"),
        (lambda: ops.where(A > 0, A), ArgumentError, "`x2` is None"),
        (lambda: ops.cholesky([[0.0, 1.0], [1.0, 0.0]]), ArgumentError, "positive definite"),
        (lambda: ops.solve(jnp.ones((2, 3, 3)), A), ShapeError, r"b\[\.\.\., None\]"),
        (lambda: ops.add(None, 1), DTypeError, "Received: None"),
        (lambda: ops.glu(2), ArgumentError, "halves"),
        (lambda: ops.unstack(A, 3), ShapeError, r"a dimension of 3\n  received: \(2, 3\)"),
        (lambda: ops.split(A, 0), ShapeError, "split cannot take"),
        (lambda: ops.arange(1, 2, 0), ArgumentError, "`step`"),
        (lambda: ops.convert_to_tensor(None), ArgumentError, "numbers, in lists"),
        (lambda: ops.convert_to_tensor([[1], [1, 2]]), ArgumentError, "numbers, in lists"),
        (lambda: ops.digitize([1.0], [[1.0, 2.0]]), ShapeError, r"\(n,\)"),
        (lambda: ops.segment_sum([1.0, 2.0], [0]), ShapeError, r"of shape \(2,\)"),
        (lambda: ops.cond(A[0, 0] > 0, lambda: 1, lambda: (1, 2)), ShapeError, "test_functions.py"),
    ],
)
def test_wrong_arguments_of_ops(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_scalars_and_booleans():
    assert ops.argsort(3.0).tolist() == [0]
    assert ops.saturate_cast(np.float32([0.5, -2.0]), "bool").tolist() == [True, False]
    assert ops.saturate_cast([1e12, -2.0], "int64").tolist() == [2**31 - 1, -2]
