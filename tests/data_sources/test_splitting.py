"""Data sets of other libraries cut in two; `make test-data` installs them."""

import importlib.util
import random
import warnings

import numpy as np
import pytest

from lamina.errors import ArgumentError, DataError
from lamina.utils import split_dataset

LIBRARIES = ("torch", "tensorflow")
if missing := [n for n in LIBRARIES if importlib.util.find_spec(n) is None]:
    pytest.skip(f"{missing} not installed: run `make test-data`", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries warn of when they load is theirs
    import tensorflow as tf
    import torch

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10)


def labels(dataset):
    elements = dataset.as_numpy_iterator() if isinstance(dataset, tf.data.Dataset) else dataset
    return [int(y) for _, y in elements]


def tensorflow():
    return tf.data.Dataset.from_tensor_slices((X, Y))


def unknown_size():
    return tensorflow().filter(lambda x, y: y >= 0)


def pytorch():
    return torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))


@pytest.mark.parametrize("make", [tensorflow, unknown_size, pytorch])
def test_split(make):
    dataset = make()
    left, right = split_dataset(dataset, left_size=0.5, right_size=2)
    assert (labels(left), labels(right)) == ([0, 1, 2, 3, 4], [8, 9])
    assert (len(left), len(right)) == (5, 2) if make is not unknown_size else True
    expected = list(range(10))
    random.Random(3).shuffle(expected)
    left, right = split_dataset(dataset, left_size=6, shuffle=True, seed=3)
    assert (len(left), len(right)) == (6, 4)
    for _ in range(2):
        assert (labels(left), labels(right)) == (expected[:6], expected[6:])


@pytest.mark.parametrize(
    ("library", "kind"), [("tensorflow", tf.data.Dataset), ("torch", torch.utils.data.Dataset)]
)
@pytest.mark.parametrize("data", [(X, Y), [X, Y]])
def test_arrays_become_data_sets(library, kind, data):
    left, right = split_dataset(data, left_size=6, preferred_backend=library)
    assert isinstance(left, kind)
    assert (labels(left), labels(right)) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])


def test_names_are_kept_by_tensorflow():
    left, _ = split_dataset({"x": X, "y": Y}, left_size=6, preferred_backend="tensorflow")
    assert [int(e["y"]) for e in left.as_numpy_iterator()] == [0, 1, 2, 3, 4, 5]


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("dataset", "library", "error", "message"),
    [
        (pytorch(), "tensorflow", ArgumentError, "data set of torch"),
        (tensorflow(), "jax", ArgumentError, "data set of tensorflow"),
        ({"x": X}, "torch", ArgumentError, "array or a list or tuple of arrays"),
        (((X, X), Y), "torch", ArgumentError, "array or a list or tuple of arrays"),
        (tensorflow().repeat(), None, DataError, "without end"),
        (Stream(), None, DataError, "no `__len__`"),
    ],
)
def test_refused(dataset, library, error, message):
    with pytest.raises(error, match=message):
        split_dataset(dataset, left_size=0.5, preferred_backend=library)
