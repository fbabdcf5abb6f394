"""Keras as an oracle: the same layer, weights and inputs there and here, compared."""

import contextlib
from unittest import mock

import jax
import jax.numpy as jnp
import keras
import numpy as np

import lamina
from lamina.serialization import registry
from lamina.tree import nested


def draw(case, seed=0):
    """An array for each of the case's inputs."""
    rng = np.random.default_rng(seed)
    arrays = []
    for shape, dtype in case.inputs:
        if dtype.startswith(("int", "uint")):
            arrays.append(jnp.asarray(rng.integers(0, 5, shape), dtype))
        else:
            arrays.append(jnp.asarray(rng.normal(size=shape), dtype))
    return arrays


def pair(case):
    """The layer here and in Keras, built, with equal weights that are not the initial ones."""
    ours = case.cls(**case.kwargs)
    theirs = case.keras() if case.keras else keras.layers.deserialize(registry.serialize(ours))

    def build(layer, inputs):
        layer(inputs if len(inputs) > 1 else inputs[0], **case.call_kwargs)

    symbols = [{"batch_shape": shape, "dtype": dtype} for shape, dtype in case.inputs]
    build(ours, [lamina.Input(**x) for x in symbols])
    with undrawn():
        try:
            build(theirs, [keras.Input(**x) for x in symbols])
        except ValueError:  # symbolic attention wants queries and values of one size
            build(theirs, draw(case))
    assert [(w.name, w.shape) for w in ours.weights] == [(w.name, w.shape) for w in theirs.weights]
    rng = np.random.default_rng(1)
    weights = [np.abs(w + 0.3 * rng.normal(size=w.shape)) for w in theirs.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


@contextlib.contextmanager
def undrawn():
    """Keras draws no initial weights: zeros do where others follow, and nothing is compiled."""
    names = ("VarianceScaling", "Orthogonal", "RandomUniform", "RandomNormal", "TruncatedNormal")
    with contextlib.ExitStack() as stack:
        for name in names:
            cls = getattr(keras.initializers, name)
            stack.enter_context(mock.patch.object(cls, "__call__", _zeros))
        yield


def _zeros(_, shape, dtype=None, **__):
    return np.zeros(shape, dtype or "float32")


def agree(ours, theirs, case, what):
    """Equal within the case's tolerance, relative to the largest number of each array."""
    ours, theirs = nested.flatten(ours), nested.flatten(theirs)
    assert len(ours) == len(theirs), what
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype, what
        assert a.shape == b.shape, what
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        scale = max(np.max(np.abs(b), initial=0), 1)
        np.testing.assert_allclose(a, b, rtol=case.rtol, atol=case.atol * scale, err_msg=what)


def compare(case, training=None):
    """Outputs, new values of weights, and gradients of inputs and weights agree."""
    extra = {**case.call_kwargs, **({} if training is None else {"training": training})}
    inputs = draw(case)
    floating = all(jnp.issubdtype(x.dtype, jnp.floating) for x in inputs)

    def run(layer):
        fixed = layer.non_trainable_variables
        weights = {id(w) for w in layer.weights}  # Keras's random generators have variables too

        def loss(trainable, inputs):
            x = inputs if len(inputs) > 1 else inputs[0]
            outputs, new = layer.stateless_call(trainable, [v.value for v in fixed], x, **extra)
            updated = [n for v, n in zip(fixed, new, strict=True) if id(v) in weights]
            waves = [jnp.cos(jnp.arange(x.size, dtype="float32")).reshape(x.shape)
                     for x in nested.flatten(outputs)]  # fmt: skip
            total = sum(jnp.sum(x * w) for x, w in zip(nested.flatten(outputs), waves, strict=True))
            return total, (outputs, updated)

        gradient = jax.grad(loss, (0, 1) if floating else (0,), has_aux=True)
        return jax.jit(gradient)([v.value for v in layer.trainable_variables], inputs)

    with jax.default_matmul_precision("highest"):
        (ours, (a, b)), (theirs, (c, d)) = map(run, pair(case))
    agree(a, c, case, "outputs")
    agree(b, d, case, "updated weights")
    agree(list(ours), list(theirs), case, "gradients")
