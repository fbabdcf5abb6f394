"""Preprocessing layers in the data pipelines of other libraries."""

import numpy as np
import pytest

import lamina
from lamina import layers

pytestmark = pytest.mark.filterwarnings("ignore")  # of these libraries

PIXELS = np.random.default_rng(0).uniform(0, 255, (12, 8, 9, 3)).astype("float32")
LABELS = np.eye(12, dtype="float32")


def test_map_of_tensorflow():
    data = pytest.importorskip("tensorflow").data.Dataset
    layer = layers.Pipeline([layers.RandomCrop(5, 6), layers.RandomBrightness(0.5, seed=1)])
    images = data.from_tensor_slices(PIXELS).map(layer)
    assert images.element_spec.shape == (5, 6, 3)
    one = list(images.as_numpy_iterator())
    assert len({x.tobytes() for x in one}) == 12
    mix = layers.MixUp()
    pairs = data.from_tensor_slices({"images": PIXELS, "labels": LABELS}).batch(4).map(mix)
    assert pairs.element_spec["images"].shape == (None, 8, 9, 3)
    for batch in pairs:
        np.testing.assert_allclose(np.sum(batch["labels"], 1), 1, rtol=1e-5)
    still = data.from_tensor_slices(PIXELS).map(lambda x: layer(x, training=False))
    wanted = layer(PIXELS, training=False)
    np.testing.assert_allclose(np.stack(list(still.as_numpy_iterator())), wanted)


def test_adapting_to_tensorflow():
    data = pytest.importorskip("tensorflow").data.Dataset
    layer = layers.Normalization(-1)
    rows = data.from_tensor_slices((PIXELS, LABELS)).batch(5)
    layer.adapt(rows)
    np.testing.assert_allclose(layer.mean.ravel(), PIXELS.mean((0, 1, 2)), rtol=1e-5)
    for x in data.from_tensor_slices(PIXELS).batch(12).map(layer):
        np.testing.assert_allclose(x, layer(PIXELS), rtol=1e-5, atol=1e-5)


def test_workers_of_torch():
    torch = pytest.importorskip("torch")
    transform = layers.RandomFlip("horizontal").transform

    class Flipped(torch.utils.data.Dataset):
        def __len__(self):
            return len(PIXELS)

        def __getitem__(self, i):
            return transform(PIXELS[i], i)

    found = [
        np.concatenate(list(torch.utils.data.DataLoader(Flipped(), 4, num_workers=n)))
        for n in (0, 2)
    ]
    np.testing.assert_array_equal(*found)
    layer = layers.Normalization()
    layer.adapt(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(
        torch.from_numpy(PIXELS)), 5))  # fmt: skip
    assert lamina.ops.shape(layer.mean) == (1, 1, 1, 3)


def test_text_in_the_data_sets_of_torch():
    torch = pytest.importorskip("torch")
    words, size = layers.TextVectorization(output_sequence_length=3), layers.Resizing(4, 5)
    words.adapt(["a b", "b"])

    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return len(PIXELS)

        def __getitem__(self, i):
            return np.asarray(words(["b a"])[0]), np.asarray(size(PIXELS[i]))

    text, images = next(iter(torch.utils.data.DataLoader(Pairs(), 12)))
    np.testing.assert_array_equal(text, [[2, 3, 0]] * 12)
    np.testing.assert_allclose(images, size(PIXELS), rtol=1e-5)


def test_text_in_map_of_tensorflow():
    data = pytest.importorskip("tensorflow").data.Dataset
    words = layers.TextVectorization(vocabulary=["a", "b"])
    texts = data.from_tensor_slices((["a b", "b"], [0, 1])).batch(2)
    found, _ = next(iter(texts.map(lambda x, y: (words(x), y))))
    np.testing.assert_array_equal(found, words(["a b", "b"]))
    cross = layers.HashedCrossing(5)
    pairs = data.from_tensor_slices((["a", "b"], [1, 2])).batch(2)
    found = next(iter(pairs.map(lambda a, b: cross((a, b)))))
    np.testing.assert_array_equal(found, cross([["a", "b"], [1, 2]]))
    table = {"size": [1.0, 2.0, 6.0], "kind": ["a", "b", "a"]}
    columns = data.from_tensor_slices(table)
    space = lamina.utils.FeatureSpace({"size": "float", "kind": "string_categorical"})
    space.adapt(columns)
    (batch,) = columns.batch(3).map(space)
    np.testing.assert_allclose(batch, space(table))
    np.testing.assert_allclose(list(columns.map(space)), space(table))
