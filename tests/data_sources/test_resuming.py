"""A training on grain's data sets continues where it was, without making a batch twice."""

import importlib.util

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.callbacks import Callback
from lamina.errors import DataError

if importlib.util.find_spec("grain") is None:
    pytest.skip("grain not installed: run `make test-data`", allow_module_level=True)
import grain

pytestmark = pytest.mark.filterwarnings("ignore", "error::lamina.errors.TrainingWarning")


class Rows:
    def __len__(self):
        return 40

    def __getitem__(self, i):
        return np.full(3, i, "float32"), np.float32(i)

    def __repr__(self):
        return "Rows()"


class Anonymous(Rows):
    __repr__ = object.__repr__


def loader(rows):
    return grain.DataLoader(
        data_source=rows, sampler=grain.samplers.SequentialSampler(40, grain.sharding.NoSharding()),
        operations=[grain.transforms.Batch(8)],
    )  # fmt: skip


def rows_of(source):
    return grain.MapDataset.source(source).shuffle(1)


SOURCES = {
    "MapDataset": lambda: rows_of(Rows()).batch(8),
    "MapDataset without end": lambda: rows_of(Rows()).repeat().batch(8),
    "IterDataset": lambda: rows_of(Rows()).batch(8).to_iter_dataset(),
    "DataLoader": lambda: loader(Rows()),
}


class Cut(BaseException):
    pass


class Ends(Callback):
    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_train_batch_end(self, batch, logs=None):
        self.at -= 1
        if self.at == 0:
            raise Cut


def train(data, cut=0, **options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("adam", "mse")
    history = model.fit(
        data, epochs=3, steps_per_epoch=4, verbose=0, callbacks=[Ends(cut)], **options
    )
    return history.history, [w.tolist() for w in model.get_weights()]


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_grain_continues(make, tmp_path):
    expected = train(make())
    with pytest.raises(Cut):
        train(make(), 7, resume=tmp_path, checkpoint_every=1)
    assert train(make(), resume=tmp_path) == expected


def test_a_position_that_grain_refuses_is_told(tmp_path):
    with pytest.raises(Cut):
        train(loader(Anonymous()), 7, resume=tmp_path, checkpoint_every=1)
    with pytest.raises(DataError, match="give yours a `__repr__`"):
        train(loader(Anonymous()), resume=tmp_path)
