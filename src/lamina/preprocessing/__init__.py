"""Keras's older names of what prepares data; see :mod:`lamina.utils` for the same functions."""

from lamina.preprocessing import sequence

__all__ = ["sequence"]
