"""The file formats of the data sets, read as untrusted input."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zipfile
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lamina.config import image_data_format
from lamina.datasets._pickled import OBJECTS, PickledArray, read_pickle
from lamina.errors import ArgumentError, CorruptFileError, UnsafeFileError
from lamina.utils._archive import open_tar, reading

Split = tuple[np.ndarray, np.ndarray]
Data = tuple[Split, Split]

_MNIST_IMAGE = (28, 28)
_CIFAR_IMAGE = (3, 32, 32)
_UINT8 = np.dtype("uint8")

# Far above the size of any data set; a file that declares more is refused.
_LIMIT = 512 << 20

_IDX_SPLITS = (
    ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
)
_IDX_UNSIGNED_BYTE = 0x08
_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _checked(path: Path, x: np.ndarray, y: np.ndarray, image_shape: tuple[int, ...]) -> Split:
    if x.shape[1:] != image_shape or y.shape != x.shape[:1] or {x.dtype, y.dtype} != {_UINT8}:
        raise CorruptFileError(
            f"{path} does not contain this data set: expected uint8 images of shape "
            f"(n, {', '.join(map(str, image_shape))}) and n uint8 labels, received images "
            f"{x.dtype}{x.shape} and labels {y.dtype}{y.shape}."
        )
    return x, y


# -------------------------------------------------------------------------------------------- IDX


def read_idx_folder(folder: Path) -> Data:
    """Read the four gzipped IDX files with MNIST's names in ``folder``."""
    missing = [name for pair in _IDX_SPLITS for name in pair if not Path(folder, name).is_file()]
    if missing:
        raise ArgumentError(f"The folder {folder} lacks {missing}. Put all four IDX files there.")
    train, test = (
        _checked(folder, read_idx(folder / images, 3), read_idx(folder / labels, 1), _MNIST_IMAGE)
        for images, labels in _IDX_SPLITS
    )
    return train, test


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Read one gzipped IDX file of unsigned bytes.

    The format: two zero bytes, the type, the number of axes, each dimension as a big-endian 32-bit
    integer, then the values in row-major order.

    Args:
        path: The file.
        ndim: The expected number of axes.

    Returns:
        Array of dtype uint8.

    Raises:
        CorruptFileError: If the file is damaged, or of another type or number of axes.
    """
    with open(path, "rb") as file, reading(path), gzip.open(file) as stream:
        header = stream.read(4 + 4 * ndim)
        expected = bytes([0, 0, _IDX_UNSIGNED_BYTE, ndim])
        if header[:4] != expected or len(header) != 4 + 4 * ndim:
            raise CorruptFileError(
                f"{path} is not an IDX file of unsigned bytes with {ndim} axes: expected it to "
                f"start with {expected.hex(' ')} and {ndim} dimensions, "
                f"received {header.hex(' ')!r}."
            )
        shape = struct.unpack(f">{ndim}I", header[4:])
        size = math.prod(shape)
        content = stream.read(size + 1) if size <= _LIMIT else b""
    if len(content) != size:
        raise CorruptFileError(
            f"{path} declares the shape {shape}, {size} bytes, but contains "
            f"{'more' if len(content) > size else f'only {len(content)}'}."
        )
    return np.frombuffer(bytearray(content), dtype=np.uint8).reshape(shape)


# -------------------------------------------------------------------------------------------- npz


def read_npz(path: Path) -> Data:
    """Read ``x_train``, ``y_train``, ``x_test`` and ``y_test`` from a ``.npz`` file.

    Raises:
        CorruptFileError: If the file is damaged or an array is missing or of another kind.
        UnsafeFileError: If an array contains Python objects, which would have to be unpickled.
    """
    with open(path, "rb") as file, reading(path), zipfile.ZipFile(file) as archive:
        train, test = (
            _checked(
                path,
                _read_npy(archive, f"x_{split}.npy"),
                _read_npy(archive, f"y_{split}.npy"),
                _MNIST_IMAGE,
            )
            for split in ("train", "test")
        )
    return train, test


def read_arrays(path: Path, *names: str, texts: Collection[str] = ()) -> list[np.ndarray]:
    """Read arrays from a ``.npz`` file.

    Args:
        path: The file.
        names: Names of the arrays.
        texts: The names of arrays of lists of integers, which NumPy stores as pickles.

    Returns:
        The arrays, in the order of ``names``; those in ``texts`` are object arrays of lists of int.

    Raises:
        CorruptFileError: If the file is damaged or an array is missing or of another kind.
        UnsafeFileError: If an array contains other Python objects.
    """
    with open(path, "rb") as file, reading(path), zipfile.ZipFile(file) as archive:
        return [_read_npy(archive, f"{name}.npy", is_text=name in texts) for name in names]


def _read_npy(archive: zipfile.ZipFile, name: str, is_text: bool = False) -> np.ndarray:
    if name not in archive.namelist():
        raise ValueError(f"it contains {archive.namelist()} but not {name!r}")
    size = archive.getinfo(name).file_size
    if size > _LIMIT:
        raise ValueError(f"{name!r} declares {size} bytes")
    member = io.BytesIO(archive.read(name))
    version = np.lib.format.read_magic(member)
    if version not in _NPY_HEADERS:
        raise ValueError(f"{name!r} has the unknown version {version}")
    shape, _, dtype = _NPY_HEADERS[version](member)
    if is_text:
        return _read_text(member, name, shape, dtype)
    if dtype.hasobject:
        raise UnsafeFileError(
            f"its array {name!r} contains pickled Python objects; expected numbers. "
            "Nothing was unpickled."
        )
    if math.prod(shape) * dtype.itemsize != size - member.tell():
        raise ValueError(f"{name!r} declares {dtype}{shape} but has {size - member.tell()} bytes")
    member.seek(0)
    return np.lib.format.read_array(member, allow_pickle=False)


def _read_text(
    member: io.BytesIO, name: str, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    content = member.read()
    array = read_pickle(content, OBJECTS) if dtype.kind == "O" else None
    if not isinstance(array, PickledArray) or array.values.shape != shape or len(shape) != 1:
        raise ValueError(f"{name!r} declares {dtype}{shape}, which is not a list of texts")
    for text in array.values:
        if not isinstance(text, list) or not set(map(type, text)) <= {int}:
            raise ValueError(
                f"{name!r} contains {type(text).__name__}s; expected lists of integers"
            )
    if sum(map(len, array.values)) > len(content):
        raise ValueError(f"{name!r} repeats its texts")  # which could grow without limit
    return array.values


# ------------------------------------------------------------------------------------------ CIFAR


def read_cifar(path: Path, *, train: Sequence[str], test: Sequence[str], labels: str) -> Data:
    """Read CIFAR's gzipped tar file of pickled batches; nothing is extracted or unpickled.

    Args:
        path: The archive.
        train: Names of the training batches, in order.
        test: Names of the test batches.
        labels: The key of the labels in each batch.

    Returns: Training data and test data: pairs of uint8 images in the default layout and uint8
    labels of shape ``(n, 1)``.

    Raises:
        CorruptFileError: If the archive is damaged or a batch is missing or of another kind.
        UnsafeFileError: If a batch is a link, or a pickle of more than byte arrays.
    """
    batches: dict[str, Split] = {}
    wanted = {*train, *test}
    with open(path, "rb") as file, reading(path), open_tar(file) as tar:
        for member in tar:
            if member.size < 0 or member.offset_data + member.size > _LIMIT:
                raise ValueError(f"it decompresses to more than {_LIMIT} bytes")
            if member.name not in wanted:
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise UnsafeFileError(f"its member {member.name!r} is a link, not a file.")
            pickled = b"".join(iter(partial(content.read, 1 << 20), b""))
            batches[member.name] = _read_batch(path, pickled, labels.encode())
        if wanted != batches.keys():
            raise ValueError(f"it lacks {sorted(wanted - batches.keys())}")
    return _joined(batches, train), _joined(batches, test)


def _read_batch(path: Path, content: bytes, labels: bytes) -> Split:
    batch = read_pickle(content)
    if not isinstance(batch, dict):
        raise ValueError(f"a batch is a {type(batch).__name__}, not a dict")
    pixels, classes = batch.get(b"data"), batch.get(labels)
    if not isinstance(pixels, PickledArray):
        raise ValueError("a batch lacks the array b'data'")
    if not isinstance(classes, list) or not all(type(k) is int and 0 <= k < 256 for k in classes):
        raise ValueError(f"a batch lacks the list {labels!r} of numbers from 0 to 255")
    return _checked(
        path, pixels.values, np.array(classes, dtype=np.uint8), (math.prod(_CIFAR_IMAGE),)
    )


def _joined(batches: dict[str, Split], names: Sequence[str]) -> Split:
    x = np.concatenate([batches[name][0] for name in names]).reshape(-1, *_CIFAR_IMAGE)
    y = np.concatenate([batches[name][1] for name in names]).reshape(-1, 1)
    if image_data_format() == "channels_last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return x, y
