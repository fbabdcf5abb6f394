"""The readers against real files, where the variable LAMINA_TEST_DATA names a folder of them."""

import os
from pathlib import Path

import numpy as np
import pytest

from lamina.datasets import cifar10, mnist
from tests.datasets.builders import python2_batch, tar

DATA = os.environ.get("LAMINA_TEST_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="LAMINA_TEST_DATA names no folder")


def test_mnist():
    (x_train, y_train), (x_test, y_test) = mnist.load_data(Path(DATA, "mnist"))
    assert (x_train.shape, x_test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert x_train.dtype == y_train.dtype == x_test.dtype == y_test.dtype == np.uint8
    assert np.bincount(y_train).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (x_train.min(), x_train.max()) == (0, 255)
    assert round(float(x_train.mean() / 255), 4) == 0.1307
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]


def test_cifar10_pixels_survive_the_archive(tmp_path):
    records = np.fromfile(Path(DATA, "cifar10", "test_batch_first1000.bin"), np.uint8)
    labels, pixels = records.reshape(-1, 3073)[:, 0], records.reshape(-1, 3073)[:, 1:]
    batch = python2_batch(pixels, {"labels": labels.tolist()})
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(tar({f"cifar-10-batches-py/{name}": batch for name in names}))
    _, (x_test, y_test) = cifar10.load_data(path)
    np.testing.assert_array_equal(y_test[:, 0], labels)
    for channel in range(3):
        plane = pixels[:, 1024 * channel : 1024 * (channel + 1)].reshape(-1, 32, 32)
        np.testing.assert_array_equal(x_test[..., channel], plane)
