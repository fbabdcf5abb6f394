"""Single calls in Flax NNX: jitted steps as in its guides.

Layers have no ``trainable`` attribute: an optimizer is created for the weights that it trains. So
no toggle is timed, but the two steps of a GAN are, each with its own optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from benchmarks.families import Calls, held
from benchmarks.workloads import Workload


def _layers(first: int, depth: int, rngs: nnx.Rngs) -> list[Any]:
    layers: list[Any] = []
    for i in range(depth - 1):
        layers += nnx.Linear(64 if i else first, 64, rngs=rngs), nnx.relu
    return [*layers, nnx.Linear(64, 10, rngs=rngs)]


def _loss(model: Any, x: Any, y: Any) -> tuple[jax.Array, jax.Array]:
    outputs = model(x)
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean(), outputs


def _step(model: Any, optimizer: Any, metrics: Any, x: Any, y: Any) -> None:
    compute = nnx.value_and_grad(_loss, argnums=nnx.DiffState(0, optimizer.wrt), has_aux=True)
    (value, outputs), gradients = compute(model, x, y)
    optimizer.update(model, gradients)
    metrics.update(loss=value, logits=outputs, labels=y)


def _test(model: Any, metrics: Any, x: Any, y: Any) -> None:
    value, outputs = _loss(model, x, y)
    metrics.update(loss=value, logits=outputs, labels=y)


class _Trainer:
    """A model with its optimizer.

    Args:
        model: The model.
        trained: A filter of the weights that are trained.
    """

    def __init__(self, model: Any, trained: Any = nnx.Param) -> None:
        self.model = model
        optimizer = nnx.Optimizer(model, optax.adam(1e-3, eps=1e-7), wrt=trained)
        accuracy = nnx.metrics.Accuracy()
        self.metrics = nnx.MultiMetric(loss=nnx.metrics.Average("loss"), accuracy=accuracy)
        self.step = nnx.cached_partial(nnx.jit(_step), model, optimizer, self.metrics)
        self.test = nnx.cached_partial(nnx.jit(_test), model, self.metrics)

    def report(self) -> dict[str, float]:
        found = {name: float(value) for name, value in self.metrics.compute().items()}
        self.metrics.reset()
        return found

    def train(self, x: Any, y: Any) -> dict[str, float]:
        self.step(x, y)
        return self.report()

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        self.test(x, y)
        return self.report()


def calls(workload: Workload) -> Calls:
    """See :data:`benchmarks.families.Calls`."""
    (x,), (y,) = workload.data()
    size, depth = workload.batch, workload.depth
    model = nnx.Sequential(*_layers(x.shape[1], depth, nnx.Rngs(0)))
    trainer = _Trainer(model)
    forward = nnx.cached_partial(nnx.jit(lambda model, x: model(x)), model)
    rng = np.random.default_rng(0)

    def fit(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        order = rng.permutation(len(x))
        for start in range(0, len(x), size):
            index = order[start : start + size]
            trainer.step(x[index], y[index])
        return trainer.report()

    return {
        "predict": lambda: np.asarray(forward(x[:1])),
        "predict_on_batch": lambda: np.asarray(forward(x[:size])),
        "fit": lambda: fit(x[:size], y[:size]),
        "fit_long": lambda: fit(x, y),
        "train_on_batch": lambda: trainer.train(x[:size], y[:size]),
        "evaluate": lambda: trainer.evaluate(x[:size], y[:size]),
        "gan": _gan(depth, x[:size], y[:size]),
    }


class _Both(nnx.Module):
    def __init__(self, generator: Any, critic: Any) -> None:
        self.generator, self.critic = generator, critic

    def __call__(self, x: Any) -> Any:
        return self.critic(self.generator(x))


def _weights(model: Any) -> Callable[[], list[np.ndarray]]:
    return lambda: [np.array(a) for a in jax.tree.leaves(nnx.state(model, nnx.Param))]


def _gan(depth: int, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    layers = _layers(x.shape[1], depth, nnx.Rngs(0))
    half = 2 * (depth // 2)  # each Linear but the last is followed by a relu
    generator, critic = nnx.Sequential(*layers[:half]), nnx.Sequential(*layers[half:])
    both = _Trainer(
        _Both(generator, critic), nnx.All(nnx.Param, nnx.PathContains("generator"))
    )  # fmt: skip
    alone = _Trainer(critic)
    fake = np.maximum(x @ np.ones((x.shape[1], 64), "float32") / x.shape[1], 0)

    def step() -> None:
        alone.train(fake, y)
        both.train(x, y)

    held(lambda: both.train(x, y), kept=_weights(critic), moved=_weights(generator))
    return held(step, moved=_weights(critic))
