"""The assignment of the arrays in a file to variables, and atomic loading of them.

A file has the structure of the tree of layers, in the layout of Keras 3. The layers of a functional
or sequential model are under ``layers/<class in snake_case>``, numbered if a class occurs
repeatedly. What a custom layer or model holds is under the names of its attributes, in sorted
order, and the list ``layers`` of a custom model is one of them: attributes that sort after it and
whose layers it lists are under ``layers/`` too. The variables of a layer are under ``vars/0``,
``vars/1``, ..., and so is the state of seed generators and optimizers among the attributes. What
has several paths is saved under the first; a variable that several layers share under each of them.
"""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from lamina.core.boundary import warn
from lamina.core.sharding import put_parts
from lamina.core.tracking import attributes_held
from lamina.core.variable import Variable
from lamina.errors import CorruptFileError, SavingWarning, SerializationError
from lamina.layers import Layer
from lamina.layers.state import file_variables, listed_layers, writes_itself
from lamina.optimizers import LossScaleOptimizer
from lamina.optimizers.base import BaseOptimizer
from lamina.random import SeedGenerator
from lamina.saving.safetensors import digest_of
from lamina.serialization.registry import defined_by_user, stem_of

_CONTAINERS = (list, tuple, dict, Mapping, set)
_Saved = Layer | SeedGenerator | BaseOptimizer
_SAVED = (Layer, SeedGenerator, BaseOptimizer)
# The most arrays, and about the most bytes, that are transferred to the device in one call.
_AT_A_TIME, _BYTES = 64, 2**24


@runtime_checkable
class Assets(Protocol):
    """A layer that saves more than arrays, such as a vocabulary, in files of its own."""

    def save_assets(self, dir_path: str) -> None:
        """Write files into a folder."""
        ...

    def load_assets(self, dir_path: str) -> None:
        """Read what :meth:`save_assets` wrote."""
        ...


class Layout(NamedTuple):
    """The order in which the attributes of a layer are visited, on which their paths depend.

    Attributes:
        lists_layers: Whether the list ``layers`` of a custom model is one of its attributes.
        list_first: Whether the list of a functional or sequential model comes before all
            attributes.
        private_last: Whether attributes with a leading underscore come after the others.
    """

    lists_layers: bool = True
    list_first: bool = True
    private_last: bool = True


# The first is that of the Keras release whose files are written; the others are of earlier ones.
LAYOUTS = (Layout(), Layout(list_first=False), Layout(list_first=False, private_last=False),
           Layout(lists_layers=False, private_last=False))  # fmt: skip


class Places(NamedTuple):
    """The parts of a model that a weights file contains.

    Attributes:
        variables: Dict of names in the file to variables.
        stores: Prefixes of the names under which layers save arrays by their own
            ``save_own_variables``.
        optional: Dict of names in the file to variables that may be missing from it and are then
            unchanged: the states of seed generators and of optimizers among the attributes.
        assets: Dict of paths to layers that save files.
        unbuilt: Prefixes of the names of the state of optimizers that have none yet.
    """

    variables: dict[str, Variable]
    stores: dict[str, Layer]
    optional: dict[str, Variable]
    assets: dict[str, Assets]
    unbuilt: list[str]

    @classmethod
    def of(cls, variables: dict[str, Variable]) -> Places:
        """A file of nothing but these variables."""
        return cls(variables, {}, {}, {}, [])

    def arrays(self) -> dict[str, Any]:
        """Dict of names in the file to arrays: those of variables, and those that layers saved."""
        arrays: dict[str, Any] = {**self.variables, **self.optional}
        for start, layer in self.stores.items():
            store: dict[str, Any] = {}
            layer.save_own_variables(store)
            arrays |= {start + _checked(key, value, layer): value for key, value in store.items()}
        return arrays

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that belong to nothing in the model, except optimizers' and seeds'.

        Args:
            names: The names of a file's arrays.
        """
        others = (*self.stores, *self.unbuilt, "optimizer/")
        return [
            n for n in names
            if n not in self.variables and n not in self.optional and not n.startswith(others)
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


def locate(model: Layer, layout: Layout = LAYOUTS[0]) -> Places:
    """The names in the file of all variables of ``model``.

    Args:
        model: A built model or layer.
        layout: The layout of the file.

    Raises:
        SerializationError: A layer has other layers in a set.

    >>> from lamina import layers
    >>> dense = layers.Dense(2)
    >>> dense.build((None, 3))
    >>> list(locate(dense).variables)
    ['vars/0', 'vars/1']
    """
    found = Places.of({})
    seen: set[_Saved] = set()
    stack: list[tuple[str, _Saved]] = [("", model)]
    while stack:
        prefix, x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if isinstance(x, Layer):
            if isinstance(x, Assets):
                found.assets[prefix] = x
            if writes_itself(x):
                found.stores[f"{prefix}vars/"] = x
            else:
                for i, variable in enumerate(file_variables(x)):
                    found.variables[f"{prefix}vars/{i}"] = variable
            inside = [(f"{prefix}{path}/", child) for path, child in _children(x, layout)]
            stack.extend(reversed(inside))
        elif isinstance(x, SeedGenerator):
            found.optional[f"{prefix}vars/0"] = x.state
        elif x.built:
            found.optional.update(optimizer_variables(x, prefix))
        else:
            found.unbuilt.extend((f"{prefix}vars/", f"{prefix}inner_optimizer/"))
    return found


def optimizer_variables(optimizer: BaseOptimizer, prefix: str) -> dict[str, Variable]:
    """An optimizer's variables by their names in a file.

    Args:
        optimizer: A built optimizer. The variables of one inside a ``LossScaleOptimizer`` are also
            stored under its own name, as in Keras's files.
        prefix: The beginning of the names.
    """
    found = {f"{prefix}vars/{i}": v for i, v in enumerate(optimizer.variables)}
    if isinstance(optimizer, LossScaleOptimizer):
        found |= optimizer_variables(optimizer.inner_optimizer, f"{prefix}inner_optimizer/")
    return found


def locate_in(stored: Stored, model: Layer) -> Places:
    """The names in a file of all variables of ``model``, in the layout that fits the file best."""
    places = _locate_in(stored, model)
    if not getattr(model, "compiled", True) and defined_by_user(type(model), "compile"):
        # What the class's `compile` sets, such as optimizers, is not there yet.
        holders = {n.partition("/")[0] for n in stored.names()} - {"vars", *dir(model)}
        places.unbuilt.extend(f"{n}/" for n in holders)
    return places


def _locate_in(stored: Stored, model: Layer) -> Places:
    usual = locate(model)
    if all(stored.shape(name) == v.shape for name, v in usual.variables.items()):
        return usual
    candidates = [usual, *(locate(model, layout) for layout in LAYOUTS[1:])]
    if all(c.variables.keys() == candidates[0].variables.keys() for c in candidates):
        return candidates[0]
    return min(
        candidates,
        key=lambda c: sum(stored.shape(name) != v.shape for name, v in c.variables.items()),
    )


def _children(layer: Layer, layout: Layout) -> Iterator[tuple[str, _Saved]]:
    """What a layer holds, with the paths, in the order of the layout."""
    values = dict(attributes_held(layer))
    listing, is_first = listed_layers(layer) or (None, False)
    if listing is not None and is_first and layout.list_first:
        yield from _in("layers", listing, layer)
    elif listing is not None and (is_first or layout.lists_layers):
        values["layers"] = listing

    def order(name: str) -> str:
        return f"~{name}" if layout.private_last and name.startswith("_") else name

    for attribute in sorted(values, key=order):
        yield from _in(attribute, values[attribute], layer)


@functools.cache
def _name_of(cls: type) -> str:
    """The name of a list's entry in a file, derived from its class."""
    return stem_of(cls) if issubclass(cls, _SAVED) else "container"


def _in(path: str, value: Any, owner: Layer) -> Iterator[tuple[str, _Saved]]:
    if isinstance(value, _SAVED):
        yield path, value
    elif not isinstance(value, _CONTAINERS):
        return
    elif not isinstance(value, set):
        counts: Counter[str] = Counter()
        for x in value.values() if isinstance(value, Mapping) else value:
            if isinstance(x, (*_SAVED, *_CONTAINERS)):
                name = _name_of(type(x))
                n = counts[name]
                counts[name] += 1
                yield from _in(f"{path}/{name}_{n}" if n else f"{path}/{name}", x, owner)
    elif any(isinstance(x, _SAVED) for x in value):
        raise SerializationError(
            f"Layer {owner.name!r} ({type(owner).__name__}) has layers or other objects with state "
            f"in a set, `{path}`. A set has no order, so a file cannot identify its entries. Use a "
            "list or a dict."
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


class Verified:
    """A file whose arrays are compared with digests when they are read.

    Args:
        stored: The file.
        digests: Dict of the names of all its arrays to digests.

    Raises:
        CorruptFileError: The file lacks an array, has another one, or an array was altered.
    """

    def __init__(self, stored: Stored, digests: Mapping[str, Any]) -> None:
        self.where, self._stored, self._digests = stored.where, stored, digests
        names = set(stored.names())
        if names != digests.keys():
            raise CorruptFileError(
                f"{self.where} was altered: its arrays are not those that were saved."
                + listed("missing from the file", sorted(digests.keys() - names))
                + listed("added to the file", sorted(names - digests.keys()))
            )

    def names(self) -> list[str]:
        """The names of all arrays."""
        return self._stored.names()

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of an array, or None if there is no array of that name."""
        return self._stored.shape(name)

    def read(self, name: str) -> np.ndarray:
        """The array itself."""
        value = self._stored.read(name)
        if digest_of(value) != self._digests[name]:
            raise CorruptFileError(f"{self.where} was altered: {name!r} has another digest.")
        return value


def verified(stored: Stored, metadata: Mapping[str, Any]) -> Stored:
    """The arrays of a model, compared with the digests that its metadata may have."""
    own = metadata.get("lamina")
    digests = own.get("sha256") if isinstance(own, dict) else None
    return Verified(stored, digests) if isinstance(digests, dict) else stored


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
        skip_mismatch: Whether to skip what does not match: weights whose array is missing or of
            another shape, and with them the others of the layer if the file numbers them.
        whole: Whether arrays that belong to no variable are a mismatch too.
    """
    same: dict[str, Variable] = {}
    absent: dict[Variable, str] = {}
    wrong: dict[str, str] = {}
    for name, variable in places.variables.items():
        shape = stored.shape(name)
        if shape == variable.shape:
            same[name] = variable
        elif shape is None:
            absent[variable] = name
        else:
            wrong[name] = f"{variable.path}: expected {variable.shape}, found {shape} at {name!r}"
    optional: dict[Variable, str] = {}
    for name, variable in places.optional.items():
        if stored.shape(name) == variable.shape:
            optional.setdefault(variable, name)
    matching = {v: name for name, v in same.items()}
    absent = {v: name for v, name in absent.items() if v not in matching and v not in optional}
    missing = [f"{v.path} (at {name!r})" for v, name in absent.items()]
    unknown = places.unknown(stored.names()) if whole else []
    if (absent or wrong or unknown) and not skip_mismatch:
        raise error(
            f"{stored.where} does not match the model, which is unchanged."
            + listed("missing from the file", missing)
            + listed("of another shape", list(wrong.values()))
            + listed("not in the model", unknown) + "\n" + way_out
        )  # fmt: skip
    # Numbers only identify the weights of a layer together: without a scale, 0 is the offset.
    layers = {_owner(name) for name in places.variables}
    unknown = [name for name in unknown if _owner(name) in layers]
    skipped = {_owner(name) for name in (*absent.values(), *wrong, *unknown)}
    kept = {v: name for name, v in same.items() if _owner(name) not in skipped}
    beside = [f"{v.path} (at {name!r})" for v, name in matching.items() if v not in kept]
    fitting = {**optional, **kept}
    if skipped:
        warn(
            f"Some weights in {stored.where} were skipped; those of the model are unchanged."
            + listed("missing from the file", missing)
            + listed("of another shape", list(wrong.values()))
            + listed("not in the model", unknown)
            + listed("of layers with such weights", beside),
            SavingWarning,
        )  # fmt: skip
    values = list(_read(stored, fitting))
    stores = [
        (
            layer,
            {n.removeprefix(start): stored.read(n) for n in stored.names() if n.startswith(start)},
        )
        for start, layer in places.stores.items()
    ]
    # Only these layers can fail; reading the values of new variables would create them.
    may_change = (fitting, *(layer.variables for layer, _ in stores)) if stores else ()
    before = {} if skip_mismatch else _values(v for some in may_change for v in some)
    for variable, array in values:
        variable.assign(array)
    for layer, store in stores:
        former = _values(layer.variables) if skip_mismatch else before
        try:
            layer.load_own_variables(store)
        except Exception as e:
            for variable, value in former.items():
                variable.assign(value)
            shapes = {key: array.shape for key, array in store.items()}
            what = (
                f"`load_own_variables` of layer {layer.name!r} ({type(layer).__name__}) raised "
                f"{type(e).__name__}: {e}\nReceived from {stored.where}: {shapes}."
            )
            if not skip_mismatch:
                raise error(f"The weights of the model are unchanged. {what}\n{way_out}") from e
            warn(f"The weights of this layer were skipped. {what}", SavingWarning)


def _owner(name: str) -> str:
    """Whose weights have numbers in a file, if an array has one; the array's name, if not."""
    owner, _, key = name.rpartition("/")
    return owner if key.isdigit() and owner.rpartition("/")[2] == "vars" else name


def _values(variables: Iterable[Variable]) -> dict[Variable, Any]:
    return {v: v.value for v in variables}


def _read(stored: Stored, names: Mapping[Variable, str]) -> Iterator[tuple[Variable, Any]]:
    """The values of variables, on the device, so that there is no second copy of all of them.

    Args:
        stored: The file.
        names: The names of the arrays.
    """
    batch: list[tuple[Variable, np.ndarray]] = []
    waiting = deque(names.items())
    while waiting or batch:
        while waiting and len(batch) < _AT_A_TIME and sum(a.nbytes for _, a in batch) < _BYTES:
            variable, name = waiting.popleft()
            array = stored.read(name).astype(variable.dtype, copy=False)
            layout = variable.layout if variable.is_initialized else variable.find_layout()
            if layout is None:
                batch.append((variable, array))
            else:  # of what is split, no process keeps the whole
                yield (
                    variable,
                    put_parts(
                        array.shape, array.dtype, layout.stored, lambda i, a=array: np.array(a[i])
                    ),
                )
        if batch:
            variables, arrays = zip(*batch, strict=True)
            batch = []
            yield from zip(variables, jax.device_put(arrays), strict=True)


def listed(what: str, entries: list[str]) -> str:
    """The first of some entries, as a part of a message; "" if there are none."""
    if not entries:
        return ""
    more = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
    return f"\n  {what}: " + "; ".join(entries[:5]) + more
