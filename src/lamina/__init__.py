"""Lamina: deep learning as people want to write it."""

__version__ = "0.1.0"
