"""The tables, made from ``results.json`` alone."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.ratios import Comparison, compare, tally
from benchmarks.workloads import CALLS, DEVICES, WORKLOADS

Found = dict[str, Any]
Form = Callable[[float], str]
Row = tuple[str, str, dict[str, list[float]]]  # title, model, values by peer

# measure: heading, format of a value, whether more is better
MEASURES = {
    "steps_per_s": ("Training: steps per second in `fit`, or in a custom loop", "{:.4g}", 1),
    "first_step_s": ("First step of a process: training on one batch, s", "{:.2f}", 0),
    "trace_s": (
        "Building and first step: tracing and lowering, s (as JAX reports it)",
        "{:.2f}",
        0,
    ),
    "compile_s": ("Building and first step: compiling, s (as JAX reports it)", "{:.2f}", 0),
    "second_process_s": (
        "First step of a second process, with cached programs of the first, s",
        "{:.2f}",
        0,
    ),
    "predict_one_ms": ("`predict` of one sample, ms", "{:.3g}", 0),
    "call_one_ms": ("`model(x)` of one sample, ms", "{:.3g}", 0),
    "predict_many_s": ("`predict` of 48,000 samples, s", "{:.3g}", 0),
    "build_s": ("Building the model, s", "{:.3f}", 0),
    "save_s": ("Saving, s", "{:.3f}", 0),
    "load_s": ("Loading, s", "{:.3f}", 0),
    "images_per_s": ("Images per second: decoded, resized, flipped, rotated, cropped", "{:.0f}", 1),
    "step_ms": ("Step of a model of these images, batch of 32 in memory, ms", "{:.3g}", 0),
    "waiting_ms": ("What it waits for a batch from the folder, ms", "{:.3g}", 0),
    "adapt_tokens_per_s": ("Tokens per second: `adapt`", "{:,.0f}", 1),
    "call_tokens_per_s": ("Tokens per second: calls with 1,000 texts", "{:,.0f}", 1),
    "peak_mb": ("Peak memory of training, MB", "{:.0f}", 0),
    "import_s": ("Import, s", "{:.2f}", 0),
}
_README = {
    "lamina": "Lamina", "keras-jax": "Keras 3: JAX", "keras-tensorflow": "TensorFlow",
    "keras-torch": "PyTorch", "torch": "plain PyTorch", "nnx": "Flax NNX", "jax": "JAX by hand",
}  # fmt: skip
BEGIN = "<!-- speed: written by benchmarks/report.py from benchmarks/results.json -->"
END = "<!-- speed: end -->"


def rows(found: Found, measure: str) -> Iterator[Row]:
    """The rows of a measure's table."""
    if measure == "import_s":  # independent of the model: all processes are samples
        merged: dict[str, list[float]] = {}
        for peers in found["values"].values():
            for peer, values in peers.items():
                if values.get(measure):
                    merged.setdefault(peer, []).extend(values[measure])
        if merged:
            yield "all", "", merged
        return
    for model, peers in found["values"].items():
        values = {peer: v[measure] for peer, v in peers.items() if v.get(measure)}
        if values:
            yield WORKLOADS[model].title, model, values


def _call_rows(found: Found) -> Iterator[Row]:
    for model, peers in found["values"].items():
        if WORKLOADS[model].kind != "calls":
            continue
        for call, text in CALLS.items():
            values = {peer: v[call] for peer, v in peers.items() if v.get(call)}
            if values:
                yield f"{WORKLOADS[model].title}: {text}", model, values


def _device_rows(found: Found) -> Iterator[Row]:
    peers = found["values"].get("devices", {})
    for name, (text, _) in DEVICES.items():
        values = {peer: v[name] for peer, v in peers.items() if v.get(name)}
        if values:
            yield text, "devices", values


def _against(values: dict[str, list[float]], peer: str, more: int) -> Comparison | None:
    if peer == "lamina" or not values.get(peer):
        return None
    return compare(values.get("lamina", []), values[peer], bool(more))


def in_words(comparison: Comparison | None, quartiles: bool = True) -> str:
    """A verdict for a table, in the same form for wins and losses."""
    if comparison is None or comparison.verdict == "too few":
        return ""
    if comparison.verdict == "equal" and not quartiles:
        return " (equal)"
    number = "" if comparison.verdict == "equal" else f" {_times(comparison.median)}"
    spread = f"; {_times(comparison.low)}-{_times(comparison.high)}" if quartiles else ""
    return f" ({comparison.verdict}{number}{spread})"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _cells(
    row: Row, peers: list[str], found: Found, form: Form, more: int, quartiles: bool
) -> Iterator[str]:
    _, model, values = row
    for peer in peers:
        if not values.get(peer):
            yield "failed" if peer in found["failures"].get(model, {}) else "-"
            continue
        comparison = _against(values, peer, more)
        yield form(statistics.median(values[peer])) + in_words(comparison, quartiles)


def _table(
    found: Found, table: list[Row], form: Form, more: int,
    titles: dict[str, str] | None = None, quartiles: bool = True,
) -> Iterator[str]:  # fmt: skip
    """A Markdown table, and how often Lamina is ahead, equal and behind in it."""
    titles = titles or {name: peer.title for name, peer in PEERS.items()}
    peers = [p for p in titles if any(values.get(p) for _, _, values in table)]
    yield "| | " + " | ".join(titles[p] for p in peers) + " |"
    yield "|---" * (len(peers) + 1) + "|"
    for row in table:
        cells = _cells(row, peers, found, form, more, quartiles)
        yield f"| {row[0]} | " + " | ".join(cells) + " |"
    comparisons = [_against(values, peer, more) for _, _, values in table for peer in peers]
    if compared := [c for c in comparisons if c]:
        yield ""
        yield f"Lamina: {tally(compared)}."


def _conditions(found: Found) -> str:
    """The conditions of the measurements, and how quiet the machine was."""
    quiet = found.get("quiet")
    seen = (
        f"The load average before was {quiet['load']:.2f}; {quiet['disturbed']} of "
        f"{quiet['measurements']} measurements were disturbed and "
        f"{'repeated' if quiet['repeated'] else 'KEPT'}. "
        f"The fixed cost of a training call is at most {quiet['fixed_share']:.1%} of what is "
        "measured as steps per second."
        if quiet else
        f"The load average before was {found['machine'].get('load before', 'not read')}; other "
        "load during the run was not recorded."
    )  # fmt: skip
    return (
        f"{found['rounds']} rounds of about {found['seconds']} s per measurement, all in turn; "
        f"medians. {seen}"
    )


def markdown(found: Found) -> str:
    """All tables."""
    machine = ", ".join(f"{k}: {v}" for k, v in found["machine"].items())
    versions = "; ".join(
        f"{PEERS[peer].title}: {', '.join(f'{n} {v}' for n, v in own.items())}"
        for peer, own in found["versions"].items()
    )
    made = f"Made by `make bench` on {found['date']} in {found['minutes']} minutes."
    lines = [
        f"""# Benchmarks

{_wrapped(f"{made} {_conditions(found)}")}

In brackets: the factor by which Lamina is better (ahead: above 1; behind: below 1), as the median
of the ratios within rounds, and their quartiles. "Equal": the quartiles do not exclude 1, or the
median differs from 1 by less than 2 %. Without brackets: fewer than three rounds. Architectures,
data, losses, optimizers and float32 are the same for all, and all computed the same outputs for the
same weights.

{_wrapped(machine)}.

{_wrapped(versions)}.
"""
    ]
    if found["failures"]:
        lines += ["## Not measured", ""]
        lines += [
            f"- {PEERS[peer].title}, {WORKLOADS[model].title}: {reason}"
            for model, peers in found["failures"].items()
            for peer, reason in peers.items()
        ]
        lines.append("")
    tables = [(heading, form, more, list(rows(found, measure)))
              for measure, (heading, form, more) in MEASURES.items()]  # fmt: skip
    tables.insert(1, ("Time per call, ms", "{:.3g}", 0, list(_call_rows(found))))
    tables.insert(2, ("Several devices", "{:.3g}", 0, list(_device_rows(found))))
    for heading, form, more, table in tables:
        if table:
            lines += [f"## {heading}", "", *_table(found, table, form.format, more), ""]
    return "\n".join(lines)


def readme(found: Found) -> str:
    """The part of ``README.md`` between the two marks."""
    intro = (
        f"Training steps per second, measured by `make bench` on {found['machine']['processor']}. "
        f"{_conditions(found)} In brackets: how many times faster Lamina is (below 1: slower); "
        "equal: the quartiles of the rounds' ratios do not exclude 1, or it is less than 2 %. "
        "All other results are in "
        "`benchmarks/RESULTS.md`."
    )
    speeds = list(rows(found, "steps_per_s"))
    lines = [BEGIN, "", _wrapped(intro), ""]
    lines += _table(found, speeds, _rate, 1, _README, quartiles=False)
    if calls := list(_call_rows(found)):
        lines += ["", "Time per call, in ms:", ""]
        lines += _table(found, calls, "{:.3g}".format, 0, _README, quartiles=False)
    return "\n".join([*lines, "", END])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_on_hyphens=False)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def put_into(path: Path, part: str) -> None:
    """Replace the text between the two marks in a file.

    Raises:
        ValueError: The file lacks the marks.
    """
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path.name} lacks the lines {BEGIN!r} and {END!r}")
    path.write_text(before + part + after)
