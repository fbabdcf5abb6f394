"""The data sets of images, from small files in their true formats."""

import gzip
import io
import itertools
import pickle
import pickletools
import tarfile
import warnings
import zipfile

import numpy as np
import pytest

from lamina import settings
from lamina.datasets import _sources, cifar10, cifar100, fashion_mnist, mnist
from lamina.datasets._pickled import PickledArray, read_pickle
from lamina.errors import ArgumentError, CorruptFileError, DownloadError, UnsafeFileError
from tests.datasets.builders import idx, link, npz, python2_batch, tar

RNG = np.random.default_rng(7)
IDX_NAMES = [source.name for source in _sources.FASHION_MNIST]


def grey(count):
    return RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)


def classes(count, number=10):
    return RNG.integers(0, number, count, dtype=np.uint8)


DIGITS = {"x_train": grey(6), "y_train": classes(6), "x_test": grey(3), "y_test": classes(3)}
BATCH_NAMES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
PIXELS = {name: RNG.integers(0, 256, (4, 3072), dtype=np.uint8) for name in BATCH_NAMES}
LABELS = {name: classes(4).tolist() for name in BATCH_NAMES}


def cifar10_tar(**changes):
    batches = {
        f"cifar-10-batches-py/{name}": python2_batch(PIXELS[name], {"labels": LABELS[name]})
        for name in BATCH_NAMES
    }
    extra = {"cifar-10-batches-py/readme.html": b"hello"}
    return tar(extra | batches | {f"cifar-10-batches-py/{k}": v for k, v in changes.items()})


def cifar100_tar():
    return tar(
        {
            f"cifar-100-python/{name}": python2_batch(
                PIXELS[batch], {"fine_labels": LABELS[batch], "coarse_labels": [1, 2, 3, 19]}
            )
            for name, batch in [("train", "data_batch_1"), ("test", "test_batch")]
        }
    )


@pytest.fixture
def publish(server, cache, monkeypatch):
    """Publish small files in place of the real ones."""

    def source(name, body):
        origin, sha256 = server.publish(name, body)
        return _sources.Source(origin, sha256, len(body))

    idx_files = zip(IDX_NAMES, [idx(array) for array in DIGITS.values()], strict=True)
    monkeypatch.setattr(mnist, "MNIST", source("mnist.npz", npz(**DIGITS)))
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", [source(*file) for file in idx_files])
    monkeypatch.setattr(cifar10, "CIFAR10", source("cifar-10-python.tar.gz", cifar10_tar()))
    monkeypatch.setattr(cifar100, "CIFAR100", source("cifar-100-python.tar.gz", cifar100_tar()))
    return server


def assert_digits(data):
    (x_train, y_train), (x_test, y_test) = data
    for name, array in {
        "x_train": x_train,
        "y_train": y_train,
        "x_test": x_test,
        "y_test": y_test,
    }.items():
        np.testing.assert_array_equal(array, DIGITS[name], strict=True)
        array[0] = 0  # callers may write


# ------------------------------------------------------------------------------------ from the net


@pytest.mark.parametrize("module", [mnist, fashion_mnist])
def test_grey_images(publish, module):
    for _ in range(2):
        assert_digits(module.load_data())
    assert len(publish.requests) == {mnist: 1, fashion_mnist: 4}[module]


def test_cifar10(publish, cache):
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    pixels = np.concatenate([PIXELS[name] for name in BATCH_NAMES[:5]])
    planes = pixels.reshape(20, 3, 32, 32)
    assert x_train.dtype == y_train.dtype == x_test.dtype == y_test.dtype == np.uint8
    np.testing.assert_array_equal(x_train, np.stack([planes[:, 0], planes[:, 1], planes[:, 2]], -1))
    np.testing.assert_array_equal(
        y_train[:, 0], [*itertools.chain(*(LABELS[name] for name in BATCH_NAMES[:5]))]
    )
    assert (x_test.shape, y_train.shape, y_test.shape) == ((4, 32, 32, 3), (20, 1), (4, 1))
    x_train[0] = 0
    assert [path.name for path in cache.iterdir()] == ["cifar-10-python.tar.gz"]


def test_cifar10_channels_first(publish):
    settings.set_image_data_format("channels_first")
    try:
        (x_train, _), _ = cifar10.load_data()
    finally:
        settings.set_image_data_format("channels_last")
    np.testing.assert_array_equal(x_train[:4], PIXELS["data_batch_1"].reshape(4, 3, 32, 32))


def test_cifar100(publish):
    (x_train, y_train), (_, y_test) = cifar100.load_data()
    assert x_train.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(y_train[:, 0], LABELS["data_batch_1"])
    np.testing.assert_array_equal(y_test[:, 0], LABELS["test_batch"])
    (_, coarse), _ = cifar100.load_data("coarse")
    np.testing.assert_array_equal(coarse, np.uint8([[1], [2], [3], [19]]), strict=True)
    with pytest.raises(ArgumentError, match=r"'fine' or 'coarse'\. Received: 'medium'"):
        cifar100.load_data("medium")


@pytest.mark.parametrize("module", [mnist, fashion_mnist, cifar10, cifar100])
def test_poisoned_cache(publish, cache, module, canary):
    module.load_data()
    for path in cache.rglob("*"):
        if path.is_file():
            path.write_bytes(b"ccanary_mod\nfire\n(tR.")
    with pytest.raises(CorruptFileError, match="differs from the published one"):
        module.load_data()


@pytest.mark.parametrize("module", [mnist, fashion_mnist, cifar10, cifar100])
def test_without_a_network(publish, cache, module):
    publish.pages.clear()
    with pytest.raises(DownloadError, match=r"404 Not Found.*save the file as"):
        module.load_data()
    assert not any(path.is_file() for path in cache.rglob("*"))


def test_real_addresses_are_secure_and_distinct():
    sources = [_sources.MNIST, *_sources.FASHION_MNIST, _sources.CIFAR10, _sources.CIFAR100]
    assert all(source.origin.startswith("https://") for source in sources)
    assert len({source.digest for source in sources}) == len(sources)
    assert all(len(source.digest) == 64 for source in sources)


# ------------------------------------------------------------------------------------ own copies


def test_own_copies(tmp_path, cache, monkeypatch):
    (tmp_path / "digits.npz").write_bytes(npz(**DIGITS))
    (tmp_path / "photos.tar.gz").write_bytes(cifar10_tar())
    (tmp_path / "photos100.tar.gz").write_bytes(cifar100_tar())
    for name, array in zip(IDX_NAMES, DIGITS.values(), strict=True):
        (tmp_path / name).write_bytes(idx(array))
    monkeypatch.chdir(tmp_path)
    assert_digits(mnist.load_data(tmp_path / "digits.npz"))
    assert_digits(mnist.load_data("./digits.npz"))
    assert_digits(mnist.load_data(str(tmp_path)))
    assert_digits(fashion_mnist.load_data(tmp_path))
    assert cifar10.load_data(tmp_path / "photos.tar.gz")[0][0].shape == (20, 32, 32, 3)
    assert cifar100.load_data("coarse", tmp_path / "photos100.tar.gz")[1][1].max() == 19
    assert not cache.exists()


def test_own_copy_that_is_not_there(tmp_path):
    for module in (mnist, fashion_mnist, cifar10, cifar100):
        with pytest.raises(ArgumentError, match="does not exist"):
            module.load_data(path=tmp_path / "nothing")
    (tmp_path / IDX_NAMES[0]).write_bytes(b"")
    with pytest.raises(ArgumentError, match=f"lacks .*{IDX_NAMES[1]}"):
        mnist.load_data(tmp_path)


# ------------------------------------------------------------------------------------ damaged IDX


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (b"", "not an IDX file"),
        (b"raw", "Not a gzipped file"),
        (idx(DIGITS["x_train"])[:-20], "ended before"),
        (idx(DIGITS["y_train"]), "00 00 08 03"),
        (idx(np.zeros((6, 28, 27), np.uint8)), r"uint8\(6, 28, 27\)"),
        (idx(DIGITS["x_test"]), r"uint8\(3, 28, 28\)"),
    ],
)
def test_damaged_idx(tmp_path, images, message):
    files = [idx(array) for array in DIGITS.values()]
    for name, body in zip(IDX_NAMES, [images, *files[1:]], strict=True):
        (tmp_path / name).write_bytes(body)
    with pytest.raises(CorruptFileError, match=message) as caught:
        mnist.load_data(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "content", "message"),
    [
        (
            (2, 28, 28),
            28 * 28,
            r"shape \(2, 28, 28\), 1568 bytes, but contains only 784",
        ),
        ((1, 28, 28), 28 * 28 + 1, "contains more"),
        ((2**32 - 1,) * 3, 10, "contains only 0"),
    ],
)
def test_idx_that_lies_about_its_size(tmp_path, sizes, content, message):
    array = np.zeros(content, np.uint8)
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in sizes)
    for name in IDX_NAMES:
        (tmp_path / name).write_bytes(gzip.compress(header + array.tobytes()))
    with pytest.raises(CorruptFileError, match=message):
        mnist.load_data(tmp_path)


# ------------------------------------------------------------------------------------ damaged npz


def npy(array=None, *, shape=(6, 28, 28), descr="|u1", body=b""):
    if array is not None:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        return file.getvalue()
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + body


class Fire:
    def __reduce__(self):
        return (eval, ("__import__('canary_mod').fire()",))


@pytest.mark.parametrize(
    ("x_train", "error", "message"),
    [
        (npy(np.array([Fire()])), UnsafeFileError, "'x_train.npy' contains pickled Python objects"),
        (pickle.dumps(Fire()), CorruptFileError, "magic"),
        (npy(shape=(1 << 40,)), CorruptFileError, "declares uint8"),
        (npy(shape=(-1, -1), body=b"x"), CorruptFileError, "digits.npz"),
        (npy(shape=(2,), descr="<f8", body=bytes(15)), CorruptFileError, "has 15 bytes"),
        (npy(np.zeros((6, 28, 28))), CorruptFileError, r"float64\(6, 28, 28\)"),
        (npy(np.zeros((5, 28, 28), np.uint8)), CorruptFileError, r"uint8\(5, 28, 28\)"),
        (b"\x93NUMPY\x09\x00" + bytes(20), CorruptFileError, "unknown version"),
        (None, CorruptFileError, "not 'x_train.npy'"),
    ],
)
def test_damaged_npz(tmp_path, canary, x_train, error, message):
    path = tmp_path / "digits.npz"
    members = {f"{name}.npy": npy(array) for name, array in DIGITS.items()} | {
        "x_train.npy": x_train
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in members.items():
            if body is not None:
                archive.writestr(name, body)
    with pytest.raises(error, match=message) as caught:
        mnist.load_data(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("body", [b"", pickle.dumps(Fire()), npz(**DIGITS)[:-100]])
def test_npz_that_is_none(tmp_path, canary, body):
    path = tmp_path / "digits.npz"
    path.write_bytes(body)
    with pytest.raises(CorruptFileError, match="not a zip file"):
        mnist.load_data(path)


def test_npz_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("lamina.datasets._formats._LIMIT", 1_000_000)
    path = tmp_path / "digits.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(1_000_001))
    with pytest.raises(CorruptFileError, match="declares 1000001 bytes"):
        mnist.load_data(path)


# ------------------------------------------------------------------------------------ pickles


def test_the_builder_makes_what_python_2_made():
    body = python2_batch(PIXELS["test_batch"], {"labels": [3, 8, 8, 0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy moved the module that old pickles name
        batch = pickle.loads(body, encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], PIXELS["test_batch"], strict=True)
    assert batch[b"labels"] == [3, 8, 8, 0]
    assert next(pickletools.genops(body))[:2][1] == 2


@pytest.mark.parametrize("fortran", [False, True])
def test_reads_python_2_pickles(fortran):
    batch = read_pickle(python2_batch(PIXELS["test_batch"], {"labels": [255, 8]}, fortran=fortran))
    np.testing.assert_array_equal(batch.pop(b"data").values, PIXELS["test_batch"], strict=True)
    assert batch == {
        b"labels": [255, 8],
        b"batch_label": b"training batch 1 of 5",
        b"filenames": [b"frog_s_000004.png"] * 4,
    }


@pytest.mark.parametrize("protocol", [1, 2, 3, 4])
def test_reads_python_3_pickles(protocol):
    value = {
        b"data": PIXELS["test_batch"],
        b"labels": [1, 300, 70_000, -5, 1 << 40],
        "text": ["x", True, None, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {b"k": []}],
    }
    read = read_pickle(pickle.dumps(value, protocol=protocol))
    np.testing.assert_array_equal(read.pop(b"data").values, value.pop(b"data"), strict=True)
    assert read == value


def hostile_reduce(protocol):
    return pickle.dumps(Fire(), protocol=protocol)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x80\x02ccanary_mod\nfire\n(tR.", "refers to 'canary_mod.fire'"),
        (b"\x80\x04\x8c\x0acanary_mod\x8c\x04fire\x93)R.", "refers to 'canary_mod.fire'"),
        (hostile_reduce(2), "refers to '__builtin__.eval'"),
        (hostile_reduce(4), "refers to 'builtins.eval'"),
        (hostile_reduce(0), "refers to '__builtin__.eval'"),
        (b"(icanary_mod\nfire\n.", "instruction INST 'canary_mod fire'"),
        (b"(ccanary_mod\nfire\no.", "refers to 'canary_mod.fire'"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "instruction NEWOBJ"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"Pcanary_mod\n.", "instruction PERSID 'canary_mod'"),
        (b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.", "calls 'numpy.dtype'"),
        (b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.", "calls 'numpy.ndarray'"),
        (
            b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R.",
            "calls '_codecs",
        ),
    ],
)
def test_hostile_pickles(tmp_path, canary, body, message):
    path = tmp_path / "photos.tar.gz"
    path.write_bytes(cifar10_tar(data_batch_3=body))
    with pytest.raises(UnsafeFileError, match=message) as caught:
        cifar10.load_data(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b".",
        b"\x80\x02}q",
        b"\x80\x02}(U\x04data",
        b"\x80\x02K\x01.",
        b"\x80\x02}.",
        b"\x80\x02h\x05.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02K\x01K\x02b.",
        b"\x80\x02t.",
        b"\x80\x02(u.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02}]K\x01s.",
        b"\x80\x02T\xff\xff\xff\x7fabc.",
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"](" * 50_000 + b".",
        python2_batch(PIXELS["test_batch"], {"labels": [1, 2, 3]}),
        python2_batch(PIXELS["test_batch"], {"labels": [1, 2, 3, 300]}),
        python2_batch(PIXELS["test_batch"][:, :100], {"labels": [1, 2, 3, 4]}),
        python2_batch(PIXELS["test_batch"], {"labels": [1, 2, 3, 4]})[:-50],
        python2_batch(PIXELS["test_batch"], {"labels": [1, 2, 3, 4]}).replace(
            b"M\x00\x0c", b"M\x01\x0c"
        ),
        python2_batch(PIXELS["test_batch"], {"names": [1, 2, 3, 4]}),
    ],
)
def test_damaged_pickles(tmp_path, body):
    path = tmp_path / "photos.tar.gz"
    path.write_bytes(cifar10_tar(test_batch=body))
    with pytest.raises(CorruptFileError) as caught:
        cifar10.load_data(path)
    assert str(path) in str(caught.value)


def test_an_array_without_content_is_empty():
    read = read_pickle(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.")
    assert isinstance(read, PickledArray)
    assert read.values.size == 0


# ------------------------------------------------------------------------------------ damaged tar


def test_linked_batch(tmp_path):
    path = tmp_path / "photos.tar.gz"
    path.write_bytes(cifar10_tar(data_batch_2=link("data_batch_1")))
    with pytest.raises(UnsafeFileError, match="'cifar-10-batches-py/data_batch_2' is a link"):
        cifar10.load_data(path)


def test_missing_batch(tmp_path):
    path = tmp_path / "photos.tar.gz"
    path.write_bytes(cifar100_tar())
    with pytest.raises(CorruptFileError, match=r"lacks .*cifar-10-batches-py/data_batch_1"):
        cifar10.load_data(path)


@pytest.mark.parametrize(
    "body", [b"", b"no tar", cifar10_tar()[:-5000]], ids=["empty", "no tar", "cut"]
)
def test_damaged_tar(tmp_path, body):
    path = tmp_path / "photos.tar.gz"
    path.write_bytes(body)
    with pytest.raises(CorruptFileError, match="damaged or not of the expected format"):
        cifar10.load_data(path)


@pytest.mark.parametrize("size", [1 << 40, -1024])
def test_tar_that_lies_about_its_size(tmp_path, size):
    member = tarfile.TarInfo("cifar-10-batches-py/readme.html")
    member.size = size
    path = tmp_path / "photos.tar"
    path.write_bytes(member.tobuf() + bytes(2048))
    with pytest.raises(CorruptFileError, match="decompresses to more than"):
        cifar10.load_data(path)
