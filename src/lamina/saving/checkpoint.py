"""Checkpoints of a training: folders that are complete or absent, written in the background.

``run/00000100`` is the state after 100 steps: arrays in ``weights.safetensors`` (which
``model.load_weights`` reads) and ``training.safetensors``, everything else in ``host.json`` and
``data.json``. ``manifest.json``, which is written last, has the digest of each of them. A folder is
written as ``00000100.tmp`` and renamed when all of it is on the disk, so whatever ends the process,
the last complete checkpoint can be read. Which one is newest is decided by the number of steps,
never by a clock.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import platform
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lamina.core.boundary import warn
from lamina.errors import ArgumentError, CorruptFileError, LaminaError, SavingWarning
from lamina.runtime.budget import Budget, loading
from lamina.runtime.files import sync
from lamina.runtime.locks import FolderLock
from lamina.saving import safetensors
from lamina.saving.safetensors import digest_of
from lamina.serialization.text import parse

WEIGHTS, TRAINING = "weights", "training"
_ARRAYS, _TEXTS, _MANIFEST = (WEIGHTS, TRAINING), ("host", "data"), "manifest.json"
_FORMAT = 1
_BUDGET = Budget(nodes=2**25)  # a long history is many numbers
_MOST_TEXT = 256 * 2**20
_NUMBER = re.compile(r"\d{8,}")
_PART, _REPLACED, _DAMAGED = ".tmp", ".old", ".damaged"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a training after a number of steps.

    Attributes:
        step: Number of the steps.
        arrays: NumPy arrays by name, for each of the files ``weights`` and ``training``.
        host: What is known outside of the arrays, as JSON has it; see :func:`encode`.
        data: The position in the data, as JSON has it.
        score: The monitored value, by which the best checkpoints are kept; None if there is none.
    """

    step: int
    arrays: Mapping[str, Mapping[str, np.ndarray]]
    host: Mapping[str, Any]
    data: Mapping[str, Any]
    score: float | None = None


class CheckpointFolder:
    """A folder of checkpoints, into which one training at a time writes.

    Args:
        path: The folder, which is created.
        keep_last: Number of the newest checkpoints to keep, >= 1.
        keep_best: Number of checkpoints to keep besides, those with the best scores.
        maximize: Whether higher scores are better.

    Raises:
        StateError: Another training writes into the folder.
        OSError: The folder is not writable.
    """

    def __init__(
        self, path: Path, keep_last: int = 2, keep_best: int = 0, maximize: bool = False
    ) -> None:
        self.path, self.keep_last, self.keep_best = path, keep_last, keep_best
        self.maximize = maximize
        path.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(path)
        self._pool = ThreadPoolExecutor(1, "lamina-checkpoint")
        self._pending: Future[None] | None = None
        self._scores: dict[int, float | None] = {}
        try:
            self._recover()
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

        Warns:
            SavingWarning: A newer checkpoint is damaged. It is renamed, so that later ones can take
                its name.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                found = read(self._folder(step))
            except LaminaError as e:
                if step == steps[0]:
                    raise
                warn(f"An older checkpoint is used, because the newest is damaged: {e}",
                     SavingWarning)  # fmt: skip
                aside = self._folder(step).with_suffix(_DAMAGED)
                shutil.rmtree(aside, ignore_errors=True)
                self._folder(step).rename(aside)
            else:
                self._scores = {n: _score(self._folder(n)) for n in steps if n <= step}
                return found
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
        try:
            for leftover in (part, replaced):
                shutil.rmtree(leftover, ignore_errors=True)
            part.mkdir()
            _write(part, checkpoint)
            if target.exists():  # the same step, further on: after the epoch's validation
                target.rename(replaced)
            part.rename(target)
            sync(self.path)
        except OSError as e:
            shutil.rmtree(part, ignore_errors=True)
            e.add_note(
                f"The checkpoint after step {checkpoint.step} was not written to "
                f"{str(self.path)!r}. Earlier ones are unchanged."
            )
            raise
        shutil.rmtree(replaced, ignore_errors=True)
        self._scores[checkpoint.step] = checkpoint.score
        self._remove_superseded()

    def _remove_superseded(self) -> None:
        kept = set(sorted(self._scores)[-self.keep_last :])
        scored = [(v, n) for n, v in self._scores.items() if v is not None and v == v]
        scored.sort(key=lambda pair: -pair[0] if self.maximize else pair[0])
        kept |= {n for _, n in scored[: self.keep_best]}
        for step in self._scores.keys() - kept:
            part = self._folder(step).with_suffix(_PART)  # never seen half removed
            self._folder(step).rename(part)
            shutil.rmtree(part)
            del self._scores[step]

    def close(self, remove: bool = False) -> None:
        """Wait for the last checkpoint, and let other trainings write.

        Args:
            remove: Whether to remove the checkpoints, and the folder if nothing else is in it.
        """
        try:
            self.wait()
        finally:
            self._pool.shutdown()
            if remove:
                for step in self.steps():
                    shutil.rmtree(self._folder(step))
            self._lock.release(remove)
            if remove and not any(self.path.iterdir()):
                self.path.rmdir()


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the files of a checkpoint, each to the disk, and the manifest last."""
    arrays, files = {}, {}
    for name in _ARRAYS:
        table = checkpoint.arrays.get(name, {})
        path = folder / f"{name}.safetensors"
        digests = safetensors.write(path, table)
        sync(path)
        arrays[name] = {key: _description(table[key], digests[key]) for key in table}
    for name, content in zip(_TEXTS, (checkpoint.host, checkpoint.data), strict=True):
        text = json.dumps(content).encode()
        _write_text(folder / f"{name}.json", text)
        files[name] = hashlib.sha256(text).hexdigest()
    manifest = {
        "format": _FORMAT, "step": checkpoint.step, "score": checkpoint.score,
        "versions": {"python": platform.python_version(), "jax": jax.__version__,
                     "numpy": np.__version__},
        "files": files, "arrays": arrays,
    }  # fmt: skip
    _write_text(folder / _MANIFEST, json.dumps(manifest).encode())
    sync(folder)


def _write_text(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    sync(path)


def _description(array: np.ndarray, digest: str) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}


# ---- reading -------------------------------------------------------------------------------------


def read(folder: Path) -> Checkpoint:
    """Read a checkpoint, and compare everything in it with the manifest.

    Args:
        folder: The folder of one checkpoint, such as ``run/00000100``.

    Raises:
        CorruptFileError: Something is missing, incomplete or altered.
    """
    size = sum(p.stat().st_size for p in folder.iterdir() if p.is_file())
    with loading(str(folder), _BUDGET, size):
        return _read(folder)


def _read(folder: Path) -> Checkpoint:
    manifest = _manifest(folder)
    try:
        arrays = {name: _read_arrays(folder, name, manifest["arrays"][name]) for name in _ARRAYS}
        texts = []
        for name in _TEXTS:
            text = _read_text(folder / f"{name}.json")
            if hashlib.sha256(text).hexdigest() != manifest["files"][name]:
                raise CorruptFileError(f"{folder}: {name}.json differs from its digest.")
            texts.append(parse(text, f"{folder}: {name}.json", CorruptFileError))
        return Checkpoint(manifest["step"], arrays, *texts, score=manifest["score"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as e:
        if isinstance(e, CorruptFileError):
            raise
        raise CorruptFileError(f"{folder} is not a complete checkpoint: {e!r}") from e


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = parse(_read_text(path := folder / _MANIFEST), str(path), CorruptFileError)
        if manifest["format"] != _FORMAT or manifest["step"] != int(folder.name):
            raise CorruptFileError(
                f"{path} is not the manifest of this checkpoint.",
                expected=f"format {_FORMAT}, step {int(folder.name)}",
                received=f"format {manifest['format']}, step {manifest['step']}",
            )
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as e:
        if isinstance(e, CorruptFileError):
            raise
        raise CorruptFileError(f"{folder} has no readable manifest: {e!r}") from e
    return manifest


def _score(folder: Path) -> float | None:
    try:
        score = _manifest(folder).get("score")
    except CorruptFileError:  # an older one, which is not needed
        return None
    return score if isinstance(score, float) else None


def _read_text(path: Path) -> bytes:
    if path.stat().st_size > _MOST_TEXT:
        raise CorruptFileError(f"{path} is larger than {_MOST_TEXT} bytes.")
    return path.read_bytes()


def _read_arrays(folder: Path, name: str, described: Mapping[str, Any]) -> dict[str, np.ndarray]:
    path = folder / f"{name}.safetensors"
    with safetensors.File(path, str(path)) as stored:
        if set(stored.names()) != set(described):
            raise CorruptFileError(f"{path} contains other arrays than the manifest says.")
        arrays = {key: stored.read(key) for key in described}
    for key, array in arrays.items():
        if _description(array, digest_of(array)) != described[key]:
            raise CorruptFileError(f"{path}: the array {key!r} differs from its digest.")
    return arrays


# ---- what callbacks and data sets keep -----------------------------------------------------------


def encode(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    """The JSON form of nested Python values, whose arrays are taken out.

    Args:
        value: None, numbers, strings, bytes, arrays; lists, tuples and dicts of them.
        arrays: Receives copies of the arrays.
        name: Name of the value in ``arrays`` and in messages.

    Raises:
        ArgumentError: A value of another type.

    >>> encode({"best": 0.5, "shape": (2, 3)}, {}, "state")
    {'dict': [['best', 0.5], ['shape', {'tuple': [2, 3]}]]}
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        pairs = [
            [encode(k, arrays, f"{name}/{i}"), encode(v, arrays, f"{name}/{k}")]
            for i, (k, v) in enumerate(value.items())
        ]
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        items = [encode(x, arrays, f"{name}/{i}") for i, x in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.generic) and value.dtype.kind in "biufV":
        return {"scalar": [str(value.dtype), value.item()]}
    if isinstance(value, (np.ndarray, jax.Array)):
        arrays[name] = np.array(value)
        return {"array": name}
    raise ArgumentError(
        f"{name!r} cannot be saved in a checkpoint.",
        expected="numbers, strings, bytes, arrays, None; lists, tuples and dicts of them",
        received=f"{value!r} (of type {type(value).__name__})",
    )


def decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The value that :func:`encode` has turned into JSON."""
    if isinstance(value, list):
        return [decode(x, arrays) for x in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {decode(k, arrays): decode(v, arrays) for k, v in content}
    if kind == "tuple":
        return tuple(decode(x, arrays) for x in content)
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "scalar":
        return np.dtype(content[0]).type(content[1])
    return arrays[content]
