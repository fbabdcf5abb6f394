"""Initializers of weights."""

from __future__ import annotations

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

_get, serialize, deserialize = accessors("initializers", "initializer", "Zeros")


def get(identifier: Any) -> Any:
    """The initializer that ``identifier`` stands for.

    Args:
        identifier: A name, a config, a class (called without arguments), a callable, an array of
            initial values, or None.

    Raises:
        UnknownNameError: An unknown name; the message lists the closest ones.

    >>> get(np.ones((2, 2)))((2, 2), "float32").tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    if isinstance(identifier, (np.ndarray, jax.Array)):
        return Constant(np.asarray(identifier))
    return _get(identifier)


# Keras's aliases.
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
