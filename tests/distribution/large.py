"""A model whose state is large, in one process or in several; each reports its peak memory."""

import gc
import json
import resource
import sys
from pathlib import Path

import numpy as np

import lamina as keras
from lamina import distribution as dist
from lamina import layers

WIDTH, DEPTH = 1024, 24  # 100 MB of weights, and three times as much of Adam's


def peak():
    """The largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def block(x):
    return layers.add([x, layers.Dense(WIDTH, activation="relu")(x)])


def build(depth):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    x = y = keras.Input((WIDTH,))
    for _ in range(depth):
        y = block(y)
    return keras.Model(x, layers.Dense(1)(y))


def main(folder, number):
    import jax

    if number is not None:
        dist.initialize()
    by = None if number is None else "fsdp"
    x = np.random.default_rng(0).normal(size=(8, WIDTH)).astype("float32") / 32
    y = x[:, :1]
    folder = Path(folder)

    def compiled(depth):
        model = build(depth)
        model.compile(keras.optimizers.Adam(1e-4, amsgrad=True), "mse", distribution=by)
        return model

    compiled(1).fit(x, y, epochs=2, verbose=0)  # what is loaded for any training
    found = {"before": peak()}
    model = compiled(DEPTH)
    for variable in model.variables:
        jax.block_until_ready(variable.value)
    found["created"] = peak()
    options = {"epochs": 2, "batch_size": 8, "verbose": 0, "resume": folder / "run"}
    found["loss"] = model.fit(x, y, **options).history["loss"]
    found["trained"] = peak()
    arrays = [*model.variables, *model.optimizer.variables]
    found["state"] = sum(v.size * 4 for v in arrays) // 2**20
    del arrays
    model.save(folder / "model.keras")
    found["saved"] = peak()
    del model
    gc.collect()
    if by:
        mesh = dist.DeviceMesh((len(jax.devices()),), ["batch"])
        dist.set_distribution(dist.Sharded(mesh, fsdp_axis="batch"))
    loaded = keras.models.load_model(folder / "model.keras")
    found["loaded"] = peak()
    arrays = [*loaded.variables, *loaded.optimizer.variables]
    found["sum"] = float(sum(np.abs(v.numpy()).sum(dtype="float64") for v in arrays))
    dist.set_distribution(None)
    del loaded, arrays
    gc.collect()
    model = compiled(DEPTH)
    found["loss"] += model.fit(x, y, **{**options, "epochs": 3}).history["loss"]
    found["resumed"] = peak()
    (folder / f"{number or 0}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    import os

    own = os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID")
    main(sys.argv[1], None if own is None else int(own))
