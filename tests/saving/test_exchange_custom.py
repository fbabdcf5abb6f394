"""Weights of custom layers and models go to Keras and come back: the paths are those of Keras."""

import json

import h5py
import keras as oracle
import numpy as np
import pytest

import lamina
from lamina.errors import SavingWarning

X = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)
ENGINES = {"lamina": lamina, "keras": oracle}


def around_the_list(k):
    """Attributes before and after ``layers`` in the alphabet, and private ones."""

    class Net(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.zoom = k.layers.Dense(4, name="zoom")
            self.begin = k.layers.Dense(4, name="begin")
            self._hidden = k.layers.Dense(4, name="hidden")
            self.norm = k.layers.BatchNormalization()
            self.layer_1 = k.layers.Dense(4)

        def call(self, x):
            return self.zoom(self.norm(self._hidden(self.layer_1(self.begin(x)))))

    return Net()


def containers(k):
    class Net(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.blocks = [[k.layers.Dense(4), k.layers.Dense(4)], k.layers.BatchNormalization()]
            self.table = {"b": k.layers.Dense(4), "a": k.layers.Dense(4)}
            self.pair = (k.layers.Dense(4), k.layers.Dense(2))

        def call(self, x):
            for layer in self.blocks[0]:
                x = layer(x)
            x = self.table["a"](self.table["b"](self.blocks[1](x)))
            return self.pair[1](self.pair[0](x))

    return Net()


def nested(k):
    class Block(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.two = k.layers.Dense(4)
            self.one = k.layers.Dense(4)
            self._extra = [k.layers.Dense(4)]

        def build(self, shape):
            self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")

        def call(self, x):
            return self._extra[0](self.two(self.one(x))) * self.scale

    class Inner(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.wide = k.layers.Dense(4)
            self.block = Block()

        def call(self, x):
            return self.wide(self.block(x))

    class Net(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            inputs = k.Input((4,))
            self.body = k.Model(inputs, k.layers.Dense(4)(k.layers.Dense(4)(inputs)))
            self.stack = k.Sequential([k.layers.Dense(4), k.layers.BatchNormalization()])
            self.inner = Inner()
            self.sides = [Inner(), Block()]

        def call(self, x):
            return self.sides[1](self.sides[0](self.inner(self.stack(self.body(x)))))

    return Net()


def shared(k):
    class Net(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.twice = k.layers.Dense(4)
            self.also = [self.twice, k.layers.Dense(4)]

        def call(self, x):
            return self.also[1](self.twice(self.twice(x)))

    return Net()


def graph_with_attributes(k):
    class Net(k.Model):
        def __init__(self):
            inputs = k.Input((4,))
            hidden = k.layers.Dense(4)
            last = k.layers.Dense(2)
            super().__init__(inputs, last(k.layers.BatchNormalization()(hidden(inputs))))
            self.hidden, self.a_last = hidden, last

    return Net()


def with_metrics(k):
    """Metrics are not in the file."""

    class Net(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.tracker = k.metrics.Mean(name="tracker")
            self.dense = k.layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    net = Net()
    net.tracker.update_state([1.0, 3.0])
    return net


MODELS = [around_the_list, containers, nested, shared, graph_with_attributes, with_metrics]


def names(path):
    found = []
    with h5py.File(path) as h5:
        h5.visititems(lambda n, x: found.append(n) if isinstance(x, h5py.Dataset) else None)
    return sorted(found)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(("source", "target"), [("keras", "lamina"), ("lamina", "keras")])
def test_weights_of_custom_models(make, source, target, tmp_path):
    path, back = tmp_path / "a.weights.h5", tmp_path / "b.weights.h5"
    first, second = make(ENGINES[source]), make(ENGINES[target])
    expected = np.asarray(first(X))
    assert not np.allclose(np.asarray(second(X)), expected)
    rng = np.random.default_rng(0)
    first.set_weights([w + rng.normal(size=w.shape).astype("f") ** 2 for w in first.get_weights()])
    expected = np.asarray(first(X))
    first.save_weights(path)
    second.load_weights(path)
    np.testing.assert_allclose(np.asarray(second(X)), expected, rtol=1e-5, atol=1e-5)
    second.save_weights(back)
    assert names(back) == names(path)


def test_optimizers_that_a_model_holds(tmp_path):
    """A GAN's two optimizers: their state is in the file, and is skipped while there is none."""

    def make(k):
        class Net(k.Model):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.dense = k.layers.Dense(2)
                self.slow, self.fast = k.optimizers.Adam(0.1), k.optimizers.SGD(0.5, momentum=0.9)

            def call(self, x):
                return self.dense(x)

        net = Net()
        net(X)
        return net

    path, again = tmp_path / "m.weights.h5", tmp_path / "n.weights.h5"
    theirs, ours = make(oracle), make(lamina)
    for optimizer in (theirs.slow, theirs.fast):
        optimizer.build(theirs.trainable_variables)
        optimizer.apply([np.ones(w.shape, "f") for w in theirs.trainable_variables])
    theirs.save_weights(path)
    ours.load_weights(path)
    np.testing.assert_array_equal(ours.get_weights()[0], theirs.get_weights()[0])
    for optimizer in (ours.slow, ours.fast):
        optimizer.build(ours.trainable_variables)
    ours.load_weights(path)
    for mine, other in ((ours.slow, theirs.slow), (ours.fast, theirs.fast)):
        for a, b in zip(mine.variables, other.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    ours.save_weights(again)
    assert names(again) == names(path)


def adversarial(k):
    """A model whose own ``compile`` takes two optimizers, as that of a GAN does."""

    class Net(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = k.layers.Dense(2)

        def call(self, x):
            return self.dense(x)

        def compile(self, slow, fast, **kwargs):
            super().compile(**kwargs)
            self.slow, self.fast = slow, fast

    net = Net()
    net(X)
    net.compile(
        k.optimizers.Adam(0.1),
        k.optimizers.SGD(k.optimizers.schedules.CosineDecay(0.1, 9), momentum=0.9),
    )
    for optimizer in (net.slow, net.fast):
        optimizer.build(net.trainable_variables)
    return net


@pytest.mark.parametrize("engine", ENGINES)
def test_a_compile_of_a_user_s_own_and_what_it_adds(engine, tmp_path):
    """The state of optimizers that a new model lacks is skipped; ``compile`` is not guessed at."""
    net = adversarial(ENGINES[engine])
    cls = type(adversarial(lamina))
    net.save_weights(tmp_path / "m.weights.h5")
    fresh = cls()
    fresh(X)
    fresh.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(fresh.get_weights()[0], net.get_weights()[0])
    net.save(tmp_path / "m.keras")
    with pytest.warns(SavingWarning, match="compile takes \\['slow', 'fast'\\]"):
        again = lamina.saving.load_model(tmp_path / "m.keras", {"Net": cls})
    assert not again.compiled
    np.testing.assert_array_equal(again.get_weights()[0], net.get_weights()[0])


def test_whole_files_of_custom_models(tmp_path):
    for make in (around_the_list, containers, nested):
        theirs = make(oracle)
        theirs(X)
        theirs.compile("adam", "mse")
        theirs.fit(X, np.zeros((3, theirs(X).shape[1])), verbose=0)
        theirs.save(tmp_path / "theirs.keras")
        classes = {"Net": type(make(lamina))}
        ours = lamina.saving.load_model(tmp_path / "theirs.keras", classes)
        np.testing.assert_allclose(np.asarray(ours(X)), np.asarray(theirs(X)), rtol=1e-5, atol=1e-5)
        assert int(ours.optimizer.iterations) == 1


def tripled(x):
    return 3 * x


def distance(y_true, y_pred):
    return abs(y_true - y_pred)


def test_registered_functions_go_both_ways(tmp_path):
    """A file refers to them by the name under which they are registered, not by their own."""
    registered = [("own", "triple", tripled), ("Custom", None, distance)]
    for k in (oracle, lamina):
        for package, name, function in registered:
            k.saving.register_keras_serializable(package, name)(function)
    for k, other in ((oracle, lamina), (lamina, oracle)):
        layers = [k.layers.Dense(2, activation=tripled), k.layers.Activation(tripled)]
        model = k.Sequential([k.Input((4,)), *layers])
        model.compile("sgd", distance, metrics=[distance])
        model.fit(X, np.zeros((3, 2)), verbose=0)
        model.save(tmp_path / "m.keras")
        again = other.saving.load_model(tmp_path / "m.keras")
        assert again.layers[0].activation is again.layers[1].activation is tripled
        np.testing.assert_allclose(np.asarray(again(X)), np.asarray(model(X)), rtol=1e-5)
        losses = [m.evaluate(X, np.zeros((3, 2)), verbose=0) for m in (model, again)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
        record = json.loads(model.to_json())["config"]["layers"][1]["config"]["activation"]
        assert record["config"] == "own>triple"
    lamina.saving.get_custom_objects().pop("own>triple")
    for name in ("own>triple", "triple"):
        with lamina.saving.CustomObjectScope({name: tripled}):
            assert lamina.saving.deserialize_keras_object(record) is tripled
