import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax.test_util import check_grads

import lamina
from lamina import layers
from lamina.errors import ArgumentError, ShapeError
from tests.cases.layers_normalization import CASES
from tests.differential.oracle import agree, compare, pair

SPECTRAL = [c for c in CASES if c.cls is layers.SpectralNormalization]
PLAIN = [c for c in CASES if c not in SPECTRAL]


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling")
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_as_in_keras(case):
    compare(case)


@pytest.mark.parametrize("case", [c for c in CASES if c.cls is layers.BatchNormalization], ids=str)
def test_as_in_keras_while_training(case):
    compare(case, training=True)


@pytest.mark.parametrize("case", SPECTRAL, ids=str)
def test_the_first_training_step_is_kerass(case):
    ours, theirs = pair(case)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), "float32")

    def loss(layer, trainable):
        fixed = [v.value for v in layer.non_trainable_variables]
        outputs, new = layer.stateless_call(trainable, fixed, x, training=True)
        return jnp.sum(jnp.sin(outputs)), (outputs, new)

    found = [
        jax.value_and_grad(lambda t, layer=layer: loss(layer, t), has_aux=True)(
            [v.value for v in layer.trainable_variables]
        )
        for layer in (ours, theirs)
    ]
    agree(*[[f[0][1][0], *f[0][1][1], *f[1]] for f in found], case, "outputs, vector, gradients")


def test_a_spectrally_normalized_kernel_has_norm_one():
    dense = layers.Dense(4, use_bias=False)
    layer = layers.SpectralNormalization(dense, power_iterations=50)
    layer(np.eye(6, dtype="float32"), training=True)
    divided = np.asarray(layer(np.eye(6, dtype="float32")))
    np.testing.assert_allclose(np.linalg.norm(divided, 2), 1, rtol=1e-5)
    kernel = dense.kernel.numpy()
    np.testing.assert_allclose(divided, kernel / np.linalg.norm(kernel, 2), rtol=1e-4, atol=1e-5)


def test_a_kernel_of_zeros_stays_as_it_is():
    layer = layers.SpectralNormalization(layers.Dense(2, kernel_initializer="zeros"))
    x = np.ones((3, 4), "float32")
    layer.build(x.shape)
    before = layer.vector_u.numpy()
    np.testing.assert_array_equal(layer(x, training=True), np.zeros((3, 2)))
    np.testing.assert_array_equal(layer.vector_u, before)


@pytest.mark.parametrize("cls", [layers.BatchNormalization, layers.GroupNormalization])
@pytest.mark.parametrize("axis", [1.5, "1", None, [1]])
def test_the_axis_of_the_channels_is_an_integer(cls, axis):
    with pytest.raises(ArgumentError, match=r"`axis`: expected an integer\. Received"):
        cls(axis=axis)


def test_spectral_normalization_wants_a_kernel():
    with pytest.raises(ArgumentError, match="kernel"):
        layers.SpectralNormalization(layers.ReLU())(np.ones((2, 3), "float32"))
    with pytest.raises(ArgumentError, match="expected a layer"):
        layers.SpectralNormalization(3)


MASKS = [((2, 4), -1), ((2, 4), 1)]


@pytest.mark.parametrize(("shape", "axis"), MASKS)
def test_masked_positions_do_not_count(shape, axis):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 4, 3)), "float32")
    mask = jnp.asarray(rng.random(shape) > 0.4)
    ours = layers.BatchNormalization(axis=axis, momentum=0.5)
    theirs = keras.layers.BatchNormalization(axis=axis, momentum=0.5)
    a, b = (layer(x, training=True, mask=mask) for layer in (ours, theirs))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for v, w in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(v.value, w.value, rtol=1e-5, atol=1e-6)


def test_a_mask_that_hides_everything_gives_finite_numbers():
    layer = layers.BatchNormalization()
    y = layer(np.ones((2, 4, 3), "float32"), training=True, mask=np.zeros((2, 4), bool))
    assert np.isfinite(y).all()
    assert all(np.isfinite(w).all() for w in layer.get_weights())


def test_a_mask_travels_from_an_embedding():
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    embedding = layers.Embedding(5, 3, mask_zero=True)
    layer = layers.BatchNormalization(momentum=0.0)
    layer(embedding(ids), training=True)
    counted = embedding.embeddings.numpy()[ids[ids != 0]]
    np.testing.assert_allclose(layer.moving_mean.numpy(), counted.mean(0), rtol=1e-4, atol=1e-6)


def test_frozen_means_inference():
    x = np.random.default_rng(0).normal(2, 3, (8, 3)).astype("float32")
    layer = layers.BatchNormalization()
    layer(x)
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    np.testing.assert_array_equal(layer.moving_mean.numpy(), np.zeros(3))
    layer.trainable = True
    layer(x, training=True)
    assert np.abs(layer.moving_mean.numpy()).min() > 0


def test_large_means_lose_no_variance():
    x = (3000 + np.random.default_rng(0).normal(size=(4096, 2))).astype("float32")
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_variance.numpy(), x.astype("float64").var(0), rtol=1e-5)


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_statistics_are_computed_in_float32(case):
    """Values whose squares overflow, or whose sum loses its end, in 16 bits."""
    layer = case.cls(**{**case.kwargs, "dtype": "mixed_float16"})
    reference = case.cls(**case.kwargs)
    shape, _ = case.inputs[0]
    x = (300 * np.random.default_rng(0).normal(size=shape) + 300).astype("float32")
    narrow = jnp.asarray(x, layer.compute_dtype)
    kwargs = {"training": True} if case.cls is layers.BatchNormalization else {}
    got, want = layer(narrow, **kwargs), reference(narrow.astype("float32"), **kwargs)
    assert str(got.dtype) == layer.compute_dtype
    np.testing.assert_allclose(got.astype("float32"), want, rtol=1e-2, atol=1e-2)
    for a, b in zip(layer.weights, reference.weights, strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)


WRONG_CHANNELS = [
    (layers.BatchNormalization, {}, (2, 4, 3), (2, 4, 5)),
    (layers.BatchNormalization, {}, (2, 4, 3), (2, 3)),
    (layers.LayerNormalization, {}, (2, 4, 3), (2, 4, 5)),
    (layers.LayerNormalization, {"axis": [1, 2]}, (2, 4, 3), (2, 5, 3)),
    (layers.GroupNormalization, {"groups": 3}, (2, 4, 3), (2, 4, 6)),
    (layers.GroupNormalization, {"groups": 3}, (2, 4, 3), (2, 3)),
    (layers.RMSNormalization, {}, (2, 4, 3), (2, 4, 5)),
]


@pytest.mark.parametrize(("cls", "kwargs", "first", "second"), WRONG_CHANNELS)
@pytest.mark.parametrize("symbolic", [True, False])
def test_another_shape_than_when_built(cls, kwargs, first, second, symbolic):
    layer = cls(**kwargs, name="culprit")
    layer.build((None, *first[1:]))
    x = lamina.Input(second[1:]) if symbolic else np.ones(second, "float32")
    received = str(second).replace("2", "batch", 1) if symbolic else str(second)
    with pytest.raises(ShapeError, match="culprit") as e:
        layer(x)
    assert "expected" in str(e.value)
    assert received in str(e.value)


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    [
        (layers.BatchNormalization, {}),
        (layers.LayerNormalization, {"axis": [1, 2]}),
        (layers.GroupNormalization, {}),
        (layers.RMSNormalization, {}),
    ],
)
def test_weights_need_known_sizes(cls, kwargs):
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*an unknown dimension"):
        cls(**kwargs, name="culprit")(lamina.Input((4, None)))


def test_groups_must_divide_the_channels():
    for groups, channels in ((2, 3), (32, 3)):
        with pytest.raises(ShapeError, match=f"multiple of groups={groups}"):
            layers.GroupNormalization(groups)(np.ones((2, 4, channels), "float32"))
    for groups in (0, -2, 1.5):
        with pytest.raises(ArgumentError, match="groups"):
            layers.GroupNormalization(groups)


@pytest.mark.parametrize("shape", [(None, None, 4), ("height", "width", 4)])
def test_open_sizes_stay_open(shape):
    for layer in (
        layers.BatchNormalization(), layers.LayerNormalization(), layers.GroupNormalization(2),
        layers.RMSNormalization(), layers.UnitNormalization(),
    ):  # fmt: skip
        x = lamina.Input(shape)
        assert layer(x).dims == x.dims
        assert layer(x, training=True).shape == (None, None, None, 4)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("clipping", [None, {"rmin": 0.9, "rmax": 1.1, "dmax": 0.1}])
def test_batch_renormalization(affine, clipping):
    options = {
        "renorm": True, "renorm_clipping": clipping, "renorm_momentum": 0.5, "momentum": 0.8,
        "center": affine, "scale": affine,
    }  # fmt: skip
    ours = layers.BatchNormalization(**options)
    theirs = keras.layers.BatchNormalization(**options)
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = (2 * rng.normal(size=(6, 3)) + 1).astype("float32")
        np.testing.assert_allclose(
            ours(x, training=True), np.asarray(theirs(x, training=True)), rtol=1e-4, atol=1e-5
        )
        names = [[w.name for w in layer.weights] for layer in (ours, theirs)]
        assert names[0] == names[1]
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_allclose(a, np.asarray(b), rtol=1e-4, atol=1e-5, err_msg=a.name)
        np.testing.assert_allclose(ours(x), np.asarray(theirs(x)), rtol=1e-4, atol=1e-4)
    # The correction is a constant for the gradients.
    values = [jnp.asarray(w.value) for w in ours.trainable_variables]
    fixed = [jnp.asarray(w.value) for w in ours.non_trainable_variables]

    def total(layer):
        return lambda x: jnp.sum(layer.stateless_call(values, fixed, x, training=True)[0] ** 3)

    np.testing.assert_allclose(
        jax.grad(total(ours))(x), jax.grad(total(theirs))(x), rtol=1e-3, atol=1e-4
    )
    again = layers.BatchNormalization.from_config(ours.get_config())
    assert again.renorm_clipping == ours.renorm_clipping


def test_bounds_of_renormalization():
    for wrong in ({"rmin": 2, "rmax": 1}, {"dmax": -1}, {"r": 1}, 3):
        with pytest.raises(ArgumentError, match="renorm_clipping"):
            layers.BatchNormalization(renorm=True, renorm_clipping=wrong)
    assert "renorm" not in layers.BatchNormalization(renorm=False).get_config()


def test_second_derivatives():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), "float32")
    layer = layers.BatchNormalization()
    layer.build((None, 3))
    trainable, fixed = layer.get_weights()[:2], layer.get_weights()[2:]

    def total(x):
        return jnp.sum(jnp.sin(layer.stateless_call(trainable, fixed, x, training=True)[0]))

    check_grads(total, (x,), order=2, modes=["fwd", "rev"], rtol=3e-2, atol=3e-2)
