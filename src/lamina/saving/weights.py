"""Which array of a file belongs to which variable, and how all of them move, or none.

A file follows the tree of layers, as Keras 3 lays it out: a graph's or a stack's layers lie under
``layers/<class in snake_case>``, numbered where a class occurs again; a custom layer's inner layers
under the names of its attributes, in their sorted order; a layer's own variables under ``vars/0``,
``vars/1``, ..., the state of a seed generator that it holds under the generator's attribute and
``vars/0``. A layer that is reached on several ways is written on the first, a variable that
several layers hold by each of them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from lamina.core.boundary import warn
from lamina.core.tracking import attributes_held
from lamina.core.variable import Variable
from lamina.errors import SavingWarning, SerializationError
from lamina.layers import Layer
from lamina.layers.state import listed_layers, saved_variables
from lamina.random import SeedGenerator
from lamina.serialization.registry import stem_of

_CONTAINERS = (list, tuple, dict, Mapping, set)
# How many arrays go to the device in one call.
_AT_A_TIME = 64


class Places(NamedTuple):
    """What of a model goes into a file of weights.

    Attributes:
        variables: Name in the file to variable.
        stores: The beginnings of the names under which a layer writes what it wants itself, by its
            own ``save_own_variables``.
        generators: Name in the file to the state of a seed generator. Files of Keras may lack
            it: the generator then stays as it is.
    """

    variables: dict[str, Variable]
    stores: dict[str, Layer]
    generators: dict[str, Variable]

    def arrays(self) -> dict[str, Any]:
        """Name in the file to what is written there: variables, and what layers wrote."""
        arrays: dict[str, Any] = {**self.variables, **self.generators}
        for start, layer in self.stores.items():
            store: dict[str, Any] = {}
            layer.save_own_variables(store)
            arrays |= {start + _checked(key, value, layer): value for key, value in store.items()}
        return arrays

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that nothing takes. Optimizers and random generators have their own.

        Args:
            names: The names of a file's arrays.
        """
        others = (*self.stores, "optimizer/vars/")
        return [
            n for n in names
            if n not in self.variables and n not in self.generators and not n.startswith(others)
            and "seed_generator/vars/" not in n
        ]  # fmt: skip


def _checked(key: Any, value: Any, layer: Layer) -> str:
    if (
        not isinstance(key, str)
        or not key
        or "/" in key
        or np.asarray(value).dtype.kind not in "biufV"
    ):
        raise SerializationError(
            f"`save_own_variables` of layer {layer.name!r} ({type(layer).__name__}) stored "
            f"{value!r} under {key!r}. A store takes arrays of numbers under names without slashes."
        )
    return key


def locate(model: Layer) -> Places:
    """The places of all that belongs to ``model``.

    Raises:
        SerializationError: A layer keeps others in a set, or writes assets.

    >>> from lamina import layers
    >>> dense = layers.Dense(2)
    >>> dense.build((None, 3))
    >>> list(locate(dense).variables)
    ['vars/0', 'vars/1']
    """
    found = Places({}, {}, {})
    seen: set[Layer] = set()
    stack: list[tuple[str, Layer]] = [("", model)]
    while stack:
        prefix, layer = stack.pop()
        if layer in seen:
            continue
        seen.add(layer)
        if _writes_itself(layer):
            found.stores[f"{prefix}vars/"] = layer
        else:
            for i, variable in enumerate(saved_variables(layer)):
                found.variables[f"{prefix}vars/{i}"] = variable
        inside: list[tuple[str, Layer]] = []
        for path, x in _children(layer):
            if isinstance(x, Layer):
                inside.append((f"{prefix}{path}/", x))
            else:
                found.generators[f"{prefix}{path}/vars/0"] = x.state
        stack.extend(reversed(inside))
    return found


def _writes_itself(layer: Layer) -> bool:
    cls = type(layer)
    if hasattr(cls, "save_assets"):
        raise SerializationError(
            f"Layer {layer.name!r} ({cls.__name__}) has a `save_assets`. A file holds a config and "
            "arrays, nothing else; return what is needed from `get_config` or store arrays in "
            "`save_own_variables`."
        )
    return (
        cls.save_own_variables is not Layer.save_own_variables
        or cls.load_own_variables is not Layer.load_own_variables
    )


def _children(layer: Layer) -> Iterator[tuple[str, Layer | SeedGenerator]]:
    """Inner layers and generators with their paths; a graph's or a stack's layers first."""
    yield from _in("layers", listed_layers(layer), layer)
    for attribute, value in sorted(attributes_held(layer).items()):
        yield from _in(attribute, value, layer)


@functools.cache
def _name_of(cls: type) -> str:
    """How a file calls an entry of a list: by its class."""
    return stem_of(cls) if issubclass(cls, (Layer, SeedGenerator)) else "container"


def _in(path: str, value: Any, owner: Layer) -> Iterator[tuple[str, Layer | SeedGenerator]]:
    if isinstance(value, (Layer, SeedGenerator)):
        yield path, value
    elif not isinstance(value, _CONTAINERS):
        return
    elif not isinstance(value, set):
        counts: Counter[str] = Counter()
        for x in value.values() if isinstance(value, Mapping) else value:
            if isinstance(x, (Layer, SeedGenerator, *_CONTAINERS)):
                name = _name_of(type(x))
                n = counts[name]
                counts[name] += 1
                yield from _in(f"{path}/{name}_{n}" if n else f"{path}/{name}", x, owner)
    elif any(isinstance(x, (Layer, SeedGenerator)) for x in value):
        what = "layers" if any(isinstance(x, Layer) for x in value) else "seed generators"
        raise SerializationError(
            f"Layer {owner.name!r} ({type(owner).__name__}) keeps {what} in a set, `{path}`, which "
            "has no order, so a file could not tell them apart. Keep them in a list or a dict."
        )


# ---- reading -------------------------------------------------------------------------------------


class Stored(Protocol):
    """A file of arrays by name; ``hdf5.File`` and ``safetensors.File`` are two."""

    where: str

    def names(self) -> list[str]:
        """The names of all arrays."""
        ...

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of an array; None when there is none of that name."""
        ...

    def read(self, name: str) -> np.ndarray:
        """The array itself."""
        ...


def fill(
    stored: Stored,
    places: Places,
    *,
    error: type[Exception],
    way_out: str,
    skip_mismatch: bool = False,
    whole: bool = True,
) -> None:
    """Give every variable its array, or none of them.

    Args:
        stored: The file.
        places: What belongs where.
        error: The class of the error about a file that does not fit.
        way_out: Its last sentence.
        skip_mismatch: Leave variables as they are whose array is missing or of another shape.
        whole: Whether the arrays that nothing takes are a mismatch too.
    """
    fitting: dict[Variable, str] = {}
    absent: dict[Variable, str] = {}
    wrong: list[str] = []
    for name, variable in places.variables.items():
        shape = stored.shape(name)
        if shape == variable.shape:
            fitting[variable] = name
        elif shape is None:
            absent[variable] = name
        else:
            wrong.append(f"{variable.path}: expected {variable.shape}, found {shape} at {name!r}")
    for name, variable in places.generators.items():
        if stored.shape(name) == variable.shape:
            fitting.setdefault(variable, name)
    missing = [f"{v.path} (at {name!r})" for v, name in absent.items() if v not in fitting]
    unknown = places.unknown(stored.names()) if whole else []
    if (missing or wrong or unknown) and not skip_mismatch:
        raise error(
            f"{stored.where} does not fit the model, which stays as it was."
            + _listed("missing from the file", missing) + _listed("of another shape", wrong)
            + _listed("without a place in the model", unknown) + "\n" + way_out
        )  # fmt: skip
    if missing or wrong:
        warn(
            f"Of {stored.where} some weights were skipped, which stay as they were."
            + _listed("missing from the file", missing) + _listed("of another shape", wrong),
            SavingWarning,
        )  # fmt: skip
    values = [(v, stored.read(name).astype(v.dtype, copy=False)) for v, name in fitting.items()]
    stores = [
        (
            layer,
            {n.removeprefix(start): stored.read(n) for n in stored.names() if n.startswith(start)},
        )
        for start, layer in places.stores.items()
    ]
    while values:
        variables, arrays = zip(*values[-_AT_A_TIME:], strict=True)
        del values[-_AT_A_TIME:]
        for variable, array in zip(variables, jax.device_put(arrays), strict=True):
            variable.assign(array)
    for layer, store in stores:
        layer.load_own_variables(store)


def _listed(what: str, entries: list[str]) -> str:
    if not entries:
        return ""
    more = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
    return f"\n  {what}: " + "; ".join(entries[:5]) + more
