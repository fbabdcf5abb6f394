"""Idiomatic PyTorch; images use the channels-last memory format, which is faster on CPU."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.families.models_torch import MODELS
from benchmarks.workloads import Arrays, Workload


class Session:
    """See :class:`benchmarks.families.Session`.

    Args:
        compiled: Whether to use ``torch.compile``.
    """

    def __init__(self, compiled: bool = False) -> None:
        self.compiled = compiled

    def build(self, name: str, workload: Workload, data: tuple[Arrays, Arrays]) -> None:
        self.name, self.batch = name, workload.batch
        make, loss, optimizer, self.accuracy = MODELS[name]
        self._take_over(make())
        self.hold(data)
        if loss is None:
            return
        self.optimizer = optimizer([p for p in self.model.parameters() if p.requires_grad])

        def forward(x, y):
            outputs = self.model(*x)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            return loss(outputs, y), outputs

        self.forward = torch.compile(forward) if self.compiled else forward

    def hold(self, data: tuple[Arrays, Arrays]) -> None:
        self.x = [_tensor(a) for a in data[0]]
        self.y = [_target(a) for a in data[1]]

    def _take_over(self, model: nn.Module) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.run = torch.compile(model) if self.compiled else model

    def train(self, epochs: int) -> None:
        self.model.train()
        size = len(self.x[0])
        for _ in range(epochs):
            order = torch.randperm(size)
            total, right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
            for start in range(0, size, self.batch):
                index = order[start : start + self.batch]
                x, y = [a[index] for a in self.x], [a[index] for a in self.y]
                self.optimizer.zero_grad()
                loss, outputs = self.forward(x, y)
                loss.backward()
                self.optimizer.step()
                total += loss.detach()
                if self.accuracy:
                    labels = y[0] if y[0].ndim == 1 else y[0].argmax(1)
                    right += (outputs[0].argmax(1) == labels).sum()
            _ = total.item() * self.batch / size, right.item() / size

    def _outputs(self, x: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        outputs = self.run(*x)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(a.permute(0, 2, 3, 1) if a.ndim == 4 else a for a in outputs)

    def predict(self, x: Arrays) -> Arrays:
        self.model.eval()
        tensors = [_tensor(a) for a in x]
        with torch.inference_mode():
            parts = [
                self._outputs([a[i : i + 32] for a in tensors]) for i in range(0, len(x[0]), 32)
            ]
            return [torch.cat(same).numpy() for same in zip(*parts, strict=True)]

    def call(self, x: Arrays) -> Any:
        self.model.eval()
        with torch.inference_mode():
            return [a.numpy() for a in self._outputs([_tensor(a) for a in x])]

    @torch.no_grad()
    def set_weights(self, weights: Arrays) -> None:
        left = iter([torch.from_numpy(np.array(w)) for w in weights])
        for module in self.model.modules():
            _take(module, left)
        if list(left):
            raise ValueError(f"{self.name}: weights are left over")

    def save(self, folder: Path) -> None:
        torch.save(self.model.state_dict(), folder / "model.pt")

    def load(self, folder: Path) -> None:
        self._take_over(MODELS[self.name][0]())
        self.model.load_state_dict(torch.load(folder / "model.pt"))


def _tensor(a: np.ndarray) -> torch.Tensor:
    """Convert to a tensor with the channels on axis 1, in channels-last memory format."""
    tensor = torch.from_numpy(a)
    if a.ndim == 4:
        return tensor.permute(0, 3, 1, 2)
    return tensor.mT.contiguous() if a.ndim == 3 else tensor


def _target(a: np.ndarray) -> torch.Tensor:
    if np.issubdtype(a.dtype, np.integer):
        return torch.from_numpy(a.astype("int64"))
    return _tensor(a)


def _take(module: nn.Module, left: Any) -> None:
    """Set the weights of one module from the next of Keras's arrays."""
    if isinstance(module, nn.MultiheadAttention):
        parts = [next(left) for _ in range(6)]  # q, k, v: (64, heads, size) and (heads, size)
        module.in_proj_weight.copy_(torch.cat([w.reshape(64, 64).T for w in parts[::2]]))
        module.in_proj_bias.copy_(torch.cat([b.flatten() for b in parts[1::2]]))
        module.out_proj.weight.copy_(next(left).reshape(64, 64).T)
        module.out_proj.bias.copy_(next(left))
    elif isinstance(module, nn.Linear) and not isinstance(
        module,
        nn.modules.linear.NonDynamicallyQuantizableLinear,  # inside MultiheadAttention
    ):
        module.weight.copy_(next(left).T)
        module.bias.copy_(next(left))
    elif isinstance(module, nn.Embedding):
        module.weight.copy_(next(left))
    elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)):
        kernel = next(left)
        if isinstance(module, nn.Conv2d) and module.groups > 1:  # (h, w, channels, 1)
            kernel = kernel.permute(2, 3, 0, 1)
        else:
            kernel = kernel.permute(-1, -2, *range(kernel.ndim - 2))
        module.weight.copy_(kernel)
        if module.bias is not None:
            module.bias.copy_(next(left))
    elif isinstance(module, nn.BatchNorm2d):
        for own in (module.weight, module.bias, module.running_mean, module.running_var):
            own.copy_(next(left))
    elif isinstance(module, nn.LayerNorm):
        module.weight.copy_(next(left))
        module.bias.copy_(next(left))
    elif isinstance(module, (nn.LSTM, nn.GRU)):
        _take_recurrent(module, left)


def _take_recurrent(module: nn.RNNBase, left: Any) -> None:
    gates = math.prod(module.weight_hh_l0.shape) // module.hidden_size**2
    order = [0, 1, 2, 3] if gates == 4 else [1, 0, 2]  # GRU: Keras has z, r, h; PyTorch r, z, n

    def sorted_gates(w: torch.Tensor) -> torch.Tensor:
        parts = w.chunk(gates, -1)
        return torch.cat([parts[i] for i in order], -1)

    for layer in range(module.num_layers):
        own = [getattr(module, f"{n}_l{layer}") for n in ("weight_ih", "weight_hh", "bias_ih")]
        own[0].copy_(sorted_gates(next(left)).T)
        own[1].copy_(sorted_gates(next(left)).T)
        bias = sorted_gates(next(left))
        own[2].copy_(bias if bias.ndim == 1 else bias[0])
        if bias.ndim == 2:
            getattr(module, f"bias_hh_l{layer}").copy_(bias[1])
