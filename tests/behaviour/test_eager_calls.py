"""Calls of layers on arrays: built-in layers run compiled, with the same effects as otherwise."""

import gc
import pickle
import weakref

import jax
import jax.monitoring
import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.errors import ShapeError

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(2, 8)).astype("float32")
SEQUENCES = RNG.normal(size=(2, 6, 8)).astype("float32")
IMAGES = RNG.normal(size=(2, 8, 8, 3)).astype("float32")


@pytest.fixture
def compilations():
    """The functions that were compiled since the last `clear`."""
    names = []

    def listen(event, _, **kwargs):
        if event.endswith("backend_compile_duration"):
            names.append(kwargs.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (lambda: layers.Dense(5, activation="gelu"), VECTORS),
        (lambda: layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"), SEQUENCES),
        (layers.LayerNormalization, VECTORS),
        (layers.BatchNormalization, IMAGES),
        (lambda: layers.Conv2D(4, 3, padding="same"), IMAGES),
        (lambda: layers.SeparableConv2D(4, 3), IMAGES),
        (lambda: layers.LSTM(4, return_state=True), SEQUENCES),
        (lambda: layers.Bidirectional(layers.GRU(3, return_sequences=True)), SEQUENCES),
        (lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]), SEQUENCES),
        (lambda: layers.TimeDistributed(layers.Dense(3)), SEQUENCES),
        (lambda: layers.Embedding(9, 4), np.array([[1, 2], [3, 8]])),
        (lambda: layers.Dense(5, dtype="mixed_bfloat16"), VECTORS),
    ],
)
def test_layers_with_equal_arguments_share_a_program(make, inputs, compilations):
    first, second = make(), make()
    first(inputs)
    second.build(inputs.shape)
    compilations.clear()
    found = second(inputs)
    assert compilations == []
    with jax.disable_jit():
        expected = second(inputs)
    rtol = 1e-2 if second.compute_dtype == "bfloat16" else 1e-5
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(
            np.asarray(a, "float32"), np.asarray(b, "float32"), rtol=rtol, atol=1e-5
        )
    other = jax.tree.leaves(first(inputs))[0]  # its own weights, not those of the second
    same = all(
        np.array_equal(*pair)
        for pair in zip(first.get_weights(), second.get_weights(), strict=True)
    )
    assert same or not np.array_equal(other, jax.tree.leaves(found)[0])


def test_attention_is_one_program(compilations):
    layer = layers.MultiHeadAttention(2, 4)
    layer.build(SEQUENCES.shape, SEQUENCES.shape)
    mask = np.tril(np.ones((6, 6), bool))
    compilations.clear()
    found = layer(SEQUENCES, SEQUENCES, attention_mask=mask)
    assert len([name for name in compilations if "layer_call" in str(name)]) == 1
    causal = layer(SEQUENCES, SEQUENCES, use_causal_mask=True)
    np.testing.assert_allclose(found, causal, rtol=1e-5, atol=1e-6)
    _, scores = layer(SEQUENCES, SEQUENCES, return_attention_scores=True)
    assert scores.shape == (2, 2, 6, 6)


CHANGES = {
    "weights": lambda layer: layer.kernel.assign(np.zeros((8, 4))),
    "activation": lambda layer: setattr(layer, "activation", ops.zeros_like),
    "method": lambda layer: setattr(layer, "call", ops.zeros_like),
    "set_weights": lambda layer: layer.set_weights([np.zeros((8, 4)), np.zeros(4)]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_between_calls_count(change):
    layer = layers.Dense(4)
    before = layer(VECTORS)
    change(layer)
    after = layer(VECTORS)
    assert np.any(before)
    assert not np.any(after)


def test_forms_of_weights_and_dtypes_change_between_calls():
    layer = layers.Dense(4)
    before = layer(VECTORS)
    layer.enable_lora(2)
    np.testing.assert_allclose(layer(VECTORS), before, rtol=1e-5)
    layer.lora_kernel_b.assign(np.ones((2, 4)))
    assert not np.allclose(layer(VECTORS), before, rtol=1e-2)
    layer = layers.Dense(4)
    before = layer(VECTORS)
    layer.quantize("int8")
    after = layer(VECTORS)
    assert 0 < np.abs(after - before).max() < 0.1
    layer = layers.Dense(4)
    layer(VECTORS)
    layer.dtype_policy = "mixed_bfloat16"
    assert layer(VECTORS).dtype == "bfloat16"


def test_functions_of_users_run_in_each_call():
    seen = []

    def activation(x):
        seen.append(x)
        return x

    layer = layers.Dense(4, activation=activation)
    for _ in range(3):
        layer(VECTORS)
    assert len(seen) == 3
    assert not isinstance(seen[-1], jax.core.Tracer)

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.Dense(4)
            self.calls = 0

        def call(self, x):
            self.calls += 1
            return self.inner(x)

    layer = Outer()
    for _ in range(3):
        assert not isinstance(layer(VECTORS), jax.core.Tracer)
    assert layer.calls == 3


def test_effects_of_calls_are_kept():
    stateful = layers.LSTM(3, stateful=True)
    first = stateful(SEQUENCES)
    assert not np.array_equal(stateful(SEQUENCES), first)
    masked = layers.Embedding(9, 4, mask_zero=True)(np.array([[1, 0], [3, 8]]))
    assert masked._keras_mask.tolist() == [[True, False], [True, True]]
    dropout = layers.Dropout(0.5)
    assert not np.array_equal(dropout(VECTORS, training=True), dropout(VECTORS, training=True))
    penalized = layers.Dense(2, activity_regularizer="l2")
    penalized(VECTORS)
    assert len(penalized.losses) == 1
    normalization = layers.BatchNormalization()
    normalization(VECTORS)
    assert not np.any(normalization.moving_mean)
    normalization(VECTORS, training=True)
    assert np.any(normalization.moving_mean)


def test_data_that_a_layer_learned_later_counts():
    layer = layers.Discretization(num_bins=2)
    layer.adapt(np.array([0.0, 1.0, 2.0, 3.0]))
    first = np.asarray(layer(np.array([5.0])))
    layer.adapt(np.array([10.0, 11.0, 12.0, 13.0]))
    assert first.tolist() == [1]
    assert np.asarray(layer(np.array([5.0]))).tolist() == [0]


def test_transformations_of_jax_see_the_call():
    layer = layers.Dense(1)
    layer(VECTORS)
    gradient = jax.grad(lambda x: ops.sum(layer(x)))(jax.numpy.asarray(VECTORS))
    np.testing.assert_allclose(gradient, np.tile(layer.kernel[:, 0], (2, 1)), rtol=1e-6)
    mapped = jax.vmap(layer)(jax.numpy.asarray(SEQUENCES))
    np.testing.assert_allclose(mapped, layer(SEQUENCES), rtol=1e-5)


def test_errors_are_those_of_the_layer():
    attention = layers.MultiHeadAttention(2, 4)
    attention(SEQUENCES, SEQUENCES)
    for _ in range(2):
        with pytest.raises(ShapeError, match="cannot use this `value`") as raised:
            attention(SEQUENCES, SEQUENCES[:1])
        assert raised.value.__context__ is None
    attention(SEQUENCES, SEQUENCES)


def test_a_program_does_not_keep_layers_or_arrays_alive():
    layer, x = layers.Dense(4), jax.numpy.asarray(VECTORS)
    layer(x)
    references = weakref.ref(layer), weakref.ref(layer.kernel), weakref.ref(x)
    gc.disable()  # nor until the next search for garbage
    try:
        del layer, x
        assert [r() for r in references] == [None, None, None]
    finally:
        gc.enable()


def test_a_copy_in_another_process_finds_its_own_program():
    layer = layers.ReLU(max_value=1.0)
    layer(VECTORS)
    copy = pickle.loads(pickle.dumps(layer))
    assert vars(copy).get("_eager_call") is None
    np.testing.assert_array_equal(copy(VECTORS), layer(VECTORS))


def test_a_graph_with_a_custom_layer_computes_what_predict_does():
    class Shift(layers.Layer):
        def call(self, x):
            return x + 1

    inputs = lamina.Input((6, 8))
    x = layers.LSTM(4, return_sequences=True)(Shift()(inputs))
    x = layers.MultiHeadAttention(2, 2)(x, x)
    model = lamina.Model(inputs, layers.Dense(3)(x))
    np.testing.assert_allclose(
        model(SEQUENCES), model.predict(SEQUENCES, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_every_argument_of_a_recurrent_layer_counts():
    for arguments in (
        {}, {"return_sequences": True}, {"return_state": True}, {"go_backwards": True},
        {"zero_output_for_mask": True, "return_sequences": True},
    ):  # fmt: skip
        layer = layers.RNN(layers.LSTMCell(3), **arguments)
        found = layer(SEQUENCES)
        expected, _ = layer.stateless_call(layer.trainable_variables, [], SEQUENCES)
        leaves = jax.tree.leaves(found), jax.tree.leaves(expected)
        for a, b in zip(*leaves, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
