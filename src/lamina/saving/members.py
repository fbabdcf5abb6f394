"""The members of a saved model: files in a zip archive or, if it is not zipped, in a folder.

They are ``metadata.json``, ``config.json`` (the architecture and the arguments of ``compile``) and
``model.weights.h5``; the files of layers that define ``save_assets`` follow under ``assets/``, and
``probe.safetensors`` if there is a probe. An archive has checksums; for a folder, the metadata has
the digests of the files. Other files in a folder, such as a README, are neither read nor changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from lamina.errors import CorruptFileError, UnsafeFileError
from lamina.runtime import budget
from lamina.runtime.files import NOWHERE, Window
from lamina.saving.paths import must_not_be_link
from lamina.saving.weights import listed
from lamina.serialization import text

METADATA, CONFIG, WEIGHTS, PROBE, ASSETS = (
    "metadata.json", "config.json", "model.weights.h5", "probe.safetensors", "assets",
)  # fmt: skip
# What every model has, and all that one may have: the metadata, which verifies the others, last.
REQUIRED = (METADATA, CONFIG, WEIGHTS)
ENTRIES = (ASSETS, PROBE, CONFIG, WEIGHTS, METADATA)
_MOST_FILES, _DEEPEST = 20_000, 64
_MAX_JSON = 64 * 2**20


# ---- writing -------------------------------------------------------------------------------------


class Target(Protocol):
    """Where members are written: :class:`Zipped`, :class:`Unzipped` and :class:`Discarded`."""

    @property
    def digests(self) -> dict[str, str] | None:
        """The digests of the members so far, without weights; None where there are checksums."""
        ...

    def file(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Yield a path, to which a member is written inside the block."""
        ...

    def copy(self, path: Path, name: str) -> None:
        """Add a file as a member."""
        ...

    def text(self, name: str, content: str) -> None:
        """Add a text as a member."""
        ...


class Zipped:
    """A zip archive that is written.

    Args:
        archive: The archive.
        folder: Folder for temporary files; the system's when None.
    """

    digests = None

    def __init__(self, archive: zipfile.ZipFile, folder: Path | None) -> None:
        self._archive, self._folder = archive, folder

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile(
            dir=self._folder, prefix=".weights.", suffix=".part"
        ) as part:
            yield Path(part.name)
            self.copy(Path(part.name), name)

    def copy(self, path: Path, name: str) -> None:
        self._archive.write(path, name)

    def text(self, name: str, content: str) -> None:
        self._archive.writestr(name, content)


class Unzipped:
    """A folder that is written.

    Args:
        path: The folder, which is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.digests: dict[str, str] = {}

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        if name not in (WEIGHTS, METADATA):
            self.digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()

    def copy(self, path: Path, name: str) -> None:
        with self.file(name) as target:
            shutil.copyfile(path, target)

    def text(self, name: str, content: str) -> None:
        with self.file(name) as target:
            target.write_text(content, "utf-8")


class Discarded:
    """Members that another process writes; this one takes part in gathering the arrays."""

    digests = None

    def file(self, name: str) -> contextlib.AbstractContextManager[Path]:
        return contextlib.nullcontext(NOWHERE)

    def copy(self, path: Path, name: str) -> None:
        pass

    def text(self, name: str, content: str) -> None:
        pass


def belongs_to_others(path: Path) -> list[str]:
    """What saving a model in an existing folder would replace that is not of a model."""
    found = [name for name in ENTRIES if os.path.lexists(path / name)]
    return [] if set(REQUIRED) <= set(found) else found


# ---- reading -------------------------------------------------------------------------------------


class Members(Protocol):
    """The parts of a saved model by name: ``Archive`` and :class:`Folder`."""

    where: str

    def names(self) -> list[str]:
        """The names of the members."""
        ...

    def size(self, name: str) -> int:
        """The size of a member in bytes."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a member."""
        ...

    def window(self, name: str) -> Window:
        """The content of a member, which is read in place."""
        ...


class Folder:
    """The files of a model in a folder, closed by ``with``.

    Args:
        path: The folder.

    Attributes:
        total: Size of the files in bytes.

    Raises:
        CorruptFileError: It is not the folder of a model.
        UnsafeFileError: One of the files is a link, or there are too many.
    """

    def __init__(self, path: Path) -> None:
        self.where, self._path = str(path), path
        self._opened = contextlib.ExitStack()
        self._digests: Mapping[str, Any] = {}
        self._sizes = dict(self._files())
        self.total = sum(self._sizes.values())
        missing = [n for n in REQUIRED if n not in self._sizes]
        if missing:
            raise CorruptFileError(
                f"{path} is not a regular file, nor the folder of a model: it lacks {missing}."
            )

    def _files(self) -> Iterator[tuple[str, int]]:
        waiting = [name for name in ENTRIES if os.path.lexists(self._path / name)]
        count = 0
        while waiting:
            name = waiting.pop()
            path = self._path / name
            must_not_be_link(path)
            if path.is_file():
                yield name, path.stat().st_size
            elif path.is_dir() and name.split("/")[0] == ASSETS and name.count("/") < _DEEPEST:
                waiting.extend(f"{name}/{x}" for x in os.listdir(path))
            else:
                raise UnsafeFileError(f"{path} is not a regular file.")
            count += 1
            if count + len(waiting) > _MOST_FILES:
                raise UnsafeFileError(f"{self.where} has more than {_MOST_FILES} files.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def expect(self, digests: Mapping[str, Any]) -> None:
        """Compare the files with digests: their names at once, their contents when they are read.

        Args:
            digests: Dict of the names of all files, except metadata and weights, to digests.

        Raises:
            CorruptFileError: There are other files.
        """
        names = self._sizes.keys() - {METADATA, WEIGHTS}
        if names != digests.keys():
            raise CorruptFileError(
                f"{self.where} was altered: its files are not those that were saved."
                + listed("missing", sorted(digests.keys() - names))
                + listed("added", sorted(names - digests.keys()))
            )
        self._digests = digests

    def names(self) -> list[str]:
        """The names of the files of the model."""
        return list(self._sizes)

    def size(self, name: str) -> int:
        """The size of a file in bytes."""
        self._file(name)
        return self._sizes[name]

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            CorruptFileError: It has another digest.
            UnsafeFileError: It is larger than the budget of the load allows.
        """
        with Window.of(self._file(name), f"{self.where}: {name}") as window:
            budget.charge(allocated=window.size)
            data = window.read(0, window.size)
        if name in self._digests and hashlib.sha256(data).hexdigest() != self._digests[name]:
            raise CorruptFileError(f"{self.where} was altered: {name!r} has another digest.")
        return data

    def window(self, name: str) -> Window:
        """The content of a file, which is open until this folder is closed."""
        return self._opened.enter_context(Window.of(self._file(name), f"{self.where}: {name}"))

    def _file(self, name: str) -> Path:
        if name not in self._sizes:
            raise CorruptFileError(f"{self.where} has no file {name!r}.")
        return self._path / name


def json_member(members: Members, name: str) -> dict[str, Any]:
    """The JSON object in a member of a model."""
    where = f"{members.where}: {name}"
    if members.size(name) > _MAX_JSON:
        raise CorruptFileError(f"{where} is larger than {_MAX_JSON} bytes.")
    # Configs may contain infinity, as an argument; metadata has no use for it.
    value = text.parse(members.read(name), where, CorruptFileError, finite=name == METADATA)
    if not isinstance(value, dict):
        raise CorruptFileError(f"{where} is not a JSON object.")
    return value
