"""Plots: every wire joins the right boxes at the right ports, and nothing overlaps or is cut."""

import os
import subprocess
import sys
import types
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from lamina import layers, utils
from lamina.core import naming
from lamina.errors import ArgumentError, NotBuiltError
from lamina.models import Model, Sequential
from lamina.visualization.plot import (
    model_to_dot,
    plot_model,
    points_along,
    square_loops,
)
from tests.guide.models import (
    autoencoder,
    encoder,
    ensemble,
    mlp,
    nested_autoencoder,
    shared_embedding,
    tickets,
    toy_resnet,
)
from tests.visualization.models import ALL, Halves, everything

ENCODER = ["conv2d", "conv2d_1", "max_pooling2d", "conv2d_2", "conv2d_3", "global_max_pooling2d"]
DECODER = ["reshape", "conv2d_transpose", "conv2d_transpose_1", "up_sampling2d",
           "conv2d_transpose_2", "conv2d_transpose_3"]  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh_names():
    naming.reset()


def wires(graph):
    """``"from.port to.port"`` for each wire, without the sides of the boxes."""
    return sorted(
        "{}.{} {}.{}".format(
            edge[0], edge.attr["tailport"].split(":")[0],
            edge[1], edge.attr["headport"].split(":")[0],
        )
        for edge in graph.edges()
    )  # fmt: skip


def chain(*names):
    return [f"{a}.out0_0 {b}.in0_0" for a, b in pairwise(names)]


# ---- topology ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (mlp, ["input_layer", "dense", "dense_1", "dense_2"]),
        (encoder, ["img", *ENCODER]),
        (autoencoder, ["img", *ENCODER, *DECODER]),
    ],
)
def test_chains(make, names):
    assert wires(model_to_dot(make(), show_shapes=True)) == sorted(chain(*names))


def test_nested_models_closed_and_open():
    model = nested_autoencoder()
    closed = wires(model_to_dot(model, show_shapes=True))
    assert closed == sorted(chain("img", "encoder", "decoder"))
    inside = [f"encoder/{x}" for x in ("original_img", *ENCODER)]
    below = [f"decoder/{x}" for x in ("encoded_img", *DECODER)]
    assert wires(model_to_dot(model, show_shapes=True, expand_nested=True)) == sorted([
        "img.out0_0 encoder/original_img.head", f"{inside[-1]}.out0_0 decoder/encoded_img.head",
        *chain(*inside), *chain(*below),
    ])  # fmt: skip


def test_ensemble_votes_in_order():
    names = [("functional", "input_layer", "dense")]
    names += [tuple(f"{name}_{i}" for name in names[0]) for i in (1, 2)]
    closed = [f"input_layer_3.out0_0 {model}.in0_0" for model, _, _ in names]
    closed += [f"{model}.out0_0 average.in0_{i}" for i, (model, _, _) in enumerate(names)]
    assert wires(model_to_dot(ensemble(), show_shapes=True)) == sorted(closed)
    naming.reset()
    opened = [f"input_layer_3.out0_0 {model}/{door}.head" for model, door, _ in names]
    opened += [f"{model}/{door}.out0_0 {model}/{head}.in0_0" for model, door, head in names]
    opened += [f"{model}/{x}.out0_0 average.in0_{i}" for i, (model, _, x) in enumerate(names)]
    assert wires(model_to_dot(ensemble(), show_shapes=True, expand_nested=True)) == sorted(opened)


def test_several_inputs_and_outputs():
    assert wires(model_to_dot(tickets(), show_shapes=True)) == sorted([
        *chain("title", "embedding", "lstm"), *chain("body", "embedding_1", "lstm_1"),
        *(f"{x}.out0_0 concatenate.in0_{i}" for i, x in enumerate(("lstm", "lstm_1", "tags"))),
        "concatenate.out0_0 priority.in0_0", "concatenate.out0_0 department.in0_0",
    ])  # fmt: skip


def test_residual_connections():
    expected = chain(
        "img", "conv2d", "conv2d_1", "max_pooling2d", "conv2d_2", "conv2d_3", "add", "conv2d_4",
        "conv2d_5", "add_1", "conv2d_6", "global_average_pooling2d", "dense", "dropout", "dense_1",
    )  # fmt: skip
    expected += ["max_pooling2d.out0_0 add.in0_1", "add.out0_0 add_1.in0_1"]
    assert wires(model_to_dot(toy_resnet(), show_shapes=True)) == sorted(expected)


def test_a_shared_layer_is_one_box_with_ports_for_each_call():
    assert wires(model_to_dot(shared_embedding())) == [
        "input_layer.head embedding.in0_0", "input_layer_1.head embedding.in1_0",
    ]  # fmt: skip


def test_shared_nested_and_two_output_layers():
    outside = [
        *chain("words", "embed", "mix", "mean"),
        "numbers.out0_0 shared.in0_0", "mean.out0_0 shared.in1_0", "shared.out0_0 shared.in2_0",
        "shared.out0_0 plus.in0_0", "shared.out2_0 part.in0_0", "part.out0_0 aux.in0_0",
    ]  # fmt: skip
    model = everything()
    assert wires(model_to_dot(model, show_shapes=True)) == sorted([
        *outside, "plus.out0_0 splitter.in0_0", "shared.out1_0 splitter.in1_0",
        "splitter.out0_0 sum.in0_0", "splitter.out1_1 sum.in0_1",
        "splitter.out1_0 wrap.in0_0", "wrap.out0_0 sum.in0_2",
    ])  # fmt: skip
    # Each call of the nested model is a frame of its own; in the order of the plan.
    graph = model_to_dot(model, show_shapes=True, expand_nested=True)
    assert wires(graph) == sorted([
        *outside, "plus.out0_0 splitter/both.head", "shared.out1_0 splitter:2/both.head",
        "splitter/both.out0_0 splitter/halves.in0_0",
        "splitter:2/both.out0_0 splitter:2/halves.in0_0",
        "splitter/halves.out0_0 sum.in0_0", "splitter:2/halves.out0_1 sum.in0_1",
        "splitter:2/halves.out0_0 wrap/quarter.head", "wrap/quarter.out0_0 wrap/stack/s1.in0_0",
        "wrap/stack/s1.out0_0 wrap/stack/s2.in0_0", "wrap/stack/s2.out0_0 wrap/doubled.in0_0",
        "wrap/doubled.out0_0 sum.in0_2",
    ])  # fmt: skip
    frames = {s.name: s for s in graph.subgraphs()}
    assert set(frames) == {"cluster_splitter", "cluster_splitter:2", "cluster_wrap"}
    assert frames["cluster_splitter:2"].nodes() == ["splitter:2/both", "splitter:2/halves"]
    assert "call 2 of 2" in frames["cluster_splitter:2"].graph_attr["label"]
    assert [s.name for s in frames["cluster_wrap"].subgraphs()] == ["cluster_wrap/stack"]


def test_nested_models_take_their_inputs_by_name():
    a, b = layers.Input((2,), name="a"), layers.Input((3,), name="b")
    join = layers.Concatenate(name="join")([a, b])
    inner = Model({"a": a, "b": b}, join, name="inner")
    x, y = layers.Input((3,), name="x"), layers.Input((2,), name="y")
    model = Model([x, y], inner({"b": x, "a": y}), name="outer")
    graph = model_to_dot(model, expand_nested=True)
    assert wires(graph) == sorted([
        "x.head inner/b.head", "y.head inner/a.head", "inner/a.head inner/join.in0_0",
        "inner/b.head inner/join.in0_1",
    ])  # fmt: skip


def test_values_that_pass_through_a_nested_model():
    a, b = layers.Input((2,), name="a"), layers.Input((2,), name="b")
    crossed = Model([a, b], [b, a], name="crossed")
    x, y = layers.Input((2,), name="x"), layers.Input((2,), name="y")
    p, q = crossed([x, y])
    model = Model([x, y], layers.Subtract(name="minus")([p, q]))
    assert wires(model_to_dot(model, expand_nested=True)) == sorted([
        "x.head crossed/a.head", "y.head crossed/b.head",
        "crossed/b.head minus.in0_0", "crossed/a.head minus.in0_1",
    ])  # fmt: skip


def test_a_model_cut_out_of_another_starts_at_a_tensor():
    model = mlp()
    cut = Model(model.get_layer("dense").output, model.output, name="cut")
    graph = model_to_dot(cut, show_layer_names=True)
    assert wires(graph) == ["dense_1.head dense_2.head", "input:dense.head dense_1.head"]
    assert "<b>dense</b>" in graph.get_node("input:dense").attr["label"]


def test_the_same_tensor_twice():
    x = layers.Input((2,), name="x")
    model = Model(x, layers.Add(name="twice")([x, x]))
    assert wires(model_to_dot(model)) == ["x.head twice.in0_0", "x.head twice.in0_1"]


def test_sequential_starts_at_its_first_layer():
    model = Sequential([layers.Input((4,)), layers.Dense(3, name="p"), layers.Dense(2, name="q")])
    assert wires(model_to_dot(model)) == ["p.head q.head"]


def test_a_model_without_graph_is_one_box():
    class Own(Model):
        def __init__(self):
            super().__init__(name="own")
            self.inner = layers.Dense(3)

        def call(self, inputs):
            return self.inner(inputs)

    model = Own()
    with pytest.raises(NotBuiltError, match=r"(?s)'own' cannot be drawn: .*build"):
        model_to_dot(model)
    model.build((None, 4))
    assert model_to_dot(model, show_shapes=True).nodes() == ["own"]


# ---- what boxes say ------------------------------------------------------------------------------


def label(graph, name):
    return graph.get_node(name).attr["label"]


def test_options_say_what_they_promise():
    model = everything()
    plain = label(model_to_dot(model, show_layer_names=False), "mix")
    assert "<b>Dense</b>" in plain
    assert "mix" not in plain
    assert "None" not in plain
    assert "<b>mix</b>" in label(model_to_dot(model, show_layer_names=True), "mix")
    assert "(None, time, 8)" in label(model_to_dot(model, show_shapes=True), "mix")
    words = label(model_to_dot(model, show_dtype=True), "words")
    assert "int32" in words
    assert "None" not in words
    activated = model_to_dot(model, show_layer_activations=True)
    assert "relu" in label(activated, "shared")
    assert "linear" in label(activated, "mix")
    shared = model.get_layer("shared")
    shared.trainable = False
    trainable = model_to_dot(model, show_trainable=True)
    assert "frozen" in label(trainable, "shared")
    assert "trainable" in label(trainable, "mix")
    assert "trainable" not in label(trainable, "sum")
    assert "dpi=123" in str(model_to_dot(model, dpi=123))
    framed = model_to_dot(model, subgraph=True)
    (frame,) = framed.subgraphs()
    assert "<b>all</b>" in frame.graph_attr["label"]
    assert len(frame.nodes()) == len(framed.nodes())


def test_calls_of_a_shared_layer_are_numbered():
    text = label(model_to_dot(everything(), show_shapes=True), "shared")
    assert all(f"{i}: (None, 8)" in text for i in (1, 2, 3))


def test_ops_show_their_arguments():
    graph = model_to_dot(everything(), show_layer_names=True)
    assert "Add(·, 1)" in label(graph, "plus")
    assert "GetItem[:, 0:3]" in label(graph, "part")


def test_wrappers_name_what_they_wrap():
    class Wrap(layers.Layer):
        def __init__(self, layer, **kwargs):
            super().__init__(**kwargs)
            self.layer = layer

        def call(self, inputs):
            return self.layer(inputs)

    x = layers.Input((3,))
    model = Model(x, Wrap(layers.Dense(2), name="w")(x))
    assert "Wrap(Dense)" in label(model_to_dot(model), "w")


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_directions(rankdir):
    graph = model_to_dot(everything(), rankdir=rankdir, show_shapes=True, expand_nested=True)
    graph.layout(prog="dot")
    a, b = ([float(v) for v in graph.get_node(n).attr["pos"].split(",")] for n in ("words", "sum"))
    axis, sign = {"TB": (1, -1), "BT": (1, 1), "LR": (0, 1), "RL": (0, -1)}[rankdir]
    assert sign * (b[axis] - a[axis]) > 100


# ---- the layout ----------------------------------------------------------------------------------


@pytest.mark.parametrize("expand_nested", [False, True])
@pytest.mark.parametrize("make", ALL)
def test_nothing_overlaps_and_wires_end_at_their_ports(make, expand_nested):
    graph = model_to_dot(
        make(), show_shapes=True, show_layer_names=True, expand_nested=expand_nested
    )
    graph.layout(prog="dot")
    left, low, right, high = map(float, graph.graph_attr["bb"].split(","))
    boxes = {}
    for node in graph.nodes():
        x, y = map(float, node.attr["pos"].split(","))
        w, h = (36 * float(node.attr[k]) for k in ("width", "height"))
        boxes[str(node)] = (x - w, y - h, x + w, y + h)
    for x0, y0, x1, y1 in boxes.values():
        assert left - 1 <= x0
        assert x1 <= right + 1
        assert low - 1 <= y0
        assert y1 <= high + 1
    for (a, b, c, d), (p, q, r, s) in combinations(boxes.values(), 2):
        assert c < p or r < a or d < q or s < b
    ends = {}
    for edge in graph.edges():
        points = edge.attr["pos"].split()
        stop = next(p for p in points if p.startswith("e,")).split(",")[1:]
        start = next(p for p in points if p[0] not in "es").split(",")
        for node, port, (x, y), border in (
            (edge[0], edge.attr["tailport"], start, 1), (edge[1], edge.attr["headport"], stop, 3),
        ):  # fmt: skip
            x0, _, x1, _ = boxes[node]
            assert abs(float(y) - boxes[node][border]) < 2
            assert x0 - 1 <= float(x) <= x1 + 1
            ends.setdefault((node, border), {})[port] = float(x)
    for ports in ends.values():
        assert [ports[k] for k in sorted(ports)] == sorted(ports.values())


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (ensemble, ["functional", "functional_1", "functional_2"]),
        (everything, ["splitter", "splitter", "stack", "wrap"]),
    ],
)
def test_titles_of_frames_keep_clear_of_wires(tmp_path, make, names):
    plot_model(make(), tmp_path / "m.svg", expand_nested=True, show_shapes=True, show_dtype=True)
    drawn = list(ET.parse(tmp_path / "m.svg").getroot().iter())
    paths = [e for g in drawn if g.get("class") == "edge" for e in g.iter() if e.get("d")]
    points = np.concatenate([points_along(e.get("d")[1:].replace("C", " ")) for e in paths])
    titles = [e for e in drawn if e.tag.endswith("text") and e.text in names]
    assert sorted(e.text for e in titles) == names
    for title in titles:
        x, y = float(title.get("x")), float(title.get("y"))
        in_title = (points > [x, y - 8]) & (points < [x + 6 * len(title.text), y + 2])
        assert not in_title.all(axis=1).any()


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_a_wire_from_a_box_to_itself_leads_around_it(rankdir):
    x = layers.Input((4,), name="x")
    shared = layers.Dense(4, name="shared")
    graph = model_to_dot(Model(x, shared(shared(shared(x)))), rankdir=rankdir, show_shapes=True)
    graph.layout(prog="dot")
    square_loops(graph)
    box = graph.get_node("shared")
    middle = np.array([float(v) for v in box.attr["pos"].split(",")])
    half = 36 * np.array([float(box.attr["width"]), float(box.attr["height"])])
    loops = [edge for edge in graph.edges() if edge[0] == edge[1]]
    assert len(loops) == 2
    drawn = []
    for edge in loops:
        points = points_along(edge.attr["pos"])
        outside = np.abs(points - middle) >= half - 2.5  # ports lie within the border
        assert outside.any(axis=1).all()  # it never crosses the box
        steps = np.abs(np.diff(points, axis=0))
        straight = steps.min(axis=1) < 1e-6
        assert straight.mean() > 0.5
        drawn.append(points)
    apart = np.linalg.norm(drawn[0][:, None] - drawn[1][None], axis=-1)
    assert apart.min() > 1


# ---- files ---------------------------------------------------------------------------------------

STARTS = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}


@pytest.mark.parametrize("kind", ["png", "svg", "pdf", "PNG"])
def test_formats(kind, tmp_path):
    path = tmp_path / f"model.{kind}"
    assert plot_model(mlp(), path, show_shapes=True) is None
    assert path.read_bytes().startswith(STARTS[kind.lower()])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_default_file_is_model_png(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    utils.plot_model(mlp())
    assert (tmp_path / "model.png").read_bytes().startswith(STARTS["png"])


def test_resolution(tmp_path):
    widths = []
    for dpi in (100, 200):
        plot_model(mlp(), tmp_path / "m.png", dpi=dpi)
        widths.append(int.from_bytes((tmp_path / "m.png").read_bytes()[16:20]))
    assert widths[1] == pytest.approx(2 * widths[0], abs=3)
    sizes = []
    for dpi in (100, 200):
        plot_model(mlp(), tmp_path / "m.svg", dpi=dpi)
        sizes.append(ET.parse(tmp_path / "m.svg").getroot().get("width"))
    assert sizes[0] == sizes[1]


def test_unknown_suffix(tmp_path):
    with pytest.raises(ArgumentError, match=r"(?s)\.png, \.svg and \.pdf.*m\.bmp.*model_to_dot"):
        plot_model(mlp(), tmp_path / "m.bmp")
    assert not list(tmp_path.iterdir())


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match=r"TB.*'down'"):
        model_to_dot(mlp(), rankdir="down")
    with pytest.raises(ArgumentError, match=r"Expected a model or a layer.*'mlp'"):
        model_to_dot("mlp")
    with pytest.raises(NotBuiltError, match="Input"):
        model_to_dot(Sequential([layers.Dense(3)]))


def test_a_failed_picture_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "m.svg"
    path.write_text("old")
    with pytest.raises(NotBuiltError):
        plot_model(Sequential([layers.Dense(3)]), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.svg"]


def test_names_are_text(tmp_path):
    names = ["<script>alert(1)", "<b>", "a&b;\"c'", "đồ thị", "层"]
    x = layers.Input((2,), name="&lt;")
    y = x
    for name in names:
        y = layers.Dense(2, name=name)(y)
    model = Model(x, y, name="<i>&amp;")
    path = tmp_path / "m.svg"
    plot_model(model, path, show_layer_names=True, show_shapes=True)
    elements = list(ET.parse(path).getroot().iter())
    assert not any("script" in str(e.tag) for e in elements)
    shown = {e.text for e in elements if e.tag.endswith("text")}
    assert {"&lt;", *names} <= shown
    outer = Model(z := layers.Input((2,)), model(z))
    plot_model(outer, path, expand_nested=True)
    assert "<i>&amp;" in {e.text for e in ET.parse(path).getroot().iter()}


def test_a_thousand_layers(tmp_path):
    y = x = layers.Input((2,))
    layer = layers.Dense
    for i in range(990):
        y = layer(2, name=f"d{i}")(y)
    model = Model(x, y)
    plot_model(model, tmp_path / "m.svg", show_shapes=True)
    with pytest.warns(UserWarning, match=r"drawn at \d+ dpi instead of 200. Save an \.svg"):
        plot_model(model, tmp_path / "m.png", show_shapes=True)
    height = int.from_bytes((tmp_path / "m.png").read_bytes()[20:24])
    assert 20_000 < height <= 32_767


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere fontconfig does not decide")
def test_a_machine_without_fonts_is_told(tmp_path):
    (tmp_path / "fonts.conf").write_text(
        f"<fontconfig><cachedir>{tmp_path}</cachedir></fontconfig>", encoding="utf-8"
    )
    code = (
        "import warnings, lamina\nfrom tests.guide.models import mlp\n"
        "for kind in ('svg', 'pdf', 'png'):\n"
        "    with warnings.catch_warnings(record=True) as caught:\n"
        f"        lamina.utils.plot_model(mlp(), {str(tmp_path)!r} + '/m.' + kind)\n"
        "    print(kind, [str(w.message)[:28] for w in caught])\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"FONTCONFIG_FILE": str(tmp_path / "fonts.conf")},
    )  # fmt: skip
    told = ["This machine has no fonts, s"]
    assert made.stdout.splitlines() == ["svg []", f"pdf {told}", f"png {told}"]


def test_notebooks_show_the_picture(tmp_path, monkeypatch):
    shell = types.SimpleNamespace(kernel=object())
    display = types.SimpleNamespace(
        SVG=lambda data: ("svg", data), Image=lambda data, format: (format, data)
    )
    module = types.ModuleType("IPython")
    module.get_ipython, module.display = lambda: shell, display
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert plot_model(mlp(), tmp_path / "m.svg")[0] == "svg"
    assert plot_model(mlp(), tmp_path / "m.png")[1].startswith(STARTS["png"])
    assert plot_model(mlp(), tmp_path / "m.pdf") is None
    del shell.kernel
    assert plot_model(mlp(), tmp_path / "m.svg") is None


def test_halves_alone_show_both_outputs():
    halves = Halves(name="halves")
    halves(layers.Input((6,)))
    text = label(model_to_dot(halves, show_shapes=True), "halves")
    assert text.count("(None, 3)") == 2
    assert "(None, 6)" in text


def test_drawing_writes_nothing_to_the_standard_error_stream(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(layers.__file__).parents[2])}
    code = (
        "import lamina\n"
        "model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])\n"
        "lamina.utils.plot_model(model, 'model.png')\n"
        "lamina.utils.model_to_dot(model).draw('again.png', prog='dot')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert (tmp_path / "model.png").stat().st_size > 1000
