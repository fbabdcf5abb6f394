"""The tables and the plot, made from ``results.json`` alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.peers import PEERS
from benchmarks.workloads import WORKLOADS

Found = dict[str, Any]

# measure: heading, format of a value, whether more is better
MEASURES = {
    "steps_per_s": ("Training: steps per second in `fit`, or in the loop one writes", "{:.4g}", 1),
    "first_step_s": ("First step of a process: training on one batch, s", "{:.2f}", 0),
    "trace_s": (
        "Building and first step: tracing and lowering, s (as JAX reports it)",
        "{:.2f}",
        0,
    ),
    "compile_s": ("Building and first step: compiling, s (as JAX reports it)", "{:.2f}", 0),
    "second_process_s": (
        "First step of a second process, which finds what the first has compiled, s",
        "{:.2f}",
        0,
    ),
    "predict_one_ms": ("`predict` of one sample, ms", "{:.3g}", 0),
    "call_one_ms": ("`model(x)` of one sample, ms", "{:.3g}", 0),
    "predict_many_s": ("`predict` of 48,000 samples, s", "{:.3g}", 0),
    "build_s": ("Building the model, s", "{:.3f}", 0),
    "save_s": ("Saving, s", "{:.3f}", 0),
    "load_s": ("Loading, s", "{:.3f}", 0),
    "peak_mb": ("Peak memory of training, MB", "{:.0f}", 0),
    "import_s": ("Import, s", "{:.2f}", 0),
}


def _ratio(ours: list[float], theirs: list[float], more: int) -> float | None:
    """How many times better Lamina is: the median over the rounds, each of which shares a load."""
    ratios = [
        a / b if more else b / a for a, b in zip(ours, theirs, strict=False) if a > 0 and b > 0
    ]
    return statistics.median(ratios) if ratios else None


def _rows(found: Found, measure: str) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Title and values by peer, for each model that has the measure."""
    if measure == "import_s":  # the same whatever is built afterwards: all processes are samples
        merged: dict[str, list[float]] = {}
        for peers in found["values"].values():
            for peer, values in peers.items():
                merged.setdefault(peer, []).extend(values.get(measure, []))
        yield "all", merged
        return
    for model, peers in found["values"].items():
        values = {peer: v[measure] for peer, v in peers.items() if v.get(measure)}
        if values:
            yield model, values


def _table(found: Found, measure: str) -> Iterator[str]:
    heading, form, more = MEASURES[measure]
    rows = list(_rows(found, measure))
    peers = [p for p in PEERS if any(values.get(p) for _, values in rows)]
    if not peers:
        return
    yield f"## {heading}"
    yield ""
    yield "| | " + " | ".join(PEERS[p].title for p in peers) + " |"
    yield "|---" * (len(peers) + 1) + "|"
    for model, values in rows:
        cells = []
        for peer in peers:
            if not values.get(peer):
                cells.append("failed" if peer in found["failures"].get(model, {}) else "")
                continue
            cell = form.format(statistics.median(values[peer]))
            ratio = _ratio(values.get("lamina", []), values[peer], more)
            if peer != "lamina" and ratio is not None:
                cell += f" ({ratio:.2f}x)"
            cells.append(cell)
        title = WORKLOADS[model].title if model in WORKLOADS else model
        yield f"| {title} | " + " | ".join(cells) + " |"
    yield ""


def markdown(found: Found) -> str:
    """All tables."""
    machine = ", ".join(f"{k}: {v}" for k, v in found["machine"].items())
    versions = "; ".join(
        f"{PEERS[peer].title}: {', '.join(f'{n} {v}' for n, v in own.items())}"
        for peer, own in found["versions"].items()
    )
    lines = [
        f"""# Benchmarks

Made by `make bench` on {found["date"]} in {found["minutes"]} minutes: {found["rounds"]} rounds of
about {found["seconds"]} s per measurement, all peers in turn; medians. In brackets: how many times
better Lamina is (above 1: Lamina is better), the median over the rounds. Sizes, data, losses,
optimizers and float32 are the same for all, and for the same weights all gave the same outputs.

{machine}.

{versions}.
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
    for measure in MEASURES:
        lines += _table(found, measure)
    return "\n".join(lines)


def plot(found: Found, path: Path) -> None:
    """Training speed of each peer, relative to Lamina's, model by model."""
    rows = [(m, v) for m, v in _rows(found, "steps_per_s") if v.get("lamina")]
    if not rows:
        return
    mpl.rcParams["svg.hashsalt"] = "lamina"
    peers = [p for p in PEERS if p != "lamina" and any(p in v for _, v in rows)]
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.55 * len(rows)))
    height = 0.85 / max(1, len(peers))
    for i, peer in enumerate(peers):
        ratios = [_ratio(v["lamina"], v.get(peer, []), 1) for _, v in rows]
        shown = [(r + i * height, 1 / ratio) for r, ratio in enumerate(ratios) if ratio]
        axes.barh(
            [place for place, _ in shown], [speed for _, speed in shown], height * 0.9,
            label=PEERS[peer].title,
        )  # fmt: skip
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks([r + 0.42 for r in range(len(rows))], [WORKLOADS[m].title for m, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("training speed; Lamina = 1")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
