"""The reader of HDF5 files, beside h5py."""

import io

import h5py
import ml_dtypes
import numpy as np
import pytest

from lamina.errors import CorruptFileError, UnsafeFileError
from lamina.runtime.files import Window
from lamina.saving import hdf5

RNG = np.random.default_rng(0)
DTYPES = ["bool", "uint8", "int8", "uint16", "int32", "int64", "uint64", "float16", "float32",
          "float64", ">f4", ">i2", ">u8"]  # fmt: skip
STORED = [
    {}, {"chunks": (3, 2)}, {"chunks": (4, 4), "compression": "gzip"},
    {"chunks": (2, 5), "compression": "gzip", "shuffle": True}, {"chunks": (7, 5), "shuffle": True},
    {"maxshape": (None, None), "compression": "gzip"},
]  # fmt: skip


def written(**options):
    """A file in memory, and its bytes for the reader."""
    data = io.BytesIO()
    return data, h5py.File(data, "w", **options)


def read(data):
    return hdf5.File(Window(data, "the file"), "the file")


def plain(value):
    """An attribute as h5py gives it, in our reader's kinds."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        return [plain(x) for x in value.tolist()]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays(dtype):
    data, h5 = written()
    value = RNG.integers(0, 100, (7, 5)).astype(dtype)
    arrays = {f"a/{i}": h5.create_dataset(f"a/{i}", data=value, **o) for i, o in enumerate(STORED)}
    for name, shape in (("scalar", ()), ("empty", (0, 3)), ("deep/er/one", (1,))):
        arrays[name] = h5.create_dataset(name, data=np.ones(shape, dtype))
    h5.flush()
    with read(data) as ours:
        assert sorted(ours.names()) == sorted(arrays)
        for name, theirs in arrays.items():
            mine = ours.read(name)
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), name
            np.testing.assert_array_equal(mine, theirs[()], name)
        assert ours.shape("nothing") is ours.shape("a") is None
        with pytest.raises(CorruptFileError, match="no array 'a'"):
            ours.read("a")


def test_bfloat16(tmp_path):
    value = RNG.normal(size=(3, 2)).astype(ml_dtypes.bfloat16)
    hdf5.write(tmp_path / "x.h5", {"a/b": value})
    with hdf5.File(tmp_path / "x.h5", "x.h5") as ours:
        assert ours.read("a/b").dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(ours.read("a/b"), value)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("count", [3, 20, 2000])
def test_groups_and_attributes(libver, count):
    """Small and large groups, in the older and in the newer layout."""
    data, h5 = written(libver=libver)
    group = h5.create_group("a/b")
    for i in range(count):
        group.create_group(f"ü{i}" if i % 2 else f"plain {i}")
    attributes = {"text": "ä" * 50, "bytes": b"abc", "fixed": np.bytes_("xy"), "int": 7,
                  "float": 0.5, "texts": ["a", "bc"], "names": np.array([b"d", b"efg"]),
                  "ints": [[1, 2], [3, 4]], "empty": np.zeros(0), "yes": True,
                  "long": "x" * 70_000}  # fmt: skip
    for i in range(count):
        attributes[f"more {i}"] = "y" * (i % 40)
    attributes = dict(list(attributes.items())[:1000])
    for name, value in attributes.items():
        group.attrs[name] = value
    h5.flush()
    with read(data) as ours:
        mine = ours.root.find("a/b")
        assert set(mine) == set(group)
        assert set(mine.attrs) == set(attributes)
        for name in attributes:
            assert plain(mine.attrs[name]) == plain(group.attrs[name]), name


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda h5: h5.create_dataset("a", (2,), "f4", chunks=(2,), compression="lzf", data=[1, 2]),
         CorruptFileError, r"compression filters \[32000\]"),
        (lambda h5: h5.create_dataset("a", (2,), "f4", chunks=(2,), fletcher32=True, data=[1, 2]),
         CorruptFileError, r"compression filters \[3\]"),
        (lambda h5: h5.__setitem__("a", np.zeros(2, [("x", "f4")])), CorruptFileError, "compound"),
        (lambda h5: h5.__setitem__("a", np.full(2, "a", h5py.string_dtype())),
         CorruptFileError, "variable-length"),
        (lambda h5: h5.__setitem__("a", h5py.SoftLink("/b")), UnsafeFileError, "is a link"),
        (lambda h5: h5.__setitem__("a", h5py.ExternalLink("x", "/b")), UnsafeFileError, "a link"),
    ],
)  # fmt: skip
def test_what_is_not_read(make, error, said):
    data, h5 = written()
    make(h5)
    h5.flush()
    with read(data) as ours, pytest.raises(error, match=said):
        ours.read("a")


def test_a_newer_layout_of_chunks_is_told():
    data, h5 = written(libver="latest")
    h5.create_dataset("a", (8,), "f4", chunks=(2,), data=np.arange(8))
    h5.flush()
    with read(data) as ours, pytest.raises(CorruptFileError, match=r"layout 4\.2.*(.|\n)*h5py"):
        ours.read("a")


def test_a_group_in_itself_ends():
    data, h5 = written()
    h5["a/x"] = np.ones(2)
    h5["a/again"] = h5["a"]
    h5.flush()
    with read(data) as ours:
        assert ours.names() == ["a/x"]
        assert ours.shape("a/again/again/x") == (2,)
