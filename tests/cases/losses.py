"""One row at least for each public loss: how to make it, and data that suit it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Case:
    """A class by its public name (in Lamina as in Keras), its arguments, and data for it."""

    name: str
    sample: Callable[[np.random.Generator], Arrays]
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # Shape of what sample weights weigh; None where the loss gives one number for the batch.
    values: tuple[int, ...] | None = (6,)

    def make(self, namespace: Any, **more: Any) -> Any:
        return getattr(namespace, self.name)(**self.kwargs, **more)

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.kwargs.items())])


def numbers(rng: np.random.Generator) -> Arrays:
    return rng.normal(size=(6, 4)).astype("f4"), rng.normal(size=(6, 4)).astype("f4")


def positive(rng: np.random.Generator) -> Arrays:
    y_true, y_pred = numbers(rng)
    return np.abs(y_true) + 0.1, np.abs(y_pred) + 0.1


def binary(rng: np.random.Generator) -> Arrays:
    y_true = rng.integers(0, 2, (6, 4)).astype("f4")
    return y_true, rng.uniform(0.02, 0.98, (6, 4)).astype("f4")


def some_without_region(rng: np.random.Generator) -> Arrays:
    y_true, y_pred = binary(rng)
    y_true[:2], y_pred[0] = 0, 0
    return y_true, y_pred


def binary_logits(rng: np.random.Generator) -> Arrays:
    return binary(rng)[0], 5 * numbers(rng)[1]


def one_hot(rng: np.random.Generator) -> Arrays:
    return np.eye(4, dtype="f4")[rng.integers(0, 4, 6)], distributions(rng)[1]


def one_hot_logits(rng: np.random.Generator) -> Arrays:
    return one_hot(rng)[0], 5 * numbers(rng)[1]


def distributions(rng: np.random.Generator) -> Arrays:
    return tuple(rng.dirichlet(np.ones(4), 6).astype("f4") for _ in range(2))


def classes(rng: np.random.Generator) -> Arrays:
    return rng.integers(0, 4, 6), distributions(rng)[1]


def class_logits(rng: np.random.Generator) -> Arrays:
    return rng.integers(0, 4, 6), 5 * numbers(rng)[1]


def some_unlabelled(rng: np.random.Generator) -> Arrays:
    y_pred = numbers(rng)[1]
    y_pred[1] = np.nan  # whose gradient is 0 all the same
    return np.array([0, -1, 3, 2, -1, 1]), y_pred


def steps(rng: np.random.Generator) -> Arrays:
    y_true, y_pred = rng.normal(size=(2, 6, 3, 4)).astype("f4")
    return y_true, y_pred


def sequences(rng: np.random.Generator) -> Arrays:
    labels = [[1, 2, 2, 0], [3, 0, 0, 0], [4, 1, 3, 2], [1, 0, 0, 0], [0, 0, 0, 0], [2, 3, 0, 0]]
    return np.array(labels), rng.normal(size=(6, 7, 5)).astype("f4")


def metric_learning(rng: np.random.Generator) -> Arrays:
    return np.array([0, 1, 0, 2, 1, 1]), rng.normal(size=(6, 4)).astype("f4")


CASES = [
    Case("BinaryCrossentropy", binary),
    Case("BinaryCrossentropy", binary_logits, {"from_logits": True, "label_smoothing": 0.1}),
    Case("BinaryFocalCrossentropy", binary),
    Case("BinaryFocalCrossentropy", binary_logits,
         {"apply_class_balancing": True, "gamma": 1.5, "from_logits": True}),
    Case("CategoricalCrossentropy", one_hot),
    Case("CategoricalCrossentropy", distributions, {"label_smoothing": 0.2}),
    Case("CategoricalCrossentropy", one_hot_logits, {"from_logits": True}),
    Case("CategoricalFocalCrossentropy", one_hot, {"alpha": (0.1, 0.2, 0.3, 0.4)}),
    Case("CategoricalFocalCrossentropy", one_hot_logits, {"gamma": 3.0, "from_logits": True}),
    Case("CategoricalGeneralizedCrossEntropy", classes, {"q": 0.7}),
    Case("CategoricalHinge", one_hot_logits),
    Case("Circle", metric_learning, {"gamma": 2.0}),
    Case("Circle", metric_learning, {"gamma": 5.0, "margin": 0.2, "remove_diagonal": False}),
    Case("CosineSimilarity", numbers),
    Case("CosineSimilarity", steps, {"axis": 1}, values=(6, 4)),
    Case("CTC", sequences),
    Case("Dice", binary, values=None),
    Case("Dice", some_without_region, {"axis": (1,)}),
    Case("Hinge", binary_logits),
    Case("Huber", numbers),
    Case("Huber", numbers, {"delta": 0.5}),
    Case("KLDivergence", distributions),
    Case("LogCosh", numbers),
    Case("MeanAbsoluteError", numbers),
    Case("MeanAbsolutePercentageError", numbers),
    Case("MeanSquaredError", numbers),
    Case("MeanSquaredError", steps, values=(6, 3)),
    Case("MeanSquaredLogarithmicError", positive),
    Case("Poisson", positive),
    Case("SparseCategoricalCrossentropy", classes),
    Case("SparseCategoricalCrossentropy", class_logits, {"from_logits": True}),
    Case("SparseCategoricalCrossentropy", some_unlabelled,
         {"from_logits": True, "ignore_class": -1}),
    Case("SquaredHinge", numbers),
    Case("Tversky", binary, {"alpha": 0.3, "beta": 0.8}, values=None),
    Case("Tversky", some_without_region, {"axis": 1}),
]  # fmt: skip
