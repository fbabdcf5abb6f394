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
from lamina.ops.lowering.dropout import keep
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


@pytest.mark.parametrize("shape", [(16, 32), (16, 8, 32), (16, 4, 4, 3), (16, 1, 1), (16, 7)])
def test_masks_of_dropout_are_drawn_without_communication(shape):
    split = NamedSharding(dist.DeviceMesh((8,), ["batch"]).backend_mesh, PartitionSpec("batch"))
    key = jax.random.key(0)

    def drop(x):
        return jnp.where(keep(key, 0.3, shape), x, 0)

    x = jax.ShapeDtypeStruct(shape, "float32", sharding=split)
    assert not collectives(jax.jit(drop).lower(x).compile().as_text())
    data = jax.device_put(np.ones(shape, "float32"), split)
    np.testing.assert_array_equal(jax.jit(drop)(data), drop(np.ones(shape, "float32")))


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

WIDTH, HEADS, HIDDEN, WORDS, CLASSES, BLOCKS = 32, 4, 64, 40, 4, 2
HEAD = WIDTH // HEADS
RATE, BETA_1, BETA_2, EPSILON = 0.01, 0.9, 0.999, 1e-7


def _transformer():
    x = keras.Input((8,), dtype="int32")
    y = layers.Embedding(WORDS, WIDTH, name="tokens")(x)
    for i in range(BLOCKS):
        z = layers.LayerNormalization(name=f"before{i}")(y)
        y = y + layers.MultiHeadAttention(HEADS, HEAD, name=f"attention{i}")(z, z)
        z = layers.LayerNormalization(name=f"after{i}")(y)
        z = layers.Dense(HIDDEN, activation="relu", name=f"up{i}")(z)
        y = y + layers.Dense(WIDTH, name=f"down{i}")(z)
    return keras.Model(x, layers.Dense(CLASSES, name="out")(y))


def _logits(w, x):
    """The same function of the weights by address."""

    def product(equation, x, name):
        return jnp.einsum(equation, x, w[f"{name}/kernel"]) + w[f"{name}/bias"]

    def normal(x, name):
        centered = x - x.mean(-1, keepdims=True)
        scaled = centered / jnp.sqrt((centered**2).mean(-1, keepdims=True) + 1e-3)
        return scaled * w[f"{name}/gamma"] + w[f"{name}/beta"]

    h = jnp.take(w["tokens/embeddings"], x, axis=0)
    for i in range(BLOCKS):
        z, name = normal(h, f"before{i}"), f"attention{i}"
        q, k, v = (product("bti,ihd->bthd", z, f"{name}/{r}") for r in ("query", "key", "value"))
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / HEAD**0.5)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        h = h + product("bthd,hdo->bto", mixed, f"{name}/attention_output")
        z = jax.nn.relu(product("bti,io->bto", normal(h, f"after{i}"), f"up{i}"))
        h = h + product("bti,io->bto", z, f"down{i}")
    return product("bti,io->bto", h, "out")


def _step_by_hand(layouts):
    """A step of Adam, for ``jax.jit`` with the shardings of ``layouts`` by address."""

    def gather(w, address):
        # Fully sharded weights are gathered for use, and their gradients scattered.
        stored, used = layouts[address]
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
        outputs = _logits({a: gather(v, a) for a, v in weights.items()}, x)
        return jnp.mean(jnp.mean((outputs - y) ** 2, axis=-1))

    def step(weights, means, squares, t, total, count, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
        t = t + 1
        rate = RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)

        def stored(tree):
            return {a: jax.lax.with_sharding_constraint(v, layouts[a][0]) for a, v in tree.items()}

        means = jax.tree.map(lambda m, g: m + (1 - BETA_1) * (g - m), means, gradients)
        squares = jax.tree.map(lambda s, g: s + (1 - BETA_2) * (g * g - s), squares, gradients)
        new = jax.tree.map(
            lambda w, m, s: w - rate * m / (jnp.sqrt(s) + EPSILON), weights, means, squares
        )
        new, means, squares = map(stored, (new, means, squares))
        return new, means, squares, t, total + loss * x.shape[0], count + x.shape[0]

    return jax.jit(step, donate_argnums=(0, 1, 2))


def _compiled_by_hand(layouts, shapes, mesh):
    def struct(shape, sharding, dtype="float32"):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    copied, split = (NamedSharding(mesh, PartitionSpec(*a)) for a in ([], ["batch"]))
    weights = {a: struct(s, layouts[a][0]) for a, s in shapes.items()}
    lowered = _step_by_hand(layouts).lower(
        weights, weights, weights, *[struct((), copied)] * 3,
        struct((16, 8), split, "int32"), struct((16, 8, CLASSES), split),
    )  # fmt: skip
    return lowered.compile().as_text()


def _distributed(layout):
    model = _transformer()
    shape = (4, 2) if "tensor" in layout else (8,)
    mesh = dist.DeviceMesh(shape, ["batch", "model"][: len(shape)])
    rules = dist.tensor_rules(model, parts=2) if "tensor" in layout else ()
    by = dist.Sharded(mesh, rules, fsdp_axis="batch" if "fsdp" in layout else None, min_size=128)
    model.compile(keras.optimizers.Adam(RATE), "mse", distribution=by)
    named = {a: v for a, (v, _) in model.named_variables().items()}
    layouts = {a: (x.stored, x.used) for a, x in by.layouts(named).items()}
    return model, layouts, mesh.backend_mesh


@pytest.mark.parametrize("layout", ["data", "fsdp", "tensor", "fsdp+tensor"])
def test_communication_is_that_of_a_transformer_by_hand(layout):
    model, layouts, mesh = _distributed(layout)
    batch = (np.ones((16, 8), "int32"), np.ones((16, 8, CLASSES), "float32"))
    found = model.analyze_step(_batch(*batch)).collectives
    shapes = {a: v.shape for a, (v, _) in model.named_variables().items()}
    text = _compiled_by_hand(layouts, shapes, mesh)
    expected = collectives(text)
    assert {k: n for k, (n, _) in found.items()} == {k: n for k, (n, _) in expected.items()}
    for kind, (count, size) in expected.items():
        assert abs(found[kind][1] - size) <= 64, kind
        assert text.count(f" {kind}(") + text.count(f" {kind}-start(") == count
    # Each weight that is split over the data axis is gathered once, and nothing else is.
    gathers = sum(stored != used for stored, used in layouts.values())
    assert found.get("all-gather", (0, 0))[0] == gathers
    assert set(found) == {"all-reduce", *(["all-gather"] if gathers else [])}


def test_the_transformer_by_hand_is_the_same():
    """Otherwise the comparison above would say nothing."""
    model, layouts, mesh = _distributed("fsdp+tensor")
    rng = np.random.default_rng(0)
    x = rng.integers(0, WORDS, (16, 8)).astype("int32")
    y = rng.normal(size=(16, 8, CLASSES)).astype("float32")
    split = NamedSharding(mesh, PartitionSpec("batch"))
    named = {a: v.numpy() for a, (v, _) in model.named_variables().items()}

    def zeros():
        return {a: jax.device_put(np.zeros_like(v), layouts[a][0]) for a, v in named.items()}

    weights = {a: jax.device_put(v, layouts[a][0]) for a, v in named.items()}
    counters = jax.device_put((0.0, 0.0, 0.0), NamedSharding(mesh, PartitionSpec()))
    state = (weights, zeros(), zeros(), *counters)
    step = _step_by_hand(layouts)
    for _ in range(3):
        state = step(*state, *jax.device_put((x, y), split))
    losses = model.fit(x, y, batch_size=16, epochs=3, verbose=0).history["loss"]
    np.testing.assert_allclose(float(state[4]) / float(state[5]), np.mean(losses), rtol=1e-5)
    for address, (variable, _) in model.named_variables().items():
        if address.endswith("key/bias"):  # softmax cancels it: its gradient is rounding alone
            continue
        np.testing.assert_allclose(state[0][address], variable, rtol=1e-3, atol=1e-4)


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
