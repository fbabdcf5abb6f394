"""Quantized layers and adapters: Keras's numbers, and files that go both ways."""

import tracemalloc

import keras
import numpy as np
import pytest

import lamina
from lamina import layers, quantizers
from lamina.errors import ArgumentError
from lamina.serialization import registry

CONFIGS = {
    "int8": lambda q: ("int8", None),
    "int8_weights": lambda q: (None, q.Int8QuantizationConfig(activation_quantizer=None)),
    "int4": lambda q: ("int4", None),
    "int4_blocks": lambda q: (None, q.Int4QuantizationConfig(block_size=3)),
    "int4_rows": lambda q: (None, q.Int4QuantizationConfig(block_size=None)),
    "int4_inputs": lambda q: (None, q.Int4QuantizationConfig(
        activation_quantizer=q.AbsMaxQuantizer(), block_size=-1)),
    "float8": lambda q: ("float8", None),
}  # fmt: skip
LONG = ("int4_blocks", "int8_weights", "int4_inputs", "int4_rows")
MODES = [pytest.param(m, marks=pytest.mark.long if m in LONG else ()) for m in CONFIGS]


def made():
    """A model of all layers that can be quantized, with weights that are not the initial ones."""
    x, ids = lamina.Input((4, 6), name="x"), lamina.Input((5,), dtype="int32", name="ids")
    tied, untied = (
        layers.ReversibleEmbedding(9, 7, tie_weights=tie, name=name)
        for tie, name in ((True, "tied"), (False, "untied"))
    )
    outputs = {
        "dense": layers.Dense(5, activation="tanh", name="dense")(x),
        "heads": layers.EinsumDense("abc,cde->abde", (None, 3, 5), bias_axes="de", name="heads")(x),
        "joined": layers.EinsumDense("abc,bcd->ad", 5, name="joined")(x),
        "turned": layers.EinsumDense("abc,dc->abd", (None, 5), name="turned")(x),
        "table": layers.Embedding(9, 7, name="table")(ids),
        "tied_scores": tied(tied(ids), reverse=True),
        "untied_scores": untied(untied(ids), reverse=True),
    }
    model = lamina.Model({"x": x, "ids": ids}, outputs)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


DATA = {
    "x": np.random.default_rng(2).normal(size=(2, 4, 6)).astype("float32"),
    "ids": np.random.default_rng(3).integers(0, 9, (2, 5)).astype("int32"),
}
OF_CONVOLUTIONS = {
    "image": np.random.default_rng(9).normal(size=(2, 5, 4, 6)).astype("float32"),
    "volume": np.random.default_rng(10).normal(size=(2, 5, 4, 4, 3)).astype("float32"),
}


def assert_equal(ours, theirs, tolerance=2e-5):
    assert ours.keys() == theirs.keys()
    for name in ours:
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    made().save(path)
    return path


def quantize(model, mode, library):
    name, config = CONFIGS[mode](library)
    # Keras warns of all other layers, and embeddings have no float8 form.
    model.quantize(name, config=config, filters="dense|heads|joined|turned"
                   + ("" if name == "float8" else "|table|tied"))  # fmt: skip
    return model


@pytest.mark.parametrize("mode", MODES)
def test_quantized_layers_agree_and_go_both_ways(mode, file, tmp_path):
    ours = quantize(lamina.models.load_model(file), mode, quantizers)
    theirs = quantize(keras.models.load_model(file), mode, keras.quantizers)
    expected = theirs.predict(DATA, verbose=0)
    here = ours.predict(DATA, verbose=0)
    assert_equal(here, expected)
    assert [tuple(w.shape) for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    exact = made().predict(DATA, verbose=0)
    exact = made()(DATA)
    assert np.abs(here["dense"] - np.asarray(exact["dense"])).max() > 1e-4
    if mode not in ("int8", "int4", "float8"):
        return
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    loaded = lamina.models.load_model(tmp_path / "theirs.keras")
    assert_equal(loaded.predict(DATA, verbose=0), here)
    assert loaded.get_layer("dense").dtype_policy == ours.get_layer("dense").dtype_policy
    there = keras.models.load_model(tmp_path / "ours.keras")
    assert_equal(there.predict(DATA, verbose=0), expected)


# ---- adapters ------------------------------------------------------------------------------------

ADAPTED = {
    "dense": (layers.Dense(5, name="layer"), "x"),
    "heads": (layers.EinsumDense("abc,cde->abde", (None, 3, 5), name="layer"), "x"),
    "table": (layers.Embedding(9, 7, name="layer"), "ids"),
    "tied": (layers.ReversibleEmbedding(9, 7, name="layer"), "ids"),
    "conv1d": (layers.Conv1D(4, 3, padding="causal", activation="tanh", name="layer"), "x"),
    "conv2d": (layers.Conv2D(4, (3, 2), padding="same", groups=2, name="layer"), "image"),
    "conv3d": (layers.Conv3D(4, 2, strides=2, use_bias=False, name="layer"), "volume"),
    "conv_half": (layers.Conv2D(4, 3, dtype="mixed_float16", name="layer"), "image"),
}
QUANTIZED = dict.fromkeys(("dense", "heads", "table", "tied"), (None, "int8", "int4"))


def adapted(name, quantized=None):
    """The same layer here and there, with the same adapter, which is not zero."""
    ours, key = ADAPTED[name]
    ours = type(ours).from_config(ours.get_config())
    theirs = keras.layers.deserialize(registry.serialize(ours))
    rng = np.random.default_rng(4)
    x = (DATA | OF_CONVOLUTIONS)[key]
    for layer in (ours, theirs):
        layer.build(x.shape)
    values = [rng.normal(size=w.shape) for w in ours.weights]
    for layer in (ours, theirs):
        layer.set_weights(values)
        if quantized:
            layer.quantize(quantized)
        layer.enable_lora(2, lora_alpha=3)
    for a, b in zip(ours.trainable_variables[-2:], theirs.trainable_variables[-2:], strict=True):
        assert (a.name, a.shape) == (b.name, b.shape)
        value = rng.normal(size=a.shape)
        a.assign(value)
        b.assign(value)
    return ours, theirs, x


@pytest.mark.parametrize(
    ("name", "quantized"), [(n, q) for n in ADAPTED for q in QUANTIZED.get(n, (None,))]
)
def test_adapters_agree(name, quantized):
    ours, theirs, x = adapted(name, quantized)
    expected = np.asarray(theirs(x))
    assert ours(x).dtype == expected.dtype
    tolerance = 2e-2 if expected.dtype == "float16" else 3e-5
    np.testing.assert_allclose(ours(x), expected, rtol=tolerance, atol=tolerance)
    stored, there = {}, {}
    ours.save_own_variables(stored)
    theirs.save_own_variables(there)
    assert list(stored) == list(there)
    for key in stored:
        a, b = (np.asarray(arrays[key], "float32") for arrays in (stored, there))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)  # Keras rounds to half
    for layer in (ours, theirs):
        layer.load_own_variables({k: np.asarray(v) for k, v in there.items()})
    np.testing.assert_allclose(ours(x), np.asarray(theirs(x)), rtol=tolerance, atol=tolerance)
    assert not np.any(np.asarray(ours.trainable_variables[-1]))  # b
    assert np.all(np.asarray(ours.trainable_variables[-2]))  # a, so that training can go on


@pytest.mark.parametrize("name", [n for n in ADAPTED if n.startswith("conv")])
def test_the_adapted_kernel_of_convolutions_and_their_configs(name):
    ours, theirs, x = adapted(name)
    assert (ours.lora_enabled, ours.lora_rank, ours.lora_alpha) == (True, 2, 3)
    names = [[v.name for v in layer.trainable_variables] for layer in (ours, theirs)]
    assert names[0] == names[1]
    assert ours.kernel.dtype == theirs.kernel.dtype
    found, expected = (np.asarray(layer.kernel, "float32") for layer in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)
    config, there = ours.get_config(), theirs.get_config()
    assert {n: config[n] for n in there if "lora" in n} == {"lora_rank": 2, "lora_alpha": 3}
    again = type(ours).from_config(config)
    again.build(x.shape)
    assert (again.lora_enabled, again.lora_alpha) == (True, 3)
    assert "lora_rank" not in type(ours)(4, 2).get_config()


def test_models_of_adapted_convolutions_go_both_ways(tmp_path):
    x = OF_CONVOLUTIONS["image"]
    for here, there in ((lamina, keras), (keras, lamina)):
        model = here.Sequential([
            here.Input(x.shape[1:]),
            here.layers.Conv2D(4, 3, lora_rank=2, lora_alpha=3, name="conv"),
        ])  # fmt: skip
        layer = model.get_layer("conv")
        layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
        expected = model.predict(x, verbose=0)
        model.save(tmp_path / "model.keras")
        model.save_weights(tmp_path / "model.weights.h5")
        loaded = there.models.load_model(tmp_path / "model.keras")
        assert loaded.get_layer("conv").lora_enabled
        np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)
        plain = there.Sequential([there.Input(x.shape[1:]), there.layers.Conv2D(4, 3, name="conv")])
        plain.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_allclose(plain.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("library", [lamina, keras])
def test_a_convolution_that_computes_with_another_kernel(library):
    x = OF_CONVOLUTIONS["image"]

    class Doubled(library.layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, 2 * kernel)

    layer = Doubled(3, 2, use_bias=False)
    layer.build(x.shape)
    layer.enable_lora(1, b_initializer="ones")
    expected = layer.convolution_op(x, layer.kernel)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [layers.Dense, layers.Conv1D])
def test_adapters_that_cannot_be(kind):
    arguments = {"kernel_size": 2} if kind is layers.Conv1D else {}
    constrained = kind(3, kernel_constraint="non_neg", lora_rank=2, **arguments)
    with pytest.raises(ArgumentError, match="has a `kernel_constraint`"):
        constrained.build((None, 4, 6))
    layer = kind(3, **arguments)
    with pytest.raises(AttributeError, match="no weights yet"):
        _ = layer.kernel
    layer.build((None, 4, 6))
    layer.enable_lora(2)
    with pytest.raises(ArgumentError, match="adapter of rank 2 already"):
        layer.enable_lora(3)


@pytest.mark.parametrize("kind", ["adapter", "convolution", "float8", "float8_accumulated"])
def test_training_agrees(kind):
    """A few steps: adapters train alone; float8's scales are set to their gradients."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(8, 6)).astype("float32"), rng.normal(size=(8, 4)).astype("float32")
    models, with_adapter = [], kind in ("adapter", "convolution")
    if kind == "convolution":
        x = rng.normal(size=(8, 3, 2)).astype("float32")
    for library in (lamina, keras):
        first = library.layers.Dense(5, activation="tanh", name="first")
        if kind == "convolution":
            first = library.layers.Conv1D(5, 3, activation="tanh", name="first")
        model = library.Sequential([
            library.Input(x.shape[1:]), first, library.layers.Reshape((5,)),
            library.layers.EinsumDense("ab,bc->ac", 4, name="second"),
        ])  # fmt: skip
        models.append(model)
    values = [rng.normal(size=w.shape) for w in models[0].get_weights()]
    for model in models:
        model.set_weights(values)
        for layer in (model.layers[0], model.layers[-1]):
            if with_adapter:
                layer.enable_lora(2)
                layer.lora_kernel_a.assign(np.ones(layer.lora_kernel_a.shape))
            else:
                layer.quantize("float8")
    ours, theirs = models
    steps = 2 if kind == "float8_accumulated" else None
    for library, model in ((lamina, ours), (keras, theirs)):
        model.compile(library.optimizers.Adam(0.01, gradient_accumulation_steps=steps), "mse")
        for _ in range(4):
            model.train_on_batch(x, y)
    found, expected = (
        {v.path.removeprefix("sequential/"): np.asarray(v) for v in m.variables} for m in models
    )
    assert len(found) == len(expected)
    named = {p.split("/", 1)[-1]: v for p, v in expected.items()}
    for path, value in found.items():
        np.testing.assert_allclose(value, named.get(path, expected.get(path)), rtol=2e-3, atol=2e-3,
                                   err_msg=path)  # fmt: skip
    if with_adapter:
        np.testing.assert_array_equal(found["first/kernel"], np.float32(values[0]))
        assert [v.name for v in ours.trainable_variables] == [
            "bias", "lora_kernel_a", "lora_kernel_b", "lora_kernel_a", "lora_kernel_b",
        ]  # fmt: skip


# ---- layers inside others, and users' classes ----------------------------------------------------


def attending():
    """A model whose projections are inside other layers, one of them nested."""
    x = lamina.Input((5, 8), name="x")
    y = layers.MultiHeadAttention(2, 3, name="mha")(x, x)
    inside = lamina.Input((5, 8))
    z = layers.GroupQueryAttention(4, 4, 2, use_gate=True, name="gqa")(inside, inside)
    y = layers.add([y, lamina.Model(inside, z, name="nested")(y)])
    model = lamina.Model(x, layers.Dense(4, name="out")(y))
    rng = np.random.default_rng(6)
    model.set_weights([rng.normal(size=w.shape) / 2 for w in model.get_weights()])
    return model


@pytest.mark.parametrize("mode", ["int8", pytest.param("int4", marks=pytest.mark.long), "float8"])
def test_projections_of_attention(mode, tmp_path):
    x = np.random.default_rng(7).normal(size=(2, 5, 8)).astype("float32")
    attending().save(tmp_path / "model.keras")
    both = [library.models.load_model(tmp_path / "model.keras") for library in (lamina, keras)]
    for model in both:
        model.quantize(mode, filters=["query|key|value|gate", "^attention_output$"])
    ours, expected = (model.predict(x, verbose=0) for model in both)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    assert both[0].get_layer("out").quantization_mode is None
    query = both[0].get_layer("mha").query_dense
    assert query.dtype_policy.name.startswith(f"{mode}")
    # Keras writes and reads such files without telling how the inner layers are quantized.
    for suffix in ("keras", "h5"):
        both[0].save(tmp_path / f"quantized.{suffix}")
        loaded = lamina.models.load_model(tmp_path / f"quantized.{suffix}")
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), ours)
        with pytest.raises(ArgumentError, match="no layer to quantize"):
            loaded.quantize(mode, filters="query")


def test_time_steps_are_multiplied_by_the_quantized_weights():
    """In Keras, they are multiplied by the integers."""
    dense = layers.Dense(3)
    x = np.random.default_rng(8).normal(size=(2, 5, 4)).astype("float32")
    model = lamina.Sequential([lamina.Input((5, 4)), layers.TimeDistributed(dense)])
    exact = model.predict(x, verbose=0)
    model.quantize("int8", filters=lambda layer: layer is dense)
    found = model.predict(x, verbose=0)
    assert 0 < np.abs(found - exact).max() < 0.02 * np.abs(exact).max()


def halving(library):
    """A user's layer with a quantized form of its own."""

    class Halving(library.layers.Layer):
        def build(self, input_shape):
            if self.quantization_mode is not None:
                self.quantized_build(input_shape, self.quantization_mode)
            else:
                self.scale = self.add_weight(shape=input_shape[-1:], name="scale")

        def call(self, inputs):
            return inputs * self.scale

        def quantized_build(self, input_shape, mode):
            self.halves = self.add_weight(
                shape=tuple(input_shape[-1:]), dtype="int8", trainable=False, name="halves",
                initializer="zeros",
            )  # fmt: skip
            self._is_quantized = True

        def quantize(self, mode=None, type_check=True, config=None):
            halves = np.round(2 * np.asarray(self.scale))
            del self.scale
            self.quantized_build((None, len(halves)), mode)
            self.halves.assign(halves)
            self.dtype_policy = library.dtype_policies.get(f"{mode}_from_{self.dtype_policy.name}")

        def compute_output_shape(self, input_shape):  # Keras would ask `call`
            return input_shape

        def quantized_call(self, inputs):
            return inputs * library.ops.cast(self.halves, inputs.dtype) / 2

    return Halving


def test_a_quantized_form_of_a_user_s_layer(tmp_path):
    found, x = [], np.ones((1, 3), "float32")
    for library in (lamina, keras):
        cls = halving(library)
        model = library.Sequential([library.Input((3,)), cls(name="own")])
        model.set_weights([np.array([0.6, -1.2, 2.1])])
        model.quantize("int8", filters="own")
        found.append(model.predict(x, verbose=0))
        model.save(tmp_path / "model.keras")
        for load in (lamina.models.load_model, keras.models.load_model):
            # The class of the library that loads.
            own = {"Halving": halving(lamina if load is lamina.models.load_model else keras)}
            loaded = load(tmp_path / "model.keras", custom_objects=own)
            np.testing.assert_array_equal(loaded.predict(x, verbose=0), [[0.5, -1.0, 2.0]])
    np.testing.assert_array_equal(*found)


def test_subclasses_of_layers_with_a_quantized_form():
    class Doubled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    class Counted(layers.Dense):
        def quantized_build(self, kernel_shape, mode, config=None):
            super().quantized_build(kernel_shape, mode, config)
            self.asked = (tuple(kernel_shape), mode)

    model = lamina.Sequential([lamina.Input((3,)), Doubled(2, name="a"), Counted(2, name="b")])
    x = np.eye(3, dtype="float32")
    with pytest.raises(ArgumentError, match="no layer to quantize"):
        model.quantize("int8")
    with pytest.raises(ArgumentError, match="of your own class"):
        model.get_layer("a").quantize("int8")
    before = model.predict(x, verbose=0)
    model.quantize("int8", type_check=False)
    np.testing.assert_allclose(model.predict(x, verbose=0), before, atol=0.05)
    assert model.get_layer("b").asked == ((2, 2), "int8")


def test_training_continues_after_quantization():
    """The integers stay, and the biases learn."""
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(4), layers.Dense(2)])
    model.compile("adam", "mse")
    x, y = np.ones((8, 3), "float32"), np.ones((8, 2), "float32")
    model.fit(x, y, verbose=0)
    model.quantize("int8")
    model.compile("adam", "mse")
    kernels = [layer.kernel.numpy() for layer in model.layers]
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]
    for layer, kernel in zip(model.layers, kernels, strict=True):
        np.testing.assert_array_equal(layer.kernel.numpy(), kernel)
    copied = lamina.models.clone_model(model)
    copied.set_weights(model.get_weights())
    np.testing.assert_array_equal(copied.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("form", ["int8", "int4/2", "int4", "gptq/4/2", "awq/4/2"])
def test_layers_are_built_without_the_floats_of_their_kernels(form):
    """What a small file describes may be larger than any memory."""
    config = layers.Dense(3, dtype=f"{form}_from_float32").get_config() | {"units": 10**6}
    layer = layers.Dense.from_config(config)
    tracemalloc.start()
    try:
        layer.build((None, 4))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_kernels_of_einsum_dense_are_scaled_by_their_inputs_and_outputs():
    found = []
    for library in (lamina, keras):
        layer = library.layers.EinsumDense(
            "abc,bcde->ade", (40, 30),
            kernel_initializer=library.initializers.VarianceScaling(mode="fan_in", seed=1),
        )  # fmt: skip
        layer.build((None, 10, 20))
        found.append(float(np.std(np.asarray(layer.kernel))))
    np.testing.assert_allclose(*found, rtol=0.02)
    np.testing.assert_allclose(found[0], 200**-0.5, rtol=0.02)
