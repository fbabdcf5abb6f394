"""Atomic writing of files, and checked reading of parts of them."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from lamina.errors import CorruptFileError
from lamina.runtime import budget, processes, stalls

_ALIGNMENT = 64  # in bytes, of the arrays that XLA uses as they are
# Where processes other than the first write: they only take part in gathering the arrays.
NOWHERE = Path(os.devnull)


@contextmanager
def replacing(target: str | os.PathLike[str], follow_link: bool = True) -> Iterator[Path]:
    """Yield a temporary path next to ``target``, which replaces it when the block ends.

    If the block raises, the process dies or the disk is full, the target is unchanged. If several
    processes run the program, all must come here, but only process 0 writes the file: the path of
    the others is ``NOWHERE``. None goes on before the file is complete.

    Args:
        target: The file to write; its folder must exist.
        follow_link: Whether the file that a link leads to is replaced, and not the link.

    Raises:
        OSError: The folder is missing or not writable.
    """
    target = Path(os.path.realpath(target) if follow_link else target)
    if not processes.is_first():
        with stalls.waiting():
            yield NOWHERE
        processes.wait_for_all(f"written {target}")
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", suffix=".part",
                                    dir=target.parent)  # fmt: skip
    os.close(handle)
    part = Path(name)
    try:
        with stalls.waiting():  # a large file takes long
            yield part
            sync(part)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        part.chmod(mode)
        part.replace(target)
    except OSError as e:
        e.add_note(f"{str(target)!r} was not written; if there is such a file, it is unchanged.")
        raise
    finally:
        part.unlink(missing_ok=True)
    processes.wait_for_all(f"written {target}")


@contextmanager
def replacing_entries(target: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary folder, which becomes the folder ``target`` when the block ends.

    If the block raises, the process dies or the disk is full, ``target`` is unchanged. In a folder
    that exists, only what has the given names is replaced or, if it is not made again, removed: one
    after the other, so what is read last by those names should verify the others. Processes are as
    in :func:`replacing`.

    Args:
        target: The folder; the folder that contains it must exist.
        names: The names of what may be made, in the order of replacing it.

    Raises:
        OSError: A folder is missing or not writable.
    """
    if not processes.is_first():
        with stalls.waiting():
            yield NOWHERE
        processes.wait_for_all(f"written {target}")
        return
    part = Path(tempfile.mkdtemp(prefix=f".{target.name[:60]}.", suffix=".part",
                                 dir=target.parent))  # fmt: skip
    try:
        yield part
        for path in (*part.rglob("*"), part):
            sync(path)
        part.chmod(0o777 & ~_umask())
        if target.exists():
            for name in names:
                old, new = target / name, part / name
                if new.is_file() and not old.is_dir():
                    new.replace(old)
                    continue
                if old.is_symlink() or old.exists():
                    old.rename(part / f"{name}.old")
                if new.exists():
                    new.rename(old)
            sync(target)
        else:
            part.rename(target)
            sync(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    processes.wait_for_all(f"written {target}")


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


class Window:
    """A part of an open file, read by position. Reads are charged to the budget of the load.

    Args:
        file: A binary file object that can seek.
        where: Its name in messages.
        start: Position of the part in the file.
        size: Size of the part in bytes; the rest of the file when None.
    """

    def __init__(self, file: BinaryIO, where: str, start: int = 0, size: int | None = None) -> None:
        self.file, self.where, self.start = file, where, start
        self.size = file.seek(0, os.SEEK_END) - start if size is None else size

    @classmethod
    @contextmanager
    def of(cls, path: Path, where: str) -> Iterator[Self]:
        """A window on a whole file, which is open inside the block."""
        with path.open("rb", buffering=0) as file:
            yield cls(file, where)

    def part(self, start: int, size: int, where: str) -> Window:
        """A window on a part of this one."""
        self._check(start, size)
        return Window(self.file, where, self.start + start, size)

    def read(self, at: int, size: int) -> bytes:
        """The bytes at a position.

        Raises:
            CorruptFileError: They are not all inside the part.
        """
        self._check(at, size)
        budget.charge(read=size)
        data = bytearray(size)
        self._fill(at, memoryview(data))
        return bytes(data)

    def read_into(self, at: int, array: np.ndarray[Any, Any]) -> None:
        """Fill a contiguous array with the bytes at a position; see :meth:`read`."""
        self._check(at, array.nbytes)
        budget.charge(read=array.nbytes)
        self._fill(at, array.reshape(-1).view(np.uint8).data)

    def _check(self, at: int, size: int) -> None:
        if at < 0 or size < 0 or at + size > self.size:
            raise CorruptFileError(
                f"{self.where} is truncated or damaged: it refers to bytes beyond its end.",
                expected=f"at most {self.size} bytes", received=f"{size} bytes at {at}",
            )  # fmt: skip

    def _fill(self, at: int, view: memoryview) -> None:
        self.file.seek(self.start + at)
        while view:
            count = self.file.readinto(view)  # pyright: ignore[reportAttributeAccessIssue]
            if not count:
                raise CorruptFileError(f"{self.where} became shorter while it was read.")
            view = view[count:]


def room_for(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An array to read into, whose memory JAX takes on CPU instead of copying it.

    Args:
        shape: Its shape.
        dtype: Its dtype.
    """
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
