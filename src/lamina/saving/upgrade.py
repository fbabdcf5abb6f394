"""Configs of older versions of Keras, converted to the form of today before anything is built.

The rows of :mod:`lamina.saving.migration` say what changed in the classes. This module walks the
config: it finds code, converts the graph's calls, and applies the rows to every layer, initializer,
loss and optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lamina.core.boundary import warn
from lamina.core.declaration import DECLARATIONS
from lamina.errors import LaminaError, SavingWarning, SerializationError, UnsafeFileError
from lamina.saving.changes import Old
from lamina.saving.code import with_functions
from lamina.saving.migration import (
    CONFIGS,
    FUNCTIONS,
    OPS,
    POLICIES,
    WORDS,
    is_before,
    version_of,
)
from lamina.saving.operations import op_of_old, record_of
from lamina.serialization import registry
from lamina.serialization.deferred import converts_old

Config = dict[str, Any]
_CONTAINERS = ("Sequential", "Model", "Functional")
_FAMILIES = {"initializer": "initializers", "regularizer": "regularizers",
             "constraint": "constraints", "optimizer": "optimizers"}  # fmt: skip
_LAYERS_INSIDE = ("layer", "backward_layer", "cell", "cells", "layers")


def is_old(record: Any, version: Any = None) -> bool:
    """Whether a record of a model has to be converted.

    Args:
        record: What ``to_json`` or ``get_config`` wrote, or a file's config.
        version: The version of Keras that wrote it, as a text; None if it is not known.
    """
    if not isinstance(record, Mapping):
        return False
    known = version_of(version or record.get("keras_version"))
    # Keras 3 writes no modules either where a file is HDF5.
    return "module" not in record or (known is not None and known < (3,))


def _is_old_model(config: Any) -> bool:
    """Whether the config of a ``Sequential`` or functional model has to be converted."""
    layers = config.get("layers") if isinstance(config, Mapping) else config
    if not isinstance(layers, list) or not all(isinstance(x, Mapping) for x in layers):
        return False
    return any("module" not in x or _old_nodes(x.get("inbound_nodes")) for x in layers)


def _old_nodes(nodes: Any) -> bool:
    return isinstance(nodes, list) and any(not isinstance(n, Mapping) for n in nodes)


def upgrade(
    record: Mapping[str, Any],
    version: Any = None,
    custom_objects: Mapping[str, Any] | None = None,
    family: str = "layers",
) -> tuple[Config, list[str]]:
    """Convert a record of a model or layer to the form of today.

    Args:
        record: A dict with ``class_name`` and ``config``.
        version: The version of Keras that wrote it, as a text.
        custom_objects: Your own classes and functions by name; functions of ``Lambda`` layers whose
            code is in the file by the name of the layer.
        family: The namespace of the class.

    Returns:
        The new record, and what a user should know about the conversion.

    Raises:
        UnsafeFileError: The config contains code for which ``custom_objects`` has no function.
        SerializationError: Something that has no counterpart today, or a damaged config.

    >>> old = {"class_name": "Dense", "config": {"output_dim": 3, "init": "zero", "name": "d"}}
    >>> upgrade(old, "1.2.2")[0]["config"]
    {'name': 'd', 'units': 3, 'kernel_initializer': 'zeros'}
    """
    walker = _Upgrade(version_of(version or record.get("keras_version")), custom_objects)
    try:
        record = with_functions(record, custom_objects)
        orderings = set(_values(record, "dim_ordering"))
        walker.ordering = orderings.pop() if len(orderings) == 1 else None
        return walker.record(record, family), walker.notes
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError, ValueError) as e:
        if isinstance(e, LaminaError):
            raise
        raise SerializationError.damaged("The config of a model is", e) from e


def rebuild(
    record: Any, version: Any, custom_objects: Mapping[str, Any] | None, where: str = ""
) -> Any:
    """The model or layer of a record of any version, with new weights.

    Args:
        record: A dict with ``class_name`` and ``config``.
        version: As in :func:`upgrade`.
        custom_objects: As in :func:`upgrade`.
        where: The file, for messages.

    Warns:
        SavingWarning: Something computes other numbers than when the file was written.
    """
    if not is_old(record, version):
        return registry.deserialize(with_functions(record, custom_objects), custom_objects)
    version = version or record.get("keras_version")
    author = f"Keras {str(version)[:20]}" if version else "an older Keras"
    try:
        record, notes = upgrade(record, version, custom_objects)
        made = registry.deserialize(record, custom_objects)
    except (SerializationError, UnsafeFileError) as e:
        raise e.with_details(f"{where or 'The config'} (written by {author})") from e
    if notes:
        _warn_of(notes, f"{where or 'The config'} (written by {author})")
    return made


@converts_old
def _converted(record: Mapping[str, Any], family: str) -> Config | None:
    """The record of today for one that cannot be read as it is; None if it is no old one."""
    if any("module" in x and "class_name" in x for x in _mappings(record)):
        return None
    try:
        new, notes = upgrade(record, family=family)
    except LaminaError:  # the record is damaged, whatever its version
        return None
    if (new["class_name"], new["config"]) == (record["class_name"], record["config"]):
        return None
    if notes:
        _warn_of(notes, "The config")
    return new


def upgrade_config(
    name: str, config: Any, custom_objects: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """The record of a model with a config of any version, which does not name its version.

    Args:
        name: ``"Sequential"`` or ``"Functional"``.
        config: What ``get_config`` returned.
        custom_objects: As in :func:`upgrade`.
    """
    record = {"class_name": name, "config": config}
    if not _is_old_model(config):
        return record
    new, notes = upgrade(record, None, custom_objects)
    if notes:
        _warn_of(notes, "The config")
    return new


def _warn_of(notes: list[str], where: str) -> None:
    more = f" ({len(notes) - 1} more)" if len(notes) > 1 else ""
    warn(f"{where}: {notes[0]}{more}", SavingWarning)


def upgrade_training(
    settings: Mapping[str, Any],
    version: Any,
    custom_objects: Mapping[str, Any] | None,
    outputs: int = 1,
) -> Config:
    """Convert the arguments of ``compile`` to the form of today.

    Args:
        settings: What files of HDF5 store as ``training_config``, or the ``compile_config`` of an
            archive.
        version: As in :func:`upgrade`.
        custom_objects: As in :func:`upgrade`.
        outputs: Number of outputs of the model: metrics in a flat list were those of each.
    """
    walker = _Upgrade(version_of(version), custom_objects)

    def metrics(name: str) -> Any:
        made = walker.objects(settings.get(name), "metrics")
        is_flat = isinstance(made, list) and not any(isinstance(m, list) for m in made)
        return [list(made) for _ in range(outputs)] if is_flat and made and outputs > 1 else made

    optimizer = settings.get("optimizer_config", settings.get("optimizer"))
    try:
        return {
            "optimizer": walker.object(optimizer, "optimizers"),
            "loss": walker.objects(settings.get("loss"), "losses"),
            "metrics": metrics("metrics"),
            "weighted_metrics": metrics("weighted_metrics"),
            "loss_weights": settings.get("loss_weights"),
            "run_eagerly": settings.get("run_eagerly") is True,
        }
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError, ValueError) as e:
        if isinstance(e, LaminaError):
            raise
        raise SerializationError.damaged("The arguments of `compile` are", e) from e


# ---- configs -------------------------------------------------------------------------------------


class _Upgrade:
    """One conversion: the version of the file, the user's objects, and notes for the user."""

    def __init__(
        self, version: tuple[int, ...] | None, custom_objects: Mapping[str, Any] | None
    ) -> None:
        self.version, self.custom = version, custom_objects
        self.notes: list[str] = []
        self.ordering: Any = None
        self.calls: Config = {}  # arguments of the calls of the layer that was converted last

    def record(self, record: Mapping[str, Any], family: str = "layers") -> Config:
        """A record of a layer, model, initializer, loss, ... in the form of today."""
        name, config = record["class_name"], record["config"]
        self.calls = {}
        if not isinstance(name, str) or self._is_custom(record):
            return dict(record)
        if name in _CONTAINERS and _is_model(record):
            return self._model(name, config)
        own = dict(config)
        where = f"Layer {own['name']!r} ({name})" if family == "layers" and "name" in own else name
        old = Old(name, own, where, self.custom or {}, self.ordering)
        for row in CONFIGS:
            if row.applies(old.name, self.version):
                row.change(old)
        if family == "layers" and old.name != "InputLayer":
            old.config.pop("batch_input_shape", None)
        self.notes += old.notes
        config = {k: self.value(k, v) for k, v in old.config.items()}
        self.calls = old.call
        made = {"module": f"keras.{family}", "class_name": old.name, "config": config,
                "registered_name": None}  # fmt: skip
        if registry.find_builtin(family, old.name) is None:
            made["module"] = record.get("module")
            made["registered_name"] = record.get("registered_name")
        return made

    def _is_custom(self, record: Mapping[str, Any]) -> bool:
        """Whether a class is the user's own."""
        if str(record.get("module", "")).split(".")[0] in ("keras", "lamina"):
            return False
        name = record.get("registered_name") or record["class_name"]
        return registry.get_registered_object(str(name), self.custom) is not None

    def value(self, key: str, value: Any) -> Any:
        """The value of an argument in the form of today."""
        kind = key.rpartition("_")[2]
        if isinstance(value, str):
            return WORDS.get(kind, {}).get(value, value)
        if isinstance(value, (list, tuple)):
            if key in _LAYERS_INSIDE:
                return [self.record(v) for v in value]
            return [self.value("", v) for v in value]
        if not isinstance(value, Mapping):
            return value
        if key in _LAYERS_INSIDE and "class_name" in value:
            return self.record(value)
        if value.get("class_name") in ("__tuple__", "TensorShape"):
            return [self.value("", v) for v in value["items"]]
        if key == "dtype":
            return self._dtype(value)
        if value.keys() == {"type", "value"}:  # a NumPy array or number
            return value["value"]
        if kind in _FAMILIES:
            return self.object(value, _FAMILIES[kind])
        if "class_name" in value and "config" in value:
            if key == "learning_rate":
                return {**value, "module": "keras.optimizers.schedules"}
            found = registry.find_builtin("layers", str(value["class_name"]))
            return (
                self.record(value)
                if isinstance(found, type) and "module" not in value
                else (dict(value))
            )
        return {k: self.value(str(k), v) for k, v in value.items()}

    def _dtype(self, value: Mapping[str, Any]) -> Any:
        """The name of a dtype policy, which older versions wrote as ``Policy``."""
        name = value.get("config", {}).get("name")
        return name if value.get("class_name") in POLICIES else dict(value)

    def object(self, value: Any, family: str) -> Any:
        """An object of a namespace: a name, or a record in one of two old forms."""
        if isinstance(value, str):
            return WORDS.get(family.removesuffix("s"), {}).get(value, value)
        if not isinstance(value, Mapping):
            return value
        if "class_name" not in value and "name" in value:  # Keras 1: the arguments and the name
            arguments = {k: v for k, v in value.items() if k != "name"}
            value = {"class_name": value["name"], "config": arguments}
        if "class_name" not in value or not isinstance(value.get("config"), Mapping):
            return dict(value)
        return self.record(value, family)

    def objects(self, value: Any, family: str) -> Any:
        """Objects in any nesting of lists and dicts by output."""
        if isinstance(value, (list, tuple)):
            return [self.objects(v, family) for v in value]
        if isinstance(value, Mapping) and "class_name" not in value:
            return {k: self.objects(v, family) for k, v in value.items()}
        return self.object(value, family)

    # ---- models ------------------------------------------------------------------------------

    def _model(self, name: str, config: Any) -> Config:
        if name == "Sequential":
            return self._sequential(config)
        return {
            "module": "keras.src.models.functional", "class_name": "Functional",
            "config": self._graph(config), "registered_name": None,
        }  # fmt: skip

    def _sequential(self, config: Any) -> Config:
        if isinstance(config, list):
            config = {"name": None, "layers": config}
        given: list[Mapping[str, Any]] = [dict(x) for x in config["layers"]]
        rest = {k: config[k] for k in ("name", "trainable", "build_input_shape") if config.get(k)}
        if "trainable" in config:
            rest["trainable"] = config["trainable"]
        joined = bool(given) and _branches(given[0])
        layers: list[Config] = []
        calls: list[Config] = []
        for record in [] if joined else given:
            layers.append(self.record(record))
            calls.append(self.calls)
        if joined or any(calls):
            graph = self._chain(given, layers, calls, joined)
            return {
                "module": "keras.src.models.functional", "class_name": "Functional",
                "config": {**rest, **graph}, "registered_name": None,
            }  # fmt: skip
        shape, dtype = _input_of(given[0]) if given else (None, None)
        if shape is not None and layers[0]["class_name"] != "InputLayer":
            layers.insert(0, _input_record(f"{_name_of(given[0])}_input", shape, dtype))
        return {
            "module": "keras", "class_name": "Sequential", "config": {**rest, "layers": layers},
            "registered_name": None,
        }  # fmt: skip

    def _chain(
        self, given: list[Any], layers: list[Config], calls: list[Config], joined: Any
    ) -> Config:
        """A stack as a graph: where stacks of Keras 1 are merged, or calls have arguments."""
        records: list[Config] = []
        inputs: list[Any] = []

        def add(record: Config, sources: list[Any], more: Config) -> Any:
            name = _name_of(record)
            args = [_tensor(s) for s in sources]
            call = {"args": args if len(args) == 1 else [args], "kwargs": more}
            records.append({**record, "name": name, "inbound_nodes": [call] if sources else []})
            return [name, 0, 0]

        def start(record: Mapping[str, Any]) -> Any:
            shape, dtype = _input_of(record)
            if shape is None:
                raise SerializationError(
                    f"The first layer {_name_of(record)!r} of a Sequential has no input shape."
                )
            made = _input_record(f"{_name_of(record)}_input", shape, dtype)
            inputs.append(add(made, [], {}))
            return inputs[-1]

        def stack(records: list[Any]) -> Any:
            """Add a stack of old records."""
            branches = _branches(records[0])
            if branches:
                ends = []
                for branch in branches:
                    if branch["class_name"] != "Sequential":
                        raise SerializationError("A Merge of other models than Sequential.")
                    inner = branch["config"]
                    ends.append(stack(inner if isinstance(inner, list) else inner["layers"]))
                merged = self.record({**records[0], "config": {
                    k: v for k, v in records[0]["config"].items() if k != "layers"
                }})  # fmt: skip
                x = add(merged, ends, {})
                records = records[1:]
            else:
                x = start(records[0])
            for record in records:
                made = self.record(record)
                x = add(made, [x], self.calls)
            return x

        if joined:
            x = stack(given)
        else:
            if layers[0]["class_name"] == "InputLayer":
                inputs.append(add(layers.pop(0), [], {}))
                x, calls = inputs[0], calls[1:]
            else:
                x = start(given[0])
            for record, more in zip(layers, calls, strict=True):
                x = add(record, [x], more)
        return {
            "layers": records, "input_layers": inputs if len(inputs) > 1 else inputs[0],
            "output_layers": x,
        }  # fmt: skip

    def _graph(self, config: Mapping[str, Any]) -> Config:
        # Before Keras 3 the calls of a model are counted from 1: its own graph was the first.
        before = is_before(self.version, "3")
        names = {str(r["name"]): int(before and _is_model(r)) for r in config["layers"]}
        ends, layers = dict(names), []
        for record in config["layers"]:
            nodes = record.get("inbound_nodes") or []
            declared = None if "module" in record else op_of_old(record)
            if record["class_name"] in FUNCTIONS:
                made, calls = self._function(record, nodes, names)
            elif declared is not None:
                made, calls = {**record_of(declared), "config": record["config"]}, list(nodes)
            else:
                made = self.record(record)
                more = self.calls
                calls = [_call(node, names, more) for node in nodes]
            layers.append({**made, "name": record["name"], "inbound_nodes": calls})
            ends[str(record["name"])] *= made["class_name"] == "Sequential"  # others: from 1 still
        return {
            **{k: config[k] for k in ("name", "trainable") if k in config}, "layers": layers,
            "input_layers": _ends(config["input_layers"], ends, before),
            "output_layers": _ends(config["output_layers"], ends, before),
        }  # fmt: skip

    def _function(
        self, record: Mapping[str, Any], nodes: Any, names: Mapping[str, int]
    ) -> tuple[Config, list[Config]]:
        """A function of TensorFlow, and its calls, as an op."""
        function = str(record["config"]["function"])
        row = OPS.get(function)
        if row is None or row.op not in DECLARATIONS:
            raise SerializationError(
                f"Layer {record['name']!r} ({record['class_name']}) calls the function "
                f"tf.{function}, which has no counterpart.",
                layer=record["name"],
                cure="Build the model in code with ops, and load its weights with `load_weights`.",
            )
        calls = []
        for node in nodes:
            call = _call(node, names, {}, keep_none=True)
            given = dict(zip(row.arguments, call["args"], strict=False)) | call["kwargs"]
            arguments: Config = {}
            for key, value in given.items():
                target = row.arguments.get(key)
                if target is not None:
                    arguments[target] = _indices(value) if key == "slice_spec" else value
                elif key != "name" and value and not isinstance(value, str):
                    raise SerializationError(
                        f"Layer {record['name']!r} calls tf.{function} with {key}={value!r}, which "
                        "has no counterpart.",
                        layer=record["name"],
                    )
            defaults = {k: v for k, v in row.defaults.items() if arguments.get(k) is None}
            calls.append({"args": [], "kwargs": {**arguments, **defaults}})
        return record_of(DECLARATIONS[row.op]), calls


def _is_model(record: Mapping[str, Any]) -> bool:
    config = record["config"]
    return isinstance(config, list) or isinstance(config.get("layers"), list)


def _branches(record: Mapping[str, Any]) -> Any:
    """The stacks that the first layer of a stack of Keras 1 merges, or None."""
    is_merge = record["class_name"] in ("Merge", "Lambda")
    return record["config"].get("layers") if is_merge else None


def _mappings(x: Any) -> Iterator[Mapping[str, Any]]:
    """A config, if it is a dict, and all dicts inside."""
    stack = [x]
    while stack:
        x = stack.pop()
        if isinstance(x, Mapping):
            yield x
            stack.extend(x.values())
        elif isinstance(x, list):
            stack.extend(x)


def _values(x: Any, key: str) -> Iterator[str]:
    """The texts under a key anywhere in a config."""
    return (m[key] for m in _mappings(x) if isinstance(m.get(key), str))


def _name_of(record: Mapping[str, Any]) -> str:
    return str(record.get("name") or record["config"].get("name") or record["class_name"])


def _input_of(record: Mapping[str, Any]) -> tuple[Any, Any]:
    """The input shape and dtype that the first layer of a stack declares, or the layer in it."""
    config = record["config"]
    while isinstance(config, Mapping):
        if config.get("batch_input_shape") is not None:
            dtype = config.get("input_dtype") or config.get("dtype")
            known = isinstance(dtype, str) and not dtype.startswith("mixed")
            return config["batch_input_shape"], dtype if known else "float32"
        inner = config.get("layer")
        config = inner.get("config") if isinstance(inner, Mapping) else None
    return None, "float32"


def _input_record(name: str, shape: Any, dtype: Any) -> Config:
    return {
        "module": "keras.layers", "class_name": "InputLayer", "registered_name": None,
        "config": {"batch_shape": shape, "dtype": dtype, "name": name},
    }  # fmt: skip


# ---- calls ---------------------------------------------------------------------------------------


def _history(reference: Any, names: Mapping[str, int]) -> list[Any]:
    """Layer, call and output of a tensor, with calls counted from 0."""
    name, call, output = reference[:3]
    return [name, max(0, call - names.get(name, 0)), output]


def _tensor(history: list[Any]) -> Config:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": history}}


def _is_reference(x: Any) -> bool:
    """Whether ``x`` is ``[layer, call, output]`` or ``[layer, call, output, arguments]``."""
    return (
        isinstance(x, (list, tuple))
        and len(x) in (3, 4)
        and isinstance(x[0], str)
        and isinstance(x[1], int)
        and (isinstance(x[2], int) or x[0] == "_CONSTANT_VALUE")
        and (len(x) == 3 or isinstance(x[3], Mapping))
    )


def _call(node: Any, names: Mapping[str, int], more: Config, keep_none: bool = False) -> Config:
    """One call in the form of today: the tensors and the other arguments.

    Args:
        node: The call.
        names: The names of the layers of the graph, and the numbers of their first calls.
        more: Further arguments.
        keep_none: Whether arguments that are None are kept.
    """
    if isinstance(node, Mapping) and "args" in node:
        return {**node, "kwargs": {**node.get("kwargs", {}), **more}}
    arguments: Config = {}

    def tensors(x: Any) -> Any:
        if _is_reference(x):
            arguments.update(x[3] if len(x) == 4 else {})
            return x[2] if x[0] == "_CONSTANT_VALUE" else _tensor(_history(x, names))
        if isinstance(x, Mapping):
            return {k: tensors(v) for k, v in x.items()}
        return [tensors(v) for v in x]

    def argument(x: Any) -> Any:
        if _is_reference(x) and x[0] in names:
            return _tensor(_history(x, names))
        if isinstance(x, Mapping):
            if x.get("class_name") in ("__tuple__", "TensorShape"):
                return [argument(v) for v in x["items"]]
            return {k: argument(v) for k, v in x.items()}
        return [argument(v) for v in x] if isinstance(x, (list, tuple)) else x

    inputs = tensors(node)
    if isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]
    kwargs = {k: argument(v) for k, v in arguments.items() if v is not None or keep_none}
    return {"args": [inputs], "kwargs": {**kwargs, **more}}


def _indices(x: Any) -> Any:
    """An index in the form of today: slices and ellipses as records."""
    if isinstance(x, list):
        return [_indices(v) for v in x]
    if isinstance(x, Mapping) and x.keys() == {"start", "stop", "step"}:
        return {"class_name": "__slice__", "config": dict(x)}
    if isinstance(x, Mapping) and x.get("class_name") == "__ellipsis__":
        return {"class_name": "__ellipsis__", "config": {}}
    return x


def _ends(x: Any, names: Mapping[str, int], single: bool) -> Any:
    """The inputs or outputs of a model; if ``single``, a list of one tensor is the tensor."""
    if _is_reference(x):
        return _history(x, names)
    if isinstance(x, Mapping):
        return {k: _ends(v, names, single) for k, v in x.items()}
    ends = [_ends(v, names, single) for v in x]
    return ends[0] if single and len(ends) == 1 and _is_reference(ends[0]) else ends
