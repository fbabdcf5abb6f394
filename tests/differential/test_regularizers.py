"""Regularizers and constraints against Keras."""

import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import constraints, regularizers
from tests.cases.regularizers import CONSTRAINTS, REGULARIZERS

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), "float32")
FAMILIES = [(regularizers, keras.regularizers, REGULARIZERS),
            (constraints, keras.constraints, CONSTRAINTS)]  # fmt: skip
ROWS = [
    (ours, theirs, name, arguments)
    for ours, theirs, table in FAMILIES
    for name, rows in table.items()
    for arguments in rows
]


@pytest.mark.parametrize(("ours", "theirs", "table"), FAMILIES)
def test_every_class_has_a_row(ours, theirs, table):
    classes = {n for n in ours.__all__ if isinstance(getattr(ours, n), type) and n[0].isupper()}
    assert classes - {"Regularizer", "Constraint"} == set(table)
    assert {n for n in dir(theirs) if not n.startswith("_")} == set(ours.__all__)


@pytest.mark.parametrize(("ours", "theirs", "name", "arguments"), ROWS)
def test_same_values(ours, theirs, name, arguments):
    mine, other = getattr(ours, name)(**arguments), getattr(theirs, name)(**arguments)
    np.testing.assert_allclose(mine(X), other(X), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["L1", "L2", "L1L2"])
def test_none_is_the_default_factor(name):
    mine, other = getattr(regularizers, name)(None), getattr(keras.regularizers, name)(None)
    assert mine == getattr(regularizers, name)()
    np.testing.assert_allclose(mine(X), other(X), rtol=1e-6)


@pytest.mark.parametrize(("ours", "theirs", "name", "arguments"), ROWS)
def test_files_go_both_ways(ours, theirs, name, arguments):
    mine, other = getattr(ours, name)(**arguments), getattr(theirs, name)(**arguments)
    record = ours.serialize(mine)
    assert ours.deserialize(record) == mine
    back = ours.deserialize(theirs.serialize(other))  # with numbers that Keras rounds to float32
    np.testing.assert_allclose(back(X), mine(X), rtol=1e-6)
    assert theirs.deserialize(record).get_config() == other.get_config()


def test_names():
    assert regularizers.get("l2") == regularizers.L2()
    assert regularizers.get("l1_l2") == regularizers.get("L1L2")
    assert constraints.get("max_norm") == constraints.MaxNorm()
    assert regularizers.get(None) is None
    with pytest.raises(ValueError, match="Did you mean"):
        constraints.get("maxnrm")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.L1(-1.0), r"L1\(\): `l1`: expected a number in \[0, inf\)"),
        (
            lambda: constraints.MaxNorm("a"),
            r"MaxNorm\(\): `max_value`: expected a number in \[0, inf\)",
        ),
        (lambda: regularizers.OrthogonalRegularizer()(X[0]), "expects a matrix"),
        (lambda: regularizers.Regularizer()(X), "does not implement `__call__"),
        (lambda: constraints.Constraint()(X), "does not implement `__call__"),
    ],
)
def test_messages(make, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        make()
