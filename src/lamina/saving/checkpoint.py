"""Checkpoints of a training: folders that are complete or absent, written in the background.

``run/00000100`` is the state after 100 steps: arrays in ``weights.safetensors`` (which
``model.load_weights`` reads) and ``training.safetensors``, everything else in ``host.json`` and
``data.json``. ``manifest.json``, which is written last, has the digest of each of them. A folder is
written as ``00000100.tmp`` and renamed when all of it is on the disk, so whatever ends the process,
the last complete checkpoint can be read. Which one is newest is decided by the number of steps,
never by a clock.

Several processes write into one folder: each those parts of arrays that it has, into files with its
number, such as ``weights-1.safetensors``. What all of them have is in the files of process 0, which
completes the folder when each of the others has written what the manifest is to say of its files. A
checkpoint is read by any number of processes, each of which reads what its devices need.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lamina.core.boundary import warn
from lamina.errors import CorruptFileError, LaminaError, SavingWarning, StateError
from lamina.runtime import processes
from lamina.runtime.budget import Budget, loading
from lamina.runtime.files import sync
from lamina.runtime.locks import FolderLock, holder
from lamina.saving import safetensors
from lamina.saving.paths import beside, make_folder
from lamina.saving.safetensors import digest_of
from lamina.serialization.text import parse

WEIGHTS, TRAINING = "weights", "training"
_ARRAYS, _TEXTS, _MANIFEST = (WEIGHTS, TRAINING), ("host", "data"), "manifest.json"
_FORMAT = 1
_BUDGET = Budget(nodes=2**25)  # a long history is many numbers
_MOST_TEXT = 256 * 2**20
# What the system raises if a file is not there; any other error may be gone at the next attempt.
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_UNREADABLE = (LaminaError, OSError, ValueError, TypeError, KeyError, RecursionError)
_NUMBER = re.compile(r"\d{8,}")
_FILE = re.compile(rf"({'|'.join(_ARRAYS)})(-[0-9]{{1,6}})?")
_PART, _REPLACED, _DAMAGED = ".tmp", ".old", ".damaged"
_OF_PROCESS = "process-"
_SECONDS_BETWEEN_LOOKS = 0.02
_PATIENCE_SECONDS = 10.0  # with other processes, after an error in this one


@dataclasses.dataclass(frozen=True)
class Split:
    """An array of which this process writes some parts.

    Attributes:
        shape: Shape of the whole array.
        dtype: Its dtype.
        parts: The parts by the position of their first element.
    """

    shape: tuple[int, ...]
    dtype: Any
    parts: Mapping[tuple[int, ...], np.ndarray]

    @classmethod
    def of(cls, whole: np.ndarray) -> Split:
        """An array in a single part."""
        return cls(whole.shape, whole.dtype, {(0,) * whole.ndim: whole})


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """An array in the files of a checkpoint, of which parts can be read.

    Attributes:
        shape: Its shape.
        dtype: Its dtype.
        parts: Where its parts are, by the position of their first element.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    parts: Mapping[tuple[int, ...], safetensors.Place]

    def __post_init__(self) -> None:
        inside = all(
            len(start) == len(self.shape)
            and all(
                a >= 0 and a + n <= m for a, n, m in zip(start, p.shape, self.shape, strict=True)
            )
            for start, p in self.parts.items()
        )
        if not inside or sum(math.prod(p.shape) for p in self.parts.values()) != math.prod(
            self.shape
        ):
            raise CorruptFileError(f"The parts of an array do not fill its shape, {self.shape}.")

    def read(self, index: tuple[slice, ...]) -> np.ndarray:
        """The part at an index, which has a slice for each dimension."""
        bounds = [s.indices(n)[:2] for s, n in zip(index, self.shape, strict=True)]
        begin, end = [b[0] for b in bounds], [b[1] for b in bounds]
        shape = tuple(b - a for a, b in bounds)
        same = self.parts.get(tuple(begin))
        if same is not None and same.shape == shape:
            return same.read()
        found = np.zeros(shape, self.dtype)
        for start, place in self.parts.items():
            low = np.maximum(start, begin)
            high = np.minimum(np.add(start, place.shape), end)
            if (low < high).all():
                there = tuple(map(slice, low - start, high - start))
                found[tuple(map(slice, low - begin, high - begin))] = place.read()[there]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.read(tuple(slice(None) for _ in self.shape)), dtype)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a training after a number of steps.

    Attributes:
        step: Number of the steps.
        arrays: Arrays by name, for each of the files ``weights`` and ``training``: those of NumPy
            and the :class:`Split` to write, and each a :class:`StoredArray` when it is read.
        host: What is known outside of the arrays, as JSON; see :mod:`lamina.saving.json_values`.
        data: The position in the data, as JSON has it.
        score: The monitored value, by which the best checkpoints are kept; None if there is none.
    """

    step: int
    arrays: Mapping[str, Mapping[str, Any]]
    host: Mapping[str, Any]
    data: Mapping[str, Any]
    score: float | None = None


class CheckpointFolder:
    """A folder of checkpoints, into which one training at a time writes.

    All processes of the training open it, and call its methods together.

    Args:
        path: The folder, which is created.
        keep_last: Number of the newest checkpoints to keep, >= 1.
        keep_best: Number of checkpoints to keep besides, those with the best scores.
        maximize: Whether higher scores are better.

    Raises:
        StateError: Another training writes into the folder, or it is not the same folder for all
            processes.
        OSError: The folder is not writable.
    """

    def __init__(
        self, path: Path, keep_last: int = 2, keep_best: int = 0, maximize: bool = False
    ) -> None:
        self.path, self.keep_last, self.keep_best = path, keep_last, keep_best
        self.maximize = maximize
        self._lock: FolderLock | None = None  # that of process 0
        self._pool = ThreadPoolExecutor(1, "lamina-checkpoint")
        self._pending: Future[None] | None = None
        self._scores: dict[int, float | None] = {}
        self._patience_ends: float | None = None
        try:
            with processes.together(f"Opening {str(path)!r}"):
                if processes.is_first():
                    make_folder(path)
                    self._lock = FolderLock(path)
                    self._recover()
            strangers = processes.differing(holder(path))
            if strangers:
                raise StateError(
                    f"{str(path)!r} is not the same folder for all processes: {strangers} do not "
                    "see what process 0 writes there.",
                    cure="Pass a folder of a file system that all of them share.",
                )
        except BaseException:
            self.close()
            raise

    def _recover(self) -> None:
        """Remove what a process that was killed has left unfinished."""
        for entry in list(self.path.iterdir()):
            number, kind = entry.stem, entry.suffix
            if not _NUMBER.fullmatch(number) or kind not in (_PART, _REPLACED):
                continue
            if kind == _REPLACED and not entry.with_suffix("").exists():
                entry.rename(entry.with_suffix(""))
            else:
                shutil.rmtree(entry)

    def steps(self) -> list[int]:
        """The numbers of steps of the checkpoints, in ascending order."""
        names = (p.name for p in self.path.iterdir() if p.is_dir())
        return sorted(int(name) for name in names if _NUMBER.fullmatch(name))

    def newest(self) -> Checkpoint | None:
        """The checkpoint with the most steps of those that are undamaged; None if there is none.

        Raises:
            CorruptFileError: All checkpoints are damaged.
            OSError: The system cannot read the newest one now; it is kept.

        Warns:
            SavingWarning: A newer checkpoint is damaged. It is renamed, so that later ones can take
                its name.
        """
        steps = self.steps()
        if strangers := processes.differing(repr(steps).encode()):
            raise StateError(
                f"The processes {strangers} see other checkpoints in {str(self.path)!r} than "
                f"process 0. This is process {processes.number()}, which sees {steps}."
            )
        for step in reversed(steps):
            folder, found, damage = self._folder(step), None, None
            with processes.together(f"Reading {str(folder)!r}"):
                try:
                    found = read(folder)
                except LaminaError as e:
                    damage = e
            if not processes.any_of(damage is not None):
                self._scores = {n: _score(self._folder(n)) for n in steps if n <= step}
                return found
            damage = damage or CorruptFileError(f"{folder} is damaged, as another process says.")
            if step == steps[0]:
                raise damage
            warn(f"An older checkpoint is used, because the newest is damaged: {damage}",
                 SavingWarning)  # fmt: skip
            if processes.is_first():
                aside = folder.with_suffix(_DAMAGED)
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
        return None

    def _folder(self, step: int) -> Path:
        return self.path / f"{step:08d}"

    # ---- writing -------------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in the background, when the one before is complete.

        Raises:
            OSError: The one before could not be written.
        """
        self.wait()
        self._pending = self._pool.submit(self._commit, checkpoint)

    def check(self) -> None:
        """Raise the error of a checkpoint that could not be written."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is complete, and raise its error."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _commit(self, checkpoint: Checkpoint) -> None:
        target = self._folder(checkpoint.step)
        part, replaced = target.with_suffix(_PART), target.with_suffix(_REPLACED)
        several = processes.are_several()
        try:
            if not processes.is_first():
                part.mkdir(exist_ok=True)
                self._hand_over(part, _write(part, checkpoint))
                return
            # Another process may have begun to write already.
            for leftover in (replaced,) if several else (part, replaced):
                shutil.rmtree(leftover, ignore_errors=True)
            part.mkdir(exist_ok=several)
            self._complete(part, checkpoint, _write(part, checkpoint))
            if target.exists():  # the same step, further on: after the epoch's validation
                target.rename(replaced)
            part.rename(target)
            sync(self.path)
        except OSError as e:
            if not several:
                shutil.rmtree(part, ignore_errors=True)
            if replaced.exists() and not target.exists():
                replaced.rename(target)
            e.add_note(
                f"The checkpoint after step {checkpoint.step} was not written to "
                f"{str(self.path)!r}. Earlier ones are unchanged."
            )
            raise
        shutil.rmtree(replaced, ignore_errors=True)
        self._scores[checkpoint.step] = checkpoint.score
        self._remove_superseded()

    def _hand_over(self, part: Path, own: Mapping[str, Any]) -> None:
        """Tell process 0 what this one has written, and wait until it has completed the folder."""
        name, here = f"{_OF_PROCESS}{processes.number()}.json", part.stat()
        _write_text(part / f".{name}", json.dumps(own).encode())
        (part / f".{name}").rename(part / name)
        sync(part)
        # Process 0 may make a folder of the same name at once: the same step, further on.
        self._look(lambda: not (part.exists() and os.path.samestat(part.stat(), here)))

    def _complete(self, part: Path, checkpoint: Checkpoint, own: dict[str, Any]) -> None:
        """Write the manifest, when all processes have written their files."""
        count = processes.count()
        manifest = {
            "format": _FORMAT, "step": checkpoint.step, "score": checkpoint.score,
            "processes": count,
            "versions": {"python": platform.python_version(), "jax": jax.__version__,
                         "numpy": np.__version__},
            **own,
        }  # fmt: skip
        for path in (part / f"{_OF_PROCESS}{i}.json" for i in range(1, count)):
            self._look(path.exists)
            _add(manifest, json.loads(path.read_bytes()))
            path.unlink()
        _write_text(part / _MANIFEST, json.dumps(manifest).encode())
        sync(part)

    def _look(self, done: Callable[[], bool]) -> None:
        """Wait for other processes; a barrier between devices has no place in the background."""
        while not done():
            if self._patience_ends is not None and time.monotonic() > self._patience_ends:
                raise StateError("Other processes have not written their part of a checkpoint.")
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _remove_superseded(self) -> None:
        kept = set(sorted(self._scores)[-self.keep_last :])
        scored = [(v, n) for n, v in self._scores.items() if v is not None and v == v]
        scored.sort(key=lambda pair: -pair[0] if self.maximize else pair[0])
        kept |= {n for _, n in scored[: self.keep_best]}
        for step in self._scores.keys() - kept:
            self._discard(step)
            del self._scores[step]

    def _discard(self, step: int) -> None:
        part = self._folder(step).with_suffix(_PART)  # never seen half removed
        self._folder(step).rename(part)
        shutil.rmtree(part)

    def close(self, remove: bool = False, failed: bool = False) -> None:
        """Wait for the last checkpoint, and let other trainings write.

        Args:
            remove: Whether to remove the checkpoints, and the folder if nothing else is in it.
            failed: Whether training ends by an error, so that other processes may not go on.
        """
        if failed:
            self._patience_ends = time.monotonic() + _PATIENCE_SECONDS
        completed = False
        try:
            self.wait()
            completed = True
        finally:
            self._pool.shutdown()
            if self._lock is not None:  # if the last one was not written, the others are needed
                self._remove(self._lock, remove and completed)

    def _remove(self, lock: FolderLock, everything: bool) -> None:
        try:
            for step in self.steps() if everything else ():
                self._discard(step)
        finally:
            lock.release(everything)
        if everything and not any(self.path.iterdir()):
            self.path.rmdir()


def _write(folder: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Write the files of this process, each to the disk, and return what the manifest says."""
    number = processes.number()
    own = f"-{number}" if number else ""
    arrays: dict[str, Any] = {}
    for name in _ARRAYS:
        table: dict[str, np.ndarray] = {}
        described: list[tuple[str, dict[str, Any]]] = []
        arrays[name] = {}
        for key, value in checkpoint.arrays.get(name, {}).items():
            if not (number or isinstance(value, Split)):
                table[key] = value
                described.append((key, arrays[name].setdefault(key, {})))
                continue
            split = value if isinstance(value, Split) else Split.of(value)
            parts = []
            for start, part in split.parts.items():
                stored = f"{key}@{','.join(map(str, start))}"
                table[stored] = part
                parts.append({"file": name + own, "name": stored, "start": list(start)})
                described.append((stored, parts[-1]))
            if parts:
                arrays[name][key] = {
                    "shape": list(split.shape), "dtype": str(split.dtype), "parts": parts
                }  # fmt: skip
        if table or not number:
            path = folder / f"{name}{own}.safetensors"
            digests = safetensors.write(path, table)
            sync(path)
            for stored, entry in described:
                x = table[stored]
                entry |= {"shape": [*x.shape], "dtype": str(x.dtype), "sha256": digests[stored]}
    files = {}
    for name, content in zip(_TEXTS, (checkpoint.host, checkpoint.data), strict=True):
        if name == "data" or not number:  # the host's part of process 0 serves all of them
            text = json.dumps(content).encode()
            _write_text(folder / f"{name}{own}.json", text)
            files[name + own] = hashlib.sha256(text).hexdigest()
    return {"files": files, "arrays": arrays}


def _add(manifest: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Add what another process has written."""
    manifest["files"] |= other["files"]
    for name, table in other["arrays"].items():
        for key, entry in table.items():
            known = manifest["arrays"][name].setdefault(key, {**entry, "parts": []})
            known["parts"] += entry["parts"]


def _write_text(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    sync(path)


# ---- reading -------------------------------------------------------------------------------------


def read(folder: Path) -> Checkpoint:
    """Open a checkpoint, and compare everything in it with the manifest.

    Of several processes, each compares its share of the arrays.

    Args:
        folder: The folder of one checkpoint, such as ``run/00000100``.

    Raises:
        CorruptFileError: Something is missing, incomplete or altered.
        OSError: The system cannot read a file, which may be complete nevertheless.
    """
    size = sum(p.stat().st_size for p in folder.iterdir() if p.is_file())
    with loading(str(folder), _BUDGET, size):
        return _read(folder)


def _read(folder: Path) -> Checkpoint:
    number, several = processes.number(), processes.count()
    try:
        manifest = _manifest(folder)
        # Each process may have data of its own; that of process 0 serves any number of them.
        own = f"-{number}" if number and manifest["processes"] == several else ""
        arrays = _read_arrays(folder, manifest["arrays"], number, several)
        texts = []
        for name in ("host", f"data{own}"):
            text = _read_text(folder, f"{name}.json")
            if hashlib.sha256(text).hexdigest() != manifest["files"][name]:
                raise CorruptFileError(f"{folder}: {name}.json differs from its digest.")
            texts.append(parse(text, f"{folder}: {name}.json", CorruptFileError))
        host, data = texts
        return Checkpoint(manifest["step"], arrays, dict(host), data, score=manifest["score"])
    except _UNREADABLE as e:
        if isinstance(e, LaminaError):
            raise
        if isinstance(e, OSError) and not isinstance(e, _ABSENT):
            e.add_note(
                f"The checkpoint {str(folder)!r} may be complete nevertheless, so it is kept. Try "
                "again, or remove it to resume from the one before."
            )
            raise
        raise CorruptFileError(f"{folder} is not a complete checkpoint: {e!r}") from e


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    manifest = parse(_read_text(folder, _MANIFEST), str(path), CorruptFileError)
    if manifest["format"] != _FORMAT or manifest["step"] != int(folder.name):
        raise CorruptFileError(
            f"{path} is not the manifest of this checkpoint.",
            expected=f"format {_FORMAT}, step {int(folder.name)}",
            received=f"format {manifest['format']}, step {manifest['step']}",
        )
    return {"processes": 1, **manifest}


def _score(folder: Path) -> float | None:
    try:
        score = _manifest(folder).get("score")
    except _UNREADABLE:  # an older one, which is not needed
        return None
    return score if isinstance(score, float) else None


def _read_text(folder: Path, name: str) -> bytes:
    path = beside(folder / _MANIFEST, name)
    if path.stat().st_size > _MOST_TEXT:
        raise CorruptFileError(f"{path} is larger than {_MOST_TEXT} bytes.")
    return path.read_bytes()


def _read_arrays(
    folder: Path, described: Mapping[str, Any], number: int, several: int
) -> dict[str, dict[str, StoredArray]]:
    """The arrays of all files, of which this process compares each ``several``-th with its digest.

    Args:
        folder: The folder of the checkpoint.
        described: The entries of the manifest, by file and name.
        number: Number of this process.
        several: Number of processes.
    """
    wanted: dict[str, dict[str, Any]] = {name: {} for name in _ARRAYS}
    found: dict[str, dict[str, StoredArray]] = {name: {} for name in _ARRAYS}
    parts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name in _ARRAYS:
        for key, entry in described[name].items():
            whole = {**entry, "file": name, "name": key, "start": [0] * len(entry["shape"])}
            parts[name, key] = entry.get("parts", [whole])
            for part in parts[name, key]:
                wanted.setdefault(part["file"], {})[part["name"]] = part
    places = {}
    for file, table in wanted.items():
        if not _FILE.fullmatch(file):
            raise CorruptFileError(f"{folder}: the manifest names a file {file[:100]!r}.")
        path = beside(folder / _MANIFEST, f"{file}.safetensors")
        with safetensors.File(path, str(path)) as stored:
            if set(stored.names()) != set(table):
                raise CorruptFileError(f"{path} contains other arrays than the manifest says.")
            for i, key in enumerate(sorted(table)):
                places[file, key] = place = stored.place(key)
                entry = {k: table[key][k] for k in ("shape", "dtype", "sha256")}
                is_own = i % several == number
                if (
                    (list(place.shape), str(place.dtype)) != (entry["shape"], entry["dtype"])
                    or (is_own and digest_of(stored.read(key)) != entry["sha256"])
                ):  # fmt: skip
                    raise CorruptFileError(f"{path}: the array {key!r} differs from its digest.")
    for (name, key), pieces in parts.items():
        entry = described[name][key]
        found[name][key] = StoredArray(
            tuple(entry["shape"]), np.dtype(entry["dtype"]),
            {tuple(p["start"]): places[p["file"], p["name"]] for p in pieces},
        )  # fmt: skip
    return found
