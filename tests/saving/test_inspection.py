"""What a file contains is told without building the model or executing anything."""

import hashlib
import json
import subprocess
import sys

import h5py
import keras as oracle
import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.cli import main
from lamina.errors import CorruptFileError

X = np.ones((2, 4), "float32")


class Shout(layers.Layer):
    built_count = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        Shout.built_count += 1
        self.inner = layers.Dense(4)

    def call(self, x):
        return self.inner(x)


def shouted(x):
    return 2 * x


def model():
    inputs = lamina.Input((4,), name="x")
    hidden = Shout(name="own")(ops.abs(inputs))
    inner = lamina.Sequential([layers.Dense(3, name="deep")], name="stack")
    outputs = layers.Dense(2, activation=shouted, name="scores")(inner(hidden))
    made = lamina.Model(inputs, outputs, name="net")
    made.compile("adam", "mse")
    return made


def test_an_archive(tmp_path):
    path = tmp_path / "m.keras"
    made = model()
    made.fit(X, np.ones((2, 2)), verbose=0)
    made.save(path)
    before = Shout.built_count
    report = lamina.inspect(path)
    assert Shout.built_count == before
    assert report.format == "archive of a model (.keras)"
    assert report.versions == {"keras": "3.15.1"}
    assert report.compiled
    names = ["x", "abs", "own", "stack", None, "deep", "scores"]  # None: an automatic name
    assert all(b in (None, a.name) for a, b in zip(report.layers, names, strict=True))
    assert {x.class_name for x in report.custom} == {"Shout", "shouted"}
    assert report.custom[0].position == "config.layers[2]"
    assert not report.code
    kernel = next(x for x in report.arrays if x.name == "layers/dense/vars/0")
    weight = np.asarray(made.get_layer("scores").kernel)
    assert (kernel.shape, kernel.dtype) == (weight.shape, "float32")
    assert kernel.sha256 == hashlib.sha256(weight.tobytes()).hexdigest()
    text = str(report)
    assert "custom_objects={'Shout': Shout, 'shouted': shouted}" in text
    assert "scores (Dense)" in text


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_code_is_told_and_not_executed(tmp_path):
    inputs = oracle.Input((4,))
    theirs = oracle.Model(inputs, oracle.layers.Lambda(lambda x: x, name="trick")(inputs))
    theirs.save(tmp_path / "m.keras")
    report = lamina.inspect(tmp_path / "m.keras")
    assert [x.position for x in report.code] == ["config.layers[1].config.function"]
    assert "never executed" in str(report)


def test_weights_and_configs(tmp_path):
    made = lamina.Sequential([lamina.Input((4,)), layers.Dense(2)])
    for name, kind, first in (
        ("m.weights.h5", "weights in HDF5", "layers/dense/vars/0"),
        ("m.safetensors", "safetensors", "dense/kernel"),
    ):
        made.save_weights(tmp_path / name)
        report = lamina.inspect(tmp_path / name)
        assert (report.format, report.layers) == (kind, ())
        assert first in [x.name for x in report.arrays]
    (tmp_path / "m.json").write_text(made.to_json())
    report = lamina.inspect(tmp_path / "m.json")
    assert (report.format, report.arrays) == ("config as JSON", ())
    assert [x.class_name for x in report.layers] == ["InputLayer", "Dense"]


def test_a_model_in_hdf5(tmp_path):
    config = {"class_name": "Sequential", "config": [
        {"class_name": "Dense", "config": {"name": "d", "output_dim": 2}},
        {"class_name": "Lambda", "config": {"name": "l", "function_type": "lambda",
                                            "function": ["4wEAAAA", None, None]}},
        {"class_name": "Mine", "config": {"name": "m"}},
    ]}  # fmt: skip
    with h5py.File(tmp_path / "m.h5", "w") as h5:
        h5.attrs["keras_version"] = b"1.2.2"
        h5.attrs["model_config"] = json.dumps(config).encode()
        h5.attrs["training_config"] = json.dumps({"loss": "mse"}).encode()
        h5["model_weights/d/kernel"] = np.zeros((3, 2), "f")
    report = lamina.inspect(tmp_path / "m.h5")
    assert report.format == "model in HDF5"
    assert report.versions == {"keras": "1.2.2"}
    assert report.compiled
    assert [x.name for x in report.code] == ["l"]
    assert [x.class_name for x in report.custom] == ["Mine"]


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        lamina.inspect(tmp_path / "none.keras")
    for name, content in (("a.txt", b"hello"), ("b.keras", b"PK\x03\x04"), ("c", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptFileError):
            lamina.inspect(tmp_path / name)


def test_the_commands(tmp_path, capsys):
    made = lamina.Sequential([lamina.Input((4,)), layers.Dense(2, name="scores")])
    made.save(tmp_path / "old.keras")
    assert main(["inspect", str(tmp_path / "old.keras")]) == 0
    assert "scores (Dense)" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "old.keras"), str(tmp_path / "new.keras")]) == 0
    again = lamina.saving.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(again.get_weights()[0], made.get_weights()[0])
    assert main(["inspect", str(tmp_path / "none.keras")]) == 1
    assert "no file" in capsys.readouterr().err
    done = subprocess.run([sys.executable, "-m", "lamina", "inspect", tmp_path / "new.keras"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert "Arrays: 2, with 10 numbers" in done.stdout
