"""The numbers, vocabularies and files of Keras on TensorFlow."""

import base64
import io
import json
import zipfile

import h5py
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.utils import Dataset, FeatureSpace
from lamina.utils.resampling import resize
from tests.host_layers.table import CROSSES, RECORD, ROWS, TABLE, build, feature_space

RECORDED = json.loads(RECORD.read_text())


def _equal(output, entry):
    output = np.asarray(output)
    wanted = np.array(entry["output"])
    assert output.shape == wanted.shape
    np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-6)
    narrow = {"int64": "int32"}.get(entry["dtype"], entry["dtype"])
    assert output.dtype.name == narrow


@pytest.mark.parametrize("name", ROWS)
def test_outputs_and_vocabularies(name):
    layer, inputs = build(layers, name)
    entry = RECORDED[name]
    if "vocabulary" in entry:
        assert layer.get_vocabulary() == entry["vocabulary"]
    _equal(layer(inputs), entry)


@pytest.mark.parametrize("name", CROSSES)
def test_crosses(name):
    kwargs, columns = CROSSES[name]
    _equal(layers.HashedCrossing(**kwargs)([np.array(c) for c in columns]),
           RECORDED[f"cross_{name}"])  # fmt: skip


@pytest.mark.parametrize("height", [4, 11])
@pytest.mark.parametrize(
    "method",
    ["bilinear", "nearest", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"],
)
def test_resizing_of_the_loaders(method, height):
    image = np.arange(5 * 7).reshape(5, 7, 1) ** 2 % 97
    wanted = np.array(RECORDED[f"resize_{method}_{height}"])
    found = resize(image.astype("float32"), wanted.shape, method)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 0], wanted, atol=1e-3)


def test_feature_space():
    for mode in ("concat", "dict"):
        space = feature_space(FeatureSpace, mode)
        space.adapt(Dataset(TABLE))
        found, wanted = space(TABLE), RECORDED[f"space_{mode}"]
        if mode == "concat":
            found, wanted = {"": found}, {"": wanted}
        assert list(found) == list(wanted) or set(found) == set(wanted)
        for key, output in found.items():
            np.testing.assert_allclose(output, wanted[key], atol=1e-5, err_msg=key)


@pytest.mark.parametrize("kind", ["space", "model"])
def test_files_of_feature_spaces(kind, tmp_path):
    entry = RECORDED["space_file"]
    path = tmp_path / "file.keras"
    path.write_bytes(base64.b64decode(entry[kind]))
    wanted = entry["output"] if kind == "model" else RECORDED["space_concat"]
    for _ in range(2):  # of Keras, and as saved again
        loaded = lamina.saving.load_model(path)
        np.testing.assert_allclose(loaded({k: np.array(v) for k, v in TABLE.items()}), wanted,
                                   atol=1e-5)  # fmt: skip
        loaded.save(path)
    names = h5py.File(io.BytesIO(zipfile.ZipFile(path).read("model.weights.h5")))
    assert kind == "model" or "preprocessors/normalization/vars/0" in names  # where Keras reads it
