"""Every constructor argument of every public class does something: another value changes it."""

import inspect

import numpy as np
import optax
import pytest
from flax import linen as nn

import lamina
from lamina import (
    callbacks,
    constraints,
    distillation,
    dtype_policies,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    quantizers,
    random,
    regularizers,
    utils,
)
from lamina.errors import ArgumentError
from lamina.optimizers import schedules
from tests.laws.test_layers import CASES

NAMESPACES = (
    layers, losses, metrics, optimizers, schedules, initializers, regularizers, constraints,
    callbacks, quantizers, dtype_policies, distillation, random, utils, models,
)  # fmt: skip


def stack(name="net"):
    dense = [layers.Dense(2, name=n) for n in ("a", "b")]
    return lamina.Sequential([lamina.Input((2,)), *dense], name=name)


STACK = stack()


def pure(params, inputs):
    return inputs


def made_of(rng, inputs):
    return {}


RESAMPLED = ("AugMix", "RandAugment", "RandomElasticTransform", "RandomPerspective",
             "RandomRotation", "RandomShear", "RandomTranslation", "RandomZoom",
             "Resizing")  # fmt: skip


class Whole(dict):
    """All arguments of a construction, where one does not go with the others that are needed."""


# ---- what classes need, by class; of layers it is in their rows ----------------------------------

NEEDED = {
    "BackupAndRestore": {"backup_dir": "folder"},
    "CSVLogger": {"filename": "file"},
    "CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 10},
    "CosineDecayRestarts": {"initial_learning_rate": 0.1, "first_decay_steps": 10},
    "Distiller": {"teacher": stack("t"), "student": stack("s"),
                  "distillation_losses": [distillation.LogitsDistillation()]},
    "ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
    "CustomObjectScope": {"custom_objects": {"a": abs}},
    "Functional": {"inputs": STACK.inputs, "outputs": STACK.outputs},
    "InputLayer": {"shape": (3,)},
    "JaxLayer": {"call_fn": pure, "init_fn": made_of},
    "SpectralNormalization": {"layer": layers.Dense(2)},
    "CategoryEncoding": {"num_tokens": 4}, "Discretization": {"num_bins": 3},
    "Hashing": {"num_bins": 3}, "HashedCrossing": {"num_bins": 3}, "Progbar": {"target": 3},
    "Int4DTypePolicy": {"mode": "int4/8", "source_name": "float32"},
    "GPTQDTypePolicy": {"mode": "gptq/4/8", "source_name": "float32"},
    "AWQDTypePolicy": {"mode": "awq/4/8", "source_name": "float32"},
    "GPTQConfig": {"dataset": None, "tokenizer": None},
    "AWQConfig": {"dataset": None, "tokenizer": None},
    "InverseTimeDecay": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
    "IoU": {"num_classes": 3, "target_class_ids": [0]},
    "LearningRateScheduler": {"schedule": abs},
    "LossFunctionWrapper": {"fn": losses.huber},
    "LossScaleOptimizer": {"inner_optimizer": "sgd"},
    "MeanIoU": {"num_classes": 3},
    "MeanMetricWrapper": {"fn": losses.huber},
    "ModelCheckpoint": {"filepath": "m.keras"},
    "MultiOptimizer": {"optimizer_map": optimizers.OptimizerMap(optimizers.SGD())},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [0]},
    "OneHotMeanIoU": {"num_classes": 3},
    "Optax": {"transformation": optax.sgd(0.1)},
    "Optimizer": {"learning_rate": 0.1},
    "OptimizerMap": {"default_optimizer": optimizers.SGD()},
    "OrbaxCheckpoint": {"directory": "folder"},
    "PiecewiseConstantDecay": {"boundaries": [1, 2], "values": [0.1, 0.2, 0.3]},
    "PolynomialDecay": {"initial_learning_rate": 0.1, "decay_steps": 10},
    "PrecisionAtRecall": {"recall": 0.5},
    "QuantizedDTypePolicy": {"mode": "int8", "source_name": "float32"},
    "QuantizedFloat8DTypePolicy": {"mode": "float8", "source_name": "float32"},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "Wrapper": {"layer": layers.Dense(2)},
}  # fmt: skip
for _case in CASES:
    if _case.cls.__name__ in NEEDED:
        continue
    _parameters = inspect.signature(_case.cls).parameters
    NEEDED[_case.cls.__name__] = {
        k: v for k, v in _case.kwargs.items()
        if k in _parameters and _parameters[k].default is inspect.Parameter.empty
    }  # fmt: skip

# ---- other values than the defaults, by class and argument, or by argument -----------------------

VALUES = {
    "name": "own", "DTypePolicy.name": "float16", "FloatDTypePolicy.name": "float16",
    "dtype": "bfloat16", "Hashing.dtype": "int32", "HashedCrossing.dtype": "int32",
    "seed": 7,
    # layers
    "PReLU.shared_axes": [1], "ReLU.max_value": 6.0, "sliding_window": 2, "flash_attention": True,
    "value_dim": 3, "MultiHeadAttention.output_shape": 3, "Lambda.output_shape": (3,),
    "attention_axes": (1,), "score_mode": "concat", "InputSpec.shape": (None, 2),
    "InputLayer.shape": (5,), "InputSpec.ndim": 2, "max_ndim": 4, "min_ndim": 1,
    "InputSpec.axes": {-1: 3}, "Dot.axes": 2, "layout": "(batch, features)", "merge_mode": "sum",
    "weights": [np.ones((2, 2))], "layer": layers.Dense(3), "Bidirectional.layer": layers.GRU(3),
    "TimeDistributed.layer": layers.Dense(3), "cells": [layers.GRUCell(3)],
    "cell": layers.GRUCell(3), "equation": "abc,cx->abx", "size": 3, "cropping": 2,
    "target_shape": (3, 4), "kernel_size": 4, "Permute.dims": (3, 1, 2), "output_size": 5,
    "backward_layer": layers.LSTM(3, go_backwards=True), "padding": "same",
    **{f"ZeroPadding{n}D.padding": 3 for n in (1, 2, 3)},
    "data_format": "channels_first",
    "output_padding": Whole(filters=2, kernel_size=3, strides=2, output_padding=1),
    "lora_rank": 2, "lora_alpha": 2.0,
    "quantization_config": quantizers.Int8QuantizationConfig(), "batch_size": 3, "sparse": True,
    "ragged": True, "InputLayer.batch_shape": Whole(batch_shape=(4, 5)),
    "input_tensor": Whole(input_tensor=lamina.Input((9,))),
    "InputLayer.dims": Whole(shape=("time",), dims={"time": (1, 3)}), "Lambda.mask": np.ones(2),
    "arguments": {"x": 1}, "Lambda.function": abs, "bias_axes": "d", "method": "__call__",
    "variables": {"params": {}},
    "renorm_clipping": {"rmax": 2.0}, "strides": 3, "use_cudnn": False, "noise_shape": (None, 1),
    "reverse_dtype": "float16", "logit_soft_cap": 5.0, "interpolation": "bilinear",
    **{f"{n}.interpolation": "nearest" for n in RESAMPLED},
    "EinsumDense.output_shape": (None, 5), "num_query_heads": 6, "num_key_value_heads": 1,
    "GroupNormalization.groups": 2, "groups": Whole(
        filters=4, kernel_size=3, groups=2), "Activation.activation": "elu",
    "SpectralNormalization.layer": layers.Dense(5), "module": nn.Dense(5),
    "call_fn": lambda inputs, params: inputs, "init_fn": lambda rng, inputs: {},
    "params": {"w": np.ones(2)}, "state": {"w": np.ones(2)}, "stateful_metrics": ["a"],
    "stateless_metrics": ["a"], "unit_name": "batch",
    # preprocessing layers
    "bounding_box_format": "xyxy", "factor": 0.15, "brightness_factor": 0.2,
    "contrast_factor": 0.2, "saturation_factor": 0.2, "hue_factor": 0.2, "fill_mode": "nearest",
    "fill_value": 0.5, "RandomErasing.scale": (0.1, 0.2), "width_factor": 0.2,
    "tile_grid_size": (4, 4),
    "bin_boundaries": Whole(bin_boundaries=[0.5]),
    "pad_to_max_tokens": Whole(max_tokens=9, pad_to_max_tokens=True, output_mode="multi_hot"),
    "layers": [layers.Rescaling(3.0)],
    "Normalization.mean": Whole(mean=1.0, variance=2.0), "variance": Whole(mean=1.0, variance=2.0),
    "max_freq": 900.0, "sequence_length": 64, "fft_length": 512, "frame_step": 99,
    "MelSpectrogram.window": "hamming", "STFTSpectrogram.window": "hamming", "salt": 3,
    "IntegerLookup.salt": Whole(salt=3, oov_method="farmhash"),
    "STFTSpectrogram.mode": "psd", "RandomFlip.mode": "vertical", "Resizing.fill_mode": "constant",
    "RandomGaussianBlur.kernel_size": 5, "RandomPosterization.factor": 3,
    "vocabulary_dtype": "int64", "encoding": "latin-1",
    "mask_token": 0, "StringLookup.mask_token": "", "mask_value": "",
    "max_tokens": 9, "ngrams": 2, "CategoryEncoding.num_tokens": 7,
    "Discretization.num_bins": 4, "num_bins": 9, "oov_method": "farmhash",
    "oov_token": "?", "IntegerLookup.oov_token": -3,
    "CategoryEncoding.output_mode": "one_hot", "output_mode": "one_hot",
    "output_sequence_length": 4, "split": "character", "standardize": "lower",
    "vocabulary": [3, 4], "StringLookup.vocabulary": ["a", "b"],
    "TextVectorization.vocabulary": ["a", "b"],
    **{f"{lookup}.idf_weights": Whole(vocabulary=words, idf_weights=[0.1, 0.2],
                                      output_mode="tf_idf")
       for lookup, words in (("IntegerLookup", [3, 4]), ("StringLookup", ["a", "b"]),
                             ("TextVectorization", ["a", "b"]))},
    # losses and metrics
    "reduction": "sum", "Dice.axis": 1, "Tversky.axis": 1, "AbsMaxQuantizer.axis": 1,
    "ignore_class": 1, "curve": "PR", "summation_method": "minoring", "thresholds": [0.3, 0.4],
    "num_labels": Whole(multi_label=True, num_labels=2),
    "label_weights": Whole(multi_label=True, label_weights=[0.1, 0.9]), "target_class_ids": [1],
    "average": "macro", "threshold": 0.3, "top_k": 2, "class_id": 1,
    "class_aggregation": "variance_weighted_average",
    # optimizers and schedules
    "weight_decay": 0.1, "clipnorm": 1.0, "clipvalue": 1.0, "global_clipnorm": 1.0,
    "ema_overwrite_frequency": 2, "loss_scale_factor": 2.0, "gradient_accumulation_steps": 2,
    "exclude_layers": ["a"], "OptimizerMap.optimizer_map": {"a": optimizers.Adam()},
    "fn": losses.hinge, "MultiOptimizer.optimizer_map": optimizers.OptimizerMap(optimizers.Adam()),
    "OptimizerMap.default_optimizer": optimizers.Adam(), "inner_optimizer": "adam",
    "transformation": optax.adam(0.1), "warmup_target": 0.5, "boundaries": [3, 4],
    "values": [1.0, 2.0, 3.0],
    # initializers and regularizers
    "side": "imag", "STFT.window": "hamming", "scaling": "spectrum",
    "input_axes": Whole(input_axes=(0,), output_axes=(1,)),
    "output_axes": Whole(input_axes=(0,), output_axes=(1,)),
    "VarianceScaling.mode": "fan_out", "distribution": "uniform",
    "OrthogonalRegularizer.mode": "columns",
    # callbacks
    "save_weights_only": Whole(filepath="m.weights.h5", save_weights_only=True),
    "OrbaxCheckpoint.save_weights_only": True, "custom_objects": {"b": round},
    "save_freq": 5, "monitor": "loss", "mode": "max", "initial_value_threshold": 0.5,
    "CallbackList.callbacks": [callbacks.TerminateOnNaN()], "CallbackList.model": stack(),
    "separator": ";", "root": "http://localhost:1", "path": "/p/", "field": "f",
    "headers": {"a": "b"}, "baseline": 0.5, "log_dir": "other", "update_freq": 5,
    "embeddings_metadata": {"a": "b"}, "backup_dir": "other", "filename": "other",
    "filepath": "other.keras", "directory": "other", "schedule": round,
    **{f"LambdaCallback.on_{what}_{when}": print for what in ("epoch", "train", "train_batch")
       for when in ("begin", "end")},
    # quantizers, policies and distillation
    "value_range": (-7, 7), "output_dtype": "int32",
    "weight_quantizer": quantizers.AbsMaxQuantizer(0),
    "Int8QuantizationConfig.activation_quantizer": None,
    "Int4QuantizationConfig.weight_quantizer": Whole(
        block_size=None, weight_quantizer=quantizers.AbsMaxQuantizer(value_range=(-8, 7))),
    "Int4QuantizationConfig.activation_quantizer": Whole(
        block_size=None, activation_quantizer=quantizers.AbsMaxQuantizer()),
    "activation_quantizer": quantizers.AbsMaxQuantizer(0), "default_policy": "float16",
    "policy_map": {"a": "float16"}, "source_name": "bfloat16", "Int4DTypePolicy.mode": "int4/16",
    "GPTQDTypePolicy.mode": "gptq/3/8", "AWQDTypePolicy.mode": "awq/4/16", "dataset": [[1]],
    "tokenizer": str, "weight_bits": 8, "quantization_layer_structure": {"sequential_blocks": []},
    "gptq_unpacked_column_size": 4,
    "QuantizedDTypePolicy.mode": "int4", "QuantizedFloat8DTypePolicy.mode": "int8",
    "distillation_loss_weights": [2.0], "loss": "mae", "teacher_layer_name": "a",
    "student_layer_name": "b", "teacher": stack("x"), "student": stack("y"),
    "distillation_losses": [distillation.FeatureDistillation()],
}  # fmt: skip
# By the end of the argument's name.
ENDINGS = {
    "_initializer": lambda default: "zeros" if "ones" in str(default) else "ones",
    "_regularizer": lambda _: "l2",
    "_constraint": lambda _: "non_neg",
    "activation": lambda default: "relu" if "tanh" in str(default) else "tanh",
}
# Abstract, or made of other objects alone.
NOT_MADE = {"Dataset", "FeatureSpace", "PyDataset", "Sequence"}
# Only the defaults are supported, and others are refused.
# Of one value in Keras too.
ONLY = {"Resizing.fill_mode", "IntegerLookup.vocabulary_dtype", "AWQConfig.weight_bits"}
REFUSED = {"sparse", "ragged"}


def classes():
    found = {}
    for namespace in NAMESPACES:
        for name in dir(namespace):
            cls = getattr(namespace, name)
            if (
                name[0] != "_"
                and inspect.isclass(cls)
                and name not in NOT_MADE
                and (cls.__module__.startswith("lamina."))
            ):
                found[cls] = None
    return list(found)


def arguments(cls):
    for name, p in inspect.signature(cls).parameters.items():
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            yield name, p.default


def other(cls, name, default):
    """A value of the argument that is neither its default nor what the class is given here."""
    for key in (f"{cls.__name__}.{name}", name):
        if key in VALUES:
            return VALUES[key]
    for ending, rule in ENDINGS.items():
        if name.endswith(ending):
            return rule(default)
    default = NEEDED.get(cls.__name__, {}).get(name, default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    if isinstance(default, float):
        return default / 2 or 0.25
    raise LookupError(f"VALUES needs an entry for {cls.__name__}.{name} (default {default!r})")


def made(cls, given):
    """The attributes of a new object, as text."""
    x = cls(**given)
    held = vars(x) if hasattr(x, "__dict__") else x.get_config()
    attributes = {k: v for k, v in held.items() if k != "_captured"}
    if isinstance(x, optimizers.Optimizer):
        attributes["learning_rate"] = x.get_config().get("learning_rate")
    return {k: repr(v) for k, v in attributes.items()}


@pytest.mark.parametrize(
    "cls", classes(), ids=lambda c: f"{c.__module__.split('.')[1]}.{c.__name__}"
)
def test_every_argument_changes_the_object(cls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    needed = NEEDED.get(cls.__name__, {})
    without, first, second = [], made(cls, needed), made(cls, needed)
    # What differs between equal objects, such as an address, says nothing.
    same = {k for k in first if first[k] == second.get(k)}
    for name, default in arguments(cls):
        value = other(cls, name, default)
        given = dict(value) if isinstance(value, Whole) else {**needed, name: value}
        if name in REFUSED:
            with pytest.raises(ArgumentError):
                cls(**given)
            continue
        if f"{cls.__name__}.{name}" in ONLY:
            continue
        if name == "name" and value == "own":
            assert cls(**given).name == value
            continue
        changed = made(cls, given)
        if all(changed.get(k) == first[k] for k in same) and not changed.keys() - first.keys():
            without.append(f"{name}={value!r}")
    assert not without
