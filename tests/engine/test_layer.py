"""The base layer: weights, addresses, modes, masks, purity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.core import prng
from lamina.errors import ArgumentError, NotBuiltError, ShapeError, StateError


class Scale(layers.Layer):
    def __init__(self, start=2.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        self.factor = self.add_weight(
            shape=(input_shape[-1],), initializer=lamina.initializers.Constant(self.start)
        )
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, dtype="int32")

    def call(self, inputs, training=False):
        if training:
            self.calls.assign_add(1)
        return inputs * self.factor


def test_constructor_arguments_are_remembered_without_get_config():
    layer = Scale(3.0, name="x3")
    config = layer.get_config()
    assert config["start"] == 3.0
    assert config["name"] == "x3"
    assert Scale.from_config(config).start == 3.0


def test_order_and_addresses_of_weights():
    class Pair(layers.Layer):
        def __init__(self):
            super().__init__(name="pair")
            self.inner = [layers.Dense(2, name="a"), layers.Dense(3, name="a")]
            self.table = {"b": layers.Dense(4, name="b")}

        def call(self, x):
            return self.table["b"](self.inner[1](self.inner[0](x)))

    layer = Pair()
    layer(jnp.ones((1, 5)))
    assert list(layer.named_variables()) == [
        "a/kernel", "a/bias", "a_1/kernel", "a_1/bias", "b/kernel", "b/bias",
    ]  # fmt: skip
    assert layer.weights[0].path == "pair/a/kernel"


def test_trainable_reaches_inner_layers():
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2), layers.Dense(2)])
    model.trainable = False
    assert not model.trainable_variables
    model.layers[1].trainable = True
    assert not model.trainable_variables  # the model itself is frozen
    model.trainable = True
    assert len(model.trainable_variables) == 4


def test_new_values_go_to_the_variable_outside_and_to_the_result_inside():
    layer = Scale()
    layer(jnp.ones((1, 3)), training=True)
    layer(jnp.ones((1, 3)), training=True)
    assert int(layer.calls) == 2
    out, new = layer.stateless_call(
        [v.value for v in layer.trainable_variables],
        [v.value for v in layer.non_trainable_variables], jnp.ones((1, 3)), training=True,
    )  # fmt: skip
    assert int(new[0]) == 3
    assert int(layer.calls) == 2
    assert out.tolist() == [[2.0, 2.0, 2.0]]


def test_state_written_in_a_foreign_jit_is_an_error():
    layer = Scale()
    layer(jnp.ones((1, 3)))
    with pytest.raises(StateError, match="stateless"):
        jax.jit(layer.factor.assign)(jnp.ones(3))


def test_gradients_of_the_pure_form():
    layer = layers.Dense(1, kernel_initializer="ones", use_bias=False)
    x = jnp.arange(6.0).reshape(3, 2)
    layer(x)
    grad = jax.grad(lambda w: layer.stateless_call([w], [], x)[0].sum())(layer.kernel.value)
    np.testing.assert_allclose(grad[:, 0], x.sum(0))


def test_initial_values_depend_on_seed_and_path_only():
    def kernel(extra):
        prng.set_random_seed(7)
        lamina.core.naming.reset()
        if extra:
            layers.Dense(9, name="other")(jnp.ones((1, 4)))
        layer = layers.Dense(3, name="mine")
        layer.build((None, 4))
        return layer.kernel.numpy()

    np.testing.assert_array_equal(kernel(False), kernel(True))


def test_two_layers_of_one_name_start_differently():
    first, second = (layers.Dense(3, name="head") for _ in range(2))
    for layer in (first, second):
        layer.build((None, 4))
    assert not np.array_equal(first.kernel.numpy(), second.kernel.numpy())


def test_masks_travel_eagerly_and_in_a_graph():
    class Count(layers.Layer):
        def call(self, inputs, mask=None):
            return ops.sum(ops.cast(mask, "float32"), axis=1)

        def compute_mask(self, inputs, previous_mask):
            return None

    ids = np.array([[1, 2, 0], [3, 0, 0]])
    embed, count = layers.Embedding(5, 2, mask_zero=True), Count()
    assert count(embed(ids)).tolist() == [2.0, 1.0]
    x = lamina.Input((None,), dtype="int32")
    model = lamina.Model(x, count(embed(x) * 2 + 1))
    assert model(ids).tolist() == [2.0, 1.0]


def test_a_number_is_an_array_for_built_in_layers():
    assert layers.Rescaling(2.0)(3).dtype == "float32"
    for layer in (layers.Dropout(0.5), layers.Identity(), layers.Rescaling(1.0)):
        assert (layer(3.0).shape, float(layer(3.0))) == ((), 3.0)
    assert layers.Embedding(5, 2)(4).shape == (2,)

    class Counted(layers.Layer):
        def call(self, count):
            return [ops.ones(())] * count

    assert len(Counted()(2)) == 2


def test_masks_come_in_the_structure_of_the_inputs():
    class Both(layers.Layer):
        def call(self, inputs, mask=None):
            return ops.cast(mask[0], "float32") + ops.cast(mask[1], "float32")

        def compute_mask(self, inputs, previous_mask):
            return None

    a, b = lamina.Input((None,), dtype="int32"), lamina.Input((None,), dtype="int32")
    embed = layers.Embedding(5, 2, mask_zero=True)
    model = lamina.Model([a, b], Both()([embed(a), embed(b)]))
    assert model([np.array([[1, 0]]), np.array([[2, 2]])]).tolist() == [[2.0, 1.0]]


def test_a_mask_that_ends_is_told():
    x = lamina.Input((None,), dtype="int32")
    y = layers.Embedding(5, 2, mask_zero=True)(x)

    class Blind(layers.Layer):
        def call(self, inputs):
            return inputs * jnp.float32(2)

    with pytest.warns(lamina.errors.MaskWarning, match="not propagated"):
        Blind()(y)


def test_training_and_mask_in_call_in_every_combination():
    class Neither(layers.Layer):
        def call(self, inputs):
            return inputs

    class Training(layers.Layer):
        def call(self, inputs, training=None):
            return inputs + (1.0 if training else 0.0)

    class Mask(layers.Layer):
        def call(self, inputs, mask=None):
            return inputs + (0.0 if mask is None else 1.0)

    class Both(layers.Layer):
        def call(self, inputs, training=None, mask=None):
            return inputs + (1.0 if training else 0.0) + (0.0 if mask is None else 1.0)

    x = inputs = lamina.Input((3,))
    for cls in (Neither, Training, Mask, Both):
        x = cls()(x)
    model = lamina.Model(inputs, x)
    zeros = np.zeros((1, 3), "float32")
    assert float(model(zeros).sum()) == 0
    assert float(model(zeros, training=True).sum()) == 6


def test_mixed_precision():
    layer = layers.Dense(2, dtype="mixed_bfloat16")
    out = layer(jnp.ones((1, 3)))
    assert str(out.dtype) == "bfloat16"
    assert layer.kernel.dtype == "float32"


def test_clear_errors():
    with pytest.raises(NotBuiltError, match="no weights yet"):
        layers.Dense(2).count_params()
    with pytest.raises(ArgumentError, match="positive integer"):
        layers.Dense(0)
    with pytest.raises(TypeError, match="Did you mean 'units'"):
        layers.Dense(unit=3)
    dense = layers.Dense(2)
    dense.build((None, 3))
    with pytest.raises(ArgumentError, match=r"dense.*kernel(.|\n)*\(3, 2\)"):
        dense.set_weights([np.zeros((2, 2)), np.zeros(2)])
    with pytest.raises(ShapeError, match=r"size 3 on axis -1(.|\n)*\(2, 4\)"):
        dense(np.zeros((2, 4), "float32"))

    class NoInit(layers.Layer):
        def __init__(self):
            pass

    with pytest.raises(NotBuiltError, match="super"):
        NoInit()(jnp.ones(3))

    class NoReturn(layers.Layer):
        def call(self, x):
            x + 1

    with pytest.raises(lamina.errors.StructureError, match="return"):
        NoReturn()(lamina.Input((3,)))


def test_layers_that_are_given_keep_their_flag():
    assert layers.TimeDistributed(layers.Dense(3, trainable=False)).layer.trainable is False


def test_super_build_does_not_repeat_the_path():
    class Mine(layers.Dense):
        def build(self, input_shape):
            super().build(input_shape)

    layer = Mine(3, name="mine")
    layer.build((None, 4))
    assert [v.path for v in layer.weights] == ["mine/kernel", "mine/bias"]


def test_a_layer_with_weights_is_built_once():
    class Mine(layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(input_shape[-1],), name="scale")

    for layer in (layers.Dense(2, name="twice"), Mine(name="twice")):
        layer.build((None, 3))
        before = layer.get_weights()
        layer.build((8, 3))
        for a, b in zip(before, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        with pytest.raises(ShapeError, match=r"'twice'.* for other shapes"):
            layer.build((None, 4))


def test_an_error_on_arrays_names_the_layer():
    with pytest.raises(ShapeError) as e:
        layers.MaxPooling2D(9, name="culprit")(np.ones((1, 4, 4, 1), "float32"))
    assert any("culprit" in note for note in e.value.__notes__)
