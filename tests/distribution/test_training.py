"""Models on eight devices train as on one, whatever splits batches and weights."""

import jax
import numpy as np
import pytest

import lamina as keras
from lamina import distribution as dist
from lamina import layers
from lamina.errors import ArgumentError, ShapeError, UnknownNameError
from tests.distribution.models import MODELS, mlp, transformer

pytestmark = pytest.mark.skipif(len(jax.devices()) < 8, reason="needs eight devices")
LAYOUTS = ("data", "fsdp", "tensor", "fsdp+tensor")
# All layouts for the models in which they differ most; the hardest one for the others.
CASES = [
    (name, layout)
    for name in MODELS
    for layout in (LAYOUTS if name in ("mlp", "residual") else LAYOUTS[3:])
] + [("transformer", "tensor")]


def _mesh(*shape, names=("batch", "model")):
    return dist.DeviceMesh(shape, list(names[: len(shape)]))


def _sharded(name, model):
    """The distribution of that name, which splits small weights too."""
    if name == "fsdp":
        return dist.Sharded(_mesh(8), fsdp_axis="batch", min_size=32)
    if name == "fsdp+tensor":
        model.build(model.input_shape if model.layer_graph else (None, 8))
        rules = dist.tensor_rules(model, "model", 2)
        return dist.Sharded(_mesh(4, 2), rules, fsdp_axis="batch", min_size=32)
    return name


def _train(build, layout=None, epochs=5, **options):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model, (x, y) = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(0.01), loss, metrics=["accuracy"],
        distribution=_sharded(layout, model), **options,
    )  # fmt: skip
    # 60 samples in batches of 16: the last one, of 12, has no equal parts on eight devices.
    history = model.fit(x, y, 16, epochs=epochs, verbose=0)
    return model, (x, y), history.history


_alone = {}


def _expected(name):
    if name not in _alone:
        model, (x, y), history = _train(MODELS[name])
        outputs = model.predict_on_batch(x[:16])
        _alone[name] = history, model.evaluate(x, y, verbose=0), outputs
    return _alone[name]


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_trains_as_on_one_device(name, layout):
    history, _, outputs = _expected(name)
    model, (x, _), found = _train(MODELS[name], layout)
    assert found.keys() == history.keys()
    for log, values in history.items():
        np.testing.assert_allclose(found[log], values, rtol=1e-5, atol=1e-5, err_msg=log)
    np.testing.assert_allclose(model.predict_on_batch(x[:16]), outputs, rtol=1e-4, atol=1e-4)


def _split(variable):
    """Into how many different parts the value of a variable is split."""
    return len({str(s.index) for s in variable.value.addressable_shards})


def test_state_lies_where_the_distribution_wants_it():
    model, _, _ = _train(mlp, "fsdp+tensor")
    splits = {a: _split(v) for a, (v, _) in model.named_variables().items()}
    assert splits == {
        "dense/kernel": 8, "dense/bias": 2, "dense_1/kernel": 8, "dense_1/bias": 4,
        "dense_2/kernel": 8, "dense_2/bias": 2,
    }  # fmt: skip
    for key, slot in model.optimizer.state_variables.items():
        slot_of, _, address = key.partition("/")
        assert _split(slot) == splits.get(address, 1), slot_of
        assert slot.layout is not None


def test_a_step_compiles_once(compilations):
    model, (x, y), _ = _train(mlp, "fsdp")
    model.fit(x, y, 16, verbose=0, validation_data=(x[:20], y[:20]))
    model.evaluate(x, y, 20, verbose=0)
    with compilations() as compiled:
        model.fit(x, y, 16, epochs=2, verbose=0, validation_data=(x[:20], y[:20]))
        model.evaluate(x, y, 20, verbose=0)
    assert not [name for name in compiled if "step" in name]


@pytest.mark.parametrize("layout", [None, *LAYOUTS])
def test_initial_values_are_those_of_one_device(layout):
    keras.utils.set_random_seed(0)
    alone = transformer()[0].get_weights()
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model, _ = transformer()
    model.compile("adam", "mse", distribution=_sharded(layout, model))
    for mine, theirs in zip(model.get_weights(), alone, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_weights_are_created_in_parts():
    model, _ = mlp()
    model.compile("adam", "mse", distribution=dist.Sharded(_mesh(8), fsdp_axis="batch"))
    kernel = model.layers[2].kernel
    assert not kernel.is_initialized
    assert {s.data.shape for s in kernel.value.addressable_shards} == {(8, 64)}


def test_what_leaves_the_model_is_whole(tmp_path):
    model, (x, _), _ = _train(transformer, "fsdp+tensor")
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0).shape, (60, 4))
    for mine, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_weights_are_loaded_into_parts(tmp_path):
    path = tmp_path / "x.weights.h5"
    first, (x, _), _ = _train(mlp)
    first.save_weights(path)
    model, _, _ = _train(mlp, "fsdp")
    model.load_weights(path)
    assert _split(model.layers[1].kernel) == 8
    np.testing.assert_allclose(
        model.predict(x, verbose=0), first.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    model.set_weights([w + 1 for w in first.get_weights()])
    assert _split(model.layers[1].kernel) == 8


def test_training_goes_on_with_other_layouts_and_without():
    _, results, _ = _expected("mlp")
    model, (x, y), _ = _train(mlp, "fsdp")
    for layout in ("tensor", "data", None):
        optimizer = model.optimizer
        model.compile(
            optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"], distribution=layout,
        )  # fmt: skip
        np.testing.assert_allclose(model.evaluate(x, y, verbose=0), results, rtol=1e-5)
    model.fit(x, y, verbose=0)
    assert len(model.layers[1].kernel.value.sharding.device_set) == 1


def test_callbacks_read_and_change_the_parts():
    seen = []

    class Halve(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kernel = self.model.layers[1].kernel
            seen.append(_split(kernel))
            kernel.assign(kernel.numpy() / 2)

    model, (x, y), _ = _train(mlp, "fsdp")
    model.fit(x, y, 32, verbose=0, callbacks=[Halve()])
    assert seen == [8, 8]
    assert _split(model.layers[1].kernel) == 8


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 2}])
def test_other_ways_to_run(options):
    history, *_ = _expected("mlp")
    _, _, found = _train(mlp, "fsdp+tensor", epochs=1, **options)
    np.testing.assert_allclose(found["loss"], history["loss"][:1], rtol=1e-5)


def test_single_batches():
    model, (x, y), _ = _train(mlp, "data")
    other, _, _ = _train(mlp)
    for n in (16, 13):
        found = model.train_on_batch(x[:n], y[:n])
        np.testing.assert_allclose(found, other.train_on_batch(x[:n], y[:n]), rtol=1e-5)
        np.testing.assert_allclose(
            model.predict_on_batch(x[:n]), other.predict_on_batch(x[:n]), rtol=1e-3, atol=1e-5
        )
        np.testing.assert_allclose(
            model.test_on_batch(x[:n], y[:n]), other.test_on_batch(x[:n], y[:n]), rtol=1e-4
        )


def test_the_current_distribution_applies_to_what_is_compiled_in_it():
    with dist.DataParallel().scope():
        model, (x, y), found = _train(mlp)
    history, *_ = _expected("mlp")
    assert dist.distribution() is None
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-5)
    model.fit(x, y, verbose=0)
    assert len(model.layers[1].kernel.value.sharding.device_set) == 8


def test_layouts_by_path_and_of_outputs():
    layouts = dist.LayoutMap(_mesh(2, 4))
    layouts["wide/kernel"] = (None, "model")
    layouts["wide/bias"] = ("model",)
    layouts["wide/output"] = ("batch", "model")
    keras.utils.set_random_seed(0)
    x = keras.Input((16,))
    y = layers.Dense(64, activation="relu", name="wide")(x)
    model = keras.Model(x, layers.Dense(4, name="out")(y))
    by = dist.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    model.compile("adam", "mse", distribution=by)
    data = np.ones((16, 16), "float32"), np.ones((16, 4), "float32")
    model.fit(*data, verbose=0)
    assert _split(model.get_layer("wide").kernel) == 4
    assert by.num_model_replicas == 2


def test_mistakes():
    model, _ = mlp()
    with pytest.raises(UnknownNameError, match="fsdp"):
        model.compile("adam", "mse", distribution="fsd")
    with pytest.raises(ArgumentError, match="distribution"):
        model.compile("adam", "mse", distribution=3)
    with pytest.raises(UnknownNameError, match="match no weight"):
        model.compile(
            "adam", "mse", distribution=dist.Sharded(_mesh(4, 2), [("dens/kernel", ("model",))])
        )
    with pytest.raises(ShapeError, match="multiples of"):
        model.compile(
            "adam",
            "mse",
            distribution=dist.Sharded(_mesh(8), [("dense_2/kernel", (None, "batch"))]),
        )
    with pytest.raises(UnknownNameError, match="axis"):
        dist.Sharded(_mesh(8), [(".*", ("mdel",))])
    with pytest.raises(ArgumentError, match="needs 3 devices"):
        _mesh(3)
