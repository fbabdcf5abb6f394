"""The command line: measure and, if the machine was quiet, record ``results.json``, from which
``RESULTS.md``, a plot and the table in ``README.md`` are generated.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import against, plot, report
from benchmarks.peers import PEERS, ROOT, Peer, SetupError, python_of
from benchmarks.quiet import NoisyError, Watch, load_average, wait
from benchmarks.rounds import Bench, Settings, machine
from benchmarks.workloads import WORKLOADS

FULL = Settings(rounds=7, processes=1, cold=3, seconds=0.6, share=0.02)
QUICK = Settings(rounds=5, processes=1, cold=0, seconds=0.4, share=0.04)
AGAINST = {"rounds": 12, "processes": 4, "cold": 4}
QUICK_MODELS = ("mlp", "conv1d", "mlp2", "mlp30")
QUICK_PEERS = ("lamina", "keras-jax", "keras-tensorflow", "keras-torch", "torch", "nnx")


def _names(known: dict[str, Any]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [n for n in names if n not in known]:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}"
            )
        return names

    return read


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare speed and memory of Lamina with its peers on a quiet machine. "
        "The environments of the peers are created on first use in .bench/.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help=f"about six minutes: {', '.join(QUICK_MODELS)}")
    add("--noisy", action="store_true",
        help="measure even if the machine is not quiet; print figures, record nothing")  # fmt: skip
    add("--against", metavar="REV",
        help="compare with that commit of this repository instead, by default in "
        f"{AGAINST['processes']} processes of each; records nothing")  # fmt: skip
    add("--models", type=_names(WORKLOADS), metavar="A,B", help=f"of: {', '.join(WORKLOADS)}")
    add("--peers", type=_names(PEERS), metavar="A,B", help=f"of: {', '.join(PEERS)}")
    for field in dataclasses.fields(Settings):
        kind = int if field.type == "int" else float
        full, quick = getattr(FULL, field.name), getattr(QUICK, field.name)
        add(f"--{field.name}", type=kind, help=f"{_HELP[field.name]} ({full}; quick: {quick})")
    add("--patience", type=float, default=900.0,
        help="maximum number of seconds to wait for a low load average (default: 900)")  # fmt: skip
    add("--out", type=Path, default=Path(__file__).parent,
        help="folder of results.json, RESULTS.md and results.svg; README.md is changed as well "
        "unless it is given")  # fmt: skip
    add("--report", action="store_true", help="only regenerate the tables from results.json")
    return parser.parse_args()


_HELP = {
    "rounds": "number of measurements of each",
    "processes": "number of processes of each among which these are divided",
    "cold": "number of new processes that import, build and take a first step",
    "seconds": "length of a measurement of training",
    "share": "maximum fraction of it for the fixed cost of a training call",
}


def main() -> None:
    """Run the command line; the exit status is 1 if nothing can be recorded."""
    options = _options()
    # So that processes and the checkout of the other commit are removed in this case too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended."))
    if options.report:
        _write(json.loads((options.out / "results.json").read_text()), options.out)
        return
    base = QUICK if options.quick else FULL
    given = {n: v for n in _HELP if (v := getattr(options, n)) is not None}
    settings = dataclasses.replace(base, **((AGAINST if options.against else {}) | given))
    models = options.models or list(QUICK_MODELS if options.quick else WORKLOADS)
    if options.against:
        with against.contestants(options.against) as contestants:
            found = _run(options, settings, models, contestants, alike=True)
            mark = "" if found["quiet"]["recordable"] else "\n" + _mark(options)
            print(against.table(found, contestants[against.THEN].title) + mark)
        return
    names = options.peers or list(QUICK_PEERS if options.quick else PEERS)
    found = _run(options, settings, models, {name: PEERS[name] for name in names})
    text = report.markdown(found)
    if found["quiet"]["recordable"]:
        print(text)
        _write(found, options.out)
        return
    print(f"{_mark(options)}\n\n{text}\n{_mark(options)} Nothing was written.")
    if not options.noisy:
        sys.exit(1)


def _mark(options: argparse.Namespace) -> str:
    return f"NOT RECORDABLE: {'--noisy was given' if options.noisy else 'the machine is noisy'}."


def _run(
    options: argparse.Namespace,
    settings: Settings,
    models: list[str],
    peers: dict[str, Peer],
    alike: bool = False,
) -> report.Found:
    watch = Watch(keep=options.noisy)
    bench = Bench(peers, settings, watch, alike)
    for name, peer in list(peers.items()):
        try:
            python_of(peer)  # makes its environment
        except (SetupError, OSError) as e:
            for model in models:
                bench.results.fail(model, name, str(e))
            del bench.contestants[name]
    try:
        load = load_average() if options.noisy else wait(options.patience)
    except NoisyError as e:
        sys.exit(str(e))
    began = time.perf_counter()
    complete = True
    try:
        for model in models:
            seconds = time.perf_counter() - began
            print(f"{seconds:5.0f} s  {WORKLOADS[model].title}", file=sys.stderr)
            bench.measure(model)
    except NoisyError as e:
        print(f"Given up: {e}", file=sys.stderr)
        complete = False
    print(watch.summary(), file=sys.stderr)
    results = bench.results
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(),
        "minutes": round((time.perf_counter() - began) / 60, 1),
        **dataclasses.asdict(settings),
        "quiet": {
            "load": load, "measurements": watch.measurements, "disturbed": watch.disturbed,
            "repeated": not watch.keep,
            "fixed_share": results.fixed_share, "recordable": complete and watch.recordable,
        },
        "versions": results.versions,
        "failures": results.failures,
        "values": results.values,
    }  # fmt: skip


def _write(found: report.Found, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "RESULTS.md").write_text(report.markdown(found))
    plot.plot(found, out / "results.svg")
    if out == Path(__file__).parent:
        report.put_into(ROOT / "README.md", report.readme(found))


if __name__ == "__main__":
    main()
