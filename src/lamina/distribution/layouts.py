"""Meshes of devices, and the layouts of tensors on them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from lamina.core.graph import is_symbolic
from lamina.core.sharding import put
from lamina.distribution.processes import devices_of, list_devices
from lamina.errors import ArgumentError, unknown_name
from lamina.patterns import PatternMap


class DeviceMesh:
    """Devices in a grid with named axes, over which tensors are split.

    Args:
        shape: Number of devices along each axis: ``(8,)``, or ``(4, 2)`` for data and model
            parallelism.
        axis_names: The name of each axis, which layouts refer to.
        devices: Names of devices, as :func:`list_devices` returns them, or JAX devices; all devices
            when None.

    Raises:
        ArgumentError: The lengths differ, or there is another number of devices.

    Attributes:
        devices: The devices as an array of this shape.

    >>> DeviceMesh((1, 1), ["batch", "model"], ["cpu:0"])
    <DeviceMesh shape=(1, 1), axis_names=['batch', 'model']>
    """

    def __init__(self, shape: Any, axis_names: Any, devices: Any = None) -> None:
        if not shape or not axis_names or len(shape) != len(axis_names):
            raise ArgumentError(
                "DeviceMesh() expects a size and a name for each axis.",
                received=f"shape={shape}, axis_names={axis_names}",
            )
        if devices is None:
            devices = list_devices()
        array = np.asarray(devices, object)
        if math.prod(shape) != array.size:
            raise ArgumentError(
                f"DeviceMesh() of shape {tuple(shape)} needs {math.prod(shape)} devices.",
                received=f"{array.size} devices",
            )
        self.shape, self.axis_names = shape, axis_names
        self.devices = array.reshape(shape)

    @functools.cached_property
    def backend_mesh(self) -> Mesh:
        """The same as ``jax.sharding.Mesh``."""
        found = [_device(d) for d in self.devices.flat]
        return Mesh(np.asarray(found, object).reshape(self.shape), tuple(self.axis_names))

    def __repr__(self) -> str:
        return f"<DeviceMesh shape={self.shape}, axis_names={self.axis_names}>"


def _device(name: Any) -> Any:
    if isinstance(name, jax.Device):
        return name
    kind, _, number = str(name).partition(":")
    for device in devices_of(kind):
        if str(device.id) == number:
            return device
    raise unknown_name("device", str(name), list_devices(kind))


class TensorLayout:
    """Which axis of a mesh splits which dimension of a tensor.

    Args:
        axes: For each dimension the name of an axis of the mesh, or None to keep it whole.
        device_mesh: The mesh; a :class:`LayoutMap` adds its own.

    Raises:
        UnknownNameError: The mesh has no axis of a name.

    >>> mesh = DeviceMesh((1,), ["model"], ["cpu:0"])
    >>> TensorLayout((None, "model"), mesh).axes
    (None, 'model')
    """

    def __init__(self, axes: Sequence[str | None], device_mesh: DeviceMesh | None = None) -> None:
        self.axes, self._device_mesh = tuple(axes), device_mesh
        self._check()

    @property
    def device_mesh(self) -> DeviceMesh | None:
        """The mesh; it can be set once."""
        return self._device_mesh

    @device_mesh.setter
    def device_mesh(self, device_mesh: DeviceMesh) -> None:
        if self._device_mesh is not None:
            raise ArgumentError(f"This layout already has a mesh, {self._device_mesh}.")
        self._device_mesh = device_mesh
        self._check()

    def _check(self) -> None:
        if self._device_mesh is not None:
            check_axes(self.axes, self._device_mesh)

    @functools.cached_property
    def backend_layout(self) -> NamedSharding:
        """The same as ``jax.sharding.NamedSharding``."""
        if self._device_mesh is None:
            raise ArgumentError("This layout has no mesh. Pass one: TensorLayout(axes, mesh).")
        return NamedSharding(self._device_mesh.backend_mesh, PartitionSpec(*self.axes))

    def __repr__(self) -> str:
        return f"<TensorLayout axes={self.axes}, device_mesh={self.device_mesh}>"


def check_axes(axes: Sequence[str | None], mesh: DeviceMesh) -> None:
    """Check that a mesh has the axes of a layout.

    Raises:
        UnknownNameError: It has no axis of a name.
    """
    for axis in axes:
        if axis is not None and axis not in mesh.axis_names:
            raise unknown_name(f"axis of {mesh}", axis, list(mesh.axis_names))


class LayoutMap(PatternMap[TensorLayout]):
    """Layouts by the paths of variables, or by regular expressions that match them as a whole.

    A path that no key matches has the layout None: its variable is copied to each device. The path
    of a layer, followed by ``/output``, gives the layout of its outputs.

    Args:
        device_mesh: The mesh of layouts that have none.

    Raises:
        ArgumentError: A key is set twice, a value is neither a tuple nor a layout, or several
            expressions match a path that is looked up.

    >>> layouts = LayoutMap(DeviceMesh((1, 1), ["batch", "model"], ["cpu:0"]))
    >>> layouts[".*dense.*/kernel"] = (None, "model")
    >>> layouts["dense_1/kernel"].axes, layouts["dense_1/bias"]
    ((None, 'model'), None)
    """

    def __init__(self, device_mesh: DeviceMesh) -> None:
        super().__init__()
        self.device_mesh = device_mesh

    def _ambiguous(self, path: str, keys: list[str]) -> ArgumentError:
        return ArgumentError(
            f"Several keys of the LayoutMap match {path!r}: {keys}. Make them more specific."
        )

    def __setitem__(self, key: str, layout: Any) -> None:
        if key in self._entries:
            raise ArgumentError(
                f"The LayoutMap already has {key!r}, {self._entries[key]}. Delete it first."
            )
        if isinstance(layout, tuple):
            layout = TensorLayout(layout)
        if not isinstance(layout, TensorLayout):
            raise ArgumentError(f"A layout is a TensorLayout or a tuple. Received: {layout!r}.")
        if layout.device_mesh is None and self.device_mesh is not None:
            layout.device_mesh = self.device_mesh
        self._entries[key] = layout

    def __delitem__(self, key: str) -> None:
        if key not in self._entries:
            raise unknown_name("key of the LayoutMap", key, list(self._entries))
        del self._entries[key]


def distribute_tensor(tensor: Any, layout: Any) -> Any:
    """A tensor in another layout; inside a compiled function, a constraint on where it lies.

    Args:
        tensor: A tensor. A symbolic one is returned as it is.
        layout: A :class:`TensorLayout` or a JAX sharding.

    >>> layout = TensorLayout(("batch",), DeviceMesh((1,), ["batch"], ["cpu:0"]))
    >>> distribute_tensor(np.ones(2), layout).sharding.spec[0]
    'batch'
    """
    if is_symbolic(tensor):
        return tensor
    sharding: Any = layout.backend_layout if isinstance(layout, TensorLayout) else layout
    if not isinstance(sharding, Sharding):
        raise ArgumentError(f"A layout is a TensorLayout or a JAX sharding. Received: {layout!r}.")
    if isinstance(tensor, jax.core.Tracer):
        return jax.lax.with_sharding_constraint(tensor, sharding)
    return put(tensor, sharding)


__all__ = [
    "DeviceMesh", "LayoutMap", "TensorLayout", "check_axes",
    "distribute_tensor",
]  # fmt: skip
