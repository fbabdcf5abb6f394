"""Editing of weights files whose model was changed since they were saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.core.boundary import public
from lamina.errors import ArgumentError, CorruptFileError, unknown_name
from lamina.runtime.budget import Budget, loading
from lamina.runtime.files import replacing
from lamina.saving import hdf5, optimizer
from lamina.saving.container import Archive
from lamina.saving.members import CONFIG, METADATA, WEIGHTS, json_member
from lamina.saving.paths import as_path, may_write, must_exist
from lamina.saving.weights import locate, verified
from lamina.tree import nested

_VARS = "vars"
_Tree = dict[str, Any]


class KerasFileEditor:
    """Shows the weights in a file, compares them with a model, and edits and saves them.

    An object is a layer or anything else with weights. Its name is its path in the file, such as
    ``"layers/dense_1"``, or the last part of it if that occurs only once. The weights of an object
    are named ``"0"``, ``"1"``, and so on. Nothing in the file is executed.

    Args:
        filepath: Path that ends in ``.keras`` or ``.weights.h5``.
        budget: What reading may use; the default suits all but extraordinary files.

    Attributes:
        weights_dict: The weights: nested dicts of objects, with NumPy arrays by name.
        object_metadata: Dict of paths of objects to what Keras stores of them, such as a name.
        config, metadata: The contents of a ``.keras`` file; None for other files.

    Raises:
        ArgumentError: Another suffix.
        FileNotFoundError: There is no such file.
        CorruptFileError: The file is damaged.
        UnsafeFileError: The file leads to others, or needs more than the budget.

    >>> import os, tempfile
    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.weights.h5")
    ...     model.save_weights(path)
    ...     editor = KerasFileEditor(path)
    ...     editor.delete_object("dense_1")
    ...     editor.add_object("layers/dense_1", {"0": np.ones((3, 2)), "1": np.zeros(2)})
    ...     editor.save(path)
    ...     model.load_weights(path)
    model.weights.h5: 4 arrays
    >>> model.layers[1].bias.shape
    (2,)
    """

    @public
    def __init__(self, filepath: Any, *, budget: Budget | None = None) -> None:
        path = as_path(filepath)
        self.filepath, self.model = str(path), None
        self.config: dict[str, Any] | None = None
        self.metadata: dict[str, Any] | None = None
        self.weights_dict: _Tree = {}
        self.object_metadata: dict[str, dict[str, Any]] = {}
        if path.suffix != ".keras" and not path.name.endswith(".weights.h5"):
            raise ArgumentError(
                "KerasFileEditor() reads files that end in '.keras' or '.weights.h5'.",
                received=repr(self.filepath),
            )
        must_exist(path)
        with path.open("rb") as file, loading(self.filepath, budget, path.stat().st_size):
            if path.suffix == ".keras":
                members = Archive(file, self.filepath)
                self.metadata = json_member(members, METADATA)
                self.config = json_member(members, CONFIG)
                with hdf5.File(members.window(WEIGHTS), self.filepath) as stored:
                    self._read(stored, self.metadata)
            else:
                with hdf5.File(path, self.filepath) as stored:
                    self._read(stored, {})
        version = (self.metadata or {}).get("keras_version")
        self._print(f"{path.name}: {len(nested.flatten(self.weights_dict))} arrays"
                    + (f", saved by Keras {version}" if version else ""))  # fmt: skip

    def _read(self, stored: hdf5.File, metadata: Mapping[str, Any]) -> None:
        source = verified(stored, metadata)
        for name in source.names():
            *path, key = _without_vars(name)
            here = self.weights_dict
            for part in path:
                here = here.setdefault(part, {})
                if not isinstance(here, dict):
                    raise CorruptFileError(f"{self.filepath}: {name!r} is inside of an array.")
            if key in here:
                raise CorruptFileError(f"{self.filepath} has two objects named {name!r}.")
            here[key] = source.read(name)
            group = stored.root.find(name.rpartition("/")[0])
            if group is not None and group.attrs:
                self.object_metadata["/" + "/".join(path)] = dict(group.attrs)

    def _print(self, *lines: Any) -> None:
        from rich.console import Console  # on first use: its import takes long

        console = Console(highlight=False, markup=False)
        for line in lines:
            console.print(line)

    # ---- looking -------------------------------------------------------------------------------

    def summary(self) -> None:
        """Print the tree of objects and weights, with shapes and dtypes."""
        from rich.text import Text
        from rich.tree import Tree

        top = Tree(Text("Weights"))
        waiting = [("", self.weights_dict, top)]
        while waiting:
            path, objects, node = waiting.pop()
            for name, value in sorted(objects.items(), key=_numeric):
                if isinstance(value, dict):
                    own = self.object_metadata.get(f"{path}/{name}", {}).get("name")
                    label = Text.assemble((name, "bold"), f" ({own!r})" if own else "")
                    waiting.append((f"{path}/{name}", value, node.add(label)))
                else:
                    shown = np.asarray(value)
                    node.add(Text(f"{name}: shape={shown.shape}, dtype={shown.dtype}"))
        self._print(top)

    def compare(self, reference_model: Any) -> dict[str, Any]:
        """Compare the weights with those of a model, and print what differs.

        The state of the optimizer is compared if the file has one.

        Args:
            reference_model: A built model.

        Returns:
            A dict: ``"status"``, which is ``"success"`` or ``"error"``; ``"error_count"``, the
            number of weights and objects that differ or that only one of both has; and
            ``"match_count"``, the number of weights of the same shape.
        """
        arrays = locate(reference_model).arrays()
        state = reference_model.optimizer
        if "optimizer" in self.weights_dict and state is not None and state.built:
            arrays |= optimizer.variables_of(state)
        expected: _Tree = {}
        for name, value in arrays.items():
            *path, key = _without_vars(name)
            here = expected
            for part in path:
                here = here.setdefault(part, {})
            here[key] = value
        matches, differences = 0, []
        waiting: list[tuple[str, Any, Any]] = [("", expected, self.weights_dict)]
        while waiting:
            path, wanted, found = waiting.pop()
            if isinstance(wanted, dict) and isinstance(found, dict):
                for name in dict.fromkeys((*wanted, *found)):
                    inner = f"{path}/{name}".lstrip("/")
                    waiting.append((inner, wanted.get(name), found.get(name)))
            elif wanted is None or found is None:
                owner = "the file" if wanted is None else "the model"
                differences.append(f"{path}: only in {owner}")
            elif isinstance(wanted, dict) or isinstance(found, dict):
                differences.append(f"{path}: an object in one of both, a weight in the other")
            elif np.shape(wanted) != np.shape(found):
                shapes = f"{np.shape(found)} in the file, {np.shape(wanted)} in the model"
                differences.append(f"{path}: shape {shapes}")
            else:
                matches += 1
        self._print(*sorted(differences),
                    f"{matches} weights match, {len(differences)} differences")  # fmt: skip
        status = "error" if differences else "success"
        return {"status": status, "error_count": len(differences), "match_count": matches}

    # ---- editing -------------------------------------------------------------------------------

    def _owner_of(self, name: str) -> tuple[_Tree, str]:
        """The dict that contains an object, by its path or its name, and its name there."""
        *path, last = name.split("/")
        if path or last in self.weights_dict:
            here: Any = self.weights_dict
            for part in path:
                here = here.get(part) if isinstance(here, dict) else None
            owners = [here] if isinstance(here, dict) and last in here else []
        else:
            owners = [tree for _, tree in self._objects() if last in tree]
        if not owners:
            raise unknown_name(f"object in {self.filepath}", name, [p for p, _ in self._objects()])
        if len(owners) > 1:
            raise ArgumentError(
                f"{self.filepath} has {len(owners)} objects named {name!r}. Pass the path of one.",
                expected="one of " + ", ".join(
                    repr(f"{p}/{name}".lstrip("/")) for p, tree in self._objects() if name in tree
                ),
            )  # fmt: skip
        return owners[0], last

    def _objects(self) -> list[tuple[str, _Tree]]:
        """All objects with their paths, the outermost, which is that of the file, first."""
        found: list[tuple[str, _Tree]] = [("", self.weights_dict)]
        for path, tree in found:
            found += [(f"{path}/{k}".lstrip("/"), v) for k, v in tree.items()
                      if isinstance(v, dict)]  # fmt: skip
        return found

    def _object(self, name: str) -> _Tree:
        owner, last = self._owner_of(name)
        if not isinstance(owner[last], dict):
            raise ArgumentError(f"{name!r} in {self.filepath} is a weight, not an object.")
        return owner[last]

    def rename_object(self, object_name: str, new_name: str) -> None:
        """Rename an object.

        Args:
            object_name: Its name or path.
            new_name: The last part of the new path.
        """
        owner, last = self._owner_of(object_name)
        if not isinstance(new_name, str) or "/" in new_name or not new_name or new_name in owner:
            raise ArgumentError(
                "`new_name` is the last part of a path that the file does not have.",
                received=repr(new_name),
            )
        owner[new_name] = owner.pop(last)

    def delete_object(self, object_name: str) -> None:
        """Remove an object, with all that is inside.

        Args:
            object_name: Its name or path.
        """
        owner, last = self._owner_of(object_name)
        del owner[last]

    def add_object(self, object_path: str, weights: Mapping[str, Any]) -> None:
        """Add an object, or replace it.

        Args:
            object_path: Its path; all but the last part exists.
            weights: Dict of the names of weights, such as ``"0"``, to arrays.
        """
        path, _, last = object_path.rpartition("/")
        owner = self._object(path) if path else self.weights_dict
        owner[last] = _checked(weights)

    def delete_weight(self, object_name: str, weight_name: str) -> None:
        """Remove a weight of an object.

        Args:
            object_name: The name or path of the object.
            weight_name: The name of the weight.
        """
        found = self._object(object_name)
        if weight_name not in found:
            raise unknown_name(f"weight of {object_name!r}", weight_name, found)
        del found[weight_name]

    def add_weights(self, object_name: str, weights: Mapping[str, Any]) -> None:
        """Add weights to an object, or replace them.

        Args:
            object_name: The name or path of the object.
            weights: Dict of the names of weights, such as ``"0"``, to arrays.
        """
        self._object(object_name).update(_checked(weights))

    # ---- saving --------------------------------------------------------------------------------

    @public
    def save(self, filepath: Any) -> None:
        """Save the weights, for ``model.load_weights``.

        Args:
            filepath: Path that ends in ``.weights.h5``; an existing file is replaced.
        """
        path = as_path(filepath)
        if not path.name.endswith(".weights.h5"):
            raise ArgumentError(
                "Edited weights are saved in a file that ends in '.weights.h5'.",
                received=repr(str(path)),
            )
        may_write(path, True)
        arrays = {
            _with_vars(owner, name): x
            for owner, tree in self._objects()
            for name, x in tree.items()
            if not isinstance(x, dict)
        }
        with replacing(path) as part:
            hdf5.write(part, arrays)

    resave_weights = save


def _without_vars(name: str) -> list[str]:
    """The parts of an array's path without the ``vars`` that precedes its name in an object."""
    *path, key = name.split("/")
    return [*path[:-1], key] if len(path) > 1 and path[-1] == _VARS else [*path, key]


def _with_vars(path: str, name: str) -> str:
    """The path of an array in a file, of an object and its name there."""
    return f"{path}/{name}".lstrip("/") if path in ("", _VARS) else f"{path}/{_VARS}/{name}"


def _numeric(entry: tuple[str, Any]) -> tuple[int, str]:
    """A key that sorts numbers by value, and leaves names in their order."""
    return (len(entry[0]), entry[0]) if entry[0].isdigit() else (0, "")


def _checked(weights: Any) -> _Tree:
    """The arrays of a dict.

    Raises:
        ArgumentError: Something else.
    """
    if not isinstance(weights, Mapping) or not all(
        isinstance(k, str) and k and "/" not in k for k in weights
    ):
        raise ArgumentError(
            "`weights` is a dict of arrays by name, such as {'0': kernel, '1': bias}.",
            received=repr(weights)[:200],
        )
    arrays = {k: np.asarray(v) for k, v in weights.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufV":
            raise ArgumentError(f"Weight {name!r} is not an array of numbers.",
                                received=f"an array of {array.dtype}")  # fmt: skip
    return arrays
