"""The tables say what the figures say, wins and losses alike."""

import json
from pathlib import Path

import pytest

from benchmarks import against, report
from benchmarks.peers import ROOT
from benchmarks.workloads import CALLS, WORKLOADS

FOUND = {
    "date": "2030-01-01",
    "machine": {"processor": "a processor, 2 cores"},
    "minutes": 1.0,
    "rounds": 3,
    "seconds": 0.5,
    "quiet": {
        "load": 0.1, "measurements": 40, "disturbed": 2, "repeated": True, "fixed_share": 0.013,
        "recordable": True,
    },
    "versions": {"lamina": {"lamina": "1"}, "torch": {"torch": "2"}},
    "failures": {"gru": {"keras-jax": "it broke"}},
    "values": {
        "mlp": {
            "lamina": {"steps_per_s": [2000.0, 2200.0, 2100.0], "peak_mb": [400.0]},
            "torch": {"steps_per_s": [1000.0, 1100.0, 1050.0], "peak_mb": [200.0]},
            "jax": {"steps_per_s": [4000.0, 4400.0, 4200.0]},
            "nnx": {"steps_per_s": [1900.0, 2300.0, 2150.0]},
        },
        "gru": {"lamina": {"steps_per_s": [10.0, 10.0, 10.0]}},
        "mlp2": {
            "lamina": {"predict": [0.2, 0.2, 0.2], "fit_fixed": [2.0, 2.0, 2.0]},
            "torch": {"predict": [0.1, 0.1, 0.1], "fit_fixed": [0.01, 0.01, 0.02]},
        },
    },
}  # fmt: skip


def line(text, start):
    (found,) = (row for row in text.splitlines() if row.startswith(f"| {start} |"))
    return [cell.strip() for cell in found.strip("|").split("|")][1:]


def test_the_readme_shows_wins_losses_and_neither_in_one_form():
    text = report.readme(FOUND)
    assert line(text, "MLP 784-64-64-10") == [
        "2,100", "1,050 (ahead 2.00)", "2,150 (equal)", "4,200 (behind 0.50)",
    ]  # fmt: skip
    assert line(text, "GRU, 80 tokens") == ["10", "-", "-", "-"]
    assert "Lamina: ahead 1, equal 1, behind 1." in text
    assert "Lamina: ahead 0, equal 0, behind 2." in text  # the calls
    assert "2 of 40 measurements were disturbed and repeated" in " ".join(text.split())


def test_the_long_form_has_quartiles():
    text = report.markdown(FOUND)
    assert "1050 (ahead 2.00; 2.00-2.00)" in text
    assert "2150 (equal; 0.97-1.01)" in text
    assert "4200 (behind 0.50; 0.50-0.50)" in text
    assert "- Keras, JAX, GRU, 80 tokens: it broke" in text


def test_one_value_alone_is_given_without_a_ratio():
    assert line(report.markdown(FOUND).partition("Peak memory")[2], "MLP 784-64-64-10")[:2] == [
        "400", "200",
    ]  # fmt: skip


def test_a_measure_that_nobody_has_gets_no_table():
    assert "## Import" not in report.markdown(FOUND)
    assert CALLS["gan"] not in report.markdown(FOUND)


def test_a_loss_in_the_fixed_cost_is_shown():
    title = f"2 Dense layers of 64: {CALLS['fit_fixed']}"
    assert line(report.markdown(FOUND), title) == ["2", "0.01 (behind 0.01; 0.01-0.01)"]


def test_figures_of_a_noisy_run_say_so():
    noisy = FOUND | {"quiet": FOUND["quiet"] | {"repeated": False}}
    assert "were disturbed and KEPT" in report.markdown(noisy)


def test_the_recorded_tables_are_those_of_the_recorded_figures():
    folder = ROOT / "benchmarks"
    found = json.loads((folder / "results.json").read_text())
    assert (folder / "RESULTS.md").read_text() == report.markdown(found)
    assert report.readme(found) in (ROOT / "README.md").read_text()


def test_only_what_is_between_the_marks_is_replaced(tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.put_into(path, f"{report.BEGIN}\nnew\n{report.END}")
    assert path.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    path.write_text("no marks")
    with pytest.raises(ValueError, match="lacks"):
        report.put_into(path, "new")


def test_two_commits_side_by_side():
    values = {"now": {"steps_per_s": [30.0, 33.0, 36.0]}, "then": {"steps_per_s": [20, 22, 24]}}
    found = FOUND | {"values": {"mlp": values}, "failures": {"gru": {"then": "no GRU"}}}
    text = against.table(found, "abc123")
    assert "| 22 | 33 | 1.500 | 1.500-1.500 | ahead |" in text
    assert "then: no GRU" in text
    assert "Now: ahead 1, equal 0, behind 0." in text


def test_each_workload_of_calls_has_its_layers():
    assert {w.depth for w in WORKLOADS.values() if w.kind == "calls"} == {2, 30}
