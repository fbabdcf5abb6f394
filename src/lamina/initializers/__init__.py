"""Initializers: what the first values of weights are."""

from typing import Any

import jax
import numpy as np

from lamina.initializers.base import Initializer
from lamina.initializers.constant import STFT, Constant, Identity, Ones, Zeros
from lamina.initializers.random import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
)
from lamina.serialization.namespaces import accessors

_get, serialize, deserialize = accessors("initializers", "initializer")


def get(identifier: Any) -> Any:
    """The initializer that ``identifier`` stands for.

    Args:
        identifier: A name, a config, a class (called without arguments), a callable, an array (the
            first value itself), or None.

    Raises:
        UnknownNameError: No such name; the message lists the closest ones.

    >>> get("zeros"), get(np.ones(2))((2,))
    (Zeros(), Array([1., 1.], dtype=float32))
    """
    if isinstance(identifier, (np.ndarray, jax.Array)):
        return Constant(identifier)
    return _get(identifier)


# Keras's other names for them.
STFTInitializer = stft = STFT
IdentityInitializer = identity = Identity
OrthogonalInitializer = orthogonal = Orthogonal
constant, ones, zeros = Constant, Ones, Zeros
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform
random_normal, random_uniform = RandomNormal, RandomUniform
truncated_normal, variance_scaling = TruncatedNormal, VarianceScaling

__all__ = [
    "STFT", "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity",
    "IdentityInitializer", "Initializer", "LecunNormal", "LecunUniform", "Ones", "Orthogonal",
    "OrthogonalInitializer", "RandomNormal", "RandomUniform", "STFTInitializer", "TruncatedNormal",
    "VarianceScaling", "Zeros", "constant", "deserialize", "get", "glorot_normal",
    "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal", "lecun_uniform",
    "ones", "orthogonal", "random_normal", "random_uniform", "serialize", "stft",
    "truncated_normal", "variance_scaling", "zeros",
]  # fmt: skip
