"""Single calls in PyTorch: equivalent loops over the same number of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.families import Calls, held
from benchmarks.workloads import Workload


def _layers(first: int, depth: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i in range(depth - 1):
        layers += nn.Linear(64 if i else first, 64), nn.ReLU()
    return [*layers, nn.Linear(64, 10)]


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3, eps=1e-7, fused=True)


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> tuple[float, float]:
    model.train()
    optimizer.zero_grad()
    outputs = model(x)
    loss = F.cross_entropy(outputs, y)
    loss.backward()
    optimizer.step()
    return loss.item(), (outputs.argmax(1) == y).float().mean().item()


def calls(workload: Workload) -> Calls:
    """See :data:`benchmarks.families.Calls`."""
    (inputs,), (targets,) = workload.data()
    size, depth = workload.batch, workload.depth
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets.astype("int64"))
    model = nn.Sequential(*_layers(x.shape[1], depth))
    optimizer = _adam(model.parameters())

    def predict(x: np.ndarray) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    def fit(x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        model.train()
        order = torch.randperm(len(x))
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for start in range(0, len(x), size):
            index = order[start : start + size]
            optimizer.zero_grad()
            outputs, labels = model(x[index]), y[index]
            loss = F.cross_entropy(outputs, labels)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            right += (outputs.argmax(1) == labels).sum()
        return total.item() * size / len(x), right.item() / len(x)

    def evaluate(x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        model.eval()
        with torch.inference_mode():
            outputs = model(x)
            right = (outputs.argmax(1) == y).float().mean()
            return F.cross_entropy(outputs, y).item(), right.item()

    return {
        "predict": lambda: predict(inputs[:1]),
        "predict_on_batch": lambda: predict(inputs[:size]),
        "fit": lambda: fit(x[:size], y[:size]),
        "fit_long": lambda: fit(x, y),
        "train_on_batch": lambda: _step(model, optimizer, x[:size], y[:size]),
        "evaluate": lambda: evaluate(x[:size], y[:size]),
        "toggle": _toggle(depth, x[:size], y[:size]),
        "gan": _gan(depth, x[:size], y[:size]),
    }


def _weights(module: nn.Module) -> Callable[[], list[np.ndarray]]:
    return lambda: [p.detach().numpy().copy() for p in module.parameters()]


def _toggle(depth: int, x: torch.Tensor, y: torch.Tensor) -> Callable[[], Any]:
    model = nn.Sequential(*_layers(x.shape[1], depth))
    optimizer = _adam(model.parameters())
    frozen, last = model[0], model[-1]

    def step() -> None:
        frozen.requires_grad_(False)
        _step(model, optimizer, x, y)
        frozen.requires_grad_(True)

    return held(step, kept=_weights(frozen), moved=_weights(last))


def _gan(depth: int, x: torch.Tensor, y: torch.Tensor) -> Callable[[], Any]:
    layers = _layers(x.shape[1], depth)
    half = 2 * (depth // 2)  # each Linear but the last is followed by a ReLU
    generator, critic = nn.Sequential(*layers[:half]), nn.Sequential(*layers[half:])
    both = nn.Sequential(generator, critic)
    of_critic, of_generator = _adam(critic.parameters()), _adam(generator.parameters())
    fake = torch.relu(x @ torch.ones(x.shape[1], 64) / x.shape[1])

    def generate() -> None:
        critic.requires_grad_(False)
        _step(both, of_generator, x, y)

    def step() -> None:
        critic.requires_grad_(True)
        _step(critic, of_critic, fake, y)
        generate()

    held(generate, kept=_weights(critic), moved=_weights(generator))
    return held(step, moved=_weights(critic))
