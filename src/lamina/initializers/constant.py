"""Initial values without chance: zeros, ones, constants, identity, Fourier basis."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.errors import ShapeError
from lamina.initializers.base import Initializer
from lamina.serialization.fields import field, one_of
from lamina.serialization.registry import builtin


@builtin("initializers", "zero")
class Zeros(Initializer):
    """All zeros.

    >>> Zeros()((2,))
    Array([0., 0.], dtype=float32)
    """

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.zeros(shape, jnp.dtype(dtype))


@builtin("initializers", "one")
class Ones(Initializer):
    """All ones.

    >>> Ones()((2,), dtype="int32")
    Array([1, 1], dtype=int32)
    """

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.ones(shape, jnp.dtype(dtype))


@builtin("initializers")
class Constant(Initializer):
    """The same value everywhere.

    Args:
        value: A number, or an array of the shape of the weight.

    >>> Constant(3)((2,))
    Array([3., 3.], dtype=float32)
    """

    value: Any = 0.0

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        value = np.asarray(self.value)
        if value.ndim and value.shape != shape:
            raise ShapeError(
                f"An array as initializer has the shape of the weight, {shape}. Received an array "
                f"of shape {value.shape}."
            )
        return np.broadcast_to(value, shape)


@builtin("initializers", "IdentityInitializer")
class Identity(Initializer):
    """``gain`` times the identity matrix; for weights with two axes.

    Args:
        gain: Factor.

    >>> Identity(2.0)((2, 3))
    Array([[2., 0., 0.],
           [0., 2., 0.]], dtype=float32)
    """

    gain: float = 1.0

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if len(shape) != 2:
            raise ShapeError(
                f"An identity matrix has two axes. Received: shape={shape}. "
                "Use `Orthogonal` for weights with more of them."
            )
        return self.gain * np.eye(*shape)


@builtin("initializers", "STFTInitializer")
class STFT(Initializer):
    """The windowed Fourier basis: a kernel with which a convolution computes spectrograms.

    ``window[t] * cos(2 pi t f / n)``, or ``-window[t] * sin(2 pi t f / n)``, for the place ``t`` in
    the frame and the frequency ``f``; the shape is ``(frame, 1, n // 2 + 1)``.

    Args:
        side: ``"real"`` for the cosines, ``"imag"`` for the sines.
        window: A window that ``scipy.signal.get_window`` knows, or None for none.
        scaling: ``"density"`` divides the window by the root of its sum of squares, ``"spectrum"``
            by its sum; None leaves it.
        periodic: Whether the window continues into the next frame instead of being symmetric.

    >>> STFT("real", window=None)((2, 1, 2)).reshape(2, 2).round()
    Array([[ 1.,  1.],
           [ 1., -1.]], dtype=float32)
    """

    side: str = field(default="real", convert=one_of("real", "imag"))
    window: str | None = "hann"
    scaling: str | None = field(default="density", convert=one_of("density", "spectrum", None))
    periodic: bool = False

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if len(shape) != 3:
            raise ShapeError(f"STFT() needs (frame, 1, n // 2 + 1). Received: shape={shape}.")
        frame, _, frequencies = shape
        angle = 2 * np.pi * np.outer(np.arange(frame), np.arange(frequencies))
        angle /= max(1, 2 * (frequencies - 1))
        basis = np.cos(angle) if self.side == "real" else -np.sin(angle)
        if self.window is not None:
            from scipy.signal import get_window

            window: Any = get_window(self.window, frame, fftbins=self.periodic)
            if self.scaling == "density":
                window = window / np.sqrt(np.sum(window**2))
            elif self.scaling == "spectrum":
                window = window / np.sum(window)
            basis = basis * window[:, None]
        return np.broadcast_to(basis[:, None, :], shape)
