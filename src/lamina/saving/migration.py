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

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina.errors import SerializationError


@dataclasses.dataclass
class Old:
    """A record of an old config while the rows change it.

    Attributes:
        name: Name of the class.
        config: Its config.
        where: What it is, for messages.
        call: Arguments that every call of the layer gets.
        given: The user's own classes and functions by name.
        notes: What a user should know about the change; shown in a warning.
    """

    name: str
    config: dict[str, Any]
    where: str
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    call: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def refuse(self, why: str, cure: str = "") -> SerializationError:
        """The error about something that cannot be converted."""
        return SerializationError(f"{self.where}: {why}", cure=cure)


Change = Callable[[Old], None]


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


# ---- kinds of changes ----------------------------------------------------------------------------


def _renamed(**names: str) -> Change:
    """Rename arguments."""

    def change(old: Old) -> None:
        for before, after in names.items():
            if before in old.config:
                value = old.config.pop(before)
                old.config.setdefault(after, value)

    return change


def _dropped(**allowed: Any) -> Change:
    """Remove arguments that are gone, where they have one of the values that mean nothing today.

    Args:
        **allowed: For each argument a tuple of such values; Ellipsis allows any value.
    """

    def change(old: Old) -> None:
        for name, neutral in allowed.items():
            if name in old.config:
                value = old.config.pop(name)
                if neutral is not ... and value not in neutral:
                    raise old.refuse(
                        f"`{name}={value!r}` has no counterpart today.",
                        "Write a layer that does the same, and pass it by the name of the old "
                        f"class: `custom_objects={{{old.name!r}: ...}}`.",
                    )

    return change


def _became(name: str, **arguments: Any) -> Change:
    """Another class; ``arguments`` are set unless the config has them."""

    def change(old: Old) -> None:
        old.name = name
        for key, value in arguments.items():
            old.config.setdefault(key, value)

    return change


def _default(**arguments: Any) -> Change:
    """Set arguments that the config lacks, whose default is another one today."""

    def change(old: Old) -> None:
        for key, value in arguments.items():
            old.config.setdefault(key, value)

    return change


def _value(*names: str, become: Mapping[Any, Any]) -> Change:
    """Other words for the values of arguments."""

    def change(old: Old) -> None:
        for name in names:
            value = old.config.get(name)
            if isinstance(value, str) and value in become:
                old.config[name] = become[value]

    return change


def _refused(why: str) -> Change:
    def change(old: Old) -> None:
        raise old.refuse(
            f"{old.name} {why}",
            "Write a layer that does the same, and pass it: "
            f"`custom_objects={{{old.name!r}: ...}}`.",
        )

    return change


def _sizes(target: str, *names: str) -> Change:
    """One tuple instead of several arguments."""

    def change(old: Old) -> None:
        if all(name in old.config for name in names):
            old.config[target] = [old.config.pop(name) for name in names]

    return change


# ---- changes of one kind of layer ----------------------------------------------------------------


def _flat_list(old: Old) -> None:
    axis = old.config.get("axis")
    if isinstance(axis, (list, tuple)) and len(axis) == 1:
        old.config["axis"] = axis[0]


def _padding_of_sides(old: Old) -> None:
    padding = old.config.get("padding")
    if isinstance(padding, Mapping):
        sides = ("top_pad", "bottom_pad", "left_pad", "right_pad")
        padding = [padding.get(side, 0) for side in sides]
    if isinstance(padding, (list, tuple)) and len(padding) == 4:
        old.config["padding"] = [list(padding[:2]), list(padding[2:])]


_MERGES = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "min": "Minimum",
    "concat": "Concatenate", "dot": "Dot",
}  # fmt: skip


def _merge(old: Old) -> None:
    config = old.config
    mode = config.get("mode")
    if mode not in _MERGES:
        raise old.refuse(f"Merge with mode={str(mode)[:40]!r} has no counterpart today.")
    old.name = _MERGES[mode]
    kept = {k: config[k] for k in ("name", "trainable") if k in config}
    if mode == "concat":
        kept["axis"] = config.get("concat_axis", -1)
    elif mode == "dot":
        kept["axes"] = config.get("dot_axes", -1)
    old.config = kept


def _normalization_mode(old: Old) -> None:
    mode = old.config.pop("mode", 0)
    if mode == 2:
        old.call["training"] = True
    elif mode != 0:
        raise old.refuse(
            f"BatchNormalization with mode={mode!r} normalized each sample, which no layer of "
            "today does in the same way.",
            "Pass a layer of yours: `custom_objects={'BatchNormalization': ...}`.",
        )


def _forget_bias(old: Old) -> None:
    initial = old.config.pop("forget_bias_init", None)
    if initial is not None:
        old.config["unit_forget_bias"] = initial in ("one", "ones")


def _transformed(old: Old) -> None:
    """The output shape that a transposed convolution declared follows from its other arguments."""
    old.config.pop("output_shape", None)


def _lambda(old: Old) -> None:
    """Shapes are found by running the function; how files name it says whether it is code."""
    if old.config.pop("output_shape_type", "raw") != "raw":
        old.config.pop("output_shape", None)
    function = old.config.get("function")
    if isinstance(function, str):
        old.config["function"] = {
            "module": "builtins", "class_name": "function", "config": function,
            "registered_name": function,
        }  # fmt: skip


def _hard_sigmoid(old: Old) -> None:
    for name in ("activation", "recurrent_activation"):
        if old.config.get(name) == "hard_sigmoid" and "hard_sigmoid" not in old.given:
            old.notes.append(
                f"{old.where}: `{name}='hard_sigmoid'` was clip(0.2 x + 0.5, 0, 1) when the file "
                "was written and is clip(x / 6 + 0.5, 0, 1) since Keras 3, which is used, as Keras "
                "does. For the outputs of then, pass `custom_objects={'hard_sigmoid': lambda x: "
                "lamina.ops.clip(0.2 * x + 0.5, 0, 1)}`."
            )


def _unpackaged(old: Old) -> None:
    old.name = old.name.partition(">")[2]


def _decay(old: Old) -> None:
    """The rate was divided by ``1 + decay * iterations``."""
    decay, rate = old.config.pop("decay", 0), old.config.get("learning_rate", 0.01)
    if decay and isinstance(rate, (int, float)):
        config = {"initial_learning_rate": rate, "decay_steps": 1, "decay_rate": decay}
        old.config["learning_rate"] = {"class_name": "InverseTimeDecay", "config": config}
    elif decay:
        raise old.refuse("`decay` together with a schedule has no counterpart today.")


def _accuracy_by_name(old: Old) -> None:
    """A metric that wraps a function is written with the function's name."""
    if isinstance(old.config.get("fn"), Mapping):
        old.config["fn"] = old.config["fn"].get("config")


def _other_direction(old: Old) -> None:
    """The copy of a layer that goes backwards went forwards; today a copy always goes backwards."""
    layer = old.config.get("layer")
    config = layer.get("config") if isinstance(layer, Mapping) else None
    if config and config.get("go_backwards") and not old.config.get("backward_layer"):
        turned = {**config, "name": f"backward_{config.get('name')}", "go_backwards": False}
        old.config["backward_layer"] = {**layer, "config": turned}


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
    Row("2", "Convolution1D", "class", _became("Conv1D"), _INTERFACES),
    Row("2", "Convolution2D", "class", _became("Conv2D"), _INTERFACES),
    Row("2", "Convolution3D", "class", _became("Conv3D"), _INTERFACES),
    Row("2", "AtrousConvolution1D", "class", _became("Conv1D"), _INTERFACES),
    Row("2", "AtrousConvolution2D", "class", _became("Conv2D"), _INTERFACES),
    Row("2", "Deconvolution2D", "class", _became("Conv2DTranspose"), _INTERFACES),
    Row("2", "Deconvolution3D", "class", _became("Conv3DTranspose"), _INTERFACES),
    Row("2", "SeparableConvolution2D", "class", _became("SeparableConv2D"), _INTERFACES),
    Row("2", "TimeDistributedDense", "class", _became("Dense"), "1.1.2 layers/core.py"),
    Row("3", "Merge", "modes", _merge, "1.2.2 engine/topology.py"),
    Row("2", "Highway", "class", _refused("was removed in Keras 2."), "1.2.2 layers/core.py"),
    Row("2", "MaxoutDense", "class", _refused("was removed in Keras 2."), "1.2.2 layers/core.py"),
    Row("2", "SReLU ParametricSoftplus", "class", _refused("was removed in Keras 2."),
        "1.2.2 layers/advanced_activations.py"),
    # Arguments of Keras 1.
    Row("2", "Conv2D Conv2DTranspose SeparableConv2D ConvLSTM2D", "nb_row, nb_col",
        _sizes("kernel_size", "nb_row", "nb_col"), _INTERFACES),
    Row("2", "Conv3D Conv3DTranspose", "kernel_dim1, kernel_dim2, kernel_dim3",
        _sizes("kernel_size", "kernel_dim1", "kernel_dim2", "kernel_dim3"), _INTERFACES),
    Row("2", "Conv1D", "filter_length, subsample_length",
        _renamed(filter_length="kernel_size", subsample_length="strides"), _INTERFACES),
    Row("2", f"{_CONVOLUTIONS} ConvLSTM2D", "nb_filter, subsample, atrous_rate",
        _renamed(nb_filter="filters", subsample="strides", atrous_rate="dilation_rate"),
        _INTERFACES),
    Row("2", f"{_CONVOLUTIONS} ConvLSTM2D MaxPooling1D AveragePooling1D MaxPooling2D "
        "AveragePooling2D MaxPooling3D AveragePooling3D", "border_mode",
        _renamed(border_mode="padding"), _INTERFACES),
    Row("2", "Conv2DTranspose Conv3DTranspose", "output_shape", _transformed,
        "1.2.2 layers/convolutional.py"),
    Row("2", _SPATIAL, "dim_ordering", _renamed(dim_ordering="data_format"), _INTERFACES),
    Row("2", _SPATIAL, "dim_ordering of 'th', 'tf'",
        _value("data_format", become={"th": "channels_first", "tf": "channels_last",
                                      "default": None}), _INTERFACES),
    Row("2", "MaxPooling1D AveragePooling1D", "pool_length, stride",
        _renamed(pool_length="pool_size", stride="strides"), _INTERFACES),
    Row("2", "UpSampling1D", "length", _renamed(length="size"), _INTERFACES),
    Row("2", "ZeroPadding2D", "padding of four sides", _padding_of_sides,
        "1.2.2 layers/convolutional.py"),
    Row("2", "Dense", "output_dim", _renamed(output_dim="units"), _INTERFACES),
    Row("2", _RECURRENT, "output_dim, inner_init, inner_activation, dropout_W, dropout_U",
        _renamed(output_dim="units", inner_init="recurrent_initializer",
                 inner_activation="recurrent_activation", dropout_W="dropout",
                 dropout_U="recurrent_dropout", U_regularizer="recurrent_regularizer"),
        _INTERFACES),
    Row("2", "ConvLSTM2D", "inner_init, inner_activation, dropout_W, dropout_U",
        _renamed(inner_init="recurrent_initializer", inner_activation="recurrent_activation",
                 dropout_W="dropout", dropout_U="recurrent_dropout",
                 U_regularizer="recurrent_regularizer"), _INTERFACES),
    Row("2", "LSTM ConvLSTM2D", "forget_bias_init", _forget_bias, _INTERFACES),
    Row("2", f"{_RECURRENT} ConvLSTM2D", "consume_less", _dropped(consume_less=...), _INTERFACES),
    Row("2", _WITH_WEIGHTS, "init, W_regularizer, b_regularizer, W_constraint, b_constraint, bias",
        _renamed(init="kernel_initializer", W_regularizer="kernel_regularizer",
                 b_regularizer="bias_regularizer", W_constraint="kernel_constraint",
                 b_constraint="bias_constraint", bias="use_bias"), _INTERFACES),
    Row("2", "SeparableConv2D", "depthwise_init, pointwise_init",
        _renamed(depthwise_init="depthwise_initializer",
                 pointwise_init="pointwise_initializer"), "1.2.2 layers/convolutional.py"),
    Row("2", _WITH_WEIGHTS, "input_dim, input_length", _dropped(input_dim=..., input_length=...),
        "1.2.2 layers/core.py"),
    Row("2", "Embedding", "init, W_regularizer, W_constraint",
        _renamed(init="embeddings_initializer", W_regularizer="embeddings_regularizer",
                 W_constraint="embeddings_constraint"), _INTERFACES),
    Row("2", "Embedding", "dropout", _dropped(dropout=(0, None)), "1.2.2 layers/embeddings.py"),
    Row("2", "BatchNormalization", "mode", _normalization_mode, "1.2.2 layers/normalization.py"),
    Row("2", "BatchNormalization", "beta_init, gamma_init",
        _renamed(beta_init="beta_initializer", gamma_init="gamma_initializer"), _INTERFACES),
    Row("2", "PReLU", "init, weights", _renamed(init="alpha_initializer"), _INTERFACES),
    Row("2", "Dropout GaussianDropout SpatialDropout1D SpatialDropout2D SpatialDropout3D", "p",
        _renamed(p="rate"), _INTERFACES),
    Row("2", "GaussianNoise", "sigma", _renamed(sigma="stddev"), _INTERFACES),
    Row("2", "MaxNorm", "m", _renamed(m="max_value"), _INTERFACES),
    Row("2", "WeightRegularizer ActivityRegularizer L1L2Regularizer", "class", _became("L1L2"),
        "1.2.2 regularizers.py"),
    # Classes of Keras 2 and tf.keras.
    Row("3", "BatchNormalizationV1 BatchNormalizationV2", "class", _became("BatchNormalization"),
        "tf 1.14 layers/normalization.py"),
    Row("3", "SyncBatchNormalization", "class", _became("BatchNormalization", synchronized=True),
        "tf 2.2 layers/normalization"),
    Row("3", "CuDNNLSTM", "class", _became("LSTM", recurrent_activation="sigmoid"),
        "2.3.1 layers/cudnn_recurrent.py"),
    Row("3", "CuDNNGRU", "class",
        _became("GRU", recurrent_activation="sigmoid", reset_after=True),
        "2.3.1 layers/cudnn_recurrent.py"),
    Row("3", "ThresholdedReLU", "class", _became("ReLU"), "2.3.1 layers/advanced_activations.py"),
    Row("3", "ReLU", "theta", _renamed(theta="threshold"), "2.3.1 layers/advanced_activations.py"),
    Row("3", "LocallyConnected1D LocallyConnected2D", "class", _refused("was removed in Keras 3."),
        "2.3.1 layers/local.py"),
    Row("3", "DenseFeatures SequenceFeatures RandomFourierFeatures", "class",
        _refused("is a class of TensorFlow only."), "tf 2.1 feature_column"),
    # Arguments of Keras 2 and tf.keras.
    Row("3", "InputLayer", "batch_input_shape", _renamed(batch_input_shape="batch_shape"),
        "2.3.1 engine/input_layer.py"),
    Row("3", "InputLayer", "input_dtype", _renamed(input_dtype="dtype"),
        "1.2.2 engine/topology.py"),
    Row("3", "InputLayer", "sparse, ragged, type_spec",
        _dropped(sparse=(False, None), ragged=(False, None), type_spec=(None,)),
        "tf 2.4 engine/input_layer.py"),
    Row("3", "*", "input_dtype", _dropped(input_dtype=...), "1.2.2 engine/topology.py"),
    Row("3", "LeakyReLU", "alpha", _renamed(alpha="negative_slope"),
        "2.3.1 layers/advanced_activations.py"),
    Row("3", "*", "hard_sigmoid", _hard_sigmoid, "2.3.1 activations.py"),
    Row("3", f"GRU {_CELLS} CuDNNGRU", "no reset_after",
        lambda old: _default(reset_after=False)(old) if "GRU" in old.name else None,
        "2.1.6 layers/recurrent.py"),
    Row("3", f"{_RECURRENT} {_CELLS} RNN ConvLSTM1D ConvLSTM2D ConvLSTM3D",
        "implementation, time_major",
        _dropped(implementation=..., time_major=(False, None), input_dim=..., input_length=...),
        "2.3.1 layers/recurrent.py"),
    Row("3", "Bidirectional", "a layer that goes backwards", _other_direction,
        "2.3.1 layers/wrappers.py"),
    Row("3", "Embedding", "input_length, sparse", _dropped(input_length=..., sparse=(False,)),
        "2.3.1 layers/embeddings.py"),
    Row("3", "BatchNormalization LayerNormalization Softmax", "axis in a list", _flat_list,
        "tf 2.0 layers/normalization.py"),
    Row("3", "BatchNormalization", "renorm, fused, virtual_batch_size",
        _dropped(renorm=(False, None), renorm_clipping=..., renorm_momentum=..., fused=...,
                 virtual_batch_size=(None,), adjustment=(None,)),
        "tf 1.15 layers/normalization.py"),
    Row("3", "DepthwiseConv1D DepthwiseConv2D Conv1DTranspose Conv2DTranspose Conv3DTranspose "
        "SeparableConv1D SeparableConv2D", "groups", _dropped(groups=(1, None)),
        "tf 2.3 layers/convolutional.py"),
    Row("3", "DepthwiseConv1D DepthwiseConv2D", "filters", _dropped(filters=(None,)),
        "tf 2.3 layers/convolutional.py"),
    Row("3", "SeparableConv1D SeparableConv2D DepthwiseConv1D DepthwiseConv2D",
        "kernel_initializer, kernel_regularizer, kernel_constraint",
        _dropped(kernel_initializer=..., kernel_regularizer=(None,), kernel_constraint=(None,)),
        "2.0.0 layers/convolutional.py"),
    Row("3", "MultiHeadAttention", "query_shape, key_shape, value_shape",
        _dropped(query_shape=..., key_shape=..., value_shape=...),
        "tf 2.5 layers/multi_head_attention.py"),
    Row("3", "Lambda", "module, function_type, output_shape_type", _lambda,
        "2.3.1 layers/core.py"),
    Row("3", "Lambda", "module, function_type",
        _dropped(module=..., function_type=..., output_shape_module=...), "2.3.1 layers/core.py"),
    Row("3", "Masking Activation Flatten Reshape Permute RepeatVector", "input_dim, input_length",
        _dropped(input_dim=..., input_length=...), "1.2.2 layers/core.py"),
    Row("3", "GlorotUniform GlorotNormal HeNormal HeUniform LecunNormal LecunUniform Zeros Ones "
        "Constant RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal Identity",
        "dtype", _dropped(dtype=...), "tf 2.0 initializers"),
    Row("3", "VarianceScaling", "distribution='normal'",
        _value("distribution", become={"normal": "truncated_normal"}), "2.3.1 initializers.py"),
    # Compiling.
    Row("3", " ".join(f"Custom>{name}" for name in _OPTIMIZERS.split()), "class", _unpackaged,
        "tf 2.11 optimizers/optimizer.py"),
    Row("3", _OPTIMIZERS, "lr", _renamed(lr="learning_rate"), "2.2.5 optimizers.py"),
    Row("3", _OPTIMIZERS, "decay", _decay, "2.3.1 optimizers.py"),
    Row("3", "Nadam", "schedule_decay", _dropped(schedule_decay=(0.004, 0.00400000018998981)),
        "2.3.1 optimizers.py"),
    Row("3", _OPTIMIZERS, "jit_compile, is_legacy_optimizer, use_locking",
        _dropped(jit_compile=..., is_legacy_optimizer=..., use_locking=...),
        "tf 2.11 optimizers/optimizer.py"),
    Row("3", "LossScaleOptimizer", "dynamic", _dropped(dynamic=(True,)),
        "tf 2.4 mixed_precision/loss_scale_optimizer.py"),
    Row("3", "MeanMetricWrapper SumOverBatchSizeMetricWrapper", "fn", _accuracy_by_name,
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


def _joined(order: tuple[int, ...]) -> Callable[[list[np.ndarray], Any], list[np.ndarray]]:
    """Join the kernels, recurrent kernels and biases of gates, stored gate by gate."""

    def change(arrays: list[np.ndarray], config: Mapping[str, Any]) -> list[np.ndarray]:
        if arrays[0].ndim == 4 and config.get("data_format") == "channels_first":
            arrays = [a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for a in arrays]
        return [np.concatenate([arrays[3 * i + k] for i in order], -1) for k in range(3)]

    return change


def _first(change: Callable[[np.ndarray], np.ndarray], count: int = 1) -> Any:
    """Change the kernels, which come first."""
    return lambda arrays, _: [*map(change, arrays[:count]), *arrays[count:]]


def _kernel_1d(arrays: list[np.ndarray], config: Mapping[str, Any]) -> list[np.ndarray]:
    kernel = arrays[0]
    if kernel.shape[1] != 1 or kernel.shape[3] != config["filters"]:  # (filters, in, length, 1)
        kernel = kernel.transpose(2, 3, 1, 0)
    return [kernel[:, 0], *arrays[1:]]


def _transposed_kernel(arrays: list[np.ndarray], config: Mapping[str, Any]) -> list[np.ndarray]:
    first = config.get("data_format") == "channels_first"
    return [arrays[0].transpose((2, 3, 0, 1) if first else (0, 1, 3, 2)), *arrays[1:]]


def _flipped(arrays: list[np.ndarray], _: Any) -> list[np.ndarray]:
    def flip(x: np.ndarray) -> np.ndarray:
        return x[tuple(slice(None, None, -1) for _ in range(x.ndim - 2))] if x.ndim > 2 else x

    return list(map(flip, arrays))


def _from_cudnn(gates: int) -> Callable[[list[np.ndarray], Any], list[np.ndarray]]:
    """Each gate's kernel is stored transposed, and biases are those of inputs and of states."""

    def change(arrays: list[np.ndarray], _: Any) -> list[np.ndarray]:
        kernel, recurrent, bias = arrays
        inputs = [k.T.reshape(k.shape, order="F") for k in np.split(kernel, gates, 1)]
        states = [k.T for k in np.split(recurrent, gates, 1)]
        both = bias.reshape(2, -1)
        return [
            np.concatenate(inputs, 1), np.concatenate(states, 1),
            both.sum(0) if gates == 4 else both,
        ]  # fmt: skip

    return change


def _is_first(config: Mapping[str, Any]) -> bool:
    return config.get("data_format") == "channels_first"


_LOADING = "2.3.1 engine/saving.py"

ARRAYS: tuple[ArrayRow, ...] = (
    ArrayRow("2", "LSTM ConvLSTM2D", "twelve arrays", lambda s, c, b: len(s) == 12,
             _joined((0, 2, 1, 3)), _LOADING),
    ArrayRow("2", "GRU", "nine arrays", lambda s, c, b: len(s) == 9, _joined((0, 1, 2)), _LOADING),
    ArrayRow("2", "Conv1D", "kernels of four axes", lambda s, c, b: len(s[0]) == 4, _kernel_1d,
             _LOADING),
    ArrayRow("2", "Conv2D", "kernels (filters, channels, rows, columns)",
             lambda s, c, b: len(s[0]) == 4 and _is_first(c),
             _first(lambda k: k.transpose(2, 3, 1, 0)), _LOADING),
    ArrayRow("2", "SeparableConv2D", "kernels (filters, channels, rows, columns)",
             lambda s, c, b: len(s[0]) == 4 and _is_first(c),
             _first(lambda k: k.transpose(2, 3, 1, 0), 2), "1.2.2 layers/convolutional.py"),
    ArrayRow("2", "Conv3D", "kernels (filters, channels, ...)",
             lambda s, c, b: len(s[0]) == 5 and _is_first(c),
             _first(lambda k: k.transpose(2, 3, 4, 1, 0)), _LOADING),
    ArrayRow("2", "Conv2DTranspose", "the two last axes of kernels",
             lambda s, c, b: len(s[0]) == 4, _transposed_kernel, _LOADING),
    ArrayRow("3", "Conv1D Conv2D Conv3D Conv2DTranspose ConvLSTM2D", "kernels of Theano",
             lambda s, c, b: b == "theano", _flipped, _LOADING),
    ArrayRow("3", "LSTM", "CuDNNLSTM's arrays",
             lambda s, c, b: len(s) == 3 and s[2] == (8 * c["units"],), _from_cudnn(4), _LOADING),
    ArrayRow("3", "GRU", "CuDNNGRU's arrays",
             lambda s, c, b: len(s) == 3 and s[2] == (6 * c["units"],), _from_cudnn(3), _LOADING),
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


_REDUCED = {"input_tensor": "x", "axis": "axis", "keepdims": "keepdims"}

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
        x="x1", y="x2",
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
