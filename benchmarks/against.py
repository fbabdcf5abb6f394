"""Comparison of two commits of this repository on the same workloads."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers import PEERS, ROOT, Peer
from benchmarks.ratios import compare, tally
from benchmarks.report import MEASURES, Found
from benchmarks.workloads import CALLS, DEVICES, WORKLOADS

NOW, THEN = "now", "then"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def contestants(rev: str) -> Iterator[dict[str, Peer]]:
    """Lamina in this checkout and at the given commit, which is checked out temporarily.

    Both run the workloads of this checkout with the packages of this Python.
    """
    name = _git("describe", "--always", f"{_git('rev-parse', '--verify', f'{rev}^{{commit}}')}")
    now = PEERS["lamina"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve() / "then"
        _git("worktree", "add", "--detach", str(tree), rev)
        try:
            for source in (now.source, tree / "src"):  # so that neither has to compile on import
                subprocess.run([sys.executable, "-m", "compileall", "-q", str(source)], check=True)
            yield {
                NOW: dataclasses.replace(now, title="this checkout"),
                THEN: dataclasses.replace(now, title=f"{rev} ({name})", source=tree / "src"),
            }
        finally:
            _git("worktree", "remove", "--force", str(tree))


def table(found: Found, then: str) -> str:
    """A table of what has become faster or slower, by paired ratios."""
    lines = [
        f"| | {then} | now | times better now | quartiles | |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    measures = MEASURES | {call: (f"{text}, ms", "{:.3g}", 0) for call, text in CALLS.items()}
    measures |= {name: (text, "{:.3g}", more) for name, (text, more) in DEVICES.items()}
    comparisons = []
    for model, values in found["values"].items():
        for measure, (heading, form, more) in measures.items():
            ours, theirs = (values.get(n, {}).get(measure, []) for n in (NOW, THEN))
            comparison = compare(ours, theirs, bool(more))
            if comparison is None:
                continue
            comparisons.append(comparison)
            medians = (form.format(statistics.median(v)) for v in (theirs, ours))
            lines.append(
                f"| {WORKLOADS[model].title}: {heading} | {' | '.join(medians)} | "
                f"{comparison.median:.3f} | {comparison.low:.3f}-{comparison.high:.3f} | "
                f"{comparison.verdict} |"
            )
    for model, failures in found["failures"].items():
        lines += [f"| {WORKLOADS[model].title} | {n}: {why} | | | |" for n, why in failures.items()]
    return "\n".join([*lines, "", f"Now: {tally(comparisons)}."])
