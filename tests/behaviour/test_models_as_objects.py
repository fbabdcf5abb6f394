"""Models as Python objects: order of layers, copies, pickles, attributes set late, open data."""

import copy
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.errors import (
    GraphError,
    ShapeError,
    StructureError,
    SymbolicTensorError,
    TrainingWarning,
)
from lamina.models import sequential
from lamina.models.functional import Graph

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 1)).astype("float32")


PICKLED = pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)


class Scale(keras.Layer):
    """A class that is not registered."""

    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones")

    def call(self, inputs):
        return inputs * self.factor


def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


def trained(**compiled):
    inputs = layers.Input((4,))
    x = layers.Dropout(0.5)(Scale()(inputs))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile(**{"optimizer": "adam", "loss": own_loss, "metrics": ["mae"], **compiled})
    model.fit(X, Y, epochs=2, verbose=0)
    return model


@PICKLED
def test_a_copy_trains_on_as_the_original_would(copied):
    model = trained()
    other = copied(model)
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    assert int(other.optimizer.iterations) == int(model.optimizer.iterations)
    before = model.get_weights()
    history = other.fit(X, Y, epochs=2, verbose=0).history
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # the copy has its own
    assert model.fit(X, Y, epochs=2, verbose=0).history == history


def test_a_copy_of_a_list_of_models_copies_each_once():
    model = trained()
    one, two = copy.deepcopy([model, model])
    assert one is two
    assert one is not model


class Outer(keras.Layer):
    """Layers that it has made and one that it was given."""

    def __init__(self, given):
        super().__init__()
        self.own, self.given = layers.Dense(2), given

    def call(self, x):
        return self.given(self.own(x))


@PICKLED
def test_layers_are_copied_with_their_weights(copied):
    given = layers.Dense(3)
    given(np.ones((1, 2)))
    outer = Outer(given)
    before = outer(X)
    other = copied(outer)
    paths = [v.path for v in outer.weights]
    assert all(v.owner is x for x in (other.own, other.given) for v in x.weights)
    del outer, given
    np.testing.assert_array_equal(other(X), before)
    assert [v.path for v in other.weights] == paths
    alone = copied(other.own.kernel)
    np.testing.assert_array_equal(alone, other.own.kernel)
    assert alone.path == other.own.kernel.path
    other.own.kernel.assign_add(np.ones((4, 2)))
    assert float(abs(alone.numpy() - other.own.kernel.numpy()).min()) > 0.9


@PICKLED
def test_a_copy_of_a_layer_is_not_in_the_graph(copied):
    model = keras.Sequential([keras.Input((2,)), *(layers.Dense(2) for _ in range(400))])
    other = copied(model.layers[-1])
    np.testing.assert_array_equal(other.kernel, model.layers[-1].kernel)
    assert other.path == model.layers[-1].path
    assert len(model.layers) == 400


def test_a_shallow_copy_leaves_the_weights_with_the_layer():
    layer = layers.Dense(2, name="one")
    layer.build((None, 4))
    other = copy.copy(layer)
    other.name = "two"
    assert other.kernel is layer.kernel
    assert layer.kernel.path == "one/kernel"


@PICKLED
def test_states_of_optimizers_metrics_and_generators_are_copied(copied):
    model = trained()
    optimizer, metric = model.optimizer, keras.metrics.Mean()
    metric.update_state([1.0, 2.0])
    generator = keras.random.SeedGenerator(3)
    generator.next()
    for x, variables in ((optimizer, optimizer.variables), (metric, metric.variables)):
        other = copied(x)
        assert [v.path for v in other.variables] == [v.path for v in variables]
        for a, b in zip(other.variables, variables, strict=True):
            np.testing.assert_array_equal(a, b)
    assert float(copied(metric).result()) == 1.5
    np.testing.assert_array_equal(copied(generator).next(), generator.next())


@PICKLED
def test_copies_during_training_keep_their_values(copied):
    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.layer = copied(self.model.layers[1])
            self.values = self.layer.get_weights()

    keep = Keep()
    model = trained()
    model.fit(X, Y, epochs=3, batch_size=4, verbose=0, callbacks=[keep])
    for now, then in zip(keep.layer.get_weights(), keep.values, strict=True):
        np.testing.assert_array_equal(now, then)
    other = keras.Sequential([keep.layer])
    other.compile("sgd", "mse")
    other.fit(np.ones_like(X), np.ones((12, keep.layer.get_weights()[-1].shape[-1])), verbose=0)


@PICKLED
@pytest.mark.parametrize("split", ["whitespace", "character", None])
@pytest.mark.parametrize("standardize", ["lower", None])
def test_layers_for_texts_are_copied(copied, split, standardize):
    layer = layers.TextVectorization(split=split, standardize=standardize)
    layer.adapt(["A b", "b c"])
    np.testing.assert_array_equal(copied(layer)(["b A c"]), layer(["b A c"]))


def test_run_eagerly_is_saved(tmp_path):
    trained(run_eagerly=True, loss="mse").save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras", custom_objects={"Scale": Scale})
    assert loaded.run_eagerly
    trained(loss="mse").save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras", custom_objects={"Scale": Scale})
    assert not loaded.run_eagerly


@pytest.mark.parametrize(("package", "name"), [("my.pkg", "my.pkg>Thing"), ("", ">Thing")])
def test_packages_with_dots_and_without_a_name(package, name):
    @keras.saving.register_keras_serializable(package=package)
    class Thing(keras.Layer):
        def call(self, inputs):
            return inputs

    inputs = layers.Input((4,))
    assert keras.saving.get_registered_name(Thing) == name
    model = keras.models.model_from_json(keras.Model(inputs, Thing()(inputs)).to_json())
    assert type(model.layers[1]) is Thing


# ---- attributes of what a step was compiled with -----------------------------------------------


def test_an_optimizer_s_attribute_set_after_the_first_step_counts():
    model = trained(optimizer=keras.optimizers.SGD(0.1))
    model.optimizer.clipvalue = 1e-30  # which does not change a weight of float32
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_s_attribute_set_after_the_first_step_counts():
    loss = keras.losses.Huber(delta=1.0)
    model = trained(optimizer=keras.optimizers.SGD(0.0), loss=loss)
    first = model.evaluate(X, 10 * Y, verbose=0)[0]
    loss.delta = 0.1
    assert model.evaluate(X, 10 * Y, verbose=0)[0] < first / 2
    loss.delta = 1.0
    assert model.evaluate(X, 10 * Y, verbose=0)[0] == pytest.approx(first)


def test_setting_the_learning_rate_compiles_nothing_anew():
    model = trained()
    program = model.program_for("train")
    model.optimizer.learning_rate = 0.5
    model.fit(X, Y, verbose=0)
    assert model.program_for("train") is program


# ---- order of layers -----------------------------------------------------------------------------


def test_layers_come_in_keras_s_order():
    a = layers.Input((None, 3), name="a")
    _, h, c = layers.LSTM(4, return_state=True, name="encoder")(a)
    b = layers.Input((None, 3), name="b")
    decoder = layers.LSTM(4, return_sequences=True, return_state=True, name="decoder")
    y, _, _ = decoder(b, initial_state=[h, c])
    model = keras.Model([a, b], layers.Dense(2, name="out")(y))
    assert [x.name for x in model.layers] == ["a", "b", "encoder", "decoder", "out"]


def random_model(k, seed):
    """The same random graph, with shared layers, in Lamina or Keras."""
    draw = random.Random(seed)
    inputs = [k.Input((4,), name=f"i{j}") for j in range(draw.randint(1, 3))]
    tensors, shared = list(inputs), []
    for j in range(draw.randint(2, 10)):
        kind = draw.random()
        if kind < 0.3:
            x = k.layers.Dense(4, name=f"d{j}")(draw.choice(tensors))
        elif kind < 0.6 and len(tensors) > 1:
            several = draw.sample(tensors, draw.randint(2, min(3, len(tensors))))
            x = k.layers.Add(name=f"a{j}")(several)
        elif kind < 0.75 and shared:
            x = draw.choice(shared)(draw.choice(tensors))
        else:
            shared.append(k.layers.Dense(4, name=f"s{j}"))
            x = shared[-1](draw.choice(tensors))
        tensors.append(x)
    made = tensors[len(inputs) :]
    return inputs, draw.sample(made, draw.randint(1, min(2, len(made))))


@pytest.mark.parametrize("seed", range(12))
def test_layers_of_random_graphs_come_in_keras_s_order(seed):
    import keras as reference

    orders = []
    for k in (reference, keras):
        try:
            orders.append([x.name for x in k.Model(*random_model(k, seed)).layers])
        except ValueError as e:  # an input that nothing reads, ...
            orders.append(type(e).__mro__[-4:])
    assert orders[0] == orders[1]


# ---- data ----------------------------------------------------------------------------------------


def line():
    inputs = layers.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mae"])
    return model


def batches(count):
    for i in range(count):
        yield X[i * 2 : i * 2 + 2], Y[i * 2 : i * 2 + 2]


def test_a_validation_generator_that_ends_serves_every_epoch():
    model = line()
    history = model.fit(X, Y, epochs=3, validation_data=batches(6), verbose=0).history
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(X, Y, verbose=0)[0], rel=1e-5)
    assert len(history["val_loss"]) == 3


def test_a_validation_generator_that_ends_too_early_ends_no_training():
    with pytest.warns(TrainingWarning, match="validation data ended before epoch 3"):
        history = line().fit(
            X, Y, epochs=4, validation_data=batches(4), validation_steps=2, verbose=0
        )
    assert len(history.history["loss"]) == 4
    assert len(history.history["val_loss"]) == 2


def test_weighted_metrics_of_one_name_are_told_apart():
    logs = line().fit(X, Y, sample_weight=np.arange(12.0), verbose=0).history
    assert list(logs) == ["loss", "mae", "weighted_mae"]
    assert logs["mae"] != logs["weighted_mae"]


def test_a_fixed_batch_takes_a_smaller_last_one():
    inputs = layers.Input((4,), batch_size=5)
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=5, verbose=0)
    assert model.predict(X, batch_size=5, verbose=0).shape == (12, 1)
    assert model(X[:2]).shape == (2, 1)


class AddIfThere(keras.Layer):
    def call(self, a, b=None):
        return a if b is None else a + b


def test_optional_inputs_may_be_none_everywhere():
    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b", optional=True)
    model = keras.Model([a, b], layers.Dense(1)(AddIfThere()(a, b)))
    model.compile("sgd", "mse")
    for x in ([X, None], {"a": X, "b": None}):
        assert len(model.fit(x, Y, verbose=0).history["loss"]) == 1
        model.evaluate(x, Y, verbose=0)
        model.train_on_batch(x, Y)
        expected = model([X, None])
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)
    assert not np.allclose(model.predict([X, X], verbose=0), expected)


def test_a_layer_without_tensors_runs():
    class Constant(keras.Layer):
        def build(self):
            self.w = self.add_weight((3,), "ones")

        def call(self):
            return self.w * 2

        def compute_output_shape(self):
            return (3,)

    np.testing.assert_array_equal(Constant()(), [2, 2, 2])


def test_a_rebuilt_node_waits_for_the_call_of_a_shared_layer_that_made_its_input():
    inputs = layers.Input((4,))
    shared = layers.Dense(4, name="shared")
    first = shared(inputs)
    second = shared(layers.ReLU(name="relu")(first))
    third = shared(layers.Dense(4, name="between")(second))
    model = keras.Model(inputs, [layers.Subtract(name="sub")([third, first]), second])
    for other in (keras.models.clone_model(model), keras.Model.from_config(model.get_config())):
        other.set_weights(model.get_weights())
        for a, b in zip(model.predict(X, verbose=0), other.predict(X, verbose=0), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    config = model.get_config()
    config["layers"].reverse()  # whatever the order of the layers in the config
    other = keras.Model.from_config(config)
    other.set_weights([model.get_weights()[i] for i in (2, 3, 0, 1)]
                      if [x.name for x in other.layers].index("between")
                      < [x.name for x in other.layers].index("shared")
                      else model.get_weights())  # fmt: skip
    for a, b in zip(model.predict(X, verbose=0), other.predict(X, verbose=0), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


# ---- arguments that must have an effect ----------------------------------------------------------


class Counts(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, round(logs["loss"], 5)))


def test_hooks_are_called_once_an_execution():
    losses = {}
    for steps in (1, 4):
        keras.utils.set_random_seed(3)
        model, counts = line(), Counts()
        model.compile("sgd", "mse", steps_per_execution=steps)
        model.fit(X, Y, batch_size=2, epochs=1, shuffle=False, callbacks=[counts], verbose=0)
        losses[steps] = counts.seen
    ends = dict(x for x in losses[1] if isinstance(x, tuple))
    assert losses[4] == [0, (3, ends[3]), 4, (5, ends[5])]


def test_jit_compile_false_runs_layer_by_layer():
    seen = []

    class Looks(keras.Layer):
        def call(self, inputs):
            seen.append(type(inputs).__name__)
            return inputs

    inputs = layers.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(Looks()(inputs)))
    for jit_compile in (False, "auto"):
        model.compile("sgd", "mse", jit_compile=jit_compile)
        model.fit(X, Y, verbose=0)
        seen.clear()
        model.fit(X, Y, verbose=0)
        assert bool(seen) is (jit_compile is False)


def test_a_clone_calls_its_layers_through_the_user_s_function():
    inputs = layers.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(layers.Dense(4, name="inner")(inputs)))

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        return layers.ReLU(name="added")(outputs) if layer.name == "inner" else outputs

    copy = keras.models.clone_model(model, call_function=call)
    assert "added" in [x.name for x in copy.layers]
    with pytest.raises(keras.errors.ArgumentError, match="functional"):
        keras.models.clone_model(keras.Sequential([inputs, layers.Dense(1)]), call_function=call)


class WithoutGraph(keras.Model):
    def call(self, inputs):
        return inputs


def fails(*_, **__):
    raise TypeError("an error of the user's own")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"model": "a name"}, keras.errors.ArgumentError, "takes a model"),
        ({"model": WithoutGraph(), "clone_function": fails}, keras.errors.ArgumentError, "config"),
        ({"clone_function": fails}, TypeError, "own"),
        ({"call_function": fails}, TypeError, "own"),
        ({"clone_function": lambda _: 3}, keras.errors.ArgumentError, "a layer. Received for"),
        ({"call_function": lambda *_: 3}, keras.errors.ArgumentError, "symbolic outputs"),
    ],
)
def test_clones_say_what_is_wrong_with_their_arguments(given, error, message):
    inputs = layers.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    with pytest.raises(error, match=message):
        keras.models.clone_model(**{"model": model, **given})


@pytest.mark.parametrize("positions", [[20, 45, 60], [0.3, 0.75, 1.0]])
def test_columns_of_the_summary_end_where_they_are_told(positions):
    lines = []
    line().summary(line_length=60, positions=positions, print_fn=lines.append)
    header = next(x for x in "\n".join(lines).splitlines() if "Layer" in x)
    ends = [round(p * (60 if max(positions) <= 1 else 1)) for p in positions]
    assert [i for i, c in enumerate(header) if c in "┃|"][1:] == ends
    with pytest.raises(keras.errors.ArgumentError, match="positions"):
        line().summary(positions=[10])


def test_a_stack_makes_its_graph_once(monkeypatch, tmp_path):
    """Not for each layer that is added, which takes quadratic time."""
    made = []
    monkeypatch.setattr(sequential, "Graph", lambda *tensors: made.append(1) or Graph(*tensors))
    model = keras.Sequential([keras.Input((4,)), *(layers.Dense(4) for _ in range(20))])
    model.add(layers.Dense(3))
    assert model.built
    assert made == []
    assert model.output_shape == (None, 3)
    model.save(tmp_path / "m.keras")
    assert len(made) == 1
    keras.saving.load_model(tmp_path / "m.keras")
    assert len(made) == 2
    model.pop()
    model.add(layers.Dense(5))
    assert (model.output_shape, len(made)) == ((None, 5), 3)


@pytest.mark.parametrize("taken", ["x", "first"])
def test_names_in_a_stack_differ(taken):
    model = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(4, name="first")])
    with pytest.raises(GraphError, match=f"already has a layer called '{taken}'"):
        model.add(layers.Dense(4, name=taken))
    assert model.output_shape == (None, 4)
    model.get_layer("first").name = "renamed"
    model.add(layers.Dense(2, name="first"))
    assert [x.name for x in model.layers] == ["renamed", "first"]


def test_validation_data_may_be_a_list_of_inputs_and_targets():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    assert "val_loss" in model.fit(x, y, validation_data=[x, y], verbose=0).history


def test_a_condition_on_values_in_a_call_is_told_with_what_to_write():
    class Conditional(keras.Model):
        def call(self, x):
            return x if x[0, 0] > 0 else -x

    model = Conditional()
    model.compile("sgd", "mse")
    with pytest.raises(SymbolicTensorError) as caught:
        model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0)
    assert str(caught.value).count("`lamina.ops.where") == 1


def test_the_output_of_a_layer_is_that_of_its_first_call():
    shared = layers.Dense(2, name="shared")
    x, other = keras.Input((3,)), keras.Input((3,))
    first, _ = shared(x), shared(other)
    assert shared.output is first
    assert shared.input is x
    assert keras.Model(x, shared.output).output_shape == (None, 2)
    for built_later in (layers.Dense(2), keras.Sequential([layers.Dense(2)])):
        assert not hasattr(built_later, "output")
        assert not hasattr(built_later, "input")


def test_no_metrics_are_given_as_an_empty_list_for_several_outputs():
    x = keras.Input((3,))
    model = keras.Model(x, [layers.Dense(1)(x), layers.Dense(1)(x)])
    model.compile("sgd", "mse", metrics=[], weighted_metrics=[])
    y = np.ones((4, 1))
    assert len(model.evaluate(np.ones((4, 3)), [y, y], verbose=0)) == 3


def test_a_stack_is_built_for_one_shape():
    model = keras.Sequential([layers.Dense(2)])
    model.build((None, 4))
    model.build((8, 4))
    assert len(model.weights) == 2
    with pytest.raises(ShapeError, match=r"expected: \(None, 4\)\n  received: \(None, 5\)"):
        model.build((None, 5))
    assert model.weights[0].shape == (4, 2)


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_one_array_is_the_target_of_the_only_output_with_a_loss(kind):
    """As in a language model that returns its last states too: ``loss=[loss, None]``."""
    x = keras.Input((4,))
    model = keras.Model(x, [layers.Dense(1, name="a")(x), layers.Dense(3, name="b")(x)])
    loss = ["mse", None] if kind == "list" else {"a": "mse", "b": None}
    model.compile("sgd", loss, metrics=["mae", None] if kind == "list" else {"a": "mae"})
    expected = model.evaluate(X, [Y, None], verbose=0, return_dict=True)
    assert expected == model.evaluate(X, Y, verbose=0, return_dict=True)
    model.fit(X, Y, validation_data=(X, Y), verbose=0)
    model.compile("sgd", "mse")
    with pytest.raises(StructureError, match="Received one target array"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(2, activation="softmax"),
        layers.EinsumDense("ab,bc->ac", 2, activation="softmax"),
        keras.Sequential([layers.Reshape((4, 1)), layers.Conv1D(2, 2, activation="softmax")]),
    ],
)
def test_an_activation_may_be_taken_away(layer, tmp_path):
    """As one does before Grad-CAM: ``model.layers[-1].activation = None``."""
    model = keras.Sequential([keras.Input((4,)), layer])
    before = model.predict(X, verbose=0)
    model.save(tmp_path / "m.keras")
    (layer.layers[-1] if isinstance(layer, keras.Sequential) else layer).activation = None
    logits = model.predict(X, verbose=0)
    assert (logits < 0).any()
    np.testing.assert_allclose(keras.ops.softmax(logits), before, rtol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), logits)


@pytest.mark.parametrize("cls", [layers.SimpleRNN, layers.GRU, layers.LSTM])
def test_an_activation_set_on_a_recurrent_layer_is_that_of_its_cell(cls):
    layer = cls(3, seed=1)
    series = X[:, None]
    before = np.asarray(layer(series))
    layer.activation = keras.activations.relu
    expected = cls(3, activation="relu", seed=1)
    expected(series)
    expected.set_weights(layer.get_weights())
    assert not np.array_equal(layer(series), before)
    np.testing.assert_array_equal(layer(series), expected(series))


def test_symbolic_tensors_of_another_process(tmp_path):
    inputs = keras.Input((None, 3), name="rows")
    outputs = layers.Dense(2)(layers.Concatenate(axis=1)([inputs, inputs]))
    (tmp_path / "graph").write_bytes(pickle.dumps((inputs, outputs)))
    code = (
        "import pickle, sys, numpy, lamina\n"
        "graph = pickle.load(open(sys.argv[1], 'rb'))\n"
        "model = lamina.Model(*graph)\n"
        "print(model.output_shape, model.predict(numpy.ones((2, 5, 3)), verbose=0).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "graph"], capture_output=True, text=True,
        env={"PYTHONPATH": ":".join(sys.path)}, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "(None, None, 2) (2, 10, 2)", done.stderr
