"""VGG16 and what goes with it."""

from lamina.applications.imagenet import decode_predictions as decode_predictions
from lamina.applications.vgg import VGG16 as VGG16
from lamina.applications.vgg import preprocess_input as preprocess_input
