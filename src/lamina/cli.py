"""The command ``lamina``, also ``python -m lamina``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import lamina
from lamina.alias.program import run_module, run_program
from lamina.runtime.launch import launch

_HELP = """\
usage: lamina run program.py [arguments]
       lamina run -m module [arguments]
       lamina launch --processes N [--devices-per-process M] [--restarts R] program.py [arguments]
       lamina inspect FILE
       lamina convert OLD NEW
       lamina --version

`run` starts a program that says `import keras` with Lamina in Keras's place, unchanged, whether
Keras is installed or not. In a notebook, say `import lamina; lamina.alias_keras()` first.

`launch` starts a program in N processes on this machine, which `lamina.distribution.initialize()`
connects; M is the number of CPU devices of each. If one fails, all are ended, and started again up
to R times.
`inspect` shows what a file of a model or of weights contains, without building or executing it.
`convert` loads the model of OLD, of any version of Keras, and saves it as NEW (`.keras`).
"""

_COUNTS = {"--processes": 1, "--devices-per-process": 1, "--restarts": 0}


def main(argv: list[str] | None = None) -> int:
    """Run the command, and return its exit status.

    Args:
        argv: the arguments after the command's name; those of the process when None.
    """
    args = sys.argv[1:] if argv is None else argv
    match args:
        case [] | ["-h" | "--help", *_] | ["run", "-h" | "--help", *_]:
            print(_HELP, end="")
        case ["--version", *_]:
            print(f"lamina {lamina.__version__}")
        case ["run", "-m", module, *rest]:
            return run_module(module, rest)
        case ["run", program, *rest] if not program.startswith("-"):
            return run_program(program, rest)
        case ["launch", *rest] if (call := _launch_call(rest)) is not None:
            return launch(*call)
        case ["inspect", file] if not file.startswith("-"):
            return _reporting(lambda: print(lamina.inspect(file)))
        case ["convert", old, new] if not old.startswith("-"):
            return _reporting(lambda: lamina.saving.load_model(old).save(new))
        case _:
            print(f"lamina: cannot read the arguments {' '.join(args)!r}.\n", file=sys.stderr)
            print(_HELP, end="", file=sys.stderr)
            return 2
    return 0


def _launch_call(args: list[str]) -> tuple[Any, ...] | None:
    """The arguments of :func:`launch`; None if they cannot be read."""
    counts: dict[str, int] = {}
    while len(args) > 1 and args[0] in _COUNTS:
        name, value = args[0], args[1]
        if not value.isdecimal() or int(value) < _COUNTS[name]:
            return None
        counts[name], args = int(value), args[2:]
    if not args or args[0].startswith("-") or "--processes" not in counts:
        return None
    return (
        args[0], args[1:], counts["--processes"], counts.get("--devices-per-process"),
        counts.get("--restarts", 0),
    )  # fmt: skip


def _reporting(action: Callable[[], Any]) -> int:
    """Exit status of an action; an error of the library or the system is told without traceback."""
    try:
        action()
    except (lamina.errors.LaminaError, OSError) as e:
        print(f"lamina: {e}", file=sys.stderr)
        return 1
    return 0
