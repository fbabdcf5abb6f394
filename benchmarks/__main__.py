"""The command line: measure, write ``results.json``, and from it ``RESULTS.md`` and a plot."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.peers import PEERS
from benchmarks.rounds import Results, machine, measure
from benchmarks.workloads import WORKLOADS


def _names(known: dict[str, Any]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [n for n in names if n not in known]:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}"
            )
        return names

    return read


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and memory of Lamina beside its peers, interleaved. Environments of the "
        "peers are made on first use, in .bench/.",
    )
    parser.add_argument("--models", type=_names(WORKLOADS), default=list(WORKLOADS),
                        metavar="A,B", help=f"of: {', '.join(WORKLOADS)}")  # fmt: skip
    parser.add_argument("--peers", type=_names(PEERS), default=list(PEERS),
                        metavar="A,B", help=f"of: {', '.join(PEERS)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="repetitions (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.6,
                        help="length of one repetition (default: 0.6)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path(__file__).parent,
                        help="folder of results.json, RESULTS.md and results.svg")  # fmt: skip
    options = parser.parse_args()
    results, began, text = Results(), time.perf_counter(), ""
    load = os.getloadavg()[0]
    for model in options.models:
        print(f"{time.perf_counter() - began:5.0f} s  {WORKLOADS[model].title}", file=sys.stderr)
        measure(model, options.peers, options.rounds, options.seconds, results)
        # After each model: a run that is stopped keeps what it has.
        text = _write(options, results, load, (time.perf_counter() - began) / 60)
    print(text)


def _write(options: argparse.Namespace, results: Results, load: float, minutes: float) -> str:
    found = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {**dict(machine()), "load before": f"{load:.1f}"},
        "minutes": round(minutes, 1),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "versions": results.versions,
        "failures": results.failures,
        "values": results.values,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    text = report.markdown(found)
    (options.out / "RESULTS.md").write_text(text)
    report.plot(found, options.out / "results.svg")
    return text


if __name__ == "__main__":
    main()
