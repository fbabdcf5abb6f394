import jax.numpy as jnp

from lamina import layers
from lamina.serialization.registry import register_serializable
from tests.cases import Case


@register_serializable(package="tests")
def squared(x):
    return jnp.square(x)


CASES = [
    Case("dense", layers.Dense, {"units": 3, "activation": "relu"}, [((2, 4), "float32")]),
    Case("dense_no_bias", layers.Dense, {"units": 3, "use_bias": False}, [((2, 5, 4), "float32")],
         unknown_axes=(1,)),
    Case("embedding", layers.Embedding, {"input_dim": 7, "output_dim": 3}, [((2, 6), "int32")],
         unknown_axes=(1,)),
    Case("activation", layers.Activation, {"activation": "tanh"}, [((2, 6), "float32")],
         unknown_axes=(1,)),
    Case("identity", layers.Identity, {}, [((2, 6), "float32")], unknown_axes=(1,)),
    Case("masking", layers.Masking, {"mask_value": 0.5}, [((2, 6, 3), "float32")],
         unknown_axes=(1,)),
    Case("einsum_dense", layers.EinsumDense,
         {"equation": "abc,cd->abd", "output_shape": (None, 3), "bias_axes": "d"},
         [((2, 5, 4), "float32")], unknown_axes=(1,)),
    Case("einsum_dense_leading", layers.EinsumDense,
         {"equation": "...x,xyz->...yz", "output_shape": (2, 3), "bias_axes": "y",
          "activation": "relu"}, [((2, 5, 4), "float32")], unknown_axes=(1,)),
    Case("einsum_dense_trailing", layers.EinsumDense,
         {"equation": "ab...,bc->ac...", "output_shape": 3, "bias_axes": "c"},
         [((2, 4, 5), "float32")]),
    Case("reversible_embedding", layers.ReversibleEmbedding,
         {"input_dim": 7, "output_dim": 3, "mask_zero": True}, [((2, 6), "int32")],
         unknown_axes=(1,)),
    Case("reversible_embedding_reverse", layers.ReversibleEmbedding,
         {"input_dim": 7, "output_dim": 3, "tie_weights": False, "logit_soft_cap": 0.05},
         [((2, 6, 3), "float32")], {"reverse": True}, unknown_axes=(1,)),
    Case("lambda", layers.Lambda, {"function": squared}, [((2, 6), "float32")], unknown_axes=(1,)),
]  # fmt: skip
