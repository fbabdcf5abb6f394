"""Sequences of one length, and data sets cut in two."""

import random

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.errors import ArgumentError, DataError
from lamina.utils import Dataset, pad_sequences, split_dataset

ROWS = [[1], [2, 3], [4, 5, 6], []]
VECTORS = [[[1, 2]], [[3, 4], [5, 6]], []]


@pytest.mark.parametrize("truncating", ["pre", "post"])
@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("maxlen", [None, 1, 2, 5])
@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (ROWS, {}),
        (VECTORS, {"value": 7}),
        (ROWS, {"dtype": "float32", "value": 0.5}),
        ([np.array(r, "int64") for r in ROWS], {"dtype": "int64"}),
        ([[1.7, -1.7], [2.5]], {}),
        ([["a"], ["bb", "c"]], {"dtype": object, "value": "pad"}),
        (np.ones((2, 3)), {"dtype": "uint8"}),
        ([[], []], {}),
    ],
    ids=["ints", "vectors", "floats", "arrays", "cast", "text", "array", "empty"],
)
def test_pad_sequences(rows, options, maxlen, padding, truncating):
    arguments = (rows, maxlen)
    options = {**options, "padding": padding, "truncating": truncating}
    np.testing.assert_array_equal(
        pad_sequences(*arguments, **options),
        keras.utils.pad_sequences(*arguments, **options),
        strict=True,
    )


def test_what_keras_cannot_pad():
    assert pad_sequences([]).shape == (0, 0)
    assert pad_sequences([], maxlen=3).shape == (0, 3)
    assert pad_sequences([[1, 2], [3]], maxlen=0).shape == (2, 0)
    assert pad_sequences(iter([[1], [2, 3]])).tolist() == [[0, 1], [2, 3]]
    text = pad_sequences([["a"], ["bb", "ccc"]], dtype="str", value="pad")
    assert text.dtype == np.dtype("<U3")
    assert text.tolist() == [["pad", "a"], ["bb", "ccc"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequences": 3}, "expects a list of sequences. Received: 3"),
        ({"sequences": [[1], 2]}, "at position 1: 2"),
        ({"sequences": [[[1, 2]], [[1, 2, 3]]]}, r"\(2,\) in sequence 0 and \(3,\) in sequence 1"),
        ({"sequences": [[[1], [1, 2]]]}, "at position 0"),
        ({"sequences": ROWS, "padding": "before"}, "`padding` expects 'pre' or 'post'"),
        ({"sequences": ROWS, "truncating": "x"}, "`truncating` expects"),
        ({"sequences": ROWS, "maxlen": -1}, "`maxlen` expects"),
        ({"sequences": ROWS, "maxlen": 2.0}, "`maxlen` expects"),
        ({"sequences": ROWS, "value": "pad"}, "Pass `dtype=object`"),
        ({"sequences": ROWS, "value": 0.5}, "floating-point `dtype`"),
        ({"sequences": ROWS, "value": 300, "dtype": "uint8"}, "Pass a wider `dtype`"),
        ({"sequences": [[1], [2**40, 5]]}, f"beyond its range: {2**40}"),
        ({"sequences": [[2**70]]}, f"beyond its range: {2**70}"),
        ({"sequences": [[300, -1]], "dtype": "uint8"}, "beyond its range: 300"),
    ],
)
def test_pad_sequences_refuses(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        pad_sequences(**arguments)


# ----------------------------------------------------------------------------------- split_dataset

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10)


@pytest.mark.parametrize(
    ("sizes", "left", "right"),
    [
        ({"left_size": 0.7}, range(7), range(7, 10)),
        ({"left_size": 3}, range(3), range(3, 10)),
        ({"right_size": 0.25}, range(8), range(8, 10)),  # 2.5 rounds to even, as Python does
        ({"right_size": 1}, range(9), range(9, 10)),
        ({"left_size": 0.2, "right_size": 0.3}, range(2), range(7, 10)),
        ({"left_size": np.int64(4), "right_size": np.float32(0.5)}, range(4), range(5, 10)),
    ],
)
def test_sizes(sizes, left, right):
    received = split_dataset(Y, **sizes)
    assert [part.tolist() for part in received] == [list(left), list(right)]
    assert all(np.shares_memory(part, Y) for part in received)


def test_structures_are_kept():
    data = {"x": (X, [Y, jnp.asarray(Y)]), "y": Y.tolist()}
    data["y"] = np.asarray(data["y"])
    left, right = split_dataset(data, left_size=8)
    assert list(left) == ["x", "y"]
    assert isinstance(left["x"], tuple)
    assert isinstance(left["x"][1], list)
    assert isinstance(left["x"][1][1], jnp.ndarray)
    assert (left["x"][0].shape, right["x"][0].shape) == ((8, 2), (2, 2))
    assert right["y"].tolist() == right["x"][1][1].tolist() == [8, 9]


def test_shuffling_keeps_samples_together():
    (x, y), (x_test, y_test) = split_dataset((X, Y), left_size=7, shuffle=True, seed=3)
    expected = list(range(10))
    random.Random(3).shuffle(expected)
    assert [*y, *y_test] == expected != list(range(10))
    np.testing.assert_array_equal(np.concatenate([x, x_test]), X[expected])


def test_shuffling_follows_the_seed_of_the_program():
    def order():
        return split_dataset(Y, left_size=9, shuffle=True)[0].tolist()

    lamina.utils.set_random_seed(5)
    first, second = order(), order()
    lamina.utils.set_random_seed(5)
    assert [order(), order()] == [first, second]
    assert first != second


@pytest.mark.parametrize("shuffle", [False, True])
def test_split_dataset_keeps_parts_of_data_sets_apart(shuffle):
    data = Dataset((X, Y), class_names=["a", "b"]).shuffle(seed=1).batch(2)
    left, right = split_dataset(data, left_size=3, shuffle=shuffle, seed=4)
    assert (len(left), len(right), left.class_names) == (3, len(data) - 3, ["a", "b"])
    for _ in range(2):  # epochs
        parts = [np.concatenate([y for _, y in part]) for part in (left, right)]
        assert sorted(np.concatenate(parts).tolist()) == Y.tolist()
        order = np.concatenate([y for _, y in data.take(3)])
        assert (parts[0].tolist() == order.tolist()) != shuffle


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ArgumentError, "`left_size`, `right_size` or both"),
        ({"left_size": 1.5}, ArgumentError, r"`left_size` expects .* Received: 1\.5"),
        ({"left_size": -1}, ArgumentError, "Received: -1"),
        ({"left_size": True}, ArgumentError, "Received: True"),
        ({"right_size": 11}, ArgumentError, r"number of samples \(10\)"),
        ({"left_size": 6, "right_size": 0.5}, ArgumentError, r"requests 6 \+ 5"),
        ({"left_size": 1.0}, ArgumentError, "gives 10 and 0"),
        ({"left_size": 0.5, "preferred_backend": "theano"}, ArgumentError, "Received: 'theano'"),
        ({"left_size": 0.5, "preferred_backend": "torch"}, ArgumentError, "`import torch`"),
        (
            {"left_size": 0.5, "preferred_backend": "torch", "dataset": Dataset(X)},
            ArgumentError,
            "does not match a data set of Lamina",
        ),
        ({"left_size": 0.5, "dataset": [1, 2, 3]}, DataError, r"a list of \['int'\]"),
        ({"left_size": 0.5, "dataset": object()}, DataError, r"a object of \['object'\]"),
        ({"left_size": 0.5, "dataset": {"a": X, "b": Y[:4]}}, DataError, r"'a': 10, 'b': 4"),
        ({"left_size": 0.5, "dataset": []}, DataError, "a list of"),
    ],
)
def test_split_dataset_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        split_dataset(**{"dataset": Y, **arguments})
