"""The layers of ``with_jax``: functions of weights and arrays."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


class Weights:
    """A model's arrays, returned in order; without arrays, it records the requested shapes."""

    def __init__(self, arrays: list[jax.Array] | None, key: jax.Array | None = None) -> None:
        self.arrays, self.key = arrays, key
        self.shapes: list[tuple[int, ...]] = []
        self.ones: set[int] = set()
        self.moving: dict[int, Any] = {}  # statistics of batch normalization: position to new value

    @property
    def training(self) -> bool:
        return self.key is not None

    def take(self, *shape: int, ones: bool = False) -> jax.Array:
        place = len(self.shapes)
        self.shapes.append(shape)
        if ones:
            self.ones.add(place)
        return jnp.zeros(shape) if self.arrays is None else self.arrays[place]

    def take_moving(self, size: int, ones: bool) -> tuple[int, jax.Array]:
        place = len(self.shapes)
        self.moving[place] = None
        return place, self.take(size, ones=ones)

    def drop(self, x: jax.Array, rate: float) -> jax.Array:
        if not self.training:
            return x
        self.key, key = jax.random.split(self.key)
        kept = jax.random.bernoulli(key, 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)


def dense(w: Weights, x: Any, units: int) -> Any:
    return x @ w.take(x.shape[-1], units) + w.take(units)


def shifted(x: Any, window: tuple[int, ...], stride: int) -> list[Any]:
    places = [(n - k) // stride + 1 for n, k in zip(x.shape[1:], window, strict=False)]
    return [
        x[(slice(None), *(slice(a, a + (n - 1) * stride + 1, stride)
                          for a, n in zip(at, places, strict=True)))]
        for at in itertools.product(*map(range, window))
    ]  # fmt: skip


def convolve(x: Any, kernel: Any, padding: int = 0) -> Any:
    """Convolution with stride 1 and ``padding`` zeros on each side."""
    *window, channels, filters = kernel.shape
    if padding:
        x = jnp.pad(x, [(0, 0), *[(padding, padding)] * len(window), (0, 0)])
    if channels <= 4 and window[0] > 1:
        patches = jnp.concatenate(shifted(x, tuple(window), 1), -1)
        return patches @ kernel.reshape(-1, filters)
    layout = ("NHWC", "HWIO", "NHWC") if len(window) == 2 else ("NWC", "WIO", "NWC")
    return lax.conv_general_dilated(x, kernel, [1] * len(window), "VALID", dimension_numbers=layout)


def conv(w: Weights, x: Any, filters: int, size: int = 3, same: bool = False, bias: bool = True):
    kernel = w.take(*[size] * (x.ndim - 2), x.shape[-1], filters)
    y = convolve(x, kernel, size // 2 if same else 0)
    return y + w.take(filters) if bias else y


def conv_transpose(w: Weights, x: Any, filters: int) -> Any:
    """3x3, stride 1, valid padding."""
    kernel = w.take(3, 3, filters, x.shape[-1])
    return convolve(x, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), 2) + w.take(filters)


def conv_transpose_by_two(w: Weights, x: Any, filters: int) -> Any:
    """2x2 with strides 2: outputs do not overlap."""
    kernel, bias = w.take(2, 2, filters, x.shape[-1]), w.take(filters)
    n, height, width, channels = x.shape
    y = x.reshape(-1, channels) @ kernel.reshape(-1, channels).T
    y = y.reshape(n, height, width, 2, 2, filters).swapaxes(2, 3)
    return y.reshape(n, 2 * height, 2 * width, filters) + bias


def depthwise(w: Weights, x: Any, stride: int) -> Any:
    """3x3 with same padding."""
    kernel = w.take(3, 3, x.shape[-1], 1).reshape(9, -1)
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return sum(a * k for a, k in zip(shifted(x, (3, 3), stride), kernel, strict=True))


def max_pool(x: Any, size: int) -> Any:
    n, *sizes, channels = x.shape
    places = [s // size for s in sizes]
    x = x[(slice(None), *(slice(0, p * size) for p in places))]
    x = x.reshape(n, *(a for p in places for a in (p, size)), channels)
    return x.max(tuple(range(2, 2 * len(places) + 1, 2)))


def batch_norm(w: Weights, x: Any, momentum: float) -> Any:
    gamma, beta = w.take(x.shape[-1], ones=True), w.take(x.shape[-1])
    (at_mean, mean), (at_variance, variance) = (
        w.take_moving(x.shape[-1], ones) for ones in (False, True)
    )
    if w.training:
        axes = tuple(range(x.ndim - 1))
        now, square = x.mean(axes), jnp.square(x).mean(axes)
        spread = square - now * now
        w.moving[at_mean] = momentum * mean + (1 - momentum) * now
        w.moving[at_variance] = momentum * variance + (1 - momentum) * spread
        mean, variance = now, spread
    factor = gamma * lax.rsqrt(variance + 1e-3)
    return x * factor + (beta - mean * factor)


def layer_norm(w: Weights, x: Any) -> Any:
    gamma, beta = w.take(x.shape[-1], ones=True), w.take(x.shape[-1])
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * gamma + beta


def attend(w: Weights, x: Any, heads: int, size: int) -> Any:
    q, k, v = (
        jnp.einsum("btf,fhs->bths", x, w.take(x.shape[-1], heads, size)) + w.take(heads, size)
        for _ in range(3)
    )
    weights = jax.nn.softmax(jnp.einsum("bths,buhs->bhtu", q, k) / math.sqrt(size))
    y = jnp.einsum("bhtu,buhs->bths", weights, v)
    return jnp.einsum("bths,hsf->btf", y, w.take(heads, size, x.shape[-1])) + w.take(x.shape[-1])


def lstm(w: Weights, x: Any, units: int) -> Any:
    """The state after the last step; the input is multiplied in one product for all steps."""
    kernel, recurrent = w.take(x.shape[-1], 4 * units), w.take(units, 4 * units)
    ahead = (x @ kernel + w.take(4 * units)).swapaxes(0, 1)

    def step(states: Any, now: Any) -> Any:
        h, c = states
        i, f, g, o = jnp.split(now + h @ recurrent, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((x.shape[0], units))
    return lax.scan(step, (zeros, zeros), ahead)[0][0]


def gru_layer(w: Weights, x: Any, units: int) -> tuple[Any, Any]:
    """The states after each step and after the last one."""
    kernel, recurrent = w.take(x.shape[-1], 3 * units), w.take(units, 3 * units)
    bias = w.take(2, 3 * units)
    ahead = (x @ kernel + bias[0]).swapaxes(0, 1)

    def step(h: Any, now: Any) -> Any:
        (xz, xr, xc), (hz, hr, hc) = (jnp.split(a, 3, -1) for a in (now, h @ recurrent + bias[1]))
        z, r = jax.nn.sigmoid(xz + hz), jax.nn.sigmoid(xr + hr)
        h = z * h + (1 - z) * jnp.tanh(xc + r * hc)
        return h, h

    last, states = lax.scan(step, jnp.zeros((x.shape[0], units)), ahead)
    return states.swapaxes(0, 1), last


relu = jax.nn.relu
