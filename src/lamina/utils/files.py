"""Downloads into a cache: checked, size-limited, atomic.

A file is in the cache under its own name only when all of it arrived and its digest is right.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lamina import settings
from lamina.errors import ArgumentError, CorruptFileError, DownloadError
from lamina.utils._archive import archive_formats
from lamina.utils._archive import extract as extract_archive

_TIMEOUT = 30.0  # seconds without a byte
_MOST_REDIRECTIONS = 10
_CHUNK = 1 << 20
_DIGEST_LENGTHS = {"sha256": 64, "md5": 32}


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str | os.PathLike[str] = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | Sequence[str] | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    *,
    max_bytes: int = 4 << 30,
) -> str:
    """Return the path of a cached file, downloading it first when it is not there.

    Addresses are https; plain http is accepted from this machine only (``localhost``,
    ``127.0.0.1``, ``::1``), and a redirection may not leave https. Give ``file_hash``
    whenever it is known: it is checked after the download and each time the cached file is used.

    Args:
        fname: Name in the cache, by default the last part of ``origin``; an absolute path is used
            as it is.
        origin: Address to download from.
        untar: Another way to write ``extract``, kept for old programs.
        md5_hash: Another way to write ``file_hash``, kept for old programs; ``file_hash`` wins.
        file_hash: Expected digest in hexadecimal; ``None`` accepts any content.
        cache_subdir: Folder below ``cache_dir``; an absolute path is used as it is.
        hash_algorithm: ``"sha256"``, ``"md5"``, or ``"auto"`` to tell by the digest's length.
        extract: Unpack a tar or zip file and return the folder instead. The folder is ``fname``
            up to its first dot, followed by ``_extracted``; or just the name, where ``fname`` has
            no dot or is left out, and then the archive is kept with ``_archive`` behind its name.
            Links, devices and names that lead outside are refused.
        archive_format: ``"tar"``, ``"zip"`` or a list of these that the file may be; ``"auto"``
            for both; None or an empty list to leave it packed.
        cache_dir: Folder of the cache, by default :func:`lamina.config.cache_home`.
        force_download: Download even when the file is cached.
        max_bytes: Largest size of the download, and of the unpacked content.

    Returns:
        Absolute path of the file, or of the folder when ``extract`` is true.

    Raises:
        ArgumentError: If an argument is missing or malformed, or the address is refused.
        DownloadError: If the download fails, is too large, or has another digest.
        CorruptFileError: If the cached file has another digest, or an archive is damaged.
        UnsafeFileError: If an archive holds more than plain files below one folder.

    Example::

        path = lamina.utils.get_file(
            "mnist.npz",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
            file_hash="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        )
    """
    if origin is None:
        raise ArgumentError("get_file() expects `origin`, the address to download from.")
    if not _is_allowed(origin):
        raise ArgumentError(f"get_file() {_REFUSED} Received: origin={origin!r}.")
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    algorithm = _algorithm(hash_algorithm, file_hash)
    formats = archive_formats(archive_format)
    name = Path(fname if fname is not None else PurePosixPath(unquote(urlsplit(origin).path)).name)
    if not name.name or ".." in name.parts:
        raise ArgumentError(
            "get_file() expects `fname` to name a file below the cache folder, or to be an "
            f"absolute path. Received: {str(name)!r}."
        )
    target = Path(cache_dir or settings.cache_home(), cache_subdir, name).expanduser().absolute()
    unpacked: Path | None = None
    if (extract or untar) and formats:
        stem, dot, _ = target.name.partition(".")
        unpacked = target
        if fname is not None and dot:
            unpacked = target.with_name(f"{stem}_extracted")
        else:
            target = target.with_name(f"{target.name}_archive")
        _refuse(unpacked, unpacked.is_file(), "a file", "a folder to unpack into")
    _refuse(target, target.is_dir(), "a folder", "a file to download")

    is_new = force_download or not target.exists()
    if is_new:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(origin, target, algorithm, file_hash, max_bytes)
    elif file_hash is not None:
        _check_cached(target, origin, algorithm, file_hash)
    if unpacked is None:
        return str(target)
    if is_new or not unpacked.exists():
        extract_archive(target, unpacked, formats, max_bytes)
    return str(unpacked)


def _refuse(path: Path, is_other: bool, other: str, wanted: str) -> None:
    """A name under which the cache has something of the other kind."""
    if is_other:
        raise ArgumentError(
            f"get_file() expects {wanted} at {path}. There is {other} of that name, from a call "
            "with another `extract`. Pass another `fname`, or delete it."
        )


# ---------------------------------------------------------------------------------------- digests


def _algorithm(hash_algorithm: str, file_hash: str | None) -> str:
    if hash_algorithm not in ("auto", *_DIGEST_LENGTHS):
        raise ArgumentError(
            f"`hash_algorithm` expects 'auto', 'sha256' or 'md5'. Received: {hash_algorithm!r}."
        )
    if file_hash is None:
        return "sha256"
    for algorithm, length in _DIGEST_LENGTHS.items():
        if hash_algorithm in ("auto", algorithm) and len(file_hash) == length:
            return algorithm
    raise ArgumentError(
        "`file_hash` expects 64 hexadecimal digits for sha256 or 32 for md5. "
        f"Received: {file_hash!r} with hash_algorithm={hash_algorithm!r}."
    )


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        # The digest names published content; MD5 is only used where nothing better is published.
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()


def _check_cached(path: Path, origin: str, algorithm: str, expected: str) -> None:
    received = _digest(path, algorithm)
    if received != expected.lower():
        raise CorruptFileError(
            f"The cached file {path} is not the published one.\n"
            f"  expected {algorithm}: {expected}\n"
            f"  received {algorithm}: {received}\n"
            f"Delete it to get it again from {origin}, or pass `force_download=True` to `get_file`."
        )


# --------------------------------------------------------------------------------------- download

_REFUSED = "downloads over https, or over http from this machine only."


def _is_allowed(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:  # brackets that hold no IPv6 address
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _opener() -> urllib.request.OpenerDirector:
    """An opener that knows http and https only; `build_opener` would add file, ftp and data."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _open(address: str) -> http.client.HTTPResponse:
    """Open ``address``, following redirections to allowed addresses that do not leave https."""
    opener = _opener()
    for _ in range(_MOST_REDIRECTIONS):
        # S310 asks who checked the address: get_file the first one, the lines below the others.
        request = urllib.request.Request(address, headers={"User-Agent": "lamina"})  # noqa: S310
        try:
            return opener.open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            error.close()
            location = error.headers.get("Location")
            if location is None or error.code not in (301, 302, 303, 307, 308):
                raise
        target = urljoin(address, location)
        leaves_https = urlsplit(address).scheme == "https" != urlsplit(target).scheme
        if leaves_https or not _is_allowed(target):
            raise DownloadError(f"it redirects to {target}, but Lamina {_REFUSED}")
        address = target
    raise DownloadError(f"it redirects more than {_MOST_REDIRECTIONS} times")


def _download(
    origin: str, target: Path, algorithm: str, expected: str | None, max_bytes: int
) -> None:
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            file.writelines(_chunks(origin, target, max_bytes))
            file.flush()
            os.fsync(file.fileno())
        received = _digest(part, algorithm)
        if expected is not None and received != expected.lower():
            raise DownloadError(
                f"{origin} did not give the published file; nothing was stored.\n"
                f"  expected {algorithm}: {expected}\n"
                f"  received {algorithm}: {received}\n"
                "Try again, or check whether a proxy answers in its place."
            )
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _chunks(origin: str, target: Path, max_bytes: int) -> Iterator[bytes]:
    """Yield the body of ``origin``; every failure of the network becomes one `DownloadError`."""
    too_large = DownloadError(f"it is larger than the expected {max_bytes} bytes (`max_bytes`)")
    try:
        with _open(origin) as response:
            header = response.headers.get("Content-Length", "")
            declared = int(header) if header.isdecimal() else None
            if declared is not None and declared > max_bytes:
                raise too_large
            received = 0
            with _progress() as progress:
                task = progress.add_task(target.name, total=declared)
                while chunk := response.read(_CHUNK):
                    received += len(chunk)
                    if received > max_bytes:
                        raise too_large
                    progress.update(task, completed=received)
                    yield chunk
            if declared is not None and received != declared:
                raise DownloadError(f"it ended after {received} of {declared} bytes")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        status = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        raise DownloadError(
            f"Could not download {origin}: {status}{reason or type(error).__name__}. "
            f"You can also put the file at {target} yourself."
        ) from error


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
