"""The plot of training speed."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.peers import PEERS
from benchmarks.ratios import compare
from benchmarks.report import Found, rows


def plot(found: Found, path: Path) -> None:
    """Plot the training speed of each peer relative to Lamina for each model, with quartiles."""
    table = [row for row in rows(found, "steps_per_s") if row[2].get("lamina")]
    if not table:
        return
    mpl.rcParams["svg.hashsalt"] = "lamina"
    peers = [p for p in PEERS if p != "lamina" and any(p in values for _, _, values in table)]
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.55 * len(table)))
    height = 0.85 / max(1, len(peers))
    for i, peer in enumerate(peers):
        shown = [
            (r + i * height, compare(values.get(peer, []), values["lamina"], True))
            for r, (_, _, values) in enumerate(table)
        ]
        bars = [(place, c) for place, c in shown if c]
        axes.barh(
            [place for place, _ in bars], [c.median for _, c in bars], height * 0.9,
            xerr=[[c.median - c.low for _, c in bars], [c.high - c.median for _, c in bars]],
            error_kw={"linewidth": 0.7}, label=PEERS[peer].title,
        )  # fmt: skip
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks([r + 0.42 for r in range(len(table))], [title for title, _, _ in table])
    axes.invert_yaxis()
    axes.set_xlabel("training speed; Lamina = 1")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
