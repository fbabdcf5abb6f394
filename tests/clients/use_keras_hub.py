"""KerasHub's backbones from scratch, with the same weights on either; the outputs are compared."""

import tempfile
from pathlib import Path

import keras
import keras_hub
import numpy as np

BATCH, LENGTH, WORDS = 2, 6, 12


def fill(model):
    """Give each weight values that depend on its place among the weights alone."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = rng.normal(size=tuple(weight.shape)) * 0.1
        weight.assign(np.abs(value) + 1 if "variance" in weight.name else value)
    return model


def array(name, x):
    """An array for an input of a model: words, positions that are padding, or images."""
    rng = np.random.default_rng(1)
    shape = tuple(BATCH if i == 0 else n or LENGTH for i, n in enumerate(x.shape))
    if name.endswith("padding_mask"):
        return (np.arange(shape[-1]) < shape[-1] - 2) * np.ones(shape, "int32")
    if "int" in keras.backend.standardize_dtype(x.dtype):
        return rng.integers(1, 2 if "segment" in name else WORDS, shape).astype("int32")
    return rng.normal(size=shape).astype("float32")


def data(model):
    inputs = model.input
    if isinstance(inputs, dict):
        return {name: array(name, x) for name, x in inputs.items()}
    return array("images", inputs)


def backbone(name, **arguments):
    return fill(create(f"{name}Backbone", **BACKBONES[name], **arguments))


def create(name, **arguments):
    """An object of a class of `keras_hub.models`; parts that are pairs of name and dict as well."""
    made = {
        k: create(v[0], **v[1]) if isinstance(v, tuple) and isinstance(v[0], str) else v
        for k, v in arguments.items()
    }
    return getattr(keras_hub.models, name)(**made)


SMALL = {"vocabulary_size": WORDS, "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16}
HEADS = SMALL | {"num_heads": 2}
LONG = HEADS | {"max_sequence_length": LENGTH}
GROUPED = SMALL | {"num_query_heads": 4, "num_key_value_heads": 2}
EXPERTS = GROUPED | {"num_experts": 2, "top_k": 1}
MIXTURE = EXPERTS | {"moe_intermediate_dim": 8}
IMAGES = {"image_shape": (32, 32, 3)}
PATCHES = IMAGES | {"patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 8}

# From a class of `keras_hub.models`, less `Backbone`, to the arguments of a small one.
BACKBONES = {
    "Albert": LONG | {"embedding_dim": 4},
    "Bart": LONG,
    "Bert": LONG,
    "Bloom": HEADS,
    "CSPNet": IMAGES | {
        "stem_filters": 8, "stem_kernel_size": 3, "stem_strides": 1, "stackwise_depth": [1, 1],
        "stackwise_strides": [1, 2], "stackwise_num_filters": [8, 16], "block_type": "dark_block",
        "stage_type": "dark",
    },
    "DINOV2": PATCHES | {"intermediate_dim": 16, "position_embedding_shape": (32, 32, 3)},
    "DINOV3": PATCHES | {"intermediate_dim": 16},
    "DebertaV3": LONG | {"bucket_size": 4},
    "DeiT": PATCHES | {"intermediate_dim": 16},
    "DenseNet": IMAGES | {"stackwise_num_repeats": [1, 1]},
    "DistilBert": LONG,
    "EfficientNet": {
        "stackwise_width_coefficients": [1.0, 1.0], "stackwise_depth_coefficients": [1.0, 1.0],
        "stackwise_kernel_sizes": [3, 3], "stackwise_num_repeats": [1, 1],
        "stackwise_input_filters": [8, 8], "stackwise_output_filters": [8, 8],
        "stackwise_expansion_ratios": [1, 2], "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
        "stackwise_strides": [1, 2], "stackwise_block_types": ["unfused", "fused"],
        "stackwise_force_input_filters": [0, 0], "stackwise_nores_option": [False, False],
        "input_shape": (32, 32, 3),
    },
    "ESM": HEADS,
    "Electra": {"vocab_size": WORDS, "num_layers": 2, "num_heads": 2, "hidden_dim": 8,
                "embedding_dim": 4, "intermediate_dim": 16, "max_sequence_length": LENGTH},
    "FNet": SMALL | {"max_sequence_length": LENGTH},
    "Falcon": SMALL | {"num_attention_heads": 2},
    "GPT2": LONG,
    "GPTNeoX": LONG | {"rotary_percentage": 0.5},
    "Gemma": GROUPED | {"head_dim": 4},
    "Gemma3": GROUPED | {"head_dim": 4, "image_size": 16},
    "Gemma4": GROUPED | {"head_dim": 4, "image_size": 16},
    "GptOss": EXPERTS,
    "Llama": GROUPED,
    "Llama3": GROUPED,
    "MiT": IMAGES | {"layerwise_depths": [1, 1], "num_layers": 2, "layerwise_num_heads": [1, 2],
                     "layerwise_sr_ratios": [2, 1], "max_drop_path_rate": 0.1,
                     "layerwise_patch_sizes": [7, 3], "layerwise_strides": [4, 2],
                     "hidden_dims": [4, 8]},
    "Mistral": GROUPED | {"sliding_window": 4},
    "Mixtral": EXPERTS,
    "MobileNet": IMAGES | {
        "stackwise_expansion": [[8], [16]], "stackwise_num_blocks": [1, 1],
        "stackwise_num_filters": [[8], [16]], "stackwise_kernel_size": [[3], [5]],
        "stackwise_num_strides": [[2], [1]], "stackwise_se_ratio": [[None], [0.25]],
        "stackwise_activation": [["relu"], ["hard_swish"]], "stackwise_padding": [[1], [2]],
        "output_num_filters": 16, "depthwise_filters": 8, "depthwise_stride": 2,
        "depthwise_residual": False, "last_layer_filter": 16,
    },
    "OPT": LONG,
    "Phi3": GROUPED,
    "Qwen": GROUPED,
    "Qwen3": GROUPED | {"head_dim": 4},
    "Qwen3Moe": MIXTURE | {"head_dim": 4},
    "QwenMoe": MIXTURE | {"shared_expert_intermediate_dim": 8},
    "RWKV7": {"vocabulary_size": WORDS, "hidden_size": 8, "head_size": 4, "num_layers": 2,
              "intermediate_dim": 16, "gate_lora": 4, "mv_lora": 4, "aaa_lora": 4, "decay_lora": 4},
    "ResNet": IMAGES | {
        "input_conv_filters": [64], "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64, 16],
        "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2],
        "block_type": "basic_block",
    },
    "Roberta": LONG,
    "RoformerV2": HEADS | {"head_size": 4},
    "SwinTransformer": IMAGES | {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
                                 "window_size": 4},
    "T5": HEADS | {"key_value_dim": 4},
    "VGG": IMAGES | {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 8]},
    "ViT": PATCHES | {"mlp_dim": 16},
    "ViTDet": IMAGES | {"hidden_size": 8, "num_layers": 2, "intermediate_dim": 16, "num_heads": 2,
                        "global_attention_layer_indices": [1], "window_size": 2,
                        "num_output_channels": 8},
    "Whisper": HEADS | {"max_encoder_sequence_length": LENGTH,
                        "max_decoder_sequence_length": LENGTH},
    "XLMRoberta": LONG,
    "XLNet": HEADS,
    "Xception": IMAGES | {"stackwise_conv_filters": [[8, 8], [16, 16]],
                          "stackwise_pooling": [True, False]},
}  # fmt: skip

TEXT = LONG | {"embedding_dim": 8}
TWO = {
    f"{part}_{name}": value
    for part in ("encoder", "decoder")
    for name, value in {
        "hidden_dim": 8, "intermediate_dim": 16, "num_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 4,
        "layer_types": ["full_attention", "sliding_attention"],
    }.items()
}  # fmt: skip
TWO |= {"vocabulary_size": WORDS, "sliding_window": 3}
LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 4,
    "linear_value_head_dim": 4, "head_dim": 8,
}  # fmt: skip
RESNET = ("ResNetBackbone", BACKBONES["ResNet"])
# Models of several parts, and those that were added to KerasHub last.
BACKBONES |= {
    "CLIP": {"vision_encoder": ("CLIPVisionEncoder", PATCHES | {"intermediate_dim": 16}),
             "text_encoder": ("CLIPTextEncoder", TEXT), "projection_dim": 4},
    "DeepLabV3": IMAGES | {"image_encoder": RESNET, "spatial_pyramid_pooling_key": "P3",
                           "low_level_feature_key": "P2", "upsampling_size": 2,
                           "dilation_rates": [2, 3], "projection_filters": 8},
    "EdRec": {"vocab_size": WORDS, "num_layers_enc": 2, "num_layers_dec": 2, "hidden_dim": 8,
              "intermediate_dim": 16, "num_heads": 2},
    "HGNetV2": IMAGES | {
        "depths": [1, 1], "embedding_size": 8, "hidden_sizes": [8, 16], "stem_channels": [3, 8, 8],
        "hidden_act": "relu", "use_learnable_affine_block": True,
        "stackwise_stage_filters": [(8, 8, 16, 1, 1, 3), (16, 8, 32, 1, 2, 3)],
        "apply_downsample": [False, True], "use_lightweight_conv_block": [False, True],
    },
    "PaliGemma": GROUPED | {
        "head_dim": 4, "image_size": 32, "vit_patch_size": 16, "vit_num_heads": 2,
        "vit_hidden_dim": 8, "vit_num_layers": 2,
    },
    "Qwen3_5": GROUPED | LINEAR | {"layer_types": ["linear_attention", "full_attention"]},
    "Qwen3_5Moe": LINEAR | {
        "vocabulary_size": WORDS, "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2,
        "hidden_dim": 8, "moe_intermediate_dim": 8, "shared_expert_intermediate_size": 8,
        "num_experts": 2, "top_k": 1, "layer_types": ["linear_attention", "full_attention"],
    },
    "RetinaNet": IMAGES | {"image_encoder": RESNET, "min_level": 2, "max_level": 4,
                           "use_p5": False},
    "SegFormer": {"image_encoder": ("MiTBackbone", BACKBONES["MiT"]), "projection_filters": 8},
    "SigLIP": {"vision_encoder": ("SigLIPVisionEncoder", PATCHES | {"intermediate_dim": 16}),
               "text_encoder": ("SigLIPTextEncoder", TEXT)},
    "SmolLM3": {
        "vocabulary_size": WORDS, "hidden_dim": 8, "intermediate_dim": 16, "num_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "attention_bias": False,
        "attention_dropout": 0.0, "rope_layer_enabled_list": [True, False],
        "layer_types": ["attention", "attention"], "mlp_bias": False, "layer_norm_epsilon": 1e-5,
        "max_position_embeddings": LENGTH, "rope_theta": 10000.0, "partial_rotary_factor": 1.0,
    },
    "T5Gemma": TWO,
    "T5Gemma2": TWO,
    "VideoPrism": IMAGES | {"num_frames": 2, "patch_size": 16, "hidden_dim": 8, "num_heads": 2,
                            "intermediate_dim": 16, "num_spatial_layers": 1,
                            "num_temporal_layers": 1, "num_auxiliary_layers": 1},
}  # fmt: skip


def _add(name):
    def use():
        """The outputs, and a second model of the same config, which takes the same weights."""
        model = backbone(name)
        again = type(model).from_config(model.get_config())
        again.set_weights(model.get_weights())
        return again.predict(data(again), verbose=0)

    globals()[f"use_{name}"] = use


for _name in BACKBONES:
    _add(_name)


PROMPT = {
    "token_ids": np.array([[3, 5, 0, 0, 0, 0]], "int32"),
    "padding_mask": np.array([[1, 1, 0, 0, 0, 0]], "int32"),
}


def _generation(kind, name, sampler="greedy"):
    language = getattr(keras_hub.models, f"{kind}CausalLM")(backbone(name), preprocessor=None)
    language.compile(sampler=sampler)
    return language.generate(PROMPT, stop_token_ids=None)


def use_generation():
    return _generation("GPT2", "GPT2")


def use_generation_by_beams():
    return _generation("Llama", "Llama", keras_hub.samplers.BeamSampler(num_beams=2))


def use_generation_by_draws():
    drawn = _generation("Gemma", "Gemma", keras_hub.samplers.TopPSampler(p=0.9, seed=1))
    assert drawn["token_ids"].shape == (1, LENGTH)


def use_text_classifier():
    model = keras_hub.models.BertTextClassifier(
        backbone("Bert", dropout=0.0), num_classes=3, preprocessor=None, dropout=0.0
    )
    fill(model).compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data(model), np.array([0, 2]), epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


def use_masked_language_model():
    model = keras_hub.models.BertMaskedLM(backbone("Bert"), preprocessor=None)
    return fill(model).predict(data(model) | {"mask_positions": np.array([[1], [2]])}, verbose=0)


def use_image_classifier():
    model = keras_hub.models.ResNetImageClassifier(backbone("ResNet"), num_classes=3)
    return fill(model).predict(data(model), verbose=0)


def use_low_rank_adaptation():
    model = backbone("Gemma")
    model.enable_lora(2)
    fill(model)
    count = len(model.trainable_weights)
    assert count == 8
    with tempfile.TemporaryDirectory() as folder:
        model.save_lora_weights(f"{folder}/a.lora.h5")
        again = backbone("Gemma")
        again.load_lora_weights(f"{folder}/a.lora.h5")
    return [w.numpy() for w in again.trainable_weights]


def use_save():
    model = backbone("Bert")
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "bert.keras")
        again = keras.saving.load_model(Path(folder) / "bert.keras")
    assert type(again) is type(model)
    return again.predict(data(model), verbose=0)


def use_preset():
    model = backbone("Bert")
    with tempfile.TemporaryDirectory() as folder:
        model.save_to_preset(folder)
        again = keras_hub.models.Backbone.from_preset(folder)
    assert type(again) is type(model)
    return again.predict(data(model), verbose=0)


def use_quantized():
    model = backbone("Bert")
    model.quantize("int8")
    return model.predict(data(model), verbose=0)


def use_mixed_precision():
    model = fill(keras_hub.models.BertBackbone(**BACKBONES["Bert"], dtype="mixed_bfloat16"))
    return model.predict(data(model), verbose=0)["pooled_output"].astype("float32").round(1)


HIDDEN = np.random.default_rng(2).normal(size=(BATCH, LENGTH, 8)).astype("float32")
TOKENS = np.random.default_rng(2).integers(0, WORDS, (BATCH, LENGTH)).astype("int32")

# From layers of KerasHub, with arguments, to those of a call.
LAYERS = {
    "AlibiBias": ({}, (np.ones((BATCH, 2, LENGTH, LENGTH), "float32"),)),
    "CachedMultiHeadAttention": ({"num_heads": 2, "key_dim": 4}, (HIDDEN, HIDDEN)),
    "FNetEncoder": ({"intermediate_dim": 8}, (HIDDEN,)),
    "MaskedLMHead": ({"vocabulary_size": WORDS}, (HIDDEN, TOKENS[:, :2] % LENGTH)),
    "PositionEmbedding": ({"sequence_length": LENGTH}, (HIDDEN,)),
    "RMSNormalization": ({"input_dim": 8}, (HIDDEN,)),
    "ReversibleEmbedding": ({"input_dim": WORDS, "output_dim": 8}, (TOKENS,)),
    "RotaryEmbedding": ({}, (HIDDEN,)),
    "SinePositionEncoding": ({}, (HIDDEN,)),
    "TokenAndPositionEmbedding": (
        {"vocabulary_size": WORDS, "sequence_length": LENGTH, "embedding_dim": 8,
         "mask_zero": True}, (TOKENS,),
    ),
    "TransformerDecoder": ({"intermediate_dim": 8, "num_heads": 2}, (HIDDEN, HIDDEN)),
    "TransformerEncoder": ({"intermediate_dim": 8, "num_heads": 2}, (HIDDEN,)),
}  # fmt: skip


def _add_layer(name, arguments, inputs):
    def use():
        layer = getattr(keras_hub.layers, name)(**arguments)
        layer(*inputs)
        fill(layer)
        again = type(layer).from_config(layer.get_config())
        again(*inputs)
        again.set_weights(layer.get_weights())
        symbolic = [keras.Input(x.shape[1:], dtype=x.dtype) for x in inputs]
        model = keras.Model(symbolic, again(*symbolic))
        np.testing.assert_allclose(layer(*inputs), model(list(inputs)), rtol=1e-4, atol=1e-5)
        return layer(*inputs)

    globals()[f"use_layers_{name}"] = use


for _name, (_arguments, _inputs) in LAYERS.items():
    _add_layer(_name, _arguments, _inputs)
