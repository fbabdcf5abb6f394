"""Atomic writing of files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamina.runtime import processes


@contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path next to ``target``, which replaces it when the block ends.

    If the block raises, the process dies or the disk is full, the target is unchanged. If several
    processes run the program, all must come here, but only the file of process 0 is kept, and none
    goes on before it is complete.

    Args:
        target: The file to write; its folder must exist.

    Raises:
        OSError: The folder is missing or not writable.
    """
    target = Path(target)
    if not processes.is_first():
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / target.name
        processes.wait_for_all(f"written {target}")
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", suffix=".part",
                                    dir=target.parent)  # fmt: skip
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        part.chmod(mode)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    processes.wait_for_all(f"written {target}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
