"""Bounding boxes: Keras's numbers where it has them, definitions where it has none."""

import jax
import keras
import numpy as np
import pytest

import lamina
from lamina.errors import ArgumentError, ShapeError, StructureError, UnknownNameError
from lamina.utils import bounding_boxes as ours

theirs = keras.utils.bounding_boxes
B = np.array([[10, 20, 30, 60], [50, 60, 70, 80]], "float32")
C = np.array([[12, 22, 33, 50], [0, 0, 5, 5]], "float32")
FORMATS = (
    "xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh",
    "rel_center_xywh",
)  # fmt: skip
ABSOLUTE = FORMATS[:5]
SIZE = {"height": 100, "width": 120}
BATCHED = np.stack([B, C])
AFFINE = {
    "angle": 30.0, "translate_x": 0.1, "translate_y": 0.2, "scale": 1.2, "shear_x": 5.0,
    "shear_y": 3.0,
}  # fmt: skip
NEUTRAL = dict.fromkeys(AFFINE, 0.0) | {"scale": 1.0}


def in_format(boxes, name):
    return np.asarray(ours.convert_format(boxes, "xyxy", name, 100, 120))


def same(a, b, **tolerance):
    assert a.keys() == b.keys() if isinstance(a, dict) else True
    for x, y in zip(
        *(list(x.values()) if isinstance(x, dict) else [x] for x in (a, b)), strict=True
    ):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=2e-5, **tolerance)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_convert_format(source, target):
    boxes = in_format(BATCHED, source)
    same(
        ours.convert_format(boxes, source.upper(), target, **SIZE),
        theirs.convert_format(boxes, source.upper(), target, **SIZE),
    )
    back = ours.convert_format(
        ours.convert_format(boxes, source, target, **SIZE), target, source, **SIZE
    )
    np.testing.assert_allclose(back, boxes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "int32", None])
def test_convert_format_of_a_dict(dtype):
    boxes = {"boxes": B.astype("int32"), "labels": np.array([1, 2]), "more": "x"}
    received = ours.convert_format(boxes, "xyxy", "xywh", dtype=dtype)
    assert received.pop("more") == boxes.pop("more") == "x"
    same(received, theirs.convert_format(boxes, "xyxy", "xywh", dtype=dtype))


INVERTED = np.array([[30, 30, 10, 10], [10, 10, 5, 50]])
OUTSIDE = np.array([[-10, -20, 150, 160], [50, 40, 70, 80], [130, 10, 140, 20]])
# Each row: a function of this module, its arguments, and those by name.
CALLS = {
    "clip": ("clip_to_image_size", ({"boxes": OUTSIDE, "labels": np.arange(3)},), SIZE),
    "clip batch": (
        "clip_to_image_size", ({"boxes": OUTSIDE[None], "labels": np.arange(3)[None]},), SIZE,
    ),
    "clip float": (
        "clip_to_image_size", ({"boxes": OUTSIDE.astype("float32"), "more": np.ones(1)},), SIZE,
    ),
    "clip inverted": ("clip_to_image_size", ({"boxes": INVERTED, "labels": np.arange(2)},), SIZE),
    "clip relative": (
        "clip_to_image_size", ({"boxes": OUTSIDE / 100, "labels": np.arange(3)},),
        {"bounding_box_format": "rel_xyxy"},
    ),
    "crop": ("crop", (B, 10, 20, 40, 30), {}),
    "crop inside": ("crop", (BATCHED, 15, 25, 5, 5), {}),
    "crop int": ("crop", (B.astype("int32"), 15, 25, 5, 5), {}),
    "pad": ("pad", (B, 10, 20), {}),
    "iou": ("compute_iou", (B, C, "xyxy"), {}),
    "iou small": ("compute_iou", (B * 1e-4, C * 1e-4, "xyxy"), {}),
    "iou empty": ("compute_iou", (B * 0, C * 0, "xyxy"), {}),
    "iou relative": ("compute_iou", (B / 100, C / 100, "rel_xyxy"), {"image_shape": (50, 90, 3)}),
    "iou batch, set": ("compute_iou", (BATCHED, C, "xywh"), {}),
    "iou set, batch": ("compute_iou", (C[:1], BATCHED, "center_yxhw"), {}),
    "iou batch, batch": ("compute_iou", (BATCHED, BATCHED[:, :1], "yxyx"), {}),
    "iou masked": (
        "compute_iou", (np.array([[10, 20, 30, 60], [-1, -1, -1, -1]]), C, "xyxy"),
        {"use_masking": True, "mask_val": -5},
    ),
    "iou masked batch": (
        "compute_iou", (BATCHED, np.array([[[-1, -1, -1, 0]], [[-1, -2, -1, -1]]]), "xyxy"),
        {"use_masking": True},
    ),
    "ciou": ("compute_ciou", (B, C, "xyxy"), {}),
    "ciou of one": ("compute_ciou", (B[0], C[0], "xywh"), {}),
    "ciou of all": ("compute_ciou", (B[:, None], C[None], "xyxy"), {}),
    "ciou small": ("compute_ciou", (B * 1e-4, C * 1e-4, "xyxy"), {}),
    "ciou itself": ("compute_ciou", (B, B, "xyxy"), {}),
    "ciou empty": ("compute_ciou", (B * 0, B * 0, "xyxy"), {}),
    "ciou flat": ("compute_ciou", (B * [1, 0, 1, 0], C, "xyxy"), {}),
    "encode": ("encode_box_to_deltas", (B, C, "xyxy", "xyxy"), {}),
    "encode batch": ("encode_box_to_deltas", (B, BATCHED, "xyxy", "xywh", "center_xywh"), {}),
    "encode variance": (
        "encode_box_to_deltas", (B, C, "yxyx", "xyxy"), {"variance": [0.1, 0.2, 0.3, 0.4]},
    ),
    "encode relative": (
        "encode_box_to_deltas", (B / 100, C, "rel_xyxy", "xyxy"), {"image_shape": (100, 120, 3)},
    ),
    "encode empty": ("encode_box_to_deltas", (B * 0, C, "xyxy", "xyxy"), {}),
    "encode into empty": ("encode_box_to_deltas", (B, C * 0, "xyxy", "xyxy"), {}),
    "decode": ("decode_deltas_to_boxes", (B, C / 100, "xyxy", "xyxy"), {}),
    "decode batch": (
        "decode_deltas_to_boxes", (B, BATCHED / 100, "xyxy", "xywh", "center_xywh"), {},
    ),
    "decode variance": (
        "decode_deltas_to_boxes", (B, C / 100, "xywh", "xyxy"),
        {"variance": [0.1, 0.2, 0.3, 0.4]},
    ),
    "decode relative": (
        "decode_deltas_to_boxes", (B, C / 100, "xyxy", "rel_xyxy"),
        {"image_shape": (100, 120, 3)},
    ),
    "decode levels": (
        "decode_deltas_to_boxes", ({"p3": B, "p4": C}, {"p3": C / 100, "p4": B / 100},
                                   "xyxy", "xyxy"), {},
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype:UserWarning")
@pytest.mark.parametrize("name", CALLS)
def test_numbers_of_keras(name):
    function, arguments, options = CALLS[name]
    same(
        getattr(ours, function)(*arguments, **options),
        getattr(theirs, function)(*arguments, **options),
    )


@pytest.mark.parametrize("center", [{}, {"center_x": 0.2, "center_y": 0.9}])
@pytest.mark.parametrize("name", [*AFFINE, "all"])
def test_affine_transform(name, center):
    chosen = AFFINE if name == "all" else NEUTRAL | {name: AFFINE[name]}
    two = {k: np.array([v, NEUTRAL[k]], "float32") for k, v in chosen.items()}
    expected = theirs.affine_transform(BATCHED, **two, **SIZE, **center)
    same(ours.affine_transform(BATCHED, **two, **SIZE, **center), expected)
    same(ours.affine_transform(B, **chosen, **SIZE, **center), np.asarray(expected)[0])


@pytest.mark.parametrize("name", FORMATS)
def test_what_keras_does_in_corners_only(name):
    """Every format gives what the same boxes as corners give."""
    boxes, options = in_format(OUTSIDE, name), {"bounding_box_format": name}
    labels = np.arange(3)
    clipped = ours.clip_to_image_size({"boxes": boxes, "labels": labels}, **SIZE, **options)
    reference = ours.clip_to_image_size({"boxes": OUTSIDE, "labels": labels}, **SIZE)
    np.testing.assert_allclose(clipped["boxes"], in_format(reference["boxes"], name), atol=2e-5)
    np.testing.assert_array_equal(clipped["labels"], reference["labels"])

    calls = {"pad": (10, 20, 100, 120), "affine_transform": (*AFFINE.values(), 100, 120)}
    if name in ABSOLUTE:
        calls["crop"] = (10, 20, 40, 30)
    for function, arguments in calls.items():
        received = getattr(ours, function)(boxes, *arguments, **options)
        expected = getattr(ours, function)(OUTSIDE, *arguments)
        np.testing.assert_allclose(received, in_format(expected, name), rtol=1e-4, atol=1e-4)
    shape = {"image_shape": (100, 120, 3)}
    first, second = in_format(B, name), in_format(C, name)
    np.testing.assert_allclose(
        ours.compute_ciou(first, second, name, **shape), ours.compute_ciou(B, C, "xyxy"), atol=1e-5
    )


def test_runs_in_graphs_and_under_transformations():
    first, second = lamina.Input((2, 4)), lamina.Input((3, 4))
    ious = ours.compute_iou(first, second, "xyxy")
    assert ious.shape == (None, 2, 3)
    model = lamina.Model([first, second], ious)
    x = np.concatenate([C, C[:1]])[None]
    np.testing.assert_allclose(
        model.predict([B[None], x], verbose=0), ours.compute_iou(B[None], x, "xyxy"), rtol=1e-6
    )
    gradient = jax.jit(jax.grad(lambda b: ours.compute_ciou(b, C, "xyxy").sum()))(B)
    assert np.isfinite(gradient).all()
    assert np.any(np.asarray(gradient) != 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ours.convert_format(B, "xyxx", "xywh"), UnknownNameError, "or 'xyxy'"),
        (lambda: ours.convert_format(B, "xyxy", "rel_xywh"), ArgumentError, "height=None"),
        (lambda: ours.convert_format(B[:, :3], "xyxy", "xywh"), ShapeError, r"shape \(2, 3\)"),
        (lambda: ours.convert_format({"box": B}, "xyxy", "xywh"), StructureError, r"\['box'\]"),
        (lambda: ours.clip_to_image_size(B, 9, 9), StructureError, "Received: ndarray"),
        (lambda: ours.clip_to_image_size({"boxes": B}), ArgumentError, "expects `height`"),
        (lambda: ours.crop(B, 1, 1, 9, 9, "rel_xyxy"), ArgumentError, "Convert them first"),
        (lambda: ours.pad(B, 1, 1, bounding_box_format="rel_xyxy"), ArgumentError, "height=None"),
        (lambda: ours.compute_iou(B[0], C, "xyxy"), ShapeError, r"`boxes1` .*\(4,\)"),
        (lambda: ours.compute_iou(B, C, "rel_xyxy"), ArgumentError, "`image_shape`"),
        (lambda: ours.compute_ciou(B, np.ones((3, 4)), "xyxy"), ShapeError, "broadcast"),
        (
            lambda: ours.encode_box_to_deltas(B, C, "xyxy", "xyxy", "xyxy"),
            ArgumentError, "`encoding_format` expects",
        ),
        (
            lambda: ours.encode_box_to_deltas(B, C, "xyxy", "xyxy", variance=[1, 2]),
            ArgumentError, "`variance` expects four",
        ),
        (
            lambda: ours.decode_deltas_to_boxes({"a": B}, {"b": C}, "xyxy", "xyxy"),
            StructureError, r"\['a'\] and \['b'\]",
        ),
        (
            lambda: ours.affine_transform(B, **AFFINE | {"angle": [1.0, 2.0]}, **SIZE),
            ShapeError, "`angle` expects one number",
        ),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
