from lamina import layers
from tests.cases import Case

IMAGES = [((2, 4, 5, 3), "float32")]

CASES = [
    Case("rescaling", layers.Rescaling, {"scale": 1 / 255}, [((2, 4, 5, 3), "uint8")],
         unknown_axes=(1, 2)),
    Case("rescaling_offset", layers.Rescaling, {"scale": 2.0, "offset": -1}, IMAGES,
         unknown_axes=(1, 2)),
    Case("rescaling_channels", layers.Rescaling,
         {"scale": [1.0, 2.0, 3.0], "offset": [0.5, 0.0, -0.5]}, IMAGES, unknown_axes=(1, 2)),
]  # fmt: skip
