"""One row or more for each public regularizer and constraint: the constructor's arguments."""

REGULARIZERS = {
    "L1": [{}, {"l1": 0.3}],
    "L2": [{}, {"l2": 0.3}],
    "L1L2": [{}, {"l1": 0.3, "l2": 0.2}],
    "OrthogonalRegularizer": [{}, {"factor": 0.3, "mode": "columns"}],
}

CONSTRAINTS = {
    "MaxNorm": [{}, {"max_value": 0.5, "axis": [0, 1]}],
    "MinMaxNorm": [{}, {"min_value": 0.5, "max_value": 0.8, "rate": 0.3, "axis": 1}],
    "NonNeg": [{}],
    "UnitNorm": [{}, {"axis": 1}],
}
