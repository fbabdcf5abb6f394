"""Laws that every layer obeys, one test a law, over the whole table of layers."""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
import tests.cases
from lamina import layers
from lamina.core.scope import Scope, entered
from lamina.core.tracking import containers, contents
from lamina.layers.arguments import call_signature
from lamina.layers.state import flatten_layers
from lamina.serialization import registry
from lamina.tree import nested
from tests.cases.layers_categories import HOST

CASES = [
    case
    for info in pkgutil.iter_modules(tests.cases.__path__)
    if info.name.startswith("layers_")
    for case in importlib.import_module(f"tests.cases.{info.name}").CASES
]
# Abstract bases, and what is tested as the engine.
NO_ROW = {"Layer", "InputLayer", "Wrapper"}
# Laws that no option of a layer changes are tried on one row of each class.
FIRST = list({c.cls: c for c in reversed(CASES)}.values())


def _rows(cases):
    """All laws of a row meet in one process, which then has compiled the layer's parts."""
    marked = [pytest.param(c, id=str(c), marks=pytest.mark.xdist_group(str(c))) for c in cases]
    return pytest.mark.parametrize("case", marked)


every, first = _rows(CASES), _rows(FIRST)


def draw(case, seed=0, sizes=None):
    """Arrays for the case's inputs; ``sizes`` replaces the batch and the open axes' sizes."""
    rng = np.random.default_rng(seed)
    arrays = []
    for shape, dtype in case.inputs:
        if sizes and arrays == []:
            shape = tuple(sizes.get(i, n) for i, n in enumerate(shape))
        elif sizes and 0 in sizes:
            shape = (sizes[0], *shape[1:])
        if dtype.startswith(("int", "uint")):
            arrays.append(rng.integers(0, 5, shape).astype(dtype))
        elif dtype == "bool":
            arrays.append(rng.random(shape) > 0.5)
        else:
            arrays.append(rng.normal(size=shape).astype(dtype))
    return arrays[0] if len(arrays) == 1 else arrays


def make(case, **kwargs):
    return case.cls(**{**case.kwargs, **kwargs})


def symbols(case, open_axes=()):
    made = []
    for i, (shape, dtype) in enumerate(case.inputs):
        dims = [
            None,
            *(None if i == 0 and a + 1 in open_axes else n for a, n in enumerate(shape[1:])),
        ]
        made.append(lamina.Input(batch_shape=dims, dtype=dtype))
    return made[0] if len(made) == 1 else made


def outputs_of(layer, x, case, training=False):
    takes = call_signature(type(layer)).takes_training
    extra = {"training": training} if takes else {}
    return case.apply(layer, x if isinstance(x, list) else [x], **extra)


def pure(layer, case):
    """The call as a function of the weights' values and of inputs; and the values."""

    def run(values, x):
        with entered(Scope(values=dict(zip(layer.weights, values, strict=True)), pure=True)):
            return outputs_of(layer, x, case)

    return run, [v.value for v in layer.weights]


def test_every_public_layer_has_a_row():
    public = {
        n for n, c in vars(layers).items() if inspect.isclass(c) and issubclass(c, layers.Layer)
    }
    public = {vars(layers)[n].__name__ for n in public}
    assert public - NO_ROW <= {c.cls.__name__ for c in [*CASES, *HOST]}


@every
def test_spec_is_what_comes_out(case):
    layer = make(case)
    symbolic = outputs_of(layer, symbols(case, case.unknown_axes), case)
    for batch, grow in ((2, 0), (3, 2)):
        sizes = {0: batch} | {a: case.inputs[0][0][a] + grow for a in case.unknown_axes}
        real = jax.eval_shape(*pure(layer, case), draw(case, sizes=sizes))
        for s, r in zip(nested.flatten(symbolic), nested.flatten(real), strict=True):
            assert s.dtype == str(r.dtype)
            assert len(s.shape) == r.ndim
            for known, actual in zip(s.shape, r.shape, strict=True):
                assert known is None or known == actual


@first
def test_jit_is_eager(case):
    layer = make(case)
    x = draw(case)
    eager = outputs_of(layer, x, case)
    run, values = pure(layer, case)
    jitted = jax.jit(run)(values, x)
    for a, b in zip(nested.flatten(eager), nested.flatten(jitted), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


SEVERAL = [cls for cls in {c.cls for c in CASES} if sum(c.cls is cls for c in CASES) > 1]


@pytest.mark.parametrize("cls", sorted(SEVERAL, key=lambda cls: cls.__name__))
def test_layers_with_other_arguments_have_other_programs(cls):
    """Eager calls of a layer are compiled; programs are shared by layers with equal arguments."""
    for case in (c for c in CASES if c.cls is cls):
        layer, x = make(case), draw(case)
        found = outputs_of(layer, x, case)
        run, values = pure(layer, case)
        for a, b in zip(
            jax.tree.leaves(found), jax.tree.leaves(jax.jit(run)(values, x)), strict=True
        ):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, 1e-4, 1e-5, err_msg=str(case))


@every
def test_config_round_trip(case):
    layer = make(case)
    record = registry.serialize(layer)
    again = registry.deserialize(record)
    assert type(again) is type(layer)
    assert registry.serialize(again) == record


@first
def test_no_call_searches_data_for_layers(case):
    """Each call of a compiled model compares the content of containers that may hold layers."""
    layer = make(case)
    outputs_of(layer, draw(case), case)
    found = [c for x in flatten_layers(layer) for c in containers(x)]
    assert all(contents(c) for c in found if c)


@first
def test_an_empty_batch_has_an_empty_result(case):
    for training in (False, True):
        layer = make(case)
        for y in nested.flatten(outputs_of(layer, draw(case, sizes={0: 0}), case, training)):
            assert 0 in y.shape


@first
def test_a_copy_with_the_weights_computes_the_same(case):
    layer = make(case)
    x = draw(case)
    want = outputs_of(layer, x, case)
    again = registry.deserialize(registry.serialize(layer))
    outputs_of(again, x, case)
    again.set_weights(layer.get_weights())
    got = outputs_of(again, x, case)
    for a, b in zip(nested.flatten(want), nested.flatten(got), strict=True):
        np.testing.assert_array_equal(a, b)


@first
def test_same_seed_same_start(case):
    def start():
        lamina.utils.set_random_seed(3)
        lamina.core.naming.reset()
        layer = make(case)
        outputs_of(layer, draw(case), case)
        return layer.get_weights()

    for a, b in zip(start(), start(), strict=True):
        np.testing.assert_array_equal(a, b)


@first
def test_mixed_precision_computes_in_sixteen_bits(case):
    if any(not d.startswith("float") for _, d in case.inputs) or case.cls is layers.Lambda:
        pytest.skip("takes integers")
    if any(isinstance(v, layers.Layer) for v in nested.flatten(case.kwargs)):
        pytest.skip("the layers inside have policies of their own")
    layer = make(case, dtype="mixed_bfloat16")
    out = outputs_of(layer, draw(case), case)
    for x in nested.flatten(out):
        if jnp.issubdtype(x.dtype, jnp.floating):
            assert str(x.dtype) == "bfloat16"
    for v in layer.weights:
        assert v.dtype != "bfloat16"


@first
def test_nothing_recompiles_on_the_second_call(case):
    layer = make(case)
    x = draw(case)
    outputs_of(layer, x, case)
    run, values = pure(layer, case)
    traces = 0

    @jax.jit
    def counted(values, x):
        nonlocal traces
        traces += 1
        return run(values, x)

    counted.trace(values, x)  # as a call does, without the compilation
    counted.trace(values, draw(case, seed=1))
    assert traces == 1


@first
def test_a_wrong_rank_is_an_error_that_names_the_layer(case):
    layer = make(case, name="culprit")
    if layer.input_spec is None:
        pytest.skip("takes any rank")
    scalar = np.zeros((), case.inputs[0][1])
    x = scalar if len(case.inputs) == 1 else [scalar] * len(case.inputs)
    with pytest.raises((ValueError, TypeError), match="culprit"):
        outputs_of(layer, x, case)


@first
def test_gradients_are_finite_differences(case):
    x = draw(case)
    arrays = x if isinstance(x, list) else [x]
    if any(not np.issubdtype(a.dtype, np.floating) for a in arrays):
        pytest.skip("takes integers")
    if case.cls is layers.SpectralNormalization:
        pytest.skip("by definition takes its singular vectors as constants")
    layer = make(case)
    shapes = [o.shape for o in nested.flatten(outputs_of(layer, x, case))]
    rng = np.random.default_rng(5)
    waves = [rng.normal(size=s).astype("float32") for s in shapes]
    values = {v: v.value for v in layer.weights}
    moving = [v for v in values if v.trainable and v.dtype == "float32"]

    @jax.jit  # one program for the gradient and for the differences
    @jax.value_and_grad
    def loss(at):
        weights, arrays = at
        bound = values | dict(zip(moving, weights, strict=True))
        with entered(Scope(values=bound, pure=True)):
            out = outputs_of(layer, arrays if isinstance(x, list) else arrays[0], case)
            return sum(jnp.sum(o * w) for o, w in zip(nested.flatten(out), waves, strict=True))

    at = jax.tree.map(np.asarray, ([values[v] for v in moving], arrays))
    way = jax.tree.map(lambda a: rng.normal(size=a.shape).astype("float32"), at)
    slope = sum(jax.tree.leaves(jax.tree.map(np.vdot, loss(at)[1], way)))
    step = np.float32(4e-4)  # small, so that few entries pass a kink of relu or max
    ahead, behind = (
        loss(jax.tree.map(lambda a, d, s=s: a + s * d, at, way))[0] for s in (step, -step)
    )
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=0.05, atol=0.1)


@first
def test_inference_is_the_default_and_repeats(case):
    layer = make(case)
    x = draw(case)
    runs = [outputs_of(layer, x, case), outputs_of(layer, x, case)]
    if not call_signature(case.cls).training_default:  # that of augmentation is training
        runs.append(case.apply(layer, x if isinstance(x, list) else [x]))
    if getattr(layer, "stateful", False):
        pytest.skip("remembers the call before")
    for run in runs[1:]:
        for a, b in zip(nested.flatten(runs[0]), nested.flatten(run), strict=True):
            np.testing.assert_array_equal(a, b)


@first
def test_a_file_gives_the_same_layer_bit_for_bit(case, tmp_path):
    inputs = symbols(case)
    layer = make(case)
    model = lamina.Model(inputs, outputs_of(layer, inputs, case))
    model.save(tmp_path / "model.keras")
    again = lamina.saving.load_model(tmp_path / "model.keras")
    x = draw(case)
    for a, b in zip(
        nested.flatten(model(x, training=False)),
        nested.flatten(again(x, training=False)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
