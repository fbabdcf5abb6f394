"""Constraints: projections that are applied to weights after each update."""

from lamina.constraints.projections import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from lamina.serialization.namespaces import accessors

get, serialize, deserialize = accessors("constraints", "constraint", "NonNeg")

# Keras's aliases.
max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm

__all__ = [
    "Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "deserialize", "get", "max_norm",
    "min_max_norm", "non_neg", "serialize", "unit_norm",
]  # fmt: skip
