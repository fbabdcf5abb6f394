"""Whole models in one HDF5 file, and weights in the layout of Keras 1 and 2.

The root has the attributes ``model_config`` and ``training_config`` (JSON), ``keras_version`` and
``backend``. The group ``model_weights`` (in files of weights, the root) has a group for each layer,
listed in ``layer_names``; each of them lists its arrays in ``weight_names``: the trainable ones
first. ``optimizer_weights`` lists the arrays of the optimizer. Keras 3 still writes this layout
under names that end in ``.h5``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from lamina import losses
from lamina.core.boundary import warn
from lamina.core.variable import Variable
from lamina.errors import CorruptFileError, SavingWarning, StructureError
from lamina.layers import Layer
from lamina.layers.state import file_variables, flatten_layers
from lamina.optimizers import Nadam
from lamina.saving.migration import ARRAYS, GATED, ArrayRow, is_before, version_of
from lamina.saving.optimizer import parameters_of
from lamina.saving.weights import Places, Stored, fill
from lamina.serialization import text

WEIGHTS, OPTIMIZER, TOP = "model_weights", "optimizer_weights", "top_level_model_weights"
# The arguments of ``compile`` that the layout always has.
_NOT_GIVEN = {"loss": None, "metrics": None, "weighted_metrics": None, "loss_weights": None}
# The slots of each optimizer in the order of files before tf.keras 2.11, where all arrays of one
# slot come together.
_SLOTS = {
    "SGD": ("momentum",), "RMSprop": ("velocity", "momentum", "average_gradient"),
    "Adagrad": ("accumulator",), "Adadelta": ("accumulated_grad", "accumulated_delta_var"),
    "Adam": ("momentum", "velocity", "velocity_hat"), "Adamax": ("momentum", "norm"),
    "Nadam": ("momentum", "velocity"), "Ftrl": ("accumulator", "linear"),
}  # fmt: skip


class Grouped(Stored, Protocol):
    """A file of arrays in groups with attributes, such as ``hdf5.File``."""

    def texts(self, name: str, attribute: str) -> list[str] | None:
        """The strings of an attribute of a group ("" for the root); None if there is none."""
        ...


class _Unit(NamedTuple):
    """A layer whose arrays are stored together: its trainable weights, and the others."""

    layer: Layer
    kernels: list[Variable]
    others: list[Variable]


class _Slot(NamedTuple):
    """Consecutive arrays of a file, and the variables that they belong to."""

    unit: _Unit
    variables: list[Variable]
    arrays: int


def attribute(stored: Grouped, name: str) -> str | None:
    """A text among the attributes of the file, such as ``"model_config"``."""
    return next(iter(stored.texts("", name) or []), None)


def version_in(stored: Grouped) -> str:
    """The version of Keras that wrote the file; files of the first versions do not name it."""
    inside = stored.texts(WEIGHTS, "keras_version") or []
    return attribute(stored, "keras_version") or next(iter(inside), "1")


def json_in(stored: Grouped, name: str) -> Any:
    """The value of an attribute that is JSON, or None if the file does not have it."""
    value = attribute(stored, name)
    if value is None:
        return None
    return text.parse(value, f"{stored.where}: {name}", CorruptFileError)


# ---- arrays --------------------------------------------------------------------------------------


class Converted:
    """A file whose arrays have the shapes of today's layers.

    Args:
        stored: The file.
    """

    def __init__(self, stored: Grouped) -> None:
        self.stored, self.where = stored, stored.where
        self.made: dict[str, np.ndarray] = {}

    def names(self) -> list[str]:
        """The names of all arrays of the file."""
        return self.stored.names()

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of an array, after conversion."""
        return self.made[name].shape if name in self.made else self.stored.shape(name)

    def read(self, name: str) -> np.ndarray:
        """An array, after conversion."""
        return self.made[name] if name in self.made else self.stored.read(name)


def locate(stored: Grouped, model: Any, by_name: bool = False) -> tuple[Converted, Places]:
    """Assign the arrays of a file in this layout to the variables of a model.

    Args:
        stored: The file.
        model: A built model.
        by_name: Whether to take only the layers whose names are in both. Otherwise all layers are
            taken, by name if all names match, else in order.

    Raises:
        StructureError: The number of layers with weights, or of the weights of a layer, differs.
        CorruptFileError: The file lists arrays that it does not contain, or lists them twice.
    """
    root = WEIGHTS if stored.texts(WEIGHTS, "layer_names") is not None else ""
    names = _listed(stored, root, "layer_names")
    groups = {n: _arrays(stored, f"{root}/{n}".lstrip("/")) for n in names}
    groups = {n: weights for n, weights in groups.items() if weights}
    layers = {x.name: x for x in model.layers if x.weights}
    if by_name:
        pairs = [(n, layers[n]) for n in groups if n in layers]
    elif set(groups) == set(layers):
        pairs = [(n, layers[n]) for n in groups]
    elif len(groups) == len(layers):
        pairs = list(zip(groups, layers.values(), strict=True))
    else:
        raise StructureError(
            f"{stored.where} has weights for {len(groups)} layers ({_few(groups)}). The model "
            f"{model.name!r} has {len(layers)} layers with weights ({_few(layers)}). Was the "
            "file made with another `include_top`? `by_name=True` loads the layers whose "
            "names are in both."
        )
    version = version_of(version_in(stored))
    own = f"{root}/{TOP}".lstrip("/")
    if not by_name and stored.texts(own, "weight_names"):
        groups[TOP] = _arrays(stored, own)
        pairs.append((TOP, model))
    known = stored.texts(root, "backend") or stored.texts("", "backend")
    backend = known[0] if known else _backend_of(groups)
    converted = Converted(stored)
    found: dict[str, Variable] = {}
    for name, layer in pairs:
        alone = file_variables(layer) if layer is model else None
        for slot, paths in _assigned(stored, name, layer, groups[name], alone, version):
            found |= _variables_of(converted, slot, paths, version, backend)
    return converted, Places.of(found)


def _listed(stored: Grouped, group: str, name: str) -> list[str]:
    texts = stored.texts(group, name)
    if texts is None:
        raise CorruptFileError(
            f"{stored.where} is not a weights file in the layout of Keras 1 and 2: "
            f"{group or '/'!r} has no {name!r}. In the layout of Keras 3 its name ends in "
            "'.weights.h5'."
        )
    twice = [n for n, count in Counter(texts).items() if count > 1]
    if twice:
        raise CorruptFileError(f"{stored.where}: {name!r} of {group or '/'!r} lists {twice} twice.")
    return texts


def _arrays(stored: Grouped, group: str) -> list[str]:
    return [f"{group}/{name}" for name in _listed(stored, group, "weight_names")]


def _backend_of(groups: Mapping[str, list[str]]) -> str:
    """The backend of files that do not name it: TensorFlow numbers the outputs of variables."""
    return "tensorflow" if all(":" in n for names in groups.values() for n in names) else "theano"


def _units(layer: Layer) -> list[_Unit]:
    """The layers inside ``layer`` that have variables; a recurrent layer includes its cell.

    A variable that several layers have is among those of the innermost one.
    """
    units: list[_Unit] = []
    inside: set[Layer] = set()
    for x in flatten_layers(layer):
        if x in inside:
            continue
        if type(x).__name__ in GATED:
            inside.update(flatten_layers(x))
            own = x.weights
        else:
            inner = {v for child in flatten_layers(x)[1:] for v in child.weights}
            own = [v for v in x.weights if v not in inner]
        if own:
            kernels = [v for v in own if v.is_weight and not v.frozen]
            units.append(_Unit(x, kernels, [v for v in own if v not in set(kernels)]))
    return units


def _orders(units: list[_Unit], gated: bool) -> Iterator[list[_Slot]]:
    """The orders in which versions of Keras list the arrays of a layer."""

    def kernels(unit: _Unit) -> _Slot:
        count = GATED.get(type(unit.layer).__name__, 0) if gated else 0
        return _Slot(unit, unit.kernels, count or len(unit.kernels))

    def others(unit: _Unit) -> _Slot:
        return _Slot(unit, unit.others, len(unit.others))

    # Trainable weights first, then the others; those of frozen layers are among the others.
    yield [*map(kernels, units), *map(others, units)]
    yield [slot for unit in units for slot in (kernels(unit), others(unit))]
    frozen = [not unit.layer.trainable for unit in units]
    if any(frozen) and not all(frozen):
        first = [kernels(u) for u, f in zip(units, frozen, strict=True) if not f]
        rest = [
            slot for u, f in zip(units, frozen, strict=True)
            for slot in ((kernels(u), others(u)) if f else (others(u),))
        ]  # fmt: skip
        yield [*first, *rest]


def _assigned(
    stored: Grouped, name: str, layer: Any, paths: list[str], alone: list[Variable] | None,
    version: tuple[int, ...] | None,
) -> list[tuple[_Slot, list[str]]]:  # fmt: skip
    """The arrays of a group, slot by slot, in the likeliest order.

    Args:
        stored: The file.
        name: The name of the layer in the file.
        layer: The layer.
        paths: Its arrays.
        alone: The variables, where those of inner layers are not among them.
        version: The version that wrote the file.
    """
    units = _units(layer) if alone is None else [_Unit(layer, alone, [])]
    wanted = sum(len(u.kernels) + len(u.others) for u in units)
    orders = [
        order for gated in ((False, True) if is_before(version, "2") else (False,))
        for order in _orders(units, gated) if sum(slot.arrays for slot in order) == len(paths)
    ]  # fmt: skip
    if not orders:
        raise StructureError(
            f"{stored.where} has {len(paths)} weights for layer {name!r}. The "
            f"model's layer {layer.name!r} has {wanted}."
        )

    def likeness(order: list[_Slot]) -> tuple[int, int]:
        fitting = same = 0
        for slot, sources in _zipped(order, paths):
            if slot.arrays != len(slot.variables):
                continue
            for path, v in zip(sources, slot.variables, strict=True):
                *parts, last = path.split("/")
                fitting += stored.shape(path) == v.shape
                same += last.partition(":")[0] == v.name
                same += slot.unit.layer.name in parts
        return fitting, same

    best = orders[0] if len(orders) == 1 else max(orders, key=likeness)
    return list(_zipped(best, paths))


def _zipped(order: list[_Slot], paths: list[str]) -> Iterator[tuple[_Slot, list[str]]]:
    start = 0
    for slot in order:
        yield slot, paths[start : start + slot.arrays]
        start += slot.arrays


def _variables_of(
    converted: Converted, slot: _Slot, paths: list[str], version: tuple[int, ...] | None,
    backend: str,
) -> dict[str, Variable]:  # fmt: skip
    """The variables of a slot by the names of arrays, which are converted where a row says so."""
    name = type(slot.unit.layer).__name__
    rows = [r for r in ARRAYS if name in r.classes.split() and is_before(version, r.before)]
    if rows and slot.variables is slot.unit.kernels and paths:
        _convert(converted, rows, slot.unit.layer, paths, backend)
    if len(paths) < len(slot.variables):
        raise StructureError(
            f"{converted.where} has {len(paths)} weights for layer {slot.unit.layer.name!r}. The "
            f"model's layer has {len(slot.variables)}."
        )
    return dict(zip(paths, slot.variables, strict=False))


def _convert(
    converted: Converted, rows: list[ArrayRow], layer: Any, paths: list[str], backend: str
) -> None:
    config = layer.get_config()
    arrays: list[np.ndarray] | None = None
    for row in rows:
        shapes = (
            [converted.shape(p) or () for p in paths]
            if arrays is None
            else [a.shape for a in arrays]
        )
        if row.applies(shapes, config, backend):
            try:
                arrays = row.change(arrays or [converted.read(p) for p in paths], config)
            except (ValueError, IndexError) as e:  # from NumPy
                raise StructureError(
                    f"{converted.where}: the arrays of layer {layer.name!r} "
                    f"({', '.join(map(str, shapes))}) are not {row.what}: {e}."
                ) from e
    if arrays is not None:
        converted.made |= dict(zip(paths, arrays, strict=False))


def _few(names: Any) -> str:
    shown = ", ".join(map(repr, list(names)[:4]))
    return shown + (", ..." if len(names) > 4 else "")


# ---- writing -------------------------------------------------------------------------------------


def _with_full_names(loss: Any) -> Any:
    """The losses of a config; Keras does not find functions by short names, such as ``"mse"``."""
    if isinstance(loss, list):
        return [_with_full_names(x) for x in loss]
    if isinstance(loss, dict) and "class_name" not in loss:
        return {k: _with_full_names(x) for k, x in loss.items()}
    return losses.serialize(losses.get(loss)) if isinstance(loss, str) else loss


def describe(
    model: Any, record: Any, settings: Mapping[str, Any], state: Mapping[str, Variable],
    version: str, own: Mapping[str, Any],
) -> tuple[dict[str, dict[str, Any]], dict[str, Variable]]:  # fmt: skip
    """The attributes of groups, and the arrays, of the file of a whole model.

    Args:
        model: A built model.
        record: Its record.
        settings: The arguments of ``compile`` as data, or an empty dict.
        state: The variables of the optimizer by name.
        version: The version of Keras to name as the author.
        own: What Lamina stores besides.
    """
    author = {"keras_version": version, "backend": "jax"}
    attributes: dict[str, dict[str, Any]] = {
        "": {**author, "model_config": json.dumps(record), "lamina": json.dumps(own)},
        WEIGHTS: {**author, "layer_names": [layer.name for layer in model.layers]},
    }
    arrays: dict[str, Variable] = {}
    if settings:
        rest = {k: v for k, v in settings.items() if k != "optimizer"}
        rest["loss"] = _with_full_names(rest.get("loss"))
        training = {**_NOT_GIVEN, **rest, "optimizer_config": settings.get("optimizer")}
        attributes[""]["training_config"] = json.dumps(training)
    groups = {layer.name: _named(layer) for layer in model.layers}
    alone = set(file_variables(model))
    if alone:
        groups[TOP] = {n: v for n, v in _named(model).items() if v in alone}
    for name, variables in groups.items():
        attributes[f"{WEIGHTS}/{name}"] = {"weight_names": list(variables)}
        arrays |= {f"{WEIGHTS}/{name}/{path}": v for path, v in variables.items()}
    if state:
        attributes[OPTIMIZER] = {"weight_names": list(state)}
        arrays |= {f"{OPTIMIZER}/{name}": v for name, v in state.items()}
    return attributes, arrays


def _named(layer: Any) -> dict[str, Variable]:
    """The saved variables of a layer by name: those that train now first, as Keras orders them."""
    saved = set(layer.weights)
    named = [(a, v, trains) for a, (v, trains) in layer.named_variables().items() if v in saved]
    named.sort(key=lambda entry: not entry[2])
    return {f"{layer.name}/{address}": v for address, v, _ in named}


# ---- the optimizer -------------------------------------------------------------------------------


def read_optimizer(
    stored: Grouped, model: Any, training: Mapping[str, Any], named: Mapping[str, Variable],
    optimized: Any = None,
) -> None:  # fmt: skip
    """Give the optimizer the state in a file of HDF5; see :func:`read_state`.

    Args:
        stored: The file.
        model: A compiled model.
        training: The file's ``training_config``.
        named: The variables by the names of their arrays in the file, by which Keras 1 sorts them.
        optimized: As in :func:`read_state`.
    """
    names = stored.texts(OPTIMIZER, "weight_names") or []
    version = version_of(version_in(stored))
    record = training.get("optimizer_config")
    author = str(record.get("class_name")) if isinstance(record, Mapping) else ""
    # Since tf.keras 2.11 only the optimizers of before are named without a package.
    by_slot = is_before(version, "2.11") or (is_before(version, "3") and ">" not in author)
    paths = [f"{OPTIMIZER}/{name}" for name in names]
    if is_before(version, "2") and isinstance(model, Layer):
        by_name = {v: path.rpartition("/")[2] for path, v in named.items()}
        trained = {a: v for a, v in parameters_of(model).items() if v in by_name}
        optimized = sorted(trained, key=lambda address: by_name[trained[address]])
    read_state(stored, model, paths, not is_before(version, "3"), by_slot, optimized)


def read_state(
    stored: Stored, model: Any, paths: list[str], is_current: bool, by_slot: bool = False,
    optimized: Any = None,
) -> None:  # fmt: skip
    """Give the optimizer its state, where it is certain which array is which.

    Args:
        stored: The file.
        model: A compiled model.
        paths: The arrays of the state, in the order of the optimizer that wrote them.
        is_current: Whether that is the order of Keras 3.
        by_slot: Whether all arrays of one slot come together, as before tf.keras 2.11.
        optimized: The addresses of the weights that the optimizer has a state for, in its order, if
            the file says so.

    Warns:
        SavingWarning: The state is another optimizer's or of other weights; it is reset.
    """
    optimizer = model.optimizer
    if not paths or optimizer is None:
        return
    optimizer.build(parameters_of(model, optimized))
    shapes = [stored.shape(path) for path in paths]
    order: list[Variable | None] = [*optimizer.variables]
    if not is_current:
        order = _order_of(optimizer, shapes, by_slot)
    fits = len(order) == len(paths) == len(set(paths))
    pairs = {p: v for p, v in zip(paths, order, strict=False) if v is not None}
    if not fits or any(stored.shape(p) != v.shape for p, v in pairs.items()):
        warn(
            f"{stored.where} contains {len(paths)} arrays of an optimizer's state, which do not "
            f"match those of {type(optimizer).__name__}. Its state is reset.",
            SavingWarning,
        )
        return
    fill(stored, Places.of(pairs), error=CorruptFileError, way_out="", whole=False)
    if not is_current and isinstance(optimizer, Nadam):
        product = optimizer.product_after(int(optimizer.iterations))
        optimizer.state_variables["u_product"].assign(product)


def _order_of(optimizer: Any, shapes: list[Any], by_slot: bool) -> list[Variable | None]:
    """The variable of each array, None for arrays that mean nothing today; [] if uncertain."""
    state = optimizer.state_variables
    slotted = [v for k, v in state.items() if "/" in k]
    addresses = list(dict.fromkeys(k.partition("/")[2] for k in state if "/" in k))
    weights = len(optimizer.parameters)
    scalars = next((i for i, s in enumerate(shapes) if s != ()), len(shapes))
    rest, name = len(shapes) - scalars, type(optimizer).__name__
    first: list[Variable | None] = [state["iteration"], None][:scalars]
    # Later versions of Keras 2 store Nadam's product too: that of the formula of then.
    most = 2 if name == "Nadam" and by_slot else 1
    if name not in _SLOTS or not weights or rest % weights or scalars > most:
        return []
    if not slotted:  # SGD has its slots even where there is no momentum
        return [*first, *[None] * rest]
    if not by_slot:
        return [*first, *slotted]
    order = first
    for slot in _SLOTS[name][: rest // weights]:
        order += [state.get(f"{slot}/{address}") for address in addresses]
    return order if set(slotted) <= set(order) else []


# ---- archives of tf.keras ------------------------------------------------------------------------


class Renamed:
    """The weights of an archive of tf.keras 2.12 to 2.15, under the names of Keras 3.

    There, attributes of layers may begin with underscores, the layers of a model are under
    ``_layer_checkpoint_dependencies`` in versions before 2.14, and layers of one class may be
    numbered with gaps.

    Args:
        stored: The weights.
    """

    def __init__(self, stored: Stored) -> None:
        self.stored, self.where = stored, stored.where
        tree: dict[str, Any] = {}
        for name in stored.names():
            here = tree
            *groups, last = name.split("/")
            for group in groups:
                here = here.setdefault(group, {})
            here[last] = name
        self._names: dict[str, str] = {}
        stack: list[tuple[str, Any]] = [("", tree)]
        while stack:
            path, node = stack.pop()
            if isinstance(node, str):
                self._names[path] = node
                continue
            numbered = path.endswith("/vars")
            listed = path.rpartition("/")[2] == "layers"
            names = list(node) if numbered or not listed else _renumbered(list(node))
            for old, new in zip(node, names, strict=True):
                new = "layers" if old == "_layer_checkpoint_dependencies" else new.lstrip("_")
                stack.append((f"{path}/{new}".lstrip("/"), node[old]))

    def names(self) -> list[str]:
        """The names of all arrays but those of metrics, whose state is not kept."""
        return [n for n in self._names if not n.startswith("metrics/")]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of an array, or None if there is no array of that name."""
        return self.stored.shape(self._names[name]) if name in self._names else None

    def read(self, name: str) -> np.ndarray:
        """The array of that name."""
        return self.stored.read(self._names[name])

    def optimizer_paths(self) -> list[str]:
        """The arrays of the optimizer's state, in its order."""
        found = [n for n in self._names if n.startswith("optimizer/vars/")]
        return sorted(found, key=lambda n: (len(n), n))


def _renumbered(names: list[str]) -> list[str]:
    """Names of the layers in a list: numbers at their ends without gaps, for each class."""

    def split(name: str) -> tuple[str, int]:
        stem, _, number = name.rpartition("_")
        return (stem, int(number)) if number.isdigit() and stem in names else (name, 0)

    stems: dict[str, list[int]] = {}
    for name in names:
        stem, number = split(name)
        stems.setdefault(stem, []).append(number)
    new = []
    for name in names:
        stem, number = split(name)
        place = sorted(stems[stem]).index(number)
        new.append(f"{stem}_{place}" if place else stem)
    return new
