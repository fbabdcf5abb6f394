"""What the alias of Keras's name knows by hand: versions, private paths, what to use instead."""

from __future__ import annotations

from typing import Final

# The version of Keras whose surface Lamina follows: what `keras.__version__` says under the alias.
KERAS_VERSION: Final = "3.15.0"

# Private modules that libraries on top of Keras import: the public module of Keras that has the
# names, if any, and the names that `lamina.alias.private` adds.
PRIVATE: Final[dict[str, tuple[str | None, tuple[str, ...]]]] = {
    "keras.src.backend": ("keras.backend", ("standardize_shape",)),  # keras-rs
    "keras.src.callbacks": ("keras.callbacks", ()),  # bayesflow
    "keras.src.ops": ("keras.ops", ()),  # keras-tuner
    "keras.src.saving.saving_lib": (None, ("load_model", "save_model")),  # scikeras
    "keras.src.utils.tracking": (None, ("no_automatic_dependency_tracking",)),  # keras-rs
}

# Names that Lamina does not have for a reason, or that something else replaces. A text holds for
# everything below its path, unless a longer path has its own.
INSTEAD: Final[dict[str, str]] = {
    "keras.Layer.add_metric": "In Keras 3 it only raises an error: metrics go to `compile`.",
    "keras.Operation.quantized_call": "A method of layers: `keras.layers.Layer.quantized_call`.",
    "keras.Operation.rematerialized_call": "A step of a call inside Keras: use `keras.remat`.",
    "keras.callbacks.TensorBoard.summary": "A module of TensorFlow, which is not needed here.",
    "keras.layers.TFSMLayer": "It runs TensorFlow's SavedModels, and Lamina runs on JAX alone.",
    "keras.layers.TorchModuleWrapper": "It runs PyTorch modules, and Lamina runs on JAX alone.",
    "keras.legacy": "It reads configs of Keras 2. Save the model again with Keras 3.",
    "keras.optimizers.legacy": "Keras 2's optimizers: those of `keras.optimizers` replace them.",
}

TENSORFLOW: Final = (
    "Lamina stands in for `keras` and not for `{name}`, which is a Keras of TensorFlow's own, with "
    "TensorFlow's tensors. Where the program uses Keras's names only, write `import keras` in "
    "its place."
)
