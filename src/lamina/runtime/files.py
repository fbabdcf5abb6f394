"""Atomic writing of files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path next to ``target``, which replaces it when the block ends.

    If the block raises, the process dies or the disk is full, the target is unchanged.

    Args:
        target: The file to write; its folder must exist.

    Raises:
        OSError: The folder is missing or not writable.
    """
    target = Path(target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", suffix=".part",
                                    dir=target.parent)  # fmt: skip
    os.close(handle)
    part = Path(name)
    try:
        yield part
        sync(part)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        part.chmod(mode)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders, and needs no such call
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
