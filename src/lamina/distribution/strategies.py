"""Distributions: what splits the batches, and what splits the weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lamina.core import sharding
from lamina.core.boundary import warn
from lamina.core.sharding import Layout
from lamina.distribution.layouts import DeviceMesh, LayoutMap, TensorLayout, check_axes
from lamina.distribution.processes import list_devices
from lamina.distribution.rules import Rules, tensor_rules
from lamina.errors import ArgumentError, ShapeError, TrainingWarning, UnknownNameError, unknown_name

BATCH, MODEL = "batch", "model"
# Smaller weights are copied to each device: gathering them would cost more than their memory.
MIN_SIZE = 1024


class Distribution:
    """Base class: splits the samples of each batch over one axis of a mesh.

    A subclass defines :meth:`get_variable_layout`. ``model.compile(distribution=...)`` applies a
    distribution to a model and its optimizer; :func:`set_distribution` or :meth:`scope` to all
    models that are compiled afterwards.

    Args:
        device_mesh: The devices.
        batch_dim_name: The axis of the mesh over which batches are split.
        auto_shard_dataset: Whether each process is given the same data, of which it uses the part
            of its own devices. If False, each process is given its own data, and a batch consists
            of one batch of each process.

    >>> class Replicated(Distribution):
    ...     def get_variable_layout(self, variable):
    ...         return TensorLayout([None] * len(variable.shape), self.device_mesh)
    >>> Replicated(DeviceMesh((1,), ["batch"], ["cpu:0"]), batch_dim_name="batch").batch_dim_name
    'batch'
    """

    batch_dim_name: str | None

    def __init__(
        self,
        device_mesh: DeviceMesh,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
    ) -> None:
        if not isinstance(device_mesh, DeviceMesh):
            raise ArgumentError(
                f"{type(self).__name__}() expects a DeviceMesh. Received: {device_mesh!r}."
            )
        if batch_dim_name is not None:
            check_axes((batch_dim_name,), device_mesh)
        self.device_mesh, self.batch_dim_name = device_mesh, batch_dim_name
        self.offload_optimizer = False
        self.auto_shard_dataset = auto_shard_dataset

    @property
    def mesh(self) -> Mesh:
        """The devices as a JAX mesh."""
        return self.device_mesh.backend_mesh

    @property
    def num_processes(self) -> int:
        """Number of processes of the program."""
        return jax.process_count()

    @property
    def num_model_replicas(self) -> int:
        """Number of parts into which a batch is split."""
        return 1 if self.batch_dim_name is None else self.mesh.shape[self.batch_dim_name]

    def get_data_layout(self, data_shape: Sequence[int]) -> TensorLayout:
        """The layout of an array of data, whose first axis has the samples."""
        axes = (self.batch_dim_name, *[None] * (len(data_shape) - 1))
        return TensorLayout(axes[: len(data_shape)], self.device_mesh)

    def get_variable_layout(self, variable: Any) -> TensorLayout:
        """The layout of a variable; by default each device has a copy."""
        return TensorLayout([None] * len(variable.shape), self.device_mesh)

    def get_tensor_layout(self, path: str) -> TensorLayout | None:
        """The layout of a layer's outputs, by its path followed by ``/output``; None for any."""
        return None

    def layouts(self, variables: Mapping[str, Any]) -> dict[str, Layout]:
        """The layout of each variable of a model, by address.

        Raises:
            ShapeError: A dimension cannot be split into equal parts.
        """
        found = {}
        for address, variable in variables.items():
            axes = self.get_variable_layout(variable).axes
            check_divides(self.mesh, address, variable.shape, axes)
            stored = NamedSharding(self.mesh, PartitionSpec(*axes))
            found[address] = Layout(stored, stored)
        return found

    def output_layout(self, path: str) -> NamedSharding | None:
        """The sharding of a layer's outputs, by its path; None to leave it to the compiler."""
        layout = self.get_tensor_layout(f"{path}/output")
        return None if layout is None else layout.backend_layout

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Context in which this is the current distribution."""
        before = distribution()
        set_distribution(self)
        try:
            yield
        finally:
            set_distribution(before)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} device_mesh={self.device_mesh}>"


class DataParallel(Distribution):
    """Each device has a copy of the model, and computes a part of each batch.

    Args:
        device_mesh: The devices; batches are split over the first axis.
        devices: Names of devices instead, as :func:`list_devices` returns them. If neither is
            given, all devices are used.
        auto_shard_dataset: Whether each process is given the same data; see :class:`Distribution`.

    >>> DataParallel(devices=["cpu:0"])
    <DataParallel device_mesh=<DeviceMesh shape=(1,), axis_names=['batch']>>
    """

    def __init__(
        self,
        device_mesh: DeviceMesh | None = None,
        devices: Any = None,
        auto_shard_dataset: bool = True,
    ) -> None:
        if device_mesh is None:
            found = np.asarray(list_devices() if devices is None else devices, object)
            device_mesh = DeviceMesh(found.shape, [BATCH], found)
        elif isinstance(device_mesh, DeviceMesh) and device_mesh.devices.ndim != 1:
            warn(
                f"DataParallel splits batches over the first axis of {device_mesh}; along the "
                "others the same is computed repeatedly.",
                TrainingWarning,
            )
        names = device_mesh.axis_names if isinstance(device_mesh, DeviceMesh) else [None]
        super().__init__(device_mesh, names[0], auto_shard_dataset)


class ModelParallel(Distribution):
    """Weights are split as a :class:`LayoutMap` says, and batches over another axis.

    Args:
        layout_map: Layouts by the paths of variables. A key that matches neither a variable nor
            the output of a layer causes a warning when a model is laid out.
        batch_dim_name: The axis over which batches are split; the first of the mesh when None.
        auto_shard_dataset: Whether each process is given the same data; see :class:`Distribution`.
        device_mesh: Must be that of the layouts, if given.

    >>> layouts = LayoutMap(DeviceMesh((1, 1), ["batch", "model"], ["cpu:0"]))
    >>> layouts[".*kernel"] = (None, "model")
    >>> ModelParallel(layout_map=layouts, batch_dim_name="batch").num_model_replicas
    1
    """

    def __init__(
        self,
        *,
        layout_map: LayoutMap | None = None,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
        device_mesh: DeviceMesh | None = None,
    ) -> None:
        if not isinstance(layout_map, LayoutMap):
            raise ArgumentError(
                f"ModelParallel() expects a LayoutMap as `layout_map`. Received: {layout_map!r}."
            )
        mesh = layout_map.device_mesh
        if device_mesh not in (None, mesh):
            raise ArgumentError(
                "ModelParallel() takes its mesh from `layout_map`.",
                expected=mesh, received=device_mesh,
            )  # fmt: skip
        super().__init__(mesh, batch_dim_name or mesh.axis_names[0], auto_shard_dataset)
        self.layout_map = layout_map
        self._told: list[list[str]] = []

    def get_variable_layout(self, variable: Any) -> TensorLayout:
        layout = self.layout_map[variable.path]
        return super().get_variable_layout(variable) if layout is None else layout

    def get_tensor_layout(self, path: str) -> TensorLayout | None:
        return self.layout_map[path]

    def layouts(self, variables: Mapping[str, Any]) -> dict[str, Layout]:
        paths = [v.path for v in variables.values()]
        unused = [
            key for key in self.layout_map
            if not key.endswith("/output") and not any(re.fullmatch(key, p) for p in paths)
        ]  # fmt: skip
        if unused and len(paths) > 1 and unused not in self._told:
            self._told.append(unused)
            warn(
                f"The LayoutMap has keys that match no variable: {unused}. The paths of the "
                f"variables are {paths[:6]}{' ...' if len(paths) > 6 else ''}.",
                TrainingWarning,
            )
        return super().layouts(variables)


class Sharded(Distribution):
    """Weights and optimizer state are split by rules over addresses, by their size, or both.

    First the rules apply: the first one whose regular expression matches the whole address of a
    weight says which axes of the mesh split which of its dimensions (tensor parallelism). Then,
    with ``fsdp_axis``, each weight of at least ``min_size`` elements is split along the largest of
    its remaining dimensions that the size of that axis divides. Layers gather such a weight for
    each use, and its gradient is summed directly into the parts (fully sharded data parallelism:
    Rajbhandari et al. 2020, arXiv:1910.02054).

    Args:
        device_mesh: The devices.
        rules: Pairs of a regular expression and a tuple with an axis of the mesh, or None, for
            each dimension, in order; :func:`tensor_rules` proposes them for a model.
        batch_dim_name: The axis over which batches are split; the first of the mesh when None.
        fsdp_axis: The axis over which weights are split by size; None for the rules alone.
        min_size: Number of elements from which on a weight is split by size.
        offload_optimizer: Whether the optimizer's slots lie in the memory of the host between
            steps, each part with its device: less memory of the devices, and more time, as each
            step sends them to the device and back. It works with one device, too.
        auto_shard_dataset: Whether each process is given the same data; see :class:`Distribution`.

    Raises:
        UnknownNameError: The mesh has no axis of a name. When a model is laid out: a rule matches
            no weight.
        ShapeError: When a model is laid out: a rule splits a dimension into unequal parts.

    >>> mesh = DeviceMesh((1, 1), ["batch", "model"], ["cpu:0"])
    >>> print(Sharded(mesh, [(".*/kernel", (None, "model"))], fsdp_axis="batch"))
    .*/kernel  (None, 'model')
    otherwise  largest dimension over 'batch', from 1024 elements on
    """

    def __init__(
        self,
        device_mesh: DeviceMesh,
        rules: Rules = (),
        *,
        batch_dim_name: str | None = None,
        fsdp_axis: str | None = None,
        min_size: int = MIN_SIZE,
        offload_optimizer: bool = False,
        auto_shard_dataset: bool = True,
    ) -> None:
        names = device_mesh.axis_names if isinstance(device_mesh, DeviceMesh) else [None]
        super().__init__(device_mesh, batch_dim_name or names[0], auto_shard_dataset)
        self.rules = [(pattern, tuple(axes)) for pattern, axes in rules]
        for _, axes in [*self.rules, ("", (fsdp_axis,))]:
            check_axes(axes, device_mesh)
        self.fsdp_axis, self.min_size = fsdp_axis, min_size
        self.offload_optimizer = offload_optimizer

    def get_variable_layout(self, variable: Any) -> TensorLayout:
        return TensorLayout(self._axes(variable.path, variable.shape)[0], self.device_mesh)

    def layouts(self, variables: Mapping[str, Any]) -> dict[str, Layout]:
        unused = [
            p for p, _ in self.rules if not any(re.fullmatch(p, address) for address in variables)
        ]
        if unused and len(variables) > 1:
            raise UnknownNameError(
                f"{len(unused)} rules of the distribution match no weight: {unused[:5]}.",
                expected=f"regular expressions of addresses such as {list(variables)[:6]}",
            )
        found = {}
        for address, variable in variables.items():
            stored, used = self._axes(address, variable.shape)
            check_divides(self.mesh, address, variable.shape, stored)
            first = NamedSharding(self.mesh, PartitionSpec(*stored))
            same = stored == used
            found[address] = Layout(
                first, first if same else NamedSharding(self.mesh, PartitionSpec(*used))
            )
        return found

    def _axes(
        self, address: str, shape: tuple[int, ...]
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The axes that split a weight where it is stored, and those where it is used."""
        rule = next((axes for p, axes in self.rules if re.fullmatch(p, address)), ())
        used = (*rule, *[None] * (len(shape) - len(rule)))
        axis = self.fsdp_axis
        if axis is None or axis in used or math.prod(shape) < self.min_size:
            return used, used
        parts = self.mesh.shape[axis]
        free = [
            (size, -i) for i, size in enumerate(shape)
            if parts > 1 and used[i] is None and size % parts == 0
        ]  # fmt: skip
        if not free:
            return used, used
        chosen = -max(free)[1]
        return tuple(axis if i == chosen else a for i, a in enumerate(used)), used

    def __str__(self) -> str:
        lines = [(pattern, str(axes)) for pattern, axes in self.rules]
        rest = "a copy on each device"
        if self.fsdp_axis is not None:
            rest = f"largest dimension over {self.fsdp_axis!r}, from {self.min_size} elements on"
        lines.append(("otherwise", rest))
        width = max(len(pattern) for pattern, _ in lines)
        return "\n".join(f"{pattern:<{width}}  {axes}" for pattern, axes in lines)


def check_divides(
    mesh: Mesh, address: str, shape: tuple[int, ...], axes: Sequence[Any]
) -> None:  # fmt: skip
    """Check that a layout splits each dimension into equal parts.

    Raises:
        ShapeError: It does not, or has more entries than there are dimensions.
    """
    parts = [
        math.prod(mesh.shape[n] for n in ((a,) if isinstance(a, str) else a or ())) for a in axes
    ]
    if len(axes) > len(shape) or any(s % n for s, n in zip(shape, parts, strict=False)):
        raise ShapeError(
            f"Weight {address!r} of shape {shape} cannot be split by the layout {tuple(axes)}.",
            expected=f"dimensions that are multiples of {parts}",
        )


# ---- the current distribution --------------------------------------------------------------------


def distribution() -> Any:
    """The distribution that applies where none is given; None for a single device.

    >>> with DataParallel(devices=["cpu:0"]).scope():
    ...     distribution()
    <DataParallel device_mesh=<DeviceMesh shape=(1,), axis_names=['batch']>>
    """
    return sharding.current_distribution()


def set_distribution(value: Any) -> None:
    """Set the distribution of models that are compiled from now on without one of their own.

    Args:
        value: A :class:`Distribution`, or None for a single device.

    >>> set_distribution(DataParallel(devices=["cpu:0"]))
    >>> distribution()
    <DataParallel device_mesh=<DeviceMesh shape=(1,), axis_names=['batch']>>
    >>> set_distribution(None)
    """
    if value is not None and not isinstance(value, Distribution):
        raise ArgumentError(f"set_distribution() expects a Distribution. Received: {value!r}.")
    sharding.set_current_distribution(value)


# ---- distributions by name -----------------------------------------------------------------------

NAMES = ("data", "fsdp", "tensor", "fsdp+tensor")


def check_distribution(given: Any) -> None:
    """Check the argument ``distribution`` of ``compile``.

    Raises:
        UnknownNameError: An unknown name.
        ArgumentError: Neither a name nor a :class:`Distribution`.
    """
    if isinstance(given, str):
        if given not in NAMES:
            raise unknown_name("distribution", given, NAMES)
    elif given is not None and not isinstance(given, Distribution):
        raise ArgumentError(
            f"`distribution` is one of {NAMES}, a Distribution, or None. Received: {given!r}."
        )


def named_distribution(name: str, model: Any) -> Distribution:
    """The distribution that a name stands for, over all devices.

    Args:
        name: ``"data"``, ``"fsdp"``, ``"tensor"`` or ``"fsdp+tensor"``.
        model: A built model, from whose graph the rules of ``"tensor"`` derive.
    """
    count = len(list_devices())
    if name == "data":
        return DataParallel()
    if name == "fsdp":
        return Sharded(DeviceMesh((count,), [BATCH]), fsdp_axis=BATCH)
    # With data parallelism beside it, tensor parallelism stays within a process, and smaller.
    parts = count
    if name == "fsdp+tensor":
        local, most = jax.local_device_count(), math.isqrt(count)
        parts = max(n for n in range(1, most + 1) if local % n == 0 and count % n == 0)
    mesh = DeviceMesh((count // parts, parts), [BATCH, MODEL])
    rules = tensor_rules(model, MODEL, parts)
    return Sharded(mesh, rules, fsdp_axis=BATCH if name == "fsdp+tensor" else None)


__all__ = [
    "DataParallel", "Distribution", "ModelParallel", "Sharded", "check_distribution",
    "distribution", "named_distribution", "set_distribution",
]  # fmt: skip
