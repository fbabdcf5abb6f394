"""Code of the user's in a file: it is found by name, or one error says what is missing."""

import copy
import functools
import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import keras as oracle
import numpy as np
import optax
import pytest

import lamina as keras
from lamina import layers, ops
from lamina.errors import SavingWarning, SerializationError, StructureError, UnsafeFileError
from lamina.saving import CustomObjectScope, load_model

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = X[:, :1]


class CustomDense(layers.Layer):
    """As the guide writes it, but without ``get_config``: the constructor's arguments are known."""

    def __init__(self, units=3, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), name="w")
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

    def call(self, inputs):
        return self.activation(ops.matmul(inputs, self.w) + self.b)


@keras.saving.register_keras_serializable(package="tests_custom")
class Registered(CustomDense):
    def get_config(self):
        return {**super().get_config(), "units": self.units, "activation": self.activation}


@keras.utils.register_keras_serializable(package="tests_custom", name="twice")
def double(x):
    return 2 * x


def triple(x):
    return 3 * x


def around(*inner):
    """A model of these layers, one after the other."""
    x = inputs = keras.Input((4,))
    for layer in inner:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.fixture
def saved(tmp_path):
    """Save a model, load it, and compare what both predict."""

    def save_and_load(model, data=X, **options):
        path = tmp_path / "model.keras"
        model.save(path)
        again = load_model(path, **options)
        a, b = model.predict(data, verbose=0), again.predict(data, verbose=0)
        jax.tree.map(np.testing.assert_array_equal, a, b)
        return again

    return save_and_load


# ---- layers --------------------------------------------------------------------------------------


def test_a_layer_without_get_config(saved):
    model = around(CustomDense(5, activation="tanh"))
    assert saved(model, custom_objects={"CustomDense": CustomDense}).layers[1].units == 5
    with CustomObjectScope({"CustomDense": CustomDense}):
        saved(model)
    with keras.utils.custom_object_scope({"CustomDense": CustomDense}):
        saved(model)
    with pytest.raises(SerializationError, match=r"'CustomDense'.*custom_objects=.*register"):
        saved(model)


def test_a_registered_layer(saved):
    again = saved(around(Registered(5, activation="relu"), Registered(2, double)))
    assert [type(x) for x in again.layers[1:]] == [Registered, Registered]
    assert again.layers[2].activation is double
    again = keras.models.model_from_json(around(Registered(2, double)).to_json())
    assert again.layers[1].activation is double
    clone = keras.models.clone_model(around(CustomDense(5)))
    assert type(clone.layers[1]) is CustomDense


def test_the_public_names_of_registration():
    for room in (keras.saving, keras.utils):
        assert room.register_keras_serializable is keras.saving.register_serializable
        assert room.custom_object_scope is room.CustomObjectScope is CustomObjectScope
        assert room.get_registered_name(double) == "tests_custom>twice"
        assert room.get_registered_object("tests_custom>twice") is double
        assert room.get_custom_objects()["tests_custom>twice"] is double
        record = room.serialize_keras_object(Registered(2, name="two"))
        assert record["registered_name"] == "tests_custom>Registered"
        assert room.deserialize_keras_object(record).name == "two"


def test_a_get_config_that_forgets_an_argument_is_named(saved):
    class Forgets(layers.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return {"name": self.name}

    with pytest.raises(SerializationError, match=r"Forgets 'f'.*\['name'\].*'factor'"):
        saved(around(Forgets(2, name="f")), custom_objects={"Forgets": Forgets})


def test_arguments_that_are_no_data_are_named(saved):
    class Holds(layers.Layer):
        def __init__(self, *held, inner=None, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

        def call(self, x):
            return x

    for layer, said in (
        (Holds(inner=object(), name="h"), "'h' of class Holds.*get_config"),
        (Holds(1, 2, name="h"), r"'h' of class Holds.*\*held"),
        (layers.Dense(3, functools.partial(triple), name="h"), "'h' of class Dense.*partial"),
    ):
        with pytest.raises(SerializationError, match=said):
            saved(around(layer))
    again = saved(around(Holds(inner=layers.Dense(2))), custom_objects={"Holds": Holds})
    assert isinstance(again.layers[1].inner, layers.Dense)


def test_layers_in_nested_lists_and_dicts(saved):
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self._layers = [layers.Dense(4), {"deep": [layers.Dense(4)], "flat": layers.Dense(4)}]
            self.by_name = {"a": (layers.Dense(4), [layers.Dense(4)])}

        def call(self, x):
            first, rest = self._layers
            for layer in (first, rest["deep"][0], rest["flat"], self.by_name["a"][0],
                          self.by_name["a"][1][0]):  # fmt: skip
                x = layer(x)
            return x

    model = around(Block())
    assert len(model.weights) == 10
    model.compile("adam", "mse")
    model.fit(X, X, verbose=0)
    again = saved(model, custom_objects={"Block": Block})
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_in_a_set_have_no_order(saved):
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.parts = {layers.Dense(4)}

        def call(self, x):
            return x

    with pytest.raises(SerializationError, match=r"Block.*set, `parts`"):
        saved(around(Block()))


def test_a_layer_that_writes_itself(saved, tmp_path):
    class Table(layers.Layer):
        entries = np.zeros(4)

        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="w")

        def call(self, x):
            return x * self.w * self.entries.astype("float32")

        def save_own_variables(self, store):
            super().save_own_variables(store)
            store["entries"] = self.entries

        def load_own_variables(self, store):
            super().load_own_variables(store)
            self.entries = store["entries"]

    table = Table()
    model = around(table)
    table.entries = np.arange(4.0)
    again = saved(model, custom_objects={"Table": Table})
    np.testing.assert_array_equal(again.layers[1].entries, np.arange(4.0))

    model.save_weights(tmp_path / "m.weights.h5")
    other = around(Table())
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other.layers[1].entries, np.arange(4.0))
    with pytest.raises(SerializationError, match=r"Table.*\.weights\.h5"):
        model.save_weights(tmp_path / "m.safetensors")
    table.save_own_variables = lambda store: store.update(bad="text")
    with pytest.raises(SerializationError, match=r"Table.*'text' under 'bad'"):
        model.save(tmp_path / "model.keras")


@pytest.mark.parametrize(("units", "stores"), [(3, True), (2, False)])
def test_what_a_layer_that_reads_itself_refuses_is_skipped(units, stores, tmp_path):
    class Named(layers.Dense):
        def save_own_variables(self, store):
            super().save_own_variables(store)
            if stores:
                store["note"] = np.arange(2)

        def load_own_variables(self, store):
            self.bias.assign(store["1"])
            if store["note"].shape != (2,):
                raise ValueError
            super().load_own_variables({k: v for k, v in store.items() if k != "note"})

    def model(units):
        return keras.Sequential([keras.Input((4,)), layers.Dense(4), Named(units, name="own")])

    path = tmp_path / "m.weights.h5"
    there, here = model(2), model(units)
    there.set_weights([np.full(w.shape, 2.0) for w in there.get_weights()])
    there.save_weights(path)
    before = here.get_weights()
    said = r"'own' \(Named\) raised (Shape|Key)Error"
    with pytest.raises(StructureError, match=f"unchanged.*{said}"):
        here.load_weights(path)
    for a, b in zip(before, here.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.warns(SavingWarning, match=f"skipped.*{said}"):
        here.load_weights(path, skip_mismatch=True)
    for a, b in zip([*there.get_weights()[:2], *before[2:]], here.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Vocabulary(layers.Layer):
    """A layer with a file of its own, and one in a folder of its own."""

    def __init__(self, words=(), **kwargs):
        super().__init__(**kwargs)
        self.words = list(words)

    def call(self, x):
        return x

    def get_config(self):
        return super().get_config() | {"words": []}

    def save_assets(self, folder):
        Path(folder, "words.txt").write_text("\n".join(self.words))
        Path(folder, "more").mkdir()
        Path(folder, "more", "count").write_text(str(len(self.words)))

    def load_assets(self, folder):
        self.words = Path(folder, "words.txt").read_text().split("\n")
        assert Path(folder, "more", "count").read_text() == str(len(self.words))


def test_assets(saved, tmp_path):
    class Outer(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = Vocabulary(["x"])

        def call(self, x):
            return self.inner(x)

    own = {"Vocabulary": Vocabulary, "Outer": Outer}
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Outer()(Vocabulary(["a", "b"])(Vocabulary(["c"])(inputs))))
    again = saved(model, custom_objects=own)
    assert [x.words for x in again.layers[1:3]] == [["c"], ["a", "b"]]
    assert again.layers[3].inner.words == ["x"]
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert "assets/layers/vocabulary_1/more/count" in archive.namelist()
    copied = copy.deepcopy(model)
    assert copied.layers[1].words == ["c"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("assets/layers/vocabulary/../../x", UnsafeFileError),
        ("assets/layers/vocabulary//x", UnsafeFileError),
        ("assets/layers/vocabulary/a\\b", UnsafeFileError),
        ("assets/layers/vocabulary/C:x", UnsafeFileError),
        ("assets/elsewhere/x", SavingWarning),
    ],
)
def test_assets_stay_where_they_belong(name, error, tmp_path):
    path = tmp_path / "model.keras"
    around(Vocabulary(["a"])).save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "harm")
    with (pytest.warns if error is SavingWarning else pytest.raises)(error, match="file"):
        load_model(path, {"Vocabulary": Vocabulary})


class Net(keras.Model):
    """A model whose subclasses have a `compile` of their own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.head = layers.Dense(3)

    def call(self, x):
        return self.head(x)


class Adversarial(Net):
    def compile(self, first, second):
        super().compile()
        self.first, self.second = first, second


class Fewer(Net):
    def compile(self, optimizer, loss):
        super().compile(optimizer, loss, metrics=["mae"])


class Further(Net):
    def compile(self, *args, alpha=1.0, **kwargs):
        super().compile(*args, **kwargs)
        self.alpha = alpha

    def get_compile_config(self):
        return {**super().get_compile_config(), "alpha": self.alpha}


def test_a_compile_with_arguments_that_the_file_lacks(tmp_path):
    model, x = Adversarial(), np.ones((2, 4), "float32")
    y = model(x)
    model.compile(keras.optimizers.Adam(), keras.optimizers.Adam())
    model.first.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    own = {"Adversarial": Adversarial}
    with pytest.warns(SavingWarning, match=r"Adversarial.compile takes \['first', 'second'\]"):
        again = keras.models.load_model(tmp_path / "model.keras", own)
    assert not again.compiled
    np.testing.assert_array_equal(again(x), y)
    again = keras.models.load_model(tmp_path / "model.keras", own, compile=False)
    again.head.kernel.assign(np.zeros((4, 3)))
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(again(x), y)
    plain = Net()
    plain(x)
    with pytest.raises(StructureError, match="not in the model: first/vars/"):
        plain.load_weights(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("cls", [Fewer, Further])
def test_a_compile_that_takes_more_or_fewer_arguments(cls, tmp_path):
    model, x = cls(), np.ones((2, 4), "float32")
    further = {"alpha": 3.0} if cls is Further else {}
    model.compile("adam", "mse", **further)
    model.fit(x, np.ones((2, 3)), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", {cls.__name__: cls})
    assert int(again.optimizer.iterations) == 1
    assert again.get_compile_config()["metrics"] == (["mae"] if cls is Fewer else None)
    assert getattr(again, "alpha", None) == further.get("alpha")


# ---- functions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [layers.Lambda, lambda f: layers.Dense(3, activation=f)])
def test_functions_come_back_as_they_were(make, saved):
    """Some have the names of others: ``ops.gelu`` approximates, ``activations.gelu`` does not."""
    for fn in (ops.gelu, keras.activations.gelu, jax.nn.gelu, jnp.tanh, jax.nn.silu, double):
        saved(around(make(fn)))
    saved(around(make(triple)), custom_objects={"triple": triple})
    with pytest.raises(SerializationError, match=r"function 'triple'.*custom_objects"):
        saved(around(make(triple)))
    with pytest.raises(SerializationError, match="A lambda has no name"):
        saved(around(make(lambda x: jnp.tanh(x) + 0)))

    def gelu(x):
        return jnp.abs(x)

    with pytest.raises(SerializationError, match=r"'gelu'.*the same name as.*register"):
        saved(around(make(gelu)))


def test_functions_as_records():
    """``deserialize_keras_object`` returns what ``serialize_keras_object`` received."""
    given = {"f": keras.activations.relu, "g": [keras.losses.mean_squared_error, ops.gelu]}
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(given)))
    assert data["f"] == {
        "module": "builtins", "class_name": "function", "config": "relu",
        "registered_name": "function",
    }  # fmt: skip
    assert keras.utils.deserialize_keras_object(data) == given
    assert keras.activations.serialize(keras.activations.relu) == "relu"
    assert layers.Dense(2, activation="relu").get_config()["activation"] == "relu"


def test_lambdas_of_ops_are_saved_as_ops(saved):
    weights = np.arange(4.0, dtype="float32")
    for fn in (
        lambda x: ops.square(x) + weights,
        lambda x: ops.concatenate([x[:, :2], -x], axis=-1) * 2,
        lambda x: ops.cond(ops.sum(x) > 0, lambda: x, lambda: -x),
    ):
        again = saved(around(layers.Lambda(fn, name="own")))
        assert again.get_layer("own").arguments == {}
        saved(again)
    saved(around(layers.Lambda(lambda x, by: x * by, arguments={"by": 3.0})))
    stack = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x[:, None] + 1.0)])
    saved(stack)


def test_lambdas_that_draw_are_not_saved_with_one_draw(saved):
    noisy = layers.Lambda(lambda x: x + keras.random.normal((4,)))
    with pytest.raises(SerializationError, match=r"(?s)A lambda has no name.*lamina\.ops"):
        saved(around(noisy))


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("options", [{}, {"safe_mode": False}, {"safe_mode": None}])
def test_code_in_a_file_is_never_run(options, tmp_path):
    inputs = oracle.Input((4,))
    model = oracle.Model(
        inputs, oracle.layers.Lambda(lambda x: x * 2, output_shape=(4,), name="double")(inputs)
    )
    model.save(tmp_path / "model.keras")
    with pytest.raises(
        UnsafeFileError, match=r"Python code.*'double' \(Lambda\).*built.\n.*custom"
    ):
        load_model(tmp_path / "model.keras", **options)
    again = load_model(tmp_path / "model.keras", {"double": lambda x: x * 2}, **options)
    assert again(np.ones((1, 4))).tolist() == [[2.0] * 4]
    inputs = keras.Input((4,))
    keras.Model(inputs, layers.Dense(2)(inputs)).save(tmp_path / "harmless.keras")
    load_model(tmp_path / "harmless.keras", **options)


# ---- models --------------------------------------------------------------------------------------


class Tower(keras.Model):
    """A subclass with arguments, a list of layers, integer inputs and a dict as output."""

    def __init__(self, width=3, **kwargs):
        super().__init__(**kwargs)
        self.embed = layers.Embedding(10, width)
        self._layers = [layers.Dense(width, activation="relu") for _ in range(2)]
        self.head = keras.Sequential([layers.BatchNormalization(), layers.Dense(1)])

    def call(self, ids):
        x = self.embed(ids)
        for layer in self._layers:
            x = layer(x)
        return {"each": self.head(x), "all": ops.mean(x, axis=1)}


def test_a_subclass_of_model(saved, tmp_path):
    ids = np.arange(12).reshape(3, 4) % 10
    model = Tower(5, name="tower")
    model.compile("adam", {"each": "mse", "all": None}, metrics={"each": ["mae"]})
    model.fit(ids, {"each": np.ones((3, 4, 1))}, verbose=0)
    again = saved(model, ids, custom_objects={"Tower": Tower})
    assert type(again) is Tower
    assert again.embed.output_dim == 5
    results = [m.evaluate(ids, {"each": np.ones((3, 4, 1))}, verbose=0) for m in (model, again)]
    assert results[0] == results[1]
    assert int(again.optimizer.iterations) == 1

    with pytest.raises(SerializationError, match=r"'Tower'.*custom_objects"):
        load_model(tmp_path / "model.keras")
    with pytest.warns(SavingWarning, match="architecture only"):
        Tower(6).save(tmp_path / "unbuilt.keras")
    unbuilt = load_model(tmp_path / "unbuilt.keras", {"Tower": Tower})
    assert not unbuilt.built
    assert unbuilt(ids)["all"].shape == (3, 6)


def test_a_subclass_that_is_a_graph(saved):
    class Named(keras.Model):
        def describe(self):
            return f"{self.name}: {self.count_params()}"

    inputs = keras.Input((4,))
    model = Named(inputs, layers.Dense(2)(inputs), name="net")
    assert saved(model, custom_objects={"Named": Named}).describe() == "net: 10"


def test_a_layer_that_builds_one_it_received(saved):
    """In a file the inner layer is built; the outer one's `build` calls its `build` again."""

    @keras.saving.register_keras_serializable("test")
    class Doubled(layers.Layer):
        def __init__(self, layer, **kwargs):
            super().__init__(**kwargs)
            self.layer = layer

        def build(self, input_shape):
            self.layer.build(input_shape)

        def call(self, x):
            return 2 * self.layer(x)

    model = keras.Sequential([keras.Input((4,)), Doubled(layers.Dense(3))])
    again = saved(model)
    assert [w.name for w in again.weights] == ["kernel", "bias"]


def test_build_config_of_a_users_own(saved):
    """A layer whose weights depend on more than its input's shape says itself how to build."""

    class Rows(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.rows = None

        def build(self, input_shape):
            self.rows = self.add_weight(shape=(self.count,), initializer="ones", name="rows")

        def call(self, x):
            return x * ops.sum(self.rows)

        def get_build_config(self):
            return {"count": self.count}

        def build_from_config(self, config):
            self.count = config["count"]
            self.build(None)

    model = Rows()
    model.count = 7
    model(X)
    again = saved(model, custom_objects={"Rows": Rows})
    assert again.rows.shape == (7,)


# ---- what a model was compiled with --------------------------------------------------------------


def mean_error(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred))


class Scaled(keras.Loss):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * ops.mean((y_true - y_pred) ** 2, axis=-1)


class Total(keras.Metric):
    def __init__(self, name="total", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(ops.sum(y_true - y_pred))

    def result(self):
        return self.total


@pytest.mark.parametrize(
    ("loss", "metric"), [(mean_error, mean_error), (Scaled(3.0), Total()), ("mse", "mae")]
)
def test_losses_and_metrics_of_a_users_own(loss, metric, saved, tmp_path):
    own = {"mean_error": mean_error, "Scaled": Scaled, "Total": Total}
    model = around(layers.Dense(1))
    model.compile("adam", loss, metrics=[metric])
    model.fit(X, Y, verbose=0)
    again = saved(model, custom_objects=own)
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert not load_model(tmp_path / "model.keras", compile=False).compiled
    if loss != "mse":
        with pytest.raises(SerializationError, match=r"(?s)custom_objects.*compile=False"):
            load_model(tmp_path / "model.keras")


class Warmup(keras.optimizers.SGD):
    pass


def test_an_optimizer_of_a_users_own(saved):
    model = around(layers.Dense(1))
    model.compile(Warmup(0.5, momentum=0.9), "mse")
    model.fit(X, Y, verbose=0)
    again = saved(model, custom_objects={"Warmup": Warmup})
    histories = [m.fit(X, Y, verbose=0).history for m in (model, again)]
    assert histories[0] == histories[1]


def test_what_has_no_name_is_left_out_with_a_warning(tmp_path):
    """The weights are worth more than a refusal; ``include_optimizer=False`` is no surprise."""
    path = tmp_path / "model.keras"
    for optimizer, loss, quiet in (
        (optax.adam(0.1), "mse", True),
        ("adam", lambda y, p: ops.mean((y - p) ** 2), False),
        (keras.optimizers.Adam(lambda: 0.1), "mse", True),
    ):
        model = around(layers.Dense(1))
        model.compile(optimizer, loss)
        model.fit(X, Y, verbose=0)
        with pytest.warns(SavingWarning, match="not how the model was compiled") as caught:
            model.save(path)
        assert len(caught) == 1
        again = load_model(path)
        assert not again.compiled
        np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
        with warnings.catch_warnings():
            warnings.simplefilter("error" if quiet else "ignore")
            model.save(path, include_optimizer=False)
        again = load_model(path)
        again.compile(optimizer, loss)
        again.fit(X, Y, verbose=0)


def test_include_optimizer_leaves_the_state_out(tmp_path):
    model = around(layers.Dense(1))
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras", include_optimizer=False)
    again = load_model(tmp_path / "model.keras")
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert int(again.optimizer.iterations) == 0
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert "optimizer_addresses" not in json.loads(archive.read("metadata.json"))["lamina"]


def test_optimizer_state_of_what_was_trained_then(saved):
    """Layers frozen or unfrozen between training and saving: the state is the trained ones'."""
    first, second = layers.Dense(4), layers.Dense(1)
    model = around(first, second)
    first.trainable = False
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(X, Y, verbose=0)
    first.trainable = True
    again = saved(model)
    for a, b in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    histories = [m.fit(X, Y, verbose=0).history for m in (model, again)]
    assert histories[0] == histories[1]


PROGRAM = """
import sys
import numpy as np
import lamina as keras
{imports}
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[2], model.predict(np.load(sys.argv[3]), verbose=0))
"""


def test_a_new_process_needs_the_code(tmp_path):
    """Registered code is found when its module was imported; nothing is imported for the file."""
    (tmp_path / "owncode.py").write_text(
        "import lamina as keras\n"
        "@keras.saving.register_keras_serializable(package='own')\n"
        "class Half(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x / 2\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        from owncode import Half
    finally:
        sys.path.remove(str(tmp_path))
    model = around(Half(), layers.Dense(2))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", X)
    files = [str(tmp_path / n) for n in ("model.keras", "y.npy", "x.npy")]

    def run(imports):
        code = PROGRAM.format(imports=imports)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        command = [sys.executable, "-c", code, *files]
        return subprocess.run(command, check=False, env=environment, capture_output=True, text=True)

    result = run("")
    assert result.returncode
    assert "class 'Half'" in result.stderr
    assert run("import owncode").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), model.predict(X, verbose=0))
