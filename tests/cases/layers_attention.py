"""Attention, with and without projections."""

from lamina.layers.attention import GroupQueryAttention, MultiHeadAttention
from lamina.layers.attention_unprojected import AdditiveAttention, Attention
from tests.cases import Case

QUERY, VALUE, KEY = ((2, 4, 3), "float32"), ((2, 5, 6), "float32"), ((2, 5, 2), "float32")
LIKE = [QUERY, ((2, 5, 6), "float32"), ((2, 5, 3), "float32")]
HEADS = {"num_heads": 4, "key_dim": 3}
GROUPS = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
GRID = ((2, 3, 4, 5), "float32")


def one_by_one(layer, *inputs, **kwargs):
    return layer(*inputs, **kwargs)


def itself(layer, x, **kwargs):
    return layer(x, x, **kwargs)


CASES = [
    *(
        Case(f"{name}_{row}", cls, {**sizes, **kwargs}, [QUERY, VALUE, KEY][:count],
             call_kwargs=call_kwargs, unknown_axes=(1,), call=one_by_one)
        for name, cls, sizes in (
            ("multi_head", MultiHeadAttention, HEADS), ("group_query", GroupQueryAttention, GROUPS)
        )
        for row, kwargs, count, call_kwargs in [
            ("plain", {}, 2, {}),
            ("key", {"use_gate": True, "use_bias": False, "kernel_initializer": "he_normal"}, 3,
             {"use_causal_mask": True}),
            ("window", {"sliding_window": 2, "dropout": 0.5}, 2, {"return_attention_scores": True}),
        ]
    ),
    Case("multi_head_self", MultiHeadAttention, HEADS, [QUERY], unknown_axes=(1,), call=itself),
    Case("multi_head_output", MultiHeadAttention,
         {**HEADS, "value_dim": 5, "output_shape": (3, 2)}, [QUERY, VALUE],
         call_kwargs={"return_attention_scores": True}, call=one_by_one),
    Case("multi_head_grid", MultiHeadAttention, {"num_heads": 2, "key_dim": 3}, [GRID],
         {"return_attention_scores": True}, unknown_axes=(1, 2), call=itself),
    Case("multi_head_rows", MultiHeadAttention,
         {"num_heads": 2, "key_dim": 3, "attention_axes": 2}, [GRID], unknown_axes=(1, 2),
         call=itself),
    Case("multi_head_first_axis", MultiHeadAttention,
         {"num_heads": 2, "key_dim": 3, "attention_axes": (1, -2), "output_shape": 4},
         [((2, 3, 4, 2, 5), "float32")], call=itself),
    Case("attention", Attention, {}, LIKE[:1] * 2, unknown_axes=(1,)),
    Case("attention_key", Attention, {"use_scale": True, "dropout": 0.3}, LIKE,
         {"use_causal_mask": True}, unknown_axes=(1,)),
    Case("attention_concat", Attention, {"use_scale": True, "score_mode": "concat"}, LIKE,
         {"return_attention_scores": True}, unknown_axes=(1,)),
    Case("attention_grid", Attention, {}, [GRID, GRID], unknown_axes=(2,)),
    Case("additive_attention", AdditiveAttention, {}, LIKE, unknown_axes=(1,)),
    Case("additive_attention_unscaled", AdditiveAttention, {"use_scale": False}, LIKE,
         {"return_attention_scores": True}, unknown_axes=(1,)),
]  # fmt: skip
