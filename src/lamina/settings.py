"""Process-wide defaults: float type, fuzz factor, image layout, seed, tracebacks, cache folder."""

from __future__ import annotations

import os
import random
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
    "interactive_logging": True,
    "flash_attention": None,
    "max_epochs": None,
    "max_steps_per_epoch": None,
}


def floatx() -> str:
    """Name of the default float dtype, ``"float32"`` unless changed.

    >>> floatx()
    'float32'
    """
    return str(_settings["floatx"])


def set_floatx(value: str) -> None:
    """Set the default float dtype to one of float16, bfloat16, float32, float64.

    Args:
        value: ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.

    Raises:
        ArgumentError: Another name.

    >>> set_floatx("float16")
    >>> floatx()
    'float16'
    >>> set_floatx("float32")
    """
    if value not in _FLOATS:
        raise ArgumentError(f"set_floatx() expects one of {list(_FLOATS)}. Received: {value!r}.")
    _settings["floatx"] = value


def epsilon() -> float:
    """The small number that keeps divisions and logarithms finite, 1e-7 unless changed.

    >>> epsilon()
    1e-07
    """
    return float(_settings["epsilon"])  # pyright: ignore[reportArgumentType]


def set_epsilon(value: float) -> None:
    """Set the number that :func:`epsilon` returns.

    Args:
        value: A small positive number.

    >>> set_epsilon(1e-5)
    >>> epsilon()
    1e-05
    >>> set_epsilon(1e-7)
    """
    _settings["epsilon"] = float(value)


def image_data_format() -> str:
    """Default layout of images: ``"channels_last"`` or ``"channels_first"``.

    >>> image_data_format()
    'channels_last'
    """
    return str(_settings["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Set the default layout of images.

    Args:
        data_format: ``"channels_last"`` for ``(..., height, width, channels)``, or
            ``"channels_first"`` for ``(..., channels, height, width)``.

    Raises:
        ArgumentError: Another name.

    >>> set_image_data_format("channels_first")
    >>> image_data_format()
    'channels_first'
    >>> set_image_data_format("channels_last")
    """
    _settings["image_data_format"] = standardize_data_format(data_format)


def standardize_data_format(data_format: str | None) -> str:
    """Return ``data_format``, or the default when it is None; raise an error if it is not valid."""
    value = image_data_format() if data_format is None else str(data_format).lower()
    if value not in ("channels_first", "channels_last"):
        raise ArgumentError(
            f"`data_format` expects 'channels_first' or 'channels_last'. Received: {data_format!r}."
        )
    return value


def backend() -> str:
    """Name of the backend: ``"jax"``, the only one.

    >>> backend()
    'jax'
    """
    return "jax"


def set_backend(backend: str) -> None:
    """Select the backend; ``"jax"`` is the only one.

    Args:
        backend: Its name, ``"jax"``.

    Raises:
        ArgumentError: Any other name.

    >>> set_backend("jax")
    """
    if backend != "jax":
        raise ArgumentError(
            f"Lamina has one backend, 'jax'. Received: {backend!r}. `fit` accepts data of PyTorch "
            "and TensorFlow directly."
        )


def global_seed() -> int:
    """The seed of all random numbers; drawn at random once per process if none was set."""
    if _settings["seed"] is None:
        _settings["seed"] = random.getrandbits(32)
    return int(_settings["seed"])  # pyright: ignore[reportArgumentType]


def seed_of_new() -> int:
    """The seed of a new weight, generator or model: the global seed if it was set.

    If it was not, each takes a new one from Python's generator, as in Keras: programs that only
    call ``random.seed`` repeat their results too.
    """
    return global_seed() if times_seeded() else random.getrandbits(32)


def set_global_seed(seed: int) -> None:
    """Set the seed; users call :func:`lamina.utils.set_random_seed`."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ArgumentError(f"A seed is a non-negative integer. Received: {seed!r}.")
    _settings["seed"] = seed
    _settings["times_seeded"] = times_seeded() + 1


def times_seeded() -> int:
    """Number of times the seed was set in this process."""
    return int(_settings["times_seeded"])  # pyright: ignore[reportArgumentType]


def is_traceback_filtering_enabled() -> bool:
    """Whether tracebacks omit the frames of Lamina and JAX; they do by default.

    >>> is_traceback_filtering_enabled()
    True
    """
    return bool(_settings["filter_tracebacks"])


def enable_traceback_filtering() -> None:
    """Omit the frames of Lamina and JAX from tracebacks.

    >>> enable_traceback_filtering()
    >>> is_traceback_filtering_enabled()
    True
    """
    _settings["filter_tracebacks"] = True


def disable_traceback_filtering() -> None:
    """Show full tracebacks, which helps to find a bug in Lamina itself.

    >>> disable_traceback_filtering()
    >>> is_traceback_filtering_enabled()
    False
    >>> enable_traceback_filtering()
    """
    _settings["filter_tracebacks"] = False


def is_interactive_logging_enabled() -> bool:
    """Whether progress, summaries and callbacks write to the standard output or to the log.

    >>> is_interactive_logging_enabled()
    True
    """
    return bool(_settings["interactive_logging"])


def enable_interactive_logging() -> None:
    """Write progress, summaries and the messages of callbacks to the standard output.

    >>> enable_interactive_logging()
    >>> is_interactive_logging_enabled()
    True
    """
    _settings["interactive_logging"] = True


def disable_interactive_logging() -> None:
    """Log progress, summaries and messages of callbacks to ``"lamina"``, with the level INFO.

    >>> disable_interactive_logging()
    >>> is_interactive_logging_enabled()
    False
    >>> enable_interactive_logging()
    """
    _settings["interactive_logging"] = False


def is_flash_attention_enabled() -> bool | None:
    """Whether attention layers use the fused kernel by default; None if this was never set.

    None has the same effect as False.

    >>> disable_flash_attention()
    >>> is_flash_attention_enabled()
    False
    """
    return _settings["flash_attention"]  # pyright: ignore[reportReturnType]


def enable_flash_attention() -> None:
    """Use cuDNN's fused attention where ``flash_attention=None`` and the kernel supports it.

    It needs a GPU, and does not support a bias, a soft cap, dropout or returned scores.

    >>> enable_flash_attention()
    >>> is_flash_attention_enabled()
    True
    >>> disable_flash_attention()
    """
    _settings["flash_attention"] = True


def disable_flash_attention() -> None:
    """Use the fused attention only where ``flash_attention=True`` is passed.

    >>> disable_flash_attention()
    >>> is_flash_attention_enabled()
    False
    """
    _settings["flash_attention"] = False


def read_by_calls() -> tuple[object, ...]:
    """The values that calls of layers may read, and that what is compiled depends on."""
    names = ("floatx", "epsilon", "image_data_format", "flash_attention")
    return tuple([_settings[name] for name in names])


def max_epochs() -> int | None:
    """The largest number of epochs that ``fit`` runs; None for no limit.

    >>> max_epochs() is None
    True
    """
    return _settings["max_epochs"]  # pyright: ignore[reportReturnType]


def set_max_epochs(max_epochs: int | None) -> None:
    """Limit the epochs of every ``fit``, for quick trials; None removes the limit.

    Args:
        max_epochs: The largest number of epochs that ``fit`` runs, at least 1; None for no limit.

    Raises:
        ArgumentError: Not a positive integer or None.

    >>> set_max_epochs(2)
    >>> max_epochs()
    2
    >>> set_max_epochs(None)
    """
    _settings["max_epochs"] = _limit("max_epochs", max_epochs)


def max_steps_per_epoch() -> int | None:
    """The largest number of steps per epoch, evaluation or prediction; None for no limit.

    >>> max_steps_per_epoch() is None
    True
    """
    return _settings["max_steps_per_epoch"]  # pyright: ignore[reportReturnType]


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Limit the steps of epochs, evaluations and predictions; None removes the limit.

    Args:
        max_steps_per_epoch: The largest number of steps of an epoch, evaluation or prediction, at
            least 1; None for no limit.

    Raises:
        ArgumentError: Not a positive integer or None.

    >>> set_max_steps_per_epoch(2)
    >>> max_steps_per_epoch()
    2
    >>> set_max_steps_per_epoch(None)
    """
    _settings["max_steps_per_epoch"] = _limit("max_steps_per_epoch", max_steps_per_epoch)


def _limit(name: str, value: object) -> int | None:
    if value is not None and (
        not isinstance(value, int) or isinstance(value, bool) or value < 1
    ):  # fmt: skip
        raise ArgumentError(f"`{name}` is a positive integer or None. Received: {value!r}.")
    return value


def cache_home() -> Path:
    """The folder for downloads and compiled programs: ``$LAMINA_HOME``, else ``~/.lamina``.

    >>> cache_home().is_absolute()
    True
    """
    return Path(os.environ.get("LAMINA_HOME") or "~/.lamina").expanduser()
