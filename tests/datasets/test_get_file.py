"""The downloader: what it accepts, what it refuses, and what a failure leaves behind."""

import hashlib
import re
import socket
from pathlib import Path

import pytest

from lamina.errors import ArgumentError, CorruptFileError, DownloadError
from lamina.utils import get_file

BODY = bytes(range(256)) * 5000  # more than one chunk


def test_downloads_once_and_checks_again(server, cache):
    origin, sha256 = server.publish("numbers.bin", BODY)
    for _ in range(2):
        path = get_file(origin=origin, file_hash=sha256)
        assert path == str(cache / "numbers.bin")
        assert (cache / "numbers.bin").read_bytes() == BODY
    assert server.requests == ["/numbers.bin"]


def test_is_silent_without_a_terminal(server, cache, capfd):
    get_file(origin=server.publish("numbers.bin", BODY)[0])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
@pytest.mark.parametrize("choice", ["auto", "named"])
def test_digest_algorithms(server, cache, algorithm, choice):
    origin, _ = server.publish("numbers.bin", BODY)
    digest = hashlib.new(algorithm, BODY).hexdigest().upper()
    named = {"hash_algorithm": algorithm} if choice == "named" else {}
    assert get_file("copy.bin", origin, file_hash=digest, **named) == str(cache / "copy.bin")


def test_md5_hash_of_old_programs(server, cache):
    origin, sha256 = server.publish("numbers.bin", BODY)
    digest = hashlib.md5(BODY).hexdigest()
    path = str(cache / "numbers.bin")
    assert get_file("numbers.bin", origin, False, digest) == path
    assert get_file("numbers.bin", origin, md5_hash="0" * 32, file_hash=sha256) == path
    with pytest.raises(CorruptFileError, match="received md5"):
        get_file("numbers.bin", origin, md5_hash="0" * 32)


def test_folders_and_names(server, cache, tmp_path):
    origin, _ = server.publish("a%20b.txt", b"x")
    assert get_file(origin=origin) == str(cache / "a b.txt")
    assert get_file("c.txt", origin, cache_dir=tmp_path / "d") == str(tmp_path / "d/datasets/c.txt")
    assert get_file("c.txt", origin, cache_subdir="e/f") == str(cache.parent / "e/f/c.txt")
    assert get_file(tmp_path / "g/h.txt", origin) == str(tmp_path / "g/h.txt")


def test_force_download_replaces(server, cache):
    origin, _ = server.publish("numbers.bin", b"old")
    get_file(origin=origin)
    server.publish("numbers.bin", b"new")
    assert Path(get_file(origin=origin)).read_bytes() == b"old"
    assert Path(get_file(origin=origin, force_download=True)).read_bytes() == b"new"


def test_follows_a_redirection_to_this_machine(server, cache):
    server.publish("there.bin", BODY)
    origin, _ = server.publish("here.bin", status=302, headers={"Location": "/there.bin"})
    assert Path(get_file(origin=origin)).read_bytes() == BODY


def test_wrong_digest_stores_nothing(server, cache):
    origin, sha256 = server.publish("numbers.bin", BODY)
    with pytest.raises(DownloadError, match="differs from the published") as caught:
        get_file(origin=origin, file_hash="0" * 64)
    assert "0" * 64 in str(caught.value)
    assert sha256 in str(caught.value)
    assert list(cache.iterdir()) == []


def test_poisoned_cache_is_an_error_not_a_download(server, cache):
    origin, sha256 = server.publish("numbers.bin", BODY)
    path = cache / "numbers.bin"
    get_file(origin=origin, file_hash=sha256)
    path.write_bytes(b"poison")
    with pytest.raises(CorruptFileError, match=re.escape(str(path))) as caught:
        get_file(origin=origin, file_hash=sha256)
    assert sha256 in str(caught.value)
    assert hashlib.sha256(b"poison").hexdigest() in str(caught.value)
    assert "force_download=True" in str(caught.value)
    assert server.requests == ["/numbers.bin"]
    assert path.read_bytes() == b"poison"


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ({"declared": len(BODY) + 1}, "it ended after 1280000 of 1280001 bytes"),
        ({"headers": {"Location": "file:///etc/hostname"}, "status": 302}, "file:"),
        ({"headers": {"Location": "ftp://127.0.0.1/x"}, "status": 302}, "ftp:"),
        ({"headers": {"Location": "http://example.com/x"}, "status": 302}, "redirects to"),
        ({"headers": {"Location": "http://[/x"}, "status": 302}, "Invalid IPv6"),
        ({"headers": {"Location": "/numbers.bin"}, "status": 301}, "more than 10 redirects"),
        ({"status": 503}, "503 Service Unavailable"),
        ({"declared": 1 << 40}, "larger than the expected 2000000 bytes"),
        ({"is_endless": True}, "larger than the expected 2000000 bytes"),
    ],
)
@pytest.mark.parametrize("is_cached", [False, True])
def test_failure_leaves_the_cache_as_it_was(server, cache, page, message, is_cached):
    cache.mkdir(parents=True)
    if is_cached:
        (cache / "numbers.bin").write_bytes(b"before")
    origin, _ = server.publish("numbers.bin", BODY, **page)
    with pytest.raises(DownloadError, match=message) as caught:
        get_file(origin=origin, force_download=True, max_bytes=2_000_000)
    assert origin in str(caught.value)
    assert str(cache / "numbers.bin") in str(caught.value)
    assert [path.name for path in cache.iterdir()] == ["numbers.bin"] * is_cached
    assert not is_cached or (cache / "numbers.bin").read_bytes() == b"before"


def test_a_download_has_a_total_time(server, cache):
    origin, _ = server.publish("numbers.bin", BODY, is_endless=True)
    with pytest.raises(DownloadError, match=r"more than 0\.05 s \(`max_seconds`\)"):
        get_file(origin=origin, max_bytes=1 << 60, max_seconds=0.05)
    assert list(cache.iterdir()) == []


def test_nothing_is_visible_while_the_download_runs(server, cache, monkeypatch):
    seen = []

    def spy(descriptor):
        seen.extend(path.name for path in cache.iterdir())

    monkeypatch.setattr("os.fsync", spy)
    get_file(origin=server.publish("numbers.bin", BODY)[0])
    (name,) = seen
    assert re.fullmatch(r"\.numbers\.bin\.[0-9a-f]{16}\.part", name)


def test_without_a_network_the_error_names_the_way_out(cache):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(DownloadError, match="Connection refused") as caught:
        get_file(origin=f"http://127.0.0.1:{port}/numbers.bin")
    assert str(cache / "numbers.bin") in str(caught.value)


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com/x",
        "http://127.0.0.1@example.com/x",
        "http://localhost.example.com/x",
        "file:///etc/hostname",
        "ftp://127.0.0.1/x",
        "data:text/plain,x",
        "https:///x",
        "http://[/x",
        "/etc/hostname",
        "",
    ],
)
def test_refused_addresses(cache, origin):
    with pytest.raises(ArgumentError, match="downloads over https"):
        get_file("x", origin)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", ".", ""])
def test_refused_names(cache, name):
    with pytest.raises(ArgumentError, match="`fname`"):
        get_file(name, "https://example.com/x")


@pytest.mark.parametrize("end", ["", "/", "%2e%2e", "%2e%2e%2f%2e%2e"])
def test_refused_names_from_the_address(cache, end):
    with pytest.raises(ArgumentError, match="`fname`"):
        get_file(origin=f"https://example.com{end and '/' + end}")


@pytest.mark.parametrize(
    "arguments",
    [
        {"origin": None},
        {"file_hash": "12"},
        {"file_hash": "0" * 32, "hash_algorithm": "sha256"},
        {"hash_algorithm": "sha1"},
    ],
)
def test_refused_arguments(cache, arguments):
    with pytest.raises(ArgumentError, match="expects"):
        get_file(**{"origin": "https://example.com/x", **arguments})
