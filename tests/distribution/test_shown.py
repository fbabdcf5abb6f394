"""What summary, plot and page show of a distributed model: layouts, bytes, communication."""

import html
import json
import re

import jax
import pytest

import lamina as keras
from lamina import distribution as dist
from lamina.errors import StateError
from lamina.visualization import model_to_dot, plot_model, to_html
from tests.distribution.models import mlp, transformer

pytestmark = pytest.mark.skipif(len(jax.devices()) < 8, reason="needs eight devices")
NAME = "multi_head_attention"


def _trained():
    model, (x, y) = transformer()
    mesh = dist.DeviceMesh((4, 2), ["batch", "model"])
    rules = dist.tensor_rules(model, parts=2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        "adam", loss, distribution=dist.Sharded(mesh, rules, fsdp_axis="batch", min_size=256)
    )
    model.fit(x, y, 16, verbose=0)
    return model


def _bytes(layer):
    shards = [v.value.addressable_shards[0].data for v in layer.weights]
    return sum(a.nbytes for a in shards)


def test_all_show_the_same(tmp_path):
    model = _trained()
    found = model.analyze_step()
    assert set(found.collectives) == {"all-gather", "all-reduce"}
    communication = [f"Communication per step: {n} {kind}" for kind, (n, _) in
                     found.collectives.items()]  # fmt: skip
    lines = [
        "query/kernel ('batch', 'model', None)",
        "attention_output/kernel ('model', None, 'batch')",
    ]
    size = f"{_bytes(model.get_layer(NAME)) / 1024:.2f} KB"

    texts: list[str] = []
    model.summary(show_sharding=True, print_fn=texts.append, line_length=200)
    graph = model_to_dot(model, show_layer_names=True, show_sharding=True)
    drawn = html.unescape(graph.get_node(NAME).attr["label"])
    below = html.unescape(graph.graph_attr["label"])
    page = to_html(model)
    data = json.loads(re.search(r'id="model">(.*?)</script>', page, re.DOTALL)[1])
    boxes = {box["name"]: box for box in data["diagram"]["boxes"]}
    attention = boxes[NAME]
    header = html.unescape(re.search(r"<header>.*?</header>", page, re.DOTALL)[0])

    for line in lines:
        assert line in texts[0]
        assert line in drawn
        name, _, axes = line.partition(" ")
        assert {"name": name, "split": axes}.items() <= next(
            w for w in attention["weights"] if w["name"] == name
        ).items()
    assert size in texts[0]
    assert f"{size} per device" in drawn
    assert ["Per device", size] in attention["facts"]
    for line in ("Devices: batch 4, model 2", *communication):
        for text in (texts[0], below, header):
            assert line in text
    assert boxes["global_average_pooling1d"]["facts"] == [
        f for f in boxes["global_average_pooling1d"]["facts"] if f[0] != "Per device"
    ]
    for suffix in ("svg", "png"):
        plot_model(model, tmp_path / f"x.{suffix}", show_sharding=True)
        assert (tmp_path / f"x.{suffix}").stat().st_size > 1000
    assert "Communication per step" in (tmp_path / "x.svg").read_text()


def test_before_training_nothing_is_compiled(compilations):
    model, _ = mlp()
    model.compile("adam", "mse", distribution="data")
    with compilations() as compiled:
        page, graph = to_html(model), model_to_dot(model, show_sharding=True)
    assert not [name for name in compiled if "step" in name]
    for text in (page, graph.graph_attr["label"]):
        assert "Params per device: 64.55 KB" in text
        assert "Communication" not in text


def test_models_on_one_device_are_shown_as_before():
    model, _ = mlp()
    page = to_html(model)
    assert "er device" not in page
    assert '"split"' not in page
    assert "label" not in dict(model_to_dot(model).graph_attr)


def test_outputs_with_a_layout_are_shown():
    layouts = dist.LayoutMap(dist.DeviceMesh((4, 2), ["batch", "model"]))
    layouts["dense/output"] = ("batch", "model")
    model, _ = mlp()
    model.compile("adam", "mse", distribution=dist.ModelParallel(layout_map=layouts))
    graph = model_to_dot(model, show_layer_names=True, show_sharding=True)
    label = html.unescape(graph.get_node("dense").attr["label"])
    assert "output ('batch', 'model')" in label
    assert "[\"Output split\",\"('batch', 'model')\"]" in to_html(model)


def test_steps_that_run_eagerly_are_not_analyzed():
    model, (x, _) = mlp()
    model.compile("sgd", "mse", distribution="data", run_eagerly=True)
    model.fit(x[:8], x[:8, :4], verbose=0)
    texts: list[str] = []
    model.summary(show_sharding=True, print_fn=texts.append)
    assert "Params per device" in texts[0]
    with pytest.raises(StateError, match="eager"):
        model.analyze_step()


def test_many_weights_of_a_layer_are_counted():
    inner = keras.Sequential([keras.Input((16,)), *(keras.layers.Dense(16) for _ in range(6))])
    model = keras.Sequential([keras.Input((16,)), inner])
    mesh = dist.DeviceMesh((8,), ["batch"])
    model.compile("adam", "mse", distribution=dist.Sharded(mesh, fsdp_axis="batch", min_size=16))
    graph = model_to_dot(model, show_sharding=True)
    label = html.unescape(graph.get_node("sequential").attr["label"])
    assert "6 weights ('batch', None)" in label
    assert "6 weights ('batch',)" in label
