"""Initializers that are not random: zeros, ones, constants, identity, Fourier basis."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.errors import ShapeError
from lamina.initializers.base import Initializer
from lamina.serialization.fields import field, one_of
from lamina.serialization.registry import builtin


@builtin()
class _Filled(Initializer):
    """An initializer with one value for all elements, of which any part can be made alone."""

    def draw_part(
        self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str, index: tuple[slice, ...]
    ) -> np.ndarray:
        """A part of the values of one weight, which takes no memory."""
        return np.broadcast_to(self.draw_for(parts, (), dtype), shape)[index]


@builtin("initializers", "zero")
class Zeros(_Filled):
    """All zeros.

    >>> Zeros()((2,))
    Array([0., 0.], dtype=float32)
    """

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.zeros(shape, jnp.dtype(dtype))


@builtin("initializers", "one")
class Ones(_Filled):
    """All ones.

    >>> Ones()((2,), dtype="int32")
    Array([1, 1], dtype=int32)
    """

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.ones(shape, jnp.dtype(dtype))


@builtin("initializers")
class Constant(Initializer):
    """A constant value.

    Args:
        value: A number, or an array of the shape of the weight or one that broadcasts to it.

    Raises:
        ShapeError: On use, an array that does not broadcast to the shape.

    >>> Constant(3)((2,))
    Array([3., 3.], dtype=float32)
    """

    value: Any = 0.0

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        value = np.asarray(self.value)
        try:
            return np.broadcast_to(value, shape)
        except ValueError:
            raise ShapeError(
                "The initial value of a weight does not broadcast to its shape.",
                expected=f"an array of shape {shape}",
                received=f"shape {value.shape}",
            ) from None


@builtin("initializers", "IdentityInitializer")
class Identity(Initializer):
    """``gain`` times the identity matrix, for weights with two axes.

    Args:
        gain: Factor of the matrix.

    >>> Identity(2.0)((2, 3))
    Array([[2., 0., 0.],
           [0., 2., 0.]], dtype=float32)
    """

    gain: float = 1.0

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if len(shape) != 2:
            raise ShapeError(
                f"Identity() expects a shape with two axes. Received: {shape}. Use `Orthogonal` "
                "for weights with more axes."
            )
        return self.gain * np.eye(*shape)


@builtin("initializers", "STFTInitializer")
class STFT(Initializer):
    """The windowed Fourier basis: a kernel with which a convolution computes a spectrogram.

    ``window[t] * cos(2 pi t f / n)``, or ``-window[t] * sin(2 pi t f / n)``, for sample ``t`` of
    the frame and frequency ``f``; the shape is ``(frame, 1, n // 2 + 1)``.

    Args:
        side: ``"real"`` for the cosines, ``"imag"`` for the sines.
        window: Name of a window of ``scipy.signal.get_window``, or None for none.
        scaling: ``"density"`` divides the window by the square root of its sum of squares,
            ``"spectrum"`` by its sum; None does not scale.
        periodic: Whether the window is periodic rather than symmetric.

    Raises:
        ShapeError: On use, a shape of a different rank.

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
            raise ShapeError(f"STFT() expects a shape (frame, 1, n // 2 + 1). Received: {shape}.")
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
