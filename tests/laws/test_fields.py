"""Declared constructor arguments: their order, their readers, and configs of any depth."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, ShapeError, SignatureError
from lamina.serialization.fields import Configurable, field, fields_of, number, per_axis


def names(cls):
    return list(inspect.signature(cls).parameters)


def test_a_field_that_is_declared_again_moves_to_its_new_position():
    class Base(Configurable):
        first: int = 1
        second: int = 2

    class Derived(Base):
        third: int = 3
        first: int = 10

    assert names(Derived) == ["second", "third", "first"]
    assert Derived(1, 2, 3).get_config() == {"second": 1, "third": 2, "first": 3}
    assert Derived().first == 10
    assert Base().first == 1


def test_trailing_fields_come_after_those_of_derived_classes():
    class Common(Configurable, trailing=True):
        tail: int = 0

    class Derived(Common):
        head: int = 1

    class More(Derived):
        middle: int = 2

    assert names(More) == ["head", "middle", "tail"]
    assert fields_of(More, beyond=Common) == ["head", "middle"]


def test_fields_of_several_base_classes_are_merged():
    class Left(Configurable):
        left: int = 1

    class Right(Configurable):
        right: int = 2

    class Both(Left, Right):
        pass

    class Own(Left, Right):
        own: int = 3

    assert sorted(names(Both)) == ["left", "right"]
    assert Both(left=5, right=6).get_config() == {"right": 6, "left": 5}
    assert Own.from_config(Own(own=7).get_config()) == Own(own=7)
    assert names(Own)[-1] == "own"


def test_a_reader_may_depend_on_the_rank_of_the_class():
    class Window(Configurable):
        rank = 2
        size: tuple = field(default=1, convert=per_axis)

    class Cube(Window):
        rank = 3

    assert (Window(2).size, Cube(2).size) == ((2, 2), (2, 2, 2))
    with pytest.raises(ArgumentError, match=r"Cube\(\): `size`: expected an integer >= 1 or 3"):
        Cube((1, 2))


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), "0.5", None, True])
def test_an_interval_refuses_what_is_outside_and_what_is_no_number(value):
    with pytest.raises(ArgumentError, match=r"expected a number in \[0, 1\)"):
        number("[0, 1)")(value)


def test_dicts_and_lists_of_layers_are_rebuilt_from_a_config():
    class Branches(layers.Layer):
        def __init__(self, branches, pairs, **kwargs):
            super().__init__(**kwargs)
            self.branches, self.pairs = branches, pairs

        def call(self, x):
            total = sum(branch(x) for branch in self.branches.values())
            return total + sum(inner(x) for pair in self.pairs for inner in pair["two"])

    layer = Branches({"a": layers.Dense(2), "b": layers.Dense(2)}, [{"two": [layers.Dense(2)]}])
    config = lamina.saving.serialize_keras_object(layer)["config"]
    again = Branches.from_config(config)
    x = jnp.ones((1, 3))
    assert again(x).shape == (1, 2)
    assert len(again.weights) == 6
    assert isinstance(again.branches["a"], layers.Dense)


def test_an_array_is_an_initial_value():
    kernel = np.arange(6, dtype="float32").reshape(3, 2)
    layer = layers.Dense(2, kernel_initializer=kernel, bias_initializer=jnp.ones(2))
    assert layer(jnp.eye(3)).tolist() == (kernel + 1).tolist()
    again = layers.Dense.from_config(lamina.saving.serialize_keras_object(layer)["config"])
    assert again(jnp.eye(3)).tolist() == (kernel + 1).tolist()
    with pytest.raises(ShapeError, match=r"expected: an array of shape \(4, 2\)"):
        layers.Dense(2, kernel_initializer=kernel)(jnp.ones((1, 4)))


def test_a_lambda_checks_its_output_shape():
    assert layers.Lambda(lambda x: x[:, :2], output_shape=(2,))(jnp.ones((3, 5))).shape == (3, 2)
    layer = layers.Lambda(lambda x: x, output_shape=lambda shape: (shape[0], 2), name="same")
    with pytest.raises(ShapeError, match=r"'same' .* did not return its `output_shape`"):
        layer(lamina.Input((5,)))


def test_fields_may_be_named_that_come_first_by_position():
    class Base(Configurable, kw_only=True):
        tail: int = 0
        rate: float = 0.5

    class Named(Base, positional="size rate"):
        size: int = 1
        other: int = 2

    class More(Named):
        more: int = 3

    assert names(Named) == ["size", "rate", "other", "tail"]
    assert names(More) == ["size", "rate", "other", "more", "tail"]
    assert Named(7, 0.25).get_config() == {"size": 7, "rate": 0.25, "other": 2, "tail": 0}
    assert names(Base) == ["tail", "rate"]
    with pytest.raises(SignatureError, match="at most 0 positional"):
        Base(1)
