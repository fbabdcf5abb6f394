"""One measurement of one library in a process of its own; prints one line of JSON."""

import importlib
import json
import os
import resource
import statistics
import sys
import time


def load(library):
    if library == "keras":
        os.environ["KERAS_BACKEND"] = "jax"
    return importlib.import_module(library)


def clock(run, repeat):
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def task_import(library):
    began = time.perf_counter()
    importlib.import_module("jax.numpy")
    jax_alone = time.perf_counter() - began
    load(library)
    return {"jax_s": jax_alone, "import_s": time.perf_counter() - began}


def task_build(library):
    from benchmarks.models import residual_blocks

    k = load(library)
    residual_blocks(k, 1)
    return {"build_200_layers_s": clock(lambda: residual_blocks(k), 5)}


def task_fit(library, name):
    import benchmarks.models

    k = load(library)
    began = time.perf_counter()
    model, x, y, batch = getattr(benchmarks.models, name)(k)
    built = time.perf_counter()
    model.fit(x[:batch], y[:batch], batch_size=batch, verbose=0)
    first = time.perf_counter()
    model.fit(x, y, batch_size=batch, verbose=0)
    seconds = clock(lambda: model.fit(x, y, batch_size=batch, verbose=0), 3)
    return {
        "build_s": built - began, "first_step_s": first - built,
        "steps_per_s": -(-len(x) // batch) / seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def task_predict(library):
    from benchmarks.models import mlp

    k = load(library)
    model, x, _, _ = mlp(k)
    one = x[:1]
    model.predict(one, verbose=0)
    model(one)
    model.predict(x, verbose=0)
    return {
        "predict_one_ms": 1e3 * clock(lambda: model.predict(one, verbose=0), 50),
        "call_one_ms": 1e3 * clock(lambda: model(one), 50),
        "predict_48000_s": clock(lambda: model.predict(x, verbose=0), 3),
    }


def task_dispatch(library):
    """Time between two dispatched steps of 200 Dense layers, against a bare jit call."""
    import jax
    import numpy as np

    from benchmarks.models import deep_dense

    k = load(library)
    model, x, y, batch = deep_dense(k)
    model.fit(x, y, batch_size=batch, verbose=0)
    from lamina.training import loop
    from lamina.training.callbacks import CallbackList
    from lamina.training.data import ArrayData
    from lamina.training.progress import Progress

    first = (x[:batch], y[:batch], None)
    program = loop._program(model, first, training=True)
    with loop._training_state(program) as cell:
        batch_data = jax.device_put(first)
        hooks, progress = CallbackList(None, model=model, params={}), Progress(0, 1, None)
        data = ArrayData(x, y, None, batch, shuffle=False)
        runner = loop._Runner(program, data, cell, hooks, progress, 1, first)

        def ours(n=200):
            for i in range(n):
                runner._step(i, lambda s: program.train(s, batch_data))
            jax.block_until_ready(cell.state["monitor"])

        ours()
        state = jax.tree.map(jax.numpy.copy, cell.state)

        def bare(n=200):
            nonlocal state
            for _ in range(n):
                state = program.train(state, batch_data)
            jax.block_until_ready(state["monitor"])

        bare()
        ratios = [clock(ours, 1) / clock(bare, 1) for _ in range(7)]
    return {"step_over_bare_jit": float(np.median(ratios))}


if __name__ == "__main__":
    library, task, *arguments = sys.argv[1:]
    print(json.dumps(globals()[f"task_{task}"](library, *arguments)))
