"""NumPy's functions, as JAX defines them, on arrays and symbolic tensors alike.

Each has the name, arguments and result of its namesake in ``jax.numpy``; the table below says
which of them let a mask travel on (those that work element by element).
"""

from __future__ import annotations

import operator
from typing import Any

import jax.numpy as jnp

from lamina.core.operation import op

_ELEMENTWISE = """
    add subtract multiply true_divide divide floor_divide mod power negative absolute abs sign
    exp exp2 expm1 log log1p log2 log10 sqrt square reciprocal sin cos tan arcsin arccos arctan
    arctan2 sinh cosh tanh arcsinh arccosh arctanh floor ceil round trunc maximum minimum clip
    where logical_and logical_or logical_not logical_xor less less_equal greater greater_equal
    equal not_equal isfinite isinf isnan isclose nan_to_num real imag conjugate deg2rad rad2deg
    hypot logaddexp heaviside bitwise_and bitwise_or bitwise_xor bitwise_not left_shift right_shift
    cbrt signbit copysign nextafter gcd lcm fmod
""".split()
_OTHER = """
    matmul dot vdot inner outer tensordot einsum cross kron trace diagonal diag diagflat tril triu
    sum mean prod std var max min any all argmax argmin argsort sort cumsum cumprod count_nonzero
    median quantile percentile ptp average nansum nanmean nanmax nanmin nanstd nanvar
    reshape transpose swapaxes moveaxis expand_dims squeeze ravel flip fliplr flipud roll rot90
    concatenate stack hstack vstack dstack split array_split repeat tile pad broadcast_to take
    take_along_axis searchsorted digitize bincount meshgrid full_like zeros_like ones_like
    append select histogram interp unravel_index argpartition diff correlate
""".split()


def _table() -> dict[str, Any]:
    table = {name: op(getattr(jnp, name), name, elementwise=True) for name in _ELEMENTWISE}
    table |= {name: op(getattr(jnp, name), name) for name in _OTHER}
    return table


globals().update(_table())


get_item = op(operator.getitem, "get_item")

__all__ = [*_ELEMENTWISE, *_OTHER, "get_item"]  # pyright: ignore[reportUnsupportedDunderAll]
