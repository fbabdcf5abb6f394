"""The device on which arrays are created."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import jax

from lamina.errors import ArgumentError


def device(device_name: Any) -> AbstractContextManager[Any]:
    """Context in which arrays are created and computed on one device.

    Args:
        device_name: ``"cpu"``, ``"gpu:1"``, ...: a platform and the index of a device (0 by
            default); or a JAX device.

    Raises:
        ArgumentError: There is no such device; the message lists the available ones.

    >>> with device("cpu:0"):
    ...     x = jax.numpy.ones(2)
    >>> [d.platform for d in x.devices()]
    ['cpu']
    """
    return jax.default_device(_find(device_name))


def _find(name: Any) -> Any:
    if isinstance(name, jax.Device):
        return name
    platform, _, number = str(name).lower().partition(":")
    try:
        return jax.devices(platform)[int(number or 0)]
    except (RuntimeError, ValueError, IndexError):
        present = [f"{d.platform}:{d.id}" for d in jax.devices()]
        raise ArgumentError(
            f"There is no device {name!r}. Expected a name such as 'cpu:0' or 'gpu:0', or a JAX "
            f"device. Devices here: {present}."
        ) from None
