"""Special functions, segment reductions and Fourier transforms."""

from lamina.ops.math.fourier import (
    extract_sequences,
    fft,
    fft2,
    ifft2,
    irfft,
    istft,
    rfft,
    stft,
)
from lamina.ops.math.segments import segment_max, segment_min, segment_prod, segment_sum
from lamina.ops.math.special import (
    cdist,
    erf,
    erfc,
    erfinv,
    in_top_k,
    logdet,
    logsumexp,
    rsqrt,
    top_k,
    view_as_complex,
    view_as_real,
)

__all__ = [
    "cdist", "erf", "erfc", "erfinv", "extract_sequences", "fft", "fft2", "ifft2", "in_top_k",
    "irfft", "istft", "logdet", "logsumexp", "rfft", "rsqrt", "segment_max", "segment_min",
    "segment_prod", "segment_sum", "stft", "top_k", "view_as_complex", "view_as_real",
]  # fmt: skip
