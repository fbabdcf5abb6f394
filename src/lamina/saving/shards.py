"""Weights in several files: an index, which is JSON, and files of arrays next to it.

``model.weights.json`` with ``model_00000.weights.h5`` and so on is the layout of Keras, and
``model.safetensors.index.json`` with ``model-00001-of-00002.safetensors`` and so on that of Hugging
Face. The index says which file has which arrays: Keras's names their groups. What Lamina writes
also has the digests of the arrays, so that files of two saves are not mixed unnoticed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamina.core.variable import Variable
from lamina.errors import ArgumentError, CorruptFileError, LaminaError
from lamina.runtime import processes
from lamina.runtime.budget import Budget, loading
from lamina.runtime.files import replacing
from lamina.saving import hdf5, safetensors
from lamina.saving.paths import beside, may_write
from lamina.saving.weights import Stored, Verified, listed
from lamina.serialization import text
from lamina.tree import nested

_GIB = 2**30
_LARGEST_INDEX = 64 * 2**20
_ASIDE = "old@"  # before the names of files that are being replaced


class Layout(NamedTuple):
    """How weights are split into files.

    Attributes:
        suffix: How the name of an index ends.
        single: How the names of the other files end.
        name: The name of a file, for the stem of the index, its number, and how many there are.
        key: What the index has for the name of an array.
        file: Opens a file.
        write: Writes a file, and returns the digests of its arrays.
    """

    suffix: str
    single: str
    name: Callable[[str, int, int], str]
    key: Callable[[str], str]
    file: Callable[[Path, str], Any]
    write: Callable[[Path, Mapping[str, Any]], dict[str, str]]


LAYOUTS = (
    Layout(
        ".weights.json", ".weights.h5",
        lambda stem, i, _: f"{stem.replace('.weights', '')}_{i:05}.weights.h5",
        lambda name: f"/{name.rpartition('/')[0]}", hdf5.File, hdf5.write,
    ),
    Layout(
        ".safetensors.index.json", ".safetensors",
        lambda stem, i, count: f"{stem}-{i + 1:05}-of-{count:05}.safetensors",
        lambda name: name, safetensors.File, safetensors.write,
    ),
)  # fmt: skip


def layout_of(path: Path) -> Layout | None:
    """The layout of the weights whose index has that name; None for the names of other files."""
    return next((x for x in LAYOUTS if path.name.endswith(x.suffix)), None)


# ---- writing -------------------------------------------------------------------------------------


def write(
    path: Path, layout: Layout, arrays: Mapping[str, Any], largest: float, overwrite: bool
) -> None:
    """Write an index and its files.

    An interrupted save loses nothing: when all files are complete, those that an existing index
    refers to get a second name, by which it refers to them until the new one has replaced it.

    Args:
        path: The index.
        layout: Its layout.
        arrays: Dict of names to arrays or variables.
        largest: The size of a file in GiB, without what it has besides the arrays.
        overwrite: Whether existing files may be replaced.

    Raises:
        ArgumentError: An array is larger than a file may be.
        FileExistsError: One of the files exists, and must not be replaced.
    """
    parts, total = _split(arrays, largest)
    stem = path.name.removesuffix(layout.suffix)
    paths = [path.with_name(layout.name(stem, i, len(parts))) for i in range(len(parts))]
    for x in (path, *paths):
        may_write(x, overwrite)
    digests: dict[str, str] = {}
    found: dict[str, dict[str, None]] = {}
    with contextlib.ExitStack() as complete:  # the index, which is entered first, is replaced last
        index = complete.enter_context(replacing(path, False))
        for target, part in zip(paths, parts, strict=True):
            digests |= layout.write(complete.enter_context(replacing(target, False)), part)
            for name in part:
                found.setdefault(layout.key(name), {})[target.name] = None
        content = {
            "metadata": {"total_size": total, "sha256": digests},
            "weight_map": {k: x[0] if len(x := list(v)) == 1 else x for k, v in found.items()},
        }
        index.write_text(json.dumps(content, indent=4), "utf-8")
        before = _set_aside(path, layout, {x.name for x in paths})
    if processes.is_first():
        usual = {layout.name(stem, i, len(before)) for i in range(len(before))}
        for name in before - {x.name for x in paths}:
            if name.removeprefix(_ASIDE) in usual:  # an index may refer to files of others
                path.with_name(name).unlink(missing_ok=True)


def _set_aside(path: Path, layout: Layout, names: set[str]) -> set[str]:
    """Have an existing index refer to other names of its files, instead of ``names``.

    Returns:
        The names that it refers to then; none if there is no index, or it cannot be read.
    """
    try:
        found = read_index(path, layout, None)
    except (OSError, LaminaError):
        before, content = set(), {}
    else:
        before, content = set(found.files), found.content
    others = {n: f"{_ASIDE}{n}" for n in before & names}
    if processes.any_of(processes.is_first() and bool(others)):
        with replacing(path, False) as index:  # by all processes
            if processes.is_first():
                for name, other in others.items():
                    _link(path.with_name(name), path.with_name(other))
                table = nested.map_structure(lambda n: others.get(n, n), content["weight_map"])
                content = {**content, "weight_map": table}
            index.write_text(json.dumps(content, indent=4), "utf-8")
    return {others.get(n, n) for n in before}


def _link(path: Path, other: Path) -> None:
    """Give a file another name; where the file system has no links, a copy of it."""
    other.unlink(missing_ok=True)
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


def _split(arrays: Mapping[str, Any], largest: float) -> tuple[list[dict[str, Any]], int]:
    """The arrays of each file, in order, and the size of all of them in bytes."""
    if isinstance(largest, bool) or not isinstance(largest, (int, float)) or not largest > 0:
        raise ArgumentError(
            "`max_shard_size` is the size of a file in GiB.", expected="a number above 0",
            received=repr(largest),
        )  # fmt: skip
    parts: list[dict[str, Any]] = [{}]
    filled = total = 0
    for name, value in arrays.items():
        x = value if isinstance(value, Variable) else np.asarray(value)
        size = x.size * np.dtype(x.dtype).itemsize
        if size > largest * _GIB:
            raise ArgumentError(
                f"The weight {name!r} is larger than `max_shard_size`.",
                expected=f"`max_shard_size` of at least {size / _GIB:.4g} (GiB)", received=largest,
            )  # fmt: skip
        if parts[-1] and filled + size > largest * _GIB:
            parts.append({})
            filled = 0
        parts[-1][name] = value
        filled, total = filled + size, total + size
    return parts, total


# ---- reading -------------------------------------------------------------------------------------


class Index(NamedTuple):
    """What an index says.

    Attributes:
        path: The index.
        layout: Its layout.
        files: The files, by name.
        entries: The keys of arrays and the names of files that have them, in pairs.
        digests: The digests of all arrays by name; None if it has none.
        size: Size of all files in bytes.
        content: The whole index, as JSON has it.
    """

    path: Path
    layout: Layout
    files: dict[str, Path]
    entries: set[tuple[str, str]]
    digests: Mapping[str, Any] | None
    size: int
    content: dict[str, Any]

    @contextlib.contextmanager
    def opened(self) -> Iterator[Stored]:
        """The arrays of all files, which are open inside the block."""
        with contextlib.ExitStack() as stack:
            files = {
                name: stack.enter_context(self.layout.file(path, str(path)))
                for name, path in self.files.items()
            }
            stored = _Joined(self, files)
            yield stored if self.digests is None else Verified(stored, self.digests)


def read_index(path: Path, layout: Layout, budget: Budget | None) -> Index:
    """Read an index, and find its files.

    Raises:
        CorruptFileError: It is damaged, or a file is missing.
        UnsafeFileError: It refers to a file outside of its folder.
    """
    size, where = path.stat().st_size, str(path)
    with loading(where, budget, size):
        if size > _LARGEST_INDEX:
            raise CorruptFileError(f"{where} is larger than {_LARGEST_INDEX} bytes.")
        content = text.parse(path.read_bytes(), where, CorruptFileError)
        table = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(table, dict):
            raise CorruptFileError(f"{where} is not the index of a model: it has no 'weight_map'.")
        entries = [
            (key, name) for key, names in table.items()
            for name in (names if isinstance(names, list) else [names])
        ]  # fmt: skip
        files: dict[str, Path] = {}
        for _, name in entries:
            if not isinstance(name, str) or name not in files:
                files[name] = beside(path, name)
        folded = Counter(name.casefold() for name in files)
        if len(folded) < len(files):
            raise CorruptFileError(f"{where} has two files whose names differ only in case.")
        metadata = content.get("metadata")
        digests = metadata.get("sha256") if isinstance(metadata, dict) else None
        return Index(
            path, layout, dict(sorted(files.items())), set(entries),
            digests if isinstance(digests, dict) else None,
            size + sum(x.stat().st_size for x in files.values()), content,
        )  # fmt: skip


class _Joined:
    """The arrays of several files as those of one.

    Args:
        index: The index.
        files: The open files by name.

    Raises:
        CorruptFileError: An array is in two files, or the files have others than the index says.
    """

    def __init__(self, index: Index, files: Mapping[str, Stored]) -> None:
        self.where = str(index.path)
        self._files: dict[str, Stored] = {}
        entries: set[tuple[str, str]] = set()
        for name, file in files.items():
            for array in file.names():
                if self._files.setdefault(array, file) is not file:
                    raise CorruptFileError(f"{self.where}: {array[:100]!r} is in two files.")
                entries.add((index.layout.key(array), name))
        if entries != index.entries:
            raise CorruptFileError(
                f"{self.where} does not match its files. Are they of different saves?"
                + listed("missing from the files", _shown(index.entries - entries))
                + listed("not in the index", _shown(entries - index.entries))
            )

    def names(self) -> list[str]:
        """The names of all arrays."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of an array, or None if there is no array of that name."""
        return self._files[name].shape(name) if name in self._files else None

    def read(self, name: str) -> np.ndarray:
        """The array of that name."""
        return self._files[name].read(name)


def _shown(entries: set[tuple[str, str]]) -> list[str]:
    return [f"{key[:100]} (in {name})" for key, name in sorted(entries)]
