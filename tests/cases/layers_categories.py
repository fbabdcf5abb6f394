from lamina import layers
from tests.cases import Case

WORDS = [((4, 3), "string")]
NUMBERS = [((4, 3), "int32")]
VOCABULARY = {"vocabulary": ["a", "b", "c"]}
INTEGERS = {"vocabulary": [1, 2, 2**40]}

CASES = [
    Case("category_encoding", layers.CategoryEncoding, {"num_tokens": 4}, NUMBERS),
    Case("category_encoding_count", layers.CategoryEncoding,
         {"num_tokens": 5, "output_mode": "count"}, NUMBERS, unknown_axes=(1,)),
    Case("category_encoding_one_hot", layers.CategoryEncoding,
         {"num_tokens": 5, "output_mode": "one_hot"}, NUMBERS, unknown_axes=(1,)),
    Case("category_encoding_of_one", layers.CategoryEncoding,
         {"num_tokens": 5, "output_mode": "one_hot"}, [((4, 1), "int32")]),
]  # fmt: skip

# Layers that run on the host, for which tests/laws/test_host_layers.py has the laws.
HOST = [
    Case("string_lookup", layers.StringLookup, VOCABULARY, WORDS),
    *(Case(f"string_lookup_{m}", layers.StringLookup, {**VOCABULARY, "output_mode": m}, WORDS)
      for m in ("one_hot", "multi_hot", "count")),
    Case("string_lookup_tf_idf", layers.StringLookup,
         {**VOCABULARY, "output_mode": "tf_idf", "idf_weights": [0.5, 1.0, 2.0]}, WORDS),
    Case("string_lookup_mask", layers.StringLookup,
         {**VOCABULARY, "mask_token": "d", "num_oov_indices": 2, "salt": 3}, WORDS),
    Case("string_lookup_inverse", layers.StringLookup, {**VOCABULARY, "invert": True}, NUMBERS),
    Case("integer_lookup", layers.IntegerLookup, INTEGERS, NUMBERS),
    Case("integer_lookup_padded", layers.IntegerLookup,
         {**INTEGERS, "output_mode": "multi_hot", "max_tokens": 9, "pad_to_max_tokens": True},
         NUMBERS),
    Case("integer_lookup_inverse", layers.IntegerLookup,
         {"vocabulary": [7, 8], "invert": True}, NUMBERS),
    Case("text_vectorization", layers.TextVectorization, VOCABULARY, [((4, 1), "string")]),
    Case("text_vectorization_length", layers.TextVectorization,
         {**VOCABULARY, "output_sequence_length": 2, "ngrams": 2}, [((4,), "string")]),
    Case("text_vectorization_count", layers.TextVectorization,
         {**VOCABULARY, "output_mode": "count", "split": "character"}, [((4, 1), "string")]),
    Case("text_vectorization_whole", layers.TextVectorization,
         {**VOCABULARY, "split": None, "standardize": None}, WORDS),
    Case("hashing", layers.Hashing, {"num_bins": 7, "mask_value": "a"}, WORDS),
    Case("hashing_integers", layers.Hashing, {"num_bins": 7, "salt": [1, 2], "dtype": "int32"},
         NUMBERS),
    Case("hashing_count", layers.Hashing, {"num_bins": 7, "output_mode": "count"}, WORDS),
    Case("hashed_crossing", layers.HashedCrossing, {"num_bins": 7},
         [((4, 1), "string"), ((4, 1), "int32")]),
    Case("hashed_crossing_one_hot", layers.HashedCrossing,
         {"num_bins": 7, "output_mode": "one_hot"}, [((4,), "string"), ((4,), "int32")]),
]  # fmt: skip
