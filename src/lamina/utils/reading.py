"""Image, text and sound files as arrays.

Nothing here imports JAX: worker processes load this module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import CorruptFileError
from lamina.runtime.optional import load
from lamina.utils.resampling import resize

# The mode of Pillow's images, and the number of channels, for each color mode.
MODES = {"grayscale": ("L", 1), "rgb": ("RGB", 3), "rgba": ("RGBA", 4)}
# Modes of one channel with more than 8 bits.
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def pillow_for(user: str) -> Any:
    """The module ``PIL.Image``, which ``user`` needs."""
    return load("PIL.Image", user, "lamina[image]")


@contextlib.contextmanager
def decoding(path: Any) -> Iterator[None]:
    """Name the file in errors of Pillow."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as e:
        name = path if isinstance(path, (str, bytes, os.PathLike)) else "the open file"
        raise CorruptFileError(
            f"{name} cannot be decoded as an image.",
            received=f"{type(e).__name__}: {e}",
            cure="Delete or replace the file; it may be truncated, or not an image at all.",
        ) from e


def decode(path: Any, color_mode: str) -> np.ndarray:
    """An image file as an array of shape ``(height, width, channels)``, 8 bits each.

    In color, there is a fourth channel in any case: NumPy moves 4 bytes faster than 3.

    Of an animation it is the first frame. Of 16 bits in a grayscale image, the upper 8 are taken.

    Raises:
        CorruptFileError: A file that is not an image, or not a whole one; the error names it.
    """
    pillow, (mode, _) = pillow_for("Reading images"), MODES[color_mode]
    layout = "RGBX" if mode == "RGB" else mode
    with decoding(path), pillow.open(path) as image:
        if image.mode in _DEEP:
            gray = (np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)
            image = pillow.fromarray(gray)
        elif image.mode == "P" and mode == "L":
            image = image.convert("RGB")
        if image.mode != mode:
            image = image.convert(mode)
        content = image.tobytes("raw", layout)
        width, height = image.size
    return np.frombuffer(content, np.uint8).reshape(height, width, len(layout))


@dataclasses.dataclass(frozen=True)
class ImageReader:
    """Reads an image file as float32 from 0 to 255, in one size."""

    color_mode: str
    size: tuple[int, int]
    method: str
    crop: bool
    pad: bool
    channels_first: bool

    def __call__(self, path: str) -> np.ndarray:
        pixels = decode(path, self.color_mode)
        resized = resize(pixels, self.size, self.method, self.crop, self.pad)
        image = np.empty((*self.size, MODES[self.color_mode][1]), np.float32)
        for i in range(image.shape[2]):  # faster than a slice of the last axis
            image[..., i] = resized[..., i]
        return image.transpose(2, 0, 1) if self.channels_first else image


@dataclasses.dataclass(frozen=True)
class TextReader:
    """Reads a file in UTF-8, up to a number of characters."""

    max_length: int | None

    def __call__(self, path: str) -> str:
        content = Path(path).read_bytes()
        try:
            return content.decode()[: self.max_length]
        except UnicodeDecodeError as e:
            raise CorruptFileError(
                f"{path} is not text in UTF-8.",
                received=f"byte {content[e.start]:#04x} at position {e.start}",
                cure="Convert the file to UTF-8, or leave it out.",
            ) from e


@dataclasses.dataclass(frozen=True)
class AudioReader:
    """Reads a WAV file as float32 from -1 to 1, ``(samples, channels)``."""

    sampling_rate: int | None
    length: int | None

    def __call__(self, path: str) -> np.ndarray:
        sound, rate = _read_wav(path)
        if self.sampling_rate is not None and rate != self.sampling_rate:
            signal = load("scipy.signal", "A file with another `sampling_rate`", "scipy")
            shared = np.gcd(rate, self.sampling_rate)
            up, down = self.sampling_rate // shared, rate // shared
            sound = signal.resample_poly(sound, up, down, axis=0).astype(np.float32)
        if self.length is None:
            return sound
        result = np.zeros((self.length, sound.shape[1]), np.float32)
        result[: len(sound)] = sound[: self.length]
        return result


def _read_wav(path: str) -> tuple[np.ndarray, int]:
    """The samples of a file, ``(samples, channels)`` as float32, and their rate."""
    try:
        with wave.open(path, "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            content = file.readframes(file.getnframes())
    except FileNotFoundError:
        raise
    except (wave.Error, EOFError, OSError) as e:
        raise CorruptFileError(
            f"{path} cannot be decoded as WAV (PCM).",
            received=f"{type(e).__name__}: {e}",
            cure="Delete or replace the file; it may be truncated, or no WAV file at all.",
        ) from e
    if width != 2:
        raise CorruptFileError(
            f"{path} is not 16-bit PCM.",
            received=f"{8 * width} bits",
            cure="Convert it, for example with `sox in.wav -b 16 out.wav`.",
        )
    whole = len(content) // (2 * channels) * channels
    samples = np.frombuffer(content, "<i2", whole).reshape(-1, channels)
    return samples.astype(np.float32) / 32768, rate


@dataclasses.dataclass(frozen=True)
class WithLabel:
    """Reads the file of an element that has a label too."""

    read: Callable[[str], Any]

    def __call__(self, path: str, label: Any) -> tuple[Any, Any]:
        return self.read(path), label
