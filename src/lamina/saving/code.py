"""Code in configs: found before anything is built, and never run.

A function of a ``Lambda`` is stored as its bytecode where it had no name. The user can give it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamina.errors import SerializationError, UnsafeFileError
from lamina.serialization import registry


def _is_bytecode(value: Any) -> bool:
    """Whether a function is stored as its code: Python bytecode as text, with its defaults."""
    if isinstance(value, Mapping):
        return value.get("class_name") == "__lambda__"
    return isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str)


def is_code(record: Mapping[str, Any]) -> bool:
    """Whether a record itself, apart from those inside, stores a function as its code."""
    name, config = record.get("class_name"), record.get("config")
    if name == "__lambda__":
        return True
    if not isinstance(config, Mapping):
        return False
    if name == "Lambda":
        function = config.get("function")
        return not isinstance(function, Mapping) and _is_bytecode(function)
    return name == "Merge" and config.get("mode_type", "raw") != "raw"


def _may_contain_code(record: Any) -> bool:
    """Whether there is a class that may store code; most configs need no second look."""
    stack = [record]
    while stack:
        x = stack.pop()
        if isinstance(x, Mapping):
            if x.get("class_name") in ("Lambda", "Merge", "__lambda__"):
                return True
            stack.extend(x.values())
        elif isinstance(x, (list, tuple)):
            stack.extend(x)
    return False


def with_functions(record: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    """The record with the functions of ``custom_objects`` in place of code.

    Raises:
        UnsafeFileError: There is code for which ``custom_objects`` has no function; the message
            names all such layers.
    """
    if not _may_contain_code(record):
        return record
    lacking: list[tuple[str, str]] = []

    def function(layer: str, what: str) -> Any:
        if registry.get_registered_object(layer, custom_objects) is None:
            lacking.append((layer, what))
        return {"module": "builtins", "class_name": "function", "config": layer,
                "registered_name": layer}  # fmt: skip

    def walk(x: Any, layer: str, what: str) -> Any:
        if isinstance(x, (list, tuple)):
            return [walk(v, layer, what) for v in x]
        if not isinstance(x, Mapping):
            return x
        if x.get("class_name") == "__lambda__":
            return function(layer, what)
        config = x.get("config")
        if isinstance(config, Mapping) and "class_name" in x:
            layer, what = str(config.get("name") or layer), str(x["class_name"])
            if x["class_name"] == "Lambda" and _is_bytecode(config.get("function")):
                config = {**config, "function": function(layer, what)}
            elif x["class_name"] == "Merge" and config.get("mode_type", "raw") != "raw":
                kept = {k: config[k] for k in ("layers",) if k in config}
                kept |= {"name": layer, "function": function(layer, what)}
                return {**x, "class_name": "Lambda", "config": kept}
            if x["class_name"] == "Lambda" and (
                config.get("output_shape_type") == "lambda"
                or _is_bytecode(config.get("output_shape"))
            ):
                config = {k: v for k, v in config.items() if not k.startswith("output_shape")}
            x = {**x, "config": config}
        return {k: walk(v, layer, what) for k, v in x.items()}

    try:
        new = walk(record, "", "config")
    except RecursionError as e:
        raise SerializationError("The config of the model is nested too deeply.") from e
    if lacking:
        shown = ", ".join(f"{layer!r} ({what})" for layer, what in lacking)
        raise UnsafeFileError(
            f"The file contains Python code, which Lamina never runs: that of {shown}."
            " Nothing was built.",
            cure="Write each function in your program and pass it by the name of its layer: "
            f"`custom_objects={{{lacking[0][0]!r}: lambda x: ...}}`.",
        )
    return new
