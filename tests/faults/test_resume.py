"""Saved, loaded in another process and trained on: the same bits as without a break."""

import subprocess
import sys

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from tests.cases.optimizers import COMMON, OPTIMIZERS
from tests.cases.optimizers import make as make_optimizer

X = np.random.default_rng(0).normal(size=(70, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 70)


def make(*middle, optimizer="adam"):
    """A small model; every layer in the middle takes time to compile."""
    inputs = x = keras.Input((6,))
    for layer in (layers.Dense(8, activation="relu"), *middle, layers.Dense(3)):
        x = layer(x)
    model = keras.Model(inputs, x)
    model.compile(
        optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )  # fmt: skip
    return model


def noisy():
    """With running statistics, and layers that draw."""
    return make(layers.Dropout(0.4), layers.BatchNormalization(), layers.GaussianNoise(0.1))


def fit(model, **options):
    return model.fit(X, Y, batch_size=16, verbose=0, **options).history


def elsewhere(path):
    """The model at ``path``, as a process with another seed loads it."""
    keras.utils.set_random_seed(12345)
    return keras.saving.load_model(path)


def assert_same_weights(a, b):
    for u, v in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(u, v)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("SGD", {"momentum": 0.9, "gradient_accumulation_steps": 3, "global_clipnorm": 0.5}),
        ("RMSprop", {"momentum": 0.5, "centered": True}),
        ("Adam", {"amsgrad": True, "use_ema": True, "ema_overwrite_frequency": 3}),
        ("Adam", {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 20)}),
        ("Nadam", {}),
        ("Adafactor", {}),
        ("LossScaleOptimizer", {"inner_optimizer": "ftrl", "dynamic_growth_steps": 3}),
    ],
)
def test_k_and_k_steps_are_2k_steps(optimizer, options, tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(3)])
    model.compile(getattr(keras.optimizers, optimizer)(**options), "mse")
    x, y = X[:40], X[:40, :3]
    model.fit(x, y, batch_size=10, verbose=0)
    model.save(tmp_path / "half.keras")
    whole = model.fit(x, y, batch_size=10, epochs=2, verbose=0).history
    again = elsewhere(tmp_path / "half.keras")
    assert again.fit(x, y, batch_size=10, epochs=2, verbose=0).history == whole
    assert_same_weights(model, again)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "Optax"])
def test_a_file_holds_the_state_of_every_optimizer(name, tmp_path):
    rng = np.random.default_rng(0)
    common = COMMON if name == "SGD" else []
    for options in [*OPTIMIZERS[name], *common]:
        model = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(3)])
        optimizer = make_optimizer(name, options)
        model.compile(optimizer, "mse")
        optimizer.build(model.trainable_variables)
        for variable in optimizer.variables:
            variable.assign((9 * rng.random(variable.shape)).astype(variable.dtype))
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras").optimizer
        assert len(again.variables) == len(optimizer.variables)
        for a, b in zip(again.variables, optimizer.variables, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=b.path)


def test_what_recurrent_layers_draw_goes_on_too(tmp_path):
    model = make(layers.Reshape((2, 4)), layers.GRU(4, dropout=0.3, recurrent_dropout=0.3))
    fit(model)
    model.save(tmp_path / "half.keras")
    whole = fit(model)
    assert fit(elsewhere(tmp_path / "half.keras")) == whole


def test_a_learning_rate_that_was_changed_stays(tmp_path):
    model = make()
    callbacks = [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)]
    fit(model, epochs=2, callbacks=callbacks)
    model.save(tmp_path / "half.keras")
    rate, whole = float(model.optimizer.learning_rate), fit(model)
    again = elsewhere(tmp_path / "half.keras")
    assert float(again.optimizer.learning_rate) == rate
    assert fit(again) == whole


def test_training_goes_on_from_a_checkpoint(tmp_path):
    """Epochs 3 and 4 after a break are epochs 3 and 4 without one, validation included."""
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    model = noisy()
    data = (X[:20], Y[:20])
    whole = fit(model, epochs=4, validation_data=data, callbacks=[checkpoint])
    again = elsewhere(tmp_path / "2.keras")
    rest = fit(again, epochs=4, initial_epoch=2, validation_data=data)
    assert rest == {name: values[2:] for name, values in whole.items()}
    assert_same_weights(model, again)
    assert_same_weights(model, elsewhere(tmp_path / "4.keras"))


@pytest.mark.parametrize("ending", [".weights.h5", ".safetensors"])
def test_a_checkpoint_within_an_epoch_is_the_state_of_that_step(ending, tmp_path):
    class Watch(keras.callbacks.Callback):
        seen = ()

        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                self.seen = self.model.get_weights()

    watch = Watch()
    path = str(tmp_path / f"{{epoch}}-{{batch}}{ending}")
    model = make()
    fit(model, callbacks=[watch, keras.callbacks.ModelCheckpoint(
        path, save_weights_only=True, save_freq=3)])  # fmt: skip
    other = make()
    other.load_weights(tmp_path / f"1-3{ending}")
    for a, b in zip(watch.seen, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_best_model_is_the_one_that_was_best(tmp_path):
    model = make(optimizer="sgd")
    data = (X[:20], Y[:20])
    path = tmp_path / "best.keras"
    best = keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True)
    history = fit(model, epochs=5, validation_data=data, callbacks=[best])
    loss, _ = elsewhere(path).evaluate(*data, batch_size=16, verbose=0)  # fit's own
    assert loss == min(history["val_loss"])


def test_states_of_stateful_layers_start_anew(tmp_path):
    inputs = keras.Input((4, 3), batch_size=5)
    model = keras.Model(inputs, layers.LSTM(2, stateful=True)(inputs))
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
    first = model.predict(x, batch_size=5, verbose=0)
    assert not np.array_equal(model.predict(x, batch_size=5, verbose=0), first)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(x, batch_size=5, verbose=0), first)


CODE = """
import sys, numpy as np, lamina as keras
model = keras.saving.load_model(sys.argv[1])
data = np.load(sys.argv[2])
other = keras.models.model_from_json(model.to_json())
other.load_weights(sys.argv[3])
third = keras.models.clone_model(model)
third.load_weights(sys.argv[4])
np.savez(sys.argv[5], predicted=model.predict(data["x"], verbose=0),
         h5=other.predict(data["x"], verbose=0), safetensors=third.predict(data["x"], verbose=0),
         evaluated=model.evaluate(data["x"], data["y"], verbose=0),
         trained=model.fit(data["x"], data["y"], batch_size=16, verbose=0).history["loss"])
"""


def test_a_new_process_goes_on(tmp_path):
    model = noisy()
    fit(model)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    model.save_weights(tmp_path / "model.safetensors")
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    names = ("model.keras", "data.npz", "model.weights.h5", "model.safetensors", "out.npz")
    subprocess.run([sys.executable, "-c", CODE, *(tmp_path / n for n in names)], check=True)
    found = np.load(tmp_path / "out.npz")
    for way in ("predicted", "h5", "safetensors"):
        np.testing.assert_array_equal(found[way], model.predict(X, verbose=0))
    np.testing.assert_array_equal(found["evaluated"], model.evaluate(X, Y, verbose=0))
    np.testing.assert_array_equal(found["trained"], fit(model)["loss"])


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    model = make()
    path = tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lamina.saving.hdf5.write", full)
    with pytest.raises(OSError, match="No space"):
        model.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


def test_freezing_and_unfreezing_take_effect_at_the_next_fit():
    model = make()
    first = model.layers[1]
    first.trainable = False
    before = first.get_weights()
    fit(model)
    for a, b in zip(before, first.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    first.trainable = True
    fit(model)
    assert not np.array_equal(before[0], first.get_weights()[0])
