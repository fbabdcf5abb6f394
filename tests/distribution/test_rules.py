"""Layouts by name, and the rules that derive from a model's graph."""

import jax
import pytest

import lamina as keras
from lamina import distribution as dist
from lamina import layers
from lamina.errors import ArgumentError
from tests.distribution.models import custom_layer, transformer


def _rules(model, parts=2):
    return dict(dist.tensor_rules(model, parts=parts))


def _stack(*parts, shape=(16,)):
    x = y = keras.Input(shape)
    for part in parts:
        y = part(y)
    return keras.Model(x, y)


def test_products_alternate():
    model = _stack(
        layers.Dense(32, "relu", name="a"), layers.Dropout(0.1), layers.Dense(8, name="b"),
        layers.LayerNormalization(), layers.Dense(6, name="c"),
    )  # fmt: skip
    assert _rules(model) == {
        "a/kernel": (None, "model"), "a/bias": ("model",), "b/kernel": ("model", None),
        "c/kernel": (None, "model"), "c/bias": ("model",),
    }  # fmt: skip


def test_what_the_devices_do_not_divide_stays_whole():
    model = _stack(layers.Dense(7, name="a"), layers.Dense(8, name="b"))
    assert list(_rules(model, 8)) == ["b/kernel", "b/bias"]
    assert _rules(model, 1) == {}


def test_convolutions_alternate_by_channels():
    model = _stack(
        layers.Conv2D(8, 3, name="a"), layers.BatchNormalization(), layers.ReLU(),
        layers.MaxPooling2D(), layers.Conv2D(4, 3, name="b"), layers.Flatten(),
        layers.Dense(4, name="c"), shape=(16, 16, 3),
    )  # fmt: skip
    found = _rules(model)
    assert found["a/kernel"] == (None, None, None, "model")
    assert found["b/kernel"] == (None, None, "model", None)
    assert found["c/kernel"] == (None, "model")
    assert "b/bias" not in found


def test_weights_with_adapters_and_quantized_ones():
    adapted = _stack(
        layers.Conv1D(8, 3, lora_rank=2, name="a"), layers.Dense(4, lora_rank=2, name="b"),
        shape=(9, 3),
    )  # fmt: skip
    kernels = {"a/kernel": (None, None, "model"), "a/bias": ("model",), "b/kernel": ("model", None)}
    assert _rules(adapted) == kernels
    ids = keras.Input((3,), dtype="int32")
    table = keras.Model(ids, layers.Embedding(8, 4, lora_rank=2, name="table")(ids))
    assert _rules(table) == {"table/embeddings": ("model", None)}
    for mode, split in (("int8", {"table/embeddings": ("model", None)}), ("int4", {})):
        table = keras.Model(ids, layers.Embedding(8, 4, name="table")(ids))
        table.quantize(mode)
        assert _rules(table) == split


def test_attention_is_split_by_heads():
    found = _rules(transformer()[0])
    name = "multi_head_attention"
    for role in ("query", "key", "value"):
        assert found[f"{name}/{role}/kernel"] == (None, "model", None)
        assert found[f"{name}/{role}/bias"] == ("model", None)
    assert found[f"{name}/attention_output/kernel"] == ("model", None, None)
    assert f"{name}/attention_output/bias" not in found
    assert found["embedding/embeddings"] == ("model", None)


def test_grouped_attention_with_too_few_heads():
    x = keras.Input((5, 16))
    model = keras.Model(x, layers.GroupQueryAttention(4, 4, 1, name="g")(x, x))
    assert set(_rules(model)) == {"g/query/kernel", "g/query/bias", "g/attention_output/kernel"}


def test_einsum_dense_alternates():
    x = keras.Input((5, 16))
    y = layers.EinsumDense("bti,ihd->bthd", (None, 4, 8), bias_axes="hd", name="a")(x)
    model = keras.Model(x, layers.EinsumDense("bthd,hdo->bto", (None, 16), name="b")(y))
    assert _rules(model) == {
        "a/kernel": (None, "model", None), "a/bias": ("model", None),
        "b/kernel": ("model", None, None),
    }  # fmt: skip


def test_inner_layers_of_custom_layers_alternate():
    found = _rules(custom_layer()[0])
    assert found["__block/wide/kernel"] == (None, "model")
    assert found["__block/narrow/kernel"] == ("model", None)


def test_nested_models_are_followed():
    inner = keras.Sequential([keras.Input((16,)), layers.Dense(32, name="a")], name="inner")
    model = _stack(inner, layers.Activation("relu"), layers.Dense(4, name="b"))
    assert _rules(model)["b/kernel"] == ("model", None)


def test_rules_print():
    mesh = dist.DeviceMesh((1, 1), ("batch", "model"), ["cpu:0"])
    rules = [("a/kernel", (None, "model")), (".*", ())]
    assert str(dist.Sharded(mesh, rules)).splitlines() == [
        "a/kernel   (None, 'model')", ".*         ()", "otherwise  a copy on each device",
    ]  # fmt: skip


def test_layout_maps_refuse_what_is_ambiguous():
    mesh = dist.DeviceMesh((1,), ["model"], ["cpu:0"])
    layouts = dist.LayoutMap(mesh)
    layouts["dense.*"] = ("model",)
    layouts[".*/bias"] = (None,)
    assert layouts["dense/kernel"].axes == ("model",)
    assert layouts["conv/kernel"] is None
    with pytest.raises(ArgumentError, match="Several keys"):
        layouts["dense/bias"]
    with pytest.raises(ArgumentError, match="already"):
        layouts["dense.*"] = (None,)
    del layouts[".*/bias"]
    assert list(layouts) == ["dense.*"]


def test_devices():
    assert dist.get_device_count() == len(jax.devices())
    assert dist.list_devices("cpu")[0] == "cpu:0"
    with pytest.raises(ArgumentError, match="no devices of type 'tpu'"):
        dist.list_devices("tpu")
