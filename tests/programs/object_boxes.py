"""Boxes around objects: resized, cropped and flipped with the images; learned."""

import sys

import keras
import numpy as np
from keras import layers

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()


def rectangles(count, height, width, rng):
    """Two bright rectangles in each image, and their corners as xyxy."""
    images = rng.integers(0, 60, (count, height, width, 1)).astype("float32")
    boxes = np.zeros((count, 2, 4), "float32")
    for image, pair in zip(images, boxes, strict=True):
        for i, box in enumerate(pair):
            w, h = rng.integers(4, 9, 2)
            x, y = rng.integers(0, width // 2 - w) + i * width // 2, rng.integers(0, height - h)
            image[y : y + h, x : x + w] = 250
            box[:] = x, y, x + w, y + h
    return images, boxes, rng.integers(0, 3, (count, 2))


def shown(data):
    boxes = {k: np.asarray(v, "float64").round(3) for k, v in data["bounding_boxes"].items()}
    return np.asarray(data["images"]).shape, boxes["boxes"][0].tolist(), boxes["labels"].tolist()


def overlap(a, b):
    """Intersection over union of boxes in xyxy."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    both = np.prod(np.maximum(high - low, 0), -1)
    areas = np.prod(a[..., 2:] - a[..., :2], -1) + np.prod(b[..., 2:] - b[..., :2], -1)
    return both / (areas - both)


def around(image):
    """The box around what is bright in an image."""
    ys, xs = np.nonzero(image[..., 0] > 150)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], "float32")


rng = np.random.default_rng(16)
images, boxes, labels = rectangles(4, 24, 32, rng)
convert = keras.utils.bounding_boxes.convert_format
for name in ("xyxy", "center_xywh", "rel_yxyx"):
    given = np.asarray(convert(boxes, "xyxy", name, height=24, width=32))
    data = {"images": images, "bounding_boxes": {"boxes": given, "labels": labels}}
    print(name, given[0, 0].astype("float64").round(3).tolist())
    for layer in (
        layers.Resizing(12, 16, bounding_box_format=name),
        layers.Resizing(16, 16, pad_to_aspect_ratio=True, bounding_box_format=name),
        layers.CenterCrop(16, 24, bounding_box_format=name),
        layers.MaxNumBoundingBoxes(3, bounding_box_format=name),
    ):
        print(type(layer).__name__, *shown(layer(data)))

# The objects stay in their boxes, whatever is drawn.
data = {"images": images[:, :, :16], "bounding_boxes": {"boxes": boxes[:, :1], "labels": labels}}
data["bounding_boxes"]["labels"] = labels[:, :1]
for layer in (
    layers.RandomFlip("horizontal_and_vertical", bounding_box_format="xyxy", seed=1),
    layers.RandomTranslation(0.1, 0.1, fill_mode="constant", bounding_box_format="xyxy", seed=2),
    layers.RandomZoom((-0.1, 0.2), fill_mode="constant", bounding_box_format="xyxy", seed=3),
):
    for _ in range(2):
        out = layer(data, training=True)
        found = np.array([around(image) for image in np.asarray(out["images"])])
        good = overlap(found, np.asarray(out["bounding_boxes"]["boxes"])[:, 0])
        print(type(layer).__name__, bool(np.all(good > 0.6)))


def network():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(24, activation="relu"),
            layers.Dense(4),
            layers.Rescaling(16.0),
        ]
    )
    model.compile(keras.optimizers.Adam(0.003), "huber")
    return model


def cut(count, rng):
    images, boxes, labels = rectangles(count, 16, 32, rng)
    return images[:, :, :16], boxes[:, :1], labels[:, :1]


def learn(model, images, boxes, labels, epochs, seed):
    flip = layers.RandomFlip("horizontal_and_vertical", bounding_box_format="xyxy", seed=seed)
    order = np.random.default_rng(seed)
    for _ in range(epochs):
        rows = order.permutation(len(images))
        for i in range(0, len(rows), 32):
            part = rows[i : i + 32]
            found = {"boxes": boxes[part], "labels": labels[part]}
            out = flip({"images": images[part], "bounding_boxes": found}, training=True)
            corners = np.asarray(out["bounding_boxes"]["boxes"])[:, 0]
            loss = model.train_on_batch(np.asarray(out["images"]), corners)
    return loss


print(bool(0 < float(learn(network(), *cut(32, rng), 2, 0)) < 100))
for seed in SEEDS:
    keras.utils.set_random_seed(seed)
    images, boxes, labels = cut(700, np.random.default_rng(17))
    model = network()
    learn(model, images[:500], boxes[:500], labels[:500], 25, seed)
    found = model.predict(images[500:], verbose=0)
    print("accuracy", float(overlap(found, boxes[500:, 0]).mean()))
