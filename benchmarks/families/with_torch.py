"""PyTorch as its users write it; images have their channels last, the fast layout on CPUs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.workloads import Arrays, Workload


class MLP(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        )


class Autoencoder(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(3),
            nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 16, 3), nn.ReLU(),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Unflatten(1, (1, 4, 4)),
            nn.ConvTranspose2d(1, 16, 3), nn.ReLU(), nn.ConvTranspose2d(16, 32, 3), nn.ReLU(),
            nn.Upsample(scale_factor=3), nn.ConvTranspose2d(32, 16, 3), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 3), nn.ReLU(),
        )  # fmt: skip


class Tickets(nn.Module):
    def __init__(self):
        super().__init__()
        self.title, self.body = nn.Embedding(10_000, 64), nn.Embedding(10_000, 64)
        self.read_title = nn.LSTM(64, 128, batch_first=True)
        self.read_body = nn.LSTM(64, 32, batch_first=True)
        for lstm in (self.read_title, self.read_body):  # one bias is enough
            nn.init.zeros_(lstm.bias_hh_l0).requires_grad_(False)
        self.priority, self.department = nn.Linear(172, 1), nn.Linear(172, 4)

    def forward(self, title, body, tags):
        _, (title, _) = self.read_title(self.title(title))
        _, (body, _) = self.read_body(self.body(body))
        x = torch.cat([title[0], body[0], tags], 1)
        return self.priority(x), self.department(x)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(3)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
                nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
            ) for _ in range(2)
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Conv2d(64, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10),
        )  # fmt: skip

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x) + x
        return self.head(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_attention = nn.LayerNorm(64)
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.drop_attention = nn.Dropout(0.1)
        self.norm_dense = nn.LayerNorm(64)
        self.dense = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
        self.drop_dense = nn.Dropout(0.1)

    def forward(self, x):
        y = self.norm_attention(x)
        y, _ = self.attention(y, y, y, need_weights=False)
        x = x + self.drop_attention(y)
        return x + self.drop_dense(self.dense(self.norm_dense(x)))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(10_000, 64), nn.Embedding(128, 64)
        self.blocks = nn.Sequential(Encoder(), Encoder())
        self.head = nn.Linear(64, 4)

    def forward(self, x):
        x = self.blocks(self.words(x) + self.positions.weight)
        return self.head(x.mean(1))


class GRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10_000, 64)
        self.read = nn.GRU(64, 64, num_layers=2, batch_first=True)
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        return self.head(self.read(self.words(x))[1][-1])


class Conv1D(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv1d(9, 64, 5), nn.ReLU(), nn.Conv1d(64, 64, 5), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(64, 128, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
            nn.Linear(128, 6),
        )  # fmt: skip


class MobileNet(nn.Sequential):
    def __init__(self):
        def normalized(*args, **kwargs):
            conv = nn.Conv2d(*args, **kwargs, bias=False)
            return conv, nn.BatchNorm2d(conv.out_channels, eps=1e-3), nn.ReLU()

        layers, channels = [*normalized(3, 32, 3, padding=1)], 32
        for filters, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
            layers += normalized(channels, channels, 3, stride, padding=1, groups=channels)
            layers += normalized(channels, filters, 1)
            channels = filters
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


class Twice(nn.Sequential):
    def __init__(self, channels, filters):
        super().__init__(
            nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU(),
        )  # fmt: skip


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([Twice(3, 16), Twice(16, 32)])
        self.bottom = Twice(32, 64)
        self.up = nn.ModuleList(
            nn.ModuleList([nn.ConvTranspose2d(2 * n, n, 2, 2), Twice(2 * n, n)]) for n in (32, 16)
        )
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, x):
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottom(x)
        for up, twice in self.up:
            x = twice(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


class VGG19(nn.Sequential):
    def __init__(self):
        layers, channels = [], 3
        for filters, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
            for _ in range(count):
                layers += nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()
                channels = filters
            layers.append(nn.MaxPool2d(2))
        super().__init__(
            *layers, ChannelsLast(), nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(),
            nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000), nn.Softmax(1),
        )  # fmt: skip


class ChannelsLast(nn.Module):
    """The order in which the other frameworks flatten, so that weights can be exchanged."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1)


class Deep(nn.Sequential):
    def __init__(self):
        super().__init__(*(nn.Linear(8, 8) for _ in range(200)))


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64, eps=1e-3), nn.ReLU()
            ) for _ in range(50)
        )  # fmt: skip

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


def _tickets_loss(outputs, targets):
    (priority, department), (y_priority, y_department) = outputs, targets
    return (
        F.binary_cross_entropy_with_logits(priority, y_priority)
        + 0.2 * F.cross_entropy(department, y_department)
    )  # fmt: skip


def _cross_entropy(outputs, targets):
    return F.cross_entropy(outputs[0], targets[0])


def _squared_error(outputs, targets):
    return F.mse_loss(outputs[0], targets[0])


def _rmsprop(parameters):
    return torch.optim.RMSprop(parameters, lr=1e-3, alpha=0.9, eps=1e-7)


def _adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3, eps=1e-7, fused=True)


# the model, its loss, its optimizer, whether accuracy is reported
MODELS: dict[str, tuple[Any, Any, Any, bool]] = {
    "mlp": (MLP, _cross_entropy, _rmsprop, True),
    "autoencoder": (Autoencoder, _squared_error, _adam, False),
    "tickets": (Tickets, _tickets_loss, _rmsprop, False),
    "resnet": (ResNet, _cross_entropy, _rmsprop, True),
    "transformer": (Transformer, _cross_entropy, _adam, True),
    "gru": (GRU, _cross_entropy, _adam, True),
    "conv1d": (Conv1D, _cross_entropy, _adam, True),
    "mobilenet": (
        MobileNet, _cross_entropy,
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, fused=True), True,
    ),
    "unet": (UNet, _cross_entropy, _adam, False),
    "vgg19": (VGG19, None, None, False),
    "deep": (Deep, _squared_error, lambda p: torch.optim.SGD(p, lr=0.01, fused=True), False),
    "blocks": (Blocks, None, None, False),
}  # fmt: skip


class Session:
    """See :class:`benchmarks.families.Session`.

    Args:
        compiled: train and predict through ``torch.compile``.
    """

    def __init__(self, compiled: bool = False) -> None:
        self.compiled = compiled

    def build(self, name: str, workload: Workload, data: tuple[Arrays, Arrays]) -> None:
        self.name, self.batch = name, workload.batch
        make, loss, optimizer, self.accuracy = MODELS[name]
        self._hold(make())
        self.x = [_tensor(a) for a in data[0]]
        self.y = [_target(a) for a in data[1]]
        if loss is None:
            return
        self.optimizer = optimizer([p for p in self.model.parameters() if p.requires_grad])

        def forward(x, y):
            outputs = self.model(*x)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            return loss(outputs, y), outputs

        self.forward = torch.compile(forward) if self.compiled else forward

    def _hold(self, model: nn.Module) -> None:
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
        self._hold(MODELS[self.name][0]())
        self.model.load_state_dict(torch.load(folder / "model.pt"))


def _tensor(a: np.ndarray) -> torch.Tensor:
    """The tensor with its channels second in meaning; in memory an image's stay last."""
    tensor = torch.from_numpy(a)
    if a.ndim == 4:
        return tensor.permute(0, 3, 1, 2)
    return tensor.mT.contiguous() if a.ndim == 3 else tensor


def _target(a: np.ndarray) -> torch.Tensor:
    if np.issubdtype(a.dtype, np.integer):
        return torch.from_numpy(a.astype("int64"))
    return _tensor(a)


def _take(module: nn.Module, left: Any) -> None:
    """Set one module's own weights from the next arrays of Keras's."""
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
