"""Preprocessing layers in models, on arrays and in data pipelines: the same numbers everywhere."""

import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.core import prng
from lamina.core.scope import Scope, entered
from lamina.training.data.dataset import Dataset
from lamina.transforms import draws
from lamina.tree import nested
from tests.cases.layers_image import CASES

PIXELS = np.random.default_rng(0).uniform(0, 255, (3, 8, 9, 3)).astype("float32")
RANDOM = list({c.cls: c for c in CASES if "seed" in c.cls._fields}.values())
KEY = np.array([1, 2], "uint32")


# ---- random numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4)])
def test_numpy_draws_the_bits_of_jax(shape):
    key = jax.random.wrap_key_data(KEY)
    np.testing.assert_array_equal(draws.fold_in(KEY, 12), jax.random.key_data(
        jax.random.fold_in(key, 12)))  # fmt: skip
    np.testing.assert_array_equal(draws.key_of(2**40 + 3)[1], 3)
    folded = jax.random.fold_in(key, 1)
    np.testing.assert_array_equal(draws.Draws(KEY).bits(shape), jax.random.bits(folded, shape))
    np.testing.assert_array_equal(draws.Draws(KEY).unit(shape), jax.random.uniform(folded, shape))


def test_distributions_of_draws():
    source = draws.Draws(KEY)
    normal = source.normal((20000,))
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert abs(np.mean(normal > 1.96) - 0.025) < 0.005
    for alpha in (0.2, 1.0, 3.0):
        gamma = np.exp(source.log_gamma((20000,), alpha))
        assert abs(gamma.mean() - alpha) < 0.05
        assert abs(gamma.var() - alpha) < 0.2
    integers = source.integers((20000,), 2, 6)
    assert np.unique(integers).tolist() == [2, 3, 4, 5]
    assert abs(integers.mean() - 3.5) < 0.05
    assert sorted(source.permutation(50).tolist()) == list(range(50))
    assert abs(source.dirichlet(4, 0.5).sum() - 1) < 1e-6


# ---- one layer, several places -------------------------------------------------------------------


def on_device(layer, x, key):
    """What a compiled step computes with a key."""

    @jax.jit
    def run(x, key):
        with entered(Scope(key=key, pure=True, training=True)):
            return layer(x)

    return run(x, key)


@pytest.mark.parametrize("case", RANDOM, ids=str)
def test_models_and_pipelines_agree(case, monkeypatch):
    layer = case.cls(**case.kwargs)
    seen = []
    monkeypatch.setattr(
        "lamina.layers.image.base.random_key",
        lambda seed, name: seen.append(seed) or jax.random.wrap_key_data(KEY),
    )
    compiled = np.asarray(on_device(layer, PIXELS, jax.random.key(0)))
    host = pickle.loads(pickle.dumps(layer.transform))(PIXELS, KEY)
    assert seen == [layer.seed]
    assert host.dtype == compiled.dtype
    if case.cls is not layers.RandomCrop:
        assert not np.allclose(host, PIXELS[:, : host.shape[1], : host.shape[2]])
    differing = np.mean(~np.isclose(host, compiled, rtol=1e-4, atol=0.05))
    # A value at the border of a bin, a threshold or two pixels may fall on either side.
    assert differing < 0.02


def test_workers_import_no_jax(tmp_path):
    layer = layers.Pipeline(
        [layers.Resizing(6, 6), layers.RandomFlip(), layers.RandAugment(), layers.AugMix(),
         layers.MixUp(), layers.CutMix(), layers.Equalization()]
    )  # fmt: skip
    data = {"images": PIXELS, "labels": np.eye(3, dtype="float32")}
    (tmp_path / "job").write_bytes(pickle.dumps((layer.transform, data)))
    program = (
        "import pickle, sys, time\n"
        "transform, data = pickle.load(open('job', 'rb'))\n"
        "pickle.dump(transform(data, 5), open('out', 'wb'))\n"
        "print([m for m in ('jax', 'tensorflow', 'torch') if m in sys.modules])"
    )
    paths = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    with (tmp_path / "out").open("rb") as file:
        result = pickle.load(file)
    here = layer.transform(data, 5)
    for name in data:
        np.testing.assert_array_equal(result[name], here[name])


def test_a_resumed_run_and_a_repeated_call_draw_anew_but_reproducibly():
    layer = layers.RandomBrightness(0.5, seed=3)
    lamina.utils.set_random_seed(1)
    first, second = layer(PIXELS), layer(PIXELS)
    assert not np.allclose(first, second)
    lamina.utils.set_random_seed(1)
    np.testing.assert_array_equal(layer(PIXELS), first)
    # Of a step, only the key, the step and the layer count.
    key = prng.base_key(4)
    np.testing.assert_array_equal(on_device(layer, PIXELS, key), on_device(layer, PIXELS, key))


def test_augmentation_stays_inside_the_compiled_step():
    inputs = lamina.Input((8, 9, 3))
    x = layers.Pipeline([layers.RandomRotation(0.1), layers.RandomZoom(0.1),
                         layers.RandomTranslation(0.1, 0.1), layers.RandomShear(0.1),
                         layers.RandomPerspective(), layers.RandomCrop(6, 6)])(inputs)  # fmt: skip
    model = lamina.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    model.compile("sgd", "mse")
    assert model.jit_compile
    assert all(layer.supports_jit for layer in model._flatten_layers())
    model.fit(PIXELS / 255, np.zeros((3, 2)), verbose=0)
    a, b = (model.predict(PIXELS, verbose=0) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(model(PIXELS), model(PIXELS))  # a call is in training, by default


def test_data_sets_compute_on_the_host_what_layers_compute():
    layer = layers.Pipeline([layers.RandomBrightness(0.5), layers.RandomFlip(seed=4),
                             layers.Pipeline([layers.RandomRotation(0.2)])])  # fmt: skip
    layer(PIXELS)
    labels = np.arange(3)
    data = Dataset((PIXELS, labels)).map(lambda x, y: (layer(x), y))
    found = [np.stack([x for x, _ in data]) for _ in range(2)]
    assert not np.allclose(*found)  # of two epochs
    assert all(type(x) is np.ndarray for x, _ in data)
    for epoch, images in enumerate(found):
        for i, x in enumerate(images):
            with prng.drawing_for("element", epoch, i):
                np.testing.assert_allclose(x, layer(jnp.asarray(PIXELS[i])), rtol=1e-4, atol=0.01)
    threads = Dataset((PIXELS, labels)).map(lambda x, y: (layer(x), y), num_parallel_calls=4)
    np.testing.assert_array_equal(np.stack([x for x, _ in threads]), found[0])


# ---- images with what belongs to them ------------------------------------------------------------

GEOMETRY = [
    ("RandomFlip", {}), ("RandomRotation", {"factor": 0.5}), ("RandomZoom", {"height_factor": 0.4}),
    ("RandomTranslation", {"height_factor": 0.3, "width_factor": 0.3}),
    ("RandomShear", {"x_factor": 0.3, "y_factor": 0.2}), ("RandomPerspective", {"scale": 0.4}),
    ("RandomCrop", {"height": 30, "width": 34}), ("CenterCrop", {"height": 30, "width": 34}),
    ("CenterCrop", {"height": 60, "width": 34}), ("Resizing", {"height": 50, "width": 30}),
    ("Resizing", {"height": 51, "width": 30, "pad_to_aspect_ratio": True}),
    ("Resizing", {"height": 51, "width": 31, "crop_to_aspect_ratio": True}),
    ("RandAugment", {"factor": 0.3, "num_ops": 3, "value_range": (0, 255)}),
]  # fmt: skip
FORMATS = ["xyxy", "yxyx", "xywh", "center_xywh", "rel_xyxy", "rel_center_xywh"]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("name", "kwargs"), GEOMETRY, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_marker_stays_in_its_box(name, kwargs, data_format):
    """In every format, the box and the mask of a bright rectangle move with it."""
    convert = lamina.utils.bounding_boxes.convert_format
    images = np.zeros((8, 40, 44, 3), "float32")
    images[:, 14:20, 17:29] = 255
    boxes = np.array([[[17, 14, 29, 20]]] * 8, "float32")
    first = data_format == "channels_first"
    masks = np.asarray(images[..., :1] > 0, "int32")
    data = {"images": images, "segmentation_masks": masks}
    data = {k: np.moveaxis(v, -1, 1) if first else v for k, v in data.items()}
    found = None
    for box_format in FORMATS:
        fill = {"fill_mode": "constant"} if "Random" in name and name not in (
            "RandomFlip", "RandomCrop", "RandomPerspective", "RandAugment") else {}  # fmt: skip
        layer = getattr(layers, name)(**kwargs, **fill, data_format=data_format,
                                      bounding_box_format=box_format)  # fmt: skip
        given = np.asarray(convert(boxes, "xyxy", box_format, height=40, width=44))
        record = {"boxes": given, "labels": np.ones((8, 1), "int32")}
        out = layer.transform({**data, "bounding_boxes": record}, 3)
        height, width = layer.transform.new_size(40, 44)
        back = convert(out["bounding_boxes"]["boxes"], box_format, "xyxy", height, width)
        if found is not None:
            np.testing.assert_allclose(back, found, atol=1e-3)
        found = np.asarray(back)
    marks = np.moveaxis(out["segmentation_masks"], 1, -1) if first else out["segmentation_masks"]
    assert marks.dtype == masks.dtype
    if name == "RandAugment":
        return  # the reflected marker is in the image too
    for mark, (box,), (label,) in zip(marks, found, out["bounding_boxes"]["labels"], strict=True):
        rows, columns = np.nonzero(mark[..., 0])
        if label == -1:
            assert rows.size <= 8
            continue
        left, top, right, bottom = box
        assert columns.min() >= left - 1.5
        assert columns.max() <= right + 0.5
        assert rows.min() >= top - 1.5
        assert rows.max() <= bottom + 0.5


def test_what_does_not_belong_to_images_is_returned():
    data = {"images": PIXELS, "labels": [0, 1, 2], "name": np.arange(3)}
    out = layers.RandomFlip()(data)
    assert list(out) == list(data)
    np.testing.assert_array_equal(out["labels"], [0, 1, 2])
    np.testing.assert_array_equal(out["name"], data["name"])
    assert data["labels"] == [0, 1, 2]  # unlike Keras, the caller's dict stays


def test_single_images_are_transformed_like_a_batch_of_one():
    boxes = {"boxes": np.array([[1, 2, 5, 6]], "float32"), "labels": np.array([4])}
    data = {"images": PIXELS[0], "bounding_boxes": boxes, "labels": np.ones(2),
            "segmentation_masks": np.ones((8, 9, 1), "int32")}  # fmt: skip
    for layer in (layers.RandomFlip(bounding_box_format="xyxy"), layers.MaxNumBoundingBoxes(3)):
        one = layer.transform(data, 1)
        add = {**data, "bounding_boxes": {k: v[None] for k, v in boxes.items()}}
        batch = layer.transform({k: v if isinstance(v, dict) else v[None] for k, v in add.items()},
                                1)  # fmt: skip
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(batch), strict=True):
            np.testing.assert_array_equal(a, b[0])


def test_lists_of_boxes_are_filled_up():
    boxes = {
        "boxes": [[], [[1, 1, 3, 3]], [[0, 0, 2, 2], [1, 1, 4, 4]]],
        "labels": [[], [5], [6, 7]],
    }
    layer = layers.RandomFlip("vertical", bounding_box_format="xyxy")
    out = layer({"images": PIXELS, "bounding_boxes": boxes})["bounding_boxes"]
    assert out["boxes"].shape == (3, 2, 4)
    assert out["labels"].tolist() == [[-1, -1], [5, -1], [6, 7]]


def test_mixed_boxes_keep_their_labels():
    boxes = {"boxes": np.arange(24.0).reshape(3, 2, 4), "labels": np.arange(6).reshape(3, 2)}
    out = layers.MixUp().transform({"images": PIXELS, "bounding_boxes": boxes}, 1)
    both = out["bounding_boxes"]
    assert both["boxes"].shape == (3, 4, 4)
    assert both["labels"].shape == (3, 4)
    np.testing.assert_array_equal(both["boxes"][..., 0] / 4, both["labels"])


def test_cut_labels_are_shares_of_pixels():
    classes = np.arange(16) % 3
    images = np.ones((16, 5, 7, 1), "float32") * classes[:, None, None, None]
    data = {"images": images, "labels": np.eye(3)[classes]}
    mixed = layers.CutMix(seed=1)(data)
    shares = mixed["labels"] @ np.arange(3.0)
    assert len(set(np.asarray(shares).tolist())) > 6
    np.testing.assert_allclose(mixed["images"].mean((1, 2, 3)), shares, atol=1e-5)


def test_results_stay_in_the_range_of_values():
    for low, high in ((0, 255), (0, 1), (-1, 1)):
        x = PIXELS / 255 * (high - low) + low
        for case in RANDOM:
            if "value_range" not in case.cls._fields:
                continue
            layer = case.cls(**{**case.kwargs, "value_range": (low, high)})
            if case.cls is layers.RandomErasing:
                layer = layers.RandomErasing(value_range=(low, high))
            y = layer.transform(x, 2)
            assert y.min() >= low - 1e-3, case.name
            assert y.max() <= high + 1e-3 * (high - low), case.name


def test_images_of_one_pixel_are_projected():
    for shape in ((4, 1, 1, 3), (4, 1, 5, 3), (4, 5, 1, 3)):
        y = layers.RandomPerspective(factor=1, fill_value=1, seed=0)(np.ones(shape), training=True)
        np.testing.assert_allclose(y, np.ones(shape), rtol=1e-5)


def test_integers_become_floats_except_where_documented():
    pixels = PIXELS.astype("uint8")
    for case in CASES:
        layer = case.cls(**case.kwargs)
        if case.call is not None or layer.data_format == "channels_first":
            continue
        y = layer.transform(pixels, 1)
        kept = case.cls in (
            layers.Resizing,
            layers.ContrastLimitedAdaptiveHistogramEqualization,
            layers.MaxNumBoundingBoxes,
        )
        assert y.dtype == ("uint8" if kept else "float32"), case.name


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_bfloat16", "float64"])
def test_dtype_policies(policy):
    layer = layers.Pipeline([layers.RandomRotation(0.1, dtype=policy)])
    wanted = policy.removeprefix("mixed_")
    if wanted != "float64" or jax.config.read("jax_enable_x64"):
        assert layer(PIXELS).dtype == wanted
    assert str(layer.transform(PIXELS, 1).dtype) == wanted


def test_crops_outside_training_are_central():
    layer = layers.RandomCrop(4, 5)
    np.testing.assert_array_equal(layer(PIXELS, training=False), layers.CenterCrop(4, 5)(PIXELS))
    positions = {float(layer.transform(PIXELS, i).sum()) for i in range(30)}
    assert len(positions) > 8
    wide = layers.RandomCrop(8, 4)  # of the full height, at any column
    assert len({float(wide.transform(PIXELS, i).sum()) for i in range(30)}) > 3


def test_pipelines_pass_the_mode_on():
    layer = layers.Pipeline([layers.RandomBrightness(0.5), layers.Rescaling(1 / 255)])
    np.testing.assert_allclose(layer(PIXELS, training=False), PIXELS / 255, rtol=1e-6)
    assert not np.allclose(layer(PIXELS), PIXELS / 255)
    np.testing.assert_allclose(layer.transform(PIXELS, 1, training=False), PIXELS / 255, rtol=1e-6)
    again = layers.Pipeline.from_config(lamina.saving.serialize_keras_object(layer)["config"])
    assert [type(x) for x in again.layers] == [layers.RandomBrightness, layers.Rescaling]


def test_unknown_sizes_of_everything_in_a_sample():
    inputs = {
        "images": lamina.Input((None, None, 3)), "labels": lamina.Input((4,)),
        "segmentation_masks": lamina.Input((None, None, 1), dtype="int32"),
        "bounding_boxes": {"boxes": lamina.Input((5, 4)), "labels": lamina.Input((5,))},
    }  # fmt: skip
    for layer in (layers.RandomCrop(4, 5, bounding_box_format="xyxy"),
                  layers.RandomRotation(0.1, bounding_box_format="rel_xyxy"), layers.MixUp(),
                  layers.MaxNumBoundingBoxes(7)):  # fmt: skip
        out = layer(inputs)
        real = layer.transform(
            {"images": PIXELS, "labels": np.ones((3, 4)),
             "segmentation_masks": np.ones((3, 8, 9, 1), "int32"),
             "bounding_boxes": {"boxes": np.ones((3, 5, 4)), "labels": np.ones((3, 5))}}
        )  # fmt: skip
        for s, r in zip(nested.flatten(out), nested.flatten(real), strict=True):
            assert len(s.shape) == r.ndim
            assert all(n in (None, m) for n, m in zip(s.shape, r.shape, strict=True))
            assert str(s.dtype) == str(jnp.asarray(r).dtype)
