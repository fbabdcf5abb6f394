"""Flax NNX as in its guides: a cached, jitted step of model, optimizer and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint
from flax import nnx

from benchmarks.families.models_nnx import MODELS
from benchmarks.workloads import Arrays, Workload


class Session:
    """See :class:`benchmarks.families.Session`."""

    def build(self, name: str, workload: Workload, data: tuple[Arrays, Arrays]) -> None:
        self.name, self.batch = name, workload.batch
        self.hold(data)
        self.rng = np.random.default_rng(0)
        make, loss, optimizer, accuracy = MODELS[name]
        self._take_over(make(nnx.Rngs(0)))
        if loss is None:
            return
        self.optimizer = nnx.Optimizer(self.model, optimizer(), wrt=nnx.Param)
        kinds = {"loss": nnx.metrics.Average("loss")}
        if accuracy:
            kinds["accuracy"] = nnx.metrics.Accuracy()
        self.metrics = nnx.MultiMetric(**kinds)

        @nnx.jit(donate_argnums=(0, 1, 2))
        def step(model, optimizer, metrics, x, y):
            def compute(model):
                outputs = _tuple(model(*x))
                return loss(outputs, y), outputs

            (value, outputs), gradients = nnx.value_and_grad(compute, has_aux=True)(model)
            optimizer.update(model, gradients)
            if accuracy:
                labels = y[0] if y[0].ndim == 1 else y[0].argmax(-1)
                metrics.update(loss=value, logits=outputs[0], labels=labels)
            else:
                metrics.update(loss=value)

        self.step = nnx.cached_partial(step, self.model, self.optimizer, self.metrics)

    def hold(self, data: tuple[Arrays, Arrays]) -> None:
        self.x, self.y = data

    def _take_over(self, model: Any) -> None:
        self.model = model
        self.run = nnx.jit(lambda model, x: _tuple(model(*x)))

    def train(self, epochs: int) -> None:
        self.model.train()
        size = len(self.x[0])
        for _ in range(epochs):
            order = self.rng.permutation(size)
            for start in range(0, size, self.batch):
                index = order[start : start + self.batch]
                x, y = [a[index] for a in self.x], [a[index] for a in self.y]
                self.step(x, y)
            _ = {name: float(value) for name, value in self.metrics.compute().items()}
            self.metrics.reset()

    def predict(self, x: Arrays) -> Arrays:
        self.model.eval()
        parts = [self.run(self.model, [a[i : i + 32] for a in x]) for i in range(0, len(x[0]), 32)]
        return [np.concatenate(same) for same in zip(*parts, strict=True)]

    def call(self, x: Arrays) -> Any:
        self.model.eval()
        return [np.asarray(a) for a in _tuple(self.model(*x))]

    def set_weights(self, weights: Arrays) -> None:
        left = iter(weights)
        _take(self.model, left)
        if list(left):
            raise ValueError(f"{self.name}: weights are left over")

    def save(self, folder: Path) -> None:
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder / "model", nnx.state(self.model), force=True)

    def load(self, folder: Path) -> None:
        model = MODELS[self.name][0](nnx.Rngs(0))
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            nnx.update(model, checkpointer.restore(folder / "model", nnx.state(model)))
        self._take_over(model)


def _tuple(outputs: Any) -> tuple[Any, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _take(module: Any, left: Any) -> None:
    """Set the weights of a module and its submodules from the next of Keras's arrays."""
    if isinstance(module, (nnx.Linear, nnx.Conv, nnx.LinearGeneral)):
        kernel = next(left)  # of a depthwise convolution in Keras: (height, width, channels, 1)
        module.kernel[...] = kernel.reshape(module.kernel.shape)
        if module.use_bias:
            module.bias[...] = next(left)
    elif isinstance(module, nnx.ConvTranspose):
        module.kernel[...] = np.flip(next(left), (0, 1)).swapaxes(-1, -2)
        module.bias[...] = next(left)
    elif isinstance(module, nnx.Embed):
        module.embedding[...] = next(left)
    elif isinstance(module, (nnx.BatchNorm, nnx.LayerNorm)):
        module.scale[...], module.bias[...] = next(left), next(left)
        if isinstance(module, nnx.BatchNorm):
            module.mean[...], module.var[...] = next(left), next(left)
    elif isinstance(module, nnx.OptimizedLSTMCell):
        module.dense_i.kernel[...], module.dense_h.kernel[...] = next(left), next(left)
        module.dense_h.bias[...] = next(left)
    elif isinstance(module, nnx.GRUCell):
        module.dense_i.kernel[...], module.dense_h.kernel[...] = (
            _reset_first(next(left)) for _ in range(2)
        )
        module.dense_i.bias[...], module.dense_h.bias[...] = _reset_first(next(left))
    elif isinstance(module, (nnx.Module, nnx.List)):
        children = module if isinstance(module, nnx.List) else vars(module).values()
        for child in children:
            _take(child, left)


def _reset_first(w: np.ndarray) -> np.ndarray:
    """Reorder the gates z, r, h of Keras to r, z, n."""
    z, r, n = np.split(w, 3, -1)
    return np.concatenate([r, z, n], -1)
