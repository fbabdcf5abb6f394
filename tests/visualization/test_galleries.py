"""Boxes and masks on images, and galleries of them."""

import inspect

import keras
import matplotlib as mpl
import numpy as np
import pytest

import lamina
from lamina.errors import ArgumentError, DTypeError, ShapeError, StructureError
from lamina.utils.bounding_boxes import convert_format
from lamina.visualization import (
    draw_bounding_boxes,
    draw_segmentation_masks,
    plot_bounding_box_gallery,
    plot_image_gallery,
    plot_segmentation_mask_gallery,
)

FUNCTIONS = [name for name in dir(keras.visualization) if name.startswith(("draw", "plot"))]
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
BLACK = np.zeros((1, 40, 60, 3), "uint8")
BOXES = {"boxes": np.array([[[10, 15, 40, 30]]]), "labels": np.array([[1]])}
MASKS = np.random.default_rng(1).integers(-1, 5, (3, 40, 60))


@pytest.fixture(autouse=True)
def _no_window():
    import matplotlib.pyplot as plt

    backend = mpl.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(backend)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_are_those_of_keras(name):
    ours, theirs = (getattr(library.visualization, name) for library in (lamina, keras))

    def parameters(function):
        return [
            (p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()
        ]

    assert parameters(ours) == parameters(theirs)


# ------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": 5},
        {"num_classes": 3, "alpha": 0.3},
        {"num_classes": 5, "blend": False},
        {"color_mapping": {0: (9, 8, 7), 1: (255, 0, 0), 2: (0, 255, 0), 3: (0, 0, 255),
                           4: (250, 251, 252)}, "num_classes": 5},
    ],
)  # fmt: skip
def test_masks_are_those_of_keras(options, kind):
    images = IMAGES.astype(kind)
    received = draw_segmentation_masks(images, MASKS, **options)
    expected = keras.visualization.draw_segmentation_masks(images, MASKS[..., None], **options)
    np.testing.assert_array_equal(received, np.asarray(expected).astype("uint8"))
    assert received.dtype == np.uint8
    first = draw_segmentation_masks(
        images.transpose(0, 3, 1, 2), MASKS[:, None], **options, data_format="channels_first"
    )
    np.testing.assert_array_equal(first, received.transpose(0, 3, 1, 2))


def test_classes_that_are_left_alone():
    images = np.full((1, 1, 4, 3), 100, "uint8")
    masks = np.array([[[-1, 0, 1, 2]]])

    def changed(**options):
        drawn = draw_segmentation_masks(images, masks, **options)
        return (drawn != images).any(-1).ravel().tolist()

    assert changed() == [False, True, True, True]
    assert changed(ignore_index=0) == [False, False, True, True]
    assert changed(ignore_index=2) == [False, True, True, False]
    assert changed(num_classes=2) == [False, True, True, False]
    assert changed(color_mapping={2: (1, 2, 3)}) == [False, False, False, True]


# ------------------------------------------------------------------------------------------- boxes


def frame(thickness, **options):
    drawn = draw_bounding_boxes(BLACK, BOXES, "xyxy", line_thickness=thickness, **options)
    return drawn[0, :, :, 0] > 0


@pytest.mark.parametrize("thickness", [1, 2, 3, 6])
def test_frames_are_where_the_boxes_are(thickness):
    lines = frame(thickness)
    for profile, (start, stop) in ((lines[22], (10, 40)), (lines[:, 25], (15, 30))):
        edges = np.flatnonzero(np.diff(profile.astype(int)))
        first, second = (edges + 1).reshape(2, 2)
        assert first[1] - first[0] == second[1] - second[0] == thickness
        assert first[0] <= start < first[1]
        assert second[0] <= stop < second[1]
        assert start - first[0] == second[1] - 1 - stop == thickness // 2


@pytest.mark.parametrize("name", ["yxyx", "xywh", "center_xywh", "rel_xyxy"])
def test_boxes_of_every_format(name):
    boxes = {**BOXES, "boxes": convert_format(BOXES["boxes"], "xyxy", name, 40, 60)}
    np.testing.assert_array_equal(
        draw_bounding_boxes(BLACK, boxes, name), draw_bounding_boxes(BLACK, BOXES, "xyxy")
    )


def test_colors_layouts_and_fillers():
    drawn = draw_bounding_boxes(BLACK, BOXES, "xyxy", color=(255, 10, 0))
    assert np.unique(drawn.reshape(-1, 3), axis=0).tolist() == [[0, 0, 0], [255, 10, 0]]
    first = draw_bounding_boxes(
        BLACK.transpose(0, 3, 1, 2), BOXES, "xyxy", color=(255, 10, 0),
        data_format="channels_first",
    )  # fmt: skip
    np.testing.assert_array_equal(first, drawn.transpose(0, 3, 1, 2))
    assert not draw_bounding_boxes(BLACK, {**BOXES, "labels": [[-1]]}, "xyxy").any()
    assert BLACK.max() == 0


def test_names_are_written_above_the_box_or_inside():
    plain = frame(2)
    named = frame(2, class_mapping={1: "cat"}, font_scale=0.4)
    added = named & ~plain
    assert not plain[named.shape[0] - 1].any()
    assert (plain <= named).all()
    assert added.any()
    assert np.flatnonzero(added.any(1)).max() < 15
    scored = {**BOXES, "confidences": np.array([[0.25]])}
    drawn = draw_bounding_boxes(BLACK, scored, "xyxy", {1: "cat"}, font_scale=0.4)[0, ..., 0] > 0
    assert (drawn & ~plain).sum() > added.sum() * 1.5
    top = {**BOXES, "boxes": np.array([[[10, 2, 50, 35]]])}
    inside = draw_bounding_boxes(BLACK, top, "xyxy", {1: "cat"}, font_scale=0.5)[0, 6:30, 14:48, 0]
    assert inside.any()
    assert (frame(2, class_mapping={7: "dog"}) == plain).all()
    bold = draw_bounding_boxes(BLACK, BOXES, "xyxy", {1: "cat"}, font_scale=0.4, text_thickness=4)
    assert bold.astype(int).sum() > (named * 128).sum()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: draw_bounding_boxes(BLACK[0], BOXES, "xyxy"), ShapeError, r"\(40, 60, 3\)"),
        (lambda: draw_bounding_boxes(BLACK, [1], "xyxy"), StructureError, "a list"),
        (lambda: draw_bounding_boxes(BLACK, {"boxes": 1}, "xyxy"), StructureError, "'boxes'"),
        (lambda: draw_bounding_boxes(IMAGES, BOXES, "xyxy"), ShapeError, "Boxes for 3 images"),
        (
            lambda: draw_bounding_boxes(BLACK, BOXES, "xyxy", line_thickness=0),
            ArgumentError, "`line_thickness`",
        ),
        (lambda: draw_segmentation_masks(IMAGES, MASKS * 1.0), DTypeError, "argmax"),
        (lambda: draw_segmentation_masks(IMAGES, MASKS[:1]), ShapeError, r"\(1, 40, 60\)"),
        (lambda: draw_segmentation_masks(IMAGES, MASKS, alpha=2), ArgumentError, "`alpha`"),
        (lambda: plot_image_gallery(IMAGES[0]), ShapeError, "`images` expects"),
        (lambda: plot_image_gallery(IMAGES[:0]), ShapeError, "at least one"),
        (lambda: plot_image_gallery(IMAGES, path="x.png", show=True), ArgumentError, "both"),
        (lambda: plot_image_gallery(IMAGES, y_true=[0, 1, 1]), ArgumentError, "`label_map`"),
        (
            lambda: plot_image_gallery(IMAGES, y_pred=[0, 1, 1], label_map={0: "a"}),
            ArgumentError, r"lacks: \[1\]",
        ),
        (
            lambda: plot_image_gallery(IMAGES, y_pred=[0], label_map={0: "a"}),
            ShapeError, "`y_pred` expects one class",
        ),
        (lambda: plot_image_gallery(IMAGES, rows=0), ArgumentError, "`rows`"),
        (lambda: plot_image_gallery(IMAGES, value_range=(1, 0)), ArgumentError, "`value_range`"),
        (
            lambda: plot_bounding_box_gallery(IMAGES, "xyxy", legend=True, legend_handles=[]),
            ArgumentError, "both",
        ),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --------------------------------------------------------------------------------------- galleries


def shown(figure):
    return [axis.images[0].get_array() for axis in figure.axes]


@pytest.mark.parametrize(
    ("count", "options", "grid", "pictures"),
    [
        (3, {}, (2, 2), 3),
        (3, {"rows": 1}, (1, 3), 3),
        (3, {"cols": 1}, (3, 1), 3),
        (3, {"rows": 3, "cols": 3}, (3, 3), 3),
        (3, {"rows": 1, "cols": 2}, (1, 2), 2),
        (1, {}, (1, 1), 1),
    ],
)
def test_rows_and_columns(count, options, grid, pictures):
    figure = plot_image_gallery(IMAGES[:count], show=False, scale=3, **options)
    assert figure.axes[0].get_gridspec().get_geometry() == grid
    assert figure.get_size_inches().tolist() == [3 * grid[1], 3 * grid[0]]
    assert len(figure.axes) == pictures
    for image, picture in zip(IMAGES, shown(figure), strict=False):
        np.testing.assert_allclose(picture * 255, image, atol=0.01)


def test_values_titles_and_layout():
    figure = plot_image_gallery(
        IMAGES.transpose(0, 3, 1, 2) / 127.5 - 1, y_true=np.array([[0], [1], [1]]),
        y_pred=[1, 1, 0], label_map={0: "cat", 1: "dog"}, value_range=(-1, 1), show=False,
        data_format="channels_first",
    )  # fmt: skip
    np.testing.assert_allclose(shown(figure)[2] * 255, IMAGES[2], atol=0.01)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["Label: cat  Pred: dog", "Label: dog  Pred: dog", "Label: dog  Pred: cat"]


def test_files_and_windows(tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    path = tmp_path / "gallery.png"
    assert plot_image_gallery(IMAGES[..., :1], rows=1, path=path, dpi=50, transparent=False) is None
    picture = plt.imread(path)
    assert picture.shape[:2] == (100, 300)
    assert picture[..., 3].min() == 1
    plot_image_gallery(IMAGES, path=path)
    assert plt.imread(path)[..., 3].min() == 0
    calls = []
    monkeypatch.setattr(plt, "show", lambda: calls.append(len(plt.get_fignums())))
    assert plot_image_gallery(IMAGES) is plot_image_gallery(IMAGES, show=True) is None
    assert calls == [1, 1]
    assert plt.get_fignums() == []


def test_masks_beside_their_images():
    figure = plot_segmentation_mask_gallery(
        IMAGES / 255, 5, (0, 1), y_true=MASKS[..., None], y_pred=MASKS[::-1], show=False
    )
    pictures = shown(figure)
    assert len(pictures) == 9
    np.testing.assert_allclose(pictures[3] * 255, IMAGES[1], atol=0.01)
    for picture, masks in ((pictures[4], MASKS), (pictures[5], MASKS[::-1])):
        expected = draw_segmentation_masks(IMAGES, masks, 5)[1]
        np.testing.assert_allclose(picture * 255, expected, atol=1.01)
    first = plot_segmentation_mask_gallery(
        IMAGES.transpose(0, 3, 1, 2), 5, y_true=MASKS[:, None], data_format="channels_first",
        show=False,
    )  # fmt: skip
    assert len(first.axes) == 6
    np.testing.assert_array_equal(shown(first)[1], pictures[1])


def test_boxes_in_two_colors_with_a_legend():
    boxes = {"boxes": np.repeat(BOXES["boxes"], 3, 0), "labels": np.repeat(BOXES["labels"], 3, 0)}
    other = {**boxes, "boxes": boxes["boxes"] + 4}
    figure = plot_bounding_box_gallery(
        np.zeros((3, 40, 60, 1)), "xyxy", boxes, other, true_color=(255, 0, 0),
        pred_color=(0, 0, 255), legend=True, prediction_mapping={1: "x"}, font_scale=0.3,
        show=False,
    )  # fmt: skip
    picture = shown(figure)[0]
    assert picture[20, 10].tolist() == [1, 0, 0]
    assert picture[25, 14].tolist() == [0, 0, 1]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Ground truth", "Prediction"]
    assert [patch.get_facecolor()[:3] for patch in legend.get_patches()] == [(1, 0, 0), (0, 0, 1)]


def test_what_is_missing_is_named():
    import subprocess
    import sys

    code = """if True:
        import sys, numpy as np, lamina
        sys.modules["matplotlib"] = sys.modules["PIL"] = None  # as if they were not installed
        v, image = lamina.visualization, np.zeros((1, 9, 9, 3))
        boxes = {"boxes": [[[1, 1, 4, 4]]], "labels": [[0]]}
        print(v.draw_bounding_boxes(image, boxes, "xyxy").any())
        for call in (lambda: v.plot_image_gallery(image),
                     lambda: v.draw_bounding_boxes(image, boxes, "xyxy", {0: "a"})):
            try:
                call()
            except ImportError as error:
                print(error)
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    drawn, *messages = run.stdout.strip().splitlines()
    assert drawn == "True"
    assert len(messages) == 2
    assert all("pip install 'lamina[demo]'" in message for message in messages)
