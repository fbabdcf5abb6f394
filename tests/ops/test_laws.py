"""What ops promise that no comparison with Keras shows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.core import spec
from lamina.core.declaration import DECLARATIONS
from lamina.core.spec import TensorSpec
from lamina.errors import SymbolicTensorError
from tests.cases.ops import CASES

# Without a row: what makes no tensor of tensors, or takes functions (see test_functions).
WITHOUT_ROW = {
    "associative_scan", "cond", "custom_gradient", "fori_loop", "image.extract_patches_3d", "jvp",
    "map", "mish", "copysign", "scan", "switch", "vectorized_map", "while_loop",
}  # fmt: skip


def test_every_op_has_a_row():
    rows = {c.name.rpartition(".")[2] for c in CASES}
    ours = {n for n, d in DECLARATIONS.items() if d.fn.__module__.startswith("lamina.ops")}
    assert ours - rows <= {n.rpartition(".")[2] for n in WITHOUT_ROW}


def test_every_op_has_a_text_that_names_its_arguments():
    for name, declared in DECLARATIONS.items():
        if declared.fn.__module__.startswith("lamina.ops"):
            assert declared.fn.__doc__, name
            assert ">>>" in declared.fn.__doc__ or "Args:" in declared.fn.__doc__, name


# ---- specs that are remembered -------------------------------------------------------------------


def test_numbers_of_other_types_are_other_evaluations():
    x = layers.Input((3,), dtype="int32")
    found = [(x * n).dtype for n in (1, 1.0, True, 1, 1.0)]
    assert found == ["int32", "float32", "int32", "int32", "float32"]


def test_an_evaluation_is_made_once(monkeypatch):
    calls = []
    evaluate = spec.evaluate
    monkeypatch.setattr(spec, "evaluate", lambda *a: calls.append(1) or evaluate(*a))
    x = layers.Input((17,))
    for _ in range(3):
        ops.take(x[:, 2:5], np.array([0, 1]), axis=1)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, True), (1.0, 1), (0.0, -0.0), ([1], (1,)), (slice(1), slice(2)), ("1", 1),
     (np.float32(1), 1.0), (np.zeros(2), np.zeros((2, 1))), ({"a": 1}, {"b": 1})],
    ids=str,
)  # fmt: skip
def test_keys_tell_values_apart(a, b):
    assert spec.freeze(a) == spec.freeze(a) != spec.freeze(b)
    assert hash(spec.freeze(a)) == hash(spec.freeze(a))


def test_settings_are_part_of_the_key():
    specs = [TensorSpec((3,), "int32")]
    floatx = lamina.config.floatx()
    try:
        found = []
        for name in ("float32", "bfloat16", "float32"):
            lamina.config.set_floatx(name)
            fn = DECLARATIONS["mean"].fn
            found.append(spec.evaluate_cached(spec.freeze("a law"), fn, specs).dtype)
    finally:
        lamina.config.set_floatx(floatx)
    assert found == ["float32", "bfloat16", "float32"]


# ---- variables, keywords, masks, errors ----------------------------------------------------------


def test_variables_are_tensors():
    v = lamina.Variable(np.array([[1.0, 2.0]], "float32"))
    np.testing.assert_array_equal(ops.add(x1=v, x2=[1, 1]), [[2.0, 3.0]])
    np.testing.assert_array_equal(ops.concatenate(xs=[v, [[9.0]]], axis=1), [[1.0, 2.0, 9.0]])
    x = layers.Input((2,))
    assert (ops.matmul(x, ops.transpose(v))).shape == (None, 1)
    assert ops.shape(v) == (1, 2)


def test_elementwise_ops_propagate_masks():
    x = layers.Masking()(layers.Input((4, 2)))
    assert ops.relu(x * 2.0).mask is not None
    assert ops.sum(x, axis=1).mask is None


def test_results_have_dtypes_of_their_own():
    for result in (ops.full((2,), 2.0), ops.sin(1.0), ops.convert_to_tensor(1), ops.arange(3)):
        assert not result.weak_type
        assert (result + jnp.ones((), "bfloat16")).dtype == jnp.promote_types(
            result.dtype, "bfloat16"
        )


def test_an_error_names_the_op_and_what_it_received():
    x = layers.Input((3,))
    with pytest.raises(
        lamina.errors.ShapeError, match=r"lamina.ops.matmul .*(?s:.*)\(batch, 3\)"
    ) as e:
        ops.matmul(x, np.ones((4, 2), "float32"))
    assert __file__ in str(e.value)
    with pytest.raises(lamina.errors.ShapeError, match=r"lamina\.ops\.matmul") as e:
        ops.matmul(np.ones((2, 3), "float32"), np.ones((4, 2), "float32"))
    assert e.value.received == "(2, 3) float32, (4, 2) float32"


# ---- formulas that Keras on JAX gets wrong -------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_sparsemax_is_the_nearest_point_of_the_simplex(axis):
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
    p = np.asarray(ops.sparsemax(x, axis=axis))
    np.testing.assert_allclose(p.sum(axis), 1, rtol=1e-5)
    assert p.min() >= 0
    # x - p is the same number where p > 0, and not above it elsewhere.
    threshold = np.max(np.where(p > 0, x - p, -np.inf), axis, keepdims=True)
    np.testing.assert_allclose(np.where(p > 0, x - p - threshold, 0), 0, atol=1e-5)
    assert np.all(np.where(p > 0, threshold, x) <= threshold + 1e-5)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_gradients_of_normalized_zeros_are_finite(order):
    gradient = jax.grad(lambda x: ops.normalize(x, order=order)[0])(jnp.zeros(3))
    np.testing.assert_allclose(gradient, [1e7, 0, 0], rtol=1e-6)


def test_a_blur_spreads_over_both_axes_and_keeps_the_sum():
    x = np.zeros((7, 7, 2), "float32")
    x[3, 3] = 1
    y = np.asarray(ops.image.gaussian_blur(x, (3, 5), (1.0, 2.0)))
    np.testing.assert_allclose(y.sum((0, 1)), 1, rtol=1e-5)
    rows, columns = y.sum(1)[:, 0], y.sum(0)[:, 0]
    np.testing.assert_allclose(y[..., 1], np.outer(rows, columns), atol=1e-6)
    assert [(rows > 0).sum(), (columns > 0).sum()] == [3, 5]


def test_a_projection_divides_by_the_distance():
    x = np.arange(9, dtype="float32").reshape(1, 3, 3, 1)
    corners = np.array([[0, 0], [2, 0], [0, 2], [2, 2]], "float32")
    moved = np.array([[0, 0], [2, 0], [0.5, 2], [1.5, 2]], "float32")
    y = ops.image.perspective_transform(x, corners, moved)
    np.testing.assert_allclose(y[0, 0, :, 0], [0, 1, 2], atol=1e-5)
    np.testing.assert_allclose(y[0, 2, 1, 0], 7, atol=1e-4)


# ---- randomness ----------------------------------------------------------------------------------


def test_elastic_transforms_repeat_with_a_seed_only():
    x = np.random.default_rng(0).uniform(size=(8, 8, 1)).astype("float32")
    bent = [np.asarray(ops.image.elastic_transform(x, seed=s)) for s in (1, 1, 2, None, None)]
    np.testing.assert_array_equal(bent[0], bent[1])
    for a, b in ((0, 2), (0, 3), (3, 4)):
        assert np.abs(bent[a] - bent[b]).max() > 1e-3
    np.testing.assert_allclose(ops.image.elastic_transform(x, alpha=0.0), x, atol=1e-6)
    compiled = jax.jit(lambda x: ops.image.elastic_transform(x, seed=1))(x)
    np.testing.assert_allclose(compiled, bent[0], atol=1e-5)


# ---- the rest ------------------------------------------------------------------------------------


def test_a_custom_gradient_is_used():
    @ops.custom_gradient
    def doubled(x):
        return x * 2, lambda *args, upstream: upstream * 7.0

    assert float(jax.grad(doubled)(3.0)) == 7.0


def test_what_is_known_of_tensors():
    x = layers.Input((3,), dtype="int32")
    assert (ops.shape(x), ops.dtype(x), ops.is_tensor(x)) == ((None, 3), "int32", True)
    ones = jnp.ones((2, 3))
    assert (ops.size(ones), ops.ndim(ones)) == (6, 2)
    assert not ops.is_tensor([1.0])
    np.testing.assert_array_equal(ops.convert_to_numpy(ones), np.ones((2, 3)))


def test_vectorize():
    dot = ops.vectorize(jnp.dot, signature="(n),(n)->()")
    np.testing.assert_array_equal(dot(jnp.ones((2, 3)), jnp.ones(3)), [3.0, 3.0])


@pytest.mark.parametrize("offset", [0, 1, -1])
def test_the_length_of_diagonals_may_be_unknown(offset):
    x = layers.Input((3,))
    outputs = [ops.diag(x, offset), ops.diagonal(x, offset), ops.diagonal(x[:, :, None], offset)]
    assert [y.shape for y in outputs] == [(None,), (None,), (1, None)]
    model = lamina.Model(x, outputs)
    for rows in (1, 2, 5):
        data = np.arange(3.0 * rows, dtype="float32").reshape(rows, 3)
        for y in (*model(data)[:2], model(data)[2][0]):
            np.testing.assert_array_equal(y, np.diagonal(data, offset))


def test_an_unknown_dimension_takes_a_known_one_only_where_it_must():
    x = lamina.KerasTensor((None, 3))
    known = lamina.KerasTensor((2, 3))
    assert ops.add(x, known).shape == (2, 3)
    assert ops.slice_update(x, (0, 1), lamina.KerasTensor((2, 2))).shape == (None, 3)
    assert ops.correlate(x[:, 0], known[0]).shape == (None,)
    first, second = ops.unstack(x, 2)
    assert first.shape == second.shape == (3,)


@pytest.mark.parametrize(
    "call",
    [
        ops.nonzero, ops.unique, lambda x: ops.where(x > 0), lambda x: x[x > 0],
        lambda x: ops.arange(ops.cast(ops.max(x), "int32")),
    ],
)  # fmt: skip
def test_shapes_that_depend_on_values_are_an_error_in_graphs(call):
    with pytest.raises(SymbolicTensorError, match="needs the values of a tensor, or an unknown"):
        call(layers.Input((3,)))


@pytest.mark.parametrize(
    "call",
    [
        lambda x, n: ops.arange(n), lambda x, n: ops.eye(n), lambda x, n: ops.tri(n),
        lambda x, n: ops.zeros((2, n)), lambda x, n: ops.linspace(0, 1, n),
        lambda x, n: ops.reshape(x, (n, -1)), lambda x, n: ops.tile(x, (1, n, 1)),
        lambda x, n: ops.broadcast_to(x, (2, n, 3)), lambda x, n: ops.one_hot(x[..., 0], n),
        lambda x, n: ops.split(x, n, 1), lambda x, n: ops.repeat(x, n, 1),
    ],
)  # fmt: skip
def test_sizes_that_are_unknown_are_an_error_in_graphs(call):
    x = layers.Input((None, 3))
    with pytest.raises(SymbolicTensorError, match=r"None is a \w+ that is\s+unknown while"):
        call(x, ops.shape(x)[1])


def test_images_of_unknown_size_get_the_target_size():
    x = layers.Input((None, None, 3))
    y = ops.image.crop_images(x, top_cropping=1, right_cropping=2, target_height=4, target_width=1)
    assert y.shape == (None, 4, 1, 3)
    y = ops.image.pad_images(x, top_padding=1, right_padding=0, target_height=5, target_width=9)
    assert y.shape == (None, 5, 9, 3)
    padded = lamina.Model(x, y)(np.ones((1, 3, 8, 3), "float32"))
    np.testing.assert_array_equal(padded[0, :, :, 0].sum(1), [0, 8, 8, 8, 0])


def test_copysign():
    np.testing.assert_array_equal(ops.copysign([1.0, -2.0], [-1.0, 1.0]), [-1.0, 2.0])
