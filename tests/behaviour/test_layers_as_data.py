"""`serialize` and `deserialize` of layers and of dtype policies."""

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
