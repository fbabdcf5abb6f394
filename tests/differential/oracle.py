"""Keras as an oracle: the same layer, weights and inputs there and here, compared."""

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np

from lamina import tree
from lamina.core import registry


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
    inputs = draw(case)
    x = inputs if len(inputs) > 1 else inputs[0]
    ours(x, **case.call_kwargs)
    theirs(x, **case.call_kwargs)
    assert [(w.name, w.shape) for w in ours.weights] == [(w.name, w.shape) for w in theirs.weights]
    rng = np.random.default_rng(1)
    weights = [np.abs(w + 0.3 * rng.normal(size=w.shape)) for w in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def agree(ours, theirs, case, what):
    """Equal within the case's tolerance, relative to the largest number of each array."""
    ours, theirs = tree.flatten(ours), tree.flatten(theirs)
    assert len(ours) == len(theirs), what
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype, what
        assert a.shape == b.shape, what
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        scale = max(np.max(np.abs(b), initial=0), 1)
        np.testing.assert_allclose(a, b, rtol=case.rtol, atol=case.atol * scale, err_msg=what)


def compare(case, training=None):
    """Outputs, new values of weights, and gradients of inputs and weights agree."""
    ours, theirs = pair(case)
    extra = {**case.call_kwargs, **({} if training is None else {"training": training})}

    def run(layer, trainable, inputs):
        fixed = layer.non_trainable_variables
        x = inputs if len(inputs) > 1 else inputs[0]
        outputs, new = layer.stateless_call(trainable, [v.value for v in fixed], x, **extra)
        weights = {id(w) for w in layer.weights}  # Keras's random generators have variables too
        return outputs, [n for v, n in zip(fixed, new, strict=True) if id(v) in weights]

    def loss(layer, trainable, inputs):
        outputs, _ = run(layer, trainable, inputs)
        waves = [jnp.cos(jnp.arange(x.size, dtype="float32")).reshape(x.shape)
                 for x in tree.flatten(outputs)]  # fmt: skip
        return sum(jnp.sum(x * w) for x, w in zip(tree.flatten(outputs), waves, strict=True))

    inputs = draw(case)
    floating = all(jnp.issubdtype(x.dtype, jnp.floating) for x in inputs)
    found = []
    with jax.default_matmul_precision("highest"):
        for layer in (ours, theirs):
            trainable = [v.value for v in layer.trainable_variables]
            outputs, updated = run(layer, trainable, inputs)
            gradient = jax.jit(
                jax.grad(functools.partial(loss, layer), (0, 1) if floating else (0,))
            )(trainable, inputs)
            found.append((outputs, updated, gradient))
    for what, a, b in zip(("outputs", "updated weights", "gradients"), *found, strict=True):
        agree(list(a) if isinstance(a, tuple) else a, list(b) if isinstance(b, tuple) else b,
              case, what)  # fmt: skip
