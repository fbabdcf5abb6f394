"""VGG19 and what goes with it."""

from lamina.applications.imagenet import decode_predictions as decode_predictions
from lamina.applications.vgg import VGG19 as VGG19
from lamina.applications.vgg import preprocess_input as preprocess_input
