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


# ---- a transformer by hand -----------------------------------------------------------------------

WIDTH, HEADS, HIDDEN, WORDS, CLASSES = 32, 4, 64, 40, 4


def _block():
    x = keras.Input((8,), dtype="int32")
    y = layers.Embedding(WORDS, WIDTH, name="tokens")(x)
    z = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, use_bias=False, name="attention")
    y = y + z(y, y)
    z = layers.Dense(HIDDEN, activation="relu", use_bias=False, name="up")(y)
    y = y + layers.Dense(WIDTH, use_bias=False, name="down")(z)
    return keras.Model(x, layers.Dense(CLASSES, use_bias=False, name="out")(y))


def _by_hand(specs, mesh):
    """The same step, with shardings for ``jax.jit`` instead of a distribution."""
    shapes = {
        "tokens/embeddings": (WORDS, WIDTH), "up/kernel": (WIDTH, HIDDEN),
        "down/kernel": (HIDDEN, WIDTH), "out/kernel": (WIDTH, CLASSES),
        "attention/attention_output/kernel": (HEADS, WIDTH // HEADS, WIDTH),
        **{f"attention/{r}/kernel": (WIDTH, HEADS, WIDTH // HEADS)
           for r in ("query", "key", "value")},
    }  # fmt: skip

    def place(spec):
        return NamedSharding(mesh, spec)

    def gather(w, address):
        # Fully sharded weights are gathered for use, and their gradients scattered.
        stored, used = (place(s) for s in specs[address])
        if stored == used:
            return w

        @jax.custom_vjp
        def gathered(w):
            return jax.lax.with_sharding_constraint(w, used)

        def backward(_, g):
            g = jax.lax.with_sharding_constraint(g, used)
            return (jax.lax.with_sharding_constraint(g, stored),)

        gathered.defvjp(lambda w: (gathered(w), None), backward)
        return gathered(w)

    def loss_of(weights, x, y):
        w = {a: gather(v, a) for a, v in weights.items()}
        h = jnp.take(w["tokens/embeddings"], x, axis=0)
        q, k, v = (jnp.einsum("bti,ihd->bthd", h, w[f"attention/{r}/kernel"])
                   for r in ("query", "key", "value"))  # fmt: skip
        scores = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / (WIDTH // HEADS) ** 0.5)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", scores, v)
        h = h + jnp.einsum("bthd,hdo->bto", mixed, w["attention/attention_output/kernel"])
        h = h + jax.nn.relu(h @ w["up/kernel"]) @ w["down/kernel"]
        losses = jnp.mean((h @ w["out/kernel"] - y) ** 2, axis=-1)  # of each sample and position
        return jnp.mean(losses)

    def step(weights, total, count, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
        new = jax.tree.map(lambda w, g: w - 0.01 * g, weights, gradients)
        new = {a: jax.lax.with_sharding_constraint(w, place(specs[a][0])) for a, w in new.items()}
        return new, total + loss * x.shape[0], count + x.shape[0]

    def struct(shape, spec, dtype="float32"):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=place(spec))

    batch, none = PartitionSpec("batch"), PartitionSpec()
    weights = {a: struct(s, specs[a][0]) for a, s in shapes.items()}
    lowered = jax.jit(step, donate_argnums=0).lower(
        weights, struct((), none), struct((), none),
        struct((16, 8), batch, "int32"), struct((16, 8, CLASSES), batch),
    )  # fmt: skip
    return collectives(lowered.compile().as_text())


@pytest.mark.parametrize("layout", ["data", "fsdp", "tensor", "fsdp+tensor"])
def test_communication_is_that_of_a_transformer_by_hand(layout):
    model = _block()
    shape = (4, 2) if "tensor" in layout else (8,)
    mesh = dist.DeviceMesh(shape, ["batch", "model"][: len(shape)])
    rules = dist.tensor_rules(model, parts=2) if "tensor" in layout else ()
    by = dist.Sharded(mesh, rules, fsdp_axis="batch" if "fsdp" in layout else None, min_size=128)
    model.compile(keras.optimizers.SGD(0.01), "mse", distribution=by)
    batch = (np.ones((16, 8), "int32"), np.ones((16, 8, CLASSES), "float32"))
    found = model.analyze_step(_batch(*batch)).collectives
    layouts = by.layouts({a: v for a, (v, _) in model.named_variables().items()})
    specs = {a: (x.stored.spec, x.used.spec) for a, x in layouts.items()}
    expected = _by_hand(specs, mesh.backend_mesh)
    assert {k: n for k, (n, _) in found.items()} == {k: n for k, (n, _) in expected.items()}
    for kind, (_, size) in expected.items():
        assert abs(found[kind][1] - size) <= 64, kind


def test_a_variable_keeps_the_layout_it_was_created_with():
    mesh = dist.DeviceMesh((8,), ["batch"])

    class Scaled(layers.Layer):
        def build(self, shape):
            self.scale = keras.Variable(
                np.arange(shape[-1]) + 1.0, layout=dist.TensorLayout(("batch",), mesh)
            )

        def call(self, x):
            return x * self.scale

    x = np.ones((16, 8), "float32")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, Scaled()(inputs))
    model.compile("sgd", "mse", distribution=dist.DataParallel(mesh))
    model.fit(x, 0 * x, verbose=0)
    value = model.layers[1].scale.value
    assert [s.data.shape for s in value.addressable_shards] == [(1,)] * 8
    assert (value < np.arange(8) + 1).all()
