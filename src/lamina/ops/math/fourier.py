"""Fourier transforms. Complex tensors are pairs of real ones: real parts and imaginary parts."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, as_op, op
from lamina.errors import ArgumentError
from lamina.ops.templates import floating

FILE_MODULE = "math"  # of Keras's files


def _pair(name: str, x: Tensor) -> jax.Array:
    if not isinstance(x, (list, tuple)) or len(x) != 2:
        raise ArgumentError(
            f"{name}() expects a pair (real, imaginary) of tensors of one shape. "
            f"Received: {type(x).__name__}."
        )
    real, imaginary = map(floating, x)
    if real.shape != imaginary.shape:
        raise ArgumentError(
            f"{name}() expects a pair (real, imaginary) of tensors of one shape. "
            f"Received: shapes {real.shape} and {imaginary.shape}."
        )
    return jax.lax.complex(*(part.astype("float32") if part.dtype.itemsize < 4 else part
                             for part in (real, imaginary)))  # fmt: skip


def _parts(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.real(x), jnp.imag(x)


def _transform(name: str, fn: Any, file_class: str, line: str, example: str) -> Any:
    def apply(x: Tensor) -> tuple[jax.Array, jax.Array]:
        return _parts(fn(_pair(name, x)))

    text = f"""{line}

    Args:
        x: Pair of real and imaginary parts, floating-point tensors of one shape.

    Returns:
        Pair of real and imaginary parts, of the same shape.
    """
    return as_op(apply, name, text, example, __name__, file_class=file_class)


fft = _transform("fft", jnp.fft.fft, "FFT", "The discrete Fourier transform along the last axis:\n"
    "    ``y[k] = sum over n of x[n] * exp(-2j * pi * k * n / size)``.",
    "fft(([1.0, 2.0], [0.0, 0.0]))[0].tolist() -> [3.0, -1.0]")  # fmt: skip
fft2 = _transform("fft2", jnp.fft.fft2, "FFT2",
    "The discrete Fourier transform along the last two axes.",
    "fft2(([[1.0, 2.0]], [[0.0, 0.0]]))[0].tolist() -> [[3.0, -1.0]]")  # fmt: skip
ifft2 = _transform("ifft2", jnp.fft.ifft2, "IFFT2", "The inverse of :func:`fft2`.",
    "ifft2(([[3.0, -1.0]], [[0.0, 0.0]]))[0].tolist() -> [[1.0, 2.0]]")  # fmt: skip


@op(file_class="RFFT")
def rfft(x: Tensor, fft_length: int | None = None) -> tuple[jax.Array, jax.Array]:
    """The Fourier transform of real numbers along the last axis, for non-negative frequencies.

    Args:
        x: Floating-point tensor ``(..., n)``.
        fft_length: Length to truncate or zero-pad to; ``n`` when None.

    Returns:
        Pair of real and imaginary parts ``(..., fft_length // 2 + 1)``.

    >>> rfft([1.0, 1.0])
    (Array([2., 0.], dtype=float32), Array([0., 0.], dtype=float32))
    """
    return _parts(jnp.fft.rfft(floating(x), fft_length))


@op(file_class="IRFFT")
def irfft(x: Tensor, fft_length: int | None = None) -> jax.Array:
    """The inverse of :func:`rfft`.

    Args:
        x: Pair of real and imaginary parts ``(..., m)``.
        fft_length: Length of the result; ``2 * (m - 1)`` when None.

    >>> irfft(([2.0, 0.0], [0.0, 0.0]))
    Array([1., 1.], dtype=float32)
    """
    return jnp.fft.irfft(_pair("irfft", x), fft_length)


# ---- short-time transforms -----------------------------------------------------------------------


@op
def extract_sequences(x: Tensor, sequence_length: int, sequence_stride: int) -> jax.Array:
    """Split the last axis into windows, along a new axis before it.

    Args:
        x: Tensor ``(..., n)``.
        sequence_length: Length of a window.
        sequence_stride: Distance between the starts of windows.

    Returns:
        Tensor ``(..., (n - sequence_length) // sequence_stride + 1, sequence_length)``.

    >>> extract_sequences([1, 2, 3, 4], 2, 1)
    Array([[1, 2],
           [2, 3],
           [3, 4]], dtype=int32)
    """
    return _windows(jnp.asarray(x), sequence_length, sequence_stride)


def _windows(x: jax.Array, length: int, stride: int) -> jax.Array:
    count = (x.shape[-1] - length) // stride + 1
    positions = jnp.arange(count)[:, None] * stride + jnp.arange(length)
    return jnp.take(x, positions, axis=-1)


def _window(name: str, window: Any, length: int, fft_length: int, dtype: Any) -> jax.Array:
    """The weights of the window, centered in ``fft_length``."""
    if fft_length < length:
        raise ArgumentError(
            f"{name}(): `fft_length` must be at least `sequence_length`. "
            f"Received: fft_length={fft_length}, sequence_length={length}."
        )
    if window is None:
        return jnp.ones(fft_length, dtype)
    elif isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ArgumentError(
                f"{name}(): `window` must be 'hann', 'hamming', None or a tensor. "
                f"Received: {window!r}."
            )
        n = jnp.arange(length, dtype=dtype)
        a = 0.5 if window == "hann" else 0.54
        values = a - (1 - a) * jnp.cos(2 * math.pi * n / length)  # periodic
    else:
        values = floating(window).astype(dtype)
        if values.shape != (length,):
            raise ArgumentError(
                f"{name}(): `window` must have the shape (sequence_length,) = ({length},). "
                f"Received: {values.shape}."
            )
    before = (fft_length - length) // 2
    return jnp.pad(values, (before, fft_length - length - before))


@op(file_class="STFT", in_constructor=("window",))
def stft(
    x: Tensor,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: str | Tensor | None = "hann",
    center: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """The short-time Fourier transform of a signal.

    Args:
        x: Floating-point tensor ``(..., n)``.
        sequence_length: Length of a window.
        sequence_stride: Distance between the starts of windows.
        fft_length: Length of each transform, at least ``sequence_length``.
        window: ``"hann"``, ``"hamming"``, weights ``(sequence_length,)``, or None for windows of
            ``fft_length`` without weights.
        center: Whether to pad the signal by reflection at both ends, so that windows are centered
            at multiples of the stride.

    Returns:
        Pair of real and imaginary parts ``(..., windows, fft_length // 2 + 1)``.

    >>> stft([1.0, 2.0, 3.0, 4.0], 2, 2, 2, center=False)[0].shape
    (2, 2)
    """
    x = floating(x)
    weights = _window("stft", window, sequence_length, fft_length, x.dtype)
    if center:
        sides = [(0, 0)] * (x.ndim - 1) + [(fft_length // 2, fft_length // 2)]
        x = jnp.pad(x, sides, "reflect")
    return _parts(jnp.fft.rfft(_windows(x, fft_length, sequence_stride) * weights, fft_length))


@op(file_class="ISTFT", in_constructor=("window",))
def istft(
    x: Tensor,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: str | Tensor | None = "hann",
    center: bool = True,
) -> jax.Array:
    """The inverse of :func:`stft`: the sum of windows, divided by the sum of their squared weights.

    Args:
        x: Pair of real and imaginary parts ``(..., windows, fft_length // 2 + 1)``.
        sequence_length: As for :func:`stft`.
        sequence_stride: As for :func:`stft`.
        fft_length: As for :func:`stft`.
        length: Length of the result; the range that the windows cover when None.
        window: As for :func:`stft`.
        center: As for :func:`stft`.

    >>> x = jnp.arange(8.0)
    >>> bool(jnp.allclose(istft(stft(x, 4, 2, 4), 4, 2, 4), x, atol=1e-5))
    True
    """
    spectra = _pair("istft", x)
    parts = jnp.fft.irfft(spectra, fft_length)
    weights = _window("istft", window, sequence_length, fft_length, parts.dtype)
    signal = _added_up(parts * weights, sequence_stride)
    squares = jnp.broadcast_to(weights**2, parts.shape[-2:])
    total = _added_up(squares, sequence_stride)
    signal = signal / jnp.where(total > jnp.finfo(total.dtype).tiny, total, 1)
    start = fft_length // 2 if center else 0
    end = signal.shape[-1] - start
    if length is not None:
        end = start + length
        missing = end - signal.shape[-1]
        if missing > 0:
            signal = jnp.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, missing)])
    return signal[..., start:end]


def _added_up(parts: jax.Array, stride: int) -> jax.Array:
    """Windows ``(..., count, size)`` at multiples of ``stride``, summed where they overlap."""
    *batch, count, size = parts.shape
    steps = -(-size // stride)
    parts = jnp.pad(parts, [(0, 0)] * (parts.ndim - 1) + [(0, steps * stride - size)])
    rows = jnp.reshape(parts, (*batch, count, steps, stride))
    total = jnp.zeros((*batch, count + steps - 1, stride), parts.dtype)
    for i in range(steps):
        total = total.at[..., i : i + count, :].add(rows[..., i, :])
    flat = jnp.reshape(total, (*batch, -1))
    return flat[..., : (count - 1) * stride + size]
