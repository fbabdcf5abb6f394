"""Checkpoints of Orbax: read by Orbax alone, and given back to a model."""

import logging

import numpy as np
import orbax.checkpoint as ocp
import pytest

import lamina as keras
from lamina import layers
from lamina.callbacks import OrbaxCheckpoint
from lamina.errors import ArgumentError, NotBuiltError, StructureError

X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
logging.getLogger("absl").setLevel(logging.ERROR)


def make(units=4, seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), layers.Dropout(0.3), layers.Dense(units)])
    model.compile("adam", "mse")
    return model


def fit(model, **options):
    return model.fit(X, X[:, : model.output_shape[-1]], batch_size=5, verbose=0, **options).history


@pytest.mark.parametrize("background", [True, False])
def test_training_goes_on_from_a_checkpoint(background, tmp_path):
    model = make()
    saver = OrbaxCheckpoint(tmp_path, max_to_keep=None, save_on_background=background)
    whole = fit(model, epochs=3, callbacks=[saver])
    assert saver.all_steps() == [0, 1, 2]
    again = make(seed=7)
    assert OrbaxCheckpoint(tmp_path).restore(again, 1) == 1
    assert fit(again, epochs=3, initial_epoch=2) == {k: v[2:] for k, v in whole.items()}
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_orbax_alone_reads_the_arrays(tmp_path):
    model = make()
    fit(model, epochs=2, callbacks=[OrbaxCheckpoint(tmp_path, save_weights_only=True)])
    assert [p.name for p in tmp_path.iterdir()] == ["1"]  # the last one is kept
    state = ocp.StandardCheckpointer().restore(tmp_path / "1" / "state")
    assert set(state) == {"trainable"}
    np.testing.assert_array_equal(state["trainable"]["dense/kernel"], model.layers[-1].kernel)


def test_steps_and_the_best(tmp_path):
    model = make()
    saver = OrbaxCheckpoint(
        tmp_path, "loss", save_best_only=True, save_freq=3, max_to_keep=5,
        initial_value_threshold=1e9,
    )  # fmt: skip
    fit(model, epochs=2, callbacks=[saver])
    steps = saver.all_steps()
    assert steps[0] == 3
    assert set(steps) <= {3, 6}
    assert saver.best < 1e9


def test_what_does_not_fit_is_an_error(tmp_path):
    saver = OrbaxCheckpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        saver.restore(make())
    fit(make(), callbacks=[saver])
    with pytest.raises(StructureError, match="does not fit"):
        saver.restore(make(units=3))
    with pytest.raises(FileNotFoundError, match="9"):
        saver.restore(make(), 9)
    with pytest.raises(NotBuiltError):
        saver.restore(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(ArgumentError, match="holds checkpoint 0 already"):
        fit(make(), callbacks=[OrbaxCheckpoint(tmp_path)])
    with pytest.raises(ArgumentError, match="OrbaxCheckpoint: `save_freq`"):
        OrbaxCheckpoint(tmp_path, save_freq=0)


def test_a_resumed_training_replaces_what_was_saved_after_its_checkpoint(tmp_path):
    class Cut(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def callback():
        return OrbaxCheckpoint(tmp_path / "orbax", max_to_keep=None, save_on_background=False)

    with pytest.raises(KeyboardInterrupt):
        fit(make(), epochs=4, callbacks=[callback(), Cut()], resume=tmp_path / "run")
    model, saver = make(seed=7), callback()
    fit(model, epochs=4, callbacks=[saver], resume=tmp_path / "run")
    assert saver.all_steps() == [0, 1, 2, 3]
