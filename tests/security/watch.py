"""What a load did: its error, the events that Python audits, its time and its memory."""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

# Events that no load may cause, whatever the file says.
FORBIDDEN = (
    "pickle.find_class", "os.mkdir", "os.link", "os.symlink", "os.rename", "os.remove", "os.rmdir",
    "os.truncate", "os.chmod", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.startfile",
    "shutil.", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostby",
    "socket.send", "subprocess.", "ctypes.dlopen",
    "urllib.", "tempfile.", "webbrowser.", "http.", "ftplib.", "sqlite3.",
)  # fmt: skip
# Those with a path, which a training may cause in the folder of its checkpoints.
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")
# Where the interpreter itself reads: modules, and the sources that tracebacks show.
_OWN = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "/proc/", "/dev/", "/etc/",
        "/sys/", "<")  # fmt: skip
_events: list[str] | None = None


def _note(event: str, args: tuple) -> None:
    if _events is None:
        return
    if event == "open":
        name, mode = args[0], args[1]
        if isinstance(name, int):
            return
        _events.append(f"open {os.fsdecode(name)} {mode or ''}")
    elif event == "import":
        _events.append(f"import {args[0]}")
    elif event.startswith(FORBIDDEN) and args != (None,):  # "ctypes.dlopen" of the program itself
        _events.append(f"{event} {_target(args)} w" if event.startswith(CHANGES) else event)


def _target(args: tuple) -> str:
    """The path of what an event changes."""
    if isinstance(args[0], int):
        return os.readlink(f"/proc/self/fd/{args[0]}")
    at = args[-1] if isinstance(args[-1], int) and args[-1] >= 0 else None
    folder = "" if at is None else os.readlink(f"/proc/self/fd/{at}")
    return os.path.join(folder, os.fsdecode(args[0]))


def install() -> None:
    sys.addaudithook(_note)


def escapes(events: list[str], allowed: str, may_write: bool = False) -> list[str]:
    """The events that a load of ``allowed``, a file or a folder of files, must not cause."""
    found = []
    allowed = os.path.realpath(allowed)
    for event in events:
        kind, _, rest = event.partition(" ")
        if kind == "import":
            if "canary" in rest:
                found.append(event)
        elif kind == "open" or (may_write and kind in CHANGES):
            name, mode = rest.rpartition(" ")[::2]
            real = os.path.realpath(name)
            is_allowed = real == allowed or real.startswith(f"{allowed}/")
            writes = not may_write and any(c in mode for c in "wax+")
            if (writes or not is_allowed) and not name.startswith(_OWN):
                found.append(event)
        else:
            found.append(event)
    return found


def watched(call, allowed: str = "", may_write: bool = False) -> dict:
    """Call a function and tell what happened.

    Args:
        call: The function, without arguments.
        allowed: The only file that it may open, or the folder of all that it may open.
        may_write: Whether it may write there too.
    """
    from lamina.errors import LaminaError

    global _events
    before, start = _peak(), time.monotonic()
    _events = []
    error = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except Exception as e:  # noqa: BLE001 - every error is looked at
        error = e
    events, _events = _events, None
    result = {
        "error": type(error).__name__ if error is not None else "",
        "is_typed": error is None or isinstance(error, LaminaError),
        "message": str(error)[:2000] if error is not None else "",
        "length": len(str(error)) if error is not None else 0,
        "escapes": escapes(events, allowed, may_write),
        "seconds": time.monotonic() - start,
        "bytes": _peak() - before,
    }
    if not result["is_typed"]:
        result["trace"] = "".join(traceback.format_exception(error)[-6:])[-3000:]
    return result


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
