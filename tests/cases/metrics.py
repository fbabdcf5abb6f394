"""One row at least for each public metric: how to make it, and data that suit it."""

from __future__ import annotations

import numpy as np

from tests.cases.losses import (
    Arrays,
    Case,
    binary,
    binary_logits,
    class_logits,
    classes,
    distributions,
    numbers,
    one_hot,
    one_hot_logits,
    positive,
    some_unlabelled,
)


def integers(rng: np.random.Generator) -> Arrays:
    return rng.integers(0, 3, (6, 4)), rng.integers(0, 3, (6, 4))


def partly_ignored(rng: np.random.Generator) -> Arrays:
    y_true, y_pred = integers(rng)
    return np.where(y_true == 0, -1, y_true), y_pred


def pixels(rng: np.random.Generator) -> Arrays:
    return np.eye(3)[rng.integers(0, 3, (6, 4))], rng.uniform(size=(6, 4, 3)).astype("f4")


def labelled_pixels(rng: np.random.Generator) -> Arrays:
    return rng.integers(0, 3, (6, 4)), pixels(rng)[1]


def ranked(rng: np.random.Generator) -> Arrays:
    return rng.integers(0, 4, 6), np.stack([rng.permutation(4) for _ in range(6)])


def single(rng: np.random.Generator) -> Arrays:
    y_true, y_pred = binary(rng)
    return y_true[:, :1], y_pred[:, :1]


def values(rng: np.random.Generator) -> tuple[np.ndarray]:
    """Of the metrics that take values, not targets and predictions."""
    return (numbers(rng)[0],)


WHOLE = (6, 4)

CASES = [
    Case("AUC", binary, values=WHOLE),
    Case("AUC", binary, {"num_thresholds": 6, "curve": "PR"}, values=WHOLE),
    Case("AUC", binary, {"thresholds": (0.2, 0.5, 0.9), "summation_method": "majoring"}),
    Case("AUC", binary, {"curve": "PR", "summation_method": "minoring"}),
    Case("AUC", binary, {"curve": "PRGAIN", "num_thresholds": 20}),
    Case("AUC", binary_logits, {"from_logits": True}),
    Case("AUC", binary, {"multi_label": True}, values=WHOLE),
    Case("AUC", binary, {"multi_label": True, "num_labels": 4, "label_weights": (1, 2, 3, 4)}),
    Case("AUC", binary, {"label_weights": (1.0, 2.0, 3.0, 4.0)}),
    Case("Accuracy", integers, values=WHOLE),
    Case("BinaryAccuracy", binary, values=WHOLE),
    Case("BinaryAccuracy", binary, {"threshold": 0.2}),
    Case("BinaryCrossentropy", binary),
    Case("BinaryCrossentropy", binary_logits, {"from_logits": True, "label_smoothing": 0.1}),
    Case("BinaryIoU", binary, values=WHOLE),
    Case("BinaryIoU", binary, {"target_class_ids": (1,), "threshold": 0.3}),
    Case("CategoricalAccuracy", one_hot),
    Case("CategoricalCrossentropy", one_hot),
    Case("CategoricalCrossentropy", one_hot_logits, {"from_logits": True, "label_smoothing": 0.1}),
    Case("CategoricalHinge", one_hot_logits),
    Case("ConcordanceCorrelation", numbers),
    Case("CosineSimilarity", numbers),
    Case("F1Score", one_hot),
    Case("F1Score", binary, {"threshold": 0.5, "average": "macro"}),
    Case("FBetaScore", binary, {"threshold": 0.5, "average": "weighted", "beta": 2.0}),
    Case("FBetaScore", one_hot, {"average": "micro", "beta": 0.5}),
    Case("FalseNegatives", binary),
    Case("FalsePositives", binary, {"thresholds": [0.2, 0.7]}, values=WHOLE),
    Case("Hinge", binary_logits),
    Case("IoU", integers, {"num_classes": 3, "target_class_ids": (0, 2)}, values=WHOLE),
    Case("IoU", partly_ignored,
         {"num_classes": 3, "target_class_ids": (1,), "ignore_class": -1}, values=WHOLE),
    Case("KLDivergence", distributions),
    Case("LogCoshError", numbers),
    Case("Mean", values, values=WHOLE),
    Case("MeanAbsoluteError", numbers),
    Case("MeanAbsolutePercentageError", numbers),
    Case("MeanIoU", integers, {"num_classes": 4}, values=WHOLE),
    Case("MeanIoU", labelled_pixels, {"num_classes": 3, "sparse_y_pred": False}, values=WHOLE),
    Case("MeanMetricWrapper", numbers, {"fn": "huber", "delta": 0.5}),
    Case("MeanSquaredError", numbers),
    Case("MeanSquaredLogarithmicError", positive),
    Case("OneHotIoU", pixels, {"num_classes": 3, "target_class_ids": (0, 1)}, values=WHOLE),
    Case("OneHotMeanIoU", pixels, {"num_classes": 3}, values=WHOLE),
    Case("PearsonCorrelation", numbers),
    Case("Poisson", positive),
    Case("Precision", binary, values=WHOLE),
    Case("Precision", binary, {"thresholds": [0.8, 0.1, 0.5]}),
    Case("Precision", binary, {"top_k": 2}),
    Case("Precision", binary, {"top_k": 3, "class_id": 1, "thresholds": 0.3}),
    Case("PrecisionAtRecall", binary, {"recall": 0.6}),
    Case("R2Score", numbers, values=WHOLE),
    Case("R2Score", numbers, {"class_aggregation": None}),
    Case("R2Score", numbers,
         {"class_aggregation": "variance_weighted_average", "num_regressors": 2}),
    Case("Recall", binary, values=WHOLE),
    Case("Recall", binary, {"class_id": 2}),
    Case("Recall", binary, {"thresholds": [i / 13 for i in range(1, 13)]}),
    Case("RecallAtPrecision", binary, {"precision": 0.6, "num_thresholds": 20}),
    Case("RootMeanSquaredError", numbers),
    Case("SensitivityAtSpecificity", binary, {"specificity": 0.5, "class_id": 1}),
    Case("SparseCategoricalAccuracy", classes),
    Case("SparseCategoricalCrossentropy", class_logits, {"from_logits": True}),
    Case("SparseCategoricalCrossentropy", some_unlabelled,
         {"from_logits": True, "ignore_class": -1}),
    Case("SparseTopKCategoricalAccuracy", classes, {"k": 2}),
    Case("SparseTopKCategoricalAccuracy", ranked, {"k": 2, "from_sorted_ids": True}),
    Case("SpecificityAtSensitivity", single, {"sensitivity": 0.4, "num_thresholds": 1}),
    Case("SquaredHinge", numbers),
    Case("Sum", values, values=WHOLE),
    Case("TopKCategoricalAccuracy", one_hot, {"k": 2}),
    Case("TrueNegatives", binary),
    Case("TruePositives", binary, {"thresholds": 0.3}),
]  # fmt: skip
