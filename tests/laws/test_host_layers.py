"""Laws of the layers that run on the host, one test a law, over their rows."""

import inspect

import jax
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError
from lamina.layers.preprocessing.host import HostLayer
from lamina.serialization import registry
from tests.cases.layers_categories import HOST

every = pytest.mark.parametrize("case", HOST, ids=str)
WORDS = np.array(["a", "b b", "c", "d", "a b C", ""], object)


def draw(case, seed=0, batch=4):
    rng = np.random.default_rng(seed)
    arrays = [
        WORDS[rng.integers(0, 6, (batch, *shape[1:]))] if dtype == "string"
        else rng.integers(0, 5, (batch, *shape[1:])).astype(dtype)
        for shape, dtype in case.inputs
    ]  # fmt: skip
    return arrays[0] if len(arrays) == 1 else arrays


def symbols(case):
    made = [lamina.Input(shape[1:], dtype=dtype) for shape, dtype in case.inputs]
    return made[0] if len(made) == 1 else made


def equal(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_every_layer_of_the_host_has_a_row():
    public = {c for c in vars(layers).values() if inspect.isclass(c) and issubclass(c, HostLayer)}
    assert {c.cls for c in HOST} == public - {HostLayer}


@every
def test_spec_is_what_comes_out(case):
    layer = case.cls(**case.kwargs)
    spec = layer(symbols(case))
    for batch in (4, 2):
        output = layer(draw(case, batch=batch))
        text = np.asarray(output).dtype == object
        assert spec.dtype == ("string" if text else str(output.dtype))
        assert len(spec.shape) == output.ndim
        assert all(d in (None, n) for d, n in zip(spec.shape, output.shape, strict=True))


@every
def test_config_round_trip(case):
    layer = case.cls(**case.kwargs)
    record = registry.serialize(layer)
    again = registry.deserialize(record)
    assert registry.serialize(again) == record
    equal(again(draw(case)), layer(draw(case)))


@every
def test_a_model_and_its_file_give_the_same(case, tmp_path):
    layer = case.cls(**case.kwargs)
    inputs, x = symbols(case), draw(case)
    model = lamina.Model(inputs, layer(inputs))
    equal(model(x), layer(x))
    if not (case.kwargs.get("invert") and case.cls is layers.StringLookup):
        equal(model.predict(x, batch_size=4, verbose=0), layer(x))
    model.save(tmp_path / "model.keras")
    equal(lamina.saving.load_model(tmp_path / "model.keras")(x), layer(x))


@every
def test_jit_is_refused(case):
    layer = case.cls(name="culprit", **case.kwargs)
    x = [np.zeros(shape, "int32") for shape, _ in case.inputs]
    with pytest.raises(ArgumentError, match=r"'culprit'.* on the host"):
        jax.jit(lambda *x: layer(x[0] if len(x) == 1 else list(x)))(*x)
