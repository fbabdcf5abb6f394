"""Small files in the true formats of the data sets, and the server that publishes them."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np


def idx(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes(), mtime=0)


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=True, **arrays)
    return file.getvalue()


def tar(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo()
    member.type, member.linkname = kind, target
    return member


def python2_batch(
    pixels: np.ndarray, labels: dict[str, list[int]], *, fortran: bool = False
) -> bytes:
    """The pickle that Python 2's cPickle makes of a CIFAR batch at protocol 2."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    def integer(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    content = pixels.tobytes(order="F" if fortran else "C")
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x06"
    array += b"cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08"
    array += b"(K\x01" + integer(pixels.shape[0]) + integer(pixels.shape[1]) + b"\x86"
    array += b"cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87Rq\x0a"
    array += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array += b"\x88" if fortran else b"\x89"
    array += b"T" + struct.pack("<I", len(content)) + content + b"tb"

    items = text("batch_label") + text("training batch 1 of 5") + text("data") + array
    for key, values in labels.items():
        items += text(key) + b"](" + b"".join(integer(value) for value in values) + b"e"
    items += text("filenames") + b"](" + text("frog_s_000004.png") * len(pixels) + b"e"
    return b"\x80\x02}q\x01(" + items + b"u."


@dataclass
class Page:
    """What the server answers under one path."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None  # a Content-Length that may lie
    is_endless: bool = False


@dataclass
class Server:
    address: str
    pages: dict[str, Page]
    requests: list[str]

    def publish(self, name: str, body: bytes = b"", **page) -> tuple[str, str]:
        """Serve ``body`` as ``name``; return its address and SHA-256."""
        self.pages[f"/{name}"] = Page(body, **page)
        return f"{self.address}/{name}", hashlib.sha256(body).hexdigest()


@contextmanager
def serve() -> Iterator[Server]:
    pages: dict[str, Page] = {}
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            page = pages.get(self.path, Page(b"nothing here", status=404))
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            if not page.is_endless:
                declared = len(page.body) if page.declared is None else page.declared
                self.send_header("Content-Length", str(declared))
            self.end_headers()
            try:
                self.wfile.write(page.body)
                while page.is_endless:
                    self.wfile.write(bytes(1 << 16))
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client had enough
            self.close_connection = True

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", pages, requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
