"""Where data libraries differ or fail: one row for each decision, with the numbers it gives.

What is compared with Keras itself is in ``tests/differential`` and ``tests/host_layers``.
"""

import subprocess
import sys

import numpy as np
import pytest

import lamina as keras
from lamina import layers, utils
from lamina.errors import DataError

X = np.random.default_rng(0).uniform(0, 255, (8, 6, 6, 3)).astype("float32")


def found(output):
    return np.asarray(output).tolist()


def words(texts, **options):
    layer = layers.TextVectorization(**options)
    layer.adapt(texts)
    return layer.get_vocabulary(include_special_tokens=False)


def tf_idf():
    layer = layers.TextVectorization(output_mode="tf_idf")
    layer.adapt(["a b", "a", "a c"])
    return found(layer(["a a b z"])[0])


def choices(layer, name):
    """How many parameters a batch of images has."""
    return np.shape(layer.get_random_transformation(X, seed=1)[name])


def flips():
    """In which of eight ways images of one batch are flipped."""
    out = layers.RandomFlip().transform(np.repeat(X[:1], 64, 0), 3)
    both = X[0, ::-1, ::-1]
    return {"none" if (y == X[0]).all() else "both" if (y == both).all() else "?" for y in out}


def mixed_masks():
    data = {"images": X, "segmentation_masks": np.ones((8, 6, 6, 1), "int32")}
    return layers.MixUp()(data)["segmentation_masks"].shape


IDF = [np.log(1 + 3 / (1 + n)) for n in (3, 1, 1)]
ROWS = {
    # text: only ASCII is changed, by bytes
    "lower_is_ascii": (lambda: words(["ÄB Äb"]), ["Äb"]),
    "curly_quotes_stay": (lambda: words(["“it's”"]), ["“its”"]),
    "whitespace_is_ascii": (lambda: words(["a\u00a0b\u3000c\x0bd"]), ["d", "a\u00a0b\u3000c"]),
    "characters_are_code_points": (lambda: words(["eé"], split="character"), ["é", "e"]),
    "one_grams_first": (lambda: found(layers.TextVectorization(
        ngrams=2, vocabulary=["a", "b", "a b"])(["a b"])), [[2, 3, 4]]),
    "only_two_grams": (lambda: found(layers.TextVectorization(
        ngrams=(2,), vocabulary=["a", "b", "a b"])(["a b"])), [[4]]),
    "ties_sort_descending": (lambda: words(["b a é b"]), ["b", "é", "a"]),
    "special_tokens_count": (lambda: words(["a a b"], max_tokens=3), ["a"]),
    "no_mask_in_other_modes": (lambda: words(["a a b c"], max_tokens=3, output_mode="count"),
                               ["a", "c"]),
    "idf": (tf_idf, pytest.approx([np.mean(IDF), 2 * IDF[0], 0, IDF[1]])),
    # lookups: mask, unknown, tokens
    "order_of_special_tokens": (lambda: layers.StringLookup(
        vocabulary=["x"], mask_token="", num_oov_indices=2).get_vocabulary(),
        ["", "[UNK]", "[UNK]", "x"]),
    "unknown_integers_by_floor_modulo": (lambda: found(layers.IntegerLookup(
        vocabulary=[5], num_oov_indices=3)([-1, 4, 5])), [2, 1, 3]),
    "unknown_indices_are_unknown": (lambda: found(layers.StringLookup(
        vocabulary=["x"], invert=True)([7, -1, 1])), ["[UNK]", "[UNK]", "x"]),
    # hashes and categories
    "floats_are_truncated": (lambda: found(layers.Hashing(97)([1.9, -1.9])),
                             found(layers.Hashing(97)([1, -1]))),
    "integers_are_hashed_as_text": (lambda: found(layers.Hashing(97)([12])),
                                    found(layers.Hashing(97)(["12"]))),
    "bin_0_is_for_the_mask": (lambda: 0 in found(layers.Hashing(3, mask_value="-")(
        [str(i) for i in range(99)])), False),
    "others_count_nowhere": (lambda: found(layers.CategoryEncoding(2, output_mode="count")(
        [[-1, 1, 2, 1]])), [[0, 2]]),
    "encoded_along_the_last_axis": (lambda: found(layers.CategoryEncoding(
        2, output_mode="count")(np.array([[[0, 1, 1], [0, 0, 0]]]))), [[[1, 2], [3, 0]]]),
    "bins_encoded_along_the_last_axis": (lambda: found(layers.Discretization(
        [0.5], output_mode="multi_hot")(np.array([[[0.0, 1.0], [0.0, 0.0]]]))), [[[1, 1], [1, 0]]]),
    # images
    "calls_augment": (lambda: bool((layers.RandomBrightness(0.5)(X) != X).any()), True),
    "both_axes_or_none": (flips, {"none", "both"}),
    "one_window_for_a_batch": (lambda: choices(layers.RandomCrop(2, 2), "top"), ()),
    "one_choice_for_a_batch": (lambda: choices(layers.RandAugment(num_ops=3), "layer_idxes"), (3,)),
    "one_blur_for_a_batch": (lambda: choices(layers.RandomGaussianBlur(), "blur_factor"), (2,)),
    "masks_keep_their_shape": (mixed_masks, (8, 6, 6, 1)),
    "contrast_of_one_number": (lambda: layers.RandomContrast(0.3).factor, (0, 0.3)),
    "brightness_of_one_number": (lambda: layers.RandomBrightness(0.3).factor, (-0.3, 0.3)),
    "saturation_of_one_number": (lambda: layers.RandomSaturation(0.3).factor, (0, 0.3)),
    "half_pixels": (lambda: found(layers.Resizing(1, 2)(np.arange(4.0).reshape(1, 4, 1)))[0],
                    [[0.5], [2.5]]),
    "nearest_is_the_middle": (lambda: found(layers.Resizing(1, 2, "nearest")(
        np.arange(4.0).reshape(1, 4, 1)))[0], [[1], [3]]),
    # arrays
    "padded_and_cut_in_front": (lambda: found(utils.pad_sequences([[1, 2, 3], [4]], 2)),
                                [[2, 3], [0, 4]]),
    "targets_at_the_first_step": (lambda: [found(y) for _, y in utils.timeseries_dataset_from_array(
        np.arange(5), np.arange(5) * 10, 3, end_index=5)], [[0, 10, 20]]),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_decisions(name):
    use, expected = ROWS[name]
    assert use() == expected


NEVER_LOADED = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "torch", "grain", "pandas"):
            raise AssertionError(f"{name} is imported")
sys.meta_path.insert(0, Refused())
import numpy as np
from lamina import utils
utils.save_img("a/1.png", np.ones((4, 4, 3)))
list(utils.image_dataset_from_directory(".", image_size=(2, 2), verbose=False))
space = utils.FeatureSpace({"kind": "string_categorical", "size": "float_normalized"})
space.adapt(utils.Dataset({"kind": np.array(["x", "y"]), "size": np.array([1.0, 2.0])}))
print(space({"kind": ["x"], "size": [1.5]}).shape)
"""


def test_no_other_framework_is_loaded(tmp_path):
    (tmp_path / "a").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", NEVER_LOADED], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": ":".join(sys.path)}, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "(1, 4)", done.stderr


MILLISECONDS = np.array([[1_700_000_000_000], [-(2**40)]])


def scaled():
    """A model that computes 1e-9 times its input, and its data in a file."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[1e-9]])])
    model.compile("sgd", "mse")
    return model


def from_file(path):
    np.save(path / "x.npy", MILLISECONDS)
    return scaled().predict(np.load(path / "x.npy", mmap_mode="r"), verbose=0)


@pytest.mark.parametrize("compute", [
    lambda path: scaled().predict(MILLISECONDS, verbose=0),
    lambda path: scaled().predict(MILLISECONDS.tolist(), verbose=0),
    lambda path: scaled().predict_on_batch(MILLISECONDS),
    lambda path: scaled().predict((x for x in [MILLISECONDS]), verbose=0),
    lambda path: scaled()(MILLISECONDS),
    lambda path: layers.Rescaling(1e-9)(MILLISECONDS),
    from_file,
])  # fmt: skip
def test_integers_beyond_32_bits_are_floats(compute, tmp_path):
    np.testing.assert_allclose(np.asarray(compute(tmp_path)), MILLISECONDS * 1e-9, rtol=1e-6)


def test_targets_and_indices_beyond_32_bits():
    assert scaled().evaluate(np.zeros((2, 1)), np.full((2, 1), 2**33), verbose=0) == 2**66
    words = keras.Input((1,), dtype="int32")
    model = keras.Model(words, layers.Embedding(3, 2)(words))
    with pytest.raises(DataError, match=f"input_dim={2**33 + 1}`"):
        model.predict(np.array([[2**33]]), verbose=0)
