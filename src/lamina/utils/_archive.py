"""Reading and extraction of untrusted tar and zip files.

Nothing can be written outside the destination, by construction rather than by comparing paths: no
links are created, the name of a member is a list of plain path components, every file is new, and
everything is written to a temporary folder that is renamed when it is complete.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, TypeVar

from lamina.errors import ArgumentError, CorruptFileError, UnsafeFileError

_Item = TypeVar("_Item")
_Member = tuple[str, IO[bytes] | None]  # a name and its content, None for a folder

_CHUNK = 1 << 20
_FORMATS = ("tar", "zip")
_COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_DAMAGE = (
    EOFError,
    NotImplementedError,  # an unknown zip compression
    OSError,
    RuntimeError,  # an encrypted zip member
    ValueError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert errors in parsing the content of ``path`` to :class:`CorruptFileError`.

    The name of the file is added to an :class:`UnsafeFileError`. Open files outside the block: a
    missing file is not a damaged one.
    """
    try:
        yield
    except CorruptFileError:
        raise
    except UnsafeFileError as error:
        raise UnsafeFileError(f"Refused to read {path}: {error}") from error
    except _DAMAGE as error:
        raise CorruptFileError(
            f"{path} is damaged or not of the expected format: {error or type(error).__name__}. "
            "Delete it and download it again."
        ) from error


class _BoundedReader:
    """A seekable stream that does not read more than ``LIMIT`` bytes at once.

    `tarfile` reads a header extension at once, whatever its declared size.
    """

    LIMIT = 64 << 20

    def __init__(self, stream: IO[bytes]) -> None:
        self.seek, self.tell = stream.seek, stream.tell
        self._read = stream.read

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.LIMIT:
            raise ValueError(f"a header of the tar file declares {size} bytes")
        return self._read(size)


@contextmanager
def open_tar(file: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """Open a tar file, uncompressed or compressed with gzip, bzip2 or xz, with bounded memory."""
    magic = file.read(6)
    file.seek(0)
    opener = next(
        (open_ for start, open_ in _COMPRESSIONS.items() if magic.startswith(start)), None
    )
    with opener(file) if opener else nullcontext(file) as stream:
        reader: IO[bytes] = _BoundedReader(stream)  # pyright: ignore[reportAssignmentType]
        with tarfile.open(fileobj=reader, mode="r:") as tar:
            yield tar


def archive_formats(choice: str | Sequence[str] | None) -> frozenset[str]:
    """Convert an ``archive_format`` argument to a set of formats.

    Raises:
        ArgumentError: If it names another format.
    """
    named = [choice] if isinstance(choice, str) else list(choice or ())
    if unknown := [name for name in named if name not in ("auto", *_FORMATS)]:
        raise ArgumentError(
            "`archive_format` expects 'auto', 'tar', 'zip', a list of these, or None. "
            f"Received: {unknown[0]!r}. Pass `extract=False` to leave the file as it is."
        )
    return frozenset(_FORMATS if "auto" in named else named)


def extract(archive: Path, destination: Path, formats: Collection[str], max_bytes: int) -> None:
    """Extract ``archive`` to the folder ``destination``, which is replaced atomically.

    Args:
        archive: A tar file, possibly compressed, or a zip file.
        destination: The folder to create; it is unchanged if the extraction fails.
        formats: The formats that the file may have: ``"tar"``, ``"zip"`` or both.
        max_bytes: Maximum total size of the members.

    Raises:
        UnsafeFileError: If a member is a link or a device or is outside the destination, or if the
            members have more than ``max_bytes`` in total.
        CorruptFileError: If the archive is damaged or of none of these formats.
    """
    with (
        _opened(archive, formats) as members,
        tempfile.TemporaryDirectory(dir=destination.parent, prefix=".extract-") as scratch,
    ):
        content = Path(scratch, "content")
        content.mkdir()
        _write(archive, members, content, max_bytes)
        if destination.exists():
            os.rename(destination, Path(scratch, "replaced"))
        os.rename(content, destination)


@contextmanager
def _opened(archive: Path, formats: Collection[str]) -> Iterator[Iterator[_Member]]:
    with open(archive, "rb") as file:
        looks_like_zip = file.read(2) == b"PK"
        file.seek(0)
        is_zip = "zip" in formats and (looks_like_zip or "tar" not in formats)
        yield _zip_members(file) if is_zip else _tar_members(file)


def check_extracted(archive: Path, folder: Path, formats: Collection[str]) -> None:
    """Compare the files that :func:`extract` wrote with the archive.

    Raises:
        CorruptFileError: One is missing or differs. Further files in the folder do not matter.
    """
    with _opened(archive, formats) as members:
        for name, source in _each(archive, members):
            path = folder.joinpath(*_plain_parts(archive, name))
            if source is None:
                continue
            is_same = path.is_file() and not path.is_symlink()
            if is_same:
                with open(path, "rb") as file:
                    chunks = _each(archive, iter(partial(source.read, _CHUNK), b""))
                    is_same = all(file.read(len(c)) == c for c in chunks) and not file.read(1)
            if not is_same:
                raise CorruptFileError(
                    f"The extracted file {path} differs from the one in {archive}. Delete the "
                    "folder to extract it again."
                )


def _write(archive: Path, members: Iterator[_Member], content: Path, max_bytes: int) -> None:
    left = max_bytes
    for name, source in _each(archive, members):
        target = content.joinpath(*_plain_parts(archive, name))
        try:
            if source is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as file:
                for chunk in _each(archive, iter(partial(source.read, _CHUNK), b"")):
                    left -= len(chunk)
                    if left < 0:
                        raise UnsafeFileError(
                            f"Stopped extracting {archive} at {name!r}: expected at most "
                            f"{max_bytes} bytes in total. Raise `max_bytes` if you trust the file."
                        )
                    file.write(chunk)
        except (FileExistsError, NotADirectoryError):
            raise CorruptFileError(
                f"Cannot extract {archive}: two of its members are named {name!r}."
            ) from None


def _each(archive: Path, items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield ``items``; errors in reading them, unlike in writing, mean a corrupt file."""
    while True:
        with reading(archive):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def _plain_parts(archive: Path, name: str) -> tuple[str, ...]:
    # The rules of Windows are stricter: paths have drives and two kinds of separators.
    path = PureWindowsPath(name)
    if path.anchor or ".." in path.parts or "\\" in name or "\0" in name:
        raise UnsafeFileError(
            f"Refused to extract {archive}: expected members below its own folder, "
            f"received one named {name!r}."
        )
    return path.parts


def _tar_members(file: IO[bytes]) -> Iterator[_Member]:
    with open_tar(file) as tar:
        for member in tar:
            if not (member.isdir() or member.isreg()):
                raise _not_plain(member.name)
            yield member.name, tar.extractfile(member)


def _zip_members(file: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _not_plain(member.filename)
            if member.is_dir():
                yield member.filename, None
            else:
                with archive.open(member) as source:
                    yield member.filename, source


def _not_plain(name: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"its member {name!r} is a link or a device; expected plain files and folders only."
    )
