from lamina import layers
from tests.cases import Case

ROWS = [((4, 6, 3), "float32")]
IMAGES = [((2, 5, 4, 3), "float32")]

CASES = [
    Case("relu", layers.ReLU, {}, ROWS, unknown_axes=(1, 2)),
    Case("relu_all", layers.ReLU, {"max_value": 0.9, "negative_slope": 0.1, "threshold": 0.3},
         ROWS, unknown_axes=(1,)),
    Case("relu_six", layers.ReLU, {"max_value": 6}, ROWS, unknown_axes=(1,)),
    Case("relu_integers", layers.ReLU, {}, [((2, 3), "int32")]),
    Case("relu_integers_slope", layers.ReLU, {"negative_slope": 0.5, "threshold": 2.5},
         [((2, 3), "int32")]),
    Case("leaky_relu", layers.LeakyReLU, {}, ROWS, unknown_axes=(1, 2)),
    Case("leaky_relu_slope", layers.LeakyReLU, {"negative_slope": 0.1}, ROWS),
    Case("elu", layers.ELU, {"alpha": 0.5}, ROWS, unknown_axes=(1, 2)),
    Case("prelu", layers.PReLU, {"alpha_initializer": "ones"}, ROWS),
    Case("prelu_shared", layers.PReLU, {"shared_axes": [1, 2], "alpha_regularizer": "l1"}, IMAGES,
         unknown_axes=(1, 2)),
    Case("prelu_shared_one", layers.PReLU, {"shared_axes": 1, "alpha_constraint": "non_neg"}, ROWS,
         unknown_axes=(1,)),
    Case("softmax", layers.Softmax, {}, ROWS, unknown_axes=(1, 2)),
    Case("softmax_axes", layers.Softmax, {"axis": [1, 2]}, ROWS, unknown_axes=(1, 2)),
    Case("softmax_integers", layers.Softmax, {"axis": 1}, [((2, 3), "int32")]),
]  # fmt: skip
