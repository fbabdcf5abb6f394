"""Reading of zip archives as untrusted input: nothing in them may be read in two ways.

Programs that scan a file, and the one that loads it, must see the same members. So the members
follow one another from the first byte of the file to its index, the index ends the file, and what
the index says of a member is what its own header says.
"""

from __future__ import annotations

import io
import re
import struct
import unicodedata
import zipfile
import zlib
from typing import BinaryIO, Protocol

import numpy as np

from lamina.errors import CorruptFileError, UnsafeFileError
from lamina.runtime import budget
from lamina.runtime.files import Window

# Bits of a member's flags.
_ENCRYPTED, _HAS_DESCRIPTOR, _UTF8 = 1 | 1 << 6 | 1 << 13, 1 << 3, 1 << 11
_DESCRIPTORS = (12, 16, 20, 24)  # sizes in bytes of what may follow the data
_LARGEST_INDEX = 4 * 2**20
_CHUNK = 2**20
# Characters that separate folders, or that some file systems do not allow in names.
_UNSAFE = re.compile(r'[\\:*?"<>|\x00-\x1f]')


class _Member(Protocol):
    """The index entry of a member: a ``zipfile.ZipInfo``."""

    filename: str
    orig_filename: str
    flag_bits: int
    compress_type: int
    header_offset: int
    compress_size: int
    file_size: int
    CRC: int


class Archive:
    """The members of a zip archive.

    Args:
        file: A binary file object that can seek; it stays open.
        where: Its name in messages.

    Raises:
        CorruptFileError: It is not a zip archive, is truncated, or can be read in two ways.
        UnsafeFileError: A name leads out of the archive.
    """

    def __init__(self, file: BinaryIO, where: str) -> None:
        self.where = where
        self._window = Window(file, where)
        end = self._end_of_members()
        try:
            with zipfile.ZipFile(file) as index:
                members: list[_Member] = list(index.infolist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as e:
            raise CorruptFileError(f"{where}: the index of the archive is damaged: {e}") from e
        self._members = {m.filename: m for m in members}
        self._starts: dict[str, int] = {}
        self._check_names(members)
        self._check_positions(members, end)

    def names(self) -> list[str]:
        """The names of the members, without folders, in the order of the index."""
        return [name for name in self._members if not name.endswith("/")]

    def size(self, name: str) -> int:
        """The size of a member in bytes, as it says; reading checks it."""
        return self._member(name).file_size

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises:
            CorruptFileError: It is damaged: its size or its checksum differs.
            UnsafeFileError: It is larger than the budget of the load allows.
        """
        member = self._member(name)
        budget.charge(allocated=member.file_size)
        data = self._window.read(self._starts[name], member.compress_size)
        if member.compress_type != zipfile.ZIP_STORED:
            inflater = zlib.decompressobj(-15)
            try:
                data = inflater.decompress(data, member.file_size + 1)
            except zlib.error as e:
                raise CorruptFileError(f"{self.where}: {name} cannot be read: {e}") from e
            if not inflater.eof or inflater.unused_data:
                raise CorruptFileError(f"{self.where}: {name} does not inflate to what it says.")
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise self._altered(name)
        return data

    def window(self, name: str) -> Window:
        """The content of a member, which is read in place if it is not compressed."""
        member, where = self._member(name), f"{self.where}: {name}"
        if member.compress_type != zipfile.ZIP_STORED:
            return Window(io.BytesIO(self.read(name)), where)
        if member.compress_size != member.file_size:
            raise self._altered(name)
        window = self._window.part(self._starts[name], member.file_size, where)
        crc, buffer = 0, np.empty(min(_CHUNK, member.file_size), np.uint8)
        for at in range(0, member.file_size, _CHUNK):
            chunk = buffer[: member.file_size - at]
            window.read_into(at, chunk)
            crc = zlib.crc32(chunk.data, crc)
        if crc != member.CRC:
            raise self._altered(name)
        return window

    def _member(self, name: str) -> _Member:
        if name not in self._members:
            raise CorruptFileError(f"{self.where} has no member {name!r}.")
        return self._members[name]

    def _altered(self, name: str) -> CorruptFileError:
        return CorruptFileError(
            f"{self.where}: {name} was altered: its size or its checksum does not match."
        )

    def _ambiguous(self, reason: str) -> CorruptFileError:
        return CorruptFileError(
            f"{self.where} is damaged, or made to be read in two ways: {reason}."
        )

    def _end_of_members(self) -> int:
        """The position of the index, which must end the file."""
        size, read = self._window.size, self._window.read
        if size < 22 or (end := read(size - 22, 22))[:4] != b"PK\x05\x06":
            raise CorruptFileError(f"{self.where} is not a zip archive, or it is truncated.")
        numbers = struct.unpack("<HHHHIIH", end[4:])
        at = size - 22
        if size >= 42 + 56 and (locator := read(size - 42, 20))[:4] == b"PK\x06\x07":
            at = size - 42 - 56
            wide = struct.unpack("<4sQHHIIQQQQ", read(at, 56))
            if wide[0] != b"PK\x06\x06" or struct.unpack("<IQI", locator[4:]) != (0, at, 1):
                raise self._ambiguous("its index has two positions")
            limits = (*(2**16 - 1,) * 4, *(2**32 - 1,) * 2)
            if any(
                a not in (b, limit)
                for a, b, limit in zip(numbers[:6], wide[4:], limits, strict=True)
            ):
                raise self._ambiguous("its index is described twice, differently")
            numbers = (*wide[4:], numbers[6])
        disk, first, here, count, length, start, comment = numbers
        if (disk, first, comment) != (0, 0, 0) or here != count:
            raise self._ambiguous("there is something after its index")
        if start + length != at:
            raise self._ambiguous("there is something before or after its members")
        if length > _LARGEST_INDEX:
            raise UnsafeFileError(
                f"{self.where} has an index of {length} bytes, for {count} members.",
                expected=f"at most {_LARGEST_INDEX} bytes",
            )
        budget.charge(nodes=length // 46)
        return start

    def _check_names(self, members: list[_Member]) -> None:
        seen: set[str] = set()
        folders: set[str] = set()
        for m in members:
            parts = m.filename.removesuffix("/").split("/")
            if (
                m.filename != m.orig_filename
                or _UNSAFE.search(m.orig_filename)
                or any(p in ("", ".", "..") or p != p.strip() or p.endswith(".") for p in parts)
            ):
                raise UnsafeFileError(
                    f"{self.where} contains a file with an unsafe name, such as one that leads out "
                    f"of the archive: {m.orig_filename[:100]!r}."
                )
            plain = unicodedata.normalize("NFKC", m.filename).casefold()
            if plain in seen:
                raise self._ambiguous(f"two members of the same name, {m.filename[:100]!r}")
            seen.add(plain)
            folders.update("/".join(plain.split("/")[:i]) for i in range(1, plain.count("/") + 1))
        if both := seen & folders:
            raise self._ambiguous(f"a file and a folder of the same name, {min(both)[:100]!r}")

    def _check_positions(self, members: list[_Member], end: int) -> None:
        at, gaps = 0, (0,)
        for m in sorted(members, key=lambda m: m.header_offset):
            name = m.filename
            if m.flag_bits & _ENCRYPTED:
                raise CorruptFileError(f"{self.where}: {name[:100]!r} is encrypted.")
            if m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise CorruptFileError(
                    f"{self.where}: {name[:100]!r} is compressed by method {m.compress_type}.",
                    expected="members that are stored or deflated, as Keras writes them",
                )
            if m.header_offset - at not in gaps:
                raise self._ambiguous(f"there is something before {name[:100]!r}")
            header = self._window.read(m.header_offset, 30)
            kind, _, flags, method, *_, crc, packed, size, length, extra = struct.unpack(
                "<4sHHHHHIIIHH", header
            )
            stated = self._window.read(m.header_offset + 30, length)
            mine = m.orig_filename.encode("utf-8" if m.flag_bits & _UTF8 else "cp437")
            later = flags & _HAS_DESCRIPTOR
            if (
                kind != b"PK\x03\x04" or flags != m.flag_bits or method != m.compress_type
                or stated != mine or crc not in ((m.CRC, 0) if later else (m.CRC,))
                or any(a not in ((b, 2**32 - 1, 0) if later else (b, 2**32 - 1))
                       for a, b in ((packed, m.compress_size), (size, m.file_size)))
            ):  # fmt: skip
                raise self._ambiguous(f"{name[:100]!r} differs from what the index says")
            self._starts[name] = m.header_offset + 30 + length + extra
            at, gaps = self._starts[name] + m.compress_size, _DESCRIPTORS if later else (0,)
        if end - at not in gaps:
            raise self._ambiguous("there is something after the last member")
