"""Conversion of images to and from a batch with the channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina import settings
from lamina.core.declaration import Tensor
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.templates import as_array

FILE_MODULE = "image"  # of Keras's files

IMAGES = """images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with
            the channels before the height."""
LAYOUT = """data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when
            None."""


def batched(name: str, images: Tensor, data_format: str | None, rank: int = 2) -> Any:
    """The images as ``(batch, *pixels, channels)``, and a function that restores their layout."""
    x = as_array(images)
    layout = settings.standardize_data_format(data_format)
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"ops.image.{name} expects an image or a batch of images.",
            expected=f"{rank + 1} or {rank + 2} axes",
            received=show_dims(x.shape),
        )
    single = x.ndim == rank + 1
    x = x[None] if single else x
    x = jnp.moveaxis(x, 1, -1) if layout == "channels_first" else x

    def restore(y: jax.Array) -> jax.Array:
        y = jnp.moveaxis(y, -1, 1) if layout == "channels_first" else y
        return y[0] if single else y

    return x, restore


def as_float(x: jax.Array) -> jax.Array:
    """``x`` in at least single precision, for coordinates and sums."""
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return x.astype(jnp.promote_types(x.dtype, "float32"))
    return x.astype("float32")


def computed(fn: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """``fn(x)``, computed in at least single precision and cast to the dtype of ``x``."""
    y = fn(as_float(x))
    return (jnp.round(y) if jnp.issubdtype(x.dtype, jnp.integer) else y).astype(x.dtype)


def one_of(name: str, what: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise :class:`ArgumentError` unless ``value`` is among ``allowed``."""
    if value not in allowed:
        raise ArgumentError(
            f"ops.image.{name}: `{what}` must be one of {allowed}. Received: {value!r}."
        )
