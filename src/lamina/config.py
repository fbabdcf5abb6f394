"""Process-wide settings: float type, dtype policy, image layout, tracebacks, limits, logging."""

import warnings

from lamina.dtype_policies.policy import dtype_policy, set_dtype_policy
from lamina.errors import SavingWarning
from lamina.settings import (
    backend,
    cache_home,
    disable_flash_attention,
    disable_interactive_logging,
    disable_traceback_filtering,
    enable_flash_attention,
    enable_interactive_logging,
    enable_traceback_filtering,
    epsilon,
    floatx,
    image_data_format,
    is_flash_attention_enabled,
    is_interactive_logging_enabled,
    is_traceback_filtering_enabled,
    max_epochs,
    max_steps_per_epoch,
    set_backend,
    set_epsilon,
    set_floatx,
    set_image_data_format,
    set_max_epochs,
    set_max_steps_per_epoch,
)


def enable_unsafe_deserialization() -> None:
    """Warn that this has no effect: no setting makes Lamina run code from a file.

    Warns:
        SavingWarning: Always.

    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     enable_unsafe_deserialization()
    >>> caught[0].category.__name__
    'SavingWarning'
    """
    warnings.warn(
        "Lamina never runs code from files. Define the functions and classes that a file needs, "
        "and register them: `@lamina.saving.register_keras_serializable()`.",
        SavingWarning,
        stacklevel=2,
    )


def is_nnx_enabled() -> bool:
    """False: the variables and layers of Lamina are not those of Flax NNX.

    >>> is_nnx_enabled()
    False
    """
    return False


__all__ = [
    "backend", "cache_home", "disable_flash_attention", "disable_interactive_logging",
    "disable_traceback_filtering", "dtype_policy", "enable_flash_attention",
    "enable_interactive_logging", "enable_traceback_filtering", "enable_unsafe_deserialization",
    "epsilon", "floatx", "image_data_format", "is_flash_attention_enabled",
    "is_interactive_logging_enabled", "is_nnx_enabled", "is_traceback_filtering_enabled",
    "max_epochs", "max_steps_per_epoch", "set_backend", "set_dtype_policy", "set_epsilon",
    "set_floatx", "set_image_data_format", "set_max_epochs", "set_max_steps_per_epoch",
]  # fmt: skip
