"""GPTQ and AWQ: Keras's numbers, files that go both ways, and what is refused."""

import copy
import pickle
from contextlib import contextmanager

import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras.src.quantizers import awq_core, gptq_core
from keras.src.quantizers import gptq as keras_gptq

import lamina
from lamina import layers, quantizers
from lamina.errors import ArgumentError
from lamina.layers.state import flatten_layers
from lamina.quantizers import calibration
from lamina.saving import load_model

LENGTH, WIDTH = 30, 6
# One sequence: Keras begins the others at positions that differ from process to process.
TOKENS = np.random.default_rng(0).integers(0, 11, LENGTH)
ONE = {"num_samples": 1, "sequence_length": LENGTH}
CONFIGS = {
    "gptq_groups": ("GPTQ", {"group_size": 4}),
    "gptq_symmetric_2": ("GPTQ", {"weight_bits": 2, "symmetric": True, "group_size": -1}),
    "gptq_tensor_8": ("GPTQ", {"weight_bits": 8, "per_channel": False, "hessian_damping": 0.1}),
    "awq_groups": ("AWQ", {"group_size": 4}),
    "awq_channels": ("AWQ", {"group_size": -1, "num_grid_points": 7}),
}
NAMES = ("dense", "heads", "joined")


def made(attention=False):
    """A stack of blocks with weights that are not the initial ones."""
    ids = lamina.Input((LENGTH,), dtype="int32", name="ids")
    x = layers.Embedding(11, WIDTH, name="table")(ids)
    for block, parts in {
        "first": [layers.Dense(WIDTH, activation="tanh", name="dense")],
        "second": [layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de", name="heads"),
                   layers.EinsumDense("abcd,cde->abe", (None, WIDTH), name="joined")],
    }.items():  # fmt: skip
        inside = y = lamina.Input((LENGTH, WIDTH))
        if attention and block == "first":
            y = layers.MultiHeadAttention(2, 3, name="attention")(y, y)
        for part in parts:
            y = part(y)
        x = lamina.Model(inside, layers.add([inside, y]), name=block)(x)
    model = lamina.Model(ids, layers.Dense(5, name="head")(x), name="stack")
    rng = np.random.default_rng(1)
    # Of both signs in each group: see `test_groups_of_one_sign`.
    model.set_weights([
        np.abs(rng.normal(size=w.shape)) * (-1.0) ** np.indices(w.shape).sum(0)
        for w in model.get_weights()
    ])  # fmt: skip
    return model


def quantize(model, library, name, data=(TOKENS,), **more):
    kind, arguments = CONFIGS[name]
    blocks = [model.get_layer(n) for n in ("first", "second")]
    structure = {"pre_block_layers": [model.get_layer("table")], "sequential_blocks": blocks}
    arguments = {**ONE, **arguments}
    if library is quantizers:
        arguments["quantization_layer_structure"] = structure
    else:  # a config with layers is part of their configs, which Keras could not save
        model.get_quantization_layer_structure = lambda mode: structure
    config = getattr(library, f"{kind}Config")(
        list(data), None if library is quantizers else str, **arguments
    )
    model.quantize(kind.lower(), config=config, **more)
    return model


def inner(model, name):
    found = model._flatten_layers() if isinstance(model, keras.Model) else flatten_layers(model)
    return next(x for x in found if x.name == name)


def inverse_factor(moments):
    """What Keras's loop over the columns needs in place of the inverse: see `gptq`."""
    inverse = np.linalg.inv(np.asarray(moments, "float64"))
    return jnp.asarray(np.linalg.cholesky(inverse).T.astype("float32"))


class Factored:
    inv = staticmethod(inverse_factor)


@contextmanager
def seeing(layers_by_name, found):
    """Show inputs to Keras's calibration, which waits at a method that quantized layers skip."""
    for name, layer in layers_by_name.items():
        seer = found[name]
        gptq = isinstance(seer, keras_gptq.GPTQ)
        see = seer.update_hessian_with_batch if gptq else seer.update_activation_magnitudes

        def watched(x, *args, layer=layer, rows=seer.rows, see=see, **kwargs):
            see(x.reshape(-1, rows))
            return type(layer).quantized_call(layer, x, *args, **kwargs)

        layer.quantized_call = watched
    yield
    for layer in layers_by_name.values():
        del layer.quantized_call


@pytest.fixture
def mended(monkeypatch):
    """Keras with the inputs, and the factor of the inverse, that its calibration overlooks."""
    monkeypatch.setattr(keras_gptq, "linalg", Factored)
    monkeypatch.setattr(gptq_core, "stream_hessians", seeing)
    monkeypatch.setattr(awq_core, "stream_activations", seeing)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    made().save(path)
    return path


X = np.stack([TOKENS, TOKENS[::-1]]).astype("int32")


@pytest.mark.parametrize("name", [
    n if n.endswith("groups") else pytest.param(n, marks=pytest.mark.long) for n in CONFIGS
])  # fmt: skip
def test_keras_s_numbers(name, file, tmp_path, mended):
    ours = quantize(load_model(file), quantizers, name)
    theirs = quantize(keras.models.load_model(file), keras.quantizers, name,
                      filters="dense$|heads|joined")  # fmt: skip
    for layer in NAMES:
        a, b = inner(ours, layer), inner(theirs, layer)
        assert a.dtype_policy.name == b.dtype_policy.name
        assert a.get_config()["dtype"]["config"] == b.get_config()["dtype"]["config"]
        np.testing.assert_array_equal(a.quantized_kernel.numpy(), b.quantized_kernel, layer)
        np.testing.assert_array_equal(a.kernel_zero.numpy(), b.kernel_zero)
        np.testing.assert_allclose(a.kernel_scale.numpy(), b.kernel_scale, rtol=1e-5)
        np.testing.assert_array_equal(np.asarray(a.kernel), np.asarray(b.kernel))
        assert a.variable_serialization_spec == b.variable_serialization_spec
        if name.startswith("awq"):
            np.testing.assert_allclose(a.awq_scales.numpy(), b.awq_scales, rtol=1e-5)
    assert ours.get_layer("head").quantization_mode is None
    expected = theirs.predict(X, verbose=0)
    np.testing.assert_allclose(ours.predict(X, verbose=0), expected, rtol=2e-5, atol=2e-5)
    exact = made().predict(X, verbose=0)
    assert np.abs(expected - exact).max() > 1e-4
    # Keras leaves the zero points out of its files, so that it cannot load them.
    ours.save(tmp_path / "ours.keras")
    for load in (load_model, keras.models.load_model):
        loaded = load(tmp_path / "ours.keras").predict(X, verbose=0)
        np.testing.assert_allclose(loaded, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("by_magnitude", [False, True])
@pytest.mark.parametrize("size", [-1, 16, 100, 200])
def test_outputs_change_less_than_after_rounding_to_the_nearest(size, by_magnitude):
    """Also with more rows than a block, and groups that are larger, or do not divide it."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 210)) @ (np.eye(210) + rng.normal(size=(210, 210)) / 8)
    x, w = jnp.asarray(x, "float32"), jnp.asarray(rng.normal(size=(3, 210)), "float32")

    def change(moments):
        found = calibration.gptq(w, moments, 3, size, by_magnitude=by_magnitude)
        assert found.scale.shape == (3, 1 if size == -1 else -(-210 // size))
        assert len(set(found.groups.tolist())) == found.scale.shape[1]
        groups = found.groups.astype(int)
        floats = (found.integers - found.zero[:, groups]) * found.scale[:, groups]
        return float(jnp.sum(((floats - w) @ x.T) ** 2))

    assert change(x.T @ x) < 0.6 * change(jnp.eye(210))


def test_groups_of_one_sign():
    """A range contains 0, whose integer fits into the bits; in Keras it overflows."""
    scale, zero = calibration.scales_of(jnp.array([[5.0, 6.0, -4.0, -6.0, 0.0, 0.0]]), 4, 2)
    assert zero[0, :2].tolist() == [0, 15]
    np.testing.assert_allclose(scale, [[6 / 15, 6 / 15, 2 / 15]], rtol=1e-6)
    _, middle = calibration.scales_of(jnp.array([[5.0, 6.0]]), 4, symmetric=True)
    assert middle.tolist() == [[8]]


def test_attention_in_a_block(tmp_path):
    model = made(attention=True)
    exact = model.predict(X, verbose=0)
    quantize(model, quantizers, "gptq_tensor_8")
    attention = inner(model, "attention")
    projections = [getattr(attention, f"{n}_dense") for n in ("query", "key", "value", "output")]
    assert {p.dtype_policy.name for p in projections} == {"gptq/8/128_from_float32"}
    assert [p.quantized_kernel.shape for p in projections] == [(6, 6)] * 4
    found = model.predict(X, verbose=0)
    assert 0 < np.abs(found - exact).max() < 0.1 * np.abs(exact).max()
    model.save(tmp_path / "model.keras")  # layers inside others have no configs of their own
    for same in (load_model(tmp_path / "model.keras"), copy.deepcopy(model),
                 pickle.loads(pickle.dumps(model))):  # fmt: skip
        np.testing.assert_array_equal(same.predict(X, verbose=0), found)
    with pytest.raises(ArgumentError, match="no layer to quantize to 'gptq'"):
        quantize(model, quantizers, "gptq_groups")


def test_the_structure_of_a_class_and_filters():
    class Stack(lamina.Model):
        def __init__(self):
            super().__init__()
            self.table = layers.Embedding(11, 4)
            self.a, self.b = layers.Dense(4, name="a"), layers.Dense(4, name="b")

        def call(self, ids):
            return self.b(self.a(self.table(ids)))

        def get_quantization_layer_structure(self, mode=None):
            asked.append(mode)
            return {"pre_block_layers": [self.table], "sequential_blocks": [self.a, self.b]}

    asked, model = [], Stack()
    model(X)
    read = []
    config = quantizers.AWQConfig(
        ["abc", "d"], lambda text: read.append(text) or [ord(c) % 11 for c in text], **ONE
    )
    model.quantize(config=config, filters="b")
    assert (asked, read) == (["awq"], ["abc", "d"])
    assert [x.quantization_mode for x in (model.a, model.b)] == [None, "awq"]
    model.quantize("gptq", config=quantizers.GPTQConfig(jnp.asarray(X), None, **ONE))
    assert [x.quantization_mode for x in (model.a, model.b)] == ["gptq", "awq"]
    theirs = keras.quantizers.GPTQConfig(None, None, **ONE).get_config()
    assert model.a.get_config()["quantization_config"]["config"] == theirs


def alone():
    layer = layers.Dense(3, name="d")
    layer.build((None, 4))
    return layer


def adapted():
    layer = alone()
    layer.enable_lora(2)
    return layer


def run_on(data, *blocks):
    structure = {"sequential_blocks": list(blocks)}
    made().quantize(config=G(data, None, quantization_layer_structure=structure))


G, A = quantizers.GPTQConfig, quantizers.AWQConfig
REFUSED = {
    "a dataset without a model": (
        lambda: alone().quantize(config=G([[1]], None)), "alone cannot use the `dataset`"),
    "no config": (
        lambda: alone().quantize("gptq"), r"such as\s+`GPTQConfig\(dataset, tokenizer\)`"),
    "another mode": (
        lambda: alone().quantize("awq", config=G(None, None)), "a config of mode 'gptq'"),
    "bits": (lambda: G(None, None, weight_bits=5), r"one of \[2, 3, 4, 8\]"),
    "bits of AWQ": (lambda: A(None, None, weight_bits=8), r"one of \[4\]"),
    "group size": (lambda: A(None, None, group_size=0), "a positive integer, or -1"),
    "damping": (lambda: G(None, None, hessian_damping=2), r"in \[0, 1\]"),
    "a policy": (
        lambda: setattr(alone(), "dtype_policy", "gptq/4/8_from_float32"), "does not calibrate"),
    "an adapter": (lambda: adapted().quantize(config=G(None, None)), "has an adapter"),
    "an adapter afterwards": (
        lambda: [x := alone(), x.quantize(config=A(None, None)), x.enable_lora(2)],
        "has no adapters"),
    "no structure": (
        lambda: made().quantize(config=G([[1]], None)), "needs to know its blocks"),
    "no blocks": (
        lambda: run_on([[1]]), "needs to know its blocks"),
    "no data": (
        lambda: run_on(None, alone()),
        "`dataset` is an iterable"),
    "floats": (
        lambda: run_on([[1.5]], alone()),
        "texts or integers"),
    "text without a tokenizer": (
        lambda: run_on(["a"], alone()),
        "Pass a `tokenizer`"),
    "an equation that keeps an axis of the kernel": (
        lambda: [x := layers.EinsumDense("abc,bcd->abd", (4, 2)), x.build((None, 4, 3)),
                 x.quantize(config=A(None, None))], r"to\s+\['int8', 'int4', 'float8'\]"),
    "a table": (
        lambda: [x := layers.Embedding(3, 2), x.build(), x.quantize(config=A(None, None))],
        r"to\s+\['int8', 'int4'\]"),
    "columns of another kernel": (
        lambda: layers.EinsumDense("ab,bc->ac", 3, gptq_unpacked_column_size=4,
                                   dtype="gptq/4/8_from_float32").build((None, 2)),
        "has 3 columns"),
    "inputs that are not finite": (
        lambda: calibration.gptq(jnp.ones((2, 2)), jnp.full((2, 2), jnp.nan)), "cannot invert"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    do, told = REFUSED[what]
    with pytest.raises(ArgumentError, match=told):
        do()


def test_a_layer_alone_is_rounded_to_the_nearest():
    layer = alone()
    w = layer.kernel.numpy()
    layer.quantize(config=G(None, None, weight_bits=8, group_size=2))
    x = np.eye(4, dtype="float32")
    np.testing.assert_allclose(layer(x) - layer.bias.value, w, atol=np.abs(w).max() / 255)
    assert np.abs(layer(x) - w).max() > 0
    again = layers.Dense.from_config(layer.get_config())
    again.build((None, 4))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x), layer(x))
