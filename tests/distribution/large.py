"""A model whose state is large, in one process or in several; each reports its peak memory."""

import gc
import json
import os
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


def compiled(depth, by):
    model = build(depth)
    model.compile(keras.optimizers.Adam(1e-4, amsgrad=True), "mse", distribution=by)
    return model


def main(folder, number):
    import jax

    if number is not None:
        dist.initialize()
    by = None if number is None else "fsdp"
    x = np.random.default_rng(0).normal(size=(8, WIDTH)).astype("float32") / 32
    y = x[:, :1]
    compiled(1, by).fit(x, y, epochs=2, verbose=0)  # what is loaded for any training
    found = {"before": peak()}
    resumes = (folder / "run").exists()
    model = compiled(DEPTH, by)
    for variable in model.variables:
        jax.block_until_ready(variable.value)
    found["created"] = peak()
    options = {"epochs": 2 + resumes, "batch_size": 8, "verbose": 0, "resume": folder / "run"}
    found["loss"] = model.fit(x, y, **options).history["loss"]
    found["trained"] = peak()
    arrays = [*model.variables, *model.optimizer.variables]
    found["state"] = sum(v.size * 4 for v in arrays) // 2**20
    del arrays
    if not resumes:
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
    found["peak"] = peak()
    (folder / f"{'resumed' if resumes else 'trained'}{number or 0}.json").write_text(
        json.dumps(found)
    )


if __name__ == "__main__":
    own = os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID")
    main(Path(sys.argv[1]), None if own is None else int(own))
