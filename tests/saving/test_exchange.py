"""Files go to Keras and come from Keras: every layer, op, optimizer; the same numbers after."""

import functools
import io
import json
import zipfile

import h5py
import jax
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.serialization import registry
from lamina.tree import nested as structures
from tests.cases import (
    Case,
    initializers,
    layers_core,
    layers_recurrent,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from tests.cases import ops as op_cases
from tests.cases.layers_attention import GROUPS, itself
from tests.differential.oracle import undrawn
from tests.differential.spread import LeakyCell
from tests.laws.test_layers import CASES, draw, outputs_of, symbols

# Rows whose numbers Keras does not give: it refuses integers; it wants queries, values and keys of
# one size; it divides the kernel in training only (see the test of its own below); it makes the
# weights of models in JAX with TensorFlow.
NOT_KERASS = ("softmax_integers", "group_query", "spectral", "jax_layer", "flax_layer")
EXTRA = [
    Case("grouped", layers.GroupQueryAttention, {**GROUPS, "use_gate": True},
         [((2, 4, 3), "float32")], call=itself),
    Case("stateful", layers.LSTM, {"units": 3, "stateful": True}, [((2, 5, 3), "float32")]),
    Case("bfloat16", layers.Dense, {"units": 3, "dtype": "bfloat16"}, [((2, 4), "float32")],
         rtol=1e-2),
    Case("mixed", layers.Dense, {"units": 3, "dtype": "mixed_bfloat16"}, [((2, 4), "float32")],
         rtol=1e-2),
]  # fmt: skip


def squared(x):
    return keras.ops.square(x)


IN_KERAS = {"tests>LeakyCell": LeakyCell, "tests>squared": squared}
HERE = {"LeakyCell": layers_recurrent.LeakyCell, "squared": layers_core.squared}


# Those whose layers have layers inside, the order of whose arrays matters in HDF5.
NESTED = ("extra", "attention", "recurrent", "bidirectional", "normalization", "wrappers")
FAMILIES = {"extra": EXTRA}
IMAGES = [c for c in CASES if c.cls.__module__.startswith("lamina.layers.image.")]
for _case in CASES:
    if not _case.name.startswith(NOT_KERASS) and _case not in IMAGES:
        FAMILIES.setdefault(_case.cls.__module__.rpartition(".")[2], []).append(_case)


def build(cases):
    """A model that holds one layer for each row, with weights that are not the initial ones."""
    inputs, outputs = [], []
    for case in cases:
        x = symbols(case) if case.name != "stateful" else lamina.Input((5, 3), batch_size=2)
        inputs.append(x)
        outputs.append(outputs_of(case.cls(**case.kwargs), x, case))
    model = lamina.Model(inputs, outputs)
    rng = np.random.default_rng(1)
    model.set_weights([
        np.abs(np.asarray(w, "float32") + 0.3 * rng.normal(size=w.shape)).astype(w.dtype)
        for w in model.get_weights()
    ])  # fmt: skip
    return model


def arrays(path):
    """The names and shapes of the arrays in a file."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        content = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(content)) as h5:
        h5.visititems(
            lambda name, x: found.update({name: x.shape}) if isinstance(x, h5py.Dataset) else None
        )
    return found


def run(model, data):
    """The outputs, flat; in one compiled program, which is faster than layer by layer."""
    trainable = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]

    @jax.jit
    def call(trainable, fixed, data):
        return model.stateless_call(trainable, fixed, data, training=False)[0]

    return [np.asarray(x) for x in structures.flatten(call(trainable, fixed, data))]


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling")
@pytest.mark.parametrize(
    ("family", "suffix"),
    [*((family, "keras") for family in FAMILIES), *((family, "h5") for family in NESTED)],
)
def test_layers(family, suffix, tmp_path):
    cases = FAMILIES[family]
    if suffix == "h5":  # whose arrays have no place for bfloat16 in Keras
        cases = [case for case in cases if "bfloat16" not in str(case.kwargs.get("dtype"))]
    ours = build(cases)
    data = [draw(case) for case in cases]
    one, other = (tmp_path / f"{name}.{suffix}" for name in ("ours", "theirs"))
    ours.save(one)
    with undrawn():
        theirs = keras.saving.load_model(one, IN_KERAS, safe_mode=False)
    theirs.save(other)
    again = lamina.saving.load_model(other, HERE)

    if suffix == "keras":
        assert arrays(one) == arrays(other)
    for a, b in zip(ours.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    outputs = run(ours, data)
    for x, y in zip(outputs, run(theirs, data), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(np.float64(x), np.float64(y), rtol=1e-5, atol=1e-5)
    if again.to_json() != ours.to_json():  # Keras writes what some defaults came to
        for x, z in zip(outputs, run(again, data), strict=True):
            np.testing.assert_array_equal(x, z)


@pytest.mark.parametrize("case", IMAGES, ids=str)
def test_configs_of_layers_for_images(case):
    """Keras cannot put all of them into one graph; their results are compared elsewhere."""
    ours = case.cls(**case.kwargs)
    record = lamina.layers.serialize(ours)
    theirs = keras.layers.deserialize(record)
    again = lamina.layers.deserialize(keras.layers.serialize(theirs))
    assert type(again) is case.cls
    draws = (
        {"seed": again.seed} if case.cls is layers.RandomCrop else {}
    )  # Keras writes what it drew
    assert again.get_config() == {**ours.get_config(), **draws}


def test_spectral_normalization_divides_in_every_call(tmp_path):
    """Keras on JAX divides in training only: it predicts with another kernel than it trained."""
    case = next(c for c in CASES if c.cls is layers.SpectralNormalization)
    ours, x = build([case]), [draw(case)]
    ours.save(tmp_path / "ours.keras")
    theirs = keras.saving.load_model(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    again = lamina.saving.load_model(tmp_path / "theirs.keras")
    assert arrays(tmp_path / "ours.keras") == arrays(tmp_path / "theirs.keras")
    np.testing.assert_array_equal(run(ours, x)[0], run(again, x)[0])
    divided = np.asarray(theirs(x, training=True))
    np.testing.assert_allclose(run(ours, x)[0], divided, rtol=1e-5, atol=1e-5)


# ---- ops -----------------------------------------------------------------------------------------

A, B = (np.random.default_rng(i).uniform(0.1, 1, (3, 4, 6)).astype("float32") for i in (0, 1))
REDUCTIONS = "sum mean max min prod std var all any median logsumexp count_nonzero".split()
POINTWISE = """relu gelu softmax silu sigmoid tanh elu celu selu softplus softsign relu6 leaky_relu
    log_softmax log_sigmoid hard_sigmoid hard_silu hard_tanh soft_shrink exp log sqrt rsqrt square
    sin erf floor sign stop_gradient negative reciprocal""".split()
OPS = {
    **{n: lambda o, x, y, n=n: o.cast(getattr(o, n)(x, axis=-1), "float32") for n in REDUCTIONS},
    **{n: lambda o, x, y, n=n: getattr(o, n)(x) for n in POINTWISE},
    "index": lambda o, x, y: x[:, 1:3, ..., None] + x[:, 0, None, ::-1, None],
    "operators": lambda o, x, y: 2 - x**2 / (y + 1) * 3 + abs(-x) // 0.1,
    "matmul": lambda o, x, y: x @ o.transpose(y, (0, 2, 1)),
    "comparison": lambda o, x, y: o.cast(o.logical_and(x > y, x >= 0.2), "float32"),
    "keepdims": lambda o, x, y: x - o.mean(x, axis=(1, 2), keepdims=True),
    "argmax": lambda o, x, y: o.argmax(x, axis=1),
    "exact gelu": lambda o, x, y: o.gelu(x, approximate=False),
    "softmax of all": lambda o, x, y: o.softmax(x, axis=None),
    "slope": lambda o, x, y: o.leaky_relu(x - 0.5, negative_slope=0.3),
    "glu": lambda o, x, y: o.glu(x, axis=1),
    "threshold": lambda o, x, y: o.threshold(x, 0.5, 2.0),
    "concatenate": lambda o, x, y: o.concatenate([x, y], axis=1),
    "stack": lambda o, x, y: o.stack([x, y], axis=2),
    "split": lambda o, x, y: o.split(x, 2, axis=2),
    "reshape": lambda o, x, y: o.reshape(x, (-1, 24)),
    "expand_dims": lambda o, x, y: o.squeeze(o.expand_dims(x, 1), axis=1),
    "clip": lambda o, x, y: o.clip(x, 0.2, 0.6),
    "where": lambda o, x, y: o.where(x > 0.5, x, 0.0) + o.where(x > y, x, y),
    "maximum": lambda o, x, y: o.maximum(x, y) + o.minimum(x, 0.5),
    "tile": lambda o, x, y: o.tile(x, (1, 2, 1)),
    "repeat": lambda o, x, y: o.repeat(x, 2, axis=1),
    "pad": lambda o, x, y: o.pad(x, ((0, 0), (1, 1), (0, 2)), constant_values=3.0),
    "reflect": lambda o, x, y: o.pad(x, ((0, 0), (1, 1), (0, 2)), mode="reflect"),
    "einsum": lambda o, x, y: o.einsum("bij,bkj->bik", x, y),
    "top_k": lambda o, x, y: o.top_k(x, 2),
    "cumsum": lambda o, x, y: o.cumsum(x, axis=1),
    "sort": lambda o, x, y: o.sort(x, axis=1) + o.argsort(x, axis=1),
    "take": lambda o, x, y: o.take(x, np.array([0, 2]), axis=1),
    "constant": lambda o, x, y: x * np.arange(6, dtype="float32"),
    "tensordot": lambda o, x, y: o.tensordot(x, np.ones((6, 2), "float32"), axes=1),
    "one_hot": lambda o, x, y: o.one_hot(o.cast(x * 5, "int32"), 6),
    "normalize": lambda o, x, y: o.normalize(x, axis=1, order=1),
    "moments": lambda o, x, y: o.moments(x, axes=[1]),
    "average": lambda o, x, y: o.average(x, weights=y) + o.average(x, axis=1, weights=y),
    "axes": lambda o, x, y: o.swapaxes(o.moveaxis(x, 1, 2), 0, 2),
    "roll": lambda o, x, y: o.roll(o.flip(x, axis=1), 1, axis=2),
    "like": lambda o, x, y: o.zeros_like(x) + o.full_like(x, 3.0) + o.ones_like(y),
    "triangle": lambda o, x, y: o.tril(x, -1) + o.triu(x, 1),
    "isclose": lambda o, x, y: o.cast(o.isclose(x, y, rtol=0.5), "float32"),
    "meshgrid": lambda o, x, y: o.meshgrid(x[0, 0], y[0, 0], indexing="ij"),
    "loss": lambda o, x, y: o.binary_crossentropy(x, y, from_logits=True),
}  # fmt: skip


def test_ops(tmp_path):
    """A graph of all of ``OPS``, there and back."""

    def graph(library):
        x, y = library.Input((4, 6)), library.Input((4, 6))
        outputs = {name: fn(library.ops, x, y) for name, fn in OPS.items()}
        names = [name for name, out in outputs.items() for _ in structures.flatten(out)]
        return library.Model([x, y], list(outputs.values())), names

    (ours, names), (theirs, _) = graph(lamina), graph(keras)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    models = {
        "ours, loaded in Keras": keras.saving.load_model(tmp_path / "ours.keras"),
        "theirs, loaded in Lamina": lamina.saving.load_model(tmp_path / "theirs.keras"),
    }
    expected = run(ours, [A, B])
    for what, model in models.items():
        for name, a, b in zip(names, expected, run(model, [A, B]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"{what}: {name}")
    again = lamina.saving.load_model(tmp_path / "ours.keras")
    assert again.to_json() == lamina.models.clone_model(ours).to_json() == ours.to_json()


# Their results' shapes depend on values, so graphs cannot contain them.
OF_VALUES = {"nonzero", "where-positions", "bincount", "unique", "argwhere"}


def op_graph(case):
    """A graph of Keras of the op of one row; None if it has no inputs."""
    inputs = []

    def symbolic(x):
        if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
            inputs.append(keras.Input(batch_shape=x.shape, dtype=str(x.dtype)))
            return inputs[-1]
        many = isinstance(x, (list, tuple)) and any(isinstance(v, np.ndarray) for v in x)
        return type(x)(symbolic(v) for v in x) if many else x

    outputs = case.call(keras.ops, **{k: symbolic(v) for k, v in case.args.items()})
    return keras.Model(inputs, outputs) if inputs else None


@pytest.mark.parametrize("part", range(8))
def test_every_op_that_keras_saves_is_read(part):
    """Each row of the table of ops as a graph of Keras."""
    cases = [
        c for c in op_cases.CASES if not {c.id, c.name} & OF_VALUES and "keras" not in c.exclude
    ]
    read = 0
    for case in cases[part::8]:
        try:
            theirs = op_graph(case)
            text = theirs and theirs.to_json()
        except (TypeError, ValueError, AttributeError, NotImplementedError):
            continue  # Keras has no graph of it, or cannot save it
        if theirs is None:
            continue
        outputs = structures.flatten(lamina.models.model_from_json(text).output)
        assert len(outputs) == len(structures.flatten(theirs.output)), case.id
        read += 1
    assert read > 40


ACTIVATION_CALLS = [
    ("relu", {"negative_slope": 0.2, "max_value": 2.0, "threshold": 0.5}), ("relu", {}),
    ("elu", {"alpha": 0.5}), ("softmax", {"axis": 1}), ("gelu", {}), ("log_softmax", {}),
    ("leaky_relu", {"negative_slope": 0.3}), ("celu", {}), ("glu", {}), ("squareplus", {}),
    ("threshold", {"threshold": 0.5, "default_value": 2.0}), ("linear", {}),
]  # fmt: skip


def test_activations_called_on_tensors():
    """Keras writes some of them as classes of its own, in another module than its ops."""
    x, outputs = keras.Input((4, 6)), []
    for name, arguments in ACTIVATION_CALLS:
        outputs.append(getattr(keras.activations, name)(x, **arguments))
    outputs.append(keras.ops.convert_to_tensor(x, "float16"))
    theirs = keras.Model(x, outputs)
    ours = lamina.models.model_from_json(theirs.to_json())
    for a, b in zip(run(theirs, A - 0.5), run(ours, A - 0.5), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# How earlier releases of Keras 3 wrote ops: class, config, the call (T: the input), what it is.
T = "the input"
EARLIER = {
    "3.0 Resize": ("image.Resize", {"size": [2, 5]}, [], {"image": T},
                   lambda x: x.shape == (2, 5, 6)),
    "3.0 Stack": ("numpy.Stack", {"axis": 1}, [], {"xs": [T, T]},
                  lambda x: x.shape == (3, 2, 4, 6)),
    "3.1 Slice": ("core.Slice", {}, [T, [0, 1, 2], [3, 2, 1]], {}, lambda x: x.shape == (3, 2, 1)),
    "3.8 Threshold": ("nn.Threshold", {"threshold_value": 0.5, "value": 9.0}, [T], {},
                      lambda x: np.array_equal(x, np.where(A > 0.5, A, np.float32(9)))),
}  # fmt: skip


@pytest.mark.parametrize("name", EARLIER)
def test_ops_as_earlier_releases_wrote_them(name):
    path, config, args, kwargs, is_right = EARLIER[name]
    module, cls = path.split(".")
    x = keras.Input(batch_shape=(3, 4, 6), name="x")
    graph = json.loads(keras.Model(x, keras.ops.abs(x)).to_json())
    record = graph["config"]["layers"][1]
    tensor = record["inbound_nodes"][0]["args"][0]
    config = {"name": record["name"], **config}
    record.update(module=f"keras.src.ops.{module}", class_name=cls, config=config)
    call = json.dumps({"args": args, "kwargs": kwargs}).replace(json.dumps(T), json.dumps(tensor))
    record["inbound_nodes"] = [json.loads(call)]
    (result,) = run(lamina.models.model_from_json(json.dumps(graph)), A)
    assert is_right(result)


# ---- models of models, containers, states of optimizers ------------------------------------------


def nested(library, shares=False):
    """Models in a model; with ``shares``, one of them has a layer of the outer one too."""
    layers = library.layers
    image, text = library.Input((4,), name="image"), library.Input((4,), name="text")
    shared = layers.Dense(4, activation="relu", name="shared")
    first = shared if shares else layers.Dense(4)
    inner = library.Sequential([layers.Dense(3), layers.BatchNormalization()], name="stack")
    tower = library.Model(image, inner(first(image)), name="tower")
    joined = layers.concatenate([tower(image), tower(text), shared(shared(text))])
    both = {"kind": layers.Dense(2, name="kind")(joined), "size": layers.Dense(1)(joined)[:, 0]}
    return library.Model({"image": image, "text": text}, both)


@pytest.mark.parametrize(
    ("there", "here", "shares"),
    [
        (keras, lamina, False),
        (lamina, keras, False),
        (keras, lamina, True),
        (lamina, lamina, True),
        # Keras reads neither its own file of such a model nor this one: it mixes up the calls.
    ],
)
def test_nested_models_and_shared_layers(there, here, shares, tmp_path):
    rng = np.random.default_rng(0)
    data = {k: rng.normal(size=(5, 4)).astype("float32") for k in ("image", "text")}
    model = nested(there, shares)
    model.set_weights([np.abs(w + rng.normal(size=w.shape)) for w in model.get_weights()])
    model.save(tmp_path / "model.keras")
    again = here.saving.load_model(tmp_path / "model.keras")
    a, b = model.predict(data, verbose=0), again.predict(data, verbose=0)
    for name in ("kind", "size"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-5)
    again.save(tmp_path / "again.keras")
    assert arrays(tmp_path / "model.keras") == arrays(tmp_path / "again.keras")
    if here is lamina:
        in_tower = again.get_layer("tower").layers[1]
        assert (again.get_layer("shared") is in_tower) == shares


@pytest.mark.parametrize(
    ("there", "here"),
    [(keras, lamina), (lamina, keras), (lamina, lamina)],
    ids=lambda m: m.__name__,
)
def test_the_text_of_a_compiled_model_is_that_of_a_compiled_model(there, here):
    model = there.Sequential([there.Input((4,)), there.layers.Dense(2)])
    assert not here.models.model_from_json(model.to_json()).compiled
    model.compile(there.optimizers.SGD(0.25), "mse", metrics=["mae"])
    again = here.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    assert float(again.optimizer.learning_rate) == 0.25
    data = np.ones((3, 4), "float32"), np.ones((3, 2), "float32")
    results = [m.evaluate(*data, verbose=0) for m in (model, again)]
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_a_text_with_arguments_of_compile_that_are_unknown():
    def own(y_true, y_pred):
        return lamina.ops.mean(y_pred - y_true, axis=-1)

    model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(2)])
    model.compile("sgd", own)
    text = model.to_json()
    with pytest.warns(lamina.errors.SavingWarning, match=r"not compiled: .*function 'own'"):
        again = lamina.models.model_from_json(text)
    assert not again.compiled
    assert lamina.models.model_from_json(text, {"own": own}).compiled


@pytest.mark.parametrize("kind", ["functional", "subclass", "stack"])
@pytest.mark.parametrize(
    ("there", "here"),
    [(keras, lamina), (lamina, keras), (lamina, lamina)],
    ids=lambda m: m.__name__,
)
def test_calls_of_models_among_the_outputs(there, here, kind, tmp_path):
    def towers(library):
        class Tower(library.Model):
            def __init__(self, name=None):
                image = library.Input((4,))
                super().__init__(image, library.layers.Dense(4)(image), name=name)

            def get_config(self):
                return {"name": self.name}

        return Tower

    def tower():
        image = there.Input((4,))
        if kind == "functional":
            return there.Model(image, there.layers.Dense(4)(image))
        return there.Sequential([image, there.layers.Dense(4)])

    inner = towers(there)() if kind == "subclass" else tower()
    image = there.Input((4,))
    first = inner(image)
    third = inner(inner(there.layers.ReLU()(first)))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    for i, outputs in enumerate(([third, first], first, third)):
        model = there.Model(image, outputs)
        model.save(tmp_path / f"{i}.keras")
        again = here.saving.load_model(tmp_path / f"{i}.keras", {"Tower": towers(here)})
        flat = [library.tree.flatten(m.predict(x, verbose=0))
                for library, m in ((there, model), (here, again))]  # fmt: skip
        for a, b in zip(*flat, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        if there is lamina:
            copy = lamina.models.clone_model(model, clone_function=lambda _: lamina.layers.Dense(4))
            assert len(copy.outputs) == len(flat[0])


def test_calls_in_files_of_which_all_count_from_zero():
    inner = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(4)])
    inner = lamina.Model(inner.inputs[0], inner.outputs[0], name="inner")
    image = lamina.Input((4,))
    model = lamina.Model(image, [inner(image), inner(inner(image))])
    config = model.get_config()
    assert config["output_layers"] == [["inner", 1, 0], ["inner", 3, 0]]
    for i in (0, 2):
        config["output_layers"][i // 2][1] = i
    again = lamina.Model.from_config(config)
    again.set_weights(model.get_weights())
    x = np.ones((1, 4), "float32")
    for a, b in zip(model(x), again(x), strict=True):
        np.testing.assert_allclose(a, b)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("there", "here"), [(keras, lamina), (lamina, keras)], ids=lambda m: m.__name__
)
def test_names_with_colons(there, here, suffix, tmp_path):
    inputs = there.Input((4,), name="x:0")
    model = there.Model(inputs, there.layers.Dense(3, name="onnx::Gemm_1")(inputs))
    model.save(tmp_path / f"model{suffix}")
    again = here.saving.load_model(tmp_path / f"model{suffix}")
    assert [x.name for x in again.layers] == ["x:0", "onnx::Gemm_1"]
    x = np.ones((1, 4), "float32")
    np.testing.assert_allclose(
        again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_layers_whose_names_differ_after_a_colon_draw_differently():
    inputs = lamina.Input((64,))
    outputs = [lamina.layers.Dropout(0.5, name=f"dropout:{i}")(inputs) for i in range(2)]
    model = lamina.Model(inputs, outputs)
    a, b = model.stateless_call([], [], np.ones((1, 64), "float32"), training=True, seed=3)[0]
    assert np.any(np.asarray(a) != np.asarray(b))


def blocks(library):
    """A model with layers in every kind of container, and a layer under two names."""
    layers = library.layers

    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.zz = self.first = layers.Dense(2)
            self.parts = [1, [layers.Dense(2)], layers.Dense(2), {"x": (layers.Dense(2), None)}]
            self.by_name = {"b/c": layers.Dense(2), "a": [layers.Dense(2)]}
            self._hidden = layers.BatchNormalization()

        def build(self, input_shape):
            self.moving = self.add_weight(shape=(2,), trainable=False, name="moving")
            self.factor = self.add_weight(shape=(), name="factor")

        def call(self, x):
            inner = (self.zz, self.parts[1][0], self.parts[2], self.parts[3]["x"][0],
                     self.by_name["b/c"], self.by_name["a"][0], self._hidden)  # fmt: skip
            for layer in inner:
                x = layer(x)
            return x * self.factor + self.moving

    class Net(library.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.block, self.head = Block(), library.Sequential([layers.Dense(3)])

        def call(self, x):
            return self.head(self.block(x))

    return Net, {"Net": Net, "Block": Block}


def test_containers_of_layers(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    pair = [(keras, *blocks(keras)), (lamina, *blocks(lamina))]
    for (_, net, _), (library, _, custom) in (pair, pair[::-1]):
        model = net()
        model.predict(x, verbose=0)
        rng = np.random.default_rng(1)
        model.set_weights([rng.uniform(0.5, 1, w.shape) for w in model.get_weights()])
        model.save(tmp_path / "model.keras")
        again = library.saving.load_model(tmp_path / "model.keras", custom)
        a, b = model.predict(x, verbose=0), again.predict(x, verbose=0)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        model.save_weights(tmp_path / "model.weights.h5")
        again.load_weights(tmp_path / "model.weights.h5")


@pytest.mark.filterwarnings("ignore:Layer .* looks like it has unbuilt state")
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("Adam", {"amsgrad": True, "learning_rate": 0.01}),
        ("RMSprop", {"momentum": 0.5, "centered": True}),
        ("SGD", {"momentum": 0.9, "nesterov": True, "learning_rate": 0.01}),
        ("Adam", {"gradient_accumulation_steps": 2}),
        ("LossScaleOptimizer", {"inner_optimizer": "adam", "initial_scale": 16.0}),
    ],
)
@pytest.mark.parametrize("way", ["there", "back"])
def test_training_goes_on_in_the_other_library(optimizer, options, way, tmp_path):
    """Compile settings and optimizer state: the next steps are those of the saved model."""
    there, here = (lamina, keras) if way == "there" else (keras, lamina)
    options = {
        k: there.optimizers.get(v) if k == "inner_optimizer" else v for k, v in options.items()
    }
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 4)).astype("float32"), rng.integers(0, 3, 24)
    inputs = there.Input((4,))
    hidden = there.layers.Dense(5, activation="tanh")(inputs)
    model = there.Model(inputs, there.layers.Dense(3)(hidden))
    model.set_weights([0.3 * rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile(
        getattr(there.optimizers, optimizer)(**options),
        there.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", there.metrics.SparseTopKCategoricalAccuracy(2, name="top")],
    )
    fit = {"batch_size": 8, "shuffle": False, "verbose": 0}
    model.fit(x, y, epochs=2, **fit)
    model.save(tmp_path / "model.keras")
    again = here.saving.load_model(tmp_path / "model.keras")
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations)
    a, b = (m.evaluate(x, y, verbose=0, return_dict=True) for m in (model, again))
    assert sorted(a) == sorted(b) == ["accuracy", "loss", "top"]
    a, b = (m.fit(x, y, epochs=2, **fit).history for m in (model, again))
    assert sorted(a) == sorted(b) == ["accuracy", "loss", "top"]
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, err_msg=name)
    for u, v in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(u, v, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_how_a_model_runs_is_among_the_arguments_of_compile(suffix, tmp_path):
    options = {"run_eagerly": False, "steps_per_execution": 2, "jit_compile": False}
    for there in (keras, lamina):
        model = there.Sequential([there.Input((3,)), there.layers.Dense(1)])
        model.compile("sgd", there.losses.MeanSquaredError(), **options)
        assert options.items() <= model.get_compile_config().items()
        model.save(tmp_path / f"model.{suffix}")
        for here in (keras, lamina):
            again = here.saving.load_model(tmp_path / f"model.{suffix}")
            if suffix == "keras":
                assert options.items() <= again.get_compile_config().items()


def test_the_arguments_of_compile_are_data():
    def make(there):
        model = there.Sequential([there.Input((3,)), there.layers.Dense(1, "sigmoid")])
        assert model.get_compile_config() == {}
        model.compile(
            there.optimizers.SGD(0.5),
            there.losses.BinaryCrossentropy(label_smoothing=0.1),
            metrics=["mae"],
        )
        return json.loads(json.dumps(model.get_compile_config()))

    ours, theirs = make(lamina), make(keras)
    assert ours.keys() == theirs.keys()
    for config in (ours, theirs):
        model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(1, "sigmoid")])
        model.compile_from_config(config)
        assert float(model.optimizer.learning_rate) == 0.5
        assert model.loss.get_config()["label_smoothing"] == 0.1
        assert set(model.test_on_batch(np.ones((2, 3)), np.ones((2, 1)), return_dict=True)) == {
            "loss",
            "mae",
        }


@pytest.mark.filterwarnings("ignore:.*HDF5 file")
@pytest.mark.filterwarnings("ignore:.*(yet been built|no weights yet)")
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("there", [keras, lamina], ids=lambda x: x.__name__)
@pytest.mark.parametrize("here", [keras, lamina], ids=lambda x: x.__name__)
def test_models_without_weights(suffix, there, here, tmp_path):
    if there is here is keras and suffix == "h5":
        pytest.skip("Keras does not read its own.")
    model = there.Sequential([there.layers.Rescaling(0.5), there.layers.Dense(2)])
    model.compile("adam", there.losses.MeanSquaredError())
    model.save(tmp_path / f"model.{suffix}")
    again = here.saving.load_model(tmp_path / f"model.{suffix}")
    assert not again.built
    again.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    assert int(again.optimizer.iterations) == 1
    assert [w.shape for w in again.weights] == [(3, 2), (2,)]


@pytest.mark.filterwarnings("ignore:.*HDF5 file")
@pytest.mark.filterwarnings("ignore:.*will be empty until you train")
@pytest.mark.parametrize("loss", ["mse", ["mae"], {"score": "kld"}])
def test_short_names_of_losses_in_hdf5(loss, tmp_path):
    """Keras does not find them there, whoever wrote the file."""
    inputs = lamina.Input((3,))
    model = lamina.Model(inputs, lamina.layers.Dense(2, "softmax", name="score")(inputs))
    model.compile("sgd", loss, metrics=["mae"])
    model.save(tmp_path / "model.h5")
    x, y = np.ones((4, 3), "float32"), np.full((4, 2), 0.3, "float32")
    expected = model.evaluate(x, y, verbose=0)
    for here in (keras, lamina):
        again = here.saving.load_model(tmp_path / "model.h5")
        assert again.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_schedules_and_named_losses(tmp_path):
    """Compile settings by name, and what is inside of them."""
    data = {k: np.ones((4, 4), "float32") for k in ("image", "text")}
    target = {"kind": np.zeros((4, 2), "float32"), "size": np.ones(4, "float32")}
    for there, here in ((keras, lamina), (lamina, keras)):
        model = nested(there)
        schedule = there.optimizers.schedules.CosineDecay(0.1, 100)
        model.compile(  # Huber without its delta, which Keras leaves out of its files
            there.optimizers.SGD(schedule), {"kind": "mse", "size": there.losses.Huber()},
            loss_weights={"kind": 2.0, "size": 0.5}, metrics={"kind": ["mae"]},
        )  # fmt: skip
        model.fit(data, target, verbose=0)
        model.save(tmp_path / "model.keras")
        again = here.saving.load_model(tmp_path / "model.keras")
        assert again.optimizer.get_config()["learning_rate"]["config"]["decay_steps"] == 100
        a, b = (m.evaluate(data, target, verbose=0, return_dict=True) for m in (model, again))
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5, err_msg=name)


def test_names_of_sizes_stay_here_and_are_open_there(tmp_path):
    x = lamina.Input((None, "time", 4))
    model = lamina.Model(x, layers.Dense(2)(x))
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").output_shape == (None, None, None, 2)
    again = lamina.saving.load_model(tmp_path / "model.keras")
    copies = [again, lamina.models.clone_model(model), lamina.Model.from_config(model.get_config())]
    for copy in [*copies, lamina.models.model_from_json(model.to_json())]:
        assert copy.output.dims == ("batch", None, "time", 2)


def test_json_goes_both_ways():
    for there, here in ((keras, lamina), (lamina, keras)):
        model = nested(there)
        again = here.models.model_from_json(model.to_json(indent=2))
        assert [x.shape for x in again.outputs] == [x.shape for x in model.outputs]
        assert [x.name for x in again.layers] == [x.name for x in model.layers]
    # Keras's text does not say that a layer is shared; Lamina's does.
    model = nested(lamina, shares=True)
    copies = lamina.models.model_from_json(model.to_json()), lamina.models.clone_model(model)
    for copy in (*copies, lamina.Model.from_config(model.get_config())):
        assert copy.get_layer("shared") is copy.get_layer("tower").get_layer("shared")


def plain(config):
    """A config with floats as float32 has them, and without what Keras fills in."""
    if isinstance(config, dict):
        return {k: plain(v) for k, v in config.items() if v not in (None, [])}
    if isinstance(config, list):
        return [plain(v) for v in config]
    return float(np.float32(config)) if isinstance(config, float) else config


CONFIGURED = [
    *(("losses", case.name, case.kwargs) for case in losses.CASES),
    *(("metrics", case.name, case.kwargs) for case in metrics.CASES),
    *(
        (room, name, kwargs)
        for room, table in [
            ("initializers", initializers.INITIALIZERS), ("optimizers", optimizers.OPTIMIZERS),
            ("optimizers.schedules", optimizers.SCHEDULES),
            ("regularizers", regularizers.REGULARIZERS), ("constraints", regularizers.CONSTRAINTS),
        ]
        for name, rows in table.items()
        for kwargs in (row[0] if isinstance(row, tuple) else row for row in rows)
    ),
]  # fmt: skip


# What Keras's own configs leave out, or count in another way.
FORGOTTEN = {
    "CosineSimilarity": "axis", "Huber": "delta", "Identity": "gain", "AUC": "num_thresholds",
}  # fmt: skip


def test_configs_of_everything_else_go_there_and_back():
    for room, name, kwargs in CONFIGURED:
        if name == "Optax":
            continue
        ours = getattr(functools.reduce(getattr, room.split("."), lamina), name)(**kwargs)
        theirs = keras.saving.deserialize_keras_object(registry.serialize(ours))
        again = registry.deserialize(keras.saving.serialize_keras_object(theirs))
        assert type(theirs).__name__ == type(again).__name__ == type(ours).__name__
        a, b = plain(registry.serialize(ours)), plain(registry.serialize(again))
        for record in (a, b):
            record["config"].pop(FORGOTTEN.get(name), None)
        assert a == b, (room, name, kwargs)
