"""What saves memory, and checkpoints, when weights are split over devices."""

import contextlib

import jax
import numpy as np
import pytest

import lamina as keras
from lamina import distribution as dist
from lamina import layers
from lamina.callbacks import OrbaxCheckpoint

pytestmark = pytest.mark.skipif(len(jax.devices()) < 8, reason="needs eight devices")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 16)).astype("float32")
Y = (X[:, :4] * 0.5).astype("float32")


def _by(*shape, fsdp="batch"):
    mesh = dist.DeviceMesh(shape, ["batch", "model"][: len(shape)])
    rules = [("dense/kernel", (None, "model"))] if len(shape) > 1 else ()
    return dist.Sharded(mesh, rules, fsdp_axis=fsdp, min_size=32)


def _train(by, optimizer, policy=None, remat=None, epochs=3):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    with keras.RematScope(remat) if remat else contextlib.nullcontext():
        model = keras.Sequential([
            keras.Input((16,)), layers.Dense(64, activation="tanh", dtype=policy),
            layers.Dropout(0.2, dtype=policy), layers.Dense(4, dtype="float32"),
        ])  # fmt: skip
    model.compile(optimizer(), "mse", distribution=by)
    return model, model.fit(X, Y, 16, epochs=epochs, verbose=0).history["loss"]


def _adam(**options):
    return keras.optimizers.Adam(0.01, **options)


def _scaled():
    return keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01), initial_scale=256.0, dynamic_growth_steps=3
    )


WAYS = {
    "accumulation": (lambda: _adam(gradient_accumulation_steps=3), None, None),
    "remat": (_adam, None, "full"),
    "bfloat16": (_adam, "mixed_bfloat16", None),
    "float16 and loss scaling": (_scaled, "mixed_float16", None),
    "clipping and averages": (
        lambda: keras.optimizers.AdamW(0.01, global_clipnorm=0.1, use_ema=True), None, None
    ),
    "factored": (lambda: keras.optimizers.Adafactor(0.01), None, None),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_same_losses_as_on_one_device(way):
    optimizer, policy, remat = WAYS[way]
    _, expected = _train(None, optimizer, policy, remat)
    model, found = _train(_by(4, 2), optimizer, policy, remat)
    np.testing.assert_allclose(found, expected, rtol=2e-2 if policy else 1e-5)
    for slot in model.optimizer.state_variables.values():
        assert len(slot.value.sharding.device_set) == 8


def _dict(model):
    named = {a: v for a, (v, _) in model.named_variables().items()}
    return {k: v.numpy() for k, v in {**named, **model.optimizer.state_variables}.items()}


@pytest.mark.parametrize("after", [(8,), (4,), (2, 4), None])
def test_checkpoints_go_from_any_mesh_to_any_other(after, tmp_path):
    devices = dist.list_devices()[: np.prod(after or 1)]
    by = None
    if after is not None:
        mesh = dist.DeviceMesh(after, ["batch", "model"][: len(after)], devices)
        by = dist.Sharded(mesh, fsdp_axis="batch", min_size=32)
    other, _ = _train(by, _adam, epochs=1)
    model, _ = _train(_by(4, 2), _adam, epochs=1)  # which sets the seed
    model.fit(X, Y, 16, verbose=0, callbacks=[OrbaxCheckpoint(tmp_path)])
    assert OrbaxCheckpoint(tmp_path).restore(other) == 0
    for key, value in _dict(model).items():
        np.testing.assert_array_equal(_dict(other)[key], value, err_msg=key)
    kernel = other.layers[0].kernel.value
    assert len(kernel.sharding.device_set) == len(devices)
    expected = model.fit(X, Y, 16, verbose=0).history["loss"]
    np.testing.assert_allclose(other.fit(X, Y, 16, verbose=0).history["loss"], expected, rtol=1e-6)


def test_large_weights_are_drawn_in_parts_with_the_same_bits():
    keras.utils.set_random_seed(1)
    shape = (3, 2**21)  # three blocks of two million elements each
    expected = keras.Variable(keras.initializers.GlorotNormal(), shape, name="w").numpy()
    keras.utils.set_random_seed(1)
    with dist.Sharded(dist.DeviceMesh((8,), ["batch"]), fsdp_axis="batch").scope():
        sharded = keras.Variable(keras.initializers.GlorotNormal(), shape, name="w")
        assert sharded.value.addressable_shards[3].data.shape == (3, 2**18)
    np.testing.assert_array_equal(sharded.numpy(), expected)
    rows = keras.initializers.GlorotNormal(seed=4)
    whole = rows.draw_for((), shape, "float32")
    part = rows.draw_part((), shape, "float32", (slice(1, 3), slice(5, 9)))
    np.testing.assert_array_equal(part, whole[1:3, 5:9])
    assert not np.array_equal(whole[0], whole[2])


# ---- the optimizer's slots in the memory of the host ---------------------------------------------


def _offloaded(*shape):
    mesh = dist.DeviceMesh(shape, ["batch"], dist.list_devices()[: np.prod(shape)])
    return dist.Sharded(mesh, fsdp_axis="batch", min_size=32, offload_optimizer=True)


def _memories(model):
    """Where the arrays of the slots lie: the state of a step holds them as they are stored."""
    state = model.program_for("train").variables.read(None, 0)
    return {x.sharding.memory_kind for k, x in state.optimizer.items() if "/" in k}


@pytest.mark.parametrize("count", [8, 1])
def test_slots_lie_in_the_memory_of_the_host(count, tmp_path):
    _, expected = _train(None, _adam)
    model, found = _train(_offloaded(count), _adam)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert _memories(model) == {"pinned_host"}
    weights = sum(v.value.addressable_shards[0].data.nbytes for v in model.weights)
    analysis = model.analyze_step()
    assert analysis.host_bytes == 2 * weights
    assert f"In host memory: {2 * weights / 1024:.2f} KB" in str(analysis)
    assert analysis.state_bytes < weights + 64

    # Outside of a step, they are read and written as usual.
    slot = model.optimizer.state_variables["momentum/dense/kernel"]
    np.testing.assert_allclose(slot.value + 0, slot.numpy())
    model.optimizer.apply([np.ones(v.shape, "float32") for v in model.trainable_variables])
    slot.assign(slot.numpy() * 0.5)
    half = slot.numpy()
    model.fit(X, Y, 16, verbose=0, callbacks=[OrbaxCheckpoint(tmp_path / "run")])
    assert np.abs(slot.numpy() - half).max() > 0
    assert _memories(model) == {"pinned_host"}

    model.save(tmp_path / "model.keras")
    alone = keras.models.load_model(tmp_path / "model.keras")
    other, _ = _train(_offloaded(count), _adam, epochs=1)
    OrbaxCheckpoint(tmp_path / "run").restore(other)
    for loaded in (alone, other):
        for key, value in model.optimizer.state_variables.items():
            mine = loaded.optimizer.state_variables[key].numpy()
            np.testing.assert_array_equal(mine, value.numpy(), err_msg=key)
    assert _memories(other) == {"pinned_host"}


def test_slots_come_back_to_the_devices():
    model, _ = _train(_offloaded(8), _adam, epochs=1)
    model.compile(model.optimizer, "mse", distribution=_by(8))
    model.fit(X, Y, 16, verbose=0)
    assert _memories(model) == {"device"}
