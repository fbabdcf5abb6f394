"""Whole models in HDF5: of Keras 1 and 2 in their dialects, of Keras 3, and our own."""

import io
import json
import os
import pathlib
import zipfile

import h5py
import keras as oracle
import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.errors import (
    CorruptFileError,
    SavingWarning,
    SerializationError,
    StructureError,
    UnsafeFileError,
)
from lamina.saving import load_model, migration
from lamina.tree import nested

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4)).astype("float32")


def arrays(*shapes):
    return [RNG.uniform(0.2, 0.9, shape).astype("float32") for shape in shapes]


def write(path, version, record, weights, training=None, state=None, backend=None):
    """A file as Keras writes it: ``weights`` by layer, each a dict by name."""
    with h5py.File(path, "w") as h5:
        attributes = {"keras_version": version, "backend": backend, "training_config": training,
                      "model_config": record}  # fmt: skip
        for name, value in attributes.items():
            if value is not None:
                h5.attrs[name] = (value if isinstance(value, str) else json.dumps(value)).encode()
        group = h5.create_group("model_weights")
        group.attrs["layer_names"] = [n.encode() for n in weights]
        for name, own in weights.items():
            inner = group.create_group(name)
            inner.attrs["weight_names"] = [n.encode() for n in own]
            for path_, value in own.items():
                inner[path_] = value
        if state is not None:
            group = h5.create_group("optimizer_weights")
            group.attrs["weight_names"] = [n.encode() for n in state]
            for name, value in state.items():
                group[name] = value
    return path


def sequential(*records):
    return {"class_name": "Sequential",
            "config": [{"class_name": c, "config": k} for c, k in records]}  # fmt: skip


def loaded(tmp_path, version, record, weights, **more):
    return load_model(write(tmp_path / "model.h5", version, record, weights, **more))


# ---- arrays of old layers ------------------------------------------------------------------------


def gate_by_gate(parts, order):
    """Twelve or nine arrays in the order of the file, for arrays of gates in today's order."""
    split = [np.split(p, len(order), -1) for p in parts]
    return [split[k][order.index(i)] for i in range(len(order)) for k in range(3)]


KERNEL_2D, KERNEL_1D, KERNEL_3D = arrays((2, 3, 2, 4), (3, 2, 4), (2, 2, 2, 1, 3))
(BIAS,) = arrays((4,))
LSTM, GRU = arrays((2, 12), (3, 12), (12,)), arrays((2, 9), (3, 9), (9,))
FIRST = {"nb_filter": 4, "nb_row": 2, "nb_col": 3, "dim_ordering": "th",
         "batch_input_shape": [None, 2, 5, 5]}  # fmt: skip
CUDNN_LSTM = arrays((2, 12), (3, 12), (24,))
CUDNN_GRU = arrays((2, 9), (3, 9), (18,))


def to_cudnn(parts, gates):
    """Kernels of today as CuDNN stores them."""
    kernel, recurrent, bias = parts
    inputs = [k.ravel("F").reshape(k.shape) for k in np.split(kernel, gates, 1)]
    states = [k.T for k in np.split(recurrent, gates, 1)]
    return [np.concatenate(inputs, 1), np.concatenate(states, 1), bias]


SEQUENCE = {"batch_input_shape": [None, 5, 2]}
# For each row: version, class, config, arrays in the file, arrays of today, and the backend.
ARRAYS = {
    "LSTM: twelve arrays": (
        "1.2.2", "LSTM", {**SEQUENCE, "output_dim": 3}, gate_by_gate(LSTM, [0, 2, 1, 3]), LSTM),
    "GRU: nine arrays": (
        "1.1.2", "GRU", {**SEQUENCE, "output_dim": 3}, gate_by_gate(GRU, [0, 1, 2]), GRU),
    "Conv1D: kernels of four axes": (
        "1.2.2", "Convolution1D", {**SEQUENCE, "nb_filter": 4, "filter_length": 3},
        [KERNEL_1D[:, None], BIAS], [KERNEL_1D, BIAS]),
    "Conv2D: kernels (filters, channels, rows, columns)": (
        "1.2.2", "Convolution2D", FIRST, [KERNEL_2D.transpose(3, 2, 0, 1), BIAS],
        [KERNEL_2D, BIAS]),
    "SeparableConv2D: kernels (filters, channels, rows, columns)": (
        "1.2.2", "SeparableConvolution2D", FIRST,
        [KERNEL_2D[..., :1].transpose(3, 2, 0, 1), KERNEL_2D[:1, :1].transpose(3, 2, 0, 1), BIAS],
        [KERNEL_2D[..., :1], KERNEL_2D[:1, :1], BIAS]),
    "Conv3D: kernels (filters, channels, ...)": (
        "1.2.2", "Convolution3D", {
            "nb_filter": 3, "kernel_dim1": 2, "kernel_dim2": 2, "kernel_dim3": 2,
            "dim_ordering": "th", "batch_input_shape": [None, 1, 3, 3, 3]},
        [KERNEL_3D.transpose(4, 3, 0, 1, 2), BIAS[:3]], [KERNEL_3D, BIAS[:3]]),
    "Conv2DTranspose: the two last axes of kernels": (
        "1.2.2", "Deconvolution2D", {
            "nb_filter": 2, "nb_row": 2, "nb_col": 3, "dim_ordering": "tf",
            "batch_input_shape": [None, 5, 5, 4]},
        [KERNEL_2D.transpose(0, 1, 3, 2), BIAS[:2]], [KERNEL_2D, BIAS[:2]]),
    "Conv1D: kernels of Theano": (
        "2.0.8", "Conv2D", {"filters": 4, "kernel_size": [2, 3], "data_format": "channels_first",
                            "batch_input_shape": [None, 2, 5, 5]},
        [KERNEL_2D[::-1, ::-1], BIAS], [KERNEL_2D, BIAS], "theano"),
    "LSTM: CuDNNLSTM's arrays": (
        "2.2.4", "CuDNNLSTM", {**SEQUENCE, "units": 3}, to_cudnn(CUDNN_LSTM, 4),
        [*CUDNN_LSTM[:2], CUDNN_LSTM[2][:12] + CUDNN_LSTM[2][12:]]),
    "GRU: CuDNNGRU's arrays": (
        "2.2.4", "CuDNNGRU", {**SEQUENCE, "units": 3}, to_cudnn(CUDNN_GRU, 3),
        [*CUDNN_GRU[:2], CUDNN_GRU[2].reshape(2, 9)]),
}  # fmt: skip


def test_each_row_of_arrays_has_an_example():
    rows = [f"{row.classes.split()[0]}: {row.what}" for row in migration.ARRAYS]
    assert rows == list(ARRAYS)


@pytest.mark.parametrize("row", ARRAYS)
def test_arrays_of_old_layers(row, tmp_path):
    version, name, config, stored, expected, *backend = ARRAYS[row]
    weights = {"layer": {f"layer_{i}:0": a for i, a in enumerate(stored)}}
    record = sequential((name, {"name": "layer", **config}))
    model = loaded(tmp_path, version, record, weights, backend=(backend or ["tensorflow"])[0])
    for a, b in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_theano_is_known_by_its_names(tmp_path):
    """Files of Keras 1 do not name the backend; TensorFlow ends names of variables with `:0`."""
    record = sequential(("Convolution2D", {"name": "c", **FIRST}))
    stored = [KERNEL_2D.transpose(3, 2, 0, 1), BIAS]
    models = [
        loaded(tmp_path, "1.2.2", record, {"c": {f"c_{i}{end}": a for i, a in enumerate(stored)}})
        for end in (":0", "")
    ]
    assert np.array_equal(models[0].get_weights()[0], models[1].get_weights()[0][::-1, ::-1])


# ---- configs of old models -----------------------------------------------------------------------

DENSE = arrays((4, 3), (3,))
HEAD = arrays((3, 2), (2,))


def named(name, *values):
    return {f"{name}_{i}:0": value for i, value in enumerate(values)}


def dense(x, kernel, bias):
    return x @ kernel + bias


def layer(name, class_name, nodes, **config):
    return {"class_name": class_name, "name": name, "config": {"name": name, **config},
            "inbound_nodes": nodes}  # fmt: skip


def graph(layers_, outputs, inputs=("x",)):
    given = [layer(n, "InputLayer", [], batch_input_shape=[None, 4], input_dtype="float32")
             for n in inputs]  # fmt: skip
    return {"class_name": "Model", "config": {
        "name": "m", "layers": [*given, *layers_], "input_layers": [[n, 0, 0] for n in inputs],
        "output_layers": outputs}}  # fmt: skip


def test_a_stack_of_keras_1_with_two_inputs(tmp_path):
    first = {"output_dim": 3, "batch_input_shape": [None, 4]}
    branches = [
        {"class_name": "Sequential", "config": [
            {"class_name": "Dense", "config": {"name": name, **first}}]}
        for name in ("left", "right")
    ]  # fmt: skip
    record = sequential(("Merge", {"name": "join", "mode": "sum", "layers": branches}),
                        ("Dense", {"name": "head", "output_dim": 2}))  # fmt: skip
    left, right = DENSE, arrays((4, 3), (3,))
    weights = {"left": named("l", *left), "right": named("r", *right), "head": named("h", *HEAD)}
    model = loaded(tmp_path, "1.2.2", record, weights)
    y = model.predict([X, 2 * X], verbose=0)
    expected = dense(dense(X, *left) + dense(2 * X, *right), *HEAD)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_statistics_of_each_batch(tmp_path):
    """Mode 2 of Keras 1 always normalized by the statistics of the batch."""
    record = sequential(
        ("Dense", {"name": "d", "output_dim": 3, "batch_input_shape": [None, 4]}),
        ("BatchNormalization", {"name": "n", "mode": 2, "epsilon": 0.01, "axis": -1}),
    )
    gamma, beta, mean, variance = arrays((3,), (3,), (3,), (3,))
    weights = {"d": named("d", *DENSE), "n": named("n", gamma, beta, mean, variance)}
    model = loaded(tmp_path, "1.2.2", record, weights)
    h = dense(X, *DENSE)
    expected = (h - h.mean(0)) / np.sqrt(h.var(0) + 0.01) * gamma + beta
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-4)


def test_models_inside_of_models_count_their_calls_from_one(tmp_path):
    config = {"name": "d", "output_dim": 3, "batch_input_shape": [None, 4]}
    inner = {**sequential(("Dense", config)), "name": "inner",
             "inbound_nodes": [[["x", 0, 0]], [["y", 0, 0]]]}  # fmt: skip
    join = layer("join", "Merge", [[["inner", 1, 0], ["inner", 2, 0]]], mode="mul")
    record = graph([inner, join], [["join", 0, 0]], ("x", "y"))
    model = loaded(tmp_path, "1.2.2", record, {"inner": named("d", *DENSE)})
    y = model.predict([X, 2 * X], verbose=0)
    np.testing.assert_allclose(y, dense(X, *DENSE) * dense(2 * X, *DENSE), rtol=1e-5)


@pytest.mark.parametrize("kind", ["Model", "Sequential"])
def test_calls_of_models_among_the_outputs_count_from_one(kind, tmp_path):
    if kind == "Sequential":
        config = {"name": "d", "output_dim": 3, "batch_input_shape": [None, 4]}
        inner = sequential(("Dense", config))
    else:
        inner = graph([layer("d", "Dense", [["z", 0, 0]], output_dim=3)], [["d", 0, 0]], ("z",))
    inner = {**inner, "name": "inner", "inbound_nodes": [[["x", 0, 0]], [["y", 0, 0]]]}
    record = graph([inner], [["inner", 2, 0], ["inner", 1, 0]], ("x", "y"))
    model = loaded(tmp_path, "1.2.2", record, {"inner": named("d", *DENSE)})
    for y, x in zip(model.predict([X, 2 * X], verbose=0), (2 * X, X), strict=True):
        np.testing.assert_allclose(y, dense(x, *DENSE), rtol=1e-5)


def test_arguments_of_calls(tmp_path):
    """Tensors as keyword arguments, as tf.keras writes them, and states in a list of inputs."""
    lstm = {"units": 3, "return_state": True, "recurrent_activation": "sigmoid"}
    given = [layer("x", "InputLayer", [], batch_input_shape=[None, 5, 2])]
    one = layer("one", "LSTM", [[["x", 0, 0, {}]]], **lstm)
    listed = layer("two", "LSTM", [[["x", 0, 0, {}], ["one", 0, 1, {}], ["one", 0, 2, {}]]], **lstm)
    states = {"initial_state": [["one", 0, 1], ["one", 0, 2]], "mask": None}
    by_name = layer("two", "LSTM", [[["x", 0, 0, states]]], **lstm)
    weights = {n: named(n, *arrays((2, 12), (3, 12), (12,))) for n in ("one", "two")}
    data = RNG.normal(size=(2, 5, 2)).astype("float32")
    outputs = []
    for second in (listed, by_name):
        record = {"class_name": "Functional", "config": {
            "name": "m", "layers": [*given, one, second], "input_layers": [["x", 0, 0]],
            "output_layers": [["two", 0, 0]]}}  # fmt: skip
        model = loaded(tmp_path, "2.4.0", record, weights)
        outputs.append(model.predict(data, verbose=0))
    np.testing.assert_array_equal(*outputs)
    states = load_model(tmp_path / "model.h5").get_layer("one")(data)[1:]
    again = layers.LSTM(3, recurrent_activation="sigmoid")
    again.build((None, 5, 2))
    again.set_weights(list(weights["two"].values()))
    np.testing.assert_allclose(again(data, initial_state=list(states)), outputs[0], rtol=1e-5)


def test_slices_of_tensorflow(tmp_path):
    slices = [{"start": a, "stop": b, "step": None} for a, b in ((None, None), (1, 3))]
    spec = {"class_name": "__tuple__", "items": slices}
    record = graph([layer("cut", "SlicingOpLambda", [["x", 0, 0, {"slice_spec": spec}]],
                          function="__operators__.getitem")], [["cut", 0, 0]])  # fmt: skip
    model = loaded(tmp_path, "2.9.0", record, {})
    np.testing.assert_array_equal(model.predict(X, verbose=0), X[:, 1:3])
    record["config"]["layers"][-1]["config"]["function"] = "io.read_file"
    with pytest.raises(SerializationError, match=r"Keras 2\.9\.0.*'cut'.*tf\.io\.read_file"):
        loaded(tmp_path, "2.9.0", record, {})


PART = [("d", DENSE), ("n", arrays((3,), (3,), (3,), (3,))), ("h", HEAD)]


@pytest.mark.parametrize("frozen", [(), ("d",), ("d", "n", "h"), ("n",)])
def test_weights_of_frozen_layers_inside_of_a_model(frozen, tmp_path):
    """They are listed after those that train."""
    classes = {"d": ("Dense", {"units": 3, "batch_input_shape": [None, 4]}),
               "n": ("BatchNormalization", {}), "h": ("Dense", {"units": 2})}  # fmt: skip
    inner = sequential(*((c, {"name": n, "trainable": n not in frozen, **k})
                         for n, (c, k) in classes.items()))  # fmt: skip
    inner |= {"name": "inner", "inbound_nodes": [[["x", 0, 0, {}]]]}
    first = [(n, i, v) for n, own in PART for i, v in enumerate(own[:2]) if n not in frozen]
    rest = [(n, i, v) for n, own in PART for i, v in enumerate(own) if n in frozen or i > 1]
    names = ("kernel", "bias"), ("gamma", "beta", "moving_mean", "moving_variance")
    stored = {f"{n}/{names[n == 'n'][i]}:0": v for n, i, v in [*first, *rest]}
    model = loaded(tmp_path, "2.2.4", graph([inner], [["inner", 1, 0]]), {"inner": stored})
    for name, own in PART:
        for a, b in zip(model.get_layer("inner").get_layer(name).get_weights(), own, strict=True):
            np.testing.assert_array_equal(a, b)


# ---- training ------------------------------------------------------------------------------------

ONE = sequential(("Dense", {"name": "d", "units": 3, "batch_input_shape": [None, 4]}),
                 ("Dense", {"name": "b", "units": 2}))  # fmt: skip
WEIGHTS = {"d": named("d", *DENSE), "b": named("b", *HEAD)}
SHAPES = [(4, 3), (3,), (3, 2), (2,)]


def training(name, **config):
    return {"optimizer_config": {"class_name": name, "config": config}, "loss": "mse",
            "metrics": ["mae"], "sample_weight_mode": None, "loss_weights": None}  # fmt: skip


def in_order(version, name, config, *groups):
    """An optimizer's state: the counter and the given arrays, and the model that reads it."""
    values = [np.int64(7), *groups]
    return version, training(name, **config), {f"v{i}": v for i, v in enumerate(values)}


M, V = arrays(*SHAPES), arrays(*SHAPES)
BY_WEIGHT = [a for pair in zip(M, V, strict=True) for a in pair]
STATES = {
    "Keras 2": in_order("2.2.4", "Adam", {"lr": 0.5, "amsgrad": False, "decay": 0.0}, *M, *V,
                        *[np.zeros(1, "float32")] * 4),
    "tf 2.4": in_order("2.4.0", "Adam", {"learning_rate": 0.5, "amsgrad": False}, *M, *V),
    "tf 2.13": in_order("2.13.1", "Custom>Adam", {"learning_rate": 0.5}, *BY_WEIGHT),
    "tf 2.13, an optimizer of before": in_order("2.13.1", "Adam", {"learning_rate": 0.5}, *M, *V),
    "Nadam of Keras 2.0": in_order("2.0.9", "Nadam", {"lr": 0.5, "schedule_decay": 0.004}, *M, *V),
    "Nadam of tf 2.4": in_order("2.4.0", "Nadam", {"learning_rate": 0.5}, np.float32(0.3), *M, *V),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_the_state_of_an_optimizer(name, tmp_path):
    version, config, state = STATES[name]
    model = loaded(tmp_path, version, ONE, WEIGHTS, training=config, state=state)
    kind = name.partition(" ")[0] if name.startswith("Nadam") else "Adam"
    assert type(model.optimizer) is getattr(keras.optimizers, kind)
    assert float(model.optimizer.learning_rate) == 0.5
    assert int(model.optimizer.iterations) == 7
    found = model.optimizer.state_variables
    if kind == "Nadam":  # what Keras 3 has after as many steps
        theirs = oracle.optimizers.Nadam(0.5)
        weight = oracle.Variable(np.ones(1))
        for _ in range(7):
            theirs.apply([np.ones(1)], [weight])
        product = theirs._u_product
        np.testing.assert_allclose(np.asarray(found["u_product"]), np.asarray(product), rtol=1e-6)
    for slot, values in (("momentum", M), ("velocity", V)):
        own = [v.numpy() for k, v in found.items() if k.startswith(slot)]
        assert all(np.array_equal(a, b) for a, b in zip(own, values, strict=True))
    model.fit(X, X[:, :2], verbose=0)
    assert model.metrics_names == ["loss", "mae"]


def test_keras_1_sorts_the_weights_of_an_optimizer_by_name(tmp_path):
    swapped = {"d": {f"z_{n}": v for n, v in WEIGHTS["d"].items()}, "b": WEIGHTS["b"]}
    config = training("SGD", lr=0.5, momentum=0.9)
    state = {f"v{i}": v for i, v in enumerate([np.int64(7), *M[2:], *M[:2]])}
    model = loaded(tmp_path, "1.2.2", {**ONE}, swapped, training=config, state=state)
    own = [v.numpy() for k, v in model.optimizer.state_variables.items() if "/" in k]
    assert all(np.array_equal(a, b) for a, b in zip(own, [*M[2:], *M[:2]], strict=True))
    assert [v.shape for v in model.optimizer.parameters] == [*SHAPES[2:], *SHAPES[:2]]


def test_a_state_that_is_not_certain_is_reset(tmp_path):
    _, config, state = STATES["tf 2.4"]
    del state["v1"]
    with pytest.warns(SavingWarning, match="8 arrays of an optimizer's state.*Adam.*is reset"):
        model = loaded(tmp_path, "2.4.0", ONE, WEIGHTS, training=config, state=state)
    assert int(model.optimizer.iterations) == 0


def test_metrics_of_each_output(tmp_path):
    """One list of metrics was that of every output."""
    record = graph([layer(n, "Dense", [[["x", 0, 0]]], output_dim=3) for n in "ab"],
                   [["a", 0, 0], ["b", 0, 0]])  # fmt: skip
    weights = {n: named(n, *DENSE) for n in "ab"}
    model = loaded(tmp_path, "1.2.2", record, weights, training=training("RMSprop", lr=0.5))
    model.train_on_batch(X, [X[:, :3]] * 2)
    assert model.metrics_names == ["loss", "a_loss", "b_loss", "a_mae", "b_mae"]


def test_arguments_of_compile_that_nothing_understands(tmp_path):
    path = write(tmp_path / "model.h5", "2.2.4", ONE, WEIGHTS, training={
        **training("SGD", lr=0.5), "loss": "my_loss"})  # fmt: skip
    with pytest.raises(SerializationError, match=r"my_loss.*\n.*compile=False"):
        load_model(path)
    assert not load_model(path, compile=False).compiled
    model = load_model(path, {"my_loss": lambda y, p: keras.ops.mean(p - y)})
    assert model.compiled


# ---- what is refused -----------------------------------------------------------------------------

CODE = ["4wEAAAAAAAAA", None, None]
LAMBDAS = {
    "layer": {"class_name": "Lambda", "config": {
        "name": "double", "function": CODE, "function_type": "lambda", "output_shape": None,
        "output_shape_type": "raw", "arguments": {}}},
    "merge": {"class_name": "Merge", "config": {
        "name": "double", "mode": CODE, "mode_type": "lambda", "concat_axis": -1}},
    "inside": {"class_name": "TimeDistributed", "config": {"name": "t", "layer": {
        "class_name": "Lambda", "config": {"name": "double", "function": CODE,
                                           "output_shape": CODE, "output_shape_type": "lambda"}}}},
    "activation": {"class_name": "Dense", "config": {"name": "double", "units": 3, "activation": {
        "class_name": "__lambda__", "config": {"code": CODE[0]}}}},
}  # fmt: skip


@pytest.mark.parametrize("kind", LAMBDAS)
def test_code_is_refused_before_anything_is_built(kind, tmp_path, monkeypatch):
    shape = [None, 2, 4] if kind == "inside" else [None, 4]
    given = layer("x", "InputLayer", [], batch_input_shape=shape)
    last = {**LAMBDAS[kind], "name": LAMBDAS[kind]["config"]["name"],
            "inbound_nodes": [[["x", 0, 0]]]}  # fmt: skip
    record = {"class_name": "Model", "config": {
        "name": "m", "layers": [given, last], "input_layers": [["x", 0, 0]],
        "output_layers": [[last["name"], 0, 0]]}}  # fmt: skip
    path = write(tmp_path / "model.h5", "2.2.4", record, {})
    built = []
    monkeypatch.setattr(layers.InputLayer, "__post_init__", built.append)
    with pytest.raises(UnsafeFileError, match=r"Keras 2\.2\.4.*'double'.*\n.*custom_objects=\{'do"):
        load_model(path)
    assert built == []
    monkeypatch.undo()
    if kind != "activation":  # whose weights the file lacks
        model = load_model(path, {"double": lambda x: 2 * x})
        x = np.ones((2, *shape[1:]), "float32")
        np.testing.assert_array_equal(model.predict(x, verbose=0), 2 * x)


def test_functions_and_classes_by_name(tmp_path):
    record = sequential(("Dense", {"name": "d", "units": 3, "batch_input_shape": [None, 4],
                                   "activation": "mine"}),
                        ("Lambda", {"name": "l", "function": "mine", "function_type": "function"}),
                        ("Twice", {"name": "t", "batch_input_shape": [None, 3]}))  # fmt: skip

    class Twice(keras.Layer):
        def call(self, inputs):
            return 2 * inputs

    path = write(tmp_path / "model.h5", "2.2.4", record, {"d": named("d", *DENSE)})
    with pytest.raises(SerializationError, match=r"written by Keras 2\.2\.4.*mine"):
        load_model(path, {"Twice": Twice})
    with pytest.raises(SerializationError, match=r"'Twice'.*custom_objects=\{'Twice'"):
        load_model(path, {"mine": keras.ops.square})
    model = load_model(path, {"mine": keras.ops.square, "Twice": Twice})
    np.testing.assert_allclose(model.predict(X, verbose=0), 2 * dense(X, *DENSE) ** 4, rtol=1e-5)


def test_the_formula_of_then(tmp_path):
    def record():
        return sequential(("Dense", {"name": "d", "units": 3, "batch_input_shape": [None, 4],
                                     "activation": "hard_sigmoid"}))  # fmt: skip

    path = write(tmp_path / "model.h5", "2.2.4", record(), {"d": named("d", *DENSE)})
    with pytest.warns(SavingWarning, match=r"'d' \(Dense\).*hard_sigmoid.*custom_objects"):
        model = load_model(path)
    h = dense(X, *DENSE)
    np.testing.assert_allclose(model.predict(X, verbose=0), np.clip(h / 6 + 0.5, 0, 1), rtol=1e-5)
    model = load_model(path, {"hard_sigmoid": lambda x: keras.ops.clip(0.2 * x + 0.5, 0, 1)})
    np.testing.assert_allclose(model.predict(X, verbose=0), np.clip(0.2 * h + 0.5, 0, 1), rtol=1e-5)


def linked(h5):
    del h5["model_weights/d/d_1:0"]
    h5["model_weights/d/d_1:0"] = h5py.ExternalLink("other.h5", "/")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda h: h["model_weights/d"].attrs.__setitem__("weight_names", [b"d_0:0"] * 2),
         CorruptFileError, r"'weight_names' of 'model_weights/d' lists \['d_0:0'\] twice"),
        (lambda h: h["model_weights/d"].attrs.__setitem__("weight_names", [b"d_0:0"]),
         StructureError, "1 weights for layer 'd'.*has 2"),
        (lambda h: h["model_weights/d"].pop("d_1:0"), CorruptFileError, "missing from the file"),
        (lambda h: h["model_weights"].attrs.__setitem__("layer_names", [b"d"]), StructureError,
         "1 layers.*2 layers"),
        (lambda h: h.attrs.pop("model_config"), CorruptFileError, "no architecture.*load_weights"),
        (lambda h: h.attrs.__setitem__("model_config", b"{"), CorruptFileError, "not valid JSON"),
        (lambda h: h.attrs.__setitem__("model_config", b'{"a": 1, "a": 2}'), CorruptFileError,
         "twice"),
        (lambda h: h.attrs.__setitem__("model_config", b"[]"), CorruptFileError, "architecture"),
        (lambda h: h.pop("model_weights"), CorruptFileError, "layer_names"),
        (linked, UnsafeFileError, "link"),
    ],
)  # fmt: skip
def test_damaged_files(change, error, said, tmp_path):
    path = write(tmp_path / "model.h5", "2.2.4", ONE, WEIGHTS)
    model = load_model(path)
    before = model.get_weights()
    with h5py.File(path, "r+") as h5:
        change(h5)
    with pytest.raises(error, match=said):
        load_model(path)
    if (
        said != "twice" and "JSON" not in said and "architecture" not in said
    ):  # what is wrong is in the weights
        with pytest.raises((error, StructureError)):
            model.load_weights(path)
        if "lists" in said:
            with pytest.raises(error, match=said):
                model.load_weights(path, by_name=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_the_content_decides_not_the_name(tmp_path):
    path = write(tmp_path / "model.keras", "2.2.4", ONE, WEIGHTS)
    expected = load_model(path).predict(X, verbose=0)
    load_model(path).save(tmp_path / "new.keras")
    (tmp_path / "new.keras").rename(tmp_path / "new.h5")
    np.testing.assert_array_equal(load_model(tmp_path / "new.h5").predict(X, verbose=0), expected)


# ---- archives of tf.keras ------------------------------------------------------------------------


def archive(path, version, record, weights):
    content = io.BytesIO()
    with h5py.File(content, "w") as h5:
        for name, value in weights.items():
            h5[name] = value
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.json", json.dumps({"keras_version": version}))
        file.writestr("config.json", json.dumps(record))
        file.writestr("model.weights.h5", content.getvalue())
    return path


def modern(record):
    """A record as archives of tf.keras have it: with a module, but of old arguments."""
    return {"module": "keras.layers", "registered_name": None, **record}


TWO = [modern(layer("d", "Dense", [[["x", 0, 0, {}]]], units=3)),
       modern(layer("b", "Dense", [[["d", 0, 0, {}]]], units=2))]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "top", "second"),
    [("2.12.0", "_layer_checkpoint_dependencies", "dense_2"), ("2.15.0", "layers", "dense_1")],
)  # fmt: skip
def test_archives_of_tf_keras(version, top, second, tmp_path):
    record = {**graph(TWO, [["b", 0, 0]]), "module": "keras.src.engine.functional"}
    given = record["config"]["layers"][0]
    given |= {"module": "keras.layers", "registered_name": None}
    given["config"].pop("input_dtype")
    record["class_name"] = "Functional"
    record["compile_config"] = {
        "optimizer": {"module": "keras.optimizers", "class_name": "Adam", "registered_name": "Adam",
                      "config": {"learning_rate": 0.5, "is_legacy_optimizer": False}},
        "loss": "mse", "metrics": ["mae"], "loss_weights": None, "jit_compile": False}  # fmt: skip
    weights = {f"{top}/dense/vars/{i}": v for i, v in enumerate(DENSE)}
    weights |= {f"{top}/{second}/vars/{i}": v for i, v in enumerate(HEAD)}
    weights |= {f"optimizer/vars/{i}": v for i, v in enumerate([np.int64(7), *BY_WEIGHT])}
    weights["metrics/mean/vars/0"] = np.float32(1)
    model = load_model(archive(tmp_path / "model.keras", version, record, weights))
    expected = dense(dense(X, *DENSE), *HEAD)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5)
    own = list(model.optimizer.state_variables.values())
    assert int(model.optimizer.iterations) == 7
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(own[2:], BY_WEIGHT, strict=True))
    stateless = {n: v for n, v in weights.items() if not n.startswith("optimizer")}
    with pytest.warns(SavingWarning, match="no state of the optimizer"):
        load_model(archive(tmp_path / "model.keras", version, record, stateless))


def test_attributes_with_underscores(tmp_path):
    attention = modern(layer("a", "MultiHeadAttention", [[["x", 0, 0, {"value": ["x", 0, 0]}]]],
                             num_heads=1, key_dim=2, query_shape=[None, 5, 4]))  # fmt: skip
    given = modern(layer("x", "InputLayer", [], batch_input_shape=[None, 5, 4]))
    record = {"module": "keras.src.engine.functional", "class_name": "Functional", "config": {
        "name": "m", "layers": [given, attention], "input_layers": [["x", 0, 0]],
        "output_layers": [["a", 0, 0]]}}  # fmt: skip
    ours = layers.MultiHeadAttention(1, 2)
    ours.build((None, 5, 4), (None, 5, 4))
    values = arrays(*(v.shape for v in ours.weights))
    ours.set_weights(values)
    names = [f"layers/multi_head_attention/_{part}_dense/vars/{i}"
             for part in ("query", "key", "value", "output") for i in range(2)]  # fmt: skip
    stored = dict(zip(names, values, strict=True))
    model = load_model(archive(tmp_path / "model.keras", "2.15.0", record, stored))
    x = RNG.normal(size=(2, 5, 4)).astype("float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), ours(x, x), rtol=1e-4, atol=1e-5)


# ---- HDF5 of Keras 3, and ours -------------------------------------------------------------------


def test_files_of_keras_3(tmp_path):
    inputs = oracle.Input((4,))
    x = oracle.layers.BatchNormalization()(oracle.layers.Dense(3)(inputs))
    theirs = oracle.Model(inputs, oracle.layers.Add()([oracle.ops.relu(x) + 1.0, x]))
    theirs.compile("adam", oracle.losses.MeanSquaredError(), metrics=["mae"])
    theirs.fit(X, X[:, :3], verbose=0)
    theirs.save(tmp_path / "theirs.h5")
    ours = load_model(tmp_path / "theirs.h5")
    expected = theirs.predict(X, verbose=0)
    np.testing.assert_allclose(ours.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)
    for a, b in zip(theirs.optimizer.variables, ours.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b.numpy())


def test_a_kernel_that_two_layers_have(tmp_path):
    """`SpectralNormalization` and the layer in it: the file has the kernel once."""
    for name, library in (("theirs.h5", oracle), ("ours.h5", keras)):
        norm = library.layers.SpectralNormalization(library.layers.Dense(2))
        model = library.Sequential([library.Input((4,)), norm])
        model.compile("adam", library.losses.MeanSquaredError())
        model.fit(X, X[:, :2], verbose=0)
        model.save(tmp_path / name)
        again = load_model(tmp_path / name)
        for old, new in ((model, again), (model.optimizer, again.optimizer)):
            pairs = [(a, b) for a, b in zip(old.variables, new.variables, strict=True)
                     if "seed" not in a.path]  # fmt: skip
            for a, b in pairs:
                np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("writer", [oracle, keras])
def test_low_rank_adapters(writer, tmp_path):
    """The frozen matrix and its adapter are separate, the matrix after all that train."""
    inner = writer.Sequential([writer.layers.Dense(3), writer.layers.BatchNormalization()])
    model = writer.Sequential([writer.Input((4,)), writer.layers.Dense(5), inner])
    for layer in (model.layers[0], inner.layers[0]):
        layer.enable_lora(2)
    model.set_weights(arrays(*(w.shape for w in model.weights)))
    model.save(tmp_path / "model.h5")
    for reader in (oracle, keras):
        again = reader.models.load_model(tmp_path / "model.h5")
        for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        expected = model.predict(X, verbose=0)
        np.testing.assert_allclose(again.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_a_model_resumes_bit_for_bit(tmp_path):
    name = "model.hdf5"

    def fit(model):
        return model.fit(X, X[:, :2], epochs=2, batch_size=2, verbose=0).history["loss"]

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dropout(0.5),
                              layers.Dense(2)])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.1), "mse", metrics=["mae"])
    fit(model)
    model.save(tmp_path / name)
    with h5py.File(tmp_path / name) as h5:
        assert h5.attrs["keras_version"].startswith("3.")
    again = load_model(tmp_path / name)
    assert fit(model) == fit(again)
    with pytest.raises(FileExistsError):
        model.save(tmp_path / name, overwrite=False)
    model.save(tmp_path / name, include_optimizer=False)
    assert not load_model(tmp_path / name).compiled


def test_hundreds_of_layers(tmp_path):
    """The list of names is larger than one attribute of HDF5 may be."""
    names = [f"{'layer' * 30}_{i}" for i in range(250)]
    x = inputs = keras.Input((1,), name="x")
    for name in names:
        x = layers.Identity(name=name)(x)
    keras.Model(inputs, x).save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as h5:
        assert "layer_names1" in h5["model_weights"].attrs
    assert [x.name for x in load_model(tmp_path / "model.h5").layers] == ["x", *names]


def test_layers_that_save_arrays_of_their_own(tmp_path):
    class Table(keras.Layer):
        def save_own_variables(self, store):
            store["rows"] = np.zeros(3)

        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((1,)), Table(name="table")])
    with pytest.raises(SerializationError, match=r"'table'.*'\.h5'.*'\.keras'"):
        model.save(tmp_path / "model.h5")
    assert list(tmp_path.iterdir()) == []


# ---- texts ---------------------------------------------------------------------------------------


def test_texts_and_configs(tmp_path):
    record = {**ONE, "keras_version": "2.0.8", "backend": "tensorflow"}
    for model in (
        keras.models.model_from_json(json.dumps(record)),
        keras.Sequential.from_config(ONE["config"]),
    ):
        assert [type(x).__name__ for x in model.layers] == ["Dense", "Dense"]
        assert model.output_shape == (None, 2)
    record = graph(TWO, [["b", 0, 0]])["config"]
    assert keras.Model.from_config(record).output_shape == (None, 2)
    with pytest.raises(SerializationError, match="no model, but an object of type"):
        keras.models.model_from_json(
            '{"class_name": "L2", "config": {}, "module": "keras.regularizers"}'
        )


# ---- real files ----------------------------------------------------------------------------------

REAL = pathlib.Path(os.environ.get("LAMINA_TEST_DATA", ""), "models")
# Number of weights, and the optimizer that the file names.
FILES = {
    "12net.h5": (6632, None), "GAPError.h5": (251955, None),
    "LeakyReLU_0_model.h5": (544, "RMSprop"),
    "ThresholdReLU_0_model.h5": (544, "RMSprop"), "cnn_batch_norm.h5": (79, "Adam"),
    "cnn_tf_model.h5": (64, "Adadelta"), "convlstm2d_0.h5": (4672, None),
    "lstm_functional_tf_keras_2.h5": (461, "Adam"), "masking_two_lstm.h5": (9600, None),
    "misc_0.h5": (116, None), "mlp_60.h5": (30, None), "nadam.h5": (7114, "Nadam"),
    "simple_flatten_lstm_tf_keras_2_model.h5": (10451, "RMSprop"),
    "simple_lstm_tf_keras_1_model.h5": (10451, "RMSprop"),
    "simple_rnn_tf_keras_2_model.h5": (2651, "RMSprop"),
    "simple_sparse_xent_mlp_keras_2_model.h5": (15, "RMSprop"),
}  # fmt: skip


def stack(shape, *layers_, batch=None):
    return lambda: oracle.Sequential([oracle.Input(shape, batch_size=batch), *layers_])


def both_directions():
    """As tf.keras 2.1 understands a Bidirectional around a layer that goes backwards itself."""
    x = inputs = oracle.Input((3, 4, 10, 10))
    for i in range(2):
        both = [
            L.ConvLSTM2D(4, 3, padding="same", data_format="channels_first", go_backwards=backwards,
                         return_sequences=True, name=f"layer_{i}_{j}", **HARD)
            for j, backwards in enumerate((True, False))
        ]  # fmt: skip
        x = L.Concatenate(axis=-1)([both[0](x), oracle.ops.flip(both[1](x), 1)])
    return oracle.Model(inputs, x)


def gates(values):
    """The twelve arrays of an LSTM of Keras 1, joined."""
    return [*(np.concatenate([values[3 * i + k] for i in (0, 2, 1, 3)], -1) for k in range(3)),
            *values[12:]]  # fmt: skip


L = oracle.layers
HARD = {"recurrent_activation": "hard_sigmoid"}
# The same architecture in Keras 3; those that Keras opens itself are not here.
BY_HAND = {
    "LeakyReLU_0_model.h5": stack((16,), L.Dense(32), L.LeakyReLU(0.5)),
    "ThresholdReLU_0_model.h5": stack((16,), L.Dense(32), L.ReLU(threshold=0.7)),
    "cnn_batch_norm.h5": stack((10, 10, 3), L.Conv2D(1, 3), L.BatchNormalization(), L.ReLU(),
                               L.Conv2D(1, 3), L.Flatten(), L.Dense(1)),
    "cnn_tf_model.h5": stack((8, 8, 3), L.Conv2D(2, (3, 2), activation="sigmoid"),
                             L.Conv2D(1, (2, 3)), L.ReLU(), L.MaxPooling2D(5), L.Flatten(),
                             L.Dense(2), L.ReLU(), L.Dense(3, activation="softmax")),
    "convlstm2d_0.h5": both_directions,
    "lstm_functional_tf_keras_2.h5": stack((10, 4), L.LSTM(8, **HARD),
                                           L.Dense(5, activation="softmax")),
    "masking_two_lstm.h5": stack((10, 42), L.Masking(2.0), L.LSTM(32, **HARD)),
    "misc_0.h5": stack((5,), L.Embedding(10, 8), L.Dense(4)),
    "mlp_60.h5": stack((4,), L.Dense(6, activation="sigmoid")),
    "nadam.h5": stack((100,), L.Dense(64, activation="relu"), L.Dense(10, activation="softmax")),
    "simple_flatten_lstm_tf_keras_2_model.h5": stack((1, 1), L.LSTM(50, **HARD), L.Dense(1)),
    "simple_lstm_tf_keras_1_model.h5": stack((1, 1), L.LSTM(50, **HARD), L.Dense(1)),
    "simple_rnn_tf_keras_2_model.h5": stack((1, 1), L.SimpleRNN(50), L.Dense(1)),
    "simple_sparse_xent_mlp_keras_2_model.h5": stack((4,), L.Dense(3, activation="softmax")),
}  # fmt: skip


def stored_arrays(path):
    """The arrays in the order of the file."""
    with h5py.File(path) as h5:
        groups = [h5["model_weights"][n] for n in h5["model_weights"].attrs["layer_names"]]
        values = [np.asarray(g[n]) for g in groups for n in g.attrs["weight_names"]]
    return gates(values) if len(values) > 12 and "lstm" in path.name else values


@pytest.mark.skipif(not REAL.is_dir(), reason="LAMINA_TEST_DATA has no folder `models`")
@pytest.mark.filterwarnings("ignore:.*hard_sigmoid", "ignore:.*is reset")
@pytest.mark.parametrize("name", FILES)
def test_real_files(name):
    count, optimizer = FILES[name]
    model = load_model(REAL / name)
    assert model.count_params() == count
    assert (type(model.optimizer).__name__ if model.compiled else None) == optimizer
    if name in BY_HAND:
        theirs = BY_HAND[name]()
        values = iter(stored_arrays(REAL / name))
        for x in (
            sorted(theirs.layers, key=lambda x: x.name) if "convlstm" in name else theirs.layers
        ):
            x.set_weights([next(values) for _ in x.weights])
    else:
        theirs = oracle.saving.load_model(REAL / name, compile=False)
    shape = [model.inputs[0].shape[0] or 2, *(d or 12 for d in model.inputs[0].shape[1:])]
    x = np.random.default_rng(0).uniform(0, 3, shape).astype("float32")
    x = np.floor(x) if name.startswith("misc") else x
    found, wanted = (nested.flatten(m.predict(x, len(x), verbose=0)) for m in (model, theirs))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
