from lamina import layers
from tests.cases import Case

CUBE = [((2, 3, 4), "float32")]

CASES = [
    Case("flatten", layers.Flatten, {}, [((2, 3, 4, 2), "float32")], unknown_axes=(1, 2)),
    Case("flatten_channels_first", layers.Flatten, {"data_format": "channels_first"},
         [((2, 3, 4, 2), "float32")], unknown_axes=(2,)),
    Case("flatten_nothing", layers.Flatten, {}, [((2, 3), "int32")], unknown_axes=(1,)),
    Case("flatten_scalars", layers.Flatten, {}, [((4,), "float32")]),
    Case("reshape", layers.Reshape, {"target_shape": (2, 6)}, CUBE),
    Case("reshape_open", layers.Reshape, {"target_shape": [-1, 2]}, CUBE, unknown_axes=(1,)),
    Case("reshape_row", layers.Reshape, {"target_shape": (-1,)}, CUBE, unknown_axes=(1, 2)),
    Case("reshape_integers", layers.Reshape, {"target_shape": (4, 3, 1)}, [((2, 3, 4), "int32")]),
    Case("permute", layers.Permute, {"dims": (2, 1)}, CUBE, unknown_axes=(1, 2)),
    Case("permute_three", layers.Permute, {"dims": [3, 1, 2]}, [((2, 3, 4, 5), "float32")],
         unknown_axes=(2,)),
    Case("repeat_vector", layers.RepeatVector, {"n": 3}, [((2, 4), "float32")], unknown_axes=(1,)),
]  # fmt: skip
