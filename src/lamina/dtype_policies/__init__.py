"""Policies for the dtypes of weights and computations."""

from lamina.dtype_policies.policy import AWQDTypePolicy as AWQDTypePolicy
from lamina.dtype_policies.policy import DTypePolicy as DTypePolicy
from lamina.dtype_policies.policy import DTypePolicyMap as DTypePolicyMap
from lamina.dtype_policies.policy import FloatDTypePolicy as FloatDTypePolicy
from lamina.dtype_policies.policy import GPTQDTypePolicy as GPTQDTypePolicy
from lamina.dtype_policies.policy import Int4DTypePolicy as Int4DTypePolicy
from lamina.dtype_policies.policy import QuantizedDTypePolicy as QuantizedDTypePolicy
from lamina.dtype_policies.policy import QuantizedFloat8DTypePolicy as QuantizedFloat8DTypePolicy
from lamina.dtype_policies.policy import deserialize as deserialize
from lamina.dtype_policies.policy import get_policy
from lamina.dtype_policies.policy import serialize as serialize

get = get_policy
