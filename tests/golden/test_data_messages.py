"""Messages about data, word for word; LAMINA_UPDATE_GOLDEN=1 writes the record."""

import os
import pathlib
import tempfile
import zipfile

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import LaminaError
from lamina.utils import (
    Dataset,
    FeatureSpace,
    audio_dataset_from_directory,
    image_dataset_from_directory,
    text_dataset_from_directory,
)

RECORD = pathlib.Path(__file__).with_name("data_messages.txt")
V = {"vocabulary": ["a", "b"]}


def altered(folder):
    """A file whose vocabulary has another size."""
    text = lamina.Input((1,), dtype="string")
    layer = layers.StringLookup(name="kinds")
    layer.adapt(["a", "b"])
    path, other = pathlib.Path(folder, "model.keras"), pathlib.Path(folder, "other.keras")
    lamina.Model(text, layer(text)).save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            end = b"\nc" if name.endswith(".txt") else b""
            target.writestr(name, source.read(name) + end)
    return lamina.saving.load_model(other)


def text_input():
    return lamina.Input((1,), dtype="string", name="review")


def reader():
    text = text_input()
    return lamina.Model(text, layers.StringLookup(name="kinds", **V)(text), name="reader")


def speaker():
    index = lamina.Input((1,), dtype="int32")
    words = layers.StringLookup(name="words", invert=True, **V)(index)
    return lamina.Model(index, words, name="speaker")


def scores():
    return lamina.Sequential([lamina.Input((1,)), layers.Dense(1)])


def other_features():
    layer = layers.Normalization(name="norm")
    layer.adapt(np.ones((2, 3)))
    return layer(np.ones((2, 4)))


def space():
    return FeatureSpace({"age": "float", "city": "string_hashed"}, name="space")


def files(folder, *names, content=b"no such format"):
    for name in names:
        path = pathlib.Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return folder


def images(folder, *names, **options):
    return list(image_dataset_from_directory(files(folder, *names), verbose=False, **options))


X = np.ones((2, 4, 5, 3), "float32")
BOXES = {"boxes": np.ones((2, 1, 4)), "labels": np.ones((2, 1))}

CASES = {
    "adapt_forgotten": lambda _: layers.TextVectorization(name="words")(["a"]),
    "adapt_forgotten_in_graph": lambda _: layers.TextVectorization(
        name="words", output_mode="count"
    )(text_input()),
    "unknown_token": lambda _: layers.StringLookup(name="kinds", num_oov_indices=0, **V)(
        [["a", "x"], ["y", "x"]]
    ),
    "text_into_dense": lambda _: layers.Dense(3, name="dense")(text_input()),
    "numbers_into_text": lambda _: layers.TextVectorization(name="words", **V)(np.ones((2, 1))),
    "missing_value": lambda _: layers.StringLookup(name="kinds", **V)(
        np.array(["a", None], object)
    ),
    "floats_as_integers": lambda _: layers.IntegerLookup(name="codes", vocabulary=[1])(
        np.array([1.5])
    ),
    "repeated_token": lambda _: layers.StringLookup(name="kinds", vocabulary=["a", "b", "a"]),
    "too_many_tokens": lambda _: layers.StringLookup(name="kinds", max_tokens=2, **V),
    "weights_missing": lambda _: layers.StringLookup(name="kinds", output_mode="tf_idf", **V),
    "adapt_beside_vocabulary": lambda _: layers.StringLookup(name="kinds", **V).adapt(["a"]),
    "nothing_to_adapt_to": lambda _: layers.TextVectorization(name="words").adapt(["", "!"]),
    "two_texts": lambda _: layers.TextVectorization(name="words", **V)([["a", "b"]]),
    "numbers_for_a_text_input": lambda _: reader().predict(np.ones((2, 1)), verbose=0),
    "text_for_a_number_input": lambda _: scores().predict(np.array([["a"]]), verbose=0),
    "text_outputs": lambda _: speaker().predict(np.ones((2, 1), "int32"), verbose=0),
    "altered_vocabulary": altered,
    "vocabulary_elsewhere": lambda _: layers.StringLookup.from_config(
        {"vocabulary": "/etc/passwd"}
    ),
    "one_feature": lambda _: layers.HashedCrossing(3, name="cross")([["a"]]),
    "floats_crossed": lambda _: layers.HashedCrossing(3, name="cross")([np.ones(2), np.ones(2)]),
    "mask_of_another_type": lambda _: layers.Hashing(3, mask_value=0, name="hash")([["a"]]),
    "mask_token_of_another_type": lambda _: layers.IntegerLookup(mask_token=""),
    "sparse": lambda _: layers.Hashing(3, sparse=True),
    "count_weights": lambda _: layers.CategoryEncoding(3, name="code")(
        np.ones((2, 2)), count_weights=np.ones((2, 2))
    ),
    "space_not_adapted": lambda _: FeatureSpace(
        {"age": "float_normalized", "city": "string_categorical"}, name="space"
    )({"age": [1.0], "city": ["x"]}),
    "space_of_unknown_kind": lambda _: FeatureSpace({"age": "float_normalised"}),
    "space_without_column": lambda _: FeatureSpace({"age": "float_normalized"}, name="space").adapt(
        {"size": [1.0]}
    ),
    # images and what belongs to them
    "image_without_channels": lambda _: layers.RandomFlip(name="flip")(X[0, 0]),
    "image_of_text": lambda _: layers.RandomFlip(name="flip")(np.full((2, 4, 5, 3), "a")),
    "two_channels": lambda _: layers.RandomHue(0.1, name="hue")(X[..., :2]),
    "value_range_of_text": lambda _: layers.RandomBrightness(0.1, value_range="0-255"),
    "empty_value_range": lambda _: layers.RandomBrightness(0.1, value_range=(1, 1)),
    "angle_in_degrees": lambda _: layers.RandomRotation(90),
    "unknown_fill_mode": lambda _: layers.RandomZoom(0.1, fill_mode="edge"),
    "boxes_of_unknown_format": lambda _: layers.RandomFlip(name="flip")(
        {"images": X, "bounding_boxes": BOXES}
    ),
    "boxes_without_labels": lambda _: layers.RandomFlip(name="flip", bounding_box_format="xyxy")(
        {"images": X, "bounding_boxes": BOXES["boxes"]}
    ),
    "masks_without_channels": lambda _: layers.RandomFlip(name="flip")(
        {"images": X, "segmentation_masks": X[..., 0]}
    ),
    "mixed_class_numbers": lambda _: layers.MixUp(name="mix")({"images": X, "labels": np.ones(2)}),
    "mixed_boxes": lambda _: layers.CutMix(name="cut")({"images": X, "bounding_boxes": BOXES}),
    "crop_and_pad": lambda _: layers.Resizing(
        4, 4, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True
    ),
    # folders and files
    "no_folder": lambda folder: image_dataset_from_directory(pathlib.Path(folder, "none")),
    "empty_folder": images,
    "class_folders_missing": lambda folder: images(folder, "cat1.png", "dog1.png"),
    "unknown_class": lambda folder: images(folder, "a/1.png", class_names=["a", "b"]),
    "corrupt_image": lambda folder: images(folder, "a/1.png"),
    "corrupt_text": lambda folder: list(text_dataset_from_directory(
        files(folder, "a/1.txt", content=b"caf\xe9"), verbose=False)),
    "corrupt_sound": lambda folder: list(audio_dataset_from_directory(
        files(folder, "a/1.wav"), verbose=False)),
    "split_without_seed": lambda folder: images(
        folder, "a/1.png", validation_split=0.2, subset="training"
    ),
    # data sets
    "endless": lambda _: len(Dataset(X).repeat()),
    "different_shapes": lambda _: list(Dataset(np.arange(4)).map(np.ones).batch(2)),
    "filter_of_numbers": lambda _: Dataset(np.arange(4)).filter(lambda x: x % 2),
    "filter_of_the_first": lambda _: Dataset(np.arange(4)).shuffle().take(2).filter(bool),
    "zip_of_arrays": lambda _: Dataset.zip(Dataset(np.arange(4)), [1, 2]),
    # columns and arrays
    "vocabulary_of_numbers": lambda _: layers.StringLookup(name="kinds", vocabulary=[1, 2]),
    "vocabulary_with_none": lambda _: layers.StringLookup(name="kinds", vocabulary=["a", None]),
    "vocabulary_of_text_for_integers": lambda _: layers.IntegerLookup(
        name="codes", vocabulary=["1", "x"]
    ),
    "vocabulary_empty": lambda _: layers.StringLookup(name="kinds", vocabulary=[]),
    "vocabulary_file_missing": lambda folder: layers.StringLookup(vocabulary=f"{folder}/no.txt"),
    "unknown_integer": lambda _: layers.IntegerLookup(
        name="codes", num_oov_indices=0, vocabulary=[1]
    )([1, 5]),
    "ragged_texts": lambda _: layers.StringLookup(name="kinds", **V)([["a"], ["a", "b"]]),
    "ragged_integers": lambda _: layers.Embedding(4, 2, name="table")([[1], [1, 2]]),
    "text_array_into_dense": lambda _: layers.Dense(2, name="dense")(np.array([["a", "b"]])),
    "text_into_normalization": lambda _: layers.Normalization(name="norm", mean=0.0, variance=1.0)(
        np.array([["1.5"]])
    ),
    "none_in_a_number_column": lambda _: layers.Normalization(name="norm", mean=0.0, variance=1.0)(
        np.array([1.0, None], object)
    ),
    "dates": lambda _: layers.Discretization([1.0], name="bins")(
        np.array(["2020-01-01"], "datetime64[D]")
    ),
    "dates_as_text": lambda _: layers.StringLookup(name="kinds", **V)(
        np.array(["2020-01-01"], "datetime64[D]")
    ),
    "text_into_categories": lambda _: layers.CategoryEncoding(3, name="code")(np.array([["a"]])),
    "boundaries_unsorted": lambda _: layers.Discretization([3.0, 1.0]),
    "boundaries_and_bins": lambda _: layers.Discretization([1.0], num_bins=3),
    "bins_not_adapted": lambda _: layers.Discretization(num_bins=3, name="bins")(np.ones(2)),
    "mean_without_variance": lambda _: layers.Normalization(mean=1.0),
    "negative_variance": lambda _: layers.Normalization(mean=0.0, variance=-1.0),
    "means_of_other_features": lambda _: layers.Normalization(
        name="norm", mean=[1.0, 2.0], variance=[1.0, 1.0]
    )(np.ones((1, 3))),
    "other_features": lambda _: other_features(),
    "axis_out_of_range": lambda _: layers.Normalization(name="norm", axis=5)(np.ones((2, 3))),
    "adapt_to_no_rows": lambda _: layers.Normalization(name="norm").adapt(np.ones((0, 3))),
    "adapt_to_a_used_generator": lambda _: layers.Normalization(name="norm").adapt(iter(())),
    "adapt_words_to_numbers": lambda _: layers.TextVectorization(name="words").adapt([1, 2]),
    "scale_of_text": lambda _: layers.Rescaling("1/255"),
    "text_to_pad": lambda _: lamina.utils.pad_sequences([["a"], ["a", "b"]]),
    "text_to_categorical": lambda _: lamina.utils.to_categorical(["cat", "dog"]),
    "space_of_an_array": lambda _: space()(np.ones((2, 2))),
    "space_called_without_a_column": lambda _: space()({"age": np.ones(2)}),
    "windows_longer_than_the_data": lambda _: lamina.utils.timeseries_dataset_from_array(
        np.arange(3), None, 5
    ),
    "text_computed_with": lambda _: lamina.ops.add(text_input(), 1),
    # more of folders
    "file_for_a_folder": lambda folder: image_dataset_from_directory(
        pathlib.Path(files(folder, "a/1.png"), "a/1.png")
    ),
    "one_class_for_binary": lambda folder: images(folder, "a/1.png", label_mode="binary"),
    "unknown_label_mode": lambda folder: images(folder, "a/1.png", label_mode="sparse"),
    "labels_of_other_files": lambda folder: images(folder, "a/1.png", labels=[0, 1]),
    "split_without_subset": lambda folder: images(folder, "a/1.png", validation_split=0.2, seed=1),
    "split_in_percent": lambda folder: images(
        folder, "a/1.png", validation_split=20, subset="training", seed=1
    ),
    "split_without_samples": lambda folder: images(
        folder, "a/1.png", validation_split=0.2, subset="validation", seed=1
    ),
    "image_size_with_channels": lambda folder: images(folder, "a/1.png", image_size=(4, 4, 3)),
    "unknown_color_mode": lambda folder: images(folder, "a/1.png", color_mode="RGB"),
}  # fmt: skip


def told(use):
    with tempfile.TemporaryDirectory() as folder:
        try:
            use(folder)
        except LaminaError as e:
            text = f"{type(e).__name__}: {e}".replace(folder, "FOLDER").replace(os.getcwd(), "HERE")
            return "\n".join(x for x in text.splitlines() if not x.startswith("  called at"))
    return "no error"


def recorded():
    blocks = RECORD.read_text().split("\n\n")
    return {name: text for name, _, text in (b.strip().partition("\n") for b in blocks)}


if os.environ.get("LAMINA_UPDATE_GOLDEN"):
    RECORD.write_text("\n\n".join(f"{n}\n{told(use)}" for n, use in CASES.items()) + "\n")


@pytest.mark.parametrize("name", CASES)
def test_messages(name):
    assert told(CASES[name]) == recorded()[name]
