"""Layers that preprocess raw data: inside a model, on arrays, or in a data pipeline."""

from lamina.layers.preprocessing.category_encoding import CategoryEncoding as CategoryEncoding
from lamina.layers.preprocessing.hashing import HashedCrossing as HashedCrossing
from lamina.layers.preprocessing.hashing import Hashing as Hashing
from lamina.layers.preprocessing.lookups import IntegerLookup as IntegerLookup
from lamina.layers.preprocessing.lookups import StringLookup as StringLookup
from lamina.layers.preprocessing.rescaling import Rescaling as Rescaling
from lamina.layers.preprocessing.text_vectorization import TextVectorization as TextVectorization
