"""What is compiled: the communication, compared with shardings written by hand in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import lamina as keras
from lamina import distribution as dist
from lamina import layers
from lamina.execution.analysis import collectives
from tests.distribution.models import mlp

pytestmark = pytest.mark.skipif(len(jax.devices()) < 8, reason="needs eight devices")


def _batch(x, y):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (x, y, None))


def test_data_parallel_training_sums_gradients_only():
    model, (x, y) = mlp()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, distribution="data")
    found = model.analyze_step(_batch(x[:16], y[:16])).collectives
    assert set(found) == {"all-reduce"}
    weights = 4 * model.count_params()
    assert weights <= found["all-reduce"][1] <= weights + 64


def test_the_summary_shows_layouts():
    model, (x, y) = mlp()
    model.compile("adam", "mse", distribution=dist.Sharded(
        dist.DeviceMesh((8,), ["batch"]), fsdp_axis="batch"))  # fmt: skip
    lines: list[str] = []
    model.summary(show_sharding=True, print_fn=lines.append, line_length=120)
    assert "kernel ('batch', None)" in lines[0]
    assert "512.00 B" not in lines[0]
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  distribution="data")  # fmt: skip
    model.fit(x, y, verbose=0)
    model.summary(show_sharding=True, print_fn=lines.append)
    assert "Communication per step: " in lines[1]
