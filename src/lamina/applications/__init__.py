"""Published architectures, with or without pretrained weights."""

from lamina.applications import imagenet_utils as imagenet_utils
from lamina.applications import vgg16 as vgg16
from lamina.applications import vgg19 as vgg19
from lamina.applications.vgg import VGG16 as VGG16
from lamina.applications.vgg import VGG19 as VGG19
