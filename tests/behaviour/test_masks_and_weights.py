"""Masks through wrappers and to their end; class weights; what is said when nothing trains."""

import warnings

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.errors import ArgumentError, MaskWarning, StructureError, TrainingWarning

WORDS = np.array([[[1, 2, 0], [0, 0, 0], [3, 1, 0]], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]])


def embedded(*shape):
    inputs = layers.Input(shape, dtype="int32")
    return inputs, layers.Embedding(10, 4, mask_zero=True)(inputs)


# ---- masks ---------------------------------------------------------------------------------------


def test_masks_have_the_name_that_programs_read():
    embedding = layers.Embedding(10, 4, mask_zero=True)
    assert embedding(WORDS[0])._keras_mask.tolist() == (WORDS[0] != 0).tolist()
    assert embedding(layers.Input((3,)))._keras_mask.shape == (None, 3)
    assert layers.Input((3,))._keras_mask is None


def test_masks_of_symbolic_tensors_are_those_of_the_running_model(tmp_path):
    inputs, x = embedded(3)
    other = layers.Embedding(10, 4)(inputs)
    tensors = [
        x,
        layers.Masking()(layers.Dense(2)(x)),
        layers.Concatenate()([x, other]),
        layers.Concatenate(axis=1)([x, other]),
        layers.Add()([x, keras.ops.relu(x) * 2]),
        layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode=None)(x)[1],
        layers.MultiHeadAttention(2, 2)(x, x),
        layers.AdditiveAttention()([x, x]),
        layers.TimeDistributed(layers.Dense(2))(x),
        layers.GRU(2, return_sequences=True)(other, mask=x._keras_mask),
    ]
    outputs = [keras.ops.cast(t._keras_mask, "int32") for t in tensors]
    model = keras.Model(
        inputs, [*outputs, layers.Embedding(2, 1, mask_zero=True).compute_mask(inputs)]
    )
    padded = WORDS[0] != 0
    expected = [padded] * 11
    expected[1], expected[2] = np.array([[1, 1, 1]] * 3), np.ones((3, 3))
    expected[3] = np.concatenate([padded, np.ones((3, 3))], 1)
    found = model.predict(WORDS[0], verbose=0)
    for mask, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mask, right)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").predict(WORDS[0], verbose=0)
    np.testing.assert_array_equal(np.concatenate(again, 1), np.concatenate(found, 1))
    inner = keras.Model(inputs, x)(inputs)
    assert inner._keras_mask is None
    assert inner.mask is not None


def test_time_distributed_reduces_the_mask_of_words_to_one_of_sentences():
    inputs, x = embedded(3, 3)
    sentences = layers.TimeDistributed(layers.LSTM(5))(x)
    assert sentences.mask.shape == (None, 3)
    model = keras.Model(inputs, sentences)
    rnn = layers.LSTM(2)
    whole = keras.Model(inputs, rnn(sentences))
    alone = model.predict(WORDS, verbose=0)
    reference = rnn(alone[:1, [0, 2]])  # the second sentence of the first document is padding
    np.testing.assert_allclose(whole.predict(WORDS, verbose=0)[:1], reference, rtol=1e-5, atol=1e-6)


def test_time_distributed_keeps_the_mask_that_its_layer_passes_on():
    _, x = embedded(3, 3)
    assert layers.TimeDistributed(layers.Dense(5))(x).mask.shape == (None, 3, 3)
    assert layers.TimeDistributed(layers.LSTM(5, return_sequences=True))(x).mask.shape == (
        None, 3, 3,
    )  # fmt: skip


@pytest.mark.parametrize(
    "layer",
    [
        layers.GlobalAveragePooling1D(),
        layers.GlobalAveragePooling1D(keepdims=True),
        layers.LSTM(3),
        layers.GRU(3, return_sequences=True),
        layers.Bidirectional(layers.LSTM(3)),
        layers.BatchNormalization(),
        layers.LayerNormalization(),
        layers.Softmax(axis=1),
        lambda x: layers.Attention()([x, x]),
        lambda x: layers.AdditiveAttention()([x, x]),
        lambda x: layers.MultiHeadAttention(2, 2)(x, x),
        lambda x: layers.MultiHeadAttention(2, 2)(x, x, use_causal_mask=True),
        lambda x: layers.GroupQueryAttention(2, 2, 1)(x, x),
        layers.TimeDistributed(layers.Dense(2)),
    ],
)
@pytest.mark.parametrize("ids", [[[1, 2, 0, 0], [0] * 4], [[0] * 4, [0] * 4]])
def test_rows_of_nothing_but_padding_leave_the_weights_finite(layer, ids):
    inputs, x = embedded(4)
    model = keras.Model(inputs, layer(x))
    model.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskWarning)
        model.fit(np.array(ids), np.ones((2, *model.output_shape[1:])), verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


class Doubles(keras.Layer):
    def call(self, inputs, mask=None):
        return inputs * 2 if mask is None else inputs * mask[..., None]


class Passes(Doubles):
    def __init__(self):
        super().__init__()
        self.supports_masking = True


class Ends(Doubles):
    def compute_mask(self, inputs, previous_mask):
        return None


def test_a_layer_that_takes_a_mask_and_ends_it_says_so_once():
    _, x = embedded(4)
    with pytest.warns(MaskWarning, match="does not propagate it"):
        y = Doubles()(x)
    assert y.mask is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Passes()(x).mask.shape == (None, 4)
        assert Ends()(x).mask is None


def test_a_subclassed_model_hears_of_a_mask_that_ends():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.embed = layers.Embedding(10, 4, mask_zero=True)
            self.flat = layers.Flatten()

        def call(self, inputs):
            return self.flat(self.embed(inputs))

    with pytest.warns(MaskWarning, match="'flatten"):
        Net()(np.array([[1, 0]]))


def test_the_mask_goes_on_where_the_user_gives_the_output_shape():
    class Shaped(Passes):
        def compute_output_shape(self, input_shape):
            return input_shape

    _, x = embedded(4)
    assert Shaped()(x).mask.shape == (None, 4)


# ---- class weights -------------------------------------------------------------------------------

WEIGHT = {0: 1.0, 1: 2.0, 2: 5.0}
CLASSES = np.array([[0, 1, 2, 0, 1], [2, 2, 1, 0, 0]])


def step(loss, y, class_weight=None, sample_weight=None, **kwargs):
    """The loss of one batch for a model whose outputs do not depend on chance."""
    inputs = layers.Input((5, 4))
    head = layers.Dense(kwargs.pop("units", 3), activation=kwargs.pop("activation", "softmax"),
                        kernel_initializer="identity", use_bias=False)  # fmt: skip
    model = keras.Model(inputs, head(inputs))
    model.compile("sgd", loss)
    x = np.linspace(-2, 2, 40).reshape(2, 5, 4)
    return model.train_on_batch(x, y, sample_weight=sample_weight, class_weight=class_weight)


def test_class_weights_of_a_class_at_each_step():
    weights = np.vectorize(WEIGHT.get)(CLASSES)
    expected = step("sparse_categorical_crossentropy", CLASSES, sample_weight=weights)
    assert expected != step("sparse_categorical_crossentropy", CLASSES)
    found = step("sparse_categorical_crossentropy", CLASSES, WEIGHT)
    assert found == pytest.approx(expected, rel=1e-6)
    column = step("sparse_categorical_crossentropy", CLASSES[..., None], WEIGHT)
    assert column == pytest.approx(expected, rel=1e-6)
    one_hot = step("categorical_crossentropy", np.eye(3)[CLASSES], WEIGHT)
    assert one_hot == pytest.approx(expected, rel=1e-6)


def test_class_weights_multiply_one_weight_a_sample():
    weights = np.vectorize(WEIGHT.get)(CLASSES) * [[1.0], [3.0]]
    expected = step("sparse_categorical_crossentropy", CLASSES, sample_weight=weights)
    given = np.array([1.0, 3.0])
    found = step("sparse_categorical_crossentropy", CLASSES, WEIGHT, given)
    assert found == pytest.approx(expected, rel=1e-6)


def test_class_weights_of_a_binary_label_at_each_step():
    y = CLASSES % 2
    weights = np.vectorize({0: 1.0, 1: 4.0}.get)(y)
    kwargs = {"units": 1, "activation": "sigmoid"}
    expected = step("binary_crossentropy", y[..., None], sample_weight=weights, **kwargs)
    assert step("binary_crossentropy", y, {0: 1.0, 1: 4.0}, **kwargs) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "weight", "expected"),
    [
        ([-1, 1, 1], {-1: 2.0, 1: 5.0}, [2.0, 5.0, 5.0]),
        ([-1, 1, 1], {-1: 2.0}, [2.0, 1.0, 1.0]),
        ([-1, 0, 2], {2: 3.0}, [1.0, 1.0, 3.0]),
        ([0, 1, 2], {-1: 2.0}, [1.0, 1.0, 1.0]),
    ],
)
def test_class_weights_of_negative_classes(labels, weight, expected):
    model = keras.Sequential([layers.Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    loss = model.train_on_batch(np.ones((3, 1)), np.array(labels)[:, None], class_weight=weight)
    assert loss == pytest.approx(np.mean(np.square(labels) * expected))


def test_class_weights_do_not_depend_on_sums_of_rows():
    inputs = layers.Input((3,))
    model = keras.Model(inputs, layers.Dense(3, kernel_initializer="zeros")(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.array([[0, 1, 1], [1, 1, 0], [0, 0, 1]])
    expected = np.mean((y**2).mean(1) * [WEIGHT[i] for i in y.argmax(1)])
    assert model.train_on_batch(np.ones((3, 3)), y, class_weight=WEIGHT) == pytest.approx(expected)


def test_class_weights_of_a_model_that_has_not_run():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = layers.Dense(3, kernel_initializer="ones")

        def call(self, inputs):
            return self.head(inputs)

    def loss(class_weight, sample_weight=None):
        model = Net()
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model.train_on_batch(
            np.ones((2, 5, 4)), CLASSES, sample_weight, class_weight=class_weight
        )

    assert loss(WEIGHT) == pytest.approx(loss(None, np.vectorize(WEIGHT.get)(CLASSES)))


def test_class_weights_need_one_target():
    inputs = layers.Input((4,))
    model = keras.Model(inputs, [layers.Dense(1)(inputs), layers.Dense(1)(inputs)])
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match="one target"):
        model.fit(np.ones((2, 4)), [np.ones(2), np.ones(2)], class_weight=WEIGHT, verbose=0)


# ---- what is said --------------------------------------------------------------------------------


def test_nothing_trains():
    inputs = layers.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.trainable = False
    model.compile("sgd", "mse")
    with pytest.warns(TrainingWarning, match="no trainable weights"):
        model.fit(np.ones((4, 4)), np.ones(4), verbose=0)
    found = model.check(np.ones((4, 4)), np.ones(4))
    assert not found.trains
    assert "No weight is trainable" in str(found)
    model.trainable = True
    assert "No weight is trainable" not in str(model.check(np.ones((4, 4)), np.ones(4)))


def test_input_specs_are_checked_one_by_one():
    class Two(keras.Layer):
        def __init__(self, *specs):
            super().__init__()
            self.input_spec = list(specs)

        def call(self, inputs):
            return inputs["a"] if isinstance(inputs, dict) else inputs[0]

    spec = layers.InputSpec
    x, y = np.ones((2, 4)), np.ones((2, 3))
    named = Two(spec(shape=(None, 3), name="b"), spec(shape=(None, 4), name="a"))
    assert named({"a": x, "b": y}).shape == (2, 4)
    with pytest.raises(StructureError, match=r"takes 2 tensors\. Received 1"):
        Two(spec(), spec())([x])
    with pytest.raises(StructureError, match="not optional"):
        Two(spec(), spec())([x, None])
    assert Two(spec(), spec(optional=True, ndim=2))([x, None]).shape == (2, 4)


@pytest.mark.parametrize(("spec", "given"), [((None, 4), (2, 4, 1)), ((None, 4, 1), (2, 4))])
def test_a_last_axis_of_one_may_be_squeezed(spec, given):
    class Any(keras.Layer):
        def call(self, inputs):
            return inputs

    layer = Any()
    layer.input_spec = layers.InputSpec(shape=spec, allow_last_axis_squeeze=True)
    assert layer(np.ones(given)).shape == given
    layer.input_spec = layers.InputSpec(shape=spec)
    with pytest.raises(keras.errors.ShapeError):
        layer(np.ones(given))
