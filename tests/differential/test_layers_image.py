"""Layers for images against Keras: the same results for the same parameters."""

import keras
import numpy as np
import pytest

from lamina import layers
from lamina.serialization import registry
from tests.cases.layers_image import CASES
from tests.differential.oracle import compare

BY_NAME = {case.name: case for case in CASES}
# What does not depend on random numbers, in training and otherwise.
FIXED = [c for c in CASES if c.name.startswith(("resizing", "center", "auto", "clahe"))]


@pytest.mark.parametrize("case", FIXED, ids=str)
def test_fixed_layers(case):
    if case.inputs[0][1] == "uint8" or "resizing_nearest" in case.name or "clahe" in case.name:
        x = np.random.default_rng(0).integers(0, 256, case.inputs[0][0]).astype(case.inputs[0][1])
        ours = case.cls(**case.kwargs)
        theirs = keras.layers.deserialize(registry.serialize(ours))
        a, b = np.asarray(ours(x)), np.asarray(theirs(x))
        assert a.dtype == b.dtype
        # Keras cuts off the fractions of equalized pixels; here, all are rounded.
        np.testing.assert_allclose(a, b, atol=1 if a.dtype.kind == "u" else 1e-4, rtol=1e-5)
        return
    compare(case)
