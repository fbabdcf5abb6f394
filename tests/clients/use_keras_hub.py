"""KerasHub's backbones from scratch, with the same weights on either: their outputs are compared."""

import tempfile
from pathlib import Path

import keras
import keras_hub
import numpy as np

BATCH, LENGTH, WORDS = 2, 6, 12
IMAGE = {"images": (BATCH, 32, 32, 3)}


def fill(model):
    """Give each weight values that depend on its position among the weights alone."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = rng.normal(size=tuple(weight.shape)) * 0.1
        if weight.name in ("gamma", "scale", "moving_variance") or "variance" in weight.name:
            value = 1 + np.abs(value)
        weight.assign(value.astype("float32"))
    return model


def data(model):
    """An array for each input of a model: words, positions of padding, or images."""
    rng = np.random.default_rng(1)
    found = {}
    for name, x in model.input.items():
        shape = tuple(BATCH if i == 0 else n or LENGTH for i, n in enumerate(x.shape))
        if name.endswith("padding_mask"):
            found[name] = (np.arange(shape[-1]) < shape[-1] - 2) * np.ones(shape, "int32")
        elif "segment" in name:
            found[name] = rng.integers(0, 2, shape).astype("int32")
        elif "int" in keras.backend.standardize_dtype(x.dtype):
            found[name] = rng.integers(1, WORDS, shape).astype("int32")
        else:
            found[name] = rng.normal(size=shape).astype("float32")
    return found


SMALL = {"vocabulary_size": WORDS, "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16}
HEADS = SMALL | {"num_heads": 2}
LONG = HEADS | {"max_sequence_length": LENGTH}
GROUPED = SMALL | {"num_query_heads": 4, "num_key_value_heads": 2}
GEMMA = GROUPED | {"head_dim": 4}

# From a class of `keras_hub.models`, less `Backbone`, to the arguments of a small one.
BACKBONES = {
    "Albert": LONG | {"embedding_dim": 4, "num_groups": 1, "num_inner_repetitions": 1},
    "Bart": LONG,
    "Bert": LONG,
    "Bloom": HEADS,
    "CSPNet": {
        "stem_filters": 8, "stem_kernel_size": 3, "stem_strides": 1, "stackwise_depth": [1, 1],
        "stackwise_strides": [1, 2], "stackwise_num_filters": [8, 16], "block_type": "dark_block",
        "image_shape": (32, 32, 3),
    },
    "DebertaV3": LONG | {"bucket_size": 4},
    "DenseNet": {"stackwise_num_repeats": [1, 1], "image_shape": (32, 32, 3)},
    "DistilBert": LONG,
    "Electra": {"vocab_size": WORDS, "num_layers": 2, "num_heads": 2, "hidden_dim": 8,
                "embedding_dim": 4, "intermediate_dim": 16, "max_sequence_length": LENGTH},
    "FNet": LONG,
    "Falcon": SMALL | {"num_attention_heads": 2},
    "GPT2": LONG,
    "GPTNeoX": LONG,
    "Gemma": GEMMA,
    "Llama": GROUPED,
    "Llama3": GROUPED,
    "Mistral": GROUPED | {"sliding_window": 4},
    "Mixtral": GROUPED | {"num_experts": 2, "top_k": 1, "sliding_window": 4},
    "OPT": LONG,
    "Phi3": GROUPED,
    "Qwen": GROUPED,
    "ResNet": {
        "input_conv_filters": [8], "input_conv_kernel_sizes": [3], "stackwise_num_filters": [8, 16],
        "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2],
        "block_type": "basic_block", "image_shape": (32, 32, 3),
    },
    "Roberta": LONG,
    "T5": HEADS | {"key_value_dim": 4},
    "VGG": {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 8],
            "image_shape": (32, 32, 3)},
    "ViT": {"image_shape": (32, 32, 3), "patch_size": 16, "num_layers": 2, "num_heads": 2,
            "hidden_dim": 8, "mlp_dim": 16},
    "XLMRoberta": LONG,
}  # fmt: skip


def _add(name, arguments):
    def use():
        cls = getattr(keras_hub.models, f"{name}Backbone")
        model = fill(cls(**{n: v for n, v in arguments.items() if n not in LEFT_OUT.get(name, ())}))
        again = cls.from_config(model.get_config())
        again.set_weights(model.get_weights())
        inputs = data(model)
        outputs = model.predict(inputs, verbose=0)
        for a, b in zip(keras.tree.flatten(outputs), keras.tree.flatten(again(inputs)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
        return outputs

    globals()[f"use_{name}"] = use
