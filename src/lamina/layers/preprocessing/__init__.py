"""Layers that preprocess raw data: inside a model, on arrays, or in a data pipeline."""

from lamina.layers.preprocessing.audio import *  # noqa: F403
from lamina.layers.preprocessing.category_encoding import *  # noqa: F403
from lamina.layers.preprocessing.discretization import *  # noqa: F403
from lamina.layers.preprocessing.hashing import *  # noqa: F403
from lamina.layers.preprocessing.lookups import *  # noqa: F403
from lamina.layers.preprocessing.normalization import *  # noqa: F403
from lamina.layers.preprocessing.pipeline import *  # noqa: F403
from lamina.layers.preprocessing.rescaling import *  # noqa: F403
from lamina.layers.preprocessing.text_vectorization import *  # noqa: F403
