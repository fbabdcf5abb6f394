"""`serialize` and `deserialize` of layers and of dtype policies."""

import json

import keras
import pytest

import lamina
from lamina import dtype_policies, layers
from lamina.errors import ArgumentError


class Mine(layers.Layer):
    def call(self, x):
        return x


def test_layers_and_models_come_back():
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2, name="two")])
    for made in (layers.Dense(2, activation="relu"), model):
        again = layers.deserialize(layers.serialize(made))
        assert type(again) is type(made)
        assert again.get_config() == made.get_config()
    assert layers.deserialize({"class_name": "Dense", "config": {"units": 3}}).units == 3
    mine = layers.deserialize(layers.serialize(Mine(name="m")), custom_objects={"Mine": Mine})
    assert (type(mine), mine.name) == (Mine, "m")


# Layers and models, made of the parts of either library.
CONFIGURED = {
    "functions": lambda k: k.layers.Dense(3, "relu", kernel_regularizer="l2", name="x"),
    "initializers": lambda k: k.layers.LSTM(3, kernel_initializer="he_normal", name="x"),
    "layers": lambda k: k.layers.TimeDistributed(k.layers.Dense(2, name="inner"), name="x"),
    "cells": lambda k: k.layers.RNN(k.layers.GRUCell(2, name="inner"), name="x"),
    "tuples": lambda k: k.layers.Conv2D(2, (3, 1), dtype="mixed_float16", name="x"),
    "two": lambda k: k.layers.Bidirectional(k.layers.GRU(2, name="inner"), name="x"),
    "models": lambda k: k.Sequential([k.Input((3,)), k.layers.Dense(2, name="d")], name="x"),
    "optimizers": lambda k: k.optimizers.LossScaleOptimizer(k.optimizers.SGD(0.1), name="x"),
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_configs_are_data_as_keras_s_are(name):
    made, theirs = (CONFIGURED[name](k).get_config() for k in (lamina, keras))
    json.dumps(made)
    for key in theirs.keys() & made.keys() - {"cell", "layer", "backward_layer", "layers"}:
        mine, wanted = made[key], theirs[key]
        if isinstance(wanted, dict):  # Keras's may leave out arguments that are None
            mine, wanted = ((v["class_name"], v["config"].get("name")) for v in (mine, wanted))
        assert mine == wanted, key
    again = type(CONFIGURED[name](lamina)).from_config(made)
    assert again.get_config() == made


def test_copies_of_wrappers_have_layers_of_their_own():
    wrapper = CONFIGURED["layers"](lamina)
    assert type(wrapper).from_config(wrapper.get_config()).layer is not wrapper.layer


def test_parts_that_are_not_registered_stay_objects():
    class Ones(lamina.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return lamina.ops.ones(shape, dtype)

    def double(x):
        return 2 * x

    layer = layers.Dense(2, double, kernel_initializer=Ones())
    config = layer.get_config()
    assert type(config["kernel_initializer"]) is Ones
    assert config["activation"] is double
    copy = layers.Dense.from_config(config)
    copy.build((None, 3))
    assert copy.kernel.numpy().sum() == 6
    outer = layers.TimeDistributed(layers.TimeDistributed(Mine(name="m")))
    assert type(type(outer).from_config(outer.get_config()).layer.layer) is Mine


def test_keras_reads_what_is_written():
    written = layers.serialize(layers.Dense(2, name="two"))
    assert keras.layers.deserialize(written).name == "two"
    assert layers.deserialize(keras.layers.serialize(keras.layers.Dense(4))).units == 4


@pytest.mark.parametrize(
    "config", ["Dense", 3, {"class_name": "SGD", "module": "keras.optimizers", "config": {}}]
)
def test_what_is_no_layer_is_told(config):
    with pytest.raises(ArgumentError, match="config of a layer"):
        layers.deserialize(config)


@pytest.mark.parametrize("cls", ["DTypePolicy", "FloatDTypePolicy"])
@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16"])
def test_policies_come_back(cls, name):
    policy = getattr(lamina, cls)(name)
    written = dtype_policies.serialize(policy)
    assert written == keras.dtype_policies.serialize(getattr(keras, cls)(name))
    assert dtype_policies.deserialize(written) == policy == lamina.DTypePolicy(name)
    assert type(dtype_policies.deserialize(written)) is type(policy)
    assert policy.quantization_mode is None
    layer = layers.Dense(2, dtype=policy)
    assert layers.deserialize(layers.serialize(layer)).dtype_policy == policy


def test_what_is_no_policy_is_told():
    class Own(lamina.DTypePolicy):
        pass

    written = {"class_name": "Own", "config": {"name": "float32"}}
    assert type(dtype_policies.deserialize(written, {"Own": Own})) is Own
    assert dtype_policies.get("float16").compute_dtype == "float16"
    for wrong in ({"class_name": "DTypePolicy", "config": {}}, "no dtype"):
        with pytest.raises(ArgumentError):
            dtype_policies.get(wrong)
