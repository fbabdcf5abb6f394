"""VGG16, its preprocessing, and the decoding of its predictions."""

from lamina.applications.vgg import VGG16, decode_predictions, preprocess_input

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]
