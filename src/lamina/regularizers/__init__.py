"""Regularizers: penalties on weights or activations that are added to the loss."""

from lamina.regularizers.penalties import L1, L1L2, L2, OrthogonalRegularizer, Regularizer
from lamina.serialization.namespaces import accessors

get, serialize, deserialize = accessors("regularizers", "regularizer", "L2")

# Keras's aliases.
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer

__all__ = [
    "L1", "L1L2", "L2", "OrthogonalRegularizer", "Regularizer", "deserialize", "get", "l1",
    "l1_l2", "l2", "orthogonal_regularizer", "serialize",
]  # fmt: skip
