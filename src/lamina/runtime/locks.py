"""Locks of folders, which one process at a time holds and which do not outlive it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from lamina.errors import StateError

if sys.platform == "win32":
    import msvcrt

    def _acquire(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _acquire(handle: int) -> None:
        # A lock of the process, which the processes that it forks do not inherit.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


_NAME = ".lock"
_held: dict[Path, FolderLock] = {}  # a process may take its own file lock twice


def holder(folder: Path) -> bytes:
    """Who holds, or last held, the lock of a folder; empty if nobody did."""
    path = folder / _NAME
    return path.read_bytes() if path.exists() else b""


class FolderLock:
    """The right to write into a folder.

    The operating system ends the lock with the process, however that ends, so a lock never has to
    be removed by hand.

    Args:
        folder: An existing folder, in which a file ``.lock`` is made.

    Raises:
        StateError: Another process, or another training of this one, writes into the folder.
        OSError: The folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder.resolve(), folder / _NAME
        if _held.setdefault(self._folder, self) is not self:
            raise self._refused("another training of this process")
        self._handle = -1
        try:
            while not self._is_current():  # its last holder may have removed the file meanwhile
                self.release_handle()
                self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
                try:
                    _acquire(self._handle)
                except OSError as e:
                    holder = os.read(self._handle, 200).decode(errors="replace")
                    raise self._refused(holder or "another process") from e
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        except BaseException:
            self.release_handle()
            del _held[self._folder]
            raise

    def _is_current(self) -> bool:
        try:
            return self._handle >= 0 and os.path.samestat(os.fstat(self._handle), self._path.stat())
        except FileNotFoundError:
            return False

    def _refused(self, holder: str) -> StateError:
        return StateError(
            f"The folder {str(self._folder)!r} is in use by {holder}.",
            expected="one training for each folder of checkpoints",
            cure="Wait for the other training to end, or pass another folder.",
        )

    def release_handle(self) -> None:
        """Close the file, which ends the lock."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def release(self, remove: bool = False) -> None:
        """End the lock.

        Args:
            remove: Whether to remove its file too.
        """
        if remove:
            self._path.unlink(missing_ok=True)
        self.release_handle()
        _held.pop(self._folder, None)
