import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ShapeError
from tests.cases.layers_preprocessing import CASES
from tests.differential.oracle import compare


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_keras(case):
    compare(case)


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize("argument", ["scale", "offset"])
def test_another_number_of_channels(argument, symbolic):
    layer = layers.Rescaling(**{"scale": 1.0, argument: [1.0, 2.0]}, name="culprit")
    x = lamina.Input((4, 3)) if symbolic else np.ones((2, 4, 3), "float32")
    received = r"\(batch, 4, 3\)" if symbolic else r"\(2, 4, 3\)"
    with pytest.raises(ShapeError, match=rf"culprit[\s\S]*\(2,\)[\s\S]*{received}"):
        layer(x)


def test_arrays_survive_a_file():
    layer = layers.Rescaling(np.array([1.0, 2.0]))
    again = lamina.serialization.registry.deserialize(
        lamina.serialization.registry.serialize(layer)
    )
    x = np.ones((3, 2), "float32")
    np.testing.assert_array_equal(again(x), layer(x))
