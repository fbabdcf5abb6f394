"""The first chapters: build, look, train, evaluate, save, and load in a program that knows nothing.

Everywhere in this folder the numbers of parameters, the shapes and the keys are the guide's.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lamina as keras
from lamina.datasets import mnist
from lamina.visualization import summarize
from tests.guide.models import digits, mlp

DATA = os.environ.get("LAMINA_TEST_DATA")


def compiled():
    model = mlp()
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.RMSprop(),
        metrics=["accuracy"],
    )
    return model


def data():
    x, y = digits()
    return x.reshape(-1, 784), y


def test_an_input_says_what_it_takes():
    inputs = keras.Input(shape=(784,))
    assert inputs.shape == (None, 784)
    assert inputs.dtype == "float32"
    assert keras.Input(shape=(32, 32, 3)).shape == (None, 32, 32, 3)


def test_the_table():
    table = summarize(mlp())
    assert [(r.name, r.type, r.output_shapes[0], r.params) for r in table.rows] == [
        ("input_layer", "InputLayer", (None, 784), 0),
        ("dense", "Dense", (None, 64), 50_240),
        ("dense_1", "Dense", (None, 64), 4_160),
        ("dense_2", "Dense", (None, 10), 650),
    ]
    assert (table.total.params, table.trainable.params, table.non_trainable.params) == (
        55_050, 55_050, 0,
    )  # fmt: skip
    assert not table.show_connections


def test_the_pictures(tmp_path):
    model = mlp()
    for name, options in (("first", {}), ("with_shapes", {"show_shapes": True})):
        keras.utils.plot_model(model, tmp_path / f"{name}.png", **options)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_training_evaluation_and_inference(capsys):
    x, y = data()
    model = compiled()
    history = model.fit(x[:1500], y[:1500], batch_size=64, epochs=8, validation_split=0.2,
                        verbose=2)  # fmt: skip
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert [len(v) for v in history.history.values()] == [8] * 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Epoch 1/8")
    assert "19/19" in lines[0]  # four fifths of 1,500, in batches of 64
    scores = model.evaluate(x[1500:], y[1500:], verbose=2)
    assert "10/10" in capsys.readouterr().out
    assert len(scores) == 2
    assert scores[0] < 0.5
    assert scores[1] > 0.85
    logits = model.predict(x[1500:], verbose=0)
    assert (logits.argmax(-1) == y[1500:]).mean() == pytest.approx(scores[1], abs=1e-6)


IN_A_NEW_PROGRAM = """
import sys
import numpy as np
import lamina as keras
folder = sys.argv[1]
model = keras.models.load_model(folder + "/model.keras")
data = np.load(folder + "/data.npz")
x, y = data["x"], data["y"]
out = {f"weight_{i}": w for i, w in enumerate(model.get_weights())}
out["predictions"] = model.predict(x, verbose=0)
out["scores"] = np.array(model.evaluate(x, y, verbose=0))
out["losses"] = np.array(model.fit(x, y, batch_size=64, epochs=2, verbose=0).history["loss"])
out["after"] = model.predict(x, verbose=0)
np.savez(folder + "/out.npz", **out)
"""


def test_a_saved_model_goes_on_in_a_new_program(tmp_path):
    x, y = (a[:512] for a in data())
    model = compiled()
    model.fit(x, y, batch_size=64, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    subprocess.run([sys.executable, "-W", "error", "-c", IN_A_NEW_PROGRAM, str(tmp_path)],
                   check=True, timeout=120)  # fmt: skip
    found = np.load(tmp_path / "out.npz")
    for i, weight in enumerate(model.get_weights()):
        assert np.array_equal(found[f"weight_{i}"], weight)
    assert np.array_equal(found["predictions"], model.predict(x, verbose=0))
    assert np.array_equal(found["scores"], model.evaluate(x, y, verbose=0))
    # Training goes on as if it had never stopped: the optimizer's state and the shuffling too.
    history = model.fit(x, y, batch_size=64, epochs=2, verbose=0)
    assert np.array_equal(found["losses"], history.history["loss"])
    assert np.array_equal(found["after"], model.predict(x, verbose=0))


def test_automatic_names_are_deterministic():
    names = [layer.name for layer in mlp().layers]
    keras.utils.clear_session()
    assert [layer.name for layer in mlp().layers] == names
    assert [layer.name for layer in mlp().layers][1:] == ["dense_3", "dense_4", "dense_5"]


@pytest.mark.skipif(not DATA, reason="LAMINA_TEST_DATA names no folder with the MNIST files")
def test_mnist_is_learned():
    (x_train, y_train), (x_test, y_test) = mnist.load_data(str(Path(DATA or "") / "mnist"))
    x_train, x_test = (x.reshape(len(x), 784).astype("float32") / 255 for x in (x_train, x_test))
    model = compiled()
    history = model.fit(x_train, y_train, batch_size=64, epochs=2, validation_split=0.2, verbose=0)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    assert accuracy > 0.95
    assert loss < 0.17
