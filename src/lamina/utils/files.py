"""Downloads to a cache: verified, limited in size, atomic.

A file appears in the cache under its name only when it is complete and its digest is correct.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lamina import settings
from lamina.errors import ArgumentError, CorruptFileError, DownloadError
from lamina.utils._archive import archive_formats, check_extracted
from lamina.utils._archive import extract as extract_archive

_TIMEOUT = 30.0  # seconds without data
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
    max_seconds: float = 7200,
) -> str:
    """Return the path of a cached file, which is downloaded if necessary.

    URLs must be https; http is accepted from this machine only (``localhost``, ``127.0.0.1``,
    ``::1``), and redirects must stay on https. Pass ``file_hash`` whenever it is known: it is
    verified after the download and each time the cached file is used; extracted files are compared
    with the archive.

    Args:
        fname: Name in the cache, by default the last part of ``origin``; or an absolute path.
        origin: URL to download from.
        untar: Deprecated name of ``extract``.
        md5_hash: Deprecated name of ``file_hash``, which takes precedence.
        file_hash: Expected digest in hexadecimal; ``None`` accepts any content.
        cache_subdir: Folder in ``cache_dir``, or an absolute path.
        hash_algorithm: ``"sha256"``, ``"md5"``, or ``"auto"`` to infer it from the length of the
            digest.
        extract: Whether to extract a tar or zip file and return the folder instead. The folder is
            named ``fname`` up to its first dot, followed by ``_extracted``; without a dot, or
            without ``fname``, it has the name of the file, and the suffix ``_archive`` is added to
            that of the archive. Links, devices and paths outside the folder are refused.
        archive_format: ``"tar"``, ``"zip"`` or a list of these: the formats that the file may have;
            ``"auto"`` for both; None or an empty list for no extraction.
        cache_dir: Folder of the cache, by default :func:`lamina.config.cache_home`.
        force_download: Whether to download the file even if it is cached.
        max_bytes: Maximum size of the download, and of the extracted files in total.
        max_seconds: Maximum duration of the download, however much arrives.

    Returns:
        Absolute path of the file, or of the folder if ``extract`` is true.

    Raises:
        ArgumentError: If an argument is missing or invalid, or the URL is refused.
        DownloadError: If the download fails, is too large, or has another digest.
        CorruptFileError: If the cached file has another digest, or an archive is damaged.
        UnsafeFileError: If an archive contains more than regular files and folders inside it.

    Example::

        path = lamina.utils.get_file(
            "mnist.npz",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
            file_hash="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        )

    A file that is in the cache already is not downloaded:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pathlib.Path(folder, "datasets").mkdir()
    ...     _ = pathlib.Path(folder, "datasets", "words.txt").write_text("red")
    ...     path = get_file("words.txt", "https://example.com/words.txt", cache_dir=folder)
    ...     pathlib.Path(path).read_text()
    'red'
    """
    if origin is None:
        raise ArgumentError("get_file() expects `origin`, the URL to download from.")
    if not _is_allowed(origin):
        raise ArgumentError(f"get_file() {_REFUSED} Received: origin={origin!r}.")
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    algorithm = _algorithm(hash_algorithm, file_hash)
    formats = archive_formats(archive_format)
    name = Path(fname if fname is not None else PurePosixPath(unquote(urlsplit(origin).path)).name)
    if not name.name or ".." in name.parts:
        raise ArgumentError(
            "get_file() expects `fname` to name a file in the cache folder, or to be an "
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
        _download(origin, target, algorithm, file_hash, (max_bytes, max_seconds))
    elif file_hash is not None:
        _check_cached(target, origin, algorithm, file_hash)
    if unpacked is None:
        return str(target)
    if is_new or not unpacked.exists():
        extract_archive(target, unpacked, formats, max_bytes)
    else:
        check_extracted(target, unpacked, formats)
    return str(unpacked)


def _refuse(path: Path, is_other: bool, other: str, wanted: str) -> None:
    """Raise an error if the cache has a file instead of a folder of that name, or vice versa."""
    if is_other:
        raise ArgumentError(
            f"get_file() expects {wanted} at {path}, but there is {other} of that name from a call "
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
        # The digest identifies published content; MD5 is used only if no better digest is
        # published.
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()


def _check_cached(path: Path, origin: str, algorithm: str, expected: str) -> None:
    received = _digest(path, algorithm)
    if received != expected.lower():
        raise CorruptFileError(
            f"The cached file {path} differs from the published one.\n"
            f"  expected {algorithm}: {expected}\n"
            f"  received {algorithm}: {received}\n"
            f"Delete it to download {origin} again, or pass `force_download=True` to `get_file`."
        )


# --------------------------------------------------------------------------------------- download

_REFUSED = "downloads over https, or over http from this machine only."


def _is_allowed(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:  # brackets without an IPv6 address
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
    """An opener for http and https only; `build_opener` would add file, ftp and data."""
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
    """Open ``address``, following redirects to allowed URLs that stay on https."""
    opener = _opener()
    for _ in range(_MOST_REDIRECTIONS):
        # S310: get_file has checked the first URL, the lines below check the others.
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
    raise DownloadError(f"there are more than {_MOST_REDIRECTIONS} redirects")


def _download(
    origin: str, target: Path, algorithm: str, expected: str | None, limits: tuple[int, float]
) -> None:
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            file.writelines(_chunks(origin, target, *limits))
            file.flush()
            os.fsync(file.fileno())
        received = _digest(part, algorithm)
        if expected is not None and received != expected.lower():
            raise DownloadError(
                f"The file at {origin} differs from the published one; it was not stored.\n"
                f"  expected {algorithm}: {expected}\n"
                f"  received {algorithm}: {received}\n"
                "Try again, or check whether a proxy has answered instead."
            )
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _chunks(origin: str, target: Path, max_bytes: int, max_seconds: float) -> Iterator[bytes]:
    """Yield the content at ``origin``; network errors are converted to :class:`DownloadError`."""
    too_large = DownloadError(f"it is larger than the expected {max_bytes} bytes (`max_bytes`)")
    end = time.monotonic() + max_seconds
    try:
        with _open(origin) as response:
            header = response.headers.get("Content-Length", "")
            declared = int(header) if header.isdecimal() else None
            if declared is not None and declared > max_bytes:
                raise too_large
            received = 0
            with _progress() as progress:
                task = progress.add_task(target.name, total=declared)
                while chunk := response.read1(_CHUNK):  # what has arrived, however little
                    received += len(chunk)
                    if received > max_bytes:
                        raise too_large
                    if time.monotonic() > end:
                        raise DownloadError(f"it took more than {max_seconds} s (`max_seconds`)")
                    progress.update(task, completed=received)
                    yield chunk
            if declared is not None and received != declared:
                raise DownloadError(f"it ended after {received} of {declared} bytes")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        status = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        raise DownloadError(
            f"Could not download {origin}: {status}{reason or type(error).__name__}. "
            f"You can also save the file as {target} yourself."
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
