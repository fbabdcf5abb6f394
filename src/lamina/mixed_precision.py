"""Mixed precision: dtype policies for 16-bit computation with 32-bit weights, and loss scaling."""

from lamina.dtype_policies.policy import DTypePolicy, dtype_policy, set_dtype_policy
from lamina.optimizers import LossScaleOptimizer

Policy = DTypePolicy
global_policy, set_global_policy = dtype_policy, set_dtype_policy

__all__ = [
    "DTypePolicy", "LossScaleOptimizer", "Policy", "dtype_policy", "global_policy",
    "set_dtype_policy", "set_global_policy",
]  # fmt: skip
