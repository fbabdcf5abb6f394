"""Data sets from folders: files, labels, splits, images, texts, sounds, windows."""

import struct
import wave

import keras
import numpy as np
import pytest
from PIL import Image

import lamina
from lamina import layers
from lamina.errors import ArgumentError, CorruptFileError, DataError
from lamina.preprocessing import image
from lamina.utils import (
    audio_dataset_from_directory,
    image_dataset_from_directory,
    text_dataset_from_directory,
    timeseries_dataset_from_array,
)
from lamina.utils.reading import decode

SIZE = {"image_size": (6, 8), "verbose": False}


def picture(seed, height=9, width=12, channels=3):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels))
    return Image.fromarray(pixels.astype("uint8").squeeze())


@pytest.fixture
def pictures(tmp_path):
    """Folders '10' < '2' < 'b', a deeper folder, hidden files and other files."""
    for number, name in enumerate(("b", "10", "2", ".hidden")):
        (tmp_path / name / "deeper").mkdir(parents=True)
        for i in range(4):
            picture(10 * number + i).save(tmp_path / name / f"{i}.PNG", format="png")
        picture(99, channels=1).save(tmp_path / name / "deeper" / "gray.bmp")
        (tmp_path / name / "notes.txt").write_text("x")
    return tmp_path


def relative(dataset, folder):
    return [p.removeprefix(f"{folder}/") for p in dataset.file_paths]


def labels_of(dataset):
    return np.concatenate([y for _, y in dataset])


def test_files_and_labels_in_order(pictures):
    dataset = image_dataset_from_directory(pictures, shuffle=False, **SIZE)
    here = [f"{i}.PNG" for i in range(4)] + ["deeper/gray.bmp"]
    assert dataset.class_names == ["10", "2", "b"]
    assert relative(dataset, pictures) == [f"{c}/{f}" for c in ("10", "2", "b") for f in here]
    batches = list(dataset)
    assert len(batches) == len(dataset) == 1
    x, y = batches[0]
    assert (x.shape, x.dtype, y.dtype) == ((15, 6, 8, 3), np.float32, np.int32)
    assert y.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert dataset.element_spec[0].shape == (None, 6, 8, 3)


def test_the_order_of_shuffled_files_is_that_of_keras(pictures):
    dataset = image_dataset_from_directory(pictures, seed=7, **SIZE)
    paths = [
        str(pictures / c / f)
        for c in ("10", "2", "b")
        for f in [*(f"{i}.PNG" for i in range(4)), "deeper/gray.bmp"]
    ]
    np.random.RandomState(7).shuffle(paths)
    assert dataset.file_paths == paths
    assert sorted(labels_of(dataset)) == [0] * 5 + [1] * 5 + [2] * 5


@pytest.mark.parametrize(
    ("mode", "shape", "dtype", "first"),
    [("int", (10,), "int32", 0), ("binary", (10, 1), "float32", [0.0]),
     ("categorical", (10, 2), "float32", [1.0, 0.0])],
)  # fmt: skip
def test_label_modes(pictures, mode, shape, dtype, first):
    options = {"label_mode": mode, "class_names": ["b", "2"], "shuffle": False, **SIZE}
    ((_, y),) = image_dataset_from_directory(pictures, **options)
    assert (y.shape, y.dtype.name, y[0].tolist()) == (shape, dtype, first)


def test_without_labels_and_with_given_ones(pictures):
    for options in ({"labels": None}, {"label_mode": None}):
        dataset = image_dataset_from_directory(pictures, shuffle=False, **SIZE, **options)
        assert next(iter(dataset)).shape[1:] == (6, 8, 3)
    given = list(range(20))  # with the files of `.hidden`, which are in no class
    dataset = image_dataset_from_directory(pictures, labels=given, shuffle=False, **SIZE)
    assert labels_of(dataset).tolist() == given
    assert relative(dataset, pictures)[0] == ".hidden/0.PNG"
    shuffled = image_dataset_from_directory(pictures, labels=given, seed=3, **SIZE)
    number_of = dict(zip(dataset.file_paths, given, strict=True))
    expected = [number_of[p] for p in shuffled.file_paths]
    assert [y.item() for _, y in shuffled.unbatch().batch(1)] != expected  # shuffled again
    assert sorted(labels_of(shuffled)) == given


def test_what_is_printed(pictures, capsys):
    options = {"validation_split": 0.3, "seed": 5, "image_size": (2, 2)}
    image_dataset_from_directory(pictures, subset="both", **options)
    assert capsys.readouterr().out.splitlines() == [
        "Found 15 files belonging to 3 classes.",
        "Using 11 files for training.",
        "Using 4 files for validation.",
    ]
    image_dataset_from_directory(pictures, labels=None, image_size=(2, 2))
    assert capsys.readouterr().out == "Found 20 files.\n"


def test_splits_share_no_file(pictures):
    options = {"validation_split": 0.3, "seed": 5, **SIZE}
    train, held = image_dataset_from_directory(pictures, subset="both", **options)
    assert (len(train.file_paths), len(held.file_paths)) == (11, 4)
    assert not {*train.file_paths} & {*held.file_paths}
    for subset, one in (("training", train), ("validation", held)):
        again = image_dataset_from_directory(pictures, subset=subset, **options)
        assert again.file_paths == one.file_paths
    assert [y.tolist() for _, y in held] == [y.tolist() for _, y in held]
    small = {**options, "validation_split": 0.01}
    assert len(image_dataset_from_directory(pictures, subset="training", **small)) == 1
    with pytest.raises(DataError, match="leaves none for validation"):
        image_dataset_from_directory(pictures, subset="validation", **small)


def test_threads_and_seeds_give_the_same_images(pictures):
    first, second = (
        [x.sum() for x, _ in image_dataset_from_directory(pictures, seed=2, batch_size=2, **SIZE)]
        for _ in range(2)
    )
    assert first == second


def test_methods_keep_names_and_paths(pictures):
    dataset = image_dataset_from_directory(pictures, seed=1, **SIZE)
    made = dataset.map(lambda x, y: (x / 255, y)).unbatch().take(7).batch(3).prefetch(1).cache()
    assert (made.class_names, made.file_paths) == (dataset.class_names, dataset.file_paths)


def test_an_image_model_learns_from_a_folder(tmp_path):
    for name, value in (("dark", 20), ("light", 220)):
        (tmp_path / name).mkdir()
        for i in range(8):
            noise = np.random.default_rng(i).integers(0, 30, (8, 8, 3))
            image.save_img(tmp_path / name / f"{i}.jpg", noise + value, scale=False)
    data = image_dataset_from_directory(tmp_path, image_size=(8, 8), batch_size=4, seed=1,
                                        label_mode="binary", verbose=False)  # fmt: skip
    model = lamina.Sequential([
        lamina.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D(),
        layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(lamina.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    model.fit(data, epochs=12, verbose=0, validation_data=data)
    assert model.evaluate(data, verbose=0, return_dict=True)["accuracy"] == 1


# ---- decoding ------------------------------------------------------------------------------------


def test_what_is_decoded(tmp_path):
    rgb = picture(1)
    rgb.save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png", "rgb")[..., :3], np.asarray(rgb))
    assert decode(tmp_path / "a.png", "rgba")[..., 3].min() == 255
    assert decode(tmp_path / "a.png", "grayscale").shape == (9, 12, 1)
    deep = np.arange(12, dtype="uint16").reshape(3, 4) * 5000
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(decode(tmp_path / "deep.png", "rgb")[..., 1], deep >> 8)
    frames = [Image.fromarray(np.full((4, 4, 3), v, "uint8")) for v in (10, 200)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert abs(int(decode(tmp_path / "two.gif", "rgb")[..., :3].mean()) - 10) < 3
    rotated = Image.Exif()
    rotated[0x0112] = 6  # an orientation, which is ignored
    rgb.save(tmp_path / "turned.jpg", exif=rotated)
    assert decode(tmp_path / "turned.jpg", "rgb").shape == (9, 12, 4)


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_sizes_and_layouts(pictures, crop, first):
    options = {"crop_to_aspect_ratio": crop, "pad_to_aspect_ratio": not crop, "shuffle": False,
               "data_format": "channels_first" if first else None}  # fmt: skip
    x, _ = next(iter(image_dataset_from_directory(pictures, **SIZE, **options)))
    assert x.shape[1:] == ((3, 6, 8) if first else (6, 8, 3))
    x = np.moveaxis(x, 1, -1) if first else x
    square = {**options, "image_size": (8, 8), "verbose": False, "data_format": "channels_last"}
    y, _ = next(iter(image_dataset_from_directory(pictures, **square)))
    assert y[0, 0].max() == 0 if not crop else y[0, 0].max() > 0  # of 9 x 12 pixels, 6 rows remain
    assert x.min() >= 0


def test_truncated_files_are_named(pictures):
    whole = (pictures / "2" / "0.PNG").read_bytes()
    (pictures / "2" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "2" / "text.jpg").write_text("no image")
    data = image_dataset_from_directory(pictures, shuffle=False, batch_size=5, **SIZE)
    with pytest.raises(CorruptFileError, match=r"2/cut\.png cannot be decoded as an image"):
        list(data)
    assert sum(len(y) for _, y in data.ignore_errors()) == 15
    with pytest.raises(CorruptFileError, match=r"text\.jpg"):
        image.load_img(pictures / "2" / "text.jpg")
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        image.load_img(pictures / "none.png")


# ---- single images, against Keras ----------------------------------------------------------------


@pytest.mark.parametrize("mode", ["rgb", "rgba", "grayscale"])
@pytest.mark.parametrize(
    "options",
    [{}, {"target_size": (5, 7)}, {"target_size": [5, 7, 3]},
     {"target_size": (5, 7), "interpolation": "lanczos"},
     {"target_size": (4, 12), "keep_aspect_ratio": True, "interpolation": "bicubic"}],
)  # fmt: skip
def test_load_img(tmp_path, mode, options):
    picture(3).save(tmp_path / "x.png")
    ours = image.load_img(tmp_path / "x.png", color_mode=mode, **options)
    theirs = keras.utils.load_img(tmp_path / "x.png", color_mode=mode, **options)
    assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
    a, b = image.img_to_array(ours), keras.utils.img_to_array(theirs)
    np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"data_format": "channels_first"}])
def test_array_to_img(channels, options):
    x = np.random.default_rng(0).normal(size=(5, 6, channels)) * 40 + 100
    x = np.moveaxis(x, -1, 0) if "data_format" in options else x
    ours, theirs = image.array_to_img(x, **options), keras.utils.array_to_img(x, **options)
    assert ours.mode == theirs.mode
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_save_img(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (5, 6, 3))
    for module, name in ((image, "a.png"), (keras.utils, "b.png")):
        module.save_img(tmp_path / name, x)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.warns(UserWarning, match="no alpha channel"):
        image.save_img(tmp_path / "c.jpg", np.ones((4, 4, 4)))


@pytest.mark.parametrize("method", ["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"])
@pytest.mark.parametrize("shape", [(9, 14, 3), (2, 20, 8, 1)])
def test_smart_resize(shape, method):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    ours = image.smart_resize(x, (6, 7), interpolation=method)
    theirs = keras.preprocessing.image.smart_resize(x, (6, 7), interpolation=method)
    assert isinstance(ours, np.ndarray)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_smart_resize_of_integers(method):
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 2)).astype("uint8")
    ours = image.smart_resize(x, (3, 3), interpolation=method)
    theirs = keras.preprocessing.image.smart_resize(x, (3, 3), interpolation=method)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# ---- texts and sounds ----------------------------------------------------------------------------


def test_texts(tmp_path):
    for name in ("neg", "pos"):
        (tmp_path / name).mkdir()
        for i in range(3):
            (tmp_path / name / f"{i}.txt").write_text(f"{name} {i} ünï", encoding="utf-8")
    data = text_dataset_from_directory(tmp_path, shuffle=False, verbose=False, max_length=7)
    ((x, y),) = data
    assert x.dtype == object
    assert x.tolist() == [f"{name} {i} ü" for name in ("neg", "pos") for i in range(3)]
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    (tmp_path / "pos" / "9.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(CorruptFileError, match=r"pos/9\.txt is not text in UTF-8[\s\S]*0xe9"):
        list(text_dataset_from_directory(tmp_path, verbose=False))


def test_links_that_lead_back_are_left_out(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "top" / name).mkdir(parents=True)
        (tmp_path / "top" / name / "1.txt").write_text(name)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "2.txt").write_text("more")
    (tmp_path / "top" / "a" / "other").symlink_to(tmp_path / "more")
    (tmp_path / "top" / "a" / "itself").symlink_to(tmp_path / "top" / "a")
    (tmp_path / "more" / "back").symlink_to(tmp_path / "top")
    for follow, texts in ((False, ["a", "b"]), (True, ["a", "more", "b"])):
        data = text_dataset_from_directory(
            tmp_path / "top", shuffle=False, verbose=False, follow_links=follow
        )
        assert [x for x, _ in data.unbatch()] == texts


def sound(path, samples, channels=1, rate=8000, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(b"".join(struct.pack("<h", s) for s in samples))


@pytest.fixture
def sounds(tmp_path):
    (tmp_path / "no").mkdir()
    (tmp_path / "yes").mkdir()
    sound(tmp_path / "no" / "a.wav", [0, 16384, -32768])
    sound(tmp_path / "yes" / "b.wav", [8192] * 5)
    return tmp_path


def test_sounds(sounds):
    ((x, y),) = audio_dataset_from_directory(sounds, shuffle=False, verbose=False)
    assert (x.shape, x.dtype, y.tolist()) == ((2, 5, 1), np.float32, [0, 1])
    assert x[0, :, 0].tolist() == [0, 0.5, -1, 0, 0]
    options = {"shuffle": False, "verbose": False, "output_sequence_length": 4}
    ((x, _),) = audio_dataset_from_directory(sounds, **options)
    assert x[..., 0].tolist() == [[0, 0.5, -1, 0], [0.25] * 4]
    options = {"labels": None, "batch_size": None, "shuffle": False, "verbose": False}
    doubled = audio_dataset_from_directory(sounds, sampling_rate=16000, **options)
    assert [s.shape for s in doubled] == [(6, 1), (10, 1)]
    sound(sounds / "no" / "two.wav", [1, 2, 3, 4], channels=2)
    with pytest.raises(DataError, match="different shapes"):
        list(audio_dataset_from_directory(sounds, verbose=False))


@pytest.mark.parametrize(
    ("content", "message"), [(b"RIFF", "cannot be decoded as WAV"), (None, "8 bits")]
)
def test_sounds_that_cannot_be_read(sounds, content, message):
    bad = sounds / "no" / "bad.wav"
    if content is None:
        sound(bad, [1, 2], width=1)
    else:
        bad.write_bytes(content)
    with pytest.raises(CorruptFileError, match=rf"bad\.wav[\s\S]*{message}"):
        list(audio_dataset_from_directory(sounds, verbose=False))


# ---- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"sampling_rate": 2}, {"sequence_stride": 3}, {"start_index": 2, "end_index": 9},
     {"end_index": 12}, {"batch_size": 4}, {"batch_size": None}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("with_targets", [True, False])
def test_windows(options, with_targets):
    series = np.arange(24.0).reshape(12, 2)
    targets = np.arange(12) * 10 if with_targets else None
    data = timeseries_dataset_from_array(series, targets, 3, **options)
    start, end = options.get("start_index", 0), options.get("end_index", 12)
    rate, stride = options.get("sampling_rate", 1), options.get("sequence_stride", 1)
    firsts = range(start, end - 2 * rate, stride)
    windows = [series[[i, i + rate, i + 2 * rate]] for i in firsts]
    data = data if options.get("batch_size", 128) is None else data.unbatch()
    found = list(data)
    assert len(found) == len(windows)
    for element, window, first in zip(found, windows, firsts, strict=True):
        x, y = element if with_targets else (element, None)
        np.testing.assert_array_equal(x, window)
        assert y is None or y == 10 * first


def test_shuffled_windows_keep_their_targets():
    data = timeseries_dataset_from_array(np.arange(30), np.arange(30) + 100, 4, batch_size=5,
                                         shuffle=True, seed=3)  # fmt: skip
    passes = [np.concatenate([y for _, y in data]) for _ in range(2)]
    assert not np.array_equal(*passes)
    assert all(sorted(p) == list(range(100, 127)) for p in passes)
    assert all((x[:, 0] + 100 == y).all() for x, y in data)


# ---- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"directory": "nowhere"}, DataError, "There is no folder"),
        ({"labels": "guessed"}, ArgumentError, '`labels` is "inferred"'),
        ({"labels": [0, 1]}, DataError, "expected: 20 labels\n  received: 2"),
        ({"label_mode": "ints"}, ArgumentError, "`label_mode` is one of"),
        ({"label_mode": "binary"}, ArgumentError, "needs two classes"),
        ({"class_names": ["b", "c"]}, DataError, r"no folders for these `class_names`: \['c'\]"),
        ({"labels": None, "class_names": ["b"]}, ArgumentError, "`class_names` names folders"),
        ({"validation_split": 0.2}, ArgumentError, "given together"),
        ({"validation_split": 2, "subset": "both", "seed": 1}, ArgumentError, "between 0 and 1"),
        ({"validation_split": 0.2, "subset": "both"}, ArgumentError, "give a `seed`"),
        ({"color_mode": "cmyk"}, ArgumentError, "`color_mode` is one of"),
        ({"interpolation": "cubic"}, ArgumentError, "`interpolation` is one of"),
        ({"image_size": (1, 2, 3)}, ArgumentError, r"`image_size` is \(height, width\)"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, ArgumentError, "Only one"),
        ({"format": "torch"}, ArgumentError, "`format`"),
    ],
)  # fmt: skip
def test_refusals(pictures, options, error, message):
    with pytest.raises(error, match=message):
        image_dataset_from_directory(**{"directory": pictures, **SIZE, **options})


def test_folders_without_what_is_wanted(tmp_path):
    with pytest.raises(DataError, match=r"No images found[\s\S]*an empty folder"):
        image_dataset_from_directory(tmp_path, **SIZE)
    (tmp_path / "readme.md").write_text("x")
    with pytest.raises(DataError, match=r"files that end with \.txt\n  received: \['readme.md'\]"):
        text_dataset_from_directory(tmp_path)
    picture(1).save(tmp_path / "cat.png")
    with pytest.raises(DataError, match=r"one folder for each class[\s\S]*cat.png[\s\S]*Move"):
        image_dataset_from_directory(tmp_path, **SIZE)
    with pytest.raises(ArgumentError, match="`ragged=True`"):
        audio_dataset_from_directory(tmp_path, ragged=True)
    with pytest.raises(ArgumentError, match="No window fits: 5 steps, 3 apart, span 13 of 10"):
        timeseries_dataset_from_array(np.arange(10), None, 5, sampling_rate=3)
    with pytest.raises(ArgumentError, match="a range of the 10 time steps"):
        timeseries_dataset_from_array(np.arange(10), None, 2, end_index=11)
