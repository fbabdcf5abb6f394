from lamina import layers
from tests.cases import Case

ROWS = [((4, 6, 3), "float32")]
IMAGES = [((2, 5, 4, 6), "float32")]

CASES = [
    Case("dropout", layers.Dropout, {"rate": 0.3}, ROWS, unknown_axes=(1,)),
    Case("dropout_seeded", layers.Dropout, {"rate": 0.5, "seed": 3}, ROWS, unknown_axes=(1,)),
    Case("dropout_shared", layers.Dropout, {"rate": 0.5, "noise_shape": [None, 1, 3]}, ROWS,
         unknown_axes=(1,)),
    Case("dropout_everything", layers.Dropout, {"rate": 1}, ROWS, unknown_axes=(1,)),
    Case("spatial_dropout_1d", layers.SpatialDropout1D, {"rate": 0.5}, ROWS, unknown_axes=(1,)),
    Case("spatial_dropout_2d", layers.SpatialDropout2D, {"rate": 0.5, "seed": 1}, IMAGES,
         unknown_axes=(1, 2)),
    Case("spatial_dropout_2d_channels_first", layers.SpatialDropout2D,
         {"rate": 0.5, "data_format": "channels_first"}, IMAGES, unknown_axes=(2, 3)),
    Case("spatial_dropout_3d", layers.SpatialDropout3D, {"rate": 0.5},
         [((2, 2, 3, 4, 5), "float32")], unknown_axes=(1, 2, 3)),
    Case("gaussian_dropout", layers.GaussianDropout, {"rate": 0.3, "seed": 4}, ROWS,
         unknown_axes=(1,)),
    Case("gaussian_noise", layers.GaussianNoise, {"stddev": 0.3}, ROWS, unknown_axes=(1,)),
    Case("alpha_dropout", layers.AlphaDropout, {"rate": 0.3}, ROWS, unknown_axes=(1,)),
    Case("alpha_dropout_shared", layers.AlphaDropout, {"rate": 0.3, "noise_shape": (None, 1, 1)},
         ROWS, unknown_axes=(1,)),
    Case("activity_regularization", layers.ActivityRegularization, {"l1": 0.1, "l2": 0.2}, ROWS,
         unknown_axes=(1,)),
]  # fmt: skip
