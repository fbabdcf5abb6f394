"""Summaries as a user sees them: whole texts, at several widths."""

import io
import re
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from lamina import ops
from lamina.core import naming
from lamina.core.fields import field
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, UnknownNameError
from lamina.layers import Activation, Dense, Embedding, Input, Layer
from lamina.models import Model, Sequential
from lamina.visualization import print_summary, summarize


class Split(Layer):
    """Two tensors from one."""

    units: int = field(5)

    def __post_init__(self):
        super().__post_init__()
        self.dense = Dense(self.units)

    def call(self, inputs):
        y = self.dense(inputs)
        return y, y[:, 0]


class Statistics(Layer):
    """A weight that no optimizer changes, besides one that it does."""

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "ones")
        self.mean = self.add_weight((input_shape[-1],), "zeros", trainable=False)

    def call(self, inputs):
        return inputs * self.scale.value + self.mean.value


@pytest.fixture(autouse=True)
def _fresh_names():
    naming.reset()


@pytest.fixture
def mlp():
    x = inputs = Input((784,))
    for _ in range(2):
        x = Dense(64, activation="relu")(x)
    return Model(inputs, Dense(10)(x), name="mlp")


@pytest.fixture
def branching():
    """Shared layer, ops, several outputs, a nested model, a named size."""
    text, image = Input(("time", 8), name="text"), Input((4,), name="image")
    steps, state = Split(name="split")(text)
    shared = Dense(5, name="shared")
    inner_input = Input((5,), name="inner_input")
    hidden = Dense(7, name="hidden")(inner_input)
    inner = Model(inner_input, Dense(3, name="last")(hidden), name="inner")
    both = shared(image) + state
    return Model(
        {"text": text, "image": image},
        {"scores": inner(both), "steps": shared(ops.multiply(steps[:, 0, :4], 2.0))},
        name="branching",
    )


def text(model, **options):
    return str(summarize(model, **{"line_length": 80, **options}))


def shrunk(model, **options):
    """As wide as the text asks for."""
    console = Console(file=io.StringIO(), width=200, color_system=None)
    with console.capture() as capture:
        console.print(summarize(model, **options))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def golden(expected):
    return expected.strip("\n")


# ---- whole texts -------------------------------------------------------------------------------


def test_a_chain_needs_no_column_of_connections(mlp):
    assert shrunk(mlp) == golden("""
Model: "mlp"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ Layer (type)             ┃ Output Shape ┃ Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ input_layer (InputLayer) │ (None, 784)  │       0 │
├──────────────────────────┼──────────────┼─────────┤
│ dense (Dense)            │ (None, 64)   │  50,240 │
├──────────────────────────┼──────────────┼─────────┤
│ dense_1 (Dense)          │ (None, 64)   │   4,160 │
├──────────────────────────┼──────────────┼─────────┤
│ dense_2 (Dense)          │ (None, 10)   │     650 │
└──────────────────────────┴──────────────┴─────────┘
 Total params: 55,050 (215.04 KB)
 Trainable params: 55,050 (215.04 KB)
 Non-trainable params: 0 (0.00 B)
""")


GOLDEN = {}
