"""Ops in graphs: specs, files, compiled programs; values, dtypes and gradients against Keras.

A group of rows is one graph. It is saved and loaded, and what is loaded is compiled once, with its
gradients; so is the same with Keras's functions.
"""

import contextlib

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.tree import nested
from tests.cases.ops import CASES

IN_GRAPHS = [c for c in CASES if "graph" not in c.exclude]
SIZE = 60
GROUPS = [IN_GRAPHS[i : i + SIZE] for i in range(0, len(IN_GRAPHS), SIZE)]


def arrays_of(case):
    return [x for x in nested.flatten(case.args) if isinstance(x, np.ndarray)]


def replaced(case, values):
    """The row's arguments with other values in the place of its arrays."""
    it = iter(values)
    return nested.map_structure(lambda x: next(it) if isinstance(x, np.ndarray) else x, case.args)


def symbol(array, case):
    """An input for an array; of unknown size on axis 0, where that is 2, unless excluded."""
    is_batch = array.shape[:1] == (2,) and "batch" not in case.exclude
    shape = (None, *array.shape[1:]) if is_batch else array.shape
    return lamina.Input(batch_shape=shape, dtype=array.dtype.name)


def flat(x):
    return [np.asarray(leaf) for leaf in nested.flatten(x)]


def same(ours, theirs, case):
    ours, theirs = flat(ours), flat(theirs)
    assert [(a.shape, a.dtype) for a in ours] == [(b.shape, b.dtype) for b in theirs]
    for a, b in zip(ours, theirs, strict=True):
        wide = "complex128" if np.iscomplexobj(a) else "float64"
        scale = max(np.max(np.abs(b.astype(wide)), initial=0, where=np.isfinite(b)), 1)
        np.testing.assert_allclose(a.astype(wide), b.astype(wide), 1e-5, case.atol * scale)


@contextlib.contextmanager
def noting(failures, case):
    """One failing row does not hide the others."""
    try:
        yield
    except Exception as e:  # noqa: BLE001
        failures[case.id] = f"{type(e).__name__}: {e}"


def differentiable(case):
    """Of several rows of one op, the first."""
    return "gradient" not in case.exclude and not case.what


def weighted_sum(outputs):
    return sum(
        jnp.sum(x * jnp.cos(jnp.arange(x.size, dtype="float32")).reshape(x.shape))
        for x in nested.flatten(outputs) if jnp.issubdtype(jnp.result_type(x), jnp.floating)
    )  # fmt: skip


def run(call, cases, data):
    """Outputs of each row, and gradients to its floating arrays; in one compiled program."""
    floats = [[x for x in row if jnp.issubdtype(x.dtype, jnp.floating)] for row in data]

    known = {c.id: row for c, row in zip(cases, floats, strict=True)}

    def total(floats):
        filled = []
        for case, row, values in zip(cases, data, floats, strict=True):
            it = iter(values if differentiable(case) else known[case.id])
            filled.append([next(it) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in row])
        outputs = call(filled)
        loss = sum(
            weighted_sum(out) for c, out in zip(cases, outputs, strict=True) if differentiable(c)
        )
        return jnp.float32(loss), outputs

    with jax.default_matmul_precision("highest"):
        gradients, outputs = jax.jit(jax.grad(total, has_aux=True))(floats)
    return outputs, gradients


@pytest.mark.parametrize("cases", GROUPS, ids=lambda cases: cases[0].id)
def test_graphs(cases, tmp_path):
    failures: dict[str, str] = {}
    inputs, outputs, built = [], [], []
    for case in cases:
        with noting(failures, case):
            row = [symbol(x, case) for x in arrays_of(case)]
            outputs.append(case.call(lamina.ops, **replaced(case, row)))
            inputs.append(row)
            built.append(case)
    assert not failures
    model = lamina.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = lamina.saving.load_model(tmp_path / "model.keras")
    assert loaded.to_json() == model.to_json()

    data = [[jnp.asarray(x) for x in arrays_of(case)] for case in built]
    ours, our_gradients = run(lambda x: loaded.stateless_call([], [], x)[0], built, data)
    for case, symbols, arrays in zip(built, outputs, ours, strict=True):
        with noting(failures, case):
            pairs = zip(nested.flatten(symbols), nested.flatten(arrays), strict=True)
            for x, array in pairs:
                assert x.dtype == array.dtype.name
                assert len(x.shape) == array.ndim
                assert all(d in (None, n) for d, n in zip(x.shape, array.shape, strict=True))
    assert not failures

    for case, arrays, values in zip(built, ours, data, strict=True):
        if "jit" in case.exclude and "keras" not in case.exclude:
            with noting(failures, case):
                same(arrays, case.call(keras.ops, **replaced(case, values)), case)
    known = [i for i, case in enumerate(built) if not {"keras", "jit"} & case.exclude]
    subset = [built[i] for i in known]

    def theirs_of(filled):
        pairs = zip(subset, filled, strict=True)
        return [case.call(keras.ops, **replaced(case, values)) for case, values in pairs]

    theirs, their_gradients = run(theirs_of, subset, [data[i] for i in known])
    for i, case, b, b_gradients in zip(known, subset, theirs, their_gradients, strict=True):
        with noting(failures, case):
            same(ours[i], b, case)
        with noting(failures, case):
            same(our_gradients[i], b_gradients, case)
    assert not failures


@pytest.mark.parametrize("case", [c for c in CASES if "graph" in c.exclude], ids=lambda c: c.id)
def test_outside_of_graphs(case):
    args = replaced(case, [jnp.asarray(x) for x in arrays_of(case)])
    same(case.call(lamina.ops, **args), case.call(keras.ops, **args), case)


def specs(case, args):
    found = jax.eval_shape(lambda: case.call(lamina.ops, **args))
    return [(x.shape, x.dtype) for x in nested.flatten(found)]


@pytest.mark.parametrize("cases", GROUPS, ids=lambda cases: cases[0].id)
def test_lists_are_tensors(cases):
    failures: dict[str, str] = {}
    for case in cases:
        if "lists" in case.exclude:
            continue
        with noting(failures, case):
            arrays = replaced(case, [jnp.asarray(x) for x in arrays_of(case)])
            lists = replaced(case, [x.tolist() for x in arrays_of(case)])
            assert specs(case, lists) == specs(case, arrays)
    assert not failures
