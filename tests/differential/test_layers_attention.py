import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.core.scope import get_mask
from lamina.errors import ArgumentError, ShapeError, StructureError
from lamina.layers.attention import GroupQueryAttention, MultiHeadAttention
from lamina.layers.attention_unprojected import AdditiveAttention, Attention
from lamina.layers.core import Embedding
from lamina.ops.lowering.attention import attend
from tests.cases.layers_attention import CASES
from tests.differential.spread import compare

RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(2, 4, 3)).astype("float32")
VALUE = RNG.normal(size=(2, 5, 3)).astype("float32")
QUERY_MASK = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
VALUE_MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 1, 1]], bool)
PAIRS = RNG.random((2, 4, 5)) > 0.4
PAIRS[:, :, 0] = True


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_keras(case):
    compare(case)


def both(name, kwargs, *args, **call):
    """Outputs and input gradients of the layer here and in Keras, with equal weights."""
    namespace = {c.__name__: c for c in (
        MultiHeadAttention, GroupQueryAttention, Attention, AdditiveAttention)}  # fmt: skip
    ours, theirs = namespace[name](**kwargs), getattr(keras.layers, name)(**kwargs)
    ours(*args, **call)
    theirs(*args, **call)
    theirs.set_weights(ours.get_weights())
    found = []
    for layer in (ours, theirs):
        outputs, pull = jax.vjp(lambda args, layer=layer: layer(*args, **call), args)
        waves = jax.tree.map(lambda y: jnp.cos(jnp.arange(y.size)).reshape(y.shape), outputs)
        found.append((outputs, pull(waves)))
    return found


MASKS = [
    {"value_mask": VALUE_MASK},
    {"key_mask": VALUE_MASK, "use_causal_mask": True},
    {"query_mask": QUERY_MASK, "value_mask": VALUE_MASK},
    {"attention_mask": PAIRS},
    {"attention_mask": PAIRS[0], "value_mask": VALUE_MASK[:, :5]},
    {"attention_mask": PAIRS[:, None]},
    {"attention_mask": PAIRS[:, :1].astype("int32")},
    {"attention_mask": PAIRS.tolist(), "value_mask": VALUE_MASK.tolist()},
]


HEADS = ("MultiHeadAttention", {"num_heads": 2, "key_dim": 4})
GROUPS = (
    "GroupQueryAttention", {"head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2},
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kwargs", "masks"),
    [*((*HEADS, masks) for masks in MASKS), *((*GROUPS, masks) for masks in MASKS[1:2])],
    ids=lambda x: "+".join(x) if isinstance(x, dict) else x,
)
def test_masks_between_projections(name, kwargs, masks):
    # Without scores, Keras has its queries that see nothing average everything.
    hidden = "query_mask" in masks and name == "GroupQueryAttention"
    ours, theirs = both(name, kwargs, QUERY, VALUE, **masks, return_attention_scores=hidden)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        {"mask": [QUERY_MASK, VALUE_MASK]},
        {"mask": [None, VALUE_MASK], "use_causal_mask": True},
        {"mask": [QUERY_MASK, None, VALUE_MASK], "return_attention_scores": True},
    ],
)
@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("Attention", {}), ("Attention", {"score_mode": "concat"}), ("AdditiveAttention", {})],
)
def test_masks_without_projections(name, kwargs, call):
    call = {**call, "mask": [m if m is None else jnp.asarray(m) for m in call["mask"]]}
    ours, theirs = both(name, kwargs, [jnp.asarray(QUERY), jnp.asarray(VALUE)], **call)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["Attention", "AdditiveAttention"])
def test_all_values_count_alike_where_none_counts(name):
    call = {"mask": [None, jnp.zeros((2, 5), bool)], "return_attention_scores": True}
    (ours, _), (theirs, _) = both(name, {}, [jnp.asarray(QUERY), jnp.asarray(VALUE)], **call)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masks", MASKS[:4], ids="+".join)
def test_scores_change_nothing(masks):
    for layer in (MultiHeadAttention(2, 4), GroupQueryAttention(4, 4, 2)):
        output, _ = layer(QUERY, VALUE, **masks, return_attention_scores=True)
        np.testing.assert_array_equal(output, layer(QUERY, VALUE, **masks))


def test_masked_values_have_no_influence():
    layer = MultiHeadAttention(2, 4)
    full = layer(QUERY, VALUE, value_mask=np.array([[1, 1, 1, 0, 0]] * 2, bool))
    np.testing.assert_allclose(full, layer(QUERY, VALUE[:, :3]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scores", [True, False])
def test_a_query_that_sees_nothing_gets_zeros_and_finite_gradients(scores):
    layer = MultiHeadAttention(2, 4, use_bias=False)
    nothing = np.zeros((2, 4, 5), bool)

    def output(x):
        y = layer(x, VALUE, attention_mask=nothing, return_attention_scores=scores)
        return y[0] if scores else y

    y, pull = jax.vjp(output, jnp.asarray(QUERY))
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(pull(jnp.ones_like(y))[0], 0)


def test_one_mask_for_all_rows_of_a_grid():
    grid = RNG.normal(size=(2, 3, 5, 4)).astype("float32")
    layer = MultiHeadAttention(2, 3, attention_axes=2)
    one = layer(grid, grid, value_mask=VALUE_MASK)
    every = layer(grid, grid, value_mask=np.repeat(VALUE_MASK[:, None], 3, 1))
    pairs = layer(grid, grid, attention_mask=np.repeat(VALUE_MASK[:, None], 5, 1))
    np.testing.assert_array_equal(one, every)
    np.testing.assert_array_equal(one, pairs)
    row = MultiHeadAttention(2, 3)
    row(grid[:, 0], grid[:, 0])
    row.set_weights(layer.get_weights())
    alone = row(grid[:, 1], grid[:, 1], value_mask=VALUE_MASK)
    np.testing.assert_allclose(one[:, 1], alone, rtol=1e-5, atol=1e-6)
    two_axes = MultiHeadAttention(2, 3)(grid, grid, attention_mask=np.ones((3, 5, 3, 5), bool))
    assert two_axes.shape == grid.shape


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_heads_are_repeated_keys(groups):
    q, k, v = (jnp.asarray(RNG.normal(size=(2, 5, h, 3)), "float32") for h in (4, groups, groups))
    mask = jnp.asarray(RNG.random((2, 4, 5, 5)) > 0.3)
    repeated = [jnp.repeat(x, 4 // groups, axis=2) for x in (k, v)]
    few, scores = attend(q, k, v, scale=0.5, mask=mask, return_scores=True)
    many = jax.nn.dot_product_attention(q, *repeated, scale=0.5, mask=mask)
    seen = np.asarray(jnp.swapaxes(mask.any(-1), 1, 2))
    np.testing.assert_allclose(few[seen], many[seen], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores.sum(-1), mask.any(-1), rtol=1e-5)


@pytest.mark.parametrize("make", [lambda **k: MultiHeadAttention(2, 4, **k),
                                  lambda **k: GroupQueryAttention(4, 4, 2, **k)])  # fmt: skip
def test_dropout_of_weights(make):
    layer = make(dropout=0.5)
    still = layer(QUERY, VALUE)
    np.testing.assert_array_equal(still, layer(QUERY, VALUE, training=False))
    first, second = (layer(QUERY, VALUE, training=True) for _ in range(2))
    assert (first != second).any()
    assert (first != still).any()
    _, scores = layer(QUERY, VALUE, training=True, return_attention_scores=True)
    np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-5)  # before the drop, as in Keras
    mean = np.mean([layer(QUERY, VALUE, training=True) for _ in range(400)], axis=0)
    np.testing.assert_allclose(mean, still, atol=0.2)


def test_dropout_without_projections_shows_in_the_scores():
    for layer in (Attention(dropout=0.5), AdditiveAttention(dropout=0.5)):
        x = [jnp.asarray(QUERY), jnp.asarray(VALUE)]
        _, scores = layer(x, training=True, return_attention_scores=True)
        assert (np.asarray(scores) == 0).any()
        np.testing.assert_array_equal(layer(x), layer(x, training=False))


def test_the_mask_of_the_query_travels_on():
    ids = np.array([[1, 2, 3, 0], [1, 0, 0, 0]])
    x = Embedding(5, 3, mask_zero=True)(ids)
    for layer in (MultiHeadAttention(2, 4), GroupQueryAttention(4, 2, 1)):
        np.testing.assert_array_equal(get_mask(layer(x, x)), ids != 0)
        output, scores = layer(x, x, return_attention_scores=True)
        assert get_mask(scores) is None
        np.testing.assert_array_equal(np.asarray(scores)[1, ..., 1:], 0)
        np.testing.assert_array_equal(get_mask(output), ids != 0)
    for layer in (Attention(), AdditiveAttention()):
        np.testing.assert_array_equal(get_mask(layer([x, x])), ids != 0)
        assert get_mask(layer([jnp.asarray(QUERY), x])) is None


def test_a_mask_in_a_graph():
    ids = lamina.Input((None,), dtype="int32")
    x = Embedding(5, 3, mask_zero=True)(ids)
    model = lamina.Model(ids, MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))
    padded = model(np.array([[1, 2, 3, 0, 0]]))
    np.testing.assert_allclose(padded[:, :3], model(np.array([[1, 2, 3]])), rtol=1e-5, atol=1e-6)


def test_kernels_start_as_matrices():
    layer = GroupQueryAttention(8, 4, 2, name="gqa")
    layer(np.zeros((1, 3, 64), "float32"), np.zeros((1, 3, 64), "float32"))
    limits = {"query": (64, 32), "key": (64, 16), "value": (64, 16), "attention_output": (32, 64)}
    for v in layer.weights:
        role, name = v.path.split("/")[1:]
        largest = np.abs(v.numpy()).max()
        limit = np.sqrt(6 / sum(limits[role])) if name == "kernel" else 0
        assert 0.97 * limit <= largest <= limit


@pytest.mark.parametrize("key", [None, VALUE])
def test_build_configs_as_in_keras(key):
    ours, theirs = MultiHeadAttention(2, 4), keras.layers.MultiHeadAttention(2, 4)
    for layer in (ours, theirs):
        layer(QUERY, VALUE, key)
    assert ours.get_build_config() == theirs.get_build_config()
    again = MultiHeadAttention(2, 4)
    again.build_from_config(ours.get_build_config())
    again.set_weights(ours.get_weights())
    np.testing.assert_array_equal(again(QUERY, VALUE), ours(QUERY, VALUE))
    assert GroupQueryAttention(2, 4, 2).name.startswith("grouped_query_attention")


def test_symbolic_sizes():
    layer = MultiHeadAttention(2, 3)
    query, value = lamina.Input(("time", 8)), lamina.Input((None, 8))
    assert layer(query, value, use_causal_mask=True).dims == ("batch", "time", 8)
    _, scores = layer(query, lamina.Input(("source", 8)), return_attention_scores=True)
    assert scores.dims == ("batch", 2, "time", "source")
    grid = lamina.Input(("height", "width", 8))
    assert MultiHeadAttention(2, 3)(grid, grid).dims == ("batch", "height", "width", 8)
    rows = MultiHeadAttention(2, 3, attention_axes=2)(grid, grid, use_causal_mask=True)
    assert rows.dims == ("batch", "height", "width", 8)
    open_grid = lamina.Input((None, None, 3))
    assert MultiHeadAttention(2, 3)(open_grid, open_grid).shape == (None, None, None, 3)
    assert Attention()([query, lamina.Input(("source", 8))]).dims == ("batch", "time", 8)


@pytest.mark.parametrize("cls", [MultiHeadAttention, GroupQueryAttention])
@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize(
    ("query", "value", "key", "expected", "received"),
    [
        ((4,), (4, 3), None, "at least 3 axes", (4,)),
        ((4, 3), (3,), None, "expected", (3,)),
        ((4, 3), (4, 5, 3), None, "expected", (4, 5, 3)),
        ((4, 3), (5, 3), (4, 3), "5, 3", (4, 3)),
    ],
)
def test_inputs_that_do_not_fit(cls, symbolic, query, value, key, expected, received):
    layer = cls(2, 2, 2, name="culprit")

    def tensor(shape):
        return lamina.Input(shape) if symbolic else np.ones((2, *shape), "float32")

    shown = f"{'batch' if symbolic else 2}, {str(received)[1:]}".replace(",)", ")")
    with pytest.raises(ShapeError, match=f"culprit[\\s\\S]*{expected}") as e:
        layer(tensor(query), tensor(value), None if key is None else tensor(key))
    assert shown in str(e.value)


@pytest.mark.parametrize("cls", [MultiHeadAttention, GroupQueryAttention])
def test_other_features_than_when_built(cls):
    layer = cls(2, 2, 2, name="culprit")
    layer(QUERY, VALUE)
    for x in (np.ones((2, 4, 5), "float32"), lamina.Input((4, 5))):
        with pytest.raises(ShapeError, match=r"culprit[\s\S]*size 3 on axis -1[\s\S]*4, 5"):
            layer(x, VALUE)
        query = QUERY if isinstance(x, np.ndarray) else lamina.Input((4, 3))
        with pytest.raises(ShapeError, match=r"culprit[\s\S]*value[\s\S]*3\)[\s\S]*4, 5\)"):
            layer(query, x)
    with pytest.raises(ShapeError, match="depends on axis -1, an unknown dimension"):
        cls(2, 2, 2)(lamina.Input((4, None)), lamina.Input((4, 3)))


@pytest.mark.parametrize(
    ("masks", "expected", "received"),
    [
        ({"value_mask": np.ones((2, 4), bool)}, r"\(2, 5\)", r"\(2, 4\)"),
        ({"key_mask": np.ones((3, 5), bool)}, r"\(2, 5\)", r"\(3, 5\)"),
        ({"attention_mask": np.ones((2, 5, 5), bool)}, r"\(2, 4, 5\)", r"\(2, 5, 5\)"),
        ({"attention_mask": np.ones((5,), bool)}, r"\(2, 4, 5\)", r"\(5,\)"),
    ],
)
def test_masks_that_do_not_fit(masks, expected, received):
    for layer in (MultiHeadAttention(2, 3, name="culprit"),
                  GroupQueryAttention(3, 2, 1, name="culprit")):  # fmt: skip
        with pytest.raises(ShapeError, match=rf"culprit[\s\S]*{expected}[\s\S]*{received}"):
            layer(QUERY, VALUE, **masks)


@pytest.mark.parametrize("cls", [Attention, AdditiveAttention])
@pytest.mark.parametrize("symbolic", [True, False])
def test_lists_that_do_not_fit(cls, symbolic):
    def tensors(*shapes):
        return [lamina.Input(s) if symbolic else np.ones((2, *s), "float32") for s in shapes]

    def layer():
        return cls(name="culprit")

    for wrong in (tensors((4, 3))[0], tensors((4, 3)), tensors(*[(4, 3)] * 4)):
        with pytest.raises(StructureError, match=r"culprit[\s\S]*query, value"):
            layer()(wrong)
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*4, 2\)"):
        layer()(tensors((4, 3), (4, 2)))
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*5, 3\)"):
        layer()(tensors((4, 3), (4, 3), (5, 3)))


def test_masks_without_projections_that_do_not_fit():
    x = [jnp.asarray(QUERY), jnp.asarray(VALUE)]
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*\(2, 4\)[\s\S]*\(2, 3\)"):
        Attention(name="culprit")(x, mask=[np.ones((2, 3), bool), None])
    with pytest.raises(StructureError, match=r"culprit[\s\S]*query_mask, value_mask"):
        Attention(name="culprit")(x, mask=VALUE_MASK)


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match="multiple"):
        GroupQueryAttention(4, 3, 2)
    with pytest.raises(ArgumentError, match="score_mode"):
        Attention(score_mode="cosine")
    with pytest.raises(ArgumentError, match="sliding_window"):
        MultiHeadAttention(2, 3, sliding_window=0)
    with pytest.raises(ArgumentError, match="num_heads"):
        MultiHeadAttention(0, 3)
    with pytest.raises(ArgumentError, match="attention_axes"):
        MultiHeadAttention(2, 3, attention_axes="all")
    with pytest.raises(ArgumentError, match="dropout"):
        MultiHeadAttention(2, 3, flash_attention=True, dropout=0.1)
    with pytest.raises(ArgumentError, match="GPU"):
        MultiHeadAttention(2, 3, flash_attention=True)(QUERY, VALUE)
    with pytest.raises(ArgumentError, match="scores"):
        MultiHeadAttention(2, 3, flash_attention=True)(QUERY, VALUE, return_attention_scores=True)
    with pytest.raises(ShapeError, match="attention_axes"):
        MultiHeadAttention(2, 3, attention_axes=3)(QUERY, VALUE)
