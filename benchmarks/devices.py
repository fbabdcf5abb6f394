"""What several devices cost. JAX counts its devices once, so each part has processes of its own:

    python -m benchmarks.devices one|weak|host SECONDS

``one`` compares ``distribution="data"`` on a single device with none. ``weak`` trains in one process
or, under ``lamina launch``, in two, each on a core of its own and with as many samples per step.
``host`` measures the processor time of the thread that dispatches to eight devices.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.families import with_keras
from benchmarks.workloads import WORKLOADS

_COUNT = "--xla_force_host_platform_device_count"
_WEAK_STEPS = 16


def measure(seconds: float) -> dict[str, float]:
    """All parts, each in new processes; the names are those of ``workloads.DEVICES``."""
    own, text = str(Path(__file__)), str(seconds)
    one, alone, host = (
        _answer([sys.executable, own, part, text], devices)
        for part, devices in (("one", 1), ("weak", 1), ("host", 8))
    )
    launched = [sys.executable, "-m", "lamina", "launch", "--processes", "2", own, "weak", text]
    two = _answer(launched, 1)
    return {
        **one, **host, "weak_one": alone["steps_per_s"], "weak_two": two["steps_per_s"],
        "weak_share": two["steps_per_s"] / alone["steps_per_s"],
    }  # fmt: skip


def _answer(command: list[str], devices: int) -> dict[str, float]:
    """What a part has printed, in its last line with an object."""
    kept = [f for f in os.environ.get("XLA_FLAGS", "").split() if not f.startswith(_COUNT)]
    flags = " ".join([*kept, f"{_COUNT}={devices}"])
    done = subprocess.run(
        command, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.endswith("}")]
    if done.returncode or not lines:
        raise RuntimeError(f"{command[-2]}: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(lines[-1][lines[-1].index("{") :])


def one(seconds: float) -> dict[str, float]:
    """The time of a training with ``distribution="data"``, divided by that of the same without."""
    import lamina

    workload = WORKLOADS["mlp"]
    (x,), (y,) = workload.data()
    models = {by: with_keras.mlp(lamina) for by in (None, "data")}
    models["data"].distribute("data")

    def train(by: str | None) -> float:
        began = time.perf_counter()
        models[by].fit(x, y, batch_size=workload.batch, verbose=0)
        return time.perf_counter() - began

    for by in models:
        train(by)
    ratios, until = [], time.perf_counter() + 4 * seconds
    while len(ratios) < 4 or time.perf_counter() < until:
        order = list(models)[:: 1 if len(ratios) % 2 else -1]  # either may go first
        times = {by: train(by) for by in order}
        ratios.append(times["data"] / times[None])
    return {"data_on_one": statistics.median(ratios)}


def weak(_: float) -> dict[str, float]:
    """Steps per second of a process on its own core, in as many processes as were launched."""
    count = int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1"))
    number = int(os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", "0"))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})  # before JAX starts its threads
    import lamina

    if count > 1:
        lamina.distribution.initialize()
    workload = WORKLOADS["transformer"]
    size = workload.batch * count
    samples = size * _WEAK_STEPS
    x, y = (np.resize(a[0], (samples, *a[0].shape[1:])) for a in workload.data())
    model = with_keras.transformer(lamina)
    model.distribute("data")
    model.fit(x, y, batch_size=size, verbose=0)
    began = time.perf_counter()
    model.fit(x, y, batch_size=size, verbose=0)
    return {"steps_per_s": _WEAK_STEPS / (time.perf_counter() - began)}


def host(seconds: float) -> dict[str, float]:
    """Milliseconds of processor time per step, in the thread that dispatches to all devices."""
    import lamina

    workload = WORKLOADS["mlp2"]
    x, y = (a[0][: workload.batch * workload.steps] for a in workload.data())
    rows = range(0, len(x), workload.batch)
    inputs = lamina.Input(x.shape[1:])
    hidden = lamina.layers.Dense(64, activation="relu")(inputs)
    model = lamina.Model(inputs, lamina.layers.Dense(10)(hidden))
    loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(lamina.optimizers.Adam(), loss, distribution="data")
    each = lamina.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    step, state = _by_hand(x.shape[1])

    def by_hand() -> None:
        nonlocal state
        for i in rows:
            state = step(state, x[i : i + workload.batch], y[i : i + workload.batch])

    parts: dict[str, Callable[[], Any]] = {
        "host_hand": by_hand,
        "host_fit": lambda: model.fit(x, y, batch_size=workload.batch, verbose=0),
        "host_steps": lambda: model.fit(
            x, y, batch_size=workload.batch, verbose=0, callbacks=[each]
        ),
    }
    found: dict[str, list[float]] = {name: [] for name in parts}
    until = time.perf_counter() + 4 * seconds
    while len(found["host_hand"]) < 4 or time.perf_counter() < until:
        for name, run in parts.items():
            began = time.thread_time()
            run()
            found[name].append(1e3 * (time.thread_time() - began) / len(rows))
    return {
        name: statistics.median(times[1:]) for name, times in found.items()
    }  # without compiling


def _by_hand(features: int) -> tuple[Callable[..., Any], Any]:
    """The step of that model in JAX, with a batch that is split over all devices, and its state."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.asarray(jax.devices()), ("batch",))
    split, copied = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["batch"], []))
    generator = np.random.default_rng(0)
    shapes = {"a": (features, 64), "b": (64,), "c": (64, 10), "d": (10,)}
    weights = {k: generator.normal(size=s, scale=0.1).astype("float32") for k, s in shapes.items()}
    zeros = {k: np.zeros_like(w) for k, w in weights.items()}

    def loss_of(w: Any, x: Any, y: Any) -> Any:
        logits = jax.nn.relu(x @ w["a"] + w["b"]) @ w["c"] + w["d"]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

    def advance(state: Any, x: Any, y: Any) -> Any:
        w, mean, square, t, total = state
        value, g = jax.value_and_grad(loss_of)(w, x, y)
        t = t + 1
        mean = jax.tree.map(lambda m, d: m + 0.1 * (d - m), mean, g)
        square = jax.tree.map(lambda s, d: s + 0.001 * (d * d - s), square, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        w = jax.tree.map(lambda v, m, s: v - rate * m / (jnp.sqrt(s) + 1e-7), w, mean, square)
        return w, mean, square, t, total + value

    compiled = jax.jit(advance, donate_argnums=0)
    state = jax.device_put((weights, zeros, zeros, np.float32(0), np.float32(0)), copied)
    return lambda state, x, y: compiled(state, *jax.device_put((x, y), split)), state


if __name__ == "__main__":
    print(json.dumps({"one": one, "weak": weak, "host": host}[sys.argv[1]](float(sys.argv[2]))))
