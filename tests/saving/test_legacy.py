"""Whole models in HDF5: of Keras 1 and 2 in their dialects, of Keras 3, and our own."""

import json

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
    """Files of Keras 1 do not name the backend; TensorFlow ends the names of variables with `:0`."""
    record = sequential(("Convolution2D", {"name": "c", **FIRST}))
    stored = [KERNEL_2D.transpose(3, 2, 0, 1), BIAS]
    models = [
        loaded(tmp_path, "1.2.2", record, {"c": {f"c_{i}{end}": a for i, a in enumerate(stored)}})
        for end in (":0", "")
    ]
    assert np.array_equal(models[0].get_weights()[0], models[1].get_weights()[0][::-1, ::-1])
