"""The published architectures against Keras's own: layers, arguments, files of weights, outputs."""

import functools
import hashlib
import inspect
import json
import re
import subprocess
import sys

import h5py
import keras as oracle
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

import lamina as keras
from lamina import applications
from lamina.applications import building, imagenet_utils
from lamina.errors import ArgumentError, DownloadError, ShapeError, SignatureError, StructureError
from lamina.layers import Conv2D, Rescaling, scaling
from tests.applications import structure
from tests.datasets.builders import serve

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
SMALL = {"include_top": False, "input_shape": (32, 32, 3)}
TINY = {**SMALL, "alpha": 0.25}  # MobileNet with 0.2 million weights
RECORD = json.loads(structure.RECORD.read_text())
# One of each family that is cheap to run, with images of the least size that it takes.
RUN = {
    "ConvNeXtTiny": {}, "DenseNet121": {}, "EfficientNetB0": {}, "EfficientNetV2B0": {},
    "EfficientNetV2S": {}, "InceptionResNetV2": {"input_shape": (75, 75, 3)},
    "InceptionV3": {"input_shape": (75, 75, 3)}, "MobileNet": {}, "MobileNetV2": {},
    "MobileNetV3Small": {}, "MobileNetV3Large": {"minimalistic": True},
    "NASNetMobile": {"input_shape": (48, 48, 3)}, "ResNet50": {}, "ResNet50V2": {}, "VGG16": {},
    "Xception": {"input_shape": (71, 71, 3)},
}  # fmt: skip


def assert_close(a, b, rtol=1e-4, atol=1e-5):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol * np.abs(b).max())


def draw_weights(model, seed=0):
    """Weights that keep the scale of what passes through, with statistics that are not trivial."""
    rng, drawn = np.random.default_rng(seed), []
    for weight in model.weights:
        kind, shape = weight.path.split("/")[-1], tuple(weight.shape)
        if kind in ("gamma", "moving_variance", "variance"):
            value = rng.uniform(0.8, 1.2, shape)
        elif kind == "count":
            value = np.ones(shape)
        elif len(shape) > 1:
            fan_in = np.prod(shape[:2]) if "depthwise" in kind else np.prod(shape[:-1])
            value = rng.normal(0, (2 / fan_in) ** 0.5, shape)
        else:
            value = rng.normal(0, 0.1, shape)
        drawn.append(value.astype(str(np.dtype(weight.dtype))))
    return drawn


def both(name, **options):
    """Lamina's and Keras's model, with the same weights."""
    models = structure.of_lamina(name, **options), structure.of_keras(name, **options)
    weights = draw_weights(models[1])
    for model in models:
        model.set_weights(weights)
    return models


# ---- structure -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", structure.MODELS)
def test_layers_are_those_of_keras(name):
    """Names, arguments, connections and shapes of all layers; no weight is drawn."""
    model = structure.of_lamina(name)
    assert structure.summary(model) == RECORD[name], (
        f"`python -m tests.applications.structure {name}` shows the differences"
    )
    assert not any(v.is_initialized for v in model.trainable_weights)
    build = getattr(applications, name)
    shapes = tuple(RECORD[name][k] for k in ("input", "output"))
    assert str(tuple(map(tuple, shapes))) in build.__doc__
    millions = f"{RECORD[name]['parameters'] / 1e6:.1f} M"
    variant = re.search(rf"^ *{name.removesuffix('V2')}(V2)? .*", build.__doc__, re.MULTILINE)
    assert millions in variant[0], (millions, variant[0])


@pytest.mark.parametrize("name", ["VGG16", "MobileNet", "ResNet50", "MobileNetV3Small"])
def test_the_record_is_of_keras(name):
    assert structure.summary(structure.of_keras(name)) == RECORD[name]


VARIANTS = [
    ("MobileNet", {"alpha": 0.5, "depth_multiplier": 2, "dropout": 0.3, "classes": 7}),
    ("MobileNet", {"include_top": False, "pooling": "avg", "input_shape": (50, 40, 3)}),
    ("MobileNetV2", {"alpha": 1.4, "classes": 7, "classifier_activation": None}),
    ("MobileNetV2", {"alpha": 0.35, "include_top": False, "pooling": "max"}),
    ("MobileNetV3Small", {"alpha": 0.75, "dropout_rate": 0.0, "include_preprocessing": False}),
    ("MobileNetV3Large", {"minimalistic": True, "alpha": 1.5, "classes": 7}),
    ("MobileNetV3Small", {"include_top": False, "pooling": "avg", "name": "mine"}),
    ("ResNet50", {"include_top": False, "pooling": "max", "input_shape": (64, 64, 1)}),
    ("ResNet50V2", {"include_top": False}),
    ("VGG19", {"include_top": False, "pooling": "avg"}),
    ("DenseNet121", {"include_top": False, "pooling": "avg"}),
    ("EfficientNetB0", {"include_top": False, "pooling": "max"}),
    ("EfficientNetV2B0", {"include_preprocessing": False, "classes": 7}),
    ("ConvNeXtTiny", {"include_top": False, "pooling": "avg", "name": "mine"}),
    ("ConvNeXtTiny", {"include_preprocessing": False, "include_top": False}),
    ("InceptionV3", {"include_top": False, "pooling": "max"}),
    ("Xception", {"include_top": False, "pooling": "avg", "input_shape": (80, 90, 3)}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_arguments_have_keras_effect(name, options):
    ours, theirs = structure.of_lamina(name, **options), structure.of_keras(name, **options)
    assert structure.lines(ours) == structure.lines(theirs)
    assert ours.name == theirs.name


@pytest.mark.parametrize("name", structure.MODELS)
def test_signatures_and_paths(name):
    build = getattr(applications, name)
    theirs = getattr(oracle.applications, name)
    assert [(p.name, p.default) for p in inspect.signature(build).parameters.values()] == [
        (p.name, p.default) for p in inspect.signature(theirs).parameters.values()
    ]
    assert build.__name__ == name
    module = getattr(applications, structure.MODELS[name])
    if structure.MODELS[name] != "mobilenet_v3":  # Keras's module has the utilities only
        assert getattr(module, name) is build
    assert module.decode_predictions is imagenet_utils.decode_predictions


def test_resnet50_has_a_module():
    assert applications.resnet50.ResNet50 is applications.resnet.ResNet50
    assert applications.resnet50.preprocess_input is applications.resnet.preprocess_input


# ---- arguments that do not fit -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("VGG16", {"weights": "imagnet"}, "'imagnet', which does not exist"),
        ("VGG16", {"weights": "imagenet", "classes": 10}, "1000 classes. Received: classes=10"),
        ("ResNet50", {"weights": "imagenet", "classifier_activation": "relu"}, "softmax"),
        ("ResNet50", {"weights": "imagenet", "input_shape": (64, 64, 3)}, "224x224 RGB images"),
        ("Xception", {"weights": "imagenet", "input_shape": (224, 224, 3)}, "299x299 RGB images"),
        (
            "MobileNetV2",
            {"weights": "imagenet", "input_shape": (100, 100, 3)},
            "96x96 or 128x128 or 160x160 or 192x192 or 224x224 RGB",
        ),
        ("VGG16", {"weights": "imagenet", **SMALL, "input_shape": (64, 64, 1)}, "3 channels"),
        ("MobileNet", {"weights": "imagenet", "alpha": 0.3}, r"\[0.25, 0.5, 0.75, 1.0\]"),
        ("MobileNet", {"weights": "imagenet", "depth_multiplier": 2}, "depth_multiplier=1"),
        ("MobileNetV2", {"weights": "imagenet", "alpha": 0.4}, "alpha=0.4. Use weights=None"),
        (
            "MobileNetV3Small",
            {"weights": "imagenet", "alpha": 0.75, "minimalistic": True},
            "minimalistic=True for 1.0 only",
        ),
        ("VGG16", {"weights": None, "input_shape": (64, 64)}, "three dimensions"),
        ("VGG16", {"weights": None, "input_shape": (64, 31, 3)}, "at least 32x32"),
        ("InceptionV3", {"weights": None, "input_shape": (74, 80, 3)}, "at least 75x75"),
        ("InceptionResNetV2", {"weights": None, "input_shape": (74, 80, 3)}, "at least 75x75"),
        ("Xception", {"weights": None, "input_shape": (70, 80, 3)}, "at least 71x71"),
        ("MobileNetV3Large", {"weights": None, "input_shape": (31, 80, 3)}, "at least 32x32"),
        ("ResNet50", {"weights": None, "input_shape": (None, 64, 3)}, "must be known"),
        (
            "NASNetMobile",
            {"weights": None, "include_top": False},
            r"known image size.*Received: images of \(None, None, 3\). Pass `input_shape`",
        ),
        ("VGG16", {"weights": None, "include_top": False, "pooling": "mean"}, "'avg' or 'max'"),
        ("VGG16", {"weights": None, "input_tensor": IMAGES}, "`input_tensor`.*ndarray"),
        (
            "VGG16",
            {"weights": None, "input_tensor": keras.Input((8,))},
            "`input_tensor` must have three dimensions",
        ),
        (
            "VGG16",
            {"weights": None, "input_tensor": keras.Input((64, 64, 3)), "input_shape": (32, 32, 3)},
            r"the shape of `input_tensor`.*\(32, 32, 3\)",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_made(name, options, said):
    with pytest.raises(ArgumentError, match=said):
        getattr(applications, name)(**options)


def test_unknown_arguments():
    with pytest.raises(
        SignatureError, match=r"ResNet50\(\) was called.*'alpha'(.|\n)*pooling=None"
    ):
        applications.ResNet50(alpha=0.5)


def test_convnext_needs_channels_last(monkeypatch):
    monkeypatch.setattr(keras.settings, "image_data_format", lambda: "channels_first")
    with pytest.raises(ArgumentError, match="channels_last"):
        applications.ConvNeXtTiny(weights=None)


def test_the_other_layout(monkeypatch):
    """With channels first, the weights are the same and the output is transposed."""
    last = structure.of_lamina("MobileNetV3Small", **TINY)
    last.set_weights(draw_weights(last))
    expected = last.predict(IMAGES, verbose=0)
    keras.config.set_image_data_format("channels_first")
    try:
        first = structure.of_lamina(
            "MobileNetV3Small", include_top=False, input_shape=(3, 32, 32), alpha=0.25
        )
        first.set_weights(last.get_weights())
        found = first.predict(IMAGES.transpose(0, 3, 1, 2), verbose=0)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert_close(found, expected.transpose(0, 3, 1, 2))


# ---- outputs, transfer ---------------------------------------------------------------------------


def compare_outputs(name, **options):
    options = {**SMALL, **options}
    ours, theirs = both(name, **options)
    images = np.random.default_rng(0).uniform(-1, 1, (2, *options["input_shape"]))
    if applications.__dict__[structure.MODELS[name]].preprocess_input(images) is images:
        images = 127.5 * (images + 1)
    images = images.astype("float32")
    expected = theirs.predict(images, verbose=0)
    assert np.abs(expected).max() > 1e-3
    assert_close(ours.predict(images, verbose=0), expected, rtol=2e-3, atol=2e-4)


def transfer(name, **options):
    """Frozen, the base keeps all of its weights; then its last layers learn."""
    options = {**SMALL, **options}
    base = structure.of_lamina(name, **options, pooling="avg")
    base.set_weights(draw_weights(base))
    base.trainable = False
    inputs = keras.Input(options["input_shape"])
    outputs = keras.layers.Dense(2, name="head")(base(inputs, training=False))
    model = keras.Model(inputs, outputs)
    assert len(model.trainable_weights) == 2
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (4, *options["input_shape"])).astype("float32")
    labels = np.array([0, 1, 0, 1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    before, head = base.get_weights(), model.get_layer("head").get_weights()
    model.compile(keras.optimizers.SGD(0.01), loss)
    model.fit(images, labels, batch_size=2, epochs=1, verbose=0)
    assert all(map(np.array_equal, base.get_weights(), before))
    assert not np.array_equal(model.get_layer("head").get_weights()[0], head[0])
    base.trainable = True
    last = max(i for i, x in enumerate(base.layers) if x.trainable_weights and x.weights)
    for layer in base.layers[:last]:
        layer.trainable = False
    model.compile(keras.optimizers.SGD(0.01), loss)
    model.fit(images, labels, batch_size=2, epochs=1, verbose=0)
    learned = set(base.layers[last].weights)
    for weight, old, new in zip(base.weights, before, base.get_weights(), strict=True):
        if weight not in learned:
            assert np.array_equal(old, new), weight.path
    assert any(not np.array_equal(a, b) for a, b in zip(before, base.get_weights(), strict=True))


def test_outputs_are_those_of_keras():
    compare_outputs("MobileNetV2", alpha=0.35)


@pytest.mark.long
@pytest.mark.parametrize("name", RUN)
def test_outputs_of_each_family(name):
    compare_outputs(name, **RUN[name])


def test_transfer():
    transfer("MobileNet", alpha=0.25)


@pytest.mark.long
@pytest.mark.parametrize("name", RUN)
def test_transfer_of_each_family(name):
    transfer(name, **RUN[name])


# ---- weights -------------------------------------------------------------------------------------


class _StopError(Exception):
    pass


def requested(monkeypatch, module, build, **options):
    """Address, digest and cached name of the file that a model with pretrained weights gets."""
    calls = []

    def get_file(fname=None, origin=None, file_hash=None, **_):
        calls.append((origin, file_hash))
        raise _StopError

    monkeypatch.setattr(module, "get_file", get_file)
    with pytest.raises(_StopError):
        build(**options)
    return calls


PUBLISHED = [
    ("MobileNet", {}), ("MobileNet", {"alpha": 0.25, "input_shape": (128, 128, 3)}),
    ("MobileNet", {"alpha": 0.75, "include_top": False}),
    ("MobileNetV2", {}), ("MobileNetV2", {"alpha": 1.4, "input_shape": (96, 96, 3)}),
    ("MobileNetV2", {"alpha": 0.35, "include_top": False, "input_shape": (100, 100, 3)}),
    ("MobileNetV3Small", {"alpha": 0.75}), ("MobileNetV3Large", {"include_top": False}),
    ("MobileNetV3Small", {"minimalistic": True, "include_top": False}),
    ("VGG16", {}), ("VGG16", {"include_top": False}), ("ResNet50", {"include_top": False}),
]  # fmt: skip


def compare_published(monkeypatch, name, options):
    ours = requested(monkeypatch, building, getattr(applications, name), **options)
    module = structure.MODELS[name].removeprefix("resnet_v2") or "resnet"
    module = getattr(oracle.src.applications, module)
    build = functools.partial(structure.of_keras, name, weights="imagenet")
    theirs = requested(monkeypatch, module.file_utils, build, **options)
    assert ours == theirs


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize(("name", "options"), PUBLISHED)
def test_published_files_are_those_of_keras(monkeypatch, name, options):
    compare_published(monkeypatch, name, options)


@pytest.mark.long
@pytest.mark.parametrize("include_top", [True, False])
@pytest.mark.parametrize("name", structure.MODELS)
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
def test_all_published_files_are_those_of_keras(monkeypatch, name, include_top):
    compare_published(monkeypatch, name, {"include_top": include_top})


@pytest.fixture(scope="module")
def theirs():
    """Keras's MobileNet with the fewest weights, without the top."""
    model = structure.of_keras("MobileNet", **TINY)
    model.set_weights(draw_weights(model))
    return model


@pytest.fixture(scope="module")
def features(theirs):
    return theirs.predict(IMAGES / 127.5 - 1, verbose=0)


def write_published(path, model):
    """The layout of the published files, written by Keras."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


@pytest.fixture(scope="module")
def published(theirs, tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("weights") / "notop.h5", theirs)


def test_weights_by_path(theirs, features, published, tmp_path):
    """The published layout, Keras 3's, and Lamina's own files."""
    images = applications.mobilenet.preprocess_input(IMAGES)
    ours = applications.MobileNet(weights=published, **TINY)
    assert_close(ours.predict(images, verbose=0), features, rtol=1e-3, atol=1e-4)
    theirs.save_weights(tmp_path / "keras.weights.h5")
    ours.save_weights(tmp_path / "ours.safetensors")
    for name in ("keras.weights.h5", "ours.safetensors"):
        again = applications.MobileNet(weights=str(tmp_path / name), **TINY)
        for a, b in zip(again.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MobileNetV3Small", {"alpha": 0.25}),
        pytest.param("NASNetMobile", {}, marks=pytest.mark.long),
        pytest.param("ConvNeXtTiny", {}, marks=pytest.mark.long),
        pytest.param("EfficientNetB0", {}, marks=pytest.mark.long),
        pytest.param("EfficientNetV2B0", {}, marks=pytest.mark.long),
        pytest.param("InceptionResNetV2", {"input_shape": (75, 75, 3)}, marks=pytest.mark.long),
    ],
)
def test_files_in_the_published_layout(name, options, tmp_path):
    theirs = structure.of_keras(name, **SMALL | options)
    theirs.set_weights(draw_weights(theirs))
    path = write_published(tmp_path / "notop.h5", theirs)
    ours = getattr(applications, name)(weights=path, **SMALL | options)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_on_a_tensor_of_ones_own(features, published):
    """Layers before the network, one with weights, are none of the file's business."""
    inputs = keras.Input((32, 32, 3))
    mixing = Conv2D(
        3, 1, use_bias=False,
        kernel_initializer=lambda shape, dtype=None: np.eye(3, dtype=dtype).reshape(shape),
    )  # fmt: skip
    mixed = mixing(applications.mobilenet.preprocess_input(inputs))
    ours = applications.MobileNet(alpha=0.25, weights=published, include_top=False,
                                  input_tensor=mixed)  # fmt: skip
    assert ours.input is inputs
    assert_close(ours.predict(IMAGES, verbose=0), features, rtol=1e-3, atol=1e-4)
    direct = applications.MobileNet(alpha=0.25, weights=published, include_top=False,
                                    input_tensor=inputs)  # fmt: skip
    assert direct.input is inputs


def test_a_file_with_or_without_the_top(published, tmp_path):
    with pytest.raises(StructureError, match=r"54 layers.*55 layers.*include_top"):
        applications.MobileNet(weights=published, alpha=0.25, input_shape=(32, 32, 3))
    applications.MobileNet(weights=None, **TINY).save_weights(tmp_path / "notop.weights.h5")
    with pytest.raises(StructureError, match=r"missing from the file: conv_preds/kernel"):
        applications.MobileNet(weights=tmp_path / "notop.weights.h5", alpha=0.25,
                               input_shape=(32, 32, 3))  # fmt: skip


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    with serve() as server:
        yield server


def test_weights_are_downloaded_once_and_checked(network, monkeypatch, tmp_path):
    """With a family of the test's own, whose files are on the test's server."""
    options = {**SMALL, "input_shape": (32, 32, 3)}

    def body(x, options, filters):
        x = Conv2D(filters, 3, name="conv")(x)
        return building.classify(x, options)

    model = oracle.Sequential([oracle.Input((32, 32, 3)), oracle.layers.Conv2D(4, 3, name="conv")])
    content = write_published(tmp_path / "small.h5", model).read_bytes()
    network.publish("small_notop.h5", content)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    family = building.Family("Small: a test.", body, network.address + "/{key}{top}.h5")
    make = {"settings": 4, "key": "small"}
    wrong = family.function("Wrong", digests=("0" * 32, "0" * 32), **make)
    with pytest.raises(DownloadError, match="differs from the published one"):
        wrong(**options)
    right = family.function("Right", digests=("0" * 32, digest), **make)
    for _ in range(2):
        ours = right(**options)
    for a, b in zip(ours.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert network.requests == ["/small_notop.h5", "/small_notop.h5"]
    with pytest.raises(DownloadError, match="404"):
        right()


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


@pytest.mark.parametrize("module", [*structure.FAMILIES, "resnet50"])
def test_each_module_preprocesses_as_kerass(module):
    ours, theirs = getattr(applications, module), getattr(oracle.applications, module)
    found, expected = ours.preprocess_input(IMAGES), theirs.preprocess_input(IMAGES.copy())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_preprocessing_in_a_model_goes_to_a_file(tmp_path):
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, Rescaling(2.0)(applications.vgg16.preprocess_input(inputs)))
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
    assert imagenet_utils._CLASSES[0] == oracle.src.applications.imagenet_utils.CLASS_INDEX_PATH
    monkeypatch.setattr(imagenet_utils, "_CLASSES", (address, digest))
    monkeypatch.setattr(oracle.src.applications.imagenet_utils, "CLASS_INDEX", names)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(1000), 3).astype("float32")
    for top in (1, 5):
        found = applications.vgg16.decode_predictions(probabilities, top=top)
        theirs = oracle.applications.vgg16.decode_predictions(probabilities, top=top)
        assert [[tuple(map(str, c[:2])) for c in row] for row in found] == [
            [tuple(map(str, c[:2])) for c in row] for row in theirs
        ]
        np.testing.assert_allclose([[c[2] for c in r] for r in found],
                                   [[c[2] for c in r] for r in theirs])  # fmt: skip
    assert len(network.requests) == 1
    for wrong in (probabilities[0], probabilities[:, :10]):
        with pytest.raises(ShapeError, match=r"\(batch, 1000\).*include_top=True"):
            applications.vgg16.decode_predictions(wrong)


# ---- layers that only these architectures have ---------------------------------------------------


def test_layers_of_architectures_in_files(tmp_path):
    """A new process loads them without `applications`; so does Keras, with the same outputs."""
    x = inputs = keras.Input((3,))
    x = scaling.CustomScaleLayer(0.5)([x, scaling.LayerScale(0.1, 3)(x)])
    keras.Model(inputs, x).save(tmp_path / "model.keras")
    data = np.arange(6, dtype="float32").reshape(2, 3)
    expected = data + 0.5 * 0.1 * data
    theirs = oracle.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(theirs.predict(data, verbose=0), expected, rtol=1e-6)
    theirs.save(tmp_path / "model.h5")  # which names classes without modules
    again = keras.saving.load_model(tmp_path / "model.h5")
    np.testing.assert_allclose(again.predict(data, verbose=0), expected, rtol=1e-6)
    code = (
        "import lamina, numpy as np; "
        f"model = lamina.saving.load_model({str(tmp_path / 'model.keras')!r}); "
        "print(model.predict(np.arange(6.0).reshape(2, 3), verbose=0).tolist())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(told.stdout), expected, rtol=1e-6)
