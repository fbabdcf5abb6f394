"""What values and choices of losses tell before the first step, and where nothing is to tell."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import lamina as keras
from lamina import layers, losses
from lamina.errors import DataError, TrainingWarning

X = np.ones((6, 4), "float32")


def last_layers():
    inputs = keras.Input((4,))
    outputs = layers.Dense(3, activation="softmax")(inputs)
    return {
        "dense": layers.Dense(3, activation="softmax"),
        "activation": lambda x: layers.Activation("softmax")(layers.Dense(3)(x)),
        "layer": lambda x: layers.Softmax()(layers.Dense(3)(x)),
        "op": lambda x: keras.ops.softmax(layers.Dense(3)(x)),
        "nested": keras.Model(inputs, outputs),
        "convolution": lambda x: layers.Conv1D(3, 1, activation="softmax")(x[:, None]),
    }


@pytest.mark.parametrize("end", last_layers())
def test_the_last_function_is_found(end):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, last_layers()[end](inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.compile(loss="categorical_crossentropy")
    with pytest.warns(TrainingWarning, match=r"ends with softmax.*again"):
        model.compile(loss=losses.CategoricalCrossentropy(from_logits=True))


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("softmax", "sparse_categorical_crossentropy"),
        ("sigmoid", "binary_crossentropy"),
        ("sigmoid", losses.BinaryFocalCrossentropy()),
        (None, losses.SparseCategoricalCrossentropy(from_logits=True)),
        (None, "mse"),
        ("relu", "mse"),
        (lambda x: jnp.exp(x) / 9, "binary_crossentropy"),  # nobody knows
        (None, lambda y, p: losses.binary_crossentropy(y, p, from_logits=True)),
    ],
)
def test_what_goes_together_is_not_doubted(activation, loss):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation=activation)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.compile(loss=loss)


def test_a_stack_without_an_input_is_doubted_when_it_is_built():
    model = keras.Sequential([layers.Dense(3)])
    model.compile(loss="sparse_categorical_crossentropy")
    with pytest.warns(TrainingWarning, match="no activation"):
        model.fit(X, np.zeros(6, int), verbose=0)


def test_only_the_output_in_doubt_is_named():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {"a": layers.Dense(1, activation="sigmoid")(inputs),
                                 "b": layers.Dense(1, activation="tanh")(inputs)})  # fmt: skip
    with pytest.warns(TrainingWarning) as told:
        model.compile(loss="binary_crossentropy")
    assert len(told) == 1
    assert "Output 'b' ends with tanh" in str(told[0].message)


@pytest.mark.parametrize("metric", ["accuracy", "binary_accuracy", keras.metrics.BinaryAccuracy()])
def test_the_accuracy_of_logits_is_doubted(metric):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    loss = losses.BinaryCrossentropy(from_logits=True)
    with pytest.warns(TrainingWarning, match=r"threshold=0\.0"):
        model.compile(loss=loss, metrics=[metric])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.compile(loss=loss, metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)])


# ---- values --------------------------------------------------------------------------------------


def classifier(loss="sparse_categorical_crossentropy"):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(inputs))
    model.compile(optimizer="sgd", loss=loss)
    return model


WRONG = {
    "too large": np.array([0, 1, 2, 0, 1, 3]),
    "negative": np.array([0, 1, 2, 0, 1, -1]),
    "not whole": np.array([0, 1, 2, 0, 1, 1.5]),
}


@pytest.mark.parametrize("labels", WRONG)
@pytest.mark.parametrize("on_device", [False, True])
def test_class_numbers_are_looked_at_before_the_first_step(labels, on_device):
    y = WRONG[labels]
    y = jnp.asarray(y) if on_device else y
    model = classifier()
    before = model.get_weights()
    for run in (model.fit, model.evaluate):
        with pytest.raises(DataError, match=r"'scores'[\s\S]*from 0 to 2"):
            run(X, y, verbose=0, batch_size=2)  # the wrong one is in the last batch
    with pytest.raises(DataError, match="scores"):
        model.fit(X, y % 1 + 1, validation_data=(X, y), verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_first_batch_of_a_stream_is_looked_at():
    with pytest.raises(DataError, match="scores"):
        classifier().fit(iter([(X, np.full(6, 3))]), verbose=0)


def test_class_numbers_that_fit_pass():
    model = classifier()
    for y in ([0, 1, 2, 0, 1, 2], [[0.0], [1.0], [2.0], [0.0], [1.0], [2.0]]):
        model.fit(X, np.array(y), verbose=0)
    model = classifier(losses.SparseCategoricalCrossentropy(ignore_class=-1))
    model.fit(X, np.array([0, 1, -1, -1, 2, 2]), verbose=0)
    model.fit(X, np.full(6, -1), verbose=0)
    with pytest.raises(DataError, match="scores"):
        model.fit(X, np.array([0, 1, -1, -1, 2, 3]), verbose=0)


def test_labels_that_are_no_classes_of_the_output_pass():
    model = classifier(losses.Circle())  # any number may name a group
    model.fit(X, np.array([7, 7, 7, -2, -2, -2]), verbose=0)


def test_a_loss_of_ones_own_reads_its_targets_itself():
    class Own(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(y_pred)

    inputs = keras.Input((4,))
    model = Own(inputs, layers.Dense(3, activation="softmax")(inputs))
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    model.fit(X, np.full(6, 99), verbose=0)


def test_probabilities_as_targets():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer="sgd", loss="binary_crossentropy")
    model.fit(X, np.array([0, 1, 0, 0.5, 1, 0.25]), verbose=0)
    for y, cure in (([-1.0, 1.0] * 3, "hinge"), ([0.0, 255.0] * 3, "255"), ([0, 7] * 3, "Scale")):
        with pytest.warns(TrainingWarning, match=cure):
            model.evaluate(X, np.array(y), verbose=0)


def reader(nested=False):
    words = keras.Input((3,), dtype="int32", name="words")
    table = layers.Embedding(10, 2, name="table")
    inner = keras.Model(words, table(words), name="inner")
    inputs = keras.Input((3,), name="sentence")
    other = keras.Input((1,), name="weather")
    x = layers.GlobalAveragePooling1D()((inner if nested else table)(inputs))
    return keras.Model([inputs, other], layers.concatenate([x, other]))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("bad", [10, -1, 0.5])
def test_ids_are_looked_up_only_where_the_table_has_them(nested, bad):
    model = reader(nested)
    ids, weather = np.zeros((6, 3)), np.full((6, 1), 1000.5)
    assert model.predict([ids, weather], verbose=0).shape == (6, 3)
    ids[5, 2] = bad
    with pytest.raises(DataError, match=r"'sentence'[\s\S]*'table'[\s\S]*from 0 to 9"):
        model.predict({"sentence": ids, "weather": weather}, batch_size=2, verbose=0)
