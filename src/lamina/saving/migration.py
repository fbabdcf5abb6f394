"""What older versions of Keras wrote, and what becomes of it: the one table, by version.

A row of :data:`CONFIGS` changes the config of a class, a row of :data:`ARRAYS` the arrays of a
layer, a row of :data:`OPS` a function of TensorFlow in a graph. A row applies to files of versions
below ``before``, and only if they have what the row is about; in a file that names no version,
every row applies. Rows are applied from top to bottom, so a row names the classes as the rows above
it renamed them. :mod:`lamina.saving.upgrade` walks the config and applies the rows.

Sources: "1.2.2" and so on name the release of Keras whose ``get_config`` methods write the old
form; ``legacy/interfaces.py`` and ``load_weights`` of Keras 2.3.1 list what became of the arguments
and arrays of Keras 1; "tf 2.4" names the release of TensorFlow whose tf.keras writes the form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina.saving.changes import (
    Change,
    Old,
    accuracy_by_name,
    became,
    decay,
    default,
    dropped,
    first,
    flat_list,
    flipped,
    forget_bias,
    from_cudnn,
    hard_sigmoid,
    is_first,
    joined,
    kernel_1d,
    merge,
    named_function,
    normalization_mode,
    ordering_of_others,
    other_direction,
    padding_of_sides,
    refused,
    renamed,
    sizes,
    transformed,
    transposed_kernel,
    unpackaged,
    value,
)
from lamina.serialization import registry

# Records of functions of TensorFlow, and of dtype policies.
FUNCTIONS, POLICIES = ("TFOpLambda", "SlicingOpLambda"), ("Policy", "PolicyV1")
_FAMILIES = ("layers", "models", "initializers", "regularizers", "constraints", "losses", "metrics",
             "optimizers", "optimizers.schedules")  # fmt: skip


class Row(NamedTuple):
    """A change of configs.

    Attributes:
        before: The first version that does not write this.
        classes: Names of classes, separated by spaces; ``*`` for all layers.
        what: What the file has, in a few words.
        change: What becomes of it.
        source: Where the old form is defined.
    """

    before: str
    classes: str
    what: str
    change: Change
    source: str

    def applies(self, name: str, version: tuple[int, ...] | None) -> bool:
        """Whether the row is about class ``name`` in a file of ``version``."""
        named = self.classes == "*" or name in self.classes.split()
        return named and is_before(version, self.before)


class ArrayRow(NamedTuple):
    """A change of the arrays of one layer.

    Attributes:
        before, classes, what, source: As in :class:`Row`.
        applies: Whether the arrays, the config of the layer and the backend are of the old form.
        change: From the arrays and the config to the arrays of today.
    """

    before: str
    classes: str
    what: str
    applies: Callable[[Sequence[tuple[int, ...]], Mapping[str, Any], str], bool]
    change: Callable[[list[np.ndarray], Mapping[str, Any]], list[np.ndarray]]
    source: str


def version_of(text: Any) -> tuple[int, ...] | None:
    """The numbers of a version, or None for a text without numbers.

    >>> version_of("2.2.4-tf"), version_of(None)
    ((2, 2, 4), None)
    """
    numbers: list[int] = []
    for part in str(text).partition("-")[0].split("."):
        if not part.isdigit() or len(part) > 6:
            break
        numbers.append(int(part))
    return tuple(numbers) or None


def is_before(version: tuple[int, ...] | None, bound: str) -> bool:
    """Whether ``version``, which may be unknown, is below ``bound``."""
    return version is None or version < (version_of(bound) or ())


# ---- the table of configs ------------------------------------------------------------------------

_CONVOLUTIONS = (
    "Conv1D Conv2D Conv3D Conv2DTranspose Conv3DTranspose SeparableConv1D SeparableConv2D "
    "DepthwiseConv1D DepthwiseConv2D Conv1DTranspose"
)
_RECURRENT = "LSTM GRU SimpleRNN"
_CELLS = "LSTMCell GRUCell SimpleRNNCell"
_SPATIAL = (
    f"{_CONVOLUTIONS} ConvLSTM2D MaxPooling2D MaxPooling3D AveragePooling2D AveragePooling3D "
    "GlobalMaxPooling2D GlobalAveragePooling2D GlobalMaxPooling3D GlobalAveragePooling3D "
    "UpSampling2D UpSampling3D ZeroPadding2D ZeroPadding3D Cropping2D Cropping3D SpatialDropout2D "
    "SpatialDropout3D"
)
_WITH_WEIGHTS = f"Dense {_CONVOLUTIONS} ConvLSTM2D {_RECURRENT}"
_OPTIMIZERS = "SGD RMSprop Adam Adamax Nadam Adagrad Adadelta Ftrl AdamW Adafactor Lion"
_INTERFACES = "legacy/interfaces.py"

CONFIGS: tuple[Row, ...] = (
    # Classes of Keras 1.
    Row("2", "Convolution1D", "class", became("Conv1D"), _INTERFACES),
    Row("2", "Convolution2D", "class", became("Conv2D"), _INTERFACES),
    Row("2", "Convolution3D", "class", became("Conv3D"), _INTERFACES),
    Row("2", "AtrousConvolution1D", "class", became("Conv1D"), _INTERFACES),
    Row("2", "AtrousConvolution2D", "class", became("Conv2D"), _INTERFACES),
    Row("2", "Deconvolution2D", "class", became("Conv2DTranspose"), _INTERFACES),
    Row("2", "Deconvolution3D", "class", became("Conv3DTranspose"), _INTERFACES),
    Row("2", "SeparableConvolution2D", "class", became("SeparableConv2D"), _INTERFACES),
    Row("2", "TimeDistributedDense", "class", became("Dense"), "1.1.2 layers/core.py"),
    Row("3", "Merge", "modes", merge, "1.2.2 engine/topology.py"),
    Row("2", "Highway", "class", refused("was removed in Keras 2."), "1.2.2 layers/core.py"),
    Row("2", "MaxoutDense", "class", refused("was removed in Keras 2."), "1.2.2 layers/core.py"),
    Row("2", "SReLU ParametricSoftplus", "class", refused("was removed in Keras 2."),
        "1.2.2 layers/advanced_activations.py"),
    # Arguments of Keras 1.
    Row("2", "Conv2D Conv2DTranspose SeparableConv2D ConvLSTM2D", "nb_row, nb_col",
        sizes("kernel_size", "nb_row", "nb_col"), _INTERFACES),
    Row("2", "Conv3D Conv3DTranspose", "kernel_dim1, kernel_dim2, kernel_dim3",
        sizes("kernel_size", "kernel_dim1", "kernel_dim2", "kernel_dim3"), _INTERFACES),
    Row("2", "Conv1D", "filter_length, subsample_length",
        renamed(filter_length="kernel_size", subsample_length="strides"), _INTERFACES),
    Row("2", f"{_CONVOLUTIONS} ConvLSTM2D", "nb_filter, subsample, atrous_rate",
        renamed(nb_filter="filters", subsample="strides", atrous_rate="dilation_rate"),
        _INTERFACES),
    Row("2", f"{_CONVOLUTIONS} ConvLSTM2D MaxPooling1D AveragePooling1D MaxPooling2D "
        "AveragePooling2D MaxPooling3D AveragePooling3D", "border_mode",
        renamed(border_mode="padding"), _INTERFACES),
    Row("2", "Conv2DTranspose Conv3DTranspose", "output_shape", transformed,
        "1.2.2 layers/convolutional.py"),
    Row("2", "ZeroPadding2D ZeroPadding3D Cropping2D Cropping3D UpSampling2D UpSampling3D",
        "no dim_ordering", ordering_of_others, "1.2.2 layers/convolutional.py"),
    Row("2", _SPATIAL, "dim_ordering", renamed(dim_ordering="data_format"), _INTERFACES),
    Row("2", _SPATIAL, "dim_ordering of 'th', 'tf'",
        value("data_format", become={"th": "channels_first", "tf": "channels_last",
                                      "default": None}), _INTERFACES),
    Row("2", "MaxPooling1D AveragePooling1D", "pool_length, stride",
        renamed(pool_length="pool_size", stride="strides"), _INTERFACES),
    Row("2", "UpSampling1D", "length", renamed(length="size"), _INTERFACES),
    Row("2", "ZeroPadding2D", "padding of four sides", padding_of_sides,
        "1.2.2 layers/convolutional.py"),
    Row("2", "Dense", "output_dim", renamed(output_dim="units"), _INTERFACES),
    Row("2", _RECURRENT, "output_dim, inner_init, inner_activation, dropout_W, dropout_U",
        renamed(output_dim="units", inner_init="recurrent_initializer",
                 inner_activation="recurrent_activation", dropout_W="dropout",
                 dropout_U="recurrent_dropout", U_regularizer="recurrent_regularizer"),
        _INTERFACES),
    Row("2", "ConvLSTM2D", "inner_init, inner_activation, dropout_W, dropout_U",
        renamed(inner_init="recurrent_initializer", inner_activation="recurrent_activation",
                 dropout_W="dropout", dropout_U="recurrent_dropout",
                 U_regularizer="recurrent_regularizer"), _INTERFACES),
    Row("2", "LSTM ConvLSTM2D", "forget_bias_init", forget_bias, _INTERFACES),
    Row("2", f"{_RECURRENT} ConvLSTM2D", "consume_less", dropped(consume_less=...), _INTERFACES),
    Row("2", _WITH_WEIGHTS, "init, W_regularizer, b_regularizer, W_constraint, b_constraint, bias",
        renamed(init="kernel_initializer", W_regularizer="kernel_regularizer",
                 b_regularizer="bias_regularizer", W_constraint="kernel_constraint",
                 b_constraint="bias_constraint", bias="use_bias"), _INTERFACES),
    Row("2", "SeparableConv2D", "depthwise_init, pointwise_init",
        renamed(depthwise_init="depthwise_initializer",
                 pointwise_init="pointwise_initializer"), "1.2.2 layers/convolutional.py"),
    Row("2", _WITH_WEIGHTS, "input_dim, input_length", dropped(input_dim=..., input_length=...),
        "1.2.2 layers/core.py"),
    Row("2", "Embedding", "init, W_regularizer, W_constraint",
        renamed(init="embeddings_initializer", W_regularizer="embeddings_regularizer",
                 W_constraint="embeddings_constraint"), _INTERFACES),
    Row("2", "Embedding", "dropout", dropped(dropout=(0, None)), "1.2.2 layers/embeddings.py"),
    Row("2", "BatchNormalization", "mode", normalization_mode, "1.2.2 layers/normalization.py"),
    Row("2", "BatchNormalization", "beta_init, gamma_init",
        renamed(beta_init="beta_initializer", gamma_init="gamma_initializer"), _INTERFACES),
    Row("2", "PReLU", "init, weights", renamed(init="alpha_initializer"), _INTERFACES),
    Row("2", "Dropout GaussianDropout SpatialDropout1D SpatialDropout2D SpatialDropout3D", "p",
        renamed(p="rate"), _INTERFACES),
    Row("2", "GaussianNoise", "sigma", renamed(sigma="stddev"), _INTERFACES),
    Row("2", "MaxNorm", "m", renamed(m="max_value"), _INTERFACES),
    Row("2", "WeightRegularizer ActivityRegularizer L1L2Regularizer", "class", became("L1L2"),
        "1.2.2 regularizers.py"),
    # Classes of Keras 2 and tf.keras.
    Row("3", "BatchNormalizationV1 BatchNormalizationV2", "class", became("BatchNormalization"),
        "tf 1.14 layers/normalization.py"),
    Row("3", "SyncBatchNormalization", "class", became("BatchNormalization", synchronized=True),
        "tf 2.2 layers/normalization"),
    Row("3", "CuDNNLSTM", "class", became("LSTM", recurrent_activation="sigmoid"),
        "2.3.1 layers/cudnn_recurrent.py"),
    Row("3", "CuDNNGRU", "class",
        became("GRU", recurrent_activation="sigmoid", reset_after=True),
        "2.3.1 layers/cudnn_recurrent.py"),
    Row("3", "ThresholdedReLU", "class", became("ReLU"), "2.3.1 layers/advanced_activations.py"),
    Row("3", "ReLU", "theta", renamed(theta="threshold"), "2.3.1 layers/advanced_activations.py"),
    Row("3", "LocallyConnected1D LocallyConnected2D", "class", refused("was removed in Keras 3."),
        "2.3.1 layers/local.py"),
    Row("3", "DenseFeatures SequenceFeatures RandomFourierFeatures", "class",
        refused("is a class of TensorFlow only."), "tf 2.1 feature_column"),
    # Arguments of Keras 2 and tf.keras.
    Row("3", "InputLayer", "batch_input_shape", renamed(batch_input_shape="batch_shape"),
        "2.3.1 engine/input_layer.py"),
    Row("3", "InputLayer", "input_dtype", renamed(input_dtype="dtype"),
        "1.2.2 engine/topology.py"),
    Row("3", "InputLayer", "sparse, ragged, type_spec",
        dropped(sparse=(False, None), ragged=(False, None), type_spec=(None,)),
        "tf 2.4 engine/input_layer.py"),
    Row("3", "*", "input_dtype", dropped(input_dtype=...), "1.2.2 engine/topology.py"),
    Row("3", "LeakyReLU", "alpha", renamed(alpha="negative_slope"),
        "2.3.1 layers/advanced_activations.py"),
    Row("3", "*", "hard_sigmoid", hard_sigmoid, "2.3.1 activations.py"),
    Row("3", "GRU GRUCell", "no reset_after", default(reset_after=False),
        "2.1.6 layers/recurrent.py"),
    Row("3", f"{_RECURRENT} {_CELLS} RNN ConvLSTM1D ConvLSTM2D ConvLSTM3D",
        "implementation, time_major",
        dropped(implementation=..., time_major=(False, None), input_dim=..., input_length=...),
        "2.3.1 layers/recurrent.py"),
    Row("3", "Bidirectional", "a layer that goes backwards", other_direction,
        "2.3.1 layers/wrappers.py"),
    Row("3", "Embedding", "input_length, sparse", dropped(input_length=..., sparse=(False,)),
        "2.3.1 layers/embeddings.py"),
    Row("3", "BatchNormalization LayerNormalization Softmax", "axis in a list", flat_list,
        "tf 2.0 layers/normalization.py"),
    Row("3", "BatchNormalization", "renorm, fused, virtual_batch_size",
        dropped(renorm=(False, None), renorm_clipping=..., renorm_momentum=..., fused=...,
                 virtual_batch_size=(None,), adjustment=(None,)),
        "tf 1.15 layers/normalization.py"),
    Row("3", "DepthwiseConv1D DepthwiseConv2D Conv1DTranspose Conv2DTranspose Conv3DTranspose "
        "SeparableConv1D SeparableConv2D", "groups", dropped(groups=(1, None)),
        "tf 2.3 layers/convolutional.py"),
    Row("3", "DepthwiseConv1D DepthwiseConv2D", "filters", dropped(filters=(None,)),
        "tf 2.3 layers/convolutional.py"),
    Row("3", "SeparableConv1D SeparableConv2D DepthwiseConv1D DepthwiseConv2D",
        "kernel_initializer, kernel_regularizer, kernel_constraint",
        dropped(kernel_initializer=..., kernel_regularizer=(None,), kernel_constraint=(None,)),
        "2.0.0 layers/convolutional.py"),
    Row("3", "MultiHeadAttention", "query_shape, key_shape, value_shape",
        dropped(query_shape=..., key_shape=..., value_shape=...),
        "tf 2.5 layers/multi_head_attention.py"),
    Row("3", "Lambda", "module, function_type, output_shape_type", named_function,
        "2.3.1 layers/core.py"),
    Row("3", "Lambda", "module, function_type",
        dropped(module=..., function_type=..., output_shape_module=...), "2.3.1 layers/core.py"),
    Row("3", "Masking Activation Flatten Reshape Permute RepeatVector", "input_dim, input_length",
        dropped(input_dim=..., input_length=...), "1.2.2 layers/core.py"),
    Row("3", "GlorotUniform GlorotNormal HeNormal HeUniform LecunNormal LecunUniform Zeros Ones "
        "Constant RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal Identity",
        "dtype", dropped(dtype=...), "tf 2.0 initializers"),
    Row("3", "VarianceScaling", "distribution='normal'",
        value("distribution", become={"normal": "truncated_normal"}), "2.3.1 initializers.py"),
    Row("4", "GroupedQueryAttention", "class", became("GroupQueryAttention"),
        "3.15.1 layers/attention, in files of HDF5"),
    # Compiling.
    Row("3", " ".join(f"Custom>{name}" for name in _OPTIMIZERS.split()), "class", unpackaged,
        "tf 2.11 optimizers/optimizer.py"),
    Row("3", _OPTIMIZERS, "lr", renamed(lr="learning_rate"), "2.2.5 optimizers.py"),
    Row("3", _OPTIMIZERS, "decay", decay, "2.3.1 optimizers.py"),
    Row("3", "Nadam", "schedule_decay", dropped(schedule_decay=(0.004, 0.00400000018998981)),
        "2.3.1 optimizers.py"),
    Row("3", _OPTIMIZERS, "jit_compile, is_legacy_optimizer, use_locking",
        dropped(jit_compile=..., is_legacy_optimizer=..., use_locking=...),
        "tf 2.11 optimizers/optimizer.py"),
    Row("3", "LossScaleOptimizer", "dynamic", dropped(dynamic=(True,)),
        "tf 2.4 mixed_precision/loss_scale_optimizer.py"),
    Row("3", "MeanMetricWrapper SumOverBatchSizeMetricWrapper", "fn", accuracy_by_name,
        "tf 2.2 metrics.py"),
)  # fmt: skip

# Values in any config, by the last part of the argument's name.
WORDS: dict[str, dict[str, Any]] = {
    "initializer": {
        "zero": "zeros", "one": "ones",
        "normal": {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.05}},
        "uniform": {"class_name": "RandomUniform", "config": {"minval": -0.05, "maxval": 0.05}},
    },
    "reduction": {"auto": "sum_over_batch_size"},
}  # fmt: skip


# ---- the table of arrays -------------------------------------------------------------------------

_LOADING = "2.3.1 engine/saving.py"

ARRAYS: tuple[ArrayRow, ...] = (
    ArrayRow("2", "LSTM ConvLSTM2D", "twelve arrays", lambda s, c, b: len(s) == 12,
             joined((0, 2, 1, 3)), _LOADING),
    ArrayRow("2", "GRU", "nine arrays", lambda s, c, b: len(s) == 9, joined((0, 1, 2)), _LOADING),
    ArrayRow("2", "Conv1D", "kernels of four axes", lambda s, c, b: len(s[0]) == 4, kernel_1d,
             _LOADING),
    ArrayRow("2", "Conv2D", "kernels (filters, channels, rows, columns)",
             lambda s, c, b: len(s[0]) == 4 and is_first(c),
             first(lambda k: k.transpose(2, 3, 1, 0)), _LOADING),
    ArrayRow("2", "SeparableConv2D", "kernels (filters, channels, rows, columns)",
             lambda s, c, b: len(s[0]) == 4 and is_first(c),
             first(lambda k: k.transpose(2, 3, 1, 0), 2), "1.2.2 layers/convolutional.py"),
    ArrayRow("2", "Conv3D", "kernels (filters, channels, ...)",
             lambda s, c, b: len(s[0]) == 5 and is_first(c),
             first(lambda k: k.transpose(2, 3, 4, 1, 0)), _LOADING),
    ArrayRow("2", "Conv2DTranspose", "the two last axes of kernels",
             lambda s, c, b: len(s[0]) == 4, transposed_kernel, _LOADING),
    ArrayRow("3", "Conv1D Conv2D Conv3D Conv2DTranspose ConvLSTM2D", "kernels of Theano",
             lambda s, c, b: b == "theano", flipped, _LOADING),
    ArrayRow("3", "LSTM", "CuDNNLSTM's arrays",
             lambda s, c, b: len(s) == 3 and s[2] == (8 * c["units"],), from_cudnn(4), _LOADING),
    ArrayRow("3", "GRU", "CuDNNGRU's arrays",
             lambda s, c, b: len(s) == 3 and s[2] == (6 * c["units"],), from_cudnn(3), _LOADING),
)  # fmt: skip
# The numbers of arrays that a layer had where it was stored gate by gate, before version 2.
GATED = {"LSTM": 12, "ConvLSTM2D": 12, "GRU": 9}


# ---- the table of TensorFlow's functions ---------------------------------------------------------


class OpRow(NamedTuple):
    """A function of TensorFlow in a graph of tf.keras.

    Attributes:
        op: The op.
        arguments: The op's parameter for each argument of the function, in the order of the
            function's arguments; None for arguments that must have their default.
        defaults: Arguments of the op that the function leaves out, where their defaults differ.
    """

    op: str
    arguments: Mapping[str, str | None]
    defaults: Mapping[str, Any] = {}


def _rows(
    ops: str, defaults: Mapping[str, Any] | None = None, **arguments: str | None
) -> dict[str, OpRow]:
    """Rows of functions that take the same arguments: ``"function=op other"``."""
    pairs = (word.partition("=") for word in ops.split())
    return {f: OpRow(op or f.rpartition(".")[2], arguments, defaults or {}) for f, _, op in pairs}


_REDUCED: dict[str, str | None] = {"input_tensor": "x", "axis": "axis", "keepdims": "keepdims"}

# Source: the functions that tf 2.4 to 2.15 wrap where they are called on a symbolic tensor
# (layers/core/tf_op_layer.py), and their signatures in TensorFlow.
OPS: dict[str, OpRow] = {
    **_rows(
        "math.add __operators__.add=add math.subtract __operators__.sub=subtract math.multiply "
        "__operators__.mul=multiply math.truediv=true_divide __operators__.truediv=true_divide "
        "math.divide=true_divide math.pow=power __operators__.pow=power math.maximum math.minimum "
        "math.floordiv=floor_divide __operators__.floordiv=floor_divide math.mod=mod "
        "math.equal math.not_equal math.less math.less_equal math.greater math.greater_equal "
        "math.atan2=arctan2 math.logical_and math.logical_or",
        x="x1",
        y="x2",
    ),
    **_rows(
        "math.negative __operators__.neg=negative math.abs=absolute __operators__.abs=absolute "
        "math.square math.sqrt math.rsqrt math.exp math.log math.log1p math.expm1 math.sin "
        "math.cos math.tan math.tanh math.sinh math.cosh math.floor math.ceil math.sign math.round "
        "math.sigmoid nn.sigmoid math.erf math.reciprocal math.is_nan=isnan math.logical_not "
        "math.softplus nn.softplus nn.softsign",
        x="x",
    ),
    **_rows("nn.relu nn.relu6 nn.silu nn.swish=silu nn.elu nn.selu nn.tanh=tanh", features="x"),
    **_rows("nn.gelu", {"approximate": False}, features="x", approximate="approximate"),
    **_rows("nn.leaky_relu", {"negative_slope": 0.2}, features="x", alpha="negative_slope"),
    **_rows("nn.softmax nn.log_softmax", {"axis": -1}, logits="x", axis="axis"),
    **_rows(
        "math.reduce_mean=mean math.reduce_sum=sum math.reduce_max=max math.reduce_min=min "
        "math.reduce_prod=prod math.reduce_std=std math.reduce_variance=var math.reduce_any=any "
        "math.reduce_all=all math.reduce_logsumexp=logsumexp",
        None,
        **_REDUCED,
    ),
    **_rows("math.argmax math.argmin", {"axis": 0}, input="x", axis="axis", output_type=None),
    **_rows("math.cumsum", {"axis": 0}, x="x", axis="axis"),
    **_rows("concat=concatenate", values="xs", axis="axis"),
    **_rows("stack", values="x", axis="axis"),
    **_rows("reshape", tensor="x", shape="newshape"),
    **_rows("transpose", a="x", perm="axes"),
    **_rows("expand_dims squeeze", input="x", axis="axis"),
    **_rows("cast", x="x", dtype="dtype"),
    **_rows("tile", input="x", multiples="repeats"),
    **_rows("clip_by_value=clip", t="x", clip_value_min="x_min", clip_value_max="x_max"),
    **_rows("linalg.matmul=matmul", a="x1", b="x2", transpose_a=None, transpose_b=None),
    **_rows("where", condition="condition", x="x1", y="x2"),
    **_rows("identity=copy zeros_like ones_like", input="x"),
    **_rows("__operators__.getitem=get_item", tensor="x", slice_spec="key"),
    **_rows("gather=take", {"axis": 0}, params="x", indices="indices", axis="axis"),
    **_rows("one_hot", indices="x", depth="num_classes", axis="axis", dtype="dtype"),
}


def has_counterpart(record: Mapping[str, Any], version: tuple[int, ...] | None) -> bool:
    """Whether the table knows what becomes of a class or a function; nothing is created.

    Args:
        record: A dict with ``class_name`` and ``config``.
        version: The version of the file, if it is known.

    >>> has_counterpart({"class_name": "TimeDistributedDense", "config": {}}, (1, 1))
    True
    >>> has_counterpart({"class_name": "MaxoutDense", "config": {}}, (1, 1))
    False
    """
    name, config = str(record["class_name"]), record["config"]
    config = dict(config) if isinstance(config, Mapping) else {}
    if name in FUNCTIONS:
        return config.get("function") in OPS
    old = Old(name, config, name)
    try:
        for row in CONFIGS:
            if row.applies(old.name, version):
                row.change(old)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):  # refused, or damaged
        return False
    return name in POLICIES or any(registry.find_builtin(f, old.name) for f in _FAMILIES)
