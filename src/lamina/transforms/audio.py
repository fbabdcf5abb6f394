"""Spectrograms of audio, over NumPy or ``jax.numpy``."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from lamina.errors import ShapeError
from lamina.transforms.base import cast
from lamina.transforms.numbers import Values


def _mel(hertz: Any) -> Any:
    return 1127 * np.log1p(np.asarray(hertz, "float64") / 700)


@functools.lru_cache(64)
def mel_matrix(
    mel_bins: int, frequencies: int, sampling_rate: float, lowest: float, highest: float
) -> np.ndarray:
    """Weights of triangular bands on the mel scale, ``(frequencies, mel_bins)``.

    Args:
        mel_bins: Number of bands.
        frequencies: Number of frequencies, from 0 to half of the sampling rate.
        sampling_rate: Samples per second.
        lowest: Lower end of the first band in hertz.
        highest: Upper end of the last band in hertz.

    Stevens et al. 1937, https://doi.org/10.1121/1.1915893; the scale is that of HTK.
    """
    edges = np.linspace(_mel(lowest), _mel(highest), mel_bins + 2)
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    at = _mel(np.linspace(0, sampling_rate / 2, frequencies))[:, None]
    rising, falling = (at - lower) / (center - lower), (upper - at) / (upper - center)
    weights = np.maximum(0, np.minimum(rising, falling)).astype("float32")
    weights[0] = 0  # the constant part of the signal
    return weights


def _window(window: Any, length: int, fft_length: int) -> np.ndarray:
    """The weights of a frame, in the middle of the samples to transform."""
    if window is None:
        return np.ones(fft_length, "float32")
    if isinstance(window, str):
        a = {"hann": 0.5, "hamming": 0.54}[window]
        weights = a - (1 - a) * np.cos(2 * math.pi * np.arange(length) / length)
    else:
        weights = np.asarray(window, "float32")
    before = (fft_length - length) // 2
    return np.pad(weights, (before, fft_length - length - before)).astype("float32")


class MelSpectrogram(Values):
    """Energy in bands of the mel scale over time."""

    fft_length: int
    sequence_stride: int
    sequence_length: int
    window: Any
    sampling_rate: int
    num_mel_bins: int
    min_freq: float
    max_freq: float
    power_to_db: bool
    top_db: float
    mag_exp: float
    min_power: float
    ref_power: float

    def values(self, xp: Any, x: Any) -> Any:
        if x.ndim < 1:
            raise ShapeError(
                f"{self.name} expects audio.",
                expected="(samples,) or (batch, samples)",
                received=f"shape {tuple(x.shape)}",
            )
        if isinstance(x.shape[-1], int) and x.shape[-1] < 1:
            raise ShapeError(
                f"{self.name} expects at least one sample.",
                expected="(samples,) or (batch, samples)",
                received=f"shape {tuple(x.shape)}",
            )
        x = x if str(x.dtype) == self.dtype == "float64" else x.astype("float32")
        samples, half = x.shape[-1], self.fft_length // 2
        count = (samples + 2 * half - self.fft_length) // self.sequence_stride + 1
        places = xp.arange(count)[:, None] * self.sequence_stride + xp.arange(self.fft_length)
        # Reflected at the first and at the last sample, for short audio several times.
        last = samples - 1
        places = last - abs(last - (places - half) % xp.maximum(2 * last, 1))
        frames = xp.take(x, places, axis=-1)
        window = _window(self.window, self.sequence_length, self.fft_length).astype(x.dtype)
        energy = abs(xp.fft.rfft(frames * window)) ** self.mag_exp
        matrix = mel_matrix(
            self.num_mel_bins, self.fft_length // 2 + 1, self.sampling_rate, self.min_freq,
            self.max_freq,
        )  # fmt: skip
        bands = energy @ matrix.astype(energy.dtype)
        if self.power_to_db:
            reference = 10 * math.log10(max(abs(self.ref_power), self.min_power))
            bands = 10 * xp.log10(xp.maximum(bands, self.min_power)) - reference
            bands = xp.maximum(bands, bands.max(initial=-np.inf) - self.top_db)
        return cast(xp, xp.swapaxes(bands, -1, -2), self.dtype)


__all__ = ["MelSpectrogram", "mel_matrix"]
