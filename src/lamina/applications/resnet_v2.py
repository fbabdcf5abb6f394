"""ResNet of version 2: normalization and ReLU before each convolution (arXiv:1603.05027)."""

from lamina.applications.imagenet_utils import utilities
from lamina.applications.resnet import FAMILY

ResNet50V2 = FAMILY.function("ResNet50V2", (2, (3, 4, 6, 3)), digests=(
    "3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"))  # fmt: skip
ResNet101V2 = FAMILY.function("ResNet101V2", (2, (3, 4, 23, 3)), digests=(
    "6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"))  # fmt: skip
ResNet152V2 = FAMILY.function("ResNet152V2", (2, (3, 8, 36, 3)), digests=(
    "a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"))  # fmt: skip
preprocess_input, decode_predictions = utilities("tf")
