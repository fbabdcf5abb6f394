"""Some of the inputs of ``fuzz.py``, always the same."""

from tests.security import fuzz


def test_nothing_escapes():
    totals = fuzz.run(seed=3, count=240)
    assert totals["inputs"] == 240
    assert all(totals[f"of kind {kind}"] == 30 for kind in fuzz.KINDS)
    assert totals["loaded"] > 10
    for what in ("escapes", "hangs", "deaths", "raw errors", "memory"):
        assert not totals[what], f"{what}: see the output"
