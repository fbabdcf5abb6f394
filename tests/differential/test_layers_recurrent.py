import pytest

from tests.cases.layers_recurrent import CASES
from tests.differential.spread import compare


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_keras(case):
    compare(case)
