"""Single calls of Lamina and Keras 3."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.families import Calls, held
from benchmarks.workloads import Workload


def _layers(keras: Any, depth: int) -> list[Any]:
    hidden = [keras.layers.Dense(64, activation="relu") for _ in range(depth - 1)]
    return [*hidden, keras.layers.Dense(10)]


def _chain(keras: Any, shape: tuple[int, ...], parts: list[Any]) -> Any:
    x = inputs = keras.Input(shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def _compiled(keras: Any, model: Any) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(), loss, metrics=["accuracy"])
    return model


def calls(workload: Workload, framework: str) -> Calls:
    """See :data:`benchmarks.families.Calls`."""
    keras: Any = importlib.import_module(framework)
    (x,), (y,) = workload.data()
    size, shape = workload.batch, x.shape[1:]
    one, batch, targets = x[:1], x[:size], y[:size]
    model = _compiled(keras, _chain(keras, shape, _layers(keras, workload.depth)))
    return {
        "predict": lambda: model.predict(one, verbose=0),
        "predict_on_batch": lambda: model.predict_on_batch(batch),
        "fit": lambda: model.fit(batch, targets, batch_size=size, verbose=0),
        "fit_long": lambda: model.fit(x, y, batch_size=size, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(batch, targets),
        "evaluate": lambda: model.evaluate(batch, targets, batch_size=size, verbose=0),
        "toggle": _toggle(keras, workload.depth, batch, targets),
        "gan": _gan(keras, workload.depth, batch, targets),
    }


def _toggle(keras: Any, depth: int, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    layers = _layers(keras, depth)
    frozen, last = layers[0], layers[-1]
    model = _chain(keras, x.shape[1:], layers)
    frozen.trainable = False
    _compiled(keras, model)

    def step() -> None:
        frozen.trainable = False
        model.train_on_batch(x, y)
        frozen.trainable = True

    return held(step, kept=frozen.get_weights, moved=last.get_weights)


def _gan(keras: Any, depth: int, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    layers = _layers(keras, depth)
    half = depth // 2
    generator = _chain(keras, x.shape[1:], layers[:half])
    critic = _compiled(keras, _chain(keras, (64,), layers[half:]))
    fake = np.maximum(x @ np.ones((x.shape[1], 64), "float32") / x.shape[1], 0)
    critic.trainable = False
    both = _compiled(keras, _chain(keras, x.shape[1:], [generator, critic]))

    def generate() -> None:
        critic.trainable = False
        both.train_on_batch(x, y)

    def step() -> None:
        critic.trainable = True
        critic.train_on_batch(fake, y)
        generate()

    held(generate, kept=critic.get_weights, moved=generator.get_weights)
    return held(step, moved=critic.get_weights)
