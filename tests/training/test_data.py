"""What fit, evaluate and predict take: arrays, streams, tables; how names bind; bad data."""

import functools
import itertools
import threading
import time
import traceback
import tracemalloc
import warnings

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import lamina as keras
from lamina import layers
from lamina.errors import (
    ArgumentError,
    DataError,
    DTypeError,
    StructureError,
    TrainingWarning,
)

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 3)).astype("float32")
Y = RANDOM.normal(size=(40, 1)).astype("float32")
W = RANDOM.uniform(size=40).astype("float32")


@pytest.fixture(autouse=True)
def no_thread_left():
    yield
    for _ in range(50):
        left = [t for t in threading.enumerate() if t.name.startswith("lamina-data")]
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"left behind: {left}")


@functools.cache
def compiled_line():
    inputs = keras.Input((3,), name="features")
    model = keras.Model(inputs, layers.Dense(1, name="target")(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def line():
    """A model whose training shows each number of its data; the same one, as good as new."""
    model = compiled_line()
    model.set_weights([np.ones((3, 1)), np.zeros(1)])
    model.resume_at(seed=0, step=0)
    return model


def losses(x, y=None, **kwargs):
    kwargs = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0} | kwargs
    return line().fit(x, y, **kwargs).history["loss"]


def batches(*arrays, size=8):
    return [tuple(a[i : i + size] for a in arrays) for i in range(0, len(arrays[0]), size)]


@pytest.fixture(scope="module")
def expected():
    return losses(X, Y)


def identity(names=("features",), shapes=((3,),), structure=list):
    inputs = [keras.Input(s, name=n) for n, s in zip(names, shapes, strict=True)]
    outputs = [x * 1.0 for x in inputs]
    if structure is dict:
        return keras.Model(
            dict(zip(names, inputs, strict=True)), dict(zip(names, outputs, strict=True))
        )
    return keras.Model(inputs, outputs)


# ---- arrays ------------------------------------------------------------------------------------


class Frame:
    """What a pandas or polars frame or column looks like from here."""

    def __init__(self, values, columns=None):
        self.values, self.columns = values, columns
        self.shape = values.shape

    def to_numpy(self):
        return self.values

    def items(self):
        return ((name, Frame(np.array(list(c))))
                for name, c in zip(self.columns, self.values.T, strict=True))  # fmt: skip


class Tensor:
    """What a PyTorch tensor that needs a gradient looks like from here."""

    def __init__(self, values, steps=0):
        self.values, self.steps = values, steps
        self.shape, self.dtype = values.shape, "torch.float32"

    def detach(self):
        return Tensor(self.values, self.steps + 1)

    def cpu(self):
        return Tensor(self.values, self.steps + 1)

    def __array__(self, dtype=None, copy=None):
        if self.steps < 2:
            raise RuntimeError("call detach() and cpu() first")
        return self.values


@pytest.mark.parametrize(
    "form",
    [
        jnp.asarray,
        lambda a: a.astype("float64"),
        lambda a: a.astype(">f4"),
        lambda a: a.tolist(),
        Frame,
        Tensor,
        lambda a: {"features" if a.shape[1] == 3 else "target": a},
        lambda a: [a],
    ],
    ids=["jax", "float64", "big-endian", "numbers", "frame", "tensor", "dict", "list"],
)
def test_every_form_of_arrays_trains_alike(form, expected):
    np.testing.assert_allclose(losses(form(X), form(Y)), expected, rtol=1e-6)


def test_a_frame_of_several_dtypes_is_numbers():
    mixed = np.empty((40, 3), object)
    mixed[:, 0], mixed[:, 1], mixed[:, 2] = X[:, 0], X[:, 1] > 0, np.arange(40)
    got = identity().predict(Frame(mixed, ["a", "b", "c"]), verbose=0)[0]
    np.testing.assert_allclose(got, np.stack([X[:, 0], X[:, 1] > 0, np.arange(40)], 1), rtol=1e-6)


def test_columns_bind_by_name():
    frame = {n: Frame(X[:, i]) for i, n in enumerate("zya")}
    model = identity("azy", [(1,)] * 3, dict)
    got = model.predict(frame, verbose=0)
    assert list(got) == list("azy")
    for i, n in enumerate("zya"):
        np.testing.assert_array_equal(got[n], X[:, i : i + 1])


def test_labels_as_a_column_are_class_numbers():
    labels = RANDOM.integers(0, 4, 40)
    inputs = keras.Input((3,))
    results = []
    for y in (labels, Frame(labels), labels.astype("int8"), labels.tolist()):
        model = keras.Model(inputs, layers.Dense(4, kernel_initializer="ones")(inputs))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        results.append(model.fit(X, y, shuffle=False, verbose=0).history)
    assert all(r == results[0] for r in results)


def on_disk(kind, folder, values):
    if kind == "memmap":
        np.save(folder / "x.npy", values)
        return np.load(folder / "x.npy", mmap_mode="r")
    if kind == "hdf5":
        file = h5py.File(folder / "x.h5", "w")
        return file.create_dataset("x", data=values)
    return getattr(scipy.sparse, f"{kind}_matrix")(values)


KINDS = ["memmap", "hdf5", "csr", "coo"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_on_disk_train_like_rows_in_memory(kind, dtype, tmp_path, expected):
    rows = on_disk(kind, tmp_path, X.astype(dtype))
    np.testing.assert_allclose(losses(rows, Y), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_on_disk_shuffle_and_split_like_rows_in_memory(kind, tmp_path):
    rows = on_disk(kind, tmp_path, X)
    arguments = {"shuffle": True, "validation_split": 0.3}
    in_memory = losses(X, Y, **arguments)
    np.testing.assert_allclose(losses(rows, Y, **arguments), in_memory, rtol=1e-6)


@pytest.mark.parametrize("kind", ["memmap", "hdf5"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_on_disk_are_never_read_whole(kind, shuffle, tmp_path):
    values = np.zeros((2000, 3, 1000))  # 48 MB
    rows, y = on_disk(kind, tmp_path, values), np.zeros((2000, 1))
    del values
    inputs = keras.Input((3, 1000))
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(inputs)))
    model.compile("sgd", "mse")
    tracemalloc.start()
    try:
        model.fit(rows, y, shuffle=shuffle, verbose=0)
        model.evaluate(rows, y, verbose=0)
        model.predict(rows, verbose=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 15e6


def test_single_batches_come_from_rows_on_disk_too(tmp_path):
    rows = on_disk("memmap", tmp_path, X.astype("float64"))
    assert line().train_on_batch(rows[:8], Y[:8]) == line().train_on_batch(X[:8], Y[:8])
    assert line().test_on_batch(rows[:8], Y[:8]) == line().test_on_batch(X[:8], Y[:8])
    np.testing.assert_array_equal(line().predict_on_batch(rows[:8]), line().predict_on_batch(X[:8]))


def test_steps_per_epoch_goes_on_through_arrays():
    model = line()
    model.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    whole = model.get_weights()
    model = line()
    model.fit(X, Y, batch_size=8, epochs=5, steps_per_epoch=3, shuffle=False, verbose=0)
    for a, b in zip(whole, model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


# ---- streams -----------------------------------------------------------------------------------


def generator(data, times=1):
    for _ in range(times):
        yield from data


class Loader:
    """An object of one's own that is iterated anew for each pass."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter(self.data)


FORMS = {
    "tuples": lambda x, y: (x, y),
    "lists": lambda x, y: ([x], [y]),
    "dicts": lambda x, y: ({"features": x}, {"target": y}),
    "one dict": lambda x, y: {"target": y, "features": x},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("make", [Loader, lambda data: generator(data, 2)])
def test_streams_train_like_arrays(form, make, expected):
    data = [form(*b) for b in batches(X, Y)]
    got = losses(make(data), steps_per_epoch=5)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_sample_weights_come_as_a_third_entry():
    expected = losses(X, Y, sample_weight=W)
    np.testing.assert_allclose(losses(Loader(batches(X, Y, W))), expected, rtol=1e-6)


def test_class_weights_weigh_streams_like_arrays():
    labels = (X[:, :1] > 0).astype("float32")
    weights = {0: 3.0, 1: 0.5}
    expected = losses(X, labels, class_weight=weights)
    for data in (Loader(batches(X, labels)), generator(batches(X, labels), 2)):
        got = losses(data, class_weight=weights, steps_per_epoch=5)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_lists_of_numbers_in_a_batch_are_arrays(expected):
    data = Loader([(x.tolist(), y.tolist()) for x, y in batches(X, Y)])
    np.testing.assert_allclose(losses(data), expected, rtol=1e-6)


def test_evaluate_and_predict_take_streams():
    model = line()
    np.testing.assert_allclose(
        model.evaluate(generator(batches(X, Y)), verbose=0),
        model.evaluate(X, Y, batch_size=8, verbose=0), rtol=1e-6,
    )  # fmt: skip
    for data in (generator(batches(X, Y)), generator(X[i : i + 8] for i in range(0, 40, 8))):
        np.testing.assert_allclose(
            model.predict(data, verbose=0), model.predict(X, verbose=0), rtol=1e-6
        )


def test_a_generator_gives_not_one_batch_more_than_the_steps():
    taken = []

    def endless():
        for i in itertools.count():
            taken.append(i)
            yield X[:8], Y[:8]

    source = endless()
    line().fit(source, epochs=2, steps_per_epoch=3, verbose=0)
    assert taken == [0, 1, 2, 3, 4, 5]
    line().evaluate(source, steps=2, verbose=0)
    assert taken == list(range(8))
    next(source)  # it is still the user's, and open


def test_a_pass_that_is_stopped_takes_at_most_two_batches_more():
    taken = []

    def endless():
        for i in itertools.count():
            taken.append(i)
            yield X[:8], Y[:8]

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 3

    source = endless()
    line().fit(source, callbacks=[Stop()], verbose=0)
    assert 4 <= len(taken) <= 6
    next(source)


def test_the_next_batch_is_made_during_the_step():
    made, during = threading.Event(), []

    def source():
        yield X[:8], Y[:8]
        made.set()
        yield X[8:16], Y[8:16]

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 0:
                during.append(made.wait(timeout=10))

    line().fit(source(), callbacks=[Watch()], verbose=0)
    assert during == [True]


def test_a_stream_runs_in_one_thread_with_the_settings_of_the_caller():
    threads, policies = set(), set()

    def source():
        for batch in batches(X, Y):
            threads.add(threading.current_thread())
            policies.add(keras.config.dtype_policy().name)
            yield batch

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        line().fit(source(), verbose=0)
    finally:
        keras.config.set_dtype_policy(None)
    assert len(threads) == 1
    assert threading.main_thread() not in threads
    assert policies == {"mixed_bfloat16"}


@pytest.mark.parametrize("at", [0, 2])
def test_an_error_in_a_stream_keeps_its_traceback(at):
    def read_record():
        raise LookupError("no such record")

    def source():
        for i, batch in enumerate(batches(X, Y)):
            if i == at:
                read_record()
            yield batch

    with pytest.raises(LookupError, match="no such record") as caught:
        line().fit(source(), verbose=0)
    text = "".join(traceback.format_exception(caught.value))
    assert "in read_record" in text


def test_an_error_in_a_step_ends_the_thread():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough") as caught:
        line().fit(generator(batches(X, Y), 100), callbacks=[Stop()], verbose=0)
    assert caught.traceback  # whose frames are alive: the thread ends all the same
    assert not [t for t in threading.enumerate() if t.name.startswith("lamina-data")]


# ---- other libraries' loaders, by what they look like ------------------------------------------


def like(module, name, **members):
    """An object of a class of that name, from a module of that package."""
    return type(name, (), {"__module__": module, **members})()


def test_a_pytorch_loader_collates_tuples_into_lists(expected):
    def lengthless(_):
        raise TypeError("the data set has no length")

    for length in (lambda _: 5, lengthless):
        loader = like(
            "torch.utils.data.dataloader", "DataLoader", __len__=length,
            __iter__=lambda _: iter([[Tensor(x), Tensor(y)] for x, y in batches(X, Y)]),
        )  # fmt: skip
        np.testing.assert_allclose(losses(loader), expected, rtol=1e-6)


@pytest.mark.parametrize("cardinality", [5, -2])
def test_a_tensorflow_data_set_says_its_length_by_cardinality(cardinality, expected):
    dataset = like(
        "tensorflow.python.data.ops.dataset_ops", "DatasetV2", cardinality=lambda _: cardinality,
        __iter__=lambda _: iter(batches(X, Y)),
    )  # fmt: skip
    np.testing.assert_allclose(losses(dataset), expected, rtol=1e-6)


def test_data_sets_that_are_known_to_be_endless_need_steps(expected):
    def endless(_):
        return itertools.cycle(batches(X, Y))

    for dataset in (
        like("tensorflow.data", "DatasetV2", cardinality=lambda _: -1, __iter__=endless),
        like("grain._src.python", "MapDataset", __len__=lambda _: 2**63 - 1, __iter__=endless),
    ):
        with pytest.raises(ArgumentError, match=r"no end.*steps_per_epoch"):
            line().fit(dataset, verbose=0)
        np.testing.assert_allclose(losses(dataset, steps_per_epoch=5), expected, rtol=1e-6)


class Table:
    """What a Hugging Face data set looks like from here."""

    __module__ = "datasets.arrow_dataset"

    def __init__(self, columns, kind=None):
        self.columns, self.format = columns, {"type": kind}
        self.column_names = list(columns)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __iter__(self):
        raise AssertionError("rows are taken by their numbers")

    def with_format(self, kind):
        return Table(self.columns, kind)

    def select_columns(self, names):
        return Table({n: self.columns[n] for n in names}, self.format["type"])

    def __getitem__(self, rows):
        assert self.format["type"] is not None
        return {n: c[rows] for n, c in self.columns.items()}


Table.__name__ = "Dataset"


def test_a_table_is_batched_and_shuffled_like_arrays(expected):
    table = Table({"target": Y, "features": X})
    np.testing.assert_allclose(losses(table), expected, rtol=1e-6)
    np.testing.assert_allclose(losses(table, shuffle=True), losses(X, Y, shuffle=True), rtol=1e-6)
    np.testing.assert_allclose(
        line().predict(table, verbose=0), line().predict(X, verbose=0), rtol=1e-6
    )


def test_columns_that_the_model_does_not_take_are_told(expected):
    table = Table({"text": np.array(["?"] * 40), "features": X, "target": Y})
    with pytest.warns(TrainingWarning, match=r"ignored: \['text'\]"):
        np.testing.assert_allclose(losses(table), expected, rtol=1e-6)


def test_a_table_without_a_column_for_an_input_is_an_error():
    table = Table({"image": X, "target": Y})
    with pytest.raises(StructureError, match=r"(?s)inputs \['features'\].*'image'.*rename_column"):
        line().fit(table, verbose=0)


def test_a_dict_of_tables_is_an_error():
    splits = type("DatasetDict", (dict,), {"__module__": "datasets.dataset_dict"})
    with pytest.raises(DataError, match=r"\['train', 'test'\].*data\['train'\]"):
        line().fit(splits(train=Table({}), test=Table({})), verbose=0)


# ---- names decide ------------------------------------------------------------------------------


def two(structure, names=("zebra", "ant")):
    """Inputs of one shape, so that only names can tell them apart; outputs likewise."""
    inputs = [keras.Input((2,), name=n) for n in names]
    outputs = [
        layers.Dense(1, name=f"{n}_out", kernel_initializer=keras.initializers.Constant(k))(x)
        for k, (n, x) in enumerate(zip(names, inputs, strict=True), 1)
    ]
    if structure is dict:
        inputs = dict(zip(names, inputs, strict=True))
        outputs = {f"{n}_out": x for n, x in zip(names, outputs, strict=True)}
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.01), "mse", metrics={"zebra_out": ["mae"]})
    return model


A, B = np.full((16, 2), 1.0, "float32"), np.full((16, 2), 10.0, "float32")
P, Q = np.full((16, 1), 3.0, "float32"), np.full((16, 1), 5.0, "float32")


@pytest.mark.parametrize("structure", [list, dict])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_dicts_bind_by_name_in_any_order(structure, flip, stream):
    x, y = {"zebra": A, "ant": B}, {"zebra_out": P, "ant_out": Q}
    if flip:
        x, y = dict(reversed(x.items())), dict(reversed(y.items()))
    model = two(structure)
    data = (Loader([(x, y)]),) if stream else (x, y)
    history = model.fit(*data, batch_size=16, verbose=0).history
    np.testing.assert_allclose(history["zebra_out_loss"], [(2.0 - 3.0) ** 2], rtol=1e-6)
    np.testing.assert_allclose(history["ant_out_loss"], [(40.0 - 5.0) ** 2], rtol=1e-6)
    np.testing.assert_allclose(history["zebra_out_mae"], [1.0], rtol=1e-6)


@pytest.mark.parametrize("stream", [False, True])
def test_lists_bind_by_declared_order(stream):
    data = (Loader([([A, B], [P, Q])]),) if stream else ([A, B], [P, Q])
    history = two(list).fit(*data, batch_size=16, verbose=0).history
    np.testing.assert_allclose(history["zebra_out_loss"], [1.0], rtol=1e-6)
    np.testing.assert_allclose(history["ant_out_loss"], [35.0**2], rtol=1e-6)


def test_one_dict_holds_inputs_and_targets():
    rows = {"ant_out": Q, "zebra": A, "zebra_out": P, "ant": B}
    for data in (rows, Loader([rows]), Table(rows)):
        history = two(dict).fit(data, batch_size=16, shuffle=False, verbose=0).history
        np.testing.assert_allclose(history["zebra_out_loss"], [1.0], rtol=1e-6)
        np.testing.assert_allclose(history["ant_out_loss"], [35.0**2], rtol=1e-6)


def test_a_list_for_a_model_of_names_is_an_error():
    with pytest.raises(StructureError, match=r"(?s)by name.*'zebra', 'ant'.*pass a dict"):
        two(dict).predict([A, B], verbose=0)


def test_a_missing_name_is_an_error_that_lists_wanted_and_given():
    for model in (two(list), two(dict)):
        with pytest.raises(StructureError, match=r"(?s)\['ant'\].*\['zebra', 'ant'\].*'insect'"):
            model.predict({"zebra": A, "insect": B}, verbose=0)


def test_extra_names_are_told_once():
    model = two(dict)
    extra = {"zebra": A, "ant": B, "weather": A}
    with pytest.warns(TrainingWarning, match=r"ignored: \['weather'\]"):
        first = model.predict(extra, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = model.predict(extra, verbose=0)
    np.testing.assert_array_equal(first["ant_out"], second["ant_out"])
    np.testing.assert_allclose(first["ant_out"], np.full((16, 1), 40.0))


def test_extra_targets_are_told_once():
    model = two(dict)
    x, y = {"zebra": A, "ant": B}, {"zebra_out": P, "ant_out": Q, "weather": P}
    with pytest.warns(TrainingWarning, match=r"target data .* ignored: \['weather'\]") as told:
        model.fit(x, y, verbose=0)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x, y, verbose=0)


@pytest.mark.parametrize("stream", [False, True])
def test_nested_dicts_bind_by_their_paths(stream):
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    ones = keras.initializers.Constant(1)
    outputs = {
        "heads": {
            n: layers.Dense(1, kernel_initializer=ones)(x) for n, x in {"y": b, "x": a}.items()
        }
    }
    model = keras.Model({"in": {"b": b, "a": a}}, outputs)
    model.compile("sgd", "mse")
    x, y = {"in": {"a": A, "b": B}}, {"heads": {"x": P, "y": Q}}
    data = (Loader([(x, y)]),) if stream else (x, y)
    history = model.fit(*data, batch_size=16, verbose=0).history
    np.testing.assert_allclose(history["heads/x_loss"], [(2.0 - 3.0) ** 2], rtol=1e-6)
    np.testing.assert_allclose(history["heads/y_loss"], [(20.0 - 5.0) ** 2], rtol=1e-6)


# ---- bad data ----------------------------------------------------------------------------------


def test_nan_is_legal_in_data():
    x = X.copy()
    x[3, 1] = np.nan
    got = line().predict(x, verbose=0)
    assert np.isnan(got[3]).all()
    assert np.isfinite(got[[0, 1, 2, *range(4, 40)]]).all()


BAD = {
    "nothing": (None, Y, DataError, "no data"),
    "no samples": (X[:0], Y[:0], DataError, r"no samples: x of shape \(0, 3\)"),
    "an empty list": ([], None, DataError, "no samples"),
    "different lengths": (X, Y[:9], DataError, r"(?s)x of shape \(40, 3\).*y of shape \(9, 1\)"),
    "different lengths by name": (
        {"features": X, "more": X[:3]}, Y, DataError, r"x\['more'\] of shape \(3, 3\)",
    ),
    "a scalar": (np.float32(3.0), None, DataError, r"axis of samples in front"),
    "ragged lists": ([[1.0, 2.0], [3.0]], None, DataError, "rows of different length"),
    "ragged rows": (np.array([[1, 2], [3]], object), None, DTypeError, "rows of different length"),
    "text": (["a", "b"], Y[:2], DTypeError, "start the model"),
    "one text": ("data.csv", Y, DTypeError, "start the model"),
    "text in an array": (np.array([["a"], ["b"]]), Y[:2], DTypeError, "start the model"),
    "dates": (np.zeros(4, "M8[s]"), Y[:4], DTypeError, "dates into numbers"),
    "times": (np.zeros(4, "m8[s]"), Y[:4], DTypeError, "times into numbers"),
    "masked values": (
        np.ma.masked_array(X, X > 1), Y, DataError, r"(?s)masked values.*filled.*sample_weight",
    ),
    "a frame with text": (
        Frame(np.array([[1.0, "a"], [2.0, "b"]], object), ["size", "name"]), Y[:2], DTypeError,
        "For text inputs, start the model",
    ),
    "an object": (object(), None, DataError, "type object"),
    "a data set that is no stream": (
        type("Samples", (), {"__getitem__": lambda s, i: (X[i], Y[i]), "__len__": lambda s: 40})(),
        None, DataError, r"(?s)Samples.*PyDataset.*DataLoader",
    ),
    "targets beside a stream": (Loader(batches(X, Y)), Y, ArgumentError, "yields tuples"),
    "a stream of nothing": (generator([]), None, DataError, "yields no batch.*used up"),
    "a batch of four": (Loader([(X, Y, W, W)]), None, StructureError, "tuple of 4"),
    "a stream of text": (Loader([(["a"], Y[:1])]), None, DTypeError, "start the model"),
    "a short target in a batch": (
        Loader([(X[:8], Y[:8]), (X[:8], Y[:7])]), None, DataError, r"(?s)Batch 2.*y of shape \(7",
    ),
    "a batch of another structure": (
        Loader([(X[:8], Y[:8]), ({"features": X[:8]}, Y[:8])]), None, StructureError,
        r"(?s)Batch 2 .*first: x of shape \(8, 3\).*batch 2: x\['features'\] of shape \(8, 3\)",
    ),
    "a batch that has weights": (
        Loader([(X[:8], Y[:8]), (X[:8], Y[:8], W[:8])]), None, StructureError,
        r"batch 2: .*sample_weight of shape \(8,\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "x", [X.astype(np.longdouble), np.ma.masked_array(X)], ids=["long double", "nothing masked"]
)
def test_arrays_that_become_plain_ones(x):
    np.testing.assert_array_equal(line().predict(x, verbose=0), line().predict(X, verbose=0))


@pytest.mark.parametrize(("x", "y", "error", "text"), BAD.values(), ids=BAD)
def test_bad_data_is_told(x, y, error, text):
    with pytest.raises(error, match=text):
        line().fit(x, y, verbose=0)


def test_a_generator_that_was_used_up_is_told_in_the_second_pass():
    with pytest.raises(DataError, match="used up"):
        line().fit(generator(batches(X, Y)), epochs=2, verbose=0)


def test_a_generator_that_ends_early_is_told_and_ends_the_training():
    model = line()
    with pytest.warns(TrainingWarning, match="ended after 2 of 3 steps"):
        history = model.fit(generator(batches(X, Y)), epochs=4, steps_per_epoch=3, verbose=0)
    assert len(history.epoch) == 2


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True])
def test_a_batch_size_is_a_positive_integer(batch_size):
    with pytest.raises(ArgumentError, match="positive integer"):
        line().fit(X, Y, batch_size=batch_size, verbose=0)


@pytest.mark.parametrize("share", [1.0, -0.1, 0.99])
def test_a_split_leaves_samples_on_both_sides(share):
    with pytest.raises((ArgumentError, DataError), match="validation_split"):
        line().fit(X, Y, validation_split=share, verbose=0)
