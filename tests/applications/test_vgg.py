"""VGG against Keras's own: the architecture, the published layout of weights, the images."""

import hashlib
import json
import re

import h5py
import keras as oracle
import numpy as np
import pytest

import lamina as keras
from lamina import applications
from lamina.applications import imagenet_utils, vgg, vgg16, vgg19
from lamina.errors import ArgumentError, DownloadError, ShapeError, StructureError
from lamina.layers import Conv2D, Rescaling
from tests.datasets.builders import serve

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
SMALL = {"include_top": False, "input_shape": (32, 32, 3)}


@pytest.fixture(scope="module")
def theirs():
    """Keras's VGG16 without the top: 14.7 million weights, drawn by NumPy because it is quick."""

    def draw(_, shape, dtype=None):
        return np.random.default_rng(0).normal(0, 0.05, shape).astype("float32")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle.initializers.VarianceScaling, "__call__", draw)
        return oracle.applications.VGG16(weights=None, **SMALL)


@pytest.fixture(scope="module")
def features(theirs):
    return theirs.predict(oracle.applications.vgg16.preprocess_input(IMAGES.copy()), verbose=0)


def write_published(path, model):
    """The layout of the published files: a group a layer, its arrays listed in attributes."""
    with h5py.File(path, "w") as h5:
        h5.attrs["layer_names"] = [x.name.encode() for x in model.layers]
        h5.attrs["backend"] = b"tensorflow"
        for layer in model.layers:
            group = h5.create_group(layer.name)
            names = [f"{layer.name}_{kind}_1:0".encode() for kind in "Wb"[: len(layer.weights)]]
            group.attrs["weight_names"] = names
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group[name.decode()] = weight
    return path


@pytest.fixture(scope="module")
def published(theirs, tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("vgg") / "vgg16_notop.h5", theirs)


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


# ---- architecture --------------------------------------------------------------------------------


def shapes(model):
    return [(x.name, [tuple(w.shape) for w in x.weights]) for x in model.layers[1:]]


@pytest.mark.parametrize("name", ["VGG16", "VGG19"])
def test_layers_are_those_of_keras(name, monkeypatch):
    monkeypatch.setattr(oracle.initializers.VarianceScaling, "__call__",
                        lambda _, shape, dtype=None: np.zeros(shape, "float32"))  # fmt: skip
    build = getattr(applications, name)
    ours = build(weights=None, **SMALL)
    assert shapes(ours) == shapes(getattr(oracle.applications, name)(weights=None, **SMALL))
    assert ours.name == name.lower()
    assert ours.output_shape == (None, 1, 1, 512)
    # Simonyan & Zisserman, table 2: 138 and 144 million; the sizes are known without any array.
    whole = build(weights=None)
    assert whole.count_params() == {"VGG16": 138_357_544, "VGG19": 143_667_240}[name]
    assert [x.name for x in whole.layers[-4:]] == ["flatten", "fc1", "fc2", "predictions"]
    assert whole.input_shape == (None, 224, 224, 3)
    assert whole.output_shape == (None, 1000)
    assert not any(v.is_initialized for v in whole.weights)


def test_options():
    make = applications.VGG16
    assert make(weights=None, include_top=False).output_shape == (None, None, None, 512)
    for pooling in ("avg", "max"):
        model = make(weights=None, pooling=pooling, **SMALL)
        assert model.output_shape == (None, 512)
        assert type(model.layers[-1]).__name__ == {
            "avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D",
        }[pooling]  # fmt: skip
    model = make(weights=None, classes=7, classifier_activation=None, name="mine",
                 input_shape=(48, 32, 1))  # fmt: skip
    assert (model.name, model.output_shape) == ("mine", (None, 7))
    assert model.layers[-1].activation is keras.activations.linear
    assert vgg16.VGG16 is make
    assert vgg19.VGG19 is applications.VGG19


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": "imagnet"}, "'imagnet', which does not exist"),
        ({"weights": "imagenet", "classes": 10}, "1000 classes. Received: classes=10"),
        ({"weights": "imagenet", "classifier_activation": "relu"}, "softmax"),
        ({"weights": "imagenet", "input_shape": (64, 64, 3)}, "224x224 RGB images"),
        ({"weights": "imagenet", "include_top": False, "input_shape": (64, 64, 1)}, "3 channels"),
        ({"weights": None, "input_shape": (64, 64)}, "three dimensions"),
        ({"weights": None, "input_shape": (64, 31, 3)}, "at least 32x32"),
        ({"weights": None, "input_shape": (None, 64, 3)}, "shape of the images must be known"),
        ({"weights": None, "include_top": False, "pooling": "mean"}, "'avg' or 'max'"),
        ({"weights": None, "input_tensor": IMAGES}, "`input_tensor`.*ndarray"),
        (
            {"weights": None, "input_tensor": keras.Input((8,))},
            "`input_tensor` must have three dimensions",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_made(options, said):
    with pytest.raises(ArgumentError, match=said):
        applications.VGG16(**options)


def test_the_published_files_are_those_that_keras_names():
    for name, variant in (("vgg16", oracle.src.applications.vgg16),
                          ("vgg19", oracle.src.applications.vgg19)):  # fmt: skip
        assert vgg.published(name, True)[0] == variant.WEIGHTS_PATH
        assert vgg.published(name, False)[0] == variant.WEIGHTS_PATH_NO_TOP
        for top in (True, False):
            assert re.fullmatch("[0-9a-f]{32}", vgg.published(name, top)[1])
    utils = oracle.src.applications.imagenet_utils
    assert imagenet_utils._CLASSES[0] == utils.CLASS_INDEX_PATH


# ---- weights -------------------------------------------------------------------------------------


def test_weights_by_path(theirs, features, published, tmp_path):
    """The published layout, Keras 3's, and Lamina's own files."""
    images = vgg16.preprocess_input(IMAGES)
    ours = applications.VGG16(weights=published, **SMALL)
    assert_close(ours.predict(images, verbose=0), features)
    theirs.save_weights(tmp_path / "keras.weights.h5")
    ours.save_weights(tmp_path / "ours.safetensors")
    for name in ("keras.weights.h5", "ours.safetensors"):
        again = applications.VGG16(weights=str(tmp_path / name), **SMALL)
        for a, b in zip(again.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_weights_on_a_tensor_of_ones_own(features, published):
    """Layers before the network, one with weights, are none of the file's business."""
    inputs = keras.Input((32, 32, 3))
    mixed = Conv2D(3, 1, use_bias=False, kernel_initializer=lambda shape, dtype=None: np.eye(
        3, dtype=dtype).reshape(1, 1, 3, 3))(vgg16.preprocess_input(inputs))  # fmt: skip
    ours = applications.VGG16(weights=published, include_top=False, input_tensor=mixed)
    assert ours.input is inputs
    assert_close(ours.predict(IMAGES, verbose=0), features)
    direct = applications.VGG16(weights=published, include_top=False, input_tensor=inputs)
    assert direct.input is inputs


def test_a_file_with_or_without_the_top(published, tmp_path):
    with pytest.raises(StructureError, match=r"13 layers.*16 layers.*include_top"):
        applications.VGG16(weights=published, input_shape=(32, 32, 3))
    with pytest.raises(StructureError, match=r"13 layers.*16 layers.*include_top"):
        applications.VGG19(weights=published, **SMALL)
    applications.VGG16(weights=None, **SMALL).save_weights(tmp_path / "notop.weights.h5")
    with pytest.raises(StructureError, match=r"missing from the file: fc1/kernel"):
        applications.VGG16(weights=tmp_path / "notop.weights.h5", input_shape=(32, 32, 3))


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    with serve() as server:
        yield server


def test_weights_are_downloaded_once_and_checked(network, published, features, monkeypatch):
    content = published.read_bytes()
    name = "/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    network.publish(name.lstrip("/"), content)
    monkeypatch.setattr(vgg, "_HOST", network.address)
    with pytest.raises(DownloadError, match="differs from the published one"):
        applications.VGG16(**SMALL)
    right = vgg._VARIANTS["vgg16"]._replace(
        headless=hashlib.md5(content, usedforsecurity=False).hexdigest()
    )
    monkeypatch.setitem(vgg._VARIANTS, "vgg16", right)
    for _ in range(2):
        ours = applications.VGG16(**SMALL)
    assert_close(ours.predict(vgg16.preprocess_input(IMAGES), verbose=0), features)
    assert network.requests == [name, name]
    with pytest.raises(DownloadError, match="404"):
        applications.VGG16()


# ---- images and classes --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
@pytest.mark.parametrize("data_format", [None, "channels_last", "channels_first"])
@pytest.mark.parametrize("rank", [3, 4])
def test_preprocessing_is_kerass(mode, data_format, rank):
    utils = oracle.applications.imagenet_utils
    images = IMAGES if data_format != "channels_first" else IMAGES.transpose(0, 3, 1, 2)
    images = (images if rank == 4 else images[0]).astype("uint8")
    before = images.copy()
    expected = utils.preprocess_input(images.astype("float32"), data_format, mode)
    found = imagenet_utils.preprocess_input(images, data_format, mode)
    assert isinstance(found, np.ndarray)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(images, before)
    tensor = imagenet_utils.preprocess_input(keras.ops.cast(images, "float32"), data_format, mode)
    np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=1e-4)
    if rank == 4:
        inputs = keras.Input(images.shape[1:])
        model = keras.Model(inputs, imagenet_utils.preprocess_input(inputs, data_format, mode))
        np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-4)
    if mode == "caffe":
        for module in (vgg16, vgg19):
            np.testing.assert_array_equal(module.preprocess_input(images, data_format), found)


def test_preprocessing_in_a_model_goes_to_a_file(tmp_path):
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, Rescaling(2.0)(vgg16.preprocess_input(inputs)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_a_mode_that_is_none():
    with pytest.raises(ArgumentError, match=r"`mode` must be one of \['caffe', 'tf', 'torch'\]"):
        imagenet_utils.preprocess_input(IMAGES, mode="jax")
    with pytest.raises(ArgumentError, match="channels"):
        imagenet_utils.preprocess_input(IMAGES, data_format="channels_middle")


def test_decoding(network, monkeypatch):
    names = {str(i): [f"n{i:08}", f"class {i}"] for i in range(1000)}
    content = json.dumps(names).encode()
    address, _ = network.publish("imagenet_class_index.json", content)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(imagenet_utils, "_CLASSES", (address, digest))
    monkeypatch.setattr(oracle.src.applications.imagenet_utils, "CLASS_INDEX", names)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(1000), 3).astype("float32")
    for top in (1, 5):
        found = vgg16.decode_predictions(probabilities, top=top)
        theirs = oracle.applications.vgg16.decode_predictions(probabilities, top=top)
        assert [[tuple(map(str, c[:2])) for c in row] for row in found] == [
            [tuple(map(str, c[:2])) for c in row] for row in theirs
        ]
        np.testing.assert_allclose([[c[2] for c in r] for r in found],
                                   [[c[2] for c in r] for r in theirs])  # fmt: skip
    assert len(network.requests) == 1
    for wrong in (probabilities[0], probabilities[:, :10]):
        with pytest.raises(ShapeError, match=r"\(batch, 1000\).*include_top=True"):
            vgg16.decode_predictions(wrong)
