"""Layers of text and categories on data: what Keras, on TensorFlow, gives is recorded.

``python tests/host_layers/table.py`` writes the record, where Keras and TensorFlow are installed.
"""

import base64
import json
import os
import tempfile
import zipfile
from pathlib import Path

RECORD = Path(__file__).with_name("recorded.json")

WORDS = [["a", "b"], ["c", "a"], ["", "z"], ["a", "[UNK]"]]
TEXTS = [
    "The quick, brown fox!", "the  QUICK\tfox\njumps - over it's den", "", "Ünïcode “quoted” fox",
    "no\u00a0break\u3000space", "a b c a b", "the end.",
]  # fmt: skip
COLUMN = [[w] for w in ["b", "a", "c", "a", "b", "a", "d", "B", "ä", "€"]]
NUMBERS = [[12, 7], [36, 12], [-1, 40], [2**40, 36]]
ROWS_OF_TOKENS = [["a", "B!", "c"], ["!!", ".", "a"], ["", "zz", "b"]]
LONG = [
    ["x" * n] for n in (0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300)
]
MIXED = [[f"{i}-{'word' * (i % 5)}-{i * i}"] for i in range(60)]

# Name: class, arguments, what it is adapted to (or None), inputs.
ROWS = {
    "string": ("StringLookup", {"vocabulary": ["a", "b"]}, None, WORDS),
    "string_mask": ("StringLookup", {"vocabulary": ["a", "b"], "mask_token": ""}, None, WORDS),
    "string_oov": ("StringLookup", {"vocabulary": ["a"], "num_oov_indices": 3}, None, WORDS),
    "string_oov_salt": ("StringLookup",
                        {"vocabulary": ["a"], "num_oov_indices": 3, "salt": [1, 2]}, None, WORDS),
    "string_adapted": ("StringLookup", {}, COLUMN, WORDS),
    "string_max": ("StringLookup", {"max_tokens": 3, "mask_token": ""}, COLUMN, WORDS),
    **{f"string_{mode}": ("StringLookup", {"output_mode": mode, "mask_token": ""}, COLUMN, WORDS)
       for mode in ("one_hot", "multi_hot", "count", "tf_idf")},
    "string_padded": ("StringLookup", {"output_mode": "count", "max_tokens": 12,
                                       "pad_to_max_tokens": True}, COLUMN, WORDS),
    "string_one_hot_of_one": ("StringLookup", {"output_mode": "one_hot"}, COLUMN, COLUMN),
    "string_idf_given": ("StringLookup", {"output_mode": "tf_idf", "vocabulary": ["a", "b"],
                                          "idf_weights": [0.5, 2.0]}, None, WORDS),
    "integer": ("IntegerLookup", {"vocabulary": [12, 36]}, None, NUMBERS),
    "integer_mask": ("IntegerLookup", {"vocabulary": [12, 36], "mask_token": 40}, None, NUMBERS),
    "integer_oov": ("IntegerLookup", {"vocabulary": [12], "num_oov_indices": 4}, None, NUMBERS),
    "integer_farmhash": ("IntegerLookup", {"vocabulary": [12], "num_oov_indices": 4,
                                           "oov_method": "farmhash"}, None, NUMBERS),
    "integer_salt": ("IntegerLookup", {"vocabulary": [12], "num_oov_indices": 4, "salt": 9,
                                       "oov_method": "farmhash"}, None, NUMBERS),
    "integer_adapted": ("IntegerLookup", {}, [[5], [7], [5], [3], [7], [9]], NUMBERS),
    "integer_tf_idf": ("IntegerLookup", {"output_mode": "tf_idf"}, NUMBERS, NUMBERS),
    "integer_multi_hot": ("IntegerLookup", {"output_mode": "multi_hot", "vocabulary": [12, 36]},
                          None, NUMBERS),
    "hash": ("Hashing", {"num_bins": 1000003}, None, LONG),
    "hash_few": ("Hashing", {"num_bins": 7, "mask_value": "x"}, None, LONG),
    "hash_salt": ("Hashing", {"num_bins": 1000003, "salt": 133}, None, LONG),
    "hash_salts": ("Hashing", {"num_bins": 1000003, "salt": [7, 2**40]}, None, MIXED),
    "hash_many": ("Hashing", {"num_bins": 2**31 - 1}, None, MIXED),
    "hash_integers": ("Hashing", {"num_bins": 10, "mask_value": 12}, None, NUMBERS),
    "hash_booleans": ("Hashing", {"num_bins": 1000003}, None, [[True], [False]]),
    "hash_one_hot": ("Hashing", {"num_bins": 3, "output_mode": "one_hot"}, None, COLUMN),
    "hash_multi_hot": ("Hashing", {"num_bins": 4, "output_mode": "multi_hot"}, None, WORDS),
    "hash_count": ("Hashing", {"num_bins": 2, "output_mode": "count"}, None, WORDS),
    "text": ("TextVectorization", {}, TEXTS, TEXTS),
    "text_length": ("TextVectorization", {"output_sequence_length": 3}, TEXTS, TEXTS),
    "text_max": ("TextVectorization", {"max_tokens": 6}, TEXTS, TEXTS),
    "text_lower": ("TextVectorization", {"standardize": "lower"}, TEXTS, TEXTS),
    "text_strip": ("TextVectorization", {"standardize": "strip_punctuation"}, TEXTS, TEXTS),
    "text_plain": ("TextVectorization", {"standardize": None}, TEXTS, TEXTS),
    "text_character": ("TextVectorization", {"split": "character"}, TEXTS, TEXTS),
    "text_whole": ("TextVectorization", {"split": None}, COLUMN, WORDS),
    "text_whole_length": ("TextVectorization", {"split": None, "output_sequence_length": 2,
                                                "vocabulary": ["a", "b"]}, None, ROWS_OF_TOKENS),
    "text_whole_bigrams": ("TextVectorization", {"split": None, "ngrams": 2}, ROWS_OF_TOKENS,
                           ROWS_OF_TOKENS),
    "text_whole_only_bigrams": ("TextVectorization",
                                {"split": None, "ngrams": [2], "output_sequence_length": 3},
                                ROWS_OF_TOKENS, ROWS_OF_TOKENS),
    "text_whole_tf_idf": ("TextVectorization", {"split": None, "output_mode": "tf_idf"},
                          ROWS_OF_TOKENS, ROWS_OF_TOKENS),
    "text_bigrams": ("TextVectorization", {"ngrams": 2}, TEXTS, TEXTS),
    "text_only_bigrams": ("TextVectorization", {"ngrams": [2]}, TEXTS, TEXTS),
    "text_three_and_one": ("TextVectorization", {"ngrams": [3, 1]}, TEXTS, TEXTS),
    **{f"text_{mode}": ("TextVectorization", {"output_mode": mode}, TEXTS, TEXTS)
       for mode in ("multi_hot", "count", "tf_idf")},
    "text_count_padded": ("TextVectorization", {"output_mode": "count", "max_tokens": 40,
                                                "pad_to_max_tokens": True}, TEXTS, TEXTS),
    "text_given": ("TextVectorization", {"vocabulary": ["fox", "the"]}, None, TEXTS),
}  # fmt: skip

# Features that are crossed: arguments, columns.
CROSSES = {
    "strings_and_integers": ({"num_bins": 5},
                             [["A", "B", "A", "B", "A"], [101, 101, 101, 102, 102]]),
    "column": ({"num_bins": 97}, [COLUMN, [[i] for i in range(10)]]),
    "three": ({"num_bins": 1000003}, [MIXED, MIXED[::-1], [[i - 30] for i in range(60)]]),
    "one_hot": ({"num_bins": 5, "output_mode": "one_hot"}, [COLUMN, COLUMN[::-1]]),
}  # fmt: skip

TABLE = {
    "size": [0.5, 1.5, 9.0, 4.0, 2.5, 7.0], "weight": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "level": [3.0, 1.0, 2.0, 8.0, 9.0, 4.0], "kind": ["a", "b", "a", "c", "d", "a"],
    "code": [7, 8, 7, 9, 7, 10], "place": ["x", "y", "x", "z", "y", "y"], "day": [1, 2, 3, 4, 5, 6],
    "raw": [0.0, 1.0, -1.0, 2.0, 0.5, 0.25],
}  # fmt: skip


def feature_space(cls, output_mode):
    """The same features and crosses, of Keras's class or of ours."""
    return cls(
        {
            "size": "float_normalized", "weight": cls.float_rescaled(scale=0.5, offset=1.0),
            "level": cls.float_discretized(num_bins=3),
            "kind": "string_categorical", "code": cls.integer_categorical(num_oov_indices=2),
            "place": cls.string_hashed(num_bins=4), "day": "integer_hashed", "raw": "float",
        },
        crosses=[("kind", "code"), cls.cross(("place", "level"), 6)], crossing_dim=5,
        hashing_dim=3, output_mode=output_mode,
    )  # fmt: skip


def build(layers, name):
    """The layer of a row, adapted, of Keras's ``layers`` or of ours."""
    import numpy as np

    cls, kwargs, adapted, inputs = ROWS[name]
    kwargs = {k: tuple(v) if k == "ngrams" and isinstance(v, list) else v
              for k, v in kwargs.items()}  # fmt: skip
    layer = getattr(layers, cls)(**kwargs)
    if adapted is not None:
        layer.adapt(np.array(adapted))
    return layer, np.array(inputs)


def _record():
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np

    record = {}
    for name in ROWS:
        layer, inputs = build(keras.layers, name)
        output = np.asarray(layer(inputs))
        entry = {"output": output.tolist(), "dtype": output.dtype.name}
        if hasattr(layer, "get_vocabulary"):
            entry["vocabulary"] = np.asarray(layer.get_vocabulary()).tolist()
        record[name] = entry
    for name, (kwargs, columns) in CROSSES.items():
        layer = keras.layers.HashedCrossing(**kwargs)
        output = np.asarray(layer([np.array(c) for c in columns]))
        record[f"cross_{name}"] = {"output": output.tolist(), "dtype": output.dtype.name}
    image = np.arange(5 * 7 * 1).reshape(5, 7, 1) ** 2 % 97
    for method in ("bilinear", "nearest", "area", "lanczos3", "lanczos5", "gaussian",
                   "mitchellcubic"):  # fmt: skip
        import tensorflow as tf

        for size in ((4, 9), (11, 3)):
            found = tf.image.resize(image.astype("float32"), size, method=method).numpy()
            record[f"resize_{method}_{size[0]}"] = np.round(found[..., 0], 5).tolist()
    import tensorflow as tf

    for mode in ("concat", "dict"):
        space = feature_space(keras.utils.FeatureSpace, mode)
        space.adapt(tf.data.Dataset.from_tensor_slices(TABLE))
        output = space({k: tf.constant(v) for k, v in TABLE.items()})
        if mode == "concat":
            record["space_concat"] = np.asarray(output).tolist()
            outputs = keras.layers.Dense(1)(space.get_encoded_features())
            model = keras.Model(space.get_inputs(), outputs)
            data = {k: tf.reshape(tf.constant(v), (-1, 1)) for k, v in TABLE.items()}
            record["space_file"] = {
                "space": _content(space),
                "model": _content(model),
                "output": np.asarray(model(data)).tolist(),
            }
        else:
            record["space_dict"] = {k: np.asarray(v).tolist() for k, v in output.items()}
    record["file"] = _file(keras)
    RECORD.write_text(json.dumps(record, indent=0).replace(",\n", ", ") + "\n")


def _file(keras):
    """A model with vocabularies of all kinds, as a file, and what it predicts."""
    import numpy as np

    text = keras.Input((), dtype="string", name="text")
    kind = keras.Input((1,), dtype="string", name="kind")
    number = keras.Input((1,), dtype="int64", name="number")
    words = keras.layers.TextVectorization(output_sequence_length=4, name="words")
    words.adapt(np.array(TEXTS))
    weights = keras.layers.TextVectorization(output_mode="tf_idf", name="weights")
    weights.adapt(np.array(TEXTS))
    kinds = keras.layers.StringLookup(output_mode="one_hot", name="kinds")
    kinds.adapt(np.array(COLUMN))
    numbers = keras.layers.IntegerLookup(name="numbers")
    numbers.adapt(np.array([[5], [7], [5]]))
    embedded = keras.layers.Embedding(20, 2)(words(text))
    merged = keras.layers.Concatenate()([
        keras.layers.Flatten()(embedded), weights(text), kinds(kind),
        keras.layers.Flatten()(keras.layers.Embedding(4, 2)(numbers(number))),
    ])  # fmt: skip
    model = keras.Model([text, kind, number], keras.layers.Dense(2)(merged))
    data = [np.array(TEXTS), np.array(COLUMN[: len(TEXTS)]),
            np.array([[5], [7], [1], [5], [2], [7], [7]])]  # fmt: skip
    import tensorflow as tf

    output = model([tf.constant(x) for x in data])
    return {"content": _content(model), "output": np.asarray(output).tolist()}


def _content(model):
    """The file of a model, compressed, as text."""
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder, "model.keras"), Path(folder, "small.keras")
        model.save(path)
        with (
            zipfile.ZipFile(path) as source,
            zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as to,
        ):
            for name in source.namelist():
                to.writestr(name, source.read(name))
        return base64.b64encode(small.read_bytes()).decode()


if __name__ == "__main__":
    _record()
