"""The table of what older versions of Keras wrote: an example of each row, which needs its row."""

import json

import numpy as np
import pytest

import lamina as keras
from lamina.core.declaration import DECLARATIONS
from lamina.errors import LaminaError, SerializationError
from lamina.saving import migration, upgrade
from lamina.serialization import registry

REFUSED = None


def key(row):
    return f"{row.classes.split()[0]}: {row.what}"


# For each row a config of the old version and that of today; the class stays, unless both are pairs
# of a class and a config. None: there is no counterpart.
EXAMPLES = {
    "Convolution1D: class": (("Convolution1D", {"nb_filter": 2, "filter_length": 3}),
                             ("Conv1D", {"filters": 2, "kernel_size": 3})),
    "Convolution2D: class": (("Convolution2D", {"nb_filter": 2, "nb_row": 3, "nb_col": 4}),
                             ("Conv2D", {"filters": 2, "kernel_size": [3, 4]})),
    "Convolution3D: class": (
        ("Convolution3D", {"nb_filter": 2, "kernel_dim1": 1, "kernel_dim2": 2, "kernel_dim3": 3}),
        ("Conv3D", {"filters": 2, "kernel_size": [1, 2, 3]})),
    "AtrousConvolution1D: class": (
        ("AtrousConvolution1D", {"nb_filter": 2, "filter_length": 3, "atrous_rate": 2}),
        ("Conv1D", {"filters": 2, "kernel_size": 3, "dilation_rate": 2})),
    "AtrousConvolution2D: class": (
        ("AtrousConvolution2D", {"nb_filter": 2, "nb_row": 3, "nb_col": 3, "atrous_rate": [2, 2]}),
        ("Conv2D", {"filters": 2, "kernel_size": [3, 3], "dilation_rate": [2, 2]})),
    "Deconvolution2D: class": (
        ("Deconvolution2D", {"nb_filter": 2, "nb_row": 3, "nb_col": 3}),
        ("Conv2DTranspose", {"filters": 2, "kernel_size": [3, 3]})),
    "Deconvolution3D: class": (
        ("Deconvolution3D", {"nb_filter": 2, "kernel_dim1": 3, "kernel_dim2": 3, "kernel_dim3": 3}),
        ("Conv3DTranspose", {"filters": 2, "kernel_size": [3, 3, 3]})),
    "SeparableConvolution2D: class": (
        ("SeparableConvolution2D", {"nb_filter": 2, "nb_row": 3, "nb_col": 3}),
        ("SeparableConv2D", {"filters": 2, "kernel_size": [3, 3]})),
    "TimeDistributedDense: class": (("TimeDistributedDense", {"output_dim": 2}),
                                    ("Dense", {"units": 2})),
    "Merge: modes": (("Merge", {"mode": "concat", "concat_axis": 1, "dot_axes": -1, "name": "m"}),
                     ("Concatenate", {"name": "m", "axis": 1})),
    "Highway: class": (("Highway", {"activation": "linear"}), REFUSED),
    "MaxoutDense: class": (("MaxoutDense", {"output_dim": 2}), REFUSED),
    "SReLU: class": (("SReLU", {}), REFUSED),
    "Conv2D: nb_row, nb_col": (("Convolution2D", {"nb_filter": 1, "nb_row": 2, "nb_col": 3}),
                               ("Conv2D", {"filters": 1, "kernel_size": [2, 3]})),
    "Conv3D: kernel_dim1, kernel_dim2, kernel_dim3": (
        ("Convolution3D", {"nb_filter": 1, "kernel_dim1": 1, "kernel_dim2": 2, "kernel_dim3": 3}),
        ("Conv3D", {"filters": 1, "kernel_size": [1, 2, 3]})),
    "Conv1D: filter_length, subsample_length": (
        ("Convolution1D", {"nb_filter": 1, "filter_length": 3, "subsample_length": 2}),
        ("Conv1D", {"filters": 1, "kernel_size": 3, "strides": 2})),
    "Conv1D: nb_filter, subsample, atrous_rate": (
        ("Convolution2D", {"nb_filter": 2, "nb_row": 1, "nb_col": 1, "subsample": [2, 2]}),
        ("Conv2D", {"filters": 2, "kernel_size": [1, 1], "strides": [2, 2]})),
    "Conv1D: border_mode": (("MaxPooling2D", {"border_mode": "same"}),
                            ("MaxPooling2D", {"padding": "same"})),
    "Conv2DTranspose: output_shape": (
        ("Deconvolution2D", {"nb_filter": 1, "nb_row": 2, "nb_col": 2, "output_shape": [9, 9, 9]}),
        ("Conv2DTranspose", {"filters": 1, "kernel_size": [2, 2]})),
    "Conv1D: dim_ordering": (("UpSampling2D", {"dim_ordering": "channels_last"}),
                             ("UpSampling2D", {"data_format": "channels_last"})),
    "Conv1D: dim_ordering of 'th', 'tf'": (("ZeroPadding2D", {"dim_ordering": "th"}),
                                           ("ZeroPadding2D", {"data_format": "channels_first"})),
    "MaxPooling1D: pool_length, stride": (("MaxPooling1D", {"pool_length": 3, "stride": 2}),
                                          ("MaxPooling1D", {"pool_size": 3, "strides": 2})),
    "UpSampling1D: length": (("UpSampling1D", {"length": 3}), ("UpSampling1D", {"size": 3})),
    "ZeroPadding2D: padding of four sides": (
        ("ZeroPadding2D", {"padding": [1, 2, 3, 4]}),
        ("ZeroPadding2D", {"padding": [[1, 2], [3, 4]]})),
    "Dense: output_dim": (("Dense", {"output_dim": 2}), ("Dense", {"units": 2})),
    "LSTM: output_dim, inner_init, inner_activation, dropout_W, dropout_U": (
        ("LSTM", {"output_dim": 2, "inner_init": "orthogonal", "inner_activation": "sigmoid",
                  "dropout_W": 0.1, "dropout_U": 0.2, "U_regularizer": None}),
        ("LSTM", {"units": 2, "recurrent_initializer": "orthogonal",
                  "recurrent_activation": "sigmoid", "dropout": 0.1, "recurrent_dropout": 0.2,
                  "recurrent_regularizer": None})),
    "ConvLSTM2D: inner_init, inner_activation, dropout_W, dropout_U": (
        ("ConvLSTM2D", {"nb_filter": 1, "nb_row": 2, "nb_col": 2, "inner_activation": "sigmoid",
                        "dropout_W": 0.1}),
        ("ConvLSTM2D", {"filters": 1, "kernel_size": [2, 2], "recurrent_activation": "sigmoid",
                        "dropout": 0.1})),
    "LSTM: forget_bias_init": (("LSTM", {"output_dim": 1, "forget_bias_init": "one"}),
                               ("LSTM", {"units": 1, "unit_forget_bias": True})),
    "LSTM: consume_less": (("LSTM", {"output_dim": 1, "consume_less": "gpu"}),
                           ("LSTM", {"units": 1})),
    "Dense: init, W_regularizer, b_regularizer, W_constraint, b_constraint, bias": (
        ("Dense", {"output_dim": 1, "init": "he_normal", "bias": False, "W_constraint": None,
                   "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.5}}),
        ("Dense", {"units": 1, "kernel_initializer": "he_normal", "use_bias": False,
                   "kernel_constraint": None, "kernel_regularizer": {
                       "module": "keras.regularizers", "class_name": "L1L2",
                       "config": {"l1": 0.0, "l2": 0.5}, "registered_name": None}})),
    "SeparableConv2D: depthwise_init, pointwise_init": (
        ("SeparableConvolution2D", {"nb_filter": 1, "nb_row": 2, "nb_col": 2,
                                    "depthwise_init": "he_normal"}),
        ("SeparableConv2D", {"filters": 1, "kernel_size": [2, 2],
                             "depthwise_initializer": "he_normal"})),
    "Dense: input_dim, input_length": (("Dense", {"output_dim": 1, "input_dim": 784}),
                                       ("Dense", {"units": 1})),
    "Embedding: init, W_regularizer, W_constraint": (
        ("Embedding", {"input_dim": 3, "output_dim": 2, "init": "uniform"}),
        ("Embedding", {"input_dim": 3, "output_dim": 2, "embeddings_initializer": {
            "class_name": "RandomUniform", "config": {"minval": -0.05, "maxval": 0.05}}})),
    "Embedding: dropout": (("Embedding", {"input_dim": 3, "output_dim": 2, "dropout": 0.0}),
                           ("Embedding", {"input_dim": 3, "output_dim": 2})),
    "BatchNormalization: mode": (("BatchNormalization", {"mode": 0}), ("BatchNormalization", {})),
    "BatchNormalization: beta_init, gamma_init": (
        ("BatchNormalization", {"beta_init": "zero", "gamma_init": "one"}),
        ("BatchNormalization", {"beta_initializer": "zeros", "gamma_initializer": "ones"})),
    "PReLU: init, weights": (("PReLU", {"init": "zero"}),
                             ("PReLU", {"alpha_initializer": "zeros"})),
    "Dropout: p": (("Dropout", {"p": 0.5}), ("Dropout", {"rate": 0.5})),
    "GaussianNoise: sigma": (("GaussianNoise", {"sigma": 0.5}), ("GaussianNoise", {"stddev": 0.5})),
    "MaxNorm: m": (
        ("Dense", {"output_dim": 1, "W_constraint": {"name": "MaxNorm", "m": 2, "axis": 0}}),
        ("Dense", {"units": 1, "kernel_constraint": {
            "module": "keras.constraints", "class_name": "MaxNorm",
            "config": {"axis": 0, "max_value": 2}, "registered_name": None}})),
    "WeightRegularizer: class": (
        ("Dense", {"output_dim": 1, "b_regularizer": {"name": "L1L2Regularizer", "l1": 0.5,
                                                      "l2": 0.0}}),
        ("Dense", {"units": 1, "bias_regularizer": {
            "module": "keras.regularizers", "class_name": "L1L2",
            "config": {"l1": 0.5, "l2": 0.0}, "registered_name": None}})),
    "BatchNormalizationV1: class": (("BatchNormalizationV1", {"axis": -1}),
                                    ("BatchNormalization", {"axis": -1})),
    "SyncBatchNormalization: class": (("SyncBatchNormalization", {"axis": -1}),
                                      ("BatchNormalization", {"axis": -1, "synchronized": True})),
    "CuDNNLSTM: class": (("CuDNNLSTM", {"units": 2}),
                         ("LSTM", {"units": 2, "recurrent_activation": "sigmoid"})),
    "CuDNNGRU: class": (("CuDNNGRU", {"units": 2}),
                        ("GRU", {"units": 2, "recurrent_activation": "sigmoid",
                                 "reset_after": True})),
    "ThresholdedReLU: class": (("ThresholdedReLU", {"theta": 0.5}), ("ReLU", {"threshold": 0.5})),
    "ReLU: theta": (("ThresholdedReLU", {"theta": 1.0}), ("ReLU", {"threshold": 1.0})),
    "LocallyConnected1D: class": (("LocallyConnected1D", {"filters": 2}), REFUSED),
    "DenseFeatures: class": (("DenseFeatures", {}), REFUSED),
    "InputLayer: batch_input_shape": (("InputLayer", {"batch_input_shape": [None, 3]}),
                                      ("InputLayer", {"batch_shape": [None, 3]})),
    "InputLayer: input_dtype": (
        ("InputLayer", {"batch_input_shape": [None, 3], "input_dtype": "int32"}),
        ("InputLayer", {"batch_shape": [None, 3], "dtype": "int32"})),
    "InputLayer: sparse, ragged, type_spec": (
        ("InputLayer", {"batch_input_shape": [None, 3], "sparse": False, "ragged": False}),
        ("InputLayer", {"batch_shape": [None, 3]})),
    "*: input_dtype": (("Flatten", {"input_dtype": "float32", "batch_input_shape": [None, 2, 2]}),
                       ("Flatten", {})),
    "LeakyReLU: alpha": (("LeakyReLU", {"alpha": 0.25}), ("LeakyReLU", {"negative_slope": 0.25})),
    "GRU: no reset_after": (("GRU", {"units": 2}), ("GRU", {"units": 2, "reset_after": False})),
    "LSTM: implementation, time_major": (
        ("LSTM", {"units": 2, "implementation": 2, "time_major": False}), ("LSTM", {"units": 2})),
    "Bidirectional: a layer that goes backwards": (
        ("Bidirectional", {"layer": {"class_name": "LSTM", "config": {
            "units": 2, "name": "x", "go_backwards": True}}}),
        ("Bidirectional", {
            "layer": {"module": "keras.layers", "class_name": "LSTM", "registered_name": None,
                      "config": {"units": 2, "name": "x", "go_backwards": True}},
            "backward_layer": {
                "module": "keras.layers", "class_name": "LSTM", "registered_name": None,
                "config": {"units": 2, "name": "backward_x", "go_backwards": False}}})),
    "Embedding: input_length, sparse": (
        ("Embedding", {"input_dim": 3, "output_dim": 2, "input_length": 7}),
        ("Embedding", {"input_dim": 3, "output_dim": 2})),
    "BatchNormalization: axis in a list": (("BatchNormalization", {"axis": [3]}),
                                           ("BatchNormalization", {"axis": 3})),
    "BatchNormalization: renorm, fused, virtual_batch_size": (
        ("BatchNormalization", {"renorm": False, "fused": True, "virtual_batch_size": None}),
        ("BatchNormalization", {})),
    "DepthwiseConv1D: groups": (("DepthwiseConv2D", {"kernel_size": [3, 3], "groups": 1}),
                                ("DepthwiseConv2D", {"kernel_size": [3, 3]})),
    "DepthwiseConv1D: filters": (("DepthwiseConv2D", {"kernel_size": [3, 3], "filters": None}),
                                 ("DepthwiseConv2D", {"kernel_size": [3, 3]})),
    "SeparableConv1D: kernel_initializer, kernel_regularizer, kernel_constraint": (
        ("SeparableConv2D", {"filters": 1, "kernel_size": [3, 3], "kernel_constraint": None,
                             "kernel_initializer": "zeros"}),
        ("SeparableConv2D", {"filters": 1, "kernel_size": [3, 3]})),
    "MultiHeadAttention: query_shape, key_shape, value_shape": (
        ("MultiHeadAttention", {"num_heads": 1, "key_dim": 2, "query_shape": [None, 2, 2]}),
        ("MultiHeadAttention", {"num_heads": 1, "key_dim": 2})),
    "Lambda: module, function_type, output_shape_type": (
        ("Lambda", {"function": "relu", "output_shape_type": "raw"}),
        ("Lambda", {"function": {"module": "builtins", "class_name": "function", "config": "relu",
                                 "registered_name": "relu"}})),
    "Lambda: module, function_type": (
        ("Lambda", {"function": "relu", "function_type": "function", "module": "m"}),
        ("Lambda", {"function": {"module": "builtins", "class_name": "function", "config": "relu",
                                 "registered_name": "relu"}})),
    "Masking: input_dim, input_length": (("Masking", {"mask_value": 0.0, "input_dim": 3}),
                                         ("Masking", {"mask_value": 0.0})),
    "GroupedQueryAttention: class": (
        ("GroupedQueryAttention", {"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1}),
        ("GroupQueryAttention", {"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1})),
    "GlorotUniform: dtype": (
        ("Dense", {"units": 1, "bias_initializer": {"class_name": "Zeros",
                                                    "config": {"dtype": "float32"}}}),
        ("Dense", {"units": 1, "bias_initializer": {
            "module": "keras.initializers", "class_name": "Zeros", "config": {},
            "registered_name": None}})),
    "VarianceScaling: distribution='normal'": (
        ("Dense", {"units": 1, "kernel_initializer": {
            "class_name": "VarianceScaling", "config": {"distribution": "normal"}}}),
        ("Dense", {"units": 1, "kernel_initializer": {
            "module": "keras.initializers", "class_name": "VarianceScaling",
            "config": {"distribution": "truncated_normal"}, "registered_name": None}})),
}  # fmt: skip
# Those of optimizers and metrics: the family, and both as above.
COMPILED = {
    "Custom>SGD: class": ("optimizers", ("Custom>Adam", {"beta_1": 0.5}),
                          ("Adam", {"beta_1": 0.5})),
    "SGD: lr": ("optimizers", ("SGD", {"lr": 0.5}), ("SGD", {"learning_rate": 0.5})),
    "SGD: decay": ("optimizers", ("Adam", {"lr": 0.5, "decay": 0.25}), ("Adam", {
        "learning_rate": {"module": "keras.optimizers.schedules",
                          "class_name": "InverseTimeDecay", "config": {
                              "initial_learning_rate": 0.5, "decay_steps": 1,
                              "decay_rate": 0.25}}})),
    "Nadam: schedule_decay": ("optimizers", ("Nadam", {"schedule_decay": 0.004}), ("Nadam", {})),
    "SGD: jit_compile, is_legacy_optimizer, use_locking": (
        "optimizers", ("SGD", {"jit_compile": False, "is_legacy_optimizer": True}), ("SGD", {})),
    "LossScaleOptimizer: dynamic": (
        "optimizers", ("LossScaleOptimizer", {
            "dynamic": True, "inner_optimizer": {"class_name": "SGD", "config": {"lr": 0.5}}}),
        ("LossScaleOptimizer", {"inner_optimizer": {
            "module": "keras.optimizers", "class_name": "SGD", "config": {"learning_rate": 0.5},
            "registered_name": None}})),
    "MeanMetricWrapper: fn": (
        "metrics", ("MeanMetricWrapper", {"fn": {"class_name": "function", "config": "poisson"}}),
        ("MeanMetricWrapper", {"fn": "poisson"})),
}  # fmt: skip


def upgraded(family, name, config):
    record = {"class_name": name, "config": config}
    if family == "layers":
        return upgrade.upgrade(record)[0]
    setting = "optimizer" if family == "optimizers" else "metrics"
    return upgrade.upgrade_training({setting: record}, None, None)[setting]


def without(row, monkeypatch):
    rest = tuple(r for r in migration.CONFIGS if r is not row)
    monkeypatch.setattr(upgrade, "CONFIGS", rest)


ROWS = {key(row): row for row in migration.CONFIGS}
# Those with tests of their own.
ALONE = {"*: hard_sigmoid", "ZeroPadding2D: no dim_ordering"}


def test_each_row_has_an_example():
    assert len(ROWS) == len(migration.CONFIGS)
    assert set(ROWS) == {*EXAMPLES, *COMPILED, *ALONE}
    assert all(row.source for row in migration.CONFIGS)


@pytest.mark.parametrize("what", [*EXAMPLES, *COMPILED])
def test_a_row(what, monkeypatch):
    family, old, new = COMPILED.get(what) or ("layers", *EXAMPLES[what])
    if new is REFUSED:
        with pytest.raises(SerializationError, match=rf"{old[0]}.*\n.*custom_objects"):
            upgraded(family, *old)
    else:
        made = upgraded(family, *old)
        assert (made["class_name"], made["config"]) == new
        assert made["module"] == f"keras.{family}"
        keras.saving.deserialize_keras_object(made)
    without(ROWS[what], monkeypatch)
    if new is REFUSED:
        assert upgraded(family, *old)["class_name"] == old[0]
    else:
        made = upgraded(family, *old)
        assert (made["class_name"], made["config"]) != new


FAMILIES = {"layers": keras.layers, "optimizers": keras.optimizers, "metrics": keras.metrics}


# A config that is one of today's too is read as that.
READ_AS_TODAY = {"GRU: no reset_after"}


@pytest.mark.filterwarnings("ignore:.*has no effect")
@pytest.mark.parametrize("what", [x for x in (*EXAMPLES, *COMPILED) if x not in READ_AS_TODAY])
def test_records_without_a_version(what):
    """What `inspect` says of an old class, `deserialize` of its record, `from_config` of both."""
    family, (name, config), new = COMPILED.get(what) or ("layers", *EXAMPLES[what])
    record = {"class_name": name, "config": config}
    known = migration.has_counterpart(record, None)
    assert known == (new is not REFUSED)
    if new is REFUSED:
        with pytest.raises(SerializationError):
            FAMILIES[family].deserialize(record)
        return
    expected = registry.serialize(registry.deserialize(upgraded(family, name, config)))
    made = FAMILIES[family].deserialize(record)
    own = [made]
    if name == expected["class_name"]:
        own.append(type(made).from_config(config))
    for x in own:
        found = registry.serialize(x)
        assert found["class_name"] == expected["class_name"]
        differing = {k for k, v in expected["config"].items() if found["config"][k] != v}
        assert differing <= {"name", "layer", "backward_layer"}  # automatic names are numbered


def test_a_name_that_was_misspelled_is_not_an_old_one():
    for config in ({"unit": 3}, {"units": 3, "init_": "zero"}, {"units": -1, "output_dim": 3}):
        with pytest.raises(LaminaError):
            keras.layers.Dense.from_config(config)


def test_rows_of_keras_1_leave_later_files_alone():
    record = {"class_name": "Dense", "config": {"units": 1, "output_dim": 3}}
    assert upgrade.upgrade(record, "2.0.0")[0]["config"] == record["config"]
    assert upgrade.upgrade(record, "1.2.2")[0]["config"] == {"units": 1}


def test_layers_that_did_not_write_the_order_of_axes(monkeypatch):
    record = {"class_name": "Sequential", "config": [
        {"class_name": "MaxPooling2D", "config": {
            "name": "a", "dim_ordering": "th", "batch_input_shape": [None, 2, 4, 4]}},
        {"class_name": "ZeroPadding2D", "config": {"name": "b", "padding": [1, 1]}},
    ]}  # fmt: skip
    text = json.dumps(record)
    assert keras.models.model_from_json(text).output_shape == (None, 2, 4, 4)
    without(ROWS["ZeroPadding2D: no dim_ordering"], monkeypatch)
    assert keras.models.model_from_json(text).output_shape == (None, 4, 4, 2)


def test_a_function_whose_formula_changed_is_told():
    record = {"class_name": "LSTM", "config": {"name": "memory", "units": 1,
                                               "recurrent_activation": "hard_sigmoid"}}  # fmt: skip
    _, notes = upgrade.upgrade(record, "2.2.4")
    assert len(notes) == 1
    assert "'memory'" in notes[0]
    assert "0.2 x + 0.5" in notes[0]
    assert upgrade.upgrade(record, "3.0.0")[1] == []


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("BatchNormalization", {"mode": 1}), ("BatchNormalization", {"renorm": True}),
        ("Embedding", {"dropout": 0.5}), ("Merge", {"mode": "cos"}),
        ("LSTM", {"units": 1, "time_major": True}), ("InputLayer", {"ragged": True}),
        ("DepthwiseConv2D", {"groups": 2}),
    ],
)  # fmt: skip
def test_what_nothing_computes_today_is_refused(name, config):
    with pytest.raises(SerializationError, match=r"counterpart|no layer of today"):
        upgrade.upgrade({"class_name": name, "config": {"name": "x", **config}})


@pytest.mark.parametrize("damaged", [
    {"class_name": "Model", "config": {"layers": [3], "input_layers": [], "output_layers": []}},
    {"class_name": "Dense", "config": 3}, {"class_name": "Sequential", "config": [[]]},
    {"class_name": "Dense"}, {"class_name": "Sequential", "config": {"layers": [{}]}},
    {"class_name": "Model", "config": {"layers": [
        {"name": "a", "class_name": "Dense", "config": {"units": 1}, "inbound_nodes": [[[[]]]]}],
        "input_layers": [], "output_layers": []}},
])  # fmt: skip
def test_damaged_configs(damaged):
    with pytest.raises(SerializationError):
        keras.models.model_from_json(json.dumps(damaged))


# ---- functions of TensorFlow ---------------------------------------------------------------------


def test_each_function_names_an_op_and_its_parameters():
    for function, row in migration.OPS.items():
        assert row.op in DECLARATIONS, function
        parameters = DECLARATIONS[row.op].signature.parameters
        wanted = {p for p in (*row.arguments.values(), *row.defaults) if p}
        assert wanted <= set(parameters), (function, set(parameters))


def in_graph(function, calls, class_name="TFOpLambda"):
    """A graph of tf.keras that calls one function of its input."""
    layers = [
        {"class_name": "InputLayer", "name": "x", "inbound_nodes": [], "config": {
            "batch_input_shape": [None, 3], "dtype": "float32", "sparse": False, "name": "x"}},
        {"class_name": class_name, "name": f"tf.{function}", "inbound_nodes": calls, "config": {
            "name": f"tf.{function}", "trainable": True, "dtype": "float32",
            "function": function}},
    ]  # fmt: skip
    config = {"name": "m", "layers": layers, "input_layers": [["x", 0, 0]],
              "output_layers": [[f"tf.{function}", 0, 0]]}  # fmt: skip
    return {"class_name": "Functional", "keras_version": "2.9.0", "config": config}


X = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]], "float32")


@pytest.mark.parametrize(
    ("function", "calls", "expected"),
    [
        ("math.multiply", [["x", 0, 0, {"y": 2.0, "name": None}]], X * 2),
        ("math.multiply", [["x", 0, 0, {"y": [[1.0, 2.0, 3.0]], "name": None}]], X * [[1, 2, 3]]),
        ("math.subtract", [["_CONSTANT_VALUE", -1, 1.0, {"y": ["x", 0, 0], "name": None}]], 1 - X),
        ("__operators__.add", [["x", 0, 0, {"y": ["x", 0, 0], "name": None}]], X + X),
        ("concat", [[["x", 0, 0, {"axis": -1}], ["x", 0, 0, {"axis": -1}]]], np.tile(X, (1, 2))),
        ("math.reduce_mean", [["x", 0, 0, {"axis": [1], "keepdims": True}]],
         X.mean(1, keepdims=True)),
        ("nn.relu", [["x", 0, 0, {"name": None}]], np.maximum(X, 0)),
        ("nn.leaky_relu", [["x", 0, 0, {"alpha": 0.5}]], np.where(X > 0, X, X / 2)),
        ("expand_dims", [["x", 0, 0, {"axis": 1}]], X[:, None]),
        ("reshape", [["x", 0, 0, {"shape": [-1, 3, 1]}]], X[..., None]),
        ("clip_by_value", [["x", 0, 0, {"clip_value_min": 0, "clip_value_max": 2}]],
         np.clip(X, 0, 2)),
        ("cast", [["x", 0, 0, {"dtype": "int32"}]], X.astype("int32")),
        ("linalg.matmul", [["x", 0, 0, {"b": [[1.0], [2.0], [3.0]], "transpose_a": False}]],
         X @ [[1], [2], [3]]),
    ],
)  # fmt: skip
def test_functions_become_ops(function, calls, expected):
    model = keras.models.model_from_json(json.dumps(in_graph(function, calls)))
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-6)
    again = keras.models.model_from_json(model.to_json())
    np.testing.assert_allclose(again.predict(X, verbose=0), expected, rtol=1e-6)
