"""What recurrent layers do with masks, states, dropout and wrong input; much of it as in Keras."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.core.scope import get_mask
from lamina.errors import ArgumentError, ShapeError, StateError, StructureError
from lamina.layers.bidirectional import Bidirectional
from lamina.layers.convolution_recurrent import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from lamina.layers.core import Dense, Embedding
from lamina.layers.recurrent import GRU, LSTM, RNN, SimpleRNN
from lamina.layers.recurrent_cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from lamina.layers.regularization import Dropout
from lamina.layers.wrappers import TimeDistributed
from lamina.ops.lowering.recurrence import _compiled_loop, convolution_by_products
from lamina.serialization import registry
from tests.cases.layers_recurrent import LeakyCell
from tests.differential import spread  # noqa: F401 - it registers the twins in Keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
H, C = RNG.normal(size=(2, 3, 4)).astype("float32")
UNITS = [SimpleRNN, GRU, LSTM]


def both(ours, x, **call):
    """Outputs and gradients by the input, here and in Keras, with equal weights."""
    theirs = keras.layers.deserialize(registry.serialize(ours))
    found = []
    for layer in (ours, theirs):
        layer.build(x.shape)

        @jax.jit
        def run(x, layer=layer):
            outputs, pull = jax.vjp(lambda x: layer(x, **call), x)
            waves = jax.tree.map(lambda y: jnp.cos(jnp.arange(y.size)).reshape(y.shape), outputs)
            return outputs, pull(waves)

        layer.set_weights(ours.get_weights())
        found.append(run(x))
    return found


def agree(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# ---- masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "sequences", "zeros"),
    [(LSTM, False, False), (LSTM, True, True), (GRU, True, False), (SimpleRNN, False, True)],
)
def test_masks(cls, sequences, zeros):
    states = [H, C] if cls is LSTM else [H]
    layer = cls(4, return_sequences=sequences, return_state=True, zero_output_for_mask=zeros)
    agree(*both(layer, X, initial_state=states, mask=MASK))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: LSTM(4, go_backwards=True, return_sequences=True),
        lambda: Bidirectional(GRU(4, return_sequences=True)),
        lambda: Bidirectional(LSTM(4), merge_mode="sum"),
        lambda: RNN([LSTMCell(4), GRUCell(2)], return_sequences=True),
        lambda: RNN(LSTMCell(4), return_state=True),
    ],
)
def test_masks_both_ways_and_in_stacks(layer):
    agree(*both(layer(), X, mask=MASK))


def test_masks_of_images():
    """Keras takes no mask here for batches of several images."""
    images = RNG.normal(size=(2, 5, 4, 4, 2)).astype("float32")
    layer = ConvLSTM2D(2, 3)
    masked = layer(images, mask=np.arange(5)[None] < np.array([[3], [5]]))
    for i, n in enumerate((3, 5)):
        agree(masked[i], layer(images[i : i + 1, :n])[0])


@pytest.mark.parametrize("make", [*(lambda c=c: c(4) for c in UNITS), lambda: RNN(LeakyCell(4)),
                                  lambda: RNN([GRUCell(2), LeakyCell(4)]),
                                  lambda: Bidirectional(LSTM(4)),
                                  lambda: Bidirectional(RNN(LeakyCell(4)))])  # fmt: skip
def test_a_masked_sequence_is_the_shorter_sequence(make):
    layer = make()
    masked = layer(X, mask=np.arange(5)[None] < np.array([[3], [5], [1]]))
    for i, n in enumerate((3, 5, 1)):
        np.testing.assert_allclose(masked[i], layer(X[i : i + 1, :n])[0], rtol=1e-5, atol=1e-6)


def test_a_masked_step_of_a_users_cell_repeats_the_output_not_the_state():
    layer = RNN(LeakyCell(4), return_sequences=True)
    y = layer(X, mask=MASK)
    np.testing.assert_array_equal(y[0, 3], y[0, 2])
    np.testing.assert_array_equal(y[0, 4], y[0, 2])
    np.testing.assert_array_equal(y[1, 2], y[1, 1])
    np.testing.assert_array_equal(y[2], 0)
    zeros = RNN(layer.cell, return_sequences=True, zero_output_for_mask=True)(X, mask=MASK)
    np.testing.assert_array_equal(zeros, y * MASK[..., None])


def test_the_mask_travels_with_a_returned_sequence():
    ids = np.array([[1, 2, 3, 0], [1, 0, 0, 0]])
    x = Embedding(5, 3, mask_zero=True)(ids)
    assert get_mask(LSTM(4)(x)) is None
    np.testing.assert_array_equal(get_mask(LSTM(4, return_sequences=True)(x)), ids != 0)
    y, h, c = LSTM(4, return_sequences=True, return_state=True)(x)
    np.testing.assert_array_equal(get_mask(y), ids != 0)
    assert get_mask(h) is None
    assert get_mask(c) is None
    pair = Bidirectional(GRU(4, return_sequences=True, return_state=True), merge_mode=None)(x)
    masks = [get_mask(y) for y in pair]
    np.testing.assert_array_equal(masks[:2], [ids != 0] * 2)
    assert masks[2:] == [None, None]
    np.testing.assert_array_equal(get_mask(TimeDistributed(Dense(2))(x)), ids != 0)


def test_a_mask_in_a_graph():
    ids = lamina.Input((None,), dtype="int32")
    x = Embedding(5, 3, mask_zero=True)(ids)
    x = Bidirectional(LSTM(4, return_sequences=True))(x)
    model = lamina.Model(ids, GRU(3)(x))
    padded = model(np.array([[1, 2, 3, 0, 0]]))
    np.testing.assert_allclose(padded, model(np.array([[1, 2, 3]])), rtol=1e-5, atol=1e-6)


def test_masks_of_slices():
    x = RNG.normal(size=(2, 3, 5, 2)).astype("float32")
    mask = RNG.random((2, 3, 5)) > 0.4
    agree(*both(TimeDistributed(LSTM(4)), x, mask=jnp.asarray(mask)))


# ---- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", UNITS)
def test_initial_states(cls):
    states = [H, C] if cls is LSTM else [H]
    layer = cls(4, return_sequences=True, return_state=True)
    want, theirs = both(layer, X, initial_state=states)
    agree(want, theirs)
    agree(want[0], layer([X, *states]))
    if cls is not LSTM:
        agree(want[0], layer(X, initial_state=H))
    first = layer(X[:, :2], initial_state=states)
    agree([y[:, 2:] if y.ndim == 3 else y for y in want[0]],
          layer(X[:, 2:], initial_state=first[1:]))  # fmt: skip


def test_initial_states_of_both_directions_and_of_stacks():
    agree(*both(Bidirectional(LSTM(4, return_state=True)), X, initial_state=[H, C, C, H]))
    agree(*both(Bidirectional(GRU(4)), X, initial_state=[H, C]))
    stack = RNN([LSTMCell(4), SimpleRNNCell(4)], return_state=True)
    agree(*both(stack, X, initial_state=[[H, C], [C]]))
    agree(stack(X, initial_state=[[H, C], [C]]), stack(X, initial_state=[H, C, C]))


def test_states_in_a_graph():
    x, more = lamina.Input((None, 3)), lamina.Input((None, 3))
    _, *states = LSTM(4, return_state=True, name="encoder")(x)
    decoder = LSTM(4, return_sequences=True, name="decoder")
    by_name = lamina.Model([x, more], decoder(more, initial_state=states))
    by_list = lamina.Model([x, more], decoder([more, *states]))
    inputs = [X, X[:, :2]]
    agree(by_name(inputs), by_list(inputs))
    encoder = by_name.get_layer("encoder")
    agree(by_name(inputs), decoder(inputs[1], initial_state=encoder(X)[1:]))


@pytest.mark.parametrize(
    "layer",
    [
        *(lambda c=c: c(4, stateful=True) for c in UNITS),
        lambda: RNN([LSTMCell(4), GRUCell(2)], stateful=True),
        lambda: RNN(LeakyCell(4), stateful=True),
        lambda: Bidirectional(LSTM(4, stateful=True)),
    ],
)
def test_a_stateful_layer_goes_on_where_it_stopped(layer):
    ours = layer()
    theirs = keras.layers.deserialize(registry.serialize(ours))
    for made in (ours, theirs):
        made.build(X.shape)
    assert [v.name for v in ours.weights] == [v.name for v in theirs.weights]
    theirs.set_weights(ours.get_weights())
    for part in (X[:, :2], X[:, 2:]):
        agree(ours(part), theirs(part))
    whole = ours(X[:, 2:])
    ours.reset_states()
    assert not np.allclose(whole, ours(X[:, 2:]))
    assert all(not v.trainable for v in ours.states)


def test_states_pass_through_the_pure_form_and_a_compiled_one():
    layer = LSTM(4, stateful=True)
    layer.build((3, None, 3))
    first, second = layer(X[:, :2]), layer(X[:, 2:])
    layer.reset_state()
    trainable = [v.value for v in layer.trainable_variables]
    state = [v.value for v in layer.non_trainable_variables]
    assert len(state) == 2
    run = jax.jit(layer.stateless_call)
    y, state = run(trainable, state, X[:, :2])
    agree(first, y)
    agree(second, run(trainable, state, X[:, 2:])[0])
    np.testing.assert_array_equal(layer.states[0].numpy(), 0)


def test_images_with_a_state():
    images = RNG.normal(size=(3, 4, 5, 5, 2)).astype("float32")
    layer = ConvLSTM2D(2, 3, stateful=True)
    layer(images[:, :2])
    kept = ConvLSTM2D(2, 3)
    kept(images)
    kept.set_weights(layer.get_weights())
    agree(layer(images[:, 2:]), kept(images))


# ---- the loop ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [*(lambda c=c, **k: c(4, **k) for c in UNITS),
                                  lambda **k: RNN([LSTMCell(4), LeakyCell(2)], **k)])  # fmt: skip
def test_unrolled_is_looped(make):
    looped, unrolled = make(return_sequences=True), make(return_sequences=True, unroll=True)
    for layer in (looped, unrolled):
        layer(X)
    unrolled.set_weights(looped.get_weights())
    for mask in (None, MASK):
        agree(looped(X, mask=mask), unrolled(X, mask=mask))
    assert "while" in str(jax.make_jaxpr(looped)(X)) or "scan" in str(jax.make_jaxpr(looped)(X))
    assert unrolled(lamina.Input((None, 3))).shape == (None, None, make().cell.output_size)


def test_symbolic_sizes():
    for cls in UNITS:
        assert cls(4, return_sequences=True)(lamina.Input((None, 8))).shape == (None, None, 4)
        y = cls(4, return_sequences=True)(lamina.Input(("time", 8)))
        assert y.dims == ("batch", "time", 4)
        assert cls(4)(lamina.Input((None, 8)), mask=lamina.Input((None,), dtype="bool")).shape == (
            None, 4,
        )  # fmt: skip
    x = lamina.Input(("time", 8))
    y, [h, c], [h2] = RNN([LSTMCell(4), GRUCell(2)], return_state=True)(x)
    assert [t.dims for t in (y, h, c, h2)] == [("batch", n) for n in (2, 4, 4, 2)]
    assert Bidirectional(GRU(4, return_sequences=True))(x).dims == ("batch", "time", 8)
    assert TimeDistributed(Dense(3))(x).dims == ("batch", "time", 3)
    images = lamina.Input(("time", "height", "width", 3))
    y = ConvLSTM2D(4, 3, return_sequences=True)(images)
    assert y.dims == ("batch", "time", "height - 2", "width - 2", 4)
    y = ConvLSTM2D(4, 3, padding="same")(lamina.Input((None, None, None, 3)))
    assert y.shape == (None, None, None, 4)
    frames = TimeDistributed(TimeDistributed(Dense(4)))(images)
    assert frames.dims == ("batch", "time", "height", "width", 4)


def test_the_input_part_is_one_product():
    equations = [str(e) for e in jax.make_jaxpr(LSTM(4))(X).eqns]
    [loop] = [e for e in equations if "scan" in e]
    assert sum(e.count("dot_general") for e in equations if e is not loop) == 1
    assert loop.count("dot_general") == 1


def test_a_loop_compiles_once():
    layer = Bidirectional(LSTM(4))
    layer(X)
    before = _compiled_loop._cache_size()
    layer(X + 1)
    LSTM(4)(X)
    assert _compiled_loop._cache_size() == before


def test_windows_of_even_size():
    for size in (1, 2, 3, 4):
        x = jnp.asarray(RNG.normal(size=(2, 5, 4, 3)), "float32")
        kernel = jnp.asarray(RNG.normal(size=(size, 3, 3, 2)), "float32")
        want = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        np.testing.assert_allclose(convolution_by_products(x, kernel), want, rtol=1e-4, atol=1e-5)


# ---- dropout -------------------------------------------------------------------------------------


def test_the_same_entries_drop_at_each_step():
    layer = SimpleRNN(50, "linear", recurrent_initializer="zeros", kernel_initializer="identity",
                      return_sequences=True, dropout=0.5)  # fmt: skip
    y = np.asarray(layer(np.ones((40, 6, 50), "float32"), training=True))
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :1]).all()
    assert 0.4 < y.mean() / 2 < 0.6
    np.testing.assert_array_equal(layer(np.ones((1, 6, 50), "float32")), 1)


def test_the_same_entries_of_the_state_drop_at_each_step():
    layer = SimpleRNN(50, "linear", recurrent_initializer="identity", kernel_initializer="zeros",
                      recurrent_dropout=0.5)  # fmt: skip
    y = layer(np.ones((40, 3, 1), "float32"), initial_state=np.ones((40, 50), "float32"),
              training=True)  # fmt: skip
    assert set(np.unique(y)) == {0.0, 8.0}
    # Where the state does not enter a product it is whole: z * h.
    for reset_after in (True, False):
        gru = GRU(50, recurrent_initializer="zeros", kernel_initializer="zeros",
                  recurrent_dropout=0.5, reset_after=reset_after)  # fmt: skip
        y = gru(np.ones((4, 1, 1), "float32"), initial_state=np.ones((4, 50), "float32"),
                training=True)  # fmt: skip
        np.testing.assert_array_equal(y, 0.5)


@pytest.mark.parametrize("make", [*(lambda c=c, **k: c(4, **k) for c in UNITS),
                                  lambda **k: RNN([GRUCell(4, **k), LSTMCell(4, **k)]),
                                  lambda **k: Bidirectional(LSTM(4, **k))])  # fmt: skip
def test_dropout_only_while_training(make):
    layer = make(dropout=0.3, recurrent_dropout=0.3)
    np.testing.assert_array_equal(layer(X), layer(X, training=False))
    assert (layer(X) != layer(X, training=True)).any()
    assert (layer(X, training=True) != layer(X, training=True)).any()


def test_a_users_cell_draws_anew_at_each_step():
    class Noisy(lamina.Layer):
        state_size = 30

        def __init__(self):
            super().__init__()
            self.dropout = Dropout(0.5)

        def call(self, inputs, states):
            return self.dropout(inputs), states

    y = np.asarray(RNN(Noisy(), return_sequences=True)(np.ones((4, 5, 30)), training=True))
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y[:, 1:] != y[:, :-1]).any(axis=(0, 2)).all()


# ---- cells ---------------------------------------------------------------------------------------


def test_one_state_may_come_without_its_list():
    for cell in (SimpleRNNCell(4), GRUCell(4)):
        output, state = cell(X[:, 0], jnp.asarray(H))
        _, [in_list] = cell(X[:, 0], [H])
        np.testing.assert_array_equal(state, in_list)
        assert output.shape == (3, 4)


def test_initial_states_of_cells():
    stack = StackedRNNCells([LSTMCell(4), GRUCell(2)])
    assert stack.state_size == [[4, 4], 2]
    assert stack.output_size == 2
    shapes = jax.tree.map(np.shape, stack.get_initial_state(batch_size=3))
    assert shapes == [[(3, 4), (3, 4)], [(3, 2)]]
    assert [s.shape for s in LSTM(4).get_initial_state(3)] == [(3, 4), (3, 4)]
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*batch size 3"):
        ConvLSTM2D(4, 2, name="culprit").get_initial_state(3)


def test_a_stack_is_its_cells_one_after_another():
    layer = RNN([LSTMCell(4), GRUCell(2)])
    y = layer(X, mask=MASK)
    first, second = LSTM(4, return_sequences=True), GRU(2)
    second(first(X))
    first.set_weights(layer.get_weights()[:3])
    second.set_weights(layer.get_weights()[3:])
    agree(y, second(first(X, mask=MASK), mask=MASK))
    step = StackedRNNCells([layer.cell.cells[0], layer.cell.cells[1]])
    states = step.get_initial_state(3)
    for t in range(5):
        output, states = step(X[:, t], states)
    agree(layer(X), output)


def test_a_users_cell_chooses_its_first_state_and_its_shapes():
    class Zeros(lamina.Layer):
        state_size = [(2, 3), 1]  # noqa: RUF012
        output_size = 3

        def call(self, inputs, states):
            matrix, count = states
            return (matrix * inputs[:, None]).sum(1), (matrix, count + 1)

    class Matrix(Zeros):
        def get_initial_state(self, batch_size=None):
            return [jnp.ones((batch_size, 2, 3)), jnp.zeros((batch_size, 1))]

    y, matrix, count = RNN(Matrix(), return_state=True)(X)
    np.testing.assert_allclose(y, 2 * X[:, -1])
    assert matrix.shape == (3, 2, 3)
    np.testing.assert_array_equal(count, 5)
    assert RNN(Matrix())(lamina.Input((None, 3))).shape == (None, 3)

    ways = Bidirectional(RNN(Matrix(), return_state=True))
    states = [np.ones((3, 2, 3), "float32"), np.zeros((3, 1), "float32")] * 2
    agree(ways(X), ways(X, initial_state=states))

    np.testing.assert_array_equal(RNN(Zeros())(X), 0)


def test_an_overridden_call_of_a_builtin_cell_is_used():
    class Doubled(LSTMCell):
        def call(self, inputs, states, training=False):
            output, states = super().call(inputs, states, training)
            return 2 * output, states

    layer = RNN(Doubled(4), return_sequences=True)
    plain = RNN(LSTMCell(4), return_sequences=True)
    layer(X)
    plain(X)
    plain.set_weights(layer.get_weights())
    agree(layer(X), 2 * plain(X))


def test_cells_that_break_the_rules():
    class Counting(lamina.Layer):
        state_size = 3

        def build(self, input_shape):
            self.steps = self.add_weight(
                shape=(), initializer="zeros", trainable=False, name="steps"
            )

        def call(self, inputs, states):
            self.steps.assign_add(1.0)
            return inputs, states

    class Penalized(lamina.Layer):
        state_size = 3

        def call(self, inputs, states):
            self.add_loss(jnp.sum(inputs))
            return inputs, states

    class NoStates(lamina.Layer):
        state_size = 3

        def call(self, inputs, states):
            return inputs

    class Growing(lamina.Layer):
        state_size = 3

        def call(self, inputs, states):
            return inputs, [jnp.concatenate([states[0], inputs], -1)]

    with pytest.raises(StateError, match="steps"):
        RNN(Counting())(X)
    with pytest.raises(StateError, match="losses"):
        RNN(Penalized())(X)
    with pytest.raises(StructureError, match="NoStates"):
        RNN(NoStates())(X)
    with pytest.raises(ShapeError, match=r"Growing[\s\S]*\(3, 3\)[\s\S]*\(3, 6\)"):
        RNN(Growing())(X)


# ---- both ways -----------------------------------------------------------------------------------


def test_directions_are_named_copies():
    given = LSTM(4, name="mine")
    layer = Bidirectional(given)
    assert (layer.forward_layer.name, layer.backward_layer.name) == (
        "forward_mine",
        "backward_mine",
    )
    assert not layer.forward_layer.go_backwards
    assert layer.backward_layer.go_backwards
    layer(X)
    assert not given.built
    assert layer.weights[0].path == f"{layer.name}/forward_mine/lstm_cell/kernel"
    again = registry.deserialize(registry.serialize(layer))
    assert again.forward_layer.name == "forward_mine"
    other = Bidirectional(LSTM(4), backward_layer=GRU(4, go_backwards=True, name="other"))
    assert other.backward_layer.name == "other"


def test_initial_weights_of_both_directions():
    first = Bidirectional(GRU(4))
    y = first(X)
    agree(y, Bidirectional(GRU(4), weights=first.get_weights())(X))


@pytest.mark.parametrize(
    ("mode", "merge"),
    [
        ("sum", jnp.add),
        ("ave", lambda a, b: (a + b) / 2),
        ("mul", jnp.multiply),
        ("concat", lambda a, b: jnp.concatenate([a, b], -1)),
    ],
)
def test_merging_of_directions(mode, merge):
    apart = Bidirectional(GRU(4, return_sequences=True), merge_mode=None)
    merged = Bidirectional(GRU(4, return_sequences=True), merge_mode=mode)
    apart(X)
    merged(X)
    merged.set_weights(apart.get_weights())
    agree(merged(X, mask=MASK), merge(*apart(X, mask=MASK)))


def test_directions_that_do_not_fit():
    for forward, backward in (
        (LSTM(4, go_backwards=True), None),
        (LSTM(4), LSTM(4)),
        (LSTM(4, return_sequences=True), LSTM(4, go_backwards=True)),
        (LSTM(4, return_state=True), LSTM(4, go_backwards=True)),
        (LSTM(4), LSTM(4, go_backwards=True, stateful=True)),
    ):
        with pytest.raises(ArgumentError, match="opposite directions"):
            Bidirectional(forward, backward_layer=backward)
    with pytest.raises(ArgumentError, match="`layer`: expected a recurrent layer"):
        Bidirectional(Dense(3))
    with pytest.raises(ArgumentError, match="`backward_layer`: expected a recurrent layer"):
        Bidirectional(LSTM(3), backward_layer=Dense(3))
    with pytest.raises(ArgumentError, match="merge_mode"):
        Bidirectional(LSTM(3), merge_mode="max")


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize("cls", [*UNITS, ConvLSTM1D, ConvLSTM2D, ConvLSTM3D])
def test_wrong_rank_and_channels(cls, symbolic):
    rank = getattr(cls, "rank", 0)
    layer = cls(4, 2, name="culprit") if rank else cls(4, name="culprit")

    def tensor(*shape):
        return lamina.Input(shape) if symbolic else np.ones((2, *shape), "float32")

    def shown(*shape):
        return ", ".join(map(str, ("batch" if symbolic else 2, *shape)))

    space = (4,) * rank
    with pytest.raises(ShapeError, match=f"culprit[\\s\\S]*{3 + rank} axes") as e:
        layer(tensor(*space, 3))
    assert shown(*space, 3) in str(e.value)
    layer(tensor(5, *space, 3))
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*size 3 on axis -1") as e:
        layer(tensor(5, *space, 6))
    assert shown(5, *space, 6) in str(e.value)


def test_wrong_channels_of_channels_first_images():
    layer = ConvLSTM2D(4, 2, data_format="channels_first", name="culprit")
    layer(np.ones((2, 3, 1, 5, 5), "float32"))
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*size 1 on axis 2[\s\S]*3, 2, 5, 5"):
        layer(np.ones((2, 3, 2, 5, 5), "float32"))


@pytest.mark.parametrize("symbolic", [True, False])
def test_states_that_do_not_fit(symbolic):
    def tensor(*shape):
        return lamina.Input(shape) if symbolic else np.ones((2, *shape), "float32")

    x = tensor(5, 3)
    for states in ([tensor(4)], [tensor(4)] * 3, [tensor(4), tensor(5)], [tensor(4), tensor(2, 2)]):
        with pytest.raises(ShapeError, match=r"culprit[\s\S]*expected: 2 of shape") as e:
            LSTM(4, name="culprit")(x, initial_state=states)
        shown = ", ".join(map(str, states[-1].shape[1:]))
        assert f"{'batch' if symbolic else 2}, {shown})" in str(e.value)
    with pytest.raises(ShapeError, match=r"\(3, 4\)"):
        GRU(4)(np.ones((2, 5, 3), "float32"), initial_state=H)


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (3, 5, 1), (3,)])
def test_masks_that_do_not_fit(shape):
    for layer in (LSTM(4, name="culprit"), RNN(LeakyCell(4), name="culprit")):
        with pytest.raises(ShapeError, match=r"culprit[\s\S]*\(3, 5\)[\s\S]*received") as e:
            layer(X, mask=np.ones(shape, bool))
        assert str(shape) in str(e.value)
    if shape == (3, 4):
        with pytest.raises(ShapeError, match=r"culprit[\s\S]*\(batch, 4\)"):
            LSTM(4, name="culprit")(lamina.Input((5, 3)), mask=lamina.Input((4,), dtype="bool"))


def test_stateful_layers_need_their_batch():
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*fixed batch size[\s\S]*None, 5, 3"):
        LSTM(4, stateful=True, name="culprit")(lamina.Input((5, 3)))
    layer = LSTM(4, stateful=True, name="culprit")
    layer(X)
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*\(2, 4\)[\s\S]*\(3, 4\)"):
        layer(X[:2])


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match=r"RNN\(\): `cell`: [\s\S]*state_size"):
        RNN(Dense(3))
    with pytest.raises(ArgumentError, match=r"`cell`: expected a cell"):
        RNN("lstm")
    with pytest.raises(ArgumentError, match="`cells`"):
        StackedRNNCells([])
    with pytest.raises(ArgumentError, match="units"):
        LSTM(0)
    with pytest.raises(ArgumentError, match="dropout"):
        GRU(3, dropout=1.5)
    with pytest.raises(ArgumentError, match="kernel_size"):
        ConvLSTM2D(3, (2, 2, 2))
    with pytest.raises(ArgumentError, match="strides"):
        ConvLSTM2D(3, 2, strides=2, dilation_rate=2)
    with pytest.raises(ArgumentError, match="padding"):
        ConvLSTM1D(3, 2, padding="causal")
    with pytest.raises(ArgumentError, match="`layer`: expected a layer"):
        TimeDistributed(3)
    with pytest.raises(StructureError, match=r"culprit[\s\S]*wrong number of states[\s\S]*2, of"):
        LSTMCell(4, name="culprit")(X[:, 0], [H])
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*2, 3"):
        TimeDistributed(Dense(3), name="culprit")(np.ones((2, 3), "float32"))
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*batch, 3"):
        TimeDistributed(Dense(3), name="culprit")(lamina.Input((3,)))
    with pytest.raises(ShapeError, match="axis -1"):
        LSTM(4)(lamina.Input((5, None)))


# ---- precision, and files ------------------------------------------------------------------------


@pytest.mark.parametrize("cls", UNITS)
def test_mixed_precision(cls):
    layer = cls(4, return_state=True, return_sequences=True, dtype="mixed_bfloat16")
    outputs = layer(X, mask=MASK)
    assert {str(y.dtype) for y in outputs} == {"bfloat16"}
    assert {v.dtype for v in layer.weights} == {"float32"}
    full = cls(4, return_state=True, return_sequences=True)
    full(X)
    full.set_weights(layer.get_weights())
    np.testing.assert_allclose(np.asarray(outputs[0], "float32"), full(X, mask=MASK)[0], atol=0.05)


def test_the_forget_gate_starts_open():
    layer = LSTM(4, bias_initializer="random_normal")
    layer(X)
    bias = layer.get_weights()[2]
    np.testing.assert_array_equal(bias[4:8], 1)
    assert (bias[:4] != 0).all()
    assert (bias[8:] != 0).all()
    closed = LSTM(4, unit_forget_bias=False)
    closed(X)
    np.testing.assert_array_equal(closed.get_weights()[2], 0)


def test_weights_live_where_keras_has_them():
    stack = RNN([LSTMCell(4, name="first"), GRUCell(2, name="second")], name="rnn")
    stack(X)
    # What was given no name is called by its attribute, which no other layer's making changes.
    assert [v.path for v in stack.weights] == [
        f"rnn/cell/{cell}/{name}"
        for cell in ("first", "second")
        for name in ("kernel", "recurrent_kernel", "bias")
    ]
    layer = GRU(4, name="gru")
    layer(X)
    assert [v.path for v in layer.weights] == [
        f"gru/gru_cell/{name}" for name in ("kernel", "recurrent_kernel", "bias")
    ]


def test_build_configs_as_in_keras():
    ours, theirs = LSTM(4), keras.layers.LSTM(4)
    ours(X)
    theirs(X)
    assert ours.get_build_config() == theirs.get_build_config()
    theirs = keras.layers.LSTM(4)
    theirs(X, initial_state=[H, C])  # shapes of states, too
    for layer in (LSTM(4), Bidirectional(LSTM(2))):
        layer.build_from_config(theirs.get_build_config())
        assert layer.weights[0].shape[0] == 3


def test_a_user_subclass_of_an_rnn_is_captured():
    class Mine(RNN):
        def __init__(self, units, **kwargs):
            super().__init__(LeakyCell(units), **kwargs)

    layer = Mine(4, return_sequences=True)
    again = Mine.from_config(layer.get_config())
    assert again.cell.units == 4
    assert again.return_sequences
    assert isinstance(LSTM(4), RNN)
