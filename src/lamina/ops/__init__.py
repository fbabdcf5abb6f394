"""Public ops: on arrays they compute a result, on symbolic tensors they record a node."""

from lamina.ops import image as image
from lamina.ops import linalg as linalg
from lamina.ops import nn as nn
from lamina.ops import numpy as numpy
from lamina.ops.core import *  # noqa: F403
from lamina.ops.einops import *  # noqa: F403
from lamina.ops.linalg import *  # noqa: F403
from lamina.ops.math import *  # noqa: F403
from lamina.ops.nn import *  # noqa: F403
from lamina.ops.numpy import *  # noqa: F403
