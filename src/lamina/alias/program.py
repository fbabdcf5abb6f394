"""Running a program or a module as ``python`` would, with Keras's name given to Lamina."""

from __future__ import annotations

import atexit
import importlib.machinery
import io
import os
import runpy
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path

from lamina.alias.finder import alias_keras
from lamina.alias.tables import TENSORFLOW

_INTERNAL = ("lamina.alias", "runpy", "importlib._bootstrap")


def run_program(path: str, args: list[str]) -> int:
    """Run a file as ``python path args`` does, and return the exit status.

    ``sys.argv``, ``sys.path``, ``__main__`` and what an exception prints are as there. What the
    program passes to ``sys.exit`` leaves as ``SystemExit``.
    """
    try:
        with io.open_code(str(Path(path).absolute())) as file:
            source = file.read()
    except OSError as e:
        print(f"lamina: cannot open {path!r}: {e.strerror}", file=sys.stderr)  # noqa: T201
        return 2
    full = str(Path(path).absolute())
    main = types.ModuleType("__main__")
    main.__file__ = full
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", full)
    main.__dict__.update(__annotations__={}, __cached__=None)
    sys.modules["__main__"] = main
    sys.argv[:] = [path, *args]
    _set_first_path(str(Path(full).resolve().parent))

    def execute() -> None:
        exec(compile(source, full, "exec", dont_inherit=True), main.__dict__)  # noqa: S102

    return _guarded(execute)


def run_module(name: str, args: list[str]) -> int:
    """Run a module as ``python -m name args`` does, and return the exit status."""
    sys.argv[:] = [name, *args]
    _set_first_path(os.getcwd())

    def execute() -> None:
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    return _guarded(execute)


def _set_first_path(folder: str) -> None:
    """The first entry of ``sys.path`` is the started file's folder: here the program's."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _guarded(execute: Callable[[], None]) -> int:
    interrupted: list[bool] = []
    # Registered first, so that it runs last, after the program's own functions.
    atexit.register(_end_as_interrupted, interrupted)
    alias_keras()
    try:
        execute()
    except SystemExit:
        raise
    except BaseException as e:  # noqa: BLE001  # any exception ends a program
        _explain(e)
        _trim(e)
        interrupted.extend([True] * isinstance(e, KeyboardInterrupt))
        sys.excepthook(type(e), e, e.__traceback__)
        return 1
    return 0


def _end_as_interrupted(interrupted: list[bool]) -> None:
    """End by the signal itself after Ctrl-C, as Python does: shells stop a loop only then."""
    if interrupted and os.name == "posix":
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _explain(e: BaseException) -> None:
    name = e.name if isinstance(e, ModuleNotFoundError) else None
    if name is not None and name.partition(".")[0] in ("tensorflow", "tf_keras"):
        of = "tf_keras" if name.startswith("tf_keras") else "tensorflow.keras"
        e.add_note(TENSORFLOW.format(name=of))


def _trim(e: BaseException) -> None:
    """Remove the frames of this package, and of what runs the program, from tracebacks."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [e]
    while waiting:
        shown = waiting.pop()
        if shown is None or id(shown) in seen:
            continue
        seen.add(id(shown))
        waiting += [shown.__cause__, shown.__context__]
        frames: list[types.TracebackType] = []
        tb = shown.__traceback__
        while tb is not None:
            if not _internal(tb.tb_frame):
                frames.append(tb)
            tb = tb.tb_next
        kept: types.TracebackType | None = None
        for one in reversed(frames):
            kept = types.TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
        shown.__traceback__ = kept


def _internal(frame: types.FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return frame.f_code.co_filename.startswith("<frozen ") or str(name).startswith(_INTERNAL)
