"""Process-wide settings: float type, dtype policy, image layout, tracebacks."""

from lamina.dtype_policies.policy import dtype_policy, set_dtype_policy
from lamina.settings import (
    cache_home,
    disable_traceback_filtering,
    enable_traceback_filtering,
    epsilon,
    floatx,
    image_data_format,
    is_traceback_filtering_enabled,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)

__all__ = [
    "cache_home", "disable_traceback_filtering", "dtype_policy", "enable_traceback_filtering",
    "epsilon", "floatx", "image_data_format", "is_traceback_filtering_enabled",
    "set_dtype_policy", "set_epsilon", "set_floatx", "set_image_data_format",
]  # fmt: skip
