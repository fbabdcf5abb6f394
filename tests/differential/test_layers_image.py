"""Layers for images against Keras: the same results for the same parameters."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import layers
from lamina.serialization import registry
from tests.cases.layers_image import CASES
from tests.differential.oracle import compare

BY_NAME = {case.name: case for case in CASES}
# What does not depend on random numbers, in training and otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")
FIXED = [c for c in CASES if c.name.startswith(("resizing", "center", "auto", "clahe"))]


@pytest.mark.parametrize("case", FIXED, ids=str)
def test_fixed_layers(case):
    if case.inputs[0][1] == "uint8" or "resizing_nearest" in case.name or "clahe" in case.name:
        x = np.random.default_rng(0).integers(0, 256, case.inputs[0][0]).astype(case.inputs[0][1])
        ours = case.cls(**case.kwargs)
        theirs = keras.layers.deserialize(registry.serialize(ours))
        a, b = np.asarray(ours(x)), np.asarray(theirs(x))
        assert a.dtype == b.dtype
        # Keras cuts off the fractions of equalized pixels; here, all are rounded.
        np.testing.assert_allclose(a, b, atol=1 if a.dtype.kind == "u" else 1e-4, rtol=1e-5)
        return
    compare(case)


# ---- random layers: the same results for the parameters that Keras has drawn ---------------------

SHAPE = (6, 10, 12, 3)
PIXELS = np.random.default_rng(1).uniform(0, 255, SHAPE).astype("float32")
MASKS = np.random.default_rng(2).integers(0, 5, (*SHAPE[:3], 1)).astype("int32")
BOXES = np.array([[[1, 2, 7, 6], [0, 0, 3, 9], [5, 4, 12, 10]]] * 6, "float32")
CLASSES = np.array([[1, 2, 3]] * 6, "int32")

GIVEN = [
    ("RandomFlip", {}),
    ("RandomFlip", {"mode": "vertical"}),
    ("RandomFlip", {"mode": "horizontal"}),
    ("RandomRotation", {"factor": 0.4}),
    ("RandomRotation", {"factor": (0.1, 0.3), "fill_mode": "constant", "fill_value": 9.0}),
    ("RandomRotation", {"factor": 0.4, "fill_mode": "wrap", "interpolation": "nearest"}),
    ("RandomRotation", {"factor": 0.4, "fill_mode": "nearest"}),
    ("RandomTranslation", {"height_factor": 0.4, "width_factor": (0.1, 0.3)}),
    ("RandomTranslation", {"height_factor": 0.4, "width_factor": 0.9, "fill_mode": "constant"}),
    ("RandomZoom", {"height_factor": 0.4}),
    ("RandomZoom", {"height_factor": (-0.6, -0.2), "width_factor": (0.2, 0.5)}),
    ("RandomShear", {"x_factor": (0.1, 0.4), "y_factor": 0.3}),
    ("RandomPerspective", {"factor": 0.7, "scale": 0.4}),
    ("RandomBrightness", {"factor": 0.5}),
    ("RandomBrightness", {"factor": (0.1, 0.5), "value_range": (0, 300)}),
    ("RandomContrast", {"factor": 0.9}),
    ("RandomColorDegeneration", {"factor": 0.9}),
    ("RandomHue", {"factor": 0.9}),
    ("RandomSharpness", {"factor": 0.9}),
    ("RandomPosterization", {"factor": (2, 6)}),
    ("RandomInvert", {"factor": 0.5}),
    ("RandomGrayscale", {}),
    ("RandomGaussianBlur", {"kernel_size": (3, 5), "sigma": (0.2, 0.9), "factor": 0.6}),
    ("RandomErasing", {}),
    ("RandomErasing", {"fill_value": 7.0, "factor": (0.2, 0.8), "scale": (0.1, 0.6)}),
    ("Solarization", {"threshold_factor": 0.7, "addition_factor": 0.2}),
    ("Equalization", {"bins": 64}),
    ("MixUp", {"alpha": 0.8}),
    ("CutMix", {"factor": (0.5, 1.0)}),
    ("RandAugment", {"num_ops": 3}),
]


def pair(name, kwargs, **more):
    ours = getattr(layers, name)(**kwargs, **more)
    return ours, keras.layers.deserialize(registry.serialize(ours))


def drawn(layer, x, seed=5):
    """Keras's parameters, in the form that the layers here take."""
    layer.generator = keras.random.SeedGenerator(seed)
    found = layer.get_random_transformation(x)
    if isinstance(found, tuple):
        found = {"top": found[0], "left": found[1]}
    elif found is not None and not isinstance(found, dict):
        found = {"should_apply": found}
    return found


def close(a, b, atol=2e-3, share=0.0):
    """Equal, up to a share of elements (positions between two pixels) that rounding decides."""
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    assert a.shape == b.shape
    assert np.mean(~np.isclose(a, b, rtol=1e-4, atol=atol)) <= share


# Of each family one: in other layers of them, Keras draws masks in the layout of the images, or
# takes other axes.
FIRST = {"RandomFlip", "RandomRotation", "RandomContrast", "RandomHue", "RandomGaussianBlur"}
LAYOUTS = [(*row, "channels_last") for row in GIVEN] + [
    (name, kwargs, "channels_first")
    for name, kwargs in {row[0]: row for row in GIVEN if row[0] in FIRST}.values()
]


@pytest.mark.parametrize(
    ("name", "kwargs", "data_format"), LAYOUTS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_given_parameters(name, kwargs, data_format):
    ours, theirs = pair(name, kwargs, data_format=data_format)
    first = data_format == "channels_first"
    x = np.moveaxis(PIXELS, -1, 1) if first else PIXELS
    masks = np.moveaxis(MASKS, -1, 1) if first else MASKS
    given = drawn(theirs, x)
    raw = "should_apply" in (given or {})
    wanted = theirs.transform_images(x, given["should_apply"] if raw else given)
    nearest = kwargs.get("interpolation") == "nearest"
    close(ours.transform_images(x, given or {}), wanted, share=0.02 if nearest else 0)
    if raw or name in ("MixUp", "Equalization"):  # Keras fails, or returns them unchanged
        return
    wanted = theirs.transform_segmentation_masks(masks, given)
    got = ours.transform_segmentation_masks(masks, given)
    assert got.dtype == masks.dtype
    close(got, wanted, share=0.02)


@pytest.mark.parametrize("box_format", ["xyxy", "rel_xyxy", "center_xywh", "yxyx"])
@pytest.mark.parametrize(
    ("name", "kwargs"),
    [row for row in GIVEN if row[0].startswith(("RandomFlip", "RandomTr", "RandomZ", "RandomRot"))]
    + [("Resizing", {"height": 5, "width": 6}), ("CenterCrop", {"height": 6, "width": 6}),
       ("Resizing", {"height": 10, "width": 10, "crop_to_aspect_ratio": True}),
       ("Resizing", {"height": 12, "width": 12, "pad_to_aspect_ratio": True})],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_boxes(name, kwargs, box_format):
    ours, theirs = pair(name, kwargs, bounding_box_format=box_format)
    if name == "RandomRotation" and box_format != "xyxy":
        pytest.skip("Keras takes all boxes for xyxy")
    convert = keras.utils.bounding_boxes.convert_format
    boxes = np.asarray(convert(BOXES, "xyxy", box_format, height=10, width=12))
    given = drawn(theirs, PIXELS) if hasattr(theirs, "generator") else None
    known = theirs.get_random_transformation(PIXELS) if given is None else given

    def record():
        return {"boxes": boxes.copy(), "labels": CLASSES.copy()}

    got = ours.transform_bounding_boxes(record(), {**(given or {}), "input_shape": SHAPE})
    wanted = theirs.transform_bounding_boxes(record(), known)
    close(got["boxes"], wanted["boxes"])
    np.testing.assert_array_equal(got["labels"], wanted["labels"])


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_mixed_labels(name):
    ours, theirs = pair(name, {})
    labels = np.eye(6, dtype="float32")
    given = drawn(theirs, PIXELS)
    close(ours.transform_labels(labels, given), theirs.transform_labels(labels, given))


def test_saturation_of_values_up_to_one():
    ours, theirs = pair("RandomSaturation", {"factor": 0.9, "value_range": (0, 1)})
    given = drawn(theirs, PIXELS)
    close(ours.transform_images(PIXELS / 255, given), theirs.transform_images(PIXELS / 255, given),
          atol=1e-5)  # fmt: skip


def test_chains_of_augmentations():
    ours, theirs = pair("AugMix", {"chain_depth": 2, "alpha": 0.7})
    given = drawn(theirs, PIXELS)
    stand_ins = ours.get_random_transformation(PIXELS, seed=0)
    names = list(stand_ins["transforms"])
    transforms = {n: {k: np.array(v) for k, v in p.items()}
                  for n, p in stand_ins["transforms"].items()}  # fmt: skip
    choices = np.full(6, len(names), "int32")
    for i, chain in enumerate(given["chain_transforms"]):
        for j, link in enumerate(chain):
            choices[2 * i + j] = names.index(link["layer_name"])
            for key in transforms[link["layer_name"]]:
                place = transforms[link["layer_name"]][key][2 * i + j]
                place[...] = np.reshape(link["transformation"][key], place.shape)
    assert len({*choices.tolist()}) > 2
    mine = {k: given[k] for k in ("chain_mixing_weights", "weight_sample")}
    mine |= jax.tree.map(jnp.asarray, {"choices": choices, "transforms": transforms})
    close(ours.transform_images(PIXELS, mine), theirs.transform_images(PIXELS, given))


def test_jitter_is_its_parts_in_turn():
    parts = {"brightness": 0.3, "contrast": 0.5, "saturation": 0.6, "hue": 0.4}
    jitter = layers.RandomColorJitter(**{f"{k}_factor": v for k, v in parts.items()})
    given = jitter.get_random_transformation(PIXELS, seed=1)
    x = PIXELS
    for name, factor in parts.items():
        layer = getattr(layers, f"Random{name.title()}")(factor)
        x = layer.transform_images(x, given[name])
    close(jitter.transform_images(PIXELS, given), x)


# ---- random layers: the same distributions -------------------------------------------------------

MANY = np.zeros((2000, 4, 6, 3), "float32")
DRAWN = [
    *[row for row in GIVEN if row[0] not in ("CutMix", "RandAugment", "Equalization", "MixUp")],
    ("RandomSaturation", {"factor": (0.2, 0.7)}),
]


@pytest.mark.parametrize(("name", "kwargs"), DRAWN, ids=lambda v: v if isinstance(v, str) else "")
def test_distributions(name, kwargs):
    ours, theirs = pair(name, kwargs)
    mine, other = ours.get_random_transformation(MANY, seed=3), drawn(theirs, MANY)
    compared = 0
    for key, values in other.items():
        if key not in mine or key in ("input_shape", "start_points", "fill_value"):
            continue
        a, b = (np.asarray(v, "float64").reshape(len(v), -1) for v in (mine[key], values))
        if len(a) < 100:
            continue  # drawn for a batch
        compared += 1
        assert a.shape[0] == b.shape[0]
        for q in (0.02, 0.2, 0.4, 0.6, 0.8, 0.98):
            at = np.quantile(b.mean(1), q)
            share = [np.mean(v.mean(1) <= at + 1e-6) for v in (a, b)]
            assert abs(share[0] - share[1]) < 0.06, (key, q)
    assert compared


@pytest.mark.parametrize("alpha", [0.2, 3.0])
def test_mixing_weights(alpha):
    ours, theirs = pair("MixUp", {"alpha": alpha})
    mine, other = ours.get_random_transformation(MANY, seed=3), drawn(theirs, MANY)
    for q in (0.1, 0.3, 0.5, 0.7, 0.9):
        at = np.quantile(other["mix_weight"], q)
        assert abs(np.mean(np.asarray(mine["mix_weight"]) <= at) - q) < 0.05
    assert sorted(np.asarray(mine["permutation_order"]).tolist()) == list(range(2000))


@pytest.mark.parametrize("name", ["RandomGrayscale", "RandomColorDegeneration"])
def test_one_grey_channel_is_grey_already(name):
    ours, theirs = pair(name, {"factor": 1.0})
    for layer in (ours, theirs):
        np.testing.assert_allclose(layer(PIXELS[..., :1], training=True), PIXELS[..., :1])
