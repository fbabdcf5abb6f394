"""Names that few programs use: operations, scopes, policies by path, and members of objects."""

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import dtype_policies, layers, metrics, optimizers
from lamina.errors import ArgumentError, SerializationError

RNG = np.random.default_rng(0)


# ---- operations ----------------------------------------------------------------------------------


@lamina.saving.register_keras_serializable("tests")
class Scaled(lamina.Operation):
    def __init__(self, factor, offset=0.0, name=None):
        super().__init__(name=name)
        self.factor, self.offset = factor, offset

    def call(self, x, y=None):
        return x * self.factor + self.offset + (0 if y is None else y)


class Halves(lamina.Operation):
    def call(self, x):
        return x[:, :2], x[:, 2:]

    def compute_output_spec(self, x):
        return lamina.KerasTensor((x.shape[0], 2)), lamina.KerasTensor((x.shape[0], x.shape[1] - 2))


def test_an_operation_is_a_node_that_files_keep(tmp_path):
    x = lamina.Input((4,), name="x")
    scaled = Scaled(2.0, offset=1.0, name="scaled")
    y = layers.Dense(3)(scaled(x, y=x))
    model = lamina.Model(x, y)
    data = RNG.normal(size=(2, 4)).astype("float32")
    np.testing.assert_allclose(scaled(data, data), data * 3 + 1, rtol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = lamina.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(data, verbose=0), model.predict(data, verbose=0))
    assert [op.name for op in loaded.operations] == [op.name for op in model.operations]
    assert loaded.operations[1].get_config() == {"factor": 2.0, "offset": 1.0, "name": "scaled"}
    model.summary(print_fn=lambda text: None)
    lamina.utils.model_to_dot(model)


def test_an_operation_may_tell_its_shapes():
    x = lamina.Input((5,))
    a, b = Halves()(x)
    assert (a.shape, b.shape) == ((None, 2), (None, 3))
    model = lamina.Model(x, [a, b])
    assert [y.shape for y in model.predict(np.ones((1, 5)), verbose=0)] == [(1, 2), (1, 3)]
    assert isinstance(layers.Dense(1), lamina.Operation)


def test_an_unregistered_operation_is_told(tmp_path):
    x = lamina.Input((5,))
    model = lamina.Model(x, Halves()(x)[0])
    model.save(tmp_path / "model.keras")
    with pytest.raises(SerializationError, match="'Halves'"):
        lamina.models.load_model(tmp_path / "model.keras")


def test_nothing_leaves_a_symbolic_scope():
    dense = layers.Dense(2, activity_regularizer="l2")
    dense.build((None, 3))
    with lamina.SymbolicScope():
        assert dense(np.ones((4, 3), "float32")).shape == (4, 2)
        dense.bias.assign(np.ones(2))
    assert dense.bias.numpy().tolist() == [0, 0]


# ---- dtype policies ------------------------------------------------------------------------------


@lamina.saving.register_keras_serializable("tests")
class Pair(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(2, dtype=self.dtype_policy, name="first")
        self.second = layers.Dense(2, dtype=self.dtype_policy, name="second")

    def build(self, shape):
        self.first.build(shape)
        self.second.build((None, 2))

    def call(self, x):
        return self.second(self.first(x))


def test_policies_by_path_are_saved_and_read(tmp_path):
    policies = dtype_policies.DTypePolicyMap("float32", {"pair/first": "bfloat16"})
    x = lamina.Input((3,))
    model = lamina.Model(x, Pair(dtype=policies, name="pair")(x))
    model.save(tmp_path / "model.keras")
    for m in (model, lamina.models.load_model(tmp_path / "model.keras")):
        pair = m.get_layer("pair")
        assert [(s.dtype, s.compute_dtype) for s in (pair, pair.first, pair.second)] == [
            ("float32", "float32"), ("bfloat16", "bfloat16"), ("float32", "float32"),
        ]  # fmt: skip
        assert pair.first.kernel.dtype == "bfloat16"
    pair.second.dtype_policy = "float16"
    assert pair.dtype_policy["pair/second"].name == "float16"
    assert pair.second.compute_dtype == "float16"


@pytest.mark.parametrize(
    "name",
    ["float32", "mixed_bfloat16", "int8_from_float32", "int4_from_mixed_float16",
     "int4/64_from_float32", "int4/-1_from_bfloat16", "float8_from_mixed_bfloat16"],
)  # fmt: skip
def test_policies_are_keras_s(name):
    ours, theirs = dtype_policies.get(name), keras.dtype_policies.get(name)
    for attribute in ("name", "compute_dtype", "variable_dtype", "quantization_mode"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    written = dtype_policies.serialize(ours)
    assert written == keras.dtype_policies.serialize(theirs)
    assert dtype_policies.deserialize(written) == ours
    assert hash(dtype_policies.deserialize(written)) == hash(ours)


def test_maps_are_keras_s():
    given = {"a/b": "float16", "c/.*": "int8_from_float32"}
    ours = dtype_policies.DTypePolicyMap(
        "bfloat16", {k: dtype_policies.get(v) for k, v in given.items()}
    )
    theirs = keras.dtype_policies.DTypePolicyMap(
        keras.dtype_policies.get("bfloat16"),
        {k: keras.dtype_policies.get(v) for k, v in given.items()},
    )
    for path in ("a/b", "a/c", "c/d", "e"):
        assert ours[path].name == theirs[path].name
    written = keras.dtype_policies.serialize(theirs)
    written["config"]["default_policy"] = keras.dtype_policies.serialize(
        written["config"]["default_policy"]
    )
    assert dtype_policies.serialize(ours) == written
    assert dtype_policies.deserialize(written) == ours
    assert (len(ours), ours.name, sorted(ours)) == (2, "map_bfloat16", ["a/b", "c/.*"])
    del ours["a/b"]
    assert "a/b" not in ours
    with pytest.raises(ArgumentError, match="each once"):
        ours["c/.*"] = "float32"
    ours["c/d.*"] = "float32"
    with pytest.raises(ArgumentError, match="several keys that match 'c/d'"):
        _ = ours["c/d"]
    with pytest.raises(ArgumentError, match="has no key 'x'"):
        del ours["x"]
    assert dtype_policies.DTypePolicyMap().default_policy.name == "float32"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda d: d.QuantizedDTypePolicy("int7", "float32"), "'int7'"),
        (lambda d: d.QuantizedDTypePolicy("int8", "float16"), "float16"),
        (lambda d: d.Int4DTypePolicy("int4/0", "float32"), "int4/0"),
        (lambda d: d.QuantizedFloat8DTypePolicy("float8", "float32", 0.5), "0.5"),
        (lambda d: d.DTypePolicyMap(d.DTypePolicyMap()), "single `default_policy`"),
        (lambda d: d.deserialize({"class_name": "Nothing", "config": {}}), "Nothing"),
    ],
)
def test_wrong_policies_are_told(make, told):
    with pytest.raises(ArgumentError, match=told):
        make(dtype_policies)


def test_inputs_are_converted():
    policy = dtype_policies.DTypePolicy("float32")
    x = lamina.Input((2,), dtype="float16")
    assert policy.convert_input(x, True, "float32").dtype == "float32"
    assert policy.convert_input(x, False, "float32") is x
    assert policy.convert_input(np.ones(2, "int32"), True, "float32").dtype == "int32"
    assert policy.convert_input("text", True, "float32") == "text"


# ---- variables and optimizers --------------------------------------------------------------------


def test_variables_record_what_replicas_do():
    v = lamina.Variable(np.ones(2), None, None, True, True, "mean", "on_write", "v")
    assert (v.aggregation, v.synchronization, v.name) == ("mean", "on_write", "v")
    assert lamina.Variable(np.ones(2), aggregation=None).aggregation == "none"
    weight = layers.Layer().add_weight((), aggregation="sum")
    assert weight.aggregation == "sum"
    state = metrics.Mean().variables[0]
    assert (state.aggregation, state.synchronization) == ("sum", "on_read")
    with pytest.raises(ArgumentError, match="`synchronization` expects one of"):
        lamina.Variable(np.ones(2), synchronization="later")


@pytest.mark.parametrize(
    "compute",
    {
        "equal": lambda v, w: (v == w, v == 1, v == np.array([2.0, 1.5], "float32")),
        "unequal": lambda v, w: (v != w, v != 1),
        "lists": lambda v, w: (v - [1, 2], [1, 2] - v, v * (1.0, 2.0), v > [1, 2]),
        "in place": lambda v, w: (v.assign_add([1, 2]), v.assign_sub([1.0, 2.0])),
        "one argument": lambda v, w: (+v, round(v), round(v, 1)),
    }.values(),
)
def test_arithmetic_of_variables(compute):
    ours, theirs = (
        compute(lib.Variable([2.0, 1.26]), lib.Variable([2.0, 1.0])) for lib in (lamina, keras)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_equal_variables_are_different_objects():
    a, b = (lamina.Variable(np.ones(2, "float32")) for _ in range(2))
    assert len({a, b}) == 2
    layer = layers.Layer()
    layer.first, layer.second = (layer.add_weight((2,), "ones") for _ in range(2))
    second = layer.second
    del layer.first
    assert layer.weights[0] is second
    descent = optimizers.SGD(1.0, momentum=0.9)
    for variable in (a, b):
        descent.build({"w": variable})
        descent.apply([np.ones(2, "float32")])
    assert a.numpy().tolist() == b.numpy().tolist() == [0.0, 0.0]


def test_a_variable_takes_the_name_of_an_initializer():
    v = lamina.Variable("ones", (2,), "int32")
    assert (v.numpy().tolist(), v.dtype) == ([1, 1], "int32")
    with pytest.raises(lamina.errors.UnknownNameError):
        lamina.Variable("onez", (2,))


def test_a_variable_with_a_layout():
    layout = lamina.distribution.TensorLayout(
        ("a", None), lamina.distribution.DeviceMesh((1,), ["a"], ["cpu:0"])
    )
    for given in (layout, layout.backend_layout):
        for first in (np.ones((2, 3)), lamina.initializers.Ones()):
            v = lamina.Variable(first, (2, 3), "float32", layout=given)
            assert v.value.sharding == layout.backend_layout
            assert v.assign(np.zeros((2, 3))).sharding == layout.backend_layout
            v.lay_out(None)  # what a distribution would have it do
            assert v.value.sharding == layout.backend_layout
    with pytest.raises(ArgumentError, match="`layout` is a TensorLayout"):
        lamina.Variable(np.ones(2), layout=("a",))
    with pytest.raises(ArgumentError, match="has no mesh"):
        lamina.Variable(np.ones(2), layout=lamina.distribution.TensorLayout(("a",)))


@pytest.mark.parametrize(
    "make",
    [
        lambda o: o.Adam(0.1, weight_decay=0.5, global_clipnorm=0.1, loss_scale_factor=8.0),
        lambda o: o.LossScaleOptimizer(o.SGD(0.1)),
        lambda o: o.MultiOptimizer(o.OptimizerMap(o.SGD(0.1))),
    ],
)
def test_a_variable_that_is_set_to_its_gradient(make):
    optimizer = make(optimizers)
    plain = lamina.Variable(np.ones(2, "float32"), name="plain")
    fixed = lamina.Variable(np.ones(2, "float32"), name="fixed", overwrite_with_gradient=True)
    optimizer.apply([np.float32([8, 8]), np.float32([5, 7])], [plain, fixed])
    assert fixed.numpy().tolist() == [5, 7]
    assert 0 < plain.numpy()[0] < 1
    assert not any("momentum/fixed" in key for key in optimizer.state_variables)


def test_members_of_optimizers():
    muon, theirs = optimizers.Muon(), keras.optimizers.Muon()
    for shape in ((3, 5), (5, 3)):
        x = RNG.normal(size=shape).astype("float32")
        ours, expected = (m.zeropower_via_newtonschulz5(x, 5) for m in (muon, theirs))
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(muon.lr_adjust(x), theirs.lr_adjust(x), rtol=1e-5)
        np.testing.assert_array_equal(muon.transpose_last_axis(x), x.T)
    scaled = optimizers.LossScaleOptimizer("sgd")
    assert bool(scaled.check_finite([jnp.ones(2), None]))
    assert not bool(scaled.check_finite([jnp.ones(2), jnp.array([jnp.nan])]))
    sgd = optimizers.SGD()
    assert optimizers.MultiOptimizer(optimizers.OptimizerMap(sgd)).optimizers == [sgd]


def test_slots_are_named_after_their_weights():
    names = []
    for lib in (lamina, keras):
        adam = lib.optimizers.Adam()
        adam.build([lib.Variable(np.ones(2, "float32"), name=name) for name in ("a", "b")])
        names.append([variable.name for variable in adam.variables])
    assert names[0] == names[1]


# ---- layers and models ---------------------------------------------------------------------------


def test_a_stack_may_be_rebuilt_later():
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(3, name="a")])
    model.add(layers.Dense(2, name="b"), rebuild=False)
    model.add(layers.Dense(1, name="c"), rebuild=False)
    assert not model.built
    assert model.predict(np.ones((2, 4)), verbose=0).shape == (2, 1)
    assert model.built
    assert model.pop(rebuild=False).name == "c"
    assert not model.built
    model.build()
    assert model.output_shape == (None, 2)
    assert model.pop().name == "b"
    assert model.output_shape == (None, 3)


def test_initial_weights_are_no_part_of_the_config():
    table = RNG.normal(size=(5, 2)).astype("float32")
    for given in (table, [table]):
        layer = layers.Embedding(5, 2, weights=given)
        np.testing.assert_array_equal(layer(np.array([1, 3])), table[[1, 3]])
        assert "weights" not in layer.get_config()
    both = layers.Bidirectional(layers.SimpleRNN(2))
    both.build((None, 3, 4))
    values = [RNG.normal(size=w.shape).astype("float32") for w in both.weights]
    layer = layers.Bidirectional(layers.SimpleRNN(2), "concat", values)
    layer.build((None, 3, 4))
    for a, b in zip(layer.get_weights(), values, strict=True):
        np.testing.assert_array_equal(a, b)
    assert "weights" not in layer.get_config()


def test_projections_of_attention_are_members():
    layer = layers.MultiHeadAttention(2, 3)
    assert layer.query_dense is None
    layer.build((None, 4, 5), (None, 4, 5))
    shapes = [
        getattr(layer, f"{role}_dense").kernel.shape for role in ("query", "key", "value", "output")
    ]
    assert shapes == [(5, 2, 3)] * 3 + [(2, 3, 5)]


def test_the_loop_of_a_recurrence():
    layer = layers.SimpleRNN(3, return_sequences=True)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 5)), "float32")
    whole = layer(x)
    last, outputs, states = layer.inner_loop(x, layer.get_initial_state(2), None)
    np.testing.assert_allclose(outputs, whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, whole[:, -1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(states[0], whole[:, -1], rtol=1e-5, atol=1e-6)


def test_members_of_others():
    auc, theirs = metrics.AUC(20, curve="PR"), keras.metrics.AUC(20, curve="PR")
    y, p = RNG.integers(0, 2, 40), RNG.random(40)
    for metric in (auc, theirs):
        metric.update_state(y, p)
    assert float(auc.interpolate_pr_auc()) == pytest.approx(
        float(theirs.interpolate_pr_auc()), rel=1e-5
    )
    x = lamina.Input((2,))
    assert (x.ragged_rank, x.row_splits_dtype) == (None, None)
    config = lamina.utils.Config(rate=0.1)
    assert (config.get("rate"), config.get("seed", value=7), config.get("seed")) == (0.1, 7, None)
    norm = layers.SpectralNormalization(layers.Dense(3))
    norm.build((None, 4))
    _, kernel = norm.normalized_weights()
    for _ in range(20):
        norm.vector_u.assign(norm.normalized_weights()[0])
    u, kernel = norm.normalized_weights()
    assert np.linalg.norm(kernel, 2) == pytest.approx(1, abs=1e-3)
    assert u.shape == (1, 3)


@pytest.mark.parametrize("splines", ["spline", "curved", "polyline", "line", "ortho"])
def test_edges_are_drawn_as_asked(splines, tmp_path):
    x = lamina.Input((2,))
    model = lamina.Model(x, layers.add([layers.Dense(2)(x), x]))
    drawn = lamina.utils.model_to_dot(model, splines=splines)
    assert drawn.graph_attr["splines"] == splines
    lamina.utils.plot_model(model, tmp_path / "model.svg", splines=splines)
    assert (tmp_path / "model.svg").stat().st_size > 1000


def test_a_way_to_draw_that_there_is_not():
    with pytest.raises(ArgumentError, match="`splines` must be one of"):
        lamina.utils.model_to_dot(lamina.Sequential([lamina.Input((1,))]), splines="waves")


@pytest.mark.parametrize(
    ("make", "arguments"),
    {
        "sizes of samples": (lambda **kw: layers.Dense(3, **kw), {"input_dim": 4}),
        "shape of samples": (lambda **kw: layers.Dense(3, **kw), {"input_shape": [4]}),
        "shape with the batch": (lambda **kw: layers.Dense(3, **kw), {"batch_input_shape": (7, 4)}),
        "of an InputLayer": (layers.InputLayer, {"input_shape": (4,)}),
        "of one, with the batch": (layers.InputLayer, {"batch_input_shape": (7, 4)}),
        "an array": (layers.InputLayer, {"shape": np.array([4])}),
    }.values(),
)
def test_shapes_that_first_layers_take(make, arguments):
    model = lamina.Sequential([make(**arguments), layers.Dense(1)])
    batch = 7 if "batch_input_shape" in arguments else None
    assert model.input_shape == (batch, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    {
        "int": (lambda: layers.Dense(3, input_shape=4), r"`input_shape` to be a tuple.*\(4,\)\?"),
        "text": (lambda: lamina.Input("time"), r"`shape` to be a tuple.*\('time',\)\?"),
        "batch": (lambda: lamina.Input(batch_shape=8), r"`batch_shape` to be a tuple"),
        "twice": (lambda: lamina.Input(batch_size=2, batch_shape=(2, 3)), "`batch_size` or"),
    }.values(),
)
def test_shapes_that_are_none(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize("cls", [layers.LSTM, layers.GRU, layers.LSTMCell, layers.GRUCell])
def test_arguments_of_former_versions_are_said_to_have_no_effect(cls):
    with pytest.warns(UserWarning, match="`implementation` has no effect"):
        layer = cls(3, implementation=1)
    assert "implementation" not in layer.get_config()


def test_direct_inner_layers():
    inner = lamina.Sequential([lamina.Input((2,)), layers.Dense(1)])
    model = lamina.Sequential([lamina.Input((2,)), inner])
    direct = model._flatten_layers(recursive=False, include_self=False)
    assert inner in direct
    assert inner.layers[0] not in direct
    assert inner.layers[0] in model._flatten_layers()
