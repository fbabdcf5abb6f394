"""The models, losses and optimizers of ``with_torch``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


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
        for lstm in (self.read_title, self.read_body):  # a single bias, as in the others
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
    """Flatten in the order of the other frameworks, so that weights can be exchanged."""

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
