"""The workloads: names of the models, their synthetic data, and training settings.

Each model (architecture, loss, optimizer) is implemented once per family of frameworks, in
``benchmarks/families``; each run checks that all implementations compute the same function.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

Arrays = list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Workload:
    """One model and its data.

    Attributes:
        title: Its name in the tables.
        kind: ``"train"``, ``"infer"`` (only predictions are timed), ``"files"`` (building, saving
            and loading), ``"calls"`` (single calls are timed), ``"devices"`` (several devices, of
            Lamina alone) or ``"data"`` (a data pipeline is).
        inputs: Function that creates a number of samples of each input.
        targets: Function that creates a number of samples of each target.
        batch: Batch size.
        steps: Steps per epoch; a peer that is too slow gets fewer samples.
        many: Number of samples of the large prediction; 0 if it is not timed.
        depth: Number of dense layers of a model whose calls are timed.
        family: The only family of frameworks that has the model; None if all have it.
    """

    title: str
    kind: str
    inputs: Callable[[np.random.Generator, int], Arrays] = lambda _, __: []
    targets: Callable[[np.random.Generator, int], Arrays] = lambda _, __: []
    batch: int = 1
    steps: int = 1
    many: int = 0
    depth: int = 0
    family: str | None = None

    def data(self) -> tuple[Arrays, Arrays]:
        """The samples of an epoch, the same for every peer."""
        generator, size = np.random.default_rng(0), max(self.batch * self.steps, self.many)
        return self.inputs(generator, size), self.targets(generator, size)


def _images(*shape: int) -> Callable[[np.random.Generator, int], Arrays]:
    return lambda generator, n: [generator.random((n, *shape), "float32")]


def _tokens(vocabulary: int, length: int) -> Callable[[np.random.Generator, int], Arrays]:
    return lambda generator, n: [generator.integers(0, vocabulary, (n, length), "int32")]


def _classes(count: int, *shape: int) -> Callable[[np.random.Generator, int], Arrays]:
    return lambda generator, n: [generator.integers(0, count, (n, *shape), "int32")]


def _one_hot(count: int) -> Callable[[np.random.Generator, int], Arrays]:
    return lambda generator, n: [np.eye(count, dtype="float32")[generator.integers(0, count, n)]]


def _ticket(generator: np.random.Generator, n: int) -> Arrays:
    title, body = (generator.integers(0, 10_000, (n, t), "int32") for t in (10, 100))
    return [title, body, generator.integers(0, 2, (n, 12)).astype("float32")]


def _ticket_targets(generator: np.random.Generator, n: int) -> Arrays:
    return [generator.random((n, 1), "float32"), *_one_hot(4)(generator, n)]


WORKLOADS = {
    # the models of the guide to the functional API
    "mlp": Workload(
        "MLP 784-64-64-10", "train", _images(784), _classes(10), batch=64, steps=1500, many=48_000
    ),
    "autoencoder": Workload(
        "autoencoder 28x28", "train", _images(28, 28, 1), _images(28, 28, 1), batch=64, steps=100
    ),
    "tickets": Workload(
        "tickets (2 LSTMs)", "train", _ticket, _ticket_targets, batch=32, steps=200
    ),
    "resnet": Workload(
        "toy ResNet 32x32", "train", _images(32, 32, 3), _one_hot(10), batch=64, steps=50
    ),
    # other common models
    "transformer": Workload(
        "transformer, 128 tokens", "train", _tokens(10_000, 128), _classes(4), batch=32, steps=80
    ),
    "gru": Workload(
        "GRU, 80 tokens", "train", _tokens(10_000, 80), _classes(2), batch=32, steps=150
    ),
    "conv1d": Workload(
        "1-D CNN, 128 steps", "train", _images(128, 9), _classes(6), batch=64, steps=150
    ),
    "mobilenet": Workload(
        "depthwise CNN 33x33", "train", _images(33, 33, 3), _classes(10), batch=32, steps=50
    ),
    "unet": Workload(
        "U-Net 64x64", "train", _images(64, 64, 3), _classes(3, 64, 64), batch=8, steps=50
    ),
    "vgg19": Workload("VGG19 224x224", "infer", _images(224, 224, 3)),
    # published architectures, as `applications` builds them; only Keras's API has them ready
    **{
        name: Workload(
            f"{title} 224x224", "train", _images(224, 224, 3), _classes(10), batch=8, steps=8,
            family="with_keras",
        ) for name, title in (
            ("resnet50", "ResNet50"), ("mobilenetv2", "MobileNetV2"),
            ("efficientnetb0", "EfficientNetB0"),
        )
    },
    "deep": Workload("200 Dense layers", "train", _images(8), _images(8), batch=64, steps=1000),
    "blocks": Workload("200 layers, in files", "files", _images(32, 32, 64)),
    "devices": Workload("several devices", "devices", _images(1)),
    # data pipelines, see benchmarks/families/pipelines.py
    "images": Workload("JPEGs from a folder, augmented", "data", family="with_keras"),
    "texts": Workload("`TextVectorization` on one core", "data", family="with_keras"),
    # the overhead of calls with almost no computation
    **{
        f"mlp{depth}": Workload(
            f"{depth} Dense layers of 64", "calls", _images(32), _classes(10), batch=32, steps=50,
            depth=depth,
        ) for depth in (2, 30)
    },
}  # fmt: skip

CALLS = {
    "predict": "`predict` of one sample",
    "predict_on_batch": "`predict_on_batch` of 32 samples",
    "fit": "`fit` of one batch",
    "fit_fixed": "`fit`: fixed cost of a call (at least 0.01)",
    "train_on_batch": "`train_on_batch`",
    "evaluate": "`evaluate` of one batch",
    "toggle": "`trainable` of a layer off, `train_on_batch`, on again",
    "gan": "GAN: critic on, its step, critic off, the step of both",
}
"""The calls to time, with their names in the tables."""

DEVICES = {
    "data_on_one": ('one device: time of `fit` with `"data"`, divided by that without', False),
    "weak_one": ("transformer, one process on a core: steps per second", True),
    "weak_two": ("two processes on a core each, twice the samples: steps per second", True),
    "weak_share": ("the second divided by the first", True),
    "host_hand": ("8 devices, thread that dispatches: ms per step of a loop in JAX", False),
    "host_fit": ("the same: ms per step of `fit`", False),
    "host_steps": ("the same: ms per step of `fit` with a callback after each", False),
}
"""What is measured on several devices: its name in the tables, and whether more is better."""
