"""What the alias of Keras's name knows by hand: versions, private paths, what to use instead."""

from __future__ import annotations

from typing import Final

# The version of Keras whose surface Lamina follows: what `keras.__version__` says under the alias.
KERAS_VERSION: Final = "3.15.0"

# Private modules that libraries on top of Keras import: the public module of Keras that has the
# names, if any, and the names that `lamina.alias.private` adds.
PRIVATE: Final[dict[str, tuple[str | None, tuple[str, ...]]]] = {
    "keras.src.backend": (
        "keras.backend", ("get_keras_mask", "set_keras_mask", "standardize_shape"),
    ),  # keras-hub, keras-rs
    "keras.src.callbacks": ("keras.callbacks", ()),  # bayesflow
    "keras.src.distribution.distribution_lib": ("keras.distribution", ()),  # keras-hub
    "keras.src.losses.losses": ("keras.losses", ("LossFunctionWrapper",)),  # keras-hub
    "keras.src.ops": ("keras.ops", ()),  # keras-tuner
    "keras.src.saving": ("keras.saving", ()),  # keras-hub
    "keras.src.saving.saving_lib": (
        None, ("H5IOStore", "load_model", "save_model"),
    ),  # keras-hub, scikeras
    "keras.src.saving.serialization_lib": ("keras.saving", ("in_safe_mode",)),  # keras-hub
    "keras.src.trainers.data_adapters.data_adapter_utils": (
        None, ("class_weight_to_sample_weights",),
    ),  # keras-hub
    "keras.src.utils.backend_utils": (None, ("in_grain_data_pipeline",)),  # keras-hub
    "keras.src.utils.tracking": (None, ("no_automatic_dependency_tracking",)),  # keras-rs
}  # fmt: skip
# Private attributes of layers and models that libraries use, which Lamina has under these names.
PRIVATE_ATTRIBUTES: Final[dict[str, str]] = {
    "Layer._flatten_layers": "keras-hub",
    "Model._loss_tracker": "bayesflow",
    "MultiHeadAttention._{build,compute}_attention": "keras-hub",
    "MultiHeadAttention._get_common_kwargs_for_sublayer": "keras-hub",
    "MultiHeadAttention._{num_heads,key_dim,value_dim,use_bias,output_shape}": "keras-hub",
    "MultiHeadAttention._{query,key,value,output}_dense": "keras-hub",
}

# Names that Lamina does not have for a reason, or that something else replaces. A text holds for
# everything below its path, unless a longer path has its own.
INSTEAD: Final[dict[str, str]] = {
    "keras.Layer.add_metric": "In Keras 3 it only raises an error: metrics go to `compile`.",
    "keras.Operation.quantized_call": "A method of layers: `keras.layers.Layer.quantized_call`.",
    "keras.Operation.rematerialized_call": "A step of a call inside Keras: use `keras.remat`.",
    "keras.callbacks.TensorBoard.summary": "A module of TensorFlow, which is not needed here.",
    "keras.distribution.DataParallel.data_shard_id": "It is for TensorFlow's data sets: "
    "`jax.process_index()` is the number of the process.",
    "keras.distribution.DataParallel.distribute_dataset": "It is for TensorFlow's data sets: `fit` "
    "gives each process its part of any data.",
    **dict.fromkeys(
        [f"keras.layers.AugMix.transform_single_{part}"
         for part in ("bounding_box", "image", "label", "segmentation_mask")],
        "Images are transformed as a batch: use `transform_images`, `transform_labels`, ...",
    ),
    **dict.fromkeys(
        [f"keras.layers.GRUCell.{verb}_{part}dropout_mask"
         for verb in ("get", "reset") for part in ("", "recurrent_")],
        "Masks of dropout are drawn once for all time steps, before the loop.",
    ),
    "keras.layers.TFSMLayer": "It runs TensorFlow's SavedModels, and Lamina runs on JAX alone.",
    "keras.layers.TorchModuleWrapper": "It runs PyTorch modules, and Lamina runs on JAX alone.",
    "keras.legacy": "It reads configs of Keras 2. Save the model again with Keras 3.",
    "keras.optimizers.legacy": "Keras 2's optimizers: those of `keras.optimizers` replace them.",
}  # fmt: skip

TENSORFLOW: Final = (
    "Lamina stands in for `keras` and not for `{name}`, which is a Keras of TensorFlow's own, with "
    "TensorFlow's tensors. Where the program uses Keras's names only, write `import keras` in "
    "its place."
)
