"""Data pipelines of Lamina and Keras 3: images from a folder, and text as indices."""

from __future__ import annotations

import importlib
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Measure = Callable[[], dict[str, float]]

SIZE, CROP, BATCH, STEPS = (200, 200), (160, 160), 32, 24
TEXTS, WORDS = 10_000, 200


def images(folder: Path, framework: str) -> Measure:
    """Images per second of a pass, and what a training step waits for them.

    The waiting time is the difference to training on the same batches in memory. The model is so
    large that its step takes longer than a batch.
    """
    keras: Any = importlib.import_module(framework)
    data = keras.utils.image_dataset_from_directory(
        folder, image_size=SIZE, batch_size=BATCH, seed=1, verbose=False
    )
    change = keras.layers.Pipeline([
        keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.1),
        keras.layers.RandomCrop(*CROP),
    ])  # fmt: skip
    data = data.map(lambda x, y: (change(x, training=True), y), num_parallel_calls=-1)
    data = data.prefetch(-1)
    held = [tuple(map(np.asarray, batch)) for batch in itertools.islice(data, 8)]
    model = keras.Sequential([
        keras.Input((*CROP, 3)), keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10),
    ])  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())

    def step_ms(batches: Any) -> float:
        """The mean time of the second half of the steps, after buffers have been filled."""
        clock, half = Clock(), STEPS // 2
        model.fit(batches, steps_per_epoch=STEPS, verbose=0, callbacks=[clock])
        return 1e3 * (clock.ends[-1] - clock.ends[half - 1]) / (STEPS - half)

    step_ms(batch for batch in itertools.cycle(held))

    def measure() -> dict[str, float]:
        began = time.perf_counter()
        count = sum(len(y) for _, y in data)
        seconds = time.perf_counter() - began
        in_memory = step_ms(batch for batch in itertools.cycle(held))
        waiting = max(0.0, step_ms(data) - in_memory)
        return {"images_per_s": count / seconds, "step_ms": in_memory, "waiting_ms": waiting}

    return measure


def texts(folder: Path, framework: str) -> Measure:
    """Tokens per second of ``adapt`` and of calls with 1,000 texts, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    keras: Any = importlib.import_module(framework)
    generator = np.random.default_rng(0)
    # Frequencies as those of words in natural languages, some of which are followed by a mark.
    numbers = np.minimum(generator.zipf(1.3, (TEXTS, WORDS)), 30_000)
    marks = np.array(["", "", "", "", ",", "."])[generator.integers(0, 6, numbers.shape)]
    rows = [
        " ".join(f"Word{n:x}{mark}" for n, mark in zip(*row, strict=True))
        for row in zip(numbers.tolist(), marks.tolist(), strict=True)
    ]
    data = np.array(rows, object)
    layer = keras.layers.TextVectorization(20_000, output_sequence_length=WORDS)

    def measure() -> dict[str, float]:
        found = {}
        parts = np.split(data, 10)
        calls = {"adapt": lambda: layer.adapt(data), "call": lambda: [layer(x) for x in parts]}
        for name, call in calls.items():
            began = time.perf_counter()
            result = call()
            if result:
                np.asarray(result[-1])
            found[f"{name}_tokens_per_s"] = data.size * WORDS / (time.perf_counter() - began)
        return found

    measure()
    return measure


def write_files(folder: Path, count: int = 2000, classes: int = 10) -> None:
    """Write JPEGs with about the size and the content of photos to folders of classes."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for i in range(count):
        place = folder / f"class {i % classes}"
        place.mkdir(exist_ok=True)
        small = generator.integers(0, 256, (15, 20, 3), "uint8")
        pixels = np.asarray(Image.fromarray(small).resize((400, 300), Image.Resampling.BICUBIC))
        noise = generator.normal(0, 8, (300, 400, 1))
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype("uint8")).save(
            place / f"{i}.jpg", quality=85
        )


__all__ = ["images", "texts", "write_files"]
