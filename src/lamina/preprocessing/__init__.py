"""Keras's older names of what prepares data; see :mod:`lamina.utils` for the same functions."""

from lamina.preprocessing import image, sequence
from lamina.utils.folders import image_dataset_from_directory, text_dataset_from_directory
from lamina.utils.timeseries import timeseries_dataset_from_array

__all__ = [
    "image",
    "image_dataset_from_directory",
    "sequence",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
]
