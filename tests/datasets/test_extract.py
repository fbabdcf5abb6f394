"""Unpacking: plain files arrive; nothing is ever written outside of the destination."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from lamina.errors import ArgumentError, CorruptFileError, UnsafeFileError
from lamina.utils import get_file
from tests.datasets.builders import link, tar

GOOD = {"pics/a.txt": b"a", "pics/deep/b.txt": b"b" * 3_000_000, "./c d.txt": b"c"}


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def content_of(folder):
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz", "x.zip"])
def test_every_format(server, cache, name):
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(
        name.rpartition(".")[2], "w:"
    )
    body = zipped({**GOOD, "empty/": b""}) if name == "x.zip" else tar(GOOD, mode)
    origin, sha256 = server.publish(name, body)
    folder = get_file(name, origin, file_hash=sha256, extract=True)
    assert folder == str(cache / "x_extracted")
    assert content_of(folder) == {os.path.normpath(key): value for key, value in GOOD.items()}
    assert get_file(name, origin, file_hash=sha256, extract=True) == folder
    assert len(server.requests) == 1
    assert sorted(os.listdir(cache)) == sorted([name, "x_extracted"])


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("change", ["altered", "longer", "missing", "link"])
def test_extracted_files_are_compared_with_the_archive(server, cache, tmp_path, kind, change):
    name = f"x.{kind}"
    origin, sha256 = server.publish(name, zipped(GOOD) if kind == "zip" else tar(GOOD, "w:"))
    folder = Path(get_file(name, origin, file_hash=sha256, extract=True))
    (folder / "more").write_bytes(b"made by a user")
    assert get_file(name, origin, file_hash=sha256, extract=True) == str(folder)
    path = next(p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "more")
    content = path.read_bytes()
    path.unlink()
    if change == "link":
        (tmp_path / "same").write_bytes(content)
        path.symlink_to(tmp_path / "same")
    elif change != "missing":
        path.write_bytes(content + b"x" if change == "longer" else b"x" + content[1:])
    with pytest.raises(CorruptFileError, match=r"The extracted file .* differs"):
        get_file(name, origin, file_hash=sha256, extract=True)


@pytest.mark.parametrize("argument", ["extract", "untar"])
@pytest.mark.parametrize(
    ("fname", "folder", "archive"),
    [
        ("pictures", "pictures", "pictures_archive"),
        (None, "x.tgz", "x.tgz_archive"),
        ("pictures.foo", "pictures_extracted", "pictures.foo"),
        ("pictures.1.tar.gz", "pictures_extracted", "pictures.1.tar.gz"),
    ],
)
def test_names_are_those_of_keras(server, cache, tmp_path, argument, fname, folder, archive):
    import keras

    origin, _ = server.publish("x.tgz", tar(GOOD))
    for path in (
        get_file(fname, origin, **{argument: True}),
        keras.utils.get_file(fname, origin, cache_dir=tmp_path, **{argument: True}),
    ):
        assert os.path.basename(path) == folder
        assert sorted(os.listdir(os.path.dirname(path))) == sorted([folder, archive])
        assert len(content_of(path)) == len(GOOD)


@pytest.mark.parametrize("kind", [None, []])
def test_no_format_leaves_it_packed(server, cache, kind):
    origin, _ = server.publish("x.tgz", tar(GOOD))
    path = get_file(origin=origin, extract=True, archive_format=kind)
    assert (path, os.listdir(cache)) == (str(cache / "x.tgz"), ["x.tgz"])


@pytest.mark.parametrize(
    ("kind", "make"), [("zip", tar), ("tar", zipped), (["zip"], tar), (["tar"], zipped)]
)
def test_another_format_than_asked_for(server, cache, kind, make):
    origin, _ = server.publish("x", make(GOOD))
    with pytest.raises(CorruptFileError, match="x_archive is damaged or not of the expected"):
        get_file(origin=origin, extract=True, archive_format=kind)
    assert content_of(get_file(origin=origin, extract=True, archive_format=["zip", "tar"]))


def test_a_folder_and_a_file_of_one_name(server, cache):
    origin, _ = server.publish("x", tar(GOOD))
    get_file(origin=origin)
    with pytest.raises(ArgumentError, match="there is a file of that name"):
        get_file(origin=origin, extract=True)
    get_file("y", origin, extract=True)
    with pytest.raises(ArgumentError, match="there is a folder of that name"):
        get_file("y", origin)


def test_force_download_replaces_the_folder(server, cache):
    origin, _ = server.publish("x.tgz", tar({"old": b"1"}))
    get_file("x.tgz", origin, extract=True)
    server.publish("x.tgz", tar({"new": b"2"}))
    folder = get_file("x.tgz", origin, extract=True, force_download=True)
    assert content_of(folder) == {"new": b"2"}
    assert sorted(os.listdir(cache)) == ["x.tgz", "x_extracted"]


def test_special_permissions_are_dropped(server, cache):
    member = tarfile.TarInfo("run")
    member.mode = 0o6777
    origin, _ = server.publish("x.tar", tar({"run": member}, "w:"))
    folder = get_file(origin=origin, extract=True)
    assert stat.S_IMODE(os.stat(os.path.join(folder, "run")).st_mode) & 0o7000 == 0


def device(kind):
    member = tarfile.TarInfo()
    member.type = kind
    return member


LONG_CHAIN = {f"{'d' * 200}/{i}": link("../" * 30) for i in range(20)}


@pytest.mark.parametrize("directory", [".", "home", "home/datasets"])
@pytest.mark.parametrize(
    "members",
    [
        {"../outside": b"x"},
        {"a/../../outside": b"x"},
        {"/outside": b"x"},
        {"C:/outside": b"x"},
        {"C:outside": b"x"},
        {"..\\outside": b"x"},
        {"up": link(".."), "up/outside": b"x"},
        {"here": link("."), "here/../outside": b"x"},
        {"deep/here": link("."), "deep/here/../../outside": b"x"},
        {"../outside": link("a", tarfile.LNKTYPE)},
        {"a": b"x", "hard": link("a", tarfile.LNKTYPE)},
        LONG_CHAIN,
        {"null": device(tarfile.CHRTYPE)},
        {"disk": device(tarfile.BLKTYPE)},
        {"pipe": device(tarfile.FIFOTYPE)},
    ],
    ids=lambda members: " ".join(members)[:30],
)
def test_nothing_leaves_the_destination(server, cache, tmp_path, monkeypatch, members, directory):
    cache.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / directory)
    origin, _ = server.publish("x.tgz", tar(members))
    with pytest.raises(UnsafeFileError, match=r"x\.tgz"):
        get_file("x.tgz", origin, extract=True)
    assert os.listdir(cache) == ["x.tgz"]
    assert os.listdir(tmp_path) == ["home"]


@pytest.mark.parametrize(
    "name", ["../outside", "/outside", "a/../../outside", "C:\\outside", "link"]
)
def test_nothing_leaves_the_destination_from_zip(server, cache, tmp_path, name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = (stat.S_IFLNK if name == "link" else stat.S_IFREG) << 16
        archive.writestr(member, "/etc")
    origin, _ = server.publish("x.zip", file.getvalue())
    with pytest.raises(UnsafeFileError, match=r"x\.zip"):
        get_file("x.zip", origin, extract=True)
    assert os.listdir(cache) == ["x.zip"]
    assert os.listdir(tmp_path) == ["home"]


@pytest.mark.parametrize("make", [zipped, tar])
def test_unpacked_size_is_limited(server, cache, make):
    origin, _ = server.publish("x", make({"zeros": bytes(50_000_000)}))
    with pytest.raises(UnsafeFileError, match="at most 1000000 bytes"):
        get_file("y", origin, extract=True, max_bytes=1_000_000)
    assert os.listdir(cache) == ["y_archive"]


def test_huge_header_is_not_read_into_memory(server, cache):
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, (1 << 33) - 1
    origin, _ = server.publish("x.tar", member.tobuf() + bytes(1024))
    with pytest.raises(CorruptFileError, match="declares 8589934592 bytes"):
        get_file(origin=origin, extract=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not an archive",
        b"PK but no zip",
        tar(GOOD)[:-3000],
        zipped(GOOD)[:-30],
        zipped(GOOD).replace(b"\x08\x00", b"\x63\x00"),
        tar({"a": b"x", "a/b": b"y"}),
        tar({"a": b"x", "./a": b"y"}),
    ],
    ids=["empty", "text", "no_zip", "cut_tar", "cut_zip", "method", "file_in_file", "twice"],
)
def test_damage(server, cache, body):
    origin, _ = server.publish("x", body)
    with pytest.raises(CorruptFileError, match=r"y_archive"):
        get_file("y", origin, extract=True)
    assert os.listdir(cache) == ["y_archive"]


def test_unknown_format(server, cache):
    origin, _ = server.publish("x.tgz", tar(GOOD))
    with pytest.raises(ArgumentError, match="`archive_format` expects"):
        get_file(origin=origin, extract=True, archive_format="rar")
