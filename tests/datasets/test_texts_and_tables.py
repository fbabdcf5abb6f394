"""IMDB, Reuters and the prices of houses, from small files in their true formats, beside Keras."""

import importlib
import io
import itertools
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from lamina.datasets import _sources, boston_housing, california_housing, imdb, reuters
from lamina.errors import ArgumentError, CorruptFileError, DownloadError, UnsafeFileError

RNG = np.random.default_rng(11)
NPZ_HEADER = {"descr": "|O", "fortran_order": False}


def texts(count, seed=0):
    """Lists of ranks of words, of 1 to 40 words; NumPy pickles them as it did the published."""
    rng = np.random.default_rng(seed)
    lists = [rng.zipf(1.3, rng.integers(1, 40)).clip(1, 100_000).tolist() for _ in range(count)]
    return np.fromiter(lists, object, count)


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=True, **arrays)
    return file.getvalue()


IMDB = {
    "x_train": texts(30, 1), "y_train": RNG.integers(0, 2, 30),
    "x_test": texts(20, 2), "y_test": RNG.integers(0, 2, 20),
}  # fmt: skip
REUTERS = {"x": texts(50, 3), "y": RNG.integers(0, 46, 50)}
BOSTON = {"x": RNG.normal(size=(53, 13)), "y": RNG.normal(size=53)}
CALIFORNIA = {
    "x": RNG.normal(size=(700, 8)).astype("float32"), "y": RNG.normal(size=700).astype("float32"),
}  # fmt: skip
WORDS = {"the": 1, "caf\u00e9": 2, "film": 3}
MODULES = {
    "imdb": (imdb, IMDB, "IMDB"),
    "reuters": (reuters, REUTERS, "REUTERS"),
    "boston_housing": (boston_housing, BOSTON, None),
    "california_housing": (california_housing, CALIFORNIA, None),
}


def flat(data):
    (x_train, y_train), (x_test, y_test) = data
    return x_train, y_train, x_test, y_test


def same(ours, theirs):
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        assert (type(a), a.shape, a.dtype) == (np.ndarray, b.shape, b.dtype)
        assert a.tolist() == b.tolist()


@pytest.fixture
def both(tmp_path, monkeypatch):
    """Load a file by our module and by Keras's, which is given its path in place of a download."""

    def load(name, arrays, **options):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(npz(**arrays))
        theirs = importlib.import_module(f"keras.src.datasets.{name}")
        monkeypatch.setattr(theirs, "get_file", lambda *_, **__: str(path))
        return MODULES[name][0].load_data(path=path, **options), theirs.load_data(**options)

    return load


OPTIONS = [
    {},
    {"num_words": 50},
    {"num_words": 50, "skip_top": 5},
    {"num_words": 50, "oov_char": None},
    {"oov_char": None, "skip_top": 4},
    {"maxlen": 15},
    {"maxlen": 15, "num_words": 30, "seed": 4},
    {"start_char": None},
    {"start_char": None, "index_from": 0},
    {"start_char": None, "index_from": None, "maxlen": 20},
    {"start_char": 7, "oov_char": 8, "index_from": 10},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_texts_are_those_of_keras(both, name, options):
    ours, theirs = both(name, MODULES[name][1], **options)
    same(ours, theirs)
    assert all(type(word) is int for text in ours[0][0] for word in text)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("reuters", {"test_split": 0.35}),
        ("reuters", {"test_split": 0.0}),
        ("boston_housing", {}),
        ("boston_housing", {"test_split": 0.31, "seed": 5}),
        ("boston_housing", {"test_split": 0.0}),
        ("california_housing", {}),
        ("california_housing", {"version": "small", "test_split": 0.13}),
        ("california_housing", {"version": "large", "seed": 0}),
    ],
)
def test_splits_are_those_of_keras(both, name, options):
    same(*both(name, MODULES[name][1], **options))


def test_texts_of_one_length_stay_lists(tmp_path):
    path = tmp_path / "x.npz"
    x = np.fromiter([[1, 2], [3, 4], [5, 6]], object, 3)
    path.write_bytes(npz(x=x, y=np.arange(3)))
    (x_train, _), (x_test, _) = reuters.load_data(path, test_split=0.5)
    assert (x_train.shape, x_test.shape) == ((1,), (2,))
    assert isinstance(x_train[0], list)


def test_topics_are_those_of_keras():
    assert reuters.get_label_names() == keras.datasets.reuters.get_label_names()


# ------------------------------------------------------------------------------------ from the net


@pytest.fixture
def publish(server, cache, monkeypatch):
    def source(name, body):
        origin, sha256 = server.publish(name, body)
        return _sources.Source(origin, sha256, len(body))

    for name, (module, arrays, words) in MODULES.items():
        monkeypatch.setattr(module, name.upper(), source(f"{name}.npz", npz(**arrays)))
        if words:
            body = json.dumps(WORDS, ensure_ascii=False).encode()
            monkeypatch.setattr(module, f"{words}_WORDS", source(f"{name}_words.json", body))
    return server


@pytest.mark.parametrize("name", MODULES)
def test_downloaded_once_and_checked_again(publish, cache, canary, name):
    module = MODULES[name][0]
    first, second = module.load_data(), module.load_data()
    same(first, second)
    assert publish.requests == [f"/{name}.npz"]
    (cache / f"{name}.npz").write_bytes(b"ccanary_mod\nfire\n(tR.")
    with pytest.raises(CorruptFileError, match="differs from the published one"):
        module.load_data()


@pytest.mark.parametrize("module", [imdb, reuters])
def test_word_index(publish, cache, tmp_path, module):
    assert module.get_word_index() == WORDS
    assert module.get_word_index("words.json") == WORDS
    assert (cache / "words.json").is_file()
    own = tmp_path / "own.json"
    own.write_text('{"a": 1}')
    assert module.get_word_index(own) == {"a": 1}
    for body in ("[1]", '{"a": "b"}', '{"a": ', "\x00"):
        own.write_text(body)
        with pytest.raises(CorruptFileError, match=r"own\.json"):
            module.get_word_index(own)


@pytest.mark.parametrize("name", MODULES)
def test_without_a_network(publish, name):
    publish.pages.clear()
    with pytest.raises(DownloadError, match="404 Not Found"):
        MODULES[name][0].load_data()


def test_published_digests_and_sizes():
    """Those that Keras checks, or SHA-256 of the same content."""
    sources = {
        "imdb": _sources.IMDB, "reuters": _sources.REUTERS,
        "boston_housing": _sources.BOSTON_HOUSING,
        "california_housing": _sources.CALIFORNIA_HOUSING,
    }  # fmt: skip
    for name, source in sources.items():
        code = Path(importlib.import_module(f"keras.src.datasets.{name}").__file__).read_text()
        assert source.digest in code
        assert source.name == f"{name}.npz"
    assert (
        _sources.REUTERS_WORDS.digest
        in Path(importlib.import_module("keras.src.datasets.reuters").__file__).read_text()
    )
    everything = [*sources.values(), _sources.IMDB_WORDS, _sources.REUTERS_WORDS]
    assert all(s.origin.startswith("https://") and s.size > 0 for s in everything)


# ---------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: imdb.load_data(p, num_words=0), "`num_words` expects"),
        (lambda p: imdb.load_data(p, skip_top=-1), "`skip_top` expects"),
        (lambda p: imdb.load_data(p, maxlen=0), "`maxlen` expects"),
        (lambda p: imdb.load_data(p, maxlen=1), "leaves no text"),
        (lambda p: reuters.load_data(p, test_split=1.0), "`test_split` expects"),
        (lambda p: boston_housing.load_data(p, test_split=-0.1), "`test_split` expects"),
        (lambda p: california_housing.load_data("medium", p), "`version` expects"),
        (lambda p: imdb.load_data(p.with_name("nothing.npz")), "does not exist"),
    ],
)
def test_arguments(tmp_path, call, message):
    path = tmp_path / "imdb.npz"
    path.write_bytes(npz(**IMDB))
    with pytest.raises(ArgumentError, match=message):
        call(path)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("imdb", {"y_train": np.arange(29)}),
        ("imdb", {"y_test": np.ones(20)}),
        ("imdb", {"x_train": np.arange(30)}),
        ("reuters", {"y": np.arange(50).reshape(25, 2)}),
        ("reuters", {"x": np.arange(50)}),
        ("boston_housing", {"x": np.ones((53, 12))}),
        ("boston_housing", {"y": np.ones((53, 1))}),
        ("california_housing", {"y": np.arange(700)}),
    ],
)
def test_another_data_set(tmp_path, name, changes):
    module, arrays, _ = MODULES[name]
    path = tmp_path / "x.npz"
    path.write_bytes(npz(**arrays | changes))
    with pytest.raises(CorruptFileError, match=r"x\.npz"):
        module.load_data(path=path)


class Fire:
    def __reduce__(self):
        return eval, ("__import__('canary_mod').fire()",)


def object_npy(pickled, shape=(2,)):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, NPZ_HEADER | {"shape": shape})
    return file.getvalue() + pickled


def objects(*values):
    return np.fromiter(values, object, len(values))


def pickled_array(content, shape=2):
    """The pickle of an array of objects whose content, as instructions, is given."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K" + bytes([shape]) + b"\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89" + content + b"tb."
    )


def test_the_builder_of_pickles_makes_what_numpy_reads(tmp_path):
    path = tmp_path / "x.npz"
    write(path, pickled_array(b"](](K\x01M\x2c\x01e]K\x05ae"))
    with warnings.catch_warnings(), np.load(path, allow_pickle=True) as file:
        warnings.simplefilter("ignore")  # NumPy moved the module that old pickles name
        assert file["x"].tolist() == [[1, 300], [5]]
    (x_train, _), (x_test, _) = reuters.load_data(path, test_split=0.5, num_words=1000)
    assert sorted([*x_train, *x_test]) == [[1, 4, 303], [1, 8]]


def write(path, pickled, shape=(2,)):
    labels = io.BytesIO()
    np.save(labels, np.arange(2))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", object_npy(pickled, shape))
        archive.writestr("y.npy", labels.getvalue())


INNER_REDUCE = b"ccanary_mod\nfire\n)R"


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_object_that_runs_code(tmp_path, canary, protocol):
    path = tmp_path / "x.npz"
    write(path, pickle.dumps(objects([1], Fire()), protocol=protocol))
    with pytest.raises(UnsafeFileError, match=r"x\.npz"):
        reuters.load_data(path)
    write(path, pickle.dumps(Fire(), protocol=protocol))
    with pytest.raises(UnsafeFileError, match="eval"):
        reuters.load_data(path)


@pytest.mark.parametrize(
    ("pickled", "error", "message"),
    [
        (pickled_array(b"](" + INNER_REDUCE + b"]e"), UnsafeFileError, "refers to 'canary_mod"),
        (pickled_array(b"](K\x01" + INNER_REDUCE + b"e"), UnsafeFileError, "canary_mod"),
        (pickled_array(b"](icanary_mod\nfire\n]e"), UnsafeFileError, "instruction INST"),
        (pickled_array(b"](Pcanary_mod\n]e"), UnsafeFileError, "instruction PERSID"),
        (pickled_array(b"](\x82\x01]e"), UnsafeFileError, "instruction EXT1"),
        (b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.", UnsafeFileError, "calls"),
        (b"\x80\x02cnumpy\ndtype\nU\x02u1\x85R.", UnsafeFileError, "calls 'numpy.dtype'"),
        (pickle.dumps(objects([1], [2.5])), UnsafeFileError, "instruction BINFLOAT"),
        (pickle.dumps(objects([1], [[2]])), CorruptFileError, "expected lists of integers"),
        (pickle.dumps(objects([1], [True])), CorruptFileError, "expected lists of integers"),
        (pickle.dumps(objects([1], "text")), CorruptFileError, "contains strs"),
        (pickle.dumps(objects([1], (2,))), CorruptFileError, "contains tuples"),
        (pickle.dumps(objects([1])), CorruptFileError, "not a list of texts"),
        (pickle.dumps([[1], [2]]), CorruptFileError, "not a list of texts"),
        (pickled_array(b"](]]e", 3), CorruptFileError, "has 2 entries"),
        (pickled_array(b"U\x02ab"), CorruptFileError, "has 2 entries"),
        (pickled_array(b"](K\x01e]"), CorruptFileError, r"x\.npz"),
        (pickle.dumps(objects([1], [2]))[:-9], CorruptFileError, r"x\.npz"),
        (pickled_array(b"](](" + b"K\x01" * 500 + b"eq\x05" + b"h\x05" * 3000 + b"e", 255),
         CorruptFileError, r"x\.npz"),
        (pickled_array(b"](r\xff\xff\xff\x7f]e"), CorruptFileError, r"x\.npz"),
        (b"", CorruptFileError, r"x\.npz"),
    ],
)  # fmt: skip
def test_hostile_and_damaged_texts(tmp_path, canary, pickled, error, message):
    path = tmp_path / "x.npz"
    write(path, pickled)
    with pytest.raises(error, match=message) as caught:
        reuters.load_data(path)
    assert str(path) in str(caught.value)


def test_texts_that_repeat_one_another_without_limit(tmp_path):
    """A short file that stands for many gigabytes: one list, and thousands of references to it."""
    path = tmp_path / "x.npz"
    long = b"](" + b"K\x01" * 5000 + b"eq\x05"
    body = pickled_array(b"](" + long + b"h\x05" * 199 + b"e", 200)
    write(path, body, (200,))
    with pytest.raises(CorruptFileError, match="repeats its texts"):
        reuters.load_data(path)


def test_objects_are_refused_where_numbers_are_expected(tmp_path, canary):
    path = tmp_path / "x.npz"
    for name in ("boston_housing", "reuters"):
        module, arrays, _ = MODULES[name]
        path.write_bytes(npz(**arrays | {"y": objects(*[Fire()] * len(arrays["y"]))}))
        with pytest.raises(UnsafeFileError, match="pickled Python objects"):
            module.load_data(path=path)


def test_integers_of_every_size_survive(tmp_path):
    path = tmp_path / "x.npz"
    x = objects([0, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**40], [7])
    path.write_bytes(npz(x=x, y=np.arange(2)))
    options = {"test_split": 0.5, "start_char": None, "index_from": None, "num_words": 2**41}
    (x_train, _), (x_test, _) = reuters.load_data(path, **options)
    assert sorted([*x_train, *x_test]) == sorted(x.tolist())


# -------------------------------------------------------------------------------------- real data


@pytest.mark.skipif("LAMINA_TEST_DATA" not in os.environ, reason="no folder of real data")
def test_real_reviews(tmp_path):
    folder = Path(os.environ["LAMINA_TEST_DATA"], "imdb")
    words = imdb.get_word_index(folder / "imdb_word_index.json")
    assert (len(words), words["the"]) == (88_584, 1)
    arrays = {}
    with np.load(folder / "imdb_flat.npz") as file:
        for half in ("train", "test"):
            ids, offsets = file[f"x_{half}_ids"].tolist(), file[f"x_{half}_offsets"].tolist()
            lists = [ids[a:b] for a, b in itertools.pairwise(offsets)]
            arrays[f"x_{half}"] = np.fromiter(lists, object, len(lists))
            arrays[f"y_{half}"] = file[f"y_{half}"]
    path = tmp_path / "imdb.npz"
    with open(path, "wb") as stream:
        np.savez(stream, allow_pickle=True, **arrays)
    (x_train, y_train), (x_test, y_test) = imdb.load_data(path, num_words=10_000)
    assert x_train.shape == y_train.shape == x_test.shape == y_test.shape == (25_000,)
    # What every introduction to the data set shows of its first review.
    assert x_train[0][:10] == [1, 14, 22, 16, 43, 530, 973, 1622, 1385, 65]
    assert (len(x_train[0]), y_train[0]) == (218, 1)
    assert max(map(max, x_train)) == 9_999
    assert (int(y_train.sum()), int(y_test.sum())) == (12_500, 12_500)
    back = {rank + 3: word for word, rank in words.items()}
    shown = " ".join(back.get(word, "?") for word in x_train[0][1:8])
    assert shown == "this film was just brilliant casting location"
