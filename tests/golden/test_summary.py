"""Summaries as a user sees them: whole texts, at several widths."""

import io
import itertools
import re
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from lamina import layers, ops
from lamina.core import naming
from lamina.errors import ArgumentError, UnknownNameError
from lamina.layers import Activation, Dense, Embedding, Input, Layer
from lamina.models import Model, Sequential
from lamina.optimizers.adam import Adam
from lamina.serialization.fields import field
from lamina.visualization import print_summary, summarize


class Split(Layer):
    """Two tensors from one."""

    units: int = field(5)

    def __post_init__(self):
        super().__post_init__()
        self.dense = Dense(self.units)

    def call(self, inputs):
        y = self.dense(inputs)
        return y, y[:, 0]


class Statistics(Layer):
    """A weight that no optimizer changes, besides one that it does."""

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "ones")
        self.mean = self.add_weight((input_shape[-1],), "zeros", trainable=False)

    def call(self, inputs):
        return inputs * self.scale.value + self.mean.value


@pytest.fixture(autouse=True)
def _fresh_names():
    naming.reset()


@pytest.fixture
def mlp():
    x = inputs = Input((784,))
    for _ in range(2):
        x = Dense(64, activation="relu")(x)
    return Model(inputs, Dense(10)(x), name="mlp")


@pytest.fixture
def branching():
    """Shared layer, ops, several outputs, a nested model, a named size."""
    text, image = Input(("time", 8), name="text"), Input((4,), name="image")
    steps, state = Split(name="split")(text)
    shared = Dense(5, name="shared")
    inner_input = Input((5,), name="inner_input")
    hidden = Dense(7, name="hidden")(inner_input)
    inner = Model(inner_input, Dense(3, name="last")(hidden), name="inner")
    both = shared(image) + state
    return Model(
        {"text": text, "image": image},
        {"scores": inner(both), "steps": shared(ops.multiply(steps[:, 0, :4], 2.0))},
        name="branching",
    )


def text(model, **options):
    return str(summarize(model, **{"line_length": 80, **options}))


def shrunk(model, **options):
    """As wide as the text asks for."""
    console = Console(file=io.StringIO(), width=200, color_system=None)
    with console.capture() as capture:
        console.print(summarize(model, **options))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def golden(expected):
    return expected.strip("\n")


# ---- whole texts -------------------------------------------------------------------------------


def test_a_chain_needs_no_column_of_connections(mlp):
    assert shrunk(mlp) == golden("""
Model: "mlp"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ Layer (type)             ┃ Output Shape ┃ Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ input_layer (InputLayer) │ (None, 784)  │       0 │
├──────────────────────────┼──────────────┼─────────┤
│ dense (Dense)            │ (None, 64)   │  50,240 │
├──────────────────────────┼──────────────┼─────────┤
│ dense_1 (Dense)          │ (None, 64)   │   4,160 │
├──────────────────────────┼──────────────┼─────────┤
│ dense_2 (Dense)          │ (None, 10)   │     650 │
└──────────────────────────┴──────────────┴─────────┘
 Total params: 55,050 (215.04 KB)
 Trainable params: 55,050 (215.04 KB)
 Non-trainable params: 0 (0.00 B)
""")


def test_a_branching_graph_says_what_is_connected_to_what(branching):
    assert text(branching, line_length=60) == golden("""
Model: "branching"
┏━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━━━━━┓
┃ Layer (type) ┃ Output Shape   ┃ Param # ┃ Connected to   ┃
┡━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━━━━━┩
│ text         │ (None, time,   │       0 │ -              │
│ (InputLayer) │ 8)             │         │                │
├──────────────┼────────────────┼─────────┼────────────────┤
│ image        │ (None, 4)      │       0 │ -              │
│ (InputLayer) │                │         │                │
├──────────────┼────────────────┼─────────┼────────────────┤
│ split        │ [(None, time,  │      45 │ text[0][0]     │
│ (Split)      │ 5), (None, 5)] │         │                │
├──────────────┼────────────────┼─────────┼────────────────┤
│ shared       │ (None, 5)      │      25 │ image[0][0]    │
│ (Dense)      │                │         │ multiply[0][0] │
├──────────────┼────────────────┼─────────┼────────────────┤
│ get_item     │ (None, 4)      │       0 │ split[0][0]    │
│ (GetItem)    │                │         │                │
├──────────────┼────────────────┼─────────┼────────────────┤
│ add (Add)    │ (None, 5)      │       0 │ shared[0][0]   │
│              │                │         │ split[0][1]    │
├──────────────┼────────────────┼─────────┼────────────────┤
│ multiply     │ (None, 4)      │       0 │ get_item[0][0] │
│ (Multiply)   │                │         │                │
├──────────────┼────────────────┼─────────┼────────────────┤
│ inner        │ (None, 3)      │      66 │ add[0][0]      │
│ (Functional) │                │         │                │
└──────────────┴────────────────┴─────────┴────────────────┘
 Total params: 136 (544.00 B)
 Trainable params: 136 (544.00 B)
 Non-trainable params: 0 (0.00 B)
""")


def test_nested_models_open_in_a_frame(branching):
    branching.get_layer("inner").trainable = False
    shown = text(branching, line_length=100, expand_nested=True, show_trainable=True)
    assert shown == golden("""
Model: "branching"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┓
┃ Layer (type)              ┃ Output Shape               ┃ Param # ┃ Connected to      ┃ Trainable ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━┩
│ text (InputLayer)         │ (None, time, 8)            │       0 │ -                 │ -         │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ image (InputLayer)        │ (None, 4)                  │       0 │ -                 │ -         │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ split (Split)             │ [(None, time, 5),          │      45 │ text[0][0]        │ Y         │
│                           │ (None, 5)]                 │         │                   │           │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ shared (Dense)            │ (None, 5)                  │      25 │ image[0][0]       │ Y         │
│                           │                            │         │ multiply[0][0]    │           │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ get_item (GetItem)        │ (None, 4)                  │       0 │ split[0][0]       │ -         │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ add (Add)                 │ (None, 5)                  │       0 │ shared[0][0]      │ -         │
│                           │                            │         │ split[0][1]       │           │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ multiply (Multiply)       │ (None, 4)                  │       0 │ get_item[0][0]    │ -         │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ inner (Functional)        │ (None, 3)                  │      66 │ add[0][0]         │ N         │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ ├ inner_input             │ (None, 5)                  │       0 │ -                 │ -         │
│ │ (InputLayer)            │                            │         │                   │           │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ ├ hidden (Dense)          │ (None, 7)                  │      42 │ inner_input[0][0] │ N         │
├───────────────────────────┼────────────────────────────┼─────────┼───────────────────┼───────────┤
│ └ last (Dense)            │ (None, 3)                  │      24 │ hidden[0][0]      │ N         │
└───────────────────────────┴────────────────────────────┴─────────┴───────────────────┴───────────┘
 Total params: 136 (544.00 B)
 Trainable params: 70 (280.00 B)
 Non-trainable params: 66 (264.00 B)
""")


def test_a_stack_hides_its_inputs_at_every_depth():
    inner = Sequential([Dense(15), Dense(3)], name="innermost")
    middle = Sequential([Dense(8), inner], name="middle")
    model = Sequential([Input((4,)), Dense(3), middle, Dense(2)], name="outer")
    assert shrunk(model, expand_nested=True) == golden("""
Model: "outer"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ Layer (type)             ┃ Output Shape ┃ Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ dense_3 (Dense)          │ (None, 3)    │      15 │
├──────────────────────────┼──────────────┼─────────┤
│ middle (Sequential)      │ (None, 3)    │     215 │
├──────────────────────────┼──────────────┼─────────┤
│ ├ dense_2 (Dense)        │ (None, 8)    │      32 │
├──────────────────────────┼──────────────┼─────────┤
│ └ innermost (Sequential) │ (None, 3)    │     183 │
├──────────────────────────┼──────────────┼─────────┤
│   ├ dense (Dense)        │ (None, 15)   │     135 │
├──────────────────────────┼──────────────┼─────────┤
│   └ dense_1 (Dense)      │ (None, 3)    │      48 │
├──────────────────────────┼──────────────┼─────────┤
│ dense_4 (Dense)          │ (None, 2)    │       8 │
└──────────────────────────┴──────────────┴─────────┘
 Total params: 238 (952.00 B)
 Trainable params: 238 (952.00 B)
 Non-trainable params: 0 (0.00 B)
""")


def test_an_unbuilt_model_says_so():
    model = Sequential([Dense(3), Activation("relu")], name="later")
    assert shrunk(model) == golden("""
Model: "later"
┏━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━┓
┃ Layer (type)            ┃ Output Shape ┃     Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━┩
│ dense (Dense)           │ ?            │ 0 (unbuilt) │
├─────────────────────────┼──────────────┼─────────────┤
│ activation (Activation) │ ?            │ 0 (unbuilt) │
└─────────────────────────┴──────────────┴─────────────┘
 Total params: 0 (0.00 B)
 Trainable params: 0 (0.00 B)
 Non-trainable params: 0 (0.00 B)
""")


# ---- width -------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [30, 45, 60, 80, 120, 200])
@pytest.mark.parametrize("options", [{}, {"expand_nested": True, "show_trainable": True}])
def test_every_line_fits_and_nothing_is_cut(branching, width, options):
    shown = text(branching, line_length=width, **options)
    assert all(len(line) <= width for line in shown.splitlines())
    top, *lines = shown.splitlines()[1:]
    edges = [i for i, char in enumerate(top) if char in "┏┳┓"]
    found = [[""] * (len(edges) - 1)]
    for line in lines:
        if line.startswith("│ "):
            texts = [line[a + 1 : b].strip(" │├└") for a, b in itertools.pairwise(edges)]
            found[-1] = [a + b for a, b in zip(found[-1], texts, strict=True)]
        elif line[0] in "├└":
            found.append([""] * (len(edges) - 1))
    wanted = [
        [f"{row.name}({row.type})", row.shape_text, row.params_text, "".join(row.connected_to)]
        for row in summarize(branching, **options).rows
    ]
    for cells, texts in zip(found[:-1], wanted, strict=True):
        assert ["".join(c.strip("-").split()) for c in cells[:4]] == [
            "".join(text.split()) for text in texts
        ]


def test_a_line_length_is_used_in_full(mlp):
    for width in (60, 90):
        lines = text(mlp, line_length=width).splitlines()
        assert len(lines[1]) == width
    with pytest.raises(ArgumentError, match=r"`line_length` is a positive number. Received: 0"):
        summarize(mlp, line_length=0)


def test_the_terminal_decides_without_one(mlp, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, str(summarize(mlp)).splitlines())) <= 40
    monkeypatch.setenv("COLUMNS", "200")
    assert str(summarize(mlp)) == shrunk(mlp)


def test_long_names_break_where_they_read_best():
    inputs = Input((4,), name="in")
    model = Model(inputs, Dense(2, name="a_rather_long_name_for_such_a_layer")(inputs), name="m")
    assert text(model, line_length=45) == golden("""
Model: "m"
┏━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━┓
┃                     ┃ Output    ┃         ┃
┃ Layer (type)        ┃ Shape     ┃ Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━┩
│ in (InputLayer)     │ (None, 4) │       0 │
├─────────────────────┼───────────┼─────────┤
│ a_rather_long_name_ │ (None, 2) │      10 │
│ for_such_a_layer    │           │         │
│ (Dense)             │           │         │
└─────────────────────┴───────────┴─────────┘
 Total params: 10 (40.00 B)
 Trainable params: 10 (40.00 B)
 Non-trainable params: 0 (0.00 B)
""")


# ---- where it goes -----------------------------------------------------------------------------


def test_print_fn_receives_the_whole_text_once(mlp):
    received = []
    assert print_summary(mlp, line_length=80, print_fn=received.append) is None
    assert received == [text(mlp)]
    mlp.summary(line_length=80, print_fn=received.append)
    assert received[1] == received[0]


def test_printing_to_a_file_uses_no_colours(mlp, capsys):
    mlp.summary(line_length=80)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [line.rstrip() for line in out.splitlines()] == text(mlp).splitlines()


def test_a_terminal_gets_colours(mlp):
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80)
    console.print(summarize(mlp))
    coloured = console.file.getvalue()
    assert "\x1b[32m50,240\x1b[0m" in coloured
    plain = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == shrunk(mlp).splitlines()


def test_a_terminal_without_line_drawing_gets_plain_signs(branching, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_summary(branching, expand_nested=True, line_length=80)
    stream.flush()
    assert b"| | inner_input" in stream.buffer.getvalue()


def test_a_notebook_gets_a_table_that_cannot_carry_markup(branching):
    branching.get_layer("split").name = "<script>&"
    shown = summarize(branching, expand_nested=True)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;&amp; (Split)" in shown
    assert "image[0][0]<br>multiply[0][0]" in shown
    assert shown.count("<tr>") == 12
    assert "<b>Total params:</b> 136 (544.00 B)" in shown


# ---- rows and totals as data -------------------------------------------------------------------


def rows(model, **options):
    return {row.name: row for row in summarize(model, **options).rows}


def test_rows_are_data(branching):
    found = rows(branching, expand_nested=True)
    assert found["text"].output_shapes == ((None, "time", 8),)
    assert found["split"].output_shapes == ([(None, "time", 5), (None, 5)],)
    assert found["shared"].connected_to == ("image[0][0]", "multiply[0][0]")
    assert (found["add"].type, found["get_item"].type) == ("Add", "GetItem")
    assert (found["inner"].depth, found["hidden"].depth) == (0, 1)
    assert (found["hidden"].params, found["inner"].params) == (42, 66)


def test_sizes_show_their_formulas():
    x = Input(("time", 4), name="x")
    joined = ops.concatenate([x, x], axis=1)
    folded = ops.reshape(x, (-1, 4))
    found = rows(Model(x, [joined, folded], name="m"))
    assert found["concatenate"].shape_text.replace("\xa0", " ") == "(None, 2*time, 4)"
    assert found["reshape"].shape_text.replace("\xa0", " ") == "(batch*time, 4)"


def test_a_shared_layer_shows_each_different_shape_once():
    a, b, c = Input((4,), name="a"), Input((4,), name="b"), Input((7, 4), name="c")
    shared = Dense(2, name="shared")
    found = rows(Model([a, b, c], [shared(a), shared(b), shared(c)], name="m"))
    assert found["shared"].output_shapes == ((None, 2), (None, 7, 2))
    assert found["shared"].connected_to == ("a[0][0]", "b[0][0]", "c[0][0]")


def test_calls_elsewhere_are_not_shown():
    shared = Dense(2, name="shared")
    shared(Input((9, 4), name="elsewhere"))
    x = Input((4,), name="x")
    found = rows(Model(x, shared(x) + 1.0, name="m"))
    assert found["shared"].output_shapes == ((None, 2),)
    assert found["add"].connected_to == ("shared[1][0]",)  # as `shared.nodes[1]` has it


def test_a_weight_that_two_layers_share_counts_once():
    table = Embedding(10, 4, name="table")

    class Scores(Layer):
        def __init__(self):
            super().__init__(name="scores")
            self.table = table

        def call(self, inputs):
            return ops.matmul(inputs, ops.transpose(self.table.embeddings.value))

    x = Input((3,), dtype="int32", name="x")
    model = Model(x, Scores()(table(x)), name="tied")
    found = rows(model)
    assert (found["table"].params, found["scores"].params) == (40, 40)
    assert summarize(model).total.params == 40


def test_what_is_frozen_does_not_train(branching):
    branching.get_layer("inner").trainable = False
    table = summarize(branching, expand_nested=True, show_trainable=True)
    assert (table.trainable.params, table.non_trainable.params) == (70, 66)
    marks = {row.name: row.trainable_text for row in table.rows}
    assert {k: marks[k] for k in ("split", "inner", "hidden", "add", "text")} == {
        "split": "Y", "inner": "N", "hidden": "N", "add": "-", "text": "-",
    }  # fmt: skip
    branching.trainable = False
    assert summarize(branching).trainable.params == 0


def test_weights_that_never_train_are_told_apart():
    x = Input((6,), name="x")
    table = summarize(Model(x, Statistics(name="statistics")(x), name="m"), show_trainable=True)
    assert (table.trainable.params, table.non_trainable.params) == (6, 6)
    assert table.rows[-1].trainable_text == "Y"


def test_the_optimizers_state_counts_once_it_exists(mlp):
    mlp.optimizer = Adam()
    assert summarize(mlp).optimizer.params == 0
    mlp.optimizer.build({a: v for a, (v, trains) in mlp.named_variables().items() if trains})
    assert text(mlp).splitlines()[-4:] == [
        " Total params: 165,152 (645.12 KB)",
        " Trainable params: 55,050 (215.04 KB)",
        " Non-trainable params: 0 (0.00 B)",
        " Optimizer params: 110,102 (430.09 KB)",
    ]


def test_bytes_follow_the_dtype():
    x = Input((1024,), name="x")
    half = Model(x, Dense(1024, use_bias=False, dtype="float16")(x), name="half")
    assert summarize(half).total.bytes == 2 * 1024**2
    assert str(summarize(half).total) == "1,048,576 (2.00 MB)"
    assert jnp.dtype(half.weights[0].dtype).itemsize == 2


def test_a_model_of_ones_own_class_shows_what_it_was_called_with():
    class Own(Model):
        def __init__(self):
            super().__init__(name="own")
            self.first, self.second = Dense(3, name="first"), Dense(4, name="second")

        def call(self, inputs):
            return self.second(self.first(inputs))

    model = Own()
    assert [row.shape_text for row in summarize(model).rows] == ["?", "?"]
    model(np.ones((2, 5), "float32"))
    found = rows(model)
    assert found["first"].output_shapes == ((None, 3),)
    assert found["second"].output_shapes == ((None, 4),)
    assert summarize(model).total.params == 34


# ---- ranges ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer_range", "shown"),
    [
        (("dense", "dense_1"), ["dense", "dense_1"]),
        (("dense_1", "dense"), ["dense", "dense_1"]),
        (("input.*", "dense$"), ["input_layer", "dense"]),
        (("dense_.*", "dense_.*"), ["dense_1", "dense_2"]),
    ],
)
def test_a_range_of_layers_by_name_or_pattern(mlp, layer_range, shown):
    table = summarize(mlp, layer_range=layer_range)
    assert [row.name for row in table.rows] == shown
    assert table.total.params == 55_050


def test_a_range_that_matches_nothing_lists_the_layers(mlp):
    message = r"no layer name equals or matches 'conv.*The layers are \['input_layer', 'dense'"
    with pytest.raises(UnknownNameError, match=message):
        summarize(mlp, layer_range=("conv.*", "dense"))
    with pytest.raises(ArgumentError, match=r"is a pair \(first, last\).*Received: 'dense'"):
        summarize(mlp, layer_range="dense")


def test_costs_are_counted_with_named_sizes_in_them():
    ids = layers.Input(("time",), name="ids")
    tags = layers.Input((None,), name="tags")
    x = layers.LSTM(16, name="read")(layers.Embedding(50, 8, name="look")(ids))
    x = layers.Dense(3, name="out")(x) * 2.0
    model = Model([ids, tags], [x, layers.Embedding(9, 4, name="other")(tags)])
    rows = {row.name: row for row in summarize(model, show_cost=True).rows}
    assert str(rows["read"].operations) == "3504*time"
    assert str(rows["look"].activation_bytes) == "32*time"
    assert rows["out"].operations == (2 * 16 + 1) * 3
    assert rows["out"].activation_bytes == 12
    text = str(summarize(model, show_cost=True, line_length=120))
    assert "3504*time" in text
    assert "32*time B" in text
    assert rows["ids"].operations == 0
    without = {row.name: row for row in summarize(model).rows}
    assert without["read"].operations is None
    assert "FLOPs" not in str(summarize(model))


def test_layers_outside_a_graph_show_the_shapes_of_their_outputs():
    class Cached(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(input_shape[-1:])

        def call(self, x, cache=None):
            return x * self.scale, cache

    class Both(Model):
        def __init__(self):
            super().__init__()
            self.inner = Sequential([Input((4,)), Dense(3)], name="inner")
            features = Input((3,))
            self.heads = Model(features, [Dense(1)(features), Dense(2)(features)], name="heads")
            self.cached = Cached(name="cached")

        def call(self, x):
            return self.heads(self.cached(self.inner(x))[0])

    model = Both()
    model(jnp.ones((2, 4)))
    shapes = {row.name: row.output_shapes for row in summarize(model).rows}
    assert shapes == {
        "inner": ((None, 3),), "heads": ([(None, 1), (None, 2)],), "cached": ((None, 3),),
    }  # fmt: skip
    assert model.cached.compute_output_shape((2, 3)) == ((2, 3), None)
