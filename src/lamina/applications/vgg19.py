"""VGG19 and what goes with it."""

from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.vgg import VGG19, preprocess_input

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]
