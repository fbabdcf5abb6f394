"""FeatureSpace: kinds of features, data, models, files. Its numbers: tests/host_layers."""

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, DataError, DTypeError, NotBuiltError, StructureError
from lamina.utils import Dataset, FeatureSpace

TABLE = {"size": [1.0, 2.0, 3.0, 6.0], "kind": ["a", "b", "a", "c"], "code": [7, 8, 7, 9]}
KINDS = {"size": "float_normalized", "kind": "string_categorical", "code": "integer_categorical"}
ARRAYS = {k: np.array(v) for k, v in TABLE.items()}
LABELS = np.array([0.0, 1.0, 0.0, 1.0])


def space(**options):
    made = FeatureSpace(KINDS, **{"crosses": [("kind", "code")], "crossing_dim": 5, **options})
    made.adapt(TABLE)
    return made


@pytest.mark.parametrize(
    "data",
    [ARRAYS, Dataset(ARRAYS), Dataset((ARRAYS, LABELS)).batch(3),
     [{k: v[:2] for k, v in ARRAYS.items()}, {k: v[2:] for k, v in ARRAYS.items()}]],
    ids=["arrays", "samples", "batches", "list"],
)  # fmt: skip
def test_adapt_takes_every_form(data):
    other = FeatureSpace(KINDS, crosses=[("kind", "code")], crossing_dim=5)
    other.adapt(data)
    np.testing.assert_allclose(other(TABLE), space()(TABLE), atol=1e-6)


def test_columns_single_values_and_pipelines():
    made = space()
    table = np.asarray(made(TABLE))
    assert table.shape == (4, 1 + 4 + 4 + 5)
    row = made({k: v[1] for k, v in TABLE.items()})
    np.testing.assert_allclose(row, table[1], atol=1e-6)
    batches = list(Dataset((ARRAYS, LABELS)).batch(2).map(lambda x, y: (made(x), y)))
    np.testing.assert_allclose(np.concatenate([x for x, _ in batches]), table, atol=1e-6)
    samples = list(Dataset(ARRAYS).map(made))
    np.testing.assert_allclose(np.stack(samples), table, atol=1e-6)


def test_a_model_trains_on_raw_columns():
    made = space()
    output = layers.Dense(1, activation="sigmoid")(made.get_encoded_features())
    model = lamina.Model(made.get_inputs(), output)
    model.compile("adam", "binary_crossentropy")
    model.fit(ARRAYS, LABELS, epochs=1, verbose=0)
    model.fit(Dataset((ARRAYS, LABELS)).batch(2), epochs=1, verbose=0)
    assert model.predict(ARRAYS, verbose=0).shape == (4, 1)


def test_files(tmp_path):
    made = space(output_mode="dict")
    made.save(tmp_path / "space.keras")
    again = lamina.saving.load_model(tmp_path / "space.keras")
    assert isinstance(again, FeatureSpace)
    for key, value in made(TABLE).items():
        np.testing.assert_array_equal(again(TABLE)[key], value)
    assert again.preprocessors["kind"].get_vocabulary() == ["[UNK]", "a", "c", "b"]


def test_features_without_adapting():
    made = FeatureSpace(
        {
            "a": FeatureSpace.float_rescaled(scale=2.0, offset=1.0), "b": "float",
            "c": FeatureSpace.float_discretized(3, [0.0, 1.0], output_mode="int"),
            "d": FeatureSpace.feature("string", layers.Hashing(4), "int"),
        },
        output_mode="dict",
    )  # fmt: skip
    found = made({"a": [1.0], "b": [4.0], "c": [0.5], "d": ["x"]})
    assert [found[k].tolist() for k in "abc"] == [[[3.0]], [[4.0]], [[1]]]
    assert made.get_encoded_features()["a"].shape == (None, 1)


def test_numbers_alone_are_computed_in_a_compiled_step():
    made = FeatureSpace({"a": "float_normalized",
                         "b": FeatureSpace.float_discretized(None, [0.0, 1.0])})  # fmt: skip
    made.adapt({"a": [1.0, 3.0], "b": [0.5, 2.0]})
    wanted = [[-1, 0, 1, 0], [1, 0, 0, 1]]
    assert made({"a": [1.0, 3.0], "b": [0.5, 2.0]}).tolist() == wanted
    assert made({"a": 1.0, "b": 0.5}).tolist() == wanted[0]
    assert made.predict({"a": np.array([1.0, 3.0]), "b": np.array([0.5, 2.0])}).tolist() == wanted


def test_a_layer_of_a_feature_that_encodes():
    one_hot = layers.StringLookup(vocabulary=["x"], output_mode="one_hot")
    made = FeatureSpace({"a": FeatureSpace.feature("string", one_hot, "float"), "b": "float"})
    found = made({"a": ["x", "y"], "b": [0.5, 2.0]})
    assert found.dtype == "float32"
    assert found.tolist() == [[0, 1, 0.5], [1, 0, 2]]


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: FeatureSpace({}), ArgumentError, "at least one feature"),
        (lambda: FeatureSpace(KINDS, output_mode="list"), ArgumentError, "'concat' or 'dict'"),
        (lambda: FeatureSpace(KINDS, crosses=[("kind", "age")]), ArgumentError, r"\['age'\]"),
        (lambda: FeatureSpace(KINDS).get_inputs(), NotBuiltError, r"\['size', 'kind', 'code'\]"),
        (lambda: FeatureSpace(KINDS).adapt(3), DataError, "Received: 3"),
        (lambda: FeatureSpace(KINDS).adapt([]), DataError, "received no data"),
        (lambda: FeatureSpace(KINDS).adapt([np.ones(3)]), DataError, "dicts of features"),
        (lambda: FeatureSpace.float_discretized(4, [0.0]), ArgumentError, "give 2 bins"),
        (lambda: FeatureSpace.cross(("a", "b"), 3, "float"), ArgumentError, "`output_mode`"),
        (lambda: space()({"size": [1.0]}), StructureError, r"no entry for \['kind', 'code'\]"),
        (lambda: FeatureSpace({"a": FeatureSpace.string_hashed(3, output_mode="int")})(
            {"a": ["x"]}), ArgumentError, r"not encoded: \['a'\]"),
        (lambda: FeatureSpace({"a": "float", "b": "float"}, crosses=[("a", "b")]).get_inputs(),
         DTypeError, "Discretization"),
        (lambda: FeatureSpace({"a": FeatureSpace.feature("float32", layers.Identity(),
                                                         "one_hot")}).get_inputs(),
         ArgumentError, "Feature 'a': with `output_mode='one_hot'`"),
    ],
)  # fmt: skip
def test_refusals(use, error, message):
    with pytest.raises(error, match=message):
        use()


def test_boundaries_are_those_of_keras():
    ages = np.random.default_rng(6).integers(20, 80, 120)
    made = FeatureSpace({"age": FeatureSpace.float_discretized(6)})
    for data in ({"age": ages}, Dataset({"age": ages})):
        made.adapt(data)
        found = made.preprocessors["age"].bin_boundaries
        wanted = [31.266674042, 43.000045776, 51.00005722, 61.733364105, 70.0]
        np.testing.assert_allclose(found, wanted, rtol=1e-7)
