"""Special functions, reductions over segments, transforms of signals."""

from lamina.ops.math.special import erf, erfc, erfinv, in_top_k, logsumexp, rsqrt, top_k

__all__ = ["erf", "erfc", "erfinv", "in_top_k", "logsumexp", "rsqrt", "top_k"]
