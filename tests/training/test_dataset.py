"""Data sets of numbered elements: methods, order, position, parts of processes, training."""

import gc
import multiprocessing
import os
import pickle
import sys
import threading

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, CorruptFileError, DataError, NotBuiltError
from lamina.training.data.fetching import to_bytes
from lamina.utils import Dataset
from tests.cases import layers_image

TEN = np.arange(10)


def plain(element):
    if isinstance(element, tuple):
        return [plain(x) for x in element]
    return np.asarray(element).tolist()


def lists(dataset):
    return [plain(x) for x in dataset]


class Squares:
    """Elements by number that are no arrays."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return float(index) ** 2


CHAINS = {
    "rows": (lambda d: d.take(3), [0, 1, 2]),
    "batch": (lambda d: d.batch(4), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]),
    "drop_remainder": (lambda d: d.batch(4, drop_remainder=True), [[0, 1, 2, 3], [4, 5, 6, 7]]),
    "map": (lambda d: d.map(lambda x: -x).take(2), [0, -1]),
    "map_batches": (lambda d: d.batch(5).map(np.flip), [[4, 3, 2, 1, 0], [9, 8, 7, 6, 5]]),
    "skip": (lambda d: d.skip(7), [7, 8, 9]),
    "skip_all": (lambda d: d.skip(-1), []),
    "take_more": (lambda d: d.skip(8).take(5), [8, 9]),
    "take_all": (lambda d: d.take(-1).batch(10), [list(range(10))]),
    "unbatch": (lambda d: d.batch(4).unbatch().skip(8), [8, 9]),
    "unbatch_mapped": (lambda d: d.batch(4).map(lambda x: 2 * x).unbatch().skip(7), [14, 16, 18]),
    "repeat": (lambda d: d.take(2).repeat(2), [0, 1, 0, 1]),
    "batch_over_repeat": (lambda d: d.take(3).repeat(2).batch(4), [[0, 1, 2, 0], [1, 2]]),
    "endless": (lambda d: d.take(2).repeat().skip(1).take(3), [1, 0, 1]),
    "shard": (lambda d: d.shard(1, 3), [1, 4, 7]),
    "shard_batches": (lambda d: d.batch(4).shard(1, 2), [[1, 3], [5, 7], [9]]),
    "shard_mapped": (lambda d: d.batch(5).map(np.flip).shard(0, 2), [[4, 2, 0], [9, 7, 5]]),
    "filter": (lambda d: d.filter(lambda x: x % 3 == 0).batch(3), [[0, 3, 6], [9]]),
    "filter_mapped": (lambda d: d.map(lambda x: 2 * x).filter(lambda x: x > 14), [16, 18]),
    "filter_batches": (lambda d: d.batch(4).filter(lambda x: len(x) < 4), [[8, 9]]),
    "filter_endless": (lambda d: d.repeat().filter(lambda x: x > 7).take(3), [8, 9, 8]),
    "filter_none": (lambda d: d.filter(lambda x: x > 10).batch(2), []),
    "zip": (lambda d: Dataset.zip(d, d.skip(8)), [[0, 8], [1, 9]]),
    "zip_batches": (lambda d: Dataset.zip((d.batch(3), d.batch(2))).skip(3), [[[9], [6, 7]]]),
    "prefetch": (lambda d: d.batch(5).prefetch(2), [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]),
    "threads": (lambda d: d.map(lambda x: x + 1, num_parallel_calls=3).batch(5),
                [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]),
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_elements_length_and_access(chain):
    make, expected = CHAINS[chain]
    dataset = make(Dataset(TEN, class_names=["a"], file_paths=["f"]))
    assert lists(dataset) == expected
    assert len(dataset) == len(expected)
    assert [plain(dataset[i]) for i in range(len(dataset))] == expected
    assert (dataset.class_names, dataset.file_paths) == (["a"], ["f"])
    assert bool(dataset) == bool(expected)


def test_negative_and_wrong_numbers():
    dataset = Dataset(TEN).batch(4)
    assert dataset[-1].tolist() == [8, 9]
    with pytest.raises(IndexError, match="Element 3 of a data set of 3"):
        dataset[3]


def test_structures_strings_and_other_sources():
    words, data = ["a", "bb", "c"], {"x": TEN[:3], "y": (TEN[:3] * 2.0, TEN[:3])}
    batch = next(iter(Dataset({"words": words, **data}).batch(2)))
    assert batch["words"].dtype == object
    assert batch["words"].tolist() == ["a", "bb"]
    assert batch["y"][0].tolist() == [0.0, 2.0]
    assert lists(Dataset(Squares()).batch(3)) == [[0.0, 1.0, 4.0], [9.0]]
    assert lists(Dataset([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]


def test_specs():
    data = Dataset((np.zeros((10, 3), "float32"), np.array(["x"] * 10)))
    x, words = data.batch(4).element_spec
    assert (x.shape, x.dtype, words.shape, words.dtype) == ((None, 3), "float32", (None,), "string")
    assert data.batch(5).element_spec[0].shape == (5, 3)
    assert data.batch(4, drop_remainder=True).element_spec[0].shape == (4, 3)
    assert data.element_spec[0].shape == (3,)
    both = Dataset.zip(data.batch(4), data.batch(4))
    assert [s.shape for s in both.filter(lambda *_: True).element_spec[1]] == [(None, 3), (None,)]
    sounds = Dataset(TEN[1:]).map(lambda n: np.ones((n, 2))).batch(2, pad=True)
    assert sounds.element_spec.shape == (None, None, 2)


# ---- order ---------------------------------------------------------------------------------------


def test_a_shuffle_depends_on_seed_and_epoch_alone():
    shuffled = Dataset(TEN).shuffle(seed=3)
    first, second = lists(shuffled), lists(shuffled)
    assert sorted(first) == sorted(second) == TEN.tolist()
    assert first != second
    again = Dataset(TEN).shuffle(seed=3).map(lambda x: x, num_parallel_calls=4)
    assert [lists(again), lists(again)] == [first, second]
    assert lists(Dataset(TEN).shuffle(seed=4)) != first


def test_a_shuffle_can_be_the_same_in_each_epoch():
    fixed = Dataset(TEN).shuffle(seed=3, reshuffle_each_iteration=False)
    assert lists(fixed) == lists(fixed)


def test_a_small_buffer_keeps_elements_near():
    order = lists(Dataset(np.arange(100)).shuffle(5, seed=0))
    assert sorted(order) == list(range(100))
    assert order != list(range(100))
    assert all(number < position + 5 for position, number in enumerate(order))
    assert lists(Dataset(TEN).shuffle(1, seed=0)) == TEN.tolist()


def test_without_a_seed_the_program_decides():
    def order():
        return lists(Dataset(TEN).shuffle())

    lamina.utils.set_random_seed(5)
    first = [order(), order()]
    lamina.utils.set_random_seed(5)
    assert [order(), order()] == first
    assert first[0] != first[1]


def test_what_is_filtered_is_shuffled_again_and_tested_once():
    calls = []
    data = Dataset((TEN, TEN * 10)).shuffle(4, seed=1).map(lambda x, y: (x + 1, y))
    even = data.filter(lambda x, y: not calls.append(x) and x % 2 == 0).batch(2)
    first, second = lists(even), lists(even)
    assert len(calls) == 10
    assert len(even) == 3
    assert first != second
    for batches in (first, second):
        x, y = (np.concatenate(part).tolist() for part in zip(*batches, strict=True))
        assert sorted(x) == [2, 4, 6, 8, 10]
        assert [10 * (a - 1) for a in x] == y


def test_a_filtered_and_zipped_position_is_resumed():
    def make(kept=5):
        some = Dataset(TEN).shuffle(seed=2).filter(lambda x: x < kept)
        return Dataset.zip(some, Dataset(TEN).shuffle(seed=3)).batch(2)

    data = make()
    whole = [lists(data), lists(data)]
    assert len({len(w) for w in whole}) == 1
    running = iter(data)
    state = [next(running), data.get_state()][1]
    again = make()
    again.set_state({**state, "epoch": 1})
    assert lists(again) == whole[1][1:]
    with pytest.raises(DataError, match="another data set"):
        make(6).set_state(state)


def test_a_cache_of_a_shuffled_set_can_be_filtered():
    data = Dataset(TEN).shuffle(seed=2).cache().filter(lambda x: x < 4)
    assert lists(data) == lists(data)


def test_repetitions_have_their_own_order():
    order = lists(Dataset(TEN).shuffle(seed=1).repeat(2))
    assert order[:10] != order[10:]
    assert sorted(order[:10]) == sorted(order[10:]) == TEN.tolist()


def test_a_cache_keeps_the_first_pass():
    calls = []
    cached = Dataset(TEN).shuffle(seed=1).map(lambda x: calls.append(x) or x).cache()
    assert lists(cached) == lists(cached)
    assert len(calls) == 10
    assert lists(cached.shuffle(seed=2)) != lists(cached)


@pytest.mark.parametrize("threads", [None, 1, 4])
def test_random_layers_draw_by_epoch_and_element(threads):
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 3)).astype("float32")
    flip, noise = layers.RandomFlip("horizontal"), layers.GaussianNoise(1.0)

    def passes(count, threads=threads, state=None):
        data = Dataset(images).batch(2)
        data = data.map(lambda x: noise(flip(x), training=True), num_parallel_calls=threads)
        if state is not None:
            data.set_state({**state, "fingerprint": data.fingerprint})
        return [np.concatenate(list(data)) for _ in range(count)]

    first, second = passes(2)
    np.testing.assert_array_equal(np.stack(passes(2, None)), [first, second])
    assert not np.array_equal(first, second)
    (rest,) = passes(1, state={"epoch": 1, "index": 2})
    np.testing.assert_array_equal(rest, second[4:])


# ---- processes -----------------------------------------------------------------------------------


@pytest.fixture
def no_processes_left():
    yield
    gc.collect()  # data sets that errors refer to
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_is_the_same_in_a_process(chain):
    make, expected = CHAINS[chain]
    dataset = make(Dataset(TEN))
    sent = pickle.loads(to_bytes(dataset))
    assert [plain(sent[i]) for i in range(len(sent))] == expected


def _pixels(layer):
    return layer.kwargs.get("data_format") is None and layer.inputs[0][0] == (2, 8, 9, 3)


def test_layers_for_data_are_the_same_in_processes_and_need_no_jax_there(no_processes_left):
    made = {
        c.name: c.cls(**c.kwargs) for c in layers_image.CASES if len(c.inputs) == 1 and _pixels(c)
    }
    normalize = layers.Normalization()
    normalize.adapt(np.arange(24.0).reshape(4, 6))
    spoken = layers.MelSpectrogram(num_mel_bins=4, fft_length=16, sequence_stride=8)
    pipeline = layers.Pipeline([layers.RandomFlip(), layers.Rescaling(0.5), layers.RandomZoom(0.2)])

    def function(images, number):
        everything = {name: layer(images) for name, layer in made.items()}
        everything["pipeline"] = pipeline(images)
        everything["normalize"] = normalize(images[0, :2, 0].reshape(1, 6))
        everything["spoken"] = spoken(images[0, :, :, 0].ravel())
        return everything, number, np.bool_("jax" in sys.modules)

    images = np.random.default_rng(0).uniform(0, 255, (6, 2, 8, 9, 3)).astype("float32")
    data = Dataset((images, np.arange(6))).shuffle(seed=1).map(function)
    there = data.in_processes(2)
    for _ in range(2):  # passes, which draw differently
        for (expected, number, _), (found, same, has_jax) in zip(data, there, strict=True):
            assert number == same
            assert not has_jax
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name], value, name)


def test_a_layer_of_a_model_runs_in_a_process_too(no_processes_left):
    noise = layers.GaussianNoise(1.0)
    data = Dataset(np.zeros((3, 2), "float32")).map(lambda x: noise(x, training=True)).batch(2)
    here, there = list(data), list(data.in_processes(1))
    np.testing.assert_array_equal(here[0], there[0])
    assert np.std(here[0]) > 0


def test_processes_go_on_from_a_position_and_end_with_the_data_set(no_processes_left):
    data = _chain().in_processes(2)
    passed = iter(data)
    begun = [next(passed).tolist(), next(passed).tolist()]
    passed.close()
    state = data.get_state()
    assert state == {**state, "epoch": 0, "index": 2}
    before = set(multiprocessing.active_children())
    again = _chain().in_processes(2)
    again.set_state(state)
    assert begun + lists(again) == lists(_chain())
    mine = set(multiprocessing.active_children()) - before
    assert len(mine) == 2
    del again
    assert not mine & set(multiprocessing.active_children())


def test_passes_share_processes_at_the_same_time(no_processes_left):
    state = [0]
    data = Dataset(TEN).map(lambda x: x + len(state)).in_processes(2)
    found = []

    def read():
        for _ in range(10):
            state[0] += 1  # so that the processes are sent the function again
            found.append(lists(data))

    threads = [threading.Thread(target=read, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == [list(range(1, 11))] * 30


def test_models_train_from_processes(no_processes_left):
    x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    data = Dataset((x, x.sum(1))).shuffle(seed=2).map(lambda x, y: (2 * x, y)).batch(4)
    losses = []
    for one in (data, data.in_processes(2)):
        lamina.utils.set_random_seed(0)
        model = lamina.Sequential([layers.Dense(1)])
        model.compile("sgd", "mse")
        losses.append(model.fit(one, epochs=2, verbose=0).history["loss"])
    assert losses[0] == losses[1]


def _dies(x):
    return os._exit(3) if x == 2 else x


def test_errors_of_processes(no_processes_left):
    missing = Dataset(TEN[:6]).map(_broken)
    with pytest.raises(CorruptFileError, match="file 3 is broken"):
        list(missing.in_processes(1))
    assert lists(missing.batch(2).ignore_errors().in_processes(1)) == [[0, 1], [2], [4, 5]]
    with pytest.raises(DataError, match="ended with exit code 3; what it printed is above") as died:
        list(Dataset(TEN).map(_dies).in_processes(1))
    assert "__main__" not in str(died.value)
    lock = threading.Lock()
    with pytest.raises(DataError, match=r"(?s)cannot pickle '_thread.lock'.*leave out `in_proc"):
        list(Dataset(TEN).map(lambda x: (lock, x)).in_processes(1))
    with pytest.raises(ArgumentError, match="memory of one process"):
        list(Dataset(TEN).cache().in_processes(1))
    with pytest.raises(NotBuiltError, match="is not built, which worker"):
        list(Dataset(TEN).map(layers.Normalization()).in_processes(1))


# ---- position ------------------------------------------------------------------------------------


def _chain(threads=0):
    data = Dataset(TEN).shuffle(seed=7)
    data = data.map(lambda x: x + 100, num_parallel_calls=threads or None)
    return data.batch(3).prefetch(2)


@pytest.mark.parametrize("threads", [0, 4])
def test_a_position_is_resumed(threads):
    whole = [lists(d) for d in [_chain()] for _ in range(3)]
    data = _chain(threads)
    lists(data)
    second = iter(data)
    begun = [next(second).tolist(), next(second).tolist()]
    state = data.get_state()
    assert (state["epoch"], state["index"]) == (1, 2)  # what was prefetched does not count
    second.close()
    again = _chain()
    again.set_state(state)
    rest = lists(again)
    assert begun + rest == whole[1]
    assert lists(again) == whole[2]


def test_a_position_of_another_data_set_is_refused():
    state = _chain().get_state()
    with pytest.raises(DataError, match="another data set") as caught:
        Dataset(TEN).shuffle(seed=8).batch(3).set_state(state)
    assert state["fingerprint"] in str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_global_batches(count):
    data = [Dataset(TEN[:9]).shuffle(seed=7).batch(3) for _ in range(count)]
    state = data[0].get_state()
    parts = [d.shard(i, count) for i, d in enumerate(data)]
    assert all(p.get_state() == state for p in parts)
    for batch, *pieces in zip(data[0], *parts, strict=True):
        merged = np.empty_like(batch)
        for i, piece in enumerate(pieces):
            merged[i::count] = piece
        assert merged.tolist() == batch.tolist()


# ---- errors --------------------------------------------------------------------------------------


def _broken(index):
    if index == 3:
        raise CorruptFileError("file 3 is broken")
    return index


def test_errors_of_functions_say_where():
    with pytest.raises(ZeroDivisionError) as caught:
        list(Dataset(TEN).map(lambda x: 1 // int(x != 4), num_parallel_calls=2).batch(2))
    assert "element 4 of the data set" in caught.value.__notes__[0]


def test_broken_files_can_be_left_out():
    data = Dataset(TEN[:6]).map(_broken)
    with pytest.raises(CorruptFileError):
        list(data)
    assert lists(data.ignore_errors()) == [0, 1, 2, 4, 5]
    assert lists(data.batch(2).ignore_errors()) == [[0, 1], [2], [4, 5]]
    assert lists(data.batch(1).ignore_errors()) == [[0], [1], [2], [4], [5]]


def test_threads_end_with_the_loop():
    before = threading.active_count()
    for _ in Dataset(TEN).map(lambda x: x, num_parallel_calls=4).prefetch(3):
        break
    for _ in Dataset(TEN).prefetch(3):
        break
    for thread in threading.enumerate():
        if thread.name.startswith("lamina-data"):
            thread.join(timeout=10)
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: Dataset((TEN, TEN[:3])), DataError, "different numbers of rows"),
        (lambda: Dataset(3), DataError, "Received: 3"),
        (lambda: Dataset((3, 4)), DataError, "arrays with rows"),
        (lambda: len(Dataset(TEN).repeat()), DataError, "has no end"),
        (lambda: Dataset(TEN).repeat().shuffle(), DataError, "before `repeat"),
        (lambda: Dataset(TEN).batch(0), ArgumentError, "`batch_size`"),
        (lambda: Dataset(TEN).take(-2), ArgumentError, "`count`"),
        (lambda: Dataset(TEN).shard(2, 2), ArgumentError, "from 0 to 1. Received: 2"),
        (lambda: Dataset(TEN).filter(lambda x: x), DataError, "True or False"),
        (lambda: Dataset(TEN).shuffle().take(3).filter(bool), DataError, "differ between epochs"),
        (lambda: Dataset(TEN).repeat().batch(3).filter(bool), DataError, "do not end"),
        (lambda: Dataset.zip(TEN), ArgumentError, "takes data sets"),
        (lambda: Dataset(TEN).unbatch(), DataError, r"Call `batch\(\.\.\.\)` first"),
        (lambda: list(Dataset(TEN).batch(4).repeat(2).unbatch()), DataError, "unbatch"),
        (lambda: list(Dataset(TEN).map(np.ones).batch(3)), DataError, "pad=True"),
        (lambda: list(Dataset(TEN).map(lambda n: np.ones((2, n))).batch(2)), DataError,
         r"(?s)before they are batched; .*`batch_size=None`"),
        (lambda: list(Dataset(TEN).batch(4).shard(0, 3)), DataError, "drop_remainder=True"),
        (lambda: Dataset(TEN).map(3), ArgumentError, r"map\(\) takes a function.*Received: 3"),
        (lambda: Dataset(TEN).filter("x"), ArgumentError, r"filter\(\) takes.*Received: 'x'"),
    ],
)  # fmt: skip
def test_refusals(use, error, message):
    with pytest.raises(error, match=message):
        use()


# ---- training ------------------------------------------------------------------------------------


def _fit(data, **options):
    model = lamina.Sequential([lamina.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    seen = []
    noted = data.map(lambda x: seen.append(np.asarray(x).tolist()) or (x * 1.0, x * 1.0))
    model.fit(noted, verbose=0, **options)
    return seen, model, noted


def test_fit_takes_a_new_order_in_each_epoch():
    data = Dataset(TEN).shuffle(seed=1).batch(5)
    seen, model, noted = _fit(data, epochs=2)
    expected = [*lists(data), *lists(data)]
    # The first batch is looked at before training, and is the first of the first epoch.
    assert seen == expected
    assert model.predict(noted, verbose=0).shape == (10, 1)
    assert model.evaluate(noted, verbose=0) >= 0


def test_fit_goes_on_within_a_pass():
    data = Dataset(TEN).batch(2)
    seen, *_ = _fit(data, epochs=2, steps_per_epoch=3)
    assert seen[:3] == [[0, 1], [2, 3], [4, 5]]
    assert seen[3:6] == [[6, 7], [8, 9], [0, 1]]


def test_fit_needs_steps_for_endless_data():
    with pytest.raises(ArgumentError, match="steps_per_epoch"):
        _fit(Dataset(TEN).repeat().batch(2))
    seen, *_ = _fit(Dataset(TEN).repeat().batch(4), steps_per_epoch=3)
    assert seen[:3] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]


def test_one_data_set_after_another():
    def make():
        some = Dataset(TEN).shuffle(seed=2).map(lambda x: x + 100)
        return some.concatenate(Dataset(TEN[:3])).batch(4)

    data = make()
    whole = [lists(data), lists(data)]
    flat = [[x for batch in w for x in batch] for w in whole]
    assert flat[0] != flat[1]
    for found in flat:
        assert sorted(found[:10]) == [x + 100 for x in TEN]
        assert found[10:] == list(TEN[:3])
    running = iter(data)
    state = [next(running), data.get_state()][1]
    again = make()
    again.set_state({**state, "epoch": 1})
    assert lists(again) == whole[1][1:]
    endless = Dataset(TEN[:2]).concatenate(Dataset(TEN).repeat())
    assert (data.cardinality(), endless.cardinality()) == (4, -1)
    assert endless[12] == TEN[0]
    with pytest.raises(DataError, match="without end"):
        endless.concatenate(data)
    with pytest.raises(DataError, match="same kind"):
        data.concatenate(Dataset((TEN, TEN)))
    with pytest.raises(ArgumentError, match="a data set"):
        data.concatenate([1])


def test_elements_with_numbers_and_as_numpy():
    data = Dataset(TEN).enumerate(5).map(lambda i, x: (lamina.ops.convert_to_tensor(i), x))
    found = list(data.as_numpy_iterator())
    assert all(type(i) is np.ndarray for i, _ in found)
    assert [(int(i), int(x)) for i, x in found] == list(zip(range(5, 15), TEN, strict=True))
