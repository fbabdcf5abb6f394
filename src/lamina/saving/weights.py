"""The assignment of the arrays in a file to variables, and atomic loading of them.

A file has the structure of the tree of layers, in the layout of Keras 3: the layers of a functional
or sequential model are under ``layers/<class in snake_case>``, numbered if a class occurs
repeatedly; the inner layers of a custom layer under the names of its attributes, in sorted order;
the variables of a layer under ``vars/0``, ``vars/1``, ..., and the state of its seed generator
under the generator's attribute and ``vars/0``. A layer with several paths is saved under the first,
a variable that several layers share under each of them.
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
# Number of arrays that are transferred to the device in one call.
_AT_A_TIME = 64


class Places(NamedTuple):
    """The parts of a model that a weights file contains.

    Attributes:
        variables: Dict of names in the file to variables.
        stores: Prefixes of the names under which layers save arrays by their own
            ``save_own_variables``.
        generators: Dict of names in the file to the states of seed generators. Keras's files may
            lack them: the generators are then unchanged.
    """

    variables: dict[str, Variable]
    stores: dict[str, Layer]
    generators: dict[str, Variable]

    def arrays(self) -> dict[str, Any]:
        """Dict of names in the file to arrays: those of variables, and those that layers saved."""
        arrays: dict[str, Any] = {**self.variables, **self.generators}
        for start, layer in self.stores.items():
            store: dict[str, Any] = {}
            layer.save_own_variables(store)
            arrays |= {start + _checked(key, value, layer): value for key, value in store.items()}
        return arrays

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that belong to no variable, except optimizers' and seed generators'.

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
            f"{value!r} under {key!r}. Expected numeric arrays under names without slashes."
        )
    return key


def locate(model: Layer) -> Places:
    """The names in the file of all variables of ``model``.

    Raises:
        SerializationError: A layer has other layers in a set, or saves assets.

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
            f"Layer {layer.name!r} ({cls.__name__}) has a `save_assets`. Files contain a config "
            "and arrays only: return what is needed from `get_config` or store arrays in "
            "`save_own_variables`."
        )
    return (
        cls.save_own_variables is not Layer.save_own_variables
        or cls.load_own_variables is not Layer.load_own_variables
    )


def _children(layer: Layer) -> Iterator[tuple[str, Layer | SeedGenerator]]:
    """Inner layers and seed generators with their paths; layers of the graph come first."""
    yield from _in("layers", listed_layers(layer), layer)
    for attribute, value in sorted(attributes_held(layer).items()):
        yield from _in(attribute, value, layer)


@functools.cache
def _name_of(cls: type) -> str:
    """The name of a list's entry in a file, derived from its class."""
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
            f"Layer {owner.name!r} ({type(owner).__name__}) has {what} in a set, `{path}`. A set "
            "has no order, so a file cannot identify its entries. Use a list or a dict."
        )


# ---- reading -------------------------------------------------------------------------------------


class Stored(Protocol):
    """A file of named arrays, such as ``hdf5.File`` and ``safetensors.File``."""

    where: str

    def names(self) -> list[str]:
        """The names of all arrays."""
        ...

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of an array, or None if there is no array of that name."""
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
    """Load the arrays into the variables: all of them, or none.

    Args:
        stored: The file.
        places: The variables by their names in the file.
        error: The class of the error for a file that does not match.
        way_out: The last sentence of its message.
        skip_mismatch: Whether to skip variables whose array is missing or of another shape.
        whole: Whether arrays that belong to no variable are a mismatch too.
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
            f"{stored.where} does not match the model, which is unchanged."
            + _listed("missing from the file", missing) + _listed("of another shape", wrong)
            + _listed("not in the model", unknown) + "\n" + way_out
        )  # fmt: skip
    if missing or wrong:
        warn(
            f"Some weights in {stored.where} were skipped; those of the model are unchanged."
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
        if all(v.layout is None for v in variables):
            arrays = jax.device_put(arrays)  # others send each device its own part
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
    for layer, store in stores:
        layer.load_own_variables(store)


def _listed(what: str, entries: list[str]) -> str:
    if not entries:
        return ""
    more = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
    return f"\n  {what}: " + "; ".join(entries[:5]) + more
