"""The small namespaces: Keras's names, parameters and defaults, and what the names do."""

import inspect
import itertools
import logging

import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, GraphError, SavingWarning, TrainingWarning

# Names of Keras that have no meaning here.
ABSENT = {"backend": {"legacy"}}


def names(module):
    return sorted(n for n, x in vars(module).items() if n[0] != "_" and not inspect.ismodule(x))


@pytest.mark.parametrize("path", ["backend", "config", "mixed_precision"])
def test_names_parameters_and_defaults(path):
    ours, theirs = getattr(lamina, path), getattr(keras, path)
    wanted = set(names(theirs)) - ABSENT.get(path, set())
    assert wanted - set(ours.__all__) == set()
    for name in wanted:
        a, b = (inspect.signature(getattr(x, name)).parameters.values() for x in (ours, theirs))
        first = [p.name for p in b if p.kind is not p.VAR_KEYWORD]
        assert [p.name for p in a][: len(first)] == first, name
        defaults = {p.name: p.default for p in a}
        for p in b:
            if p.kind is not p.VAR_KEYWORD:
                assert defaults[p.name] == p.default, (name, p.name)


UTILS = """clear_session disable_interactive_logging enable_interactive_logging get_source_inputs
    is_interactive_logging_enabled is_keras_tensor standardize_dtype""".split()


@pytest.mark.parametrize("name", UTILS)
def test_utilities(name):
    ours, theirs = getattr(lamina.utils, name), getattr(keras.utils, name)
    assert [(p.name, p.default) for p in inspect.signature(ours).parameters.values()] == [
        (p.name, p.default) for p in inspect.signature(theirs).parameters.values()
    ]


DTYPES = [
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16",
    "bfloat16", "float32", "float64", "complex64", "float8_e4m3fn", bool, int, float, complex, str,
    None,
]  # fmt: skip


def agreed(call, *args):
    """What both libraries say, or that both refuse."""
    try:
        expected = call(keras, *args)
    except ValueError:
        with pytest.raises(lamina.errors.LaminaError):
            call(lamina, *args)
        return
    assert call(lamina, *args) == expected, args


@pytest.mark.parametrize("floatx", ["float32", "float16"])
def test_dtypes_promote_alike(floatx):
    for library in (keras, lamina):
        library.config.set_floatx(floatx)
    try:
        for count in range(3):
            for dtypes in itertools.combinations_with_replacement(DTYPES, count):
                agreed(lambda x, *d: x.backend.result_type(*d), *dtypes)
        for three in itertools.product(["int8", "uint8", "bfloat16", int, float], repeat=3):
            agreed(lambda x, *d: x.backend.result_type(*d), *three)
    finally:
        for library in (keras, lamina):
            library.config.set_floatx("float32")


def test_dtypes_are_read_alike():
    for dtype in [*DTYPES, "int", "half", "no dtype", np.float16, np.dtype("int8")]:
        if dtype is complex or dtype in ("int", "half"):  # Keras knows fewer
            continue
        for name in ("standardize_dtype", "is_float_dtype", "is_int_dtype"):
            agreed(lambda x, d, n=name: getattr(x.backend, n)(d), dtype)


def test_numbers_for_names():
    for library in (keras, lamina):
        library.backend.clear_session()
    layers.Dense(1)
    keras.layers.Dense(1)
    for prefix in ("dense", "dense", "other", ""):
        agreed(lambda x, p: x.backend.get_uid(p), prefix)
    assert lamina.layers.Dense(1).name == keras.layers.Dense(1).name == "dense_3"


def test_the_backend():
    assert lamina.backend.backend() == lamina.config.backend() == "jax"
    lamina.config.set_backend("jax")
    with pytest.raises(ArgumentError, match="torch"):
        lamina.config.set_backend("torch")
    assert lamina.config.is_nnx_enabled() is keras.config.is_nnx_enabled() is False


def test_the_version():
    assert lamina.version() == lamina.__version__


def test_symbolic_tensors_and_where_they_come_from():
    a, b = lamina.Input((2,)), lamina.Input((3,))
    shared = layers.Dense(2)(a)
    both = layers.Dense(2)(b) + shared
    assert lamina.utils.get_source_inputs([shared, both]) == [a, b]
    assert lamina.utils.get_source_inputs(a) == [a]
    assert lamina.utils.is_keras_tensor(both)
    assert not lamina.utils.is_keras_tensor(np.ones(2))
    with pytest.raises(GraphError, match="Input"):
        lamina.utils.get_source_inputs(3)


def test_policies_have_two_names():
    mixed = lamina.mixed_precision
    assert mixed.Policy is lamina.DTypePolicy
    mixed.set_global_policy("mixed_bfloat16")
    try:
        assert mixed.global_policy() == lamina.config.dtype_policy() == mixed.Policy(
            "mixed_bfloat16")  # fmt: skip
    finally:
        mixed.set_dtype_policy(None)
    assert mixed.LossScaleOptimizer is lamina.optimizers.LossScaleOptimizer


def test_no_setting_lets_files_run_code():
    with pytest.warns(SavingWarning, match="never runs code"):
        lamina.config.enable_unsafe_deserialization()


# ---- limits --------------------------------------------------------------------------------------

X = np.ones((20, 2), "float32")


@pytest.fixture
def limits():
    yield lamina.config
    lamina.config.set_max_epochs(None)
    lamina.config.set_max_steps_per_epoch(None)


def model_of():
    model = lamina.Sequential([lamina.Input((2,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


class Stream:
    def __iter__(self):
        return iter([(X[:4], X[:4])] * 5)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"x": X, "y": X, "batch_size": 4},
        {"x": X, "y": X, "batch_size": 4, "validation_split": 0.2},
        {"x": X, "y": X, "batch_size": 4, "steps_per_epoch": 4},
        {"x": Stream()},
    ],
    ids=["arrays", "validated", "steps", "batches"],
)
def test_the_number_of_steps_is_limited(limits, kwargs):
    model = model_of()
    limits.set_max_steps_per_epoch(3)
    assert limits.max_steps_per_epoch() == 3
    model.fit(**kwargs, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 6
    limits.set_max_steps_per_epoch(1000)
    model.fit(**{**kwargs, "steps_per_epoch": None}, verbose=0)
    rest = 4 if "validation_split" in kwargs else 5
    assert int(model.optimizer.iterations) == 6 + rest


def test_evaluations_and_predictions_are_limited(limits):
    model, seen = model_of(), []
    limits.set_max_steps_per_epoch(3)
    assert model.predict(X, batch_size=4, verbose=0).shape == (12, 2)
    assert model.predict(iter([X[:4]] * 5), verbose=0).shape == (12, 2)
    count = lamina.callbacks.LambdaCallback(on_test_batch_end=lambda i, logs: seen.append(i))
    model.evaluate(X, X, batch_size=4, callbacks=[count], verbose=0)
    assert seen == [0, 1, 2]


def test_the_number_of_epochs_is_limited(limits):
    model = model_of()
    limits.set_max_epochs(2)
    with pytest.warns(TrainingWarning, match="5 epochs to 2"):
        history = model.fit(X, X, epochs=5, verbose=0)
    assert history.epoch == [0, 1]
    assert model.fit(X, X, epochs=1, verbose=0).epoch == [0]
    assert limits.max_epochs() == 2
    with pytest.raises(ArgumentError, match="max_epochs"):
        limits.set_max_epochs(-1)
    with pytest.raises(ArgumentError, match="max_steps_per_epoch"):
        limits.set_max_steps_per_epoch("2")


# ---- logging -------------------------------------------------------------------------------------


def test_what_is_told_can_go_to_a_log(capsys, caplog):
    model = model_of()
    lamina.utils.disable_interactive_logging()
    try:
        assert not lamina.config.is_interactive_logging_enabled()
        with caplog.at_level(logging.INFO, "lamina"):
            model.fit(X, X, verbose=2, epochs=2, callbacks=[
                lamina.callbacks.EarlyStopping("loss", min_delta=1e9, verbose=1)
            ])  # fmt: skip
            model.summary()
    finally:
        lamina.utils.enable_interactive_logging()
    assert capsys.readouterr().out == ""
    text = "\n".join(record.getMessage() for record in caplog.records)
    for told in ("Epoch 1/2 - 1/1", "early stopping", "Total params"):
        assert told.lower() in text.lower()
    model.fit(X, X, verbose=2)
    assert "1/1" in capsys.readouterr().out


# ---- fused attention -----------------------------------------------------------------------------


@pytest.fixture
def fused(monkeypatch):
    """The calls of the fused kernel, on a machine that seems to have one."""
    calls = []

    def attend(query, key, value, **kwargs):
        calls.append(kwargs)
        return query

    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    for module in ("lamina.ops.nn.attention", "lamina.layers.attention"):
        monkeypatch.setattr(f"{module}.flash_attend", attend)
    yield calls
    lamina.config.disable_flash_attention()


def test_fused_attention_by_default(fused):
    assert lamina.config.is_flash_attention_enabled() in (None, False)
    x = np.ones((1, 3, 2, 4), "float32")
    attention = lamina.ops.dot_product_attention
    layer = layers.MultiHeadAttention(2, 4)
    attention(x, x, x)
    layer(x[:, :, 0], x[:, :, 0])
    assert len(fused) == 0
    lamina.config.enable_flash_attention()
    assert lamina.config.is_flash_attention_enabled() is True
    attention(x, x, x)
    layer(x[:, :, 0], x[:, :, 0])
    assert len(fused) == 2
    attention(x, x, x, bias=np.zeros((1, 2, 3, 3)))  # what the kernel cannot do
    layer(x[:, :, 0], x[:, :, 0], return_attention_scores=True)
    attention(x, x, x, flash_attention=False)
    layers.MultiHeadAttention(2, 4, dropout=0.1)(x[:, :, 0], x[:, :, 0])
    lamina.config.disable_flash_attention()
    attention(x, x, x)
    assert len(fused) == 2
