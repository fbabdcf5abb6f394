"""Policies for the dtypes of weights and of computation."""

from lamina.dtype_policies.policy import DTypePolicy as DTypePolicy
from lamina.dtype_policies.policy import get_policy

get = get_policy
