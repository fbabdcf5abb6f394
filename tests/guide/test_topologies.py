"""Graphs that are no line: several inputs and outputs, residual connections, shared layers."""

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.visualization import summarize
from tests.guide.models import digits, shared_embedding, ticket_data, tickets, toy_resnet

# ---- tickets -------------------------------------------------------------------------------------


def test_the_tickets_table():
    model = tickets()
    assert model.count_params() == 1_392_097
    assert [(r.name, r.output_shapes[0], r.params) for r in summarize(model).rows] == [
        ("title", (None, None), 0),
        ("body", (None, None), 0),
        ("embedding", (None, None, 64), 640_000),
        ("embedding_1", (None, None, 64), 640_000),
        ("lstm", (None, 128), 98_816),
        ("lstm_1", (None, 32), 12_416),
        ("tags", (None, 12), 0),
        ("concatenate", (None, 172), 0),
        ("priority", (None, 1), 173),
        ("department", (None, 4), 692),
    ]
    assert model.input_names == ["title", "body", "tags"]
    assert model.output_names == ["priority", "department"]


def compiled(by_name, read=layers.LSTM):
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = tickets(words=500, read=read)
    losses = {
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        "department": keras.losses.CategoricalCrossentropy(from_logits=True),
    }
    weights = {"priority": 1.0, "department": 0.2}
    model.compile(
        optimizer=keras.optimizers.RMSprop(1e-3),
        loss=losses if by_name else list(losses.values()),
        loss_weights=weights if by_name else list(weights.values()),
    )
    return model


def batches(x, y, form):
    for i in range(0, 64, 32):
        a, b = ({k: v[i : i + 32] for k, v in d.items()} for d in (x, y))
        yield (a, b) if form is dict else (form(a.values()), form(b.values()))


def test_losses_and_data_by_name_and_by_place_are_the_same():
    x, y = ticket_data(64)
    named, listed = (
        compiled(by_name, read=lambda _: layers.GlobalAveragePooling1D())
        for by_name in (True, False)
    )
    forms = {
        "names": lambda verb: verb(x, y, batch_size=32, verbose=0),
        "lists": lambda verb: verb(list(x.values()), list(y.values()), batch_size=32, verbose=0),
        "batches by name": lambda verb: verb(batches(x, y, dict), verbose=0),
        "batches of lists": lambda verb: verb(batches(x, y, list), verbose=0),
        "batches of tuples": lambda verb: verb(batches(x, y, tuple), verbose=0),
    }
    scores = {name: form(named.evaluate) for name, form in forms.items()}
    assert len(scores["names"]) == 3
    for name, found in scores.items():
        assert found == pytest.approx(scores["names"], rel=1e-5), name
    assert forms["lists"](listed.evaluate) == pytest.approx(scores["names"], rel=1e-5)
    found = [
        forms["batches by name"](named.fit).history,
        forms["batches of lists"](listed.fit).history,
    ]
    for key in ("loss", "priority_loss", "department_loss"):
        assert found[0].pop(key) == pytest.approx(found[1].pop(key), rel=1e-5)
    assert found == [{}, {}]
    for a, b in zip(named.get_weights(), listed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_tickets_model_learns_and_answers_in_its_structure():
    model = compiled(by_name=True)
    x, y = ticket_data(1280)
    history = model.fit(x, y, epochs=2, batch_size=32, validation_split=0.1, verbose=0).history
    assert set(history) == {
        "loss", "priority_loss", "department_loss",
        "val_loss", "val_priority_loss", "val_department_loss",
    }  # fmt: skip
    total = np.add(history["priority_loss"], 0.2 * np.array(history["department_loss"]))
    assert history["loss"] == pytest.approx(total, rel=1e-5)
    assert history["val_loss"][1] < history["val_loss"][0]
    priority, department = model.predict(x, verbose=0)
    assert priority.shape == (1280, 1)
    assert department.shape == (1280, 4)


# ---- the toy ResNet ------------------------------------------------------------------------------


def test_the_toy_resnet_table():
    model = toy_resnet()
    assert model.count_params() == 223_242
    table = [(r.name, r.output_shapes[0], r.params, r.connected_to) for r in summarize(model).rows]
    assert table == [
        ("img", (None, 32, 32, 3), 0, ()),
        ("conv2d", (None, 30, 30, 32), 896, ("img[0][0]",)),
        ("conv2d_1", (None, 28, 28, 64), 18_496, ("conv2d[0][0]",)),
        ("max_pooling2d", (None, 9, 9, 64), 0, ("conv2d_1[0][0]",)),
        ("conv2d_2", (None, 9, 9, 64), 36_928, ("max_pooling2d[0][0]",)),
        ("conv2d_3", (None, 9, 9, 64), 36_928, ("conv2d_2[0][0]",)),
        ("add", (None, 9, 9, 64), 0, ("conv2d_3[0][0]", "max_pooling2d[0][0]")),
        ("conv2d_4", (None, 9, 9, 64), 36_928, ("add[0][0]",)),
        ("conv2d_5", (None, 9, 9, 64), 36_928, ("conv2d_4[0][0]",)),
        ("add_1", (None, 9, 9, 64), 0, ("conv2d_5[0][0]", "add[0][0]")),
        ("conv2d_6", (None, 7, 7, 64), 36_928, ("add_1[0][0]",)),
        ("global_average_pooling2d", (None, 64), 0, ("conv2d_6[0][0]",)),
        ("dense", (None, 256), 16_640, ("global_average_pooling2d[0][0]",)),
        ("dropout", (None, 256), 0, ("dense[0][0]",)),
        ("dense_1", (None, 10), 2_570, ("dropout[0][0]",)),
    ]


def test_the_toy_resnet_trains(capsys):
    images, labels = digits()
    x = np.repeat(np.pad(images[:250], ((0, 0), (2, 2), (2, 2)))[..., None], 3, axis=-1)
    y = keras.utils.to_categorical(labels[:250], 10)
    model = toy_resnet()
    model.compile(
        optimizer=keras.optimizers.RMSprop(1e-3),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["acc"],
    )
    history = model.fit(x, y, batch_size=64, epochs=3, validation_split=0.2, verbose=2).history
    assert set(history) == {"loss", "acc", "val_loss", "val_acc"}
    assert history["loss"][-1] < history["loss"][0]
    assert "4/4" in capsys.readouterr().out  # 200 images in batches of 64


# ---- shared layers -------------------------------------------------------------------------------


def test_a_shared_embedding_counts_once_and_says_the_same_of_the_same():
    model = shared_embedding()
    assert model.count_params() == 128_000
    assert [x.shape for x in model.outputs] == [(None, None, 128)] * 2
    words = np.arange(12).reshape(2, 6)
    left, right = model.predict([words, words[:, ::-1]], verbose=0)
    assert np.array_equal(left, right[:, ::-1])
    short, long = model([words[:, :2], words])
    assert short.shape == (2, 2, 128)
    assert long.shape == (2, 6, 128)


def test_a_shared_embedding_learns_from_both_texts():
    model = shared_embedding()
    (table,) = model.get_weights()
    left, right = (layers.GlobalAveragePooling1D()(x) for x in model.outputs)
    scorer = keras.Model(model.inputs, layers.Dot(axes=-1)([left, right]))
    scorer.compile(keras.optimizers.SGD(1.0), "mse")
    words = [np.full((4, 3), 7), np.full((4, 5), 9)]
    scorer.fit(words, np.ones((4, 1)), verbose=0)
    moved = np.flatnonzero(np.abs(model.get_weights()[0] - table).sum(axis=1))
    assert moved.tolist() == [7, 9]
