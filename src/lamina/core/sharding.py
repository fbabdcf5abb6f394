"""The layout of arrays on a mesh of devices, as variables and compiled steps see it.

A distribution (``lamina.distribution``) decides which axes of the mesh split which dimensions of
an array. Here is what the engine does with that: it puts arrays on the mesh, keeps the state of a
step there, and reads arrays back, whether they lie in one process or in many.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from lamina.errors import ArgumentError
from lamina.runtime import stalls

# ---- what the engine needs of a distribution -----------------------------------------------------


class Shardable(Protocol):
    """A variable, as a distribution sees it."""

    shape: tuple[int, ...]

    @property
    def path(self) -> str:
        """Names of the objects that contain the variable, and its own."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """How one variable lies on the mesh.

    Attributes:
        stored: The sharding in which the state holds it.
        used: The sharding in which layers compute with it: another one if it is gathered from the
            devices of the data axis for each use (fully sharded data parallelism).
    """

    stored: NamedSharding
    used: NamedSharding


@runtime_checkable
class _HasSharding(Protocol):
    """What `lamina.distribution.TensorLayout` offers."""

    @property
    def backend_layout(self) -> NamedSharding: ...


def read_layout(value: Any, name: str) -> Layout | None:
    """The layout that a user gave for a variable, or None."""
    if value is None:
        return None
    sharding = value.backend_layout if isinstance(value, _HasSharding) else value
    if not isinstance(sharding, NamedSharding):
        raise ArgumentError(
            f"Variable {name!r}: `layout` is a TensorLayout with a mesh, or a NamedSharding. "
            f"Received: {value!r} (of type {type(value).__name__})."
        )
    return Layout(sharding, sharding)


class Distribution(Protocol):
    """What decides the layouts of variables and of data."""

    @property
    def mesh(self) -> Mesh:
        """The devices."""
        ...

    @property
    def batch_dim_name(self) -> str | None:
        """The axis of the mesh over which the samples of a batch are split."""
        ...

    @property
    def offload_optimizer(self) -> bool:
        """Whether the optimizer's slots lie in the memory of the host between steps."""
        ...

    @property
    def auto_shard_dataset(self) -> bool:
        """Whether each process is given the same data, of which it uses its part."""
        ...

    def layouts(self, variables: Mapping[str, Any]) -> dict[str, Layout]:
        """The layout of each variable of a model, by address."""
        ...

    def output_layout(self, path: str) -> NamedSharding | None:
        """The sharding of the output of the layer at ``path``; None to leave it to the compiler."""
        ...


_current: list[Distribution | None] = [None]


def current_distribution() -> Distribution | None:
    """The distribution of variables and models that are given none; None for a single device."""
    return _current[0]


def set_current_distribution(value: Distribution | None) -> None:
    """Set what :func:`current_distribution` returns."""
    _current[0] = value


def is_alone(distribution: Distribution) -> bool:
    """Whether a distribution has no other device than the default one, and so nothing to do."""
    devices = distribution.mesh.devices
    one = devices.size == 1 and devices.flat[0] == jax.devices()[0]
    return one and not distribution.offload_optimizer


# ---- arrays --------------------------------------------------------------------------------------


def put(value: Any, sharding: Sharding) -> jax.Array:
    """A new array on the devices of ``sharding``; each is sent only its own part.

    Args:
        value: An array; if ``sharding`` spans several processes, the same in each of them.
        sharding: Where the parts belong.
    """
    if isinstance(value, jax.Array) and (
        sharding.is_fully_addressable or not value.is_fully_addressable
    ):
        return jax.device_put(value, sharding, may_alias=False)
    array = np.asarray(value)
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def put_parts(
    shape: tuple[int, ...], dtype: Any, sharding: Sharding, part: Callable[[Any], Any]
) -> jax.Array:
    """A new array, of which each process computes only the parts that it stores.

    Args:
        shape: Shape of the whole array.
        dtype: Its dtype.
        sharding: Where the parts belong.
        part: A function of the index of a part, a slice for each dimension.
    """
    made: dict[str, np.ndarray] = {}  # devices may have copies of the same part

    def once(index: Any) -> np.ndarray:
        key = str(index)
        if key not in made:
            made[key] = np.asarray(part(index), jnp.dtype(dtype))
        return made[key]

    with jax.ensure_compile_time_eval():
        return jax.make_array_from_callback(shape, sharding, once)


def whole(value: Any) -> np.ndarray:
    """An array on the host, also if parts of it lie in other processes.

    All processes must then call this for the same arrays in the same order.
    """
    if (
        isinstance(value, jax.Array)
        and not value.is_fully_addressable
        and not value.is_fully_replicated
    ):
        from jax.experimental import multihost_utils

        with stalls.waiting():
            return np.asarray(multihost_utils.process_allgather(value, tiled=True))
    return np.asarray(value)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gathered(value: Any, used: NamedSharding, stored: NamedSharding) -> Any:
    return jax.lax.with_sharding_constraint(value, used)


def _gather_forward(value: Any, used: NamedSharding, stored: NamedSharding) -> tuple[Any, None]:
    return jax.lax.with_sharding_constraint(value, used), None


def _gather_backward(used: NamedSharding, stored: NamedSharding, _: None, gradient: Any) -> Any:
    # Each device sums its part of the batch first. Otherwise the gradient of a table would be
    # scattered by rows, for which every device would need the whole batch.
    gradient = jax.lax.with_sharding_constraint(gradient, used)
    return (jax.lax.with_sharding_constraint(gradient, stored),)


_gathered.defvjp(_gather_forward, _gather_backward)


def gathered(value: Any, layout: Layout | None) -> Any:
    """The value of a weight for computing with it; its gradient is sharded as it is stored."""
    if layout is None or layout.used is layout.stored or not isinstance(value, jax.core.Tracer):
        return value
    return _gathered(value, layout.used, layout.stored)


_HOST = "pinned_host"


# ---- the variables of a model --------------------------------------------------------------------


def slot_layouts(
    slots: Mapping[str, Any], weights: Mapping[str, Any], on_host: bool
) -> dict[str, Layout]:
    """The layouts of those of an optimizer's variables that have the shape of their weight.

    Args:
        slots: Variables by ``"<slot>/<address of the weight>"``, or other keys without a weight.
        weights: The trained variables by address.
        on_host: Whether to store them in the memory of the host.
    """
    found: dict[str, Layout] = {}
    for key, slot in slots.items():
        rest, weight = key, None
        while weight is None and "/" in rest:
            rest = rest.partition("/")[2]
            weight = weights.get(rest)
        if weight is not None and weight.layout is not None and weight.shape == slot.shape:
            stored = weight.layout.stored
            place = stored.with_memory_kind(_HOST) if on_host else stored
            found[key] = Layout(place, stored)
    return found


def in_host_memory(sharding: Sharding) -> bool:
    """Whether arrays of that sharding lie in the memory of the host, not of the devices."""
    return sharding.memory_kind == _HOST


def on_devices(value: Any, layout: Layout | None) -> Any:
    """An array for computing with it, which cannot be done in the memory of the host."""
    if layout is None or not in_host_memory(layout.stored):
        return value
    return jax.device_put(value, layout.used)


# ---- the arrays of a step ------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class ShardedBlock:
    """Batches for a compiled loop: arrays ``(steps, batch, ...)`` whose second axis is split."""

    arrays: Any

    def batch(self, i: Any, size: int) -> Any:
        """Batch ``i``."""
        return jax.tree.map(
            lambda a: jax.lax.dynamic_index_in_dim(a, i, 0, keepdims=False), self.arrays
        )


class Placement:
    """Where the arrays of a compiled step lie.

    Args:
        distribution: What decides it.

    Attributes:
        distribution: The same.
        replicated: The sharding of arrays of which each device has a copy.
        spans_processes: Whether some of the devices belong to other processes.
    """

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution
        mesh, axis = distribution.mesh, distribution.batch_dim_name
        self._mesh, self._axis = mesh, axis
        self._parts = 1 if axis is None else mesh.shape[axis]
        self._split = NamedSharding(mesh, PartitionSpec(axis))
        self.replicated = NamedSharding(mesh, PartitionSpec())
        self.spans_processes = not self.replicated.is_fully_addressable

    def batch(self, batch: Any) -> Any:
        """A batch on the mesh, its samples split over the data axis.

        If their number is not a multiple of the size of the axis, as in a last batch, each device
        receives all of them: padding would change what normalization layers and losses compute.
        """
        return self._send(batch, self._of_batch(jax.tree.leaves(batch)[0]))

    def copies(self, arrays: Any) -> Any:
        """Arrays of the host, of which each device receives a copy."""
        return self._send(arrays, self.replicated)

    def _send(self, arrays: Any, sharding: NamedSharding) -> Any:
        if self.spans_processes:
            return jax.tree.map(lambda a: put(a, sharding), arrays)
        return jax.device_put(arrays, sharding)

    def structs(self, batch: Any) -> Any:
        """The shapes and dtypes of a batch, with the shardings that :meth:`batch` would choose."""
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self._of_batch(a)), batch
        )

    def _of_batch(self, array: Any) -> NamedSharding:
        return self._split if array.shape[0] % self._parts == 0 else self.replicated

    def block(self, block: Any, size: int) -> ShardedBlock:
        """A block of consecutive batches on the mesh, for a compiled loop.

        Args:
            block: Arrays whose first axis has the samples of several batches.
            size: Number of samples in a batch.
        """
        axis = self._axis if size % self._parts == 0 else None
        sharding = NamedSharding(self._mesh, PartitionSpec(None, axis))
        batches = jax.tree.map(lambda a: a.reshape(-1, size, *a.shape[1:]), block)
        return ShardedBlock(self._send(batches, sharding))

    def constrain(self, state: Any, layouts: Any) -> Any:
        """A traced state whose arrays keep the layouts in which they came.

        Args:
            state: A pytree of arrays.
            layouts: The same with the sharding of each array.
        """

        def keep(x: Any, sharding: NamedSharding) -> Any:
            move = jax.device_put if in_host_memory(sharding) else jax.lax.with_sharding_constraint
            return move(x, sharding)

        return jax.tree.map(keep, state, layouts)

    def fetch(self, state: Any, layouts: Any) -> Any:
        """A traced state whose arrays in the memory of the host are sent to the devices.

        Args:
            state: A pytree of arrays.
            layouts: The same with the sharding of each array.
        """

        def send(x: Any, sharding: NamedSharding) -> Any:
            on_host = in_host_memory(sharding)
            return jax.device_put(x, sharding.with_memory_kind("device")) if on_host else x

        return jax.tree.map(send, state, layouts)

    def replicate(self, arrays: Any) -> Any:
        """Traced outputs, of which each process gets a copy if there are several."""
        if not self.spans_processes:
            return arrays
        return jax.tree.map(
            lambda x: jax.lax.with_sharding_constraint(jnp.asarray(x), self.replicated), arrays
        )


def is_on_mesh(x: Any) -> bool:
    """Whether ``x`` is an array on a mesh of devices."""
    return isinstance(x, jax.Array) and isinstance(x.sharding, NamedSharding)


def bytes_per_device(
    shape: tuple[int, ...], dtype: Any, layout: Layout | None, on_host: bool = False
) -> int:
    """Memory of an array on each device that holds a part of it, or in the host's memory for it."""
    if (layout is not None and in_host_memory(layout.stored)) != on_host:
        return 0
    own = shape if layout is None else layout.stored.shard_shape(shape)
    return math.prod(own) * jnp.dtype(dtype).itemsize
