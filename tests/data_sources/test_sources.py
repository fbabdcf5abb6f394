"""The ticket model of the guide trains alike from the data sets of every library.

These libraries are no dependencies; `make test-data` installs them in an environment of their own.
"""

import importlib.util
import inspect
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse

import lamina as keras
from lamina import layers
from lamina.errors import DataError, DTypeError, StructureError, TrainingWarning
from tests.data_sources import tickets
from tests.data_sources.tickets import BATCH, SAMPLES, cut

LIBRARIES = ("torch", "tensorflow", "grain", "datasets", "pandas", "polars")
if missing := [n for n in LIBRARIES if importlib.util.find_spec(n) is None]:
    pytest.skip(f"{missing} not installed: run `make test-data`", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries warn of when they load is theirs
    import datasets
    import grain
    import pandas as pd
    import polars as pl
    import tensorflow as tf
    import torch
    from torch.utils.data import DataLoader

pytestmark = pytest.mark.filterwarnings("ignore", "error::lamina.errors.TrainingWarning")

X, Y = tickets.make()
# New names for inputs and outputs: the guide's own, and others whose alphabetical order is the
# opposite. (The guide's outputs are already declared against the alphabet.)
NAMES = {
    "guide": {n: n for n in (*X, *Y)},
    "alphabetical": dict(zip((*X, *Y), ("a_title", "b_body", "c_tags", "d_first", "e_second"),
                             strict=True)),
    "reversed": dict(zip((*X, *Y), ("z_title", "y_body", "x_tags", "w_first", "v_second"),
                         strict=True)),
}  # fmt: skip


class Model:
    """The guide's model under some names, which can be made new without compiling again."""

    def __init__(self, names):
        title, body, tags = (
            keras.Input(s, name=names[n])
            for n, s in {"title": (None,), "body": (None,), "tags": (12,)}.items()
        )
        merged = layers.concatenate(
            [
                layers.LSTM(128)(layers.Embedding(1000, 64)(title)),
                layers.LSTM(32)(layers.Embedding(1000, 64)(body)),
                tags,
            ]
        )
        priority = layers.Dense(1, name=names["priority"])(merged)
        department = layers.Dense(4, name=names["department"])(merged)
        self.keras = keras.Model([title, body, tags], [priority, department])
        self.keras.compile(
            keras.optimizers.RMSprop(1e-3),
            loss={
                names["priority"]: keras.losses.BinaryCrossentropy(from_logits=True),
                names["department"]: keras.losses.CategoricalCrossentropy(from_logits=True),
            },
            loss_weights={names["priority"]: 1.0, names["department"]: 0.2},
        )
        self.keras.optimizer.build(self.keras.trainable_variables)
        rng = np.random.default_rng(0)  # initial values follow the names; these do not
        self.weights = [rng.normal(0, 0.05, w.shape) for w in self.keras.get_weights()]
        self.state = [np.array(v.value) for v in self.keras.optimizer.variables]

    def fresh(self):
        self.keras.set_weights(self.weights)
        for variable, value in zip(self.keras.optimizer.variables, self.state, strict=True):
            variable.assign(value)
        return self.keras

    def losses(self, data, **kwargs):
        """Total and both parts, for each of two epochs."""
        args = data if isinstance(data, tuple) else (data,)
        kwargs = {"epochs": 2, "shuffle": False, "verbose": 0} | kwargs
        history = self.fresh().fit(*args, **kwargs).history
        return [history[k] for k in ("loss", *(f"{n}_loss" for n in self.keras.output_names))]


@pytest.fixture(scope="module")
def model():
    return Model(NAMES["guide"])


@pytest.fixture(scope="module")
def expected(model):
    return model.losses((X, Y))


def batches(form, epochs=2):
    for i in [*range(0, SAMPLES, BATCH)] * epochs:
        yield form(cut(X, i), cut(Y, i))


def lists(x, y):
    return list(x.values()), list(y.values())


def grain_loader():
    return grain.DataLoader(
        data_source=tickets.Samples(X, Y),
        sampler=grain.samplers.SequentialSampler(SAMPLES, grain.sharding.NoSharding()),
        operations=[grain.transforms.Batch(BATCH)],
        worker_count=0,
    )


def grain_map():
    return grain.MapDataset.source(tickets.Samples(X, Y)).batch(BATCH)


def table():
    columns = dict(reversed({**X, **Y}.items()))
    return datasets.Dataset.from_dict({k: v.tolist() for k, v in columns.items()})


def slices(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)


def spec(data):
    return {k: tf.TensorSpec((None, *v.shape[1:]), v.dtype) for k, v in data.items()}


STEPS = {"steps_per_epoch": SAMPLES // BATCH}
SOURCES = {
    "lists": lambda: lists(X, Y),
    "dicts": lambda: (X, Y),
    "generator of lists": lambda: batches(lists),
    "generator of dicts": lambda: batches(lambda x, y: (x, y)),
    "generator of one dict": lambda: batches(lambda x, y: {**y, **x}),
    "PyDataset": lambda: tickets.Tickets(X, Y),
    "PyDataset, threads": lambda: tickets.Tickets(X, Y, workers=2),
    "PyDataset, processes": lambda: tickets.Tickets(X, Y, workers=2, use_multiprocessing=True),
    "torch of lists": lambda: DataLoader(tickets.Samples(X, Y, list), BATCH),
    "torch of dicts": lambda: DataLoader(tickets.Samples(X, Y), BATCH),
    "torch, processes": lambda: DataLoader(
        tickets.Samples(X, Y), BATCH, num_workers=2, multiprocessing_context="spawn"
    ),
    "tf.data of tuples": lambda: slices(tuple(X.values()), tuple(Y.values())),
    "tf.data of dicts": lambda: slices(X, Y).prefetch(tf.data.AUTOTUNE),
    "tf.data from a generator": lambda: tf.data.Dataset.from_generator(
        lambda: batches(lambda x, y: (x, y), epochs=1), output_signature=(spec(X), spec(Y))
    ),
    "grain.DataLoader": grain_loader,
    "grain.MapDataset": grain_map,
    "grain.IterDataset": lambda: grain_map().to_iter_dataset(),
    "datasets.Dataset": table,
    "datasets.Dataset in torch's format": lambda: table().with_format("torch"),
    "datasets.IterableDataset": lambda: table().to_iterable_dataset(),
    "pandas": lambda: ({k: pd.DataFrame(v) for k, v in X.items()},
                       {k: pd.DataFrame(v) for k, v in Y.items()}),
    "polars": lambda: ([pl.DataFrame(v) for v in X.values()],
                       [pl.DataFrame(v) for v in Y.values()]),
    "torch tensors": lambda: lists({k: torch.tensor(v) for k, v in X.items()},
                                   {k: torch.tensor(v) for k, v in Y.items()}),
    "tensorflow tensors": lambda: lists({k: tf.constant(v) for k, v in X.items()},
                                        {k: tf.constant(v) for k, v in Y.items()}),
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_trains_alike(source, model, expected):
    data = source()
    got = model.losses(data, **(STEPS if inspect.isgenerator(data) else {}))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("names", ["alphabetical", "reversed"])
def test_names_decide_and_their_alphabet_does_not(names, expected):
    names = NAMES[names]
    x, y = ({names[k]: v for k, v in part.items()} for part in (X, Y))
    model = Model(names)
    rows = datasets.Dataset.from_dict({k: v.tolist() for k, v in {**y, **x}.items()})
    for data in (
        (x, y),
        lists(x, y),
        (dict(reversed(x.items())), dict(reversed(y.items()))),
        tickets.Tickets(x, y),
        DataLoader(tickets.Samples(x, y), BATCH),
        slices(x, y),  # TensorFlow sorts the keys of a dict
        grain.MapDataset.source(tickets.Samples(x, y)).batch(BATCH),
        rows,
    ):
        np.testing.assert_allclose(model.losses(data), expected, rtol=1e-5)


@pytest.mark.parametrize("source", ["torch of dicts", "tf.data of dicts", "grain.MapDataset",
                                    "datasets.Dataset", "datasets.IterableDataset"])  # fmt: skip
def test_evaluate_and_predict_take_them_too(source, model):
    trained = model.fresh()
    np.testing.assert_allclose(
        trained.evaluate(SOURCES[source](), verbose=0), trained.evaluate(X, Y, verbose=0), rtol=1e-5
    )
    for a, b in zip(
        trained.predict(SOURCES[source](), verbose=0), trained.predict(X, verbose=0), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_length_of_an_epoch_is_known():
    lengths = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            lengths.append(self.params["steps"])

    model = Model(NAMES["guide"]).keras
    for source in ("torch of dicts", "tf.data of dicts", "grain.MapDataset", "datasets.Dataset"):
        model.fit(SOURCES[source](), callbacks=[Watch()], verbose=0)
    assert lengths == [SAMPLES // BATCH] * 4


@pytest.mark.parametrize("endless", [lambda: slices(X, Y).repeat(), lambda: grain_map().repeat()])
def test_what_never_ends_needs_steps(endless, model, expected):
    with pytest.raises(ValueError, match="no end"):
        model.losses(endless())
    np.testing.assert_allclose(model.losses(endless(), **STEPS), expected, rtol=1e-5)


def test_a_table_is_shuffled_by_rows(model):
    in_memory = model.losses((X, Y), shuffle=True)
    np.testing.assert_allclose(model.losses(table(), shuffle=True), in_memory, rtol=1e-5)


def test_a_table_may_have_more_columns_but_not_fewer(model, expected):
    rows = table().add_column("text", ["a ticket"] * SAMPLES)
    with pytest.warns(TrainingWarning, match=r"ignored: \['text'\]"):
        np.testing.assert_allclose(model.losses(rows), expected, rtol=1e-5)
    with pytest.raises(StructureError, match=r"no column for the inputs \['body'\]"):
        model.losses(rows.remove_columns("body"))
    with pytest.raises(DataError, match=r"data\['train'\]"):
        model.losses(datasets.DatasetDict(train=rows))


def test_a_table_with_a_transform_gives_what_the_transform_makes(model, expected):
    rows = table().rename_column("title", "words")

    def transform(batch):
        return {("title" if k == "words" else k): np.array(v) for k, v in batch.items()}

    got = model.losses(rows.with_transform(transform))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_bfloat16_tensors_are_numbers(model):
    trained = model.fresh()
    halved = {**X, "tags": torch.tensor(X["tags"], dtype=torch.bfloat16)}
    got = trained.predict(halved, verbose=0)
    np.testing.assert_allclose(got[0], trained.predict(X, verbose=0)[0], rtol=1e-5)


# ---- frames ------------------------------------------------------------------------------------


def columns():
    inputs = {n: keras.Input((1,), name=n) for n in ("size", "age", "new")}
    merged = layers.concatenate(list(inputs.values()))
    model = keras.Model(inputs, layers.Dense(3, name="kind")(merged))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def frame_values():
    rng = np.random.default_rng(0)
    return {"kind": rng.integers(0, 3, 64), "age": rng.integers(1, 90, 64),
            "new": rng.random(64) < 0.5, "size": rng.normal(size=64)}  # fmt: skip


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_of_a_frame_bind_by_name(frame):
    values = frame_values()
    data = frame(values)
    model = columns()
    weights = model.get_weights()
    results = []
    for x in (values, {c: data[c] for c in data.columns}):
        model.set_weights(weights)
        given = {k: v for k, v in x.items() if k != "kind"}
        results.append(model.fit(given, x["kind"], shuffle=False, verbose=0).history["loss"])
        model.set_weights(weights)
        results.append(model.fit(dict(x), shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(results, [results[0]] * 4, rtol=1e-6)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_frame_is_an_array_for_one_input(frame):
    values = frame_values()
    data = frame({k: values[k] for k in ("size", "age", "new")})
    inputs = keras.Input((3,))
    got = keras.Model(inputs, inputs * 1.0).predict(data, verbose=0)
    wanted = np.stack([values[k] for k in ("size", "age", "new")], 1)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_frame_with_text_is_an_error(frame):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, inputs * 1.0)
    with pytest.raises(DTypeError, match="Data for a model is numbers"):
        model.predict(frame({"size": [1.0, 2.0], "name": ["a", "b"]}), verbose=0)


def test_missing_values_of_pandas_are_told():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, inputs * 1.0)
    got = model.predict(pd.Series([1.0, None]), verbose=0)
    np.testing.assert_array_equal(got, [[1.0], [np.nan]])
    with pytest.raises(DTypeError, match="numbers"):
        model.predict(pd.Series(["a", None], name="x"), verbose=0)


def test_sparse_matrices_are_made_dense_by_the_batch(model):
    trained = model.fresh()
    got = trained.predict({**X, "tags": scipy.sparse.csr_matrix(X["tags"])}, verbose=0)
    np.testing.assert_allclose(got[0], trained.predict(X, verbose=0)[0], rtol=1e-5)


# ---- nothing is imported for the question ------------------------------------------------------

CODE = """
import sys
import numpy as np, lamina as keras
from lamina import layers
inputs = keras.Input((2,))
model = keras.Model(inputs, layers.Dense(1)(inputs))
model.compile("sgd", "mse")
x, y = np.ones((8, 2)), np.ones((8, 1))
class Data(keras.utils.PyDataset):
    def __len__(self): return 2
    def __getitem__(self, i): return x, y
for data in ((x, y), ([(x, y)] * 2).__iter__(), Data(workers=2)):
    model.fit(*(data if isinstance(data, tuple) else (data,)), verbose=0)
print(*{m.partition(".")[0] for m in sys.modules} & set(sys.argv[1:]))
"""


def test_no_library_is_imported_for_data_of_another():
    command = [sys.executable, "-c", CODE, *LIBRARIES]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []
