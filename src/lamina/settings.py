"""Process-wide defaults: float type, fuzz factor, image layout, seed, tracebacks, cache folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from lamina.errors import ArgumentError

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_settings: dict[str, object] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "seed": None,
    "times_seeded": 0,
    "filter_tracebacks": True,
}


def floatx() -> str:
    """Name of the default float dtype, ``"float32"`` unless changed."""
    return str(_settings["floatx"])


def set_floatx(value: str) -> None:
    """Set the default float dtype to one of float16, bfloat16, float32, float64."""
    if value not in _FLOATS:
        raise ArgumentError(f"set_floatx() expects one of {list(_FLOATS)}. Received: {value!r}.")
    _settings["floatx"] = value


def epsilon() -> float:
    """The small number that keeps divisions and logarithms finite, 1e-7 unless changed."""
    return float(_settings["epsilon"])  # pyright: ignore[reportArgumentType]


def set_epsilon(value: float) -> None:
    """Set the number that :func:`epsilon` returns."""
    _settings["epsilon"] = float(value)


def image_data_format() -> str:
    """Default layout of images: ``"channels_last"`` or ``"channels_first"``."""
    return str(_settings["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Set the default layout of images."""
    _settings["image_data_format"] = standardize_data_format(data_format)


def standardize_data_format(data_format: str | None) -> str:
    """Return ``data_format``, or the default when it is None; refuse any other word."""
    value = image_data_format() if data_format is None else str(data_format).lower()
    if value not in ("channels_first", "channels_last"):
        raise ArgumentError(
            f"`data_format` expects 'channels_first' or 'channels_last'. Received: {data_format!r}."
        )
    return value


def global_seed() -> int:
    """The seed that everything random derives from; drawn once a process when none was set."""
    if _settings["seed"] is None:
        _settings["seed"] = secrets.randbits(32)
    return int(_settings["seed"])  # pyright: ignore[reportArgumentType]


def set_global_seed(seed: int) -> None:
    """Set the seed; users call :func:`lamina.utils.set_random_seed`."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ArgumentError(f"A seed is a non-negative integer. Received: {seed!r}.")
    _settings["seed"] = seed
    _settings["times_seeded"] = times_seeded() + 1


def times_seeded() -> int:
    """How often the seed was set in this process."""
    return int(_settings["times_seeded"])  # pyright: ignore[reportArgumentType]


def is_traceback_filtering_enabled() -> bool:
    """Whether tracebacks leave out the frames of Lamina and JAX; they do unless changed."""
    return bool(_settings["filter_tracebacks"])


def enable_traceback_filtering() -> None:
    """Leave the frames of Lamina and JAX out of tracebacks."""
    _settings["filter_tracebacks"] = True


def disable_traceback_filtering() -> None:
    """Show whole tracebacks, to look for a defect in Lamina itself."""
    _settings["filter_tracebacks"] = False


def cache_home() -> Path:
    """The folder for downloads and compiled programs: ``$LAMINA_HOME``, else ``~/.lamina``."""
    return Path(os.environ.get("LAMINA_HOME") or "~/.lamina").expanduser()
