"""Layers that preprocess raw data: inside a model, on arrays, or in a data pipeline."""

from lamina.layers.preprocessing.rescaling import Rescaling as Rescaling
