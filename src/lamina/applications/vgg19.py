"""VGG19, its preprocessing, and the decoding of its predictions."""

from lamina.applications.vgg import VGG19, decode_predictions, preprocess_input

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]
