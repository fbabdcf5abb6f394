"""The one table of classes and functions that names in files and strings in code resolve to.

Built-in classes enter it when they are defined; users' classes through
:func:`register_serializable` or a ``custom_objects`` argument. Resolving a name only looks it up:
no module that a file names is imported, no attribute path is walked, no code is read from a file.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self, TypeVar

import jax
import numpy as np

from lamina.dtypes import DTypePolicy, standardize_dtype
from lamina.errors import (
    ArgumentError,
    LaminaError,
    SerializationError,
    UnknownNameError,
    UnsafeFileError,
)

_T = TypeVar("_T")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(>[A-Za-z_][A-Za-z0-9_]*)?")


class _Occurrences:
    """The objects with weights that one description holds: those that occur twice get a number."""

    def __init__(self, shared: dict[int, int]) -> None:
        self.seen: dict[int, Any] = {}
        self.shared = shared

    def count(self, obj: Any) -> int | None:
        """The number of ``obj``, if it is known to occur more than once."""
        if id(obj) in self.seen:
            self.shared.setdefault(id(obj), len(self.shared) + 1)
        self.seen[id(obj)] = obj
        return self.shared.get(id(obj))


_families: dict[str, dict[str, Any]] = {}
_custom: dict[str, Any] = {}
_registered_names: dict[Any, str] = {}
_scoped: ContextVar[Mapping[str, Any] | None] = ContextVar("lamina_custom_objects", default=None)
_described: ContextVar[_Occurrences | None] = ContextVar("lamina_described", default=None)
_rebuilt: ContextVar[dict[int, Any] | None] = ContextVar("lamina_rebuilt", default=None)


def snake_case(name: str) -> str:
    """``"MaxPooling2D"`` to ``"max_pooling2d"``: how automatic names are spelled.

    >>> snake_case("Conv2DTranspose"), snake_case("BatchNormalization")
    ('conv2d_transpose', 'batch_normalization')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _is_function(x: Any) -> bool:
    return callable(x) and not inspect.isclass(x)


# JAX's own activations, which a file may name too; some compute something else than namesakes.
_JAX_NN = {n: f for n, f in vars(jax.nn).items() if n[0] != "_" and _is_function(f)}


def family_of(obj: Any) -> str | None:
    """The namespace of a built-in class or function, or None: the folder that it is defined in.

    >>> from lamina.optimizers.schedules import CosineDecay
    >>> family_of(CosineDecay)
    'optimizers.schedules'
    """
    top, *folders = (obj.__module__ or "").split(".")[:-1] or [""]
    return ".".join(folders) if top == "lamina" else None


def add_builtin(obj: type) -> None:
    """Enter a built-in class under its name, its snake_case name and its own ``aliases``."""
    family = _families.setdefault(family_of(obj) or "", {})
    family[obj.__name__] = obj
    aliases = obj.__dict__.get("aliases", ())
    for name in (snake_case(obj.__name__), obj.__name__.lower(), *aliases):
        family.setdefault(name, obj)


def public(family: str, *aliases: str) -> Callable[[_T], _T]:
    """Decorator: enter a built-in function under its own name and ``aliases``."""

    def enter(fn: _T) -> _T:
        for name in (fn.__name__, *aliases):  # pyright: ignore[reportAttributeAccessIssue]
            _families.setdefault(family, {})[name] = fn
        return fn

    return enter


def builtin(family: str, name: str) -> Any | None:
    """The built-in object of that name, or None."""
    return _families.get(family, {}).get(name)


def register_serializable(package: str = "Custom", name: str | None = None) -> Callable[[_T], _T]:
    """Decorator that lets files and configs refer to your class or function by name.

    Args:
        package: a prefix that keeps your names apart from other people's.
        name: the name to use, the object's own by default.

    >>> @register_serializable(package="shop")
    ... class Basket:
    ...     def get_config(self):
    ...         return {}
    >>> get_registered_name(Basket)
    'shop>Basket'
    """

    def register(obj: _T) -> _T:
        full = f"{package}>{name or obj.__name__}"  # pyright: ignore[reportAttributeAccessIssue]
        if not _NAME.fullmatch(full):
            raise ArgumentError(
                "register_serializable() expects a package and a name made of letters, digits "
                f"and underscores. Received: {full!r}."
            )
        if inspect.isclass(obj) and not hasattr(obj, "get_config"):
            raise SerializationError(
                f"Class {obj.__name__} has no `get_config`, so a file could not hold it. Add a "
                "`get_config` method that returns the constructor's arguments."
            )
        _custom[full] = obj
        _registered_names[obj] = full
        return obj

    return register


def get_registered_name(obj: Any) -> str:
    """The name that ``obj`` was registered under, or its own."""
    return str(_registered_names.get(obj, obj.__name__))


def get_registered_object(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any | None:
    """The user's object of that name: from ``custom_objects``, the scope, or the registrations."""
    for table in (custom_objects or {}, _scoped.get() or {}, _custom):
        if name in table:
            return table[name]
    return None


def get_custom_objects() -> dict[str, Any]:
    """The live dictionary of registered objects."""
    return _custom


class CustomObjectScope:
    """Context in which configs may name the given objects, alongside the registered ones.

    Args:
        custom_objects: names to classes or functions.
    """

    def __init__(self, custom_objects: Mapping[str, Any]) -> None:
        self._objects = dict(custom_objects)

    def __enter__(self) -> Self:
        self._token = _scoped.set({**(_scoped.get() or {}), **self._objects})
        return self

    def __exit__(self, *_: object) -> None:
        _scoped.reset(self._token)


def _likeness(a: str, b: Any) -> float:
    return difflib.SequenceMatcher(None, a, str(b)).ratio()


def unknown_name(what: str, name: Any, known: Any) -> UnknownNameError:
    """An error that lists the closest of the known names."""
    names = sorted({str(k) for k in known})
    spellings: dict[str, str] = {}
    for n in names:  # of several spellings of one name, the one closest to what was asked for
        plain = n.lower().replace("_", "")
        if plain not in spellings or _likeness(n, name) > _likeness(spellings[plain], name):
            spellings[plain] = n
    close = difflib.get_close_matches(str(name), list(spellings.values()), 3, 0.5)
    if not close and str(name).isalpha() and len(str(name)) > 1:  # initials, as in `lr`
        close = [n for n in names if "".join(w[:1] for w in n.split("_")) == name]
    hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Known: {names}."
    return UnknownNameError(f"Unknown {what}: {name!r}. {hint}")


def resolve(family: str, identifier: Any, what: str) -> Any:
    """Turn a string, config, class or object into an object of ``family``; None stays None.

    Raises:
        UnknownNameError: no such name; the closest ones are listed.
        ArgumentError: neither a name, a config nor something callable.
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        found = get_registered_object(identifier)
        if found is None:
            found = builtin(family, identifier)
        if found is None:
            raise unknown_name(what, identifier, _families.get(family, {}))
        return found() if inspect.isclass(found) else found
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if inspect.isclass(identifier):
        return identifier()
    if callable(identifier):
        return identifier
    raise ArgumentError(
        f"Could not read this {what}. Expected a name, a config, a class or a callable. "
        f"Received: {identifier!r} (of type {type(identifier).__name__})."
    )


def module_name(cls: type) -> str | None:
    """The public module that files name for ``cls``; None for users' classes."""
    override = cls.__dict__.get("_file_module")
    if override is not None:
        return str(override)
    family = family_of(cls)
    if family is None:
        return cls.__module__
    return "keras" if family in ("models", "") else f"keras.{family}"


def describe_together(describe: Callable[[], _T]) -> _T:
    """Run what describes several objects; layers that occur more than once are numbered.

    Each of their records has the same ``shared_object_id``, by which :func:`deserialize` makes them
    one layer again.
    """
    if _described.get() is not None:
        return describe()
    shared: dict[int, int] = {}
    while True:
        known = len(shared)
        token = _described.set(_Occurrences(shared))
        try:
            description = describe()
        finally:
            _described.reset(token)
        if len(shared) == known:
            return description


@contextmanager
def rebuild_together() -> Iterator[dict[int, Any]]:
    """Context in which records of one ``shared_object_id`` become one object."""
    table = _rebuilt.get()
    if table is not None:
        yield table
        return
    table = {}
    token = _rebuilt.set(table)
    try:
        yield table
    finally:
        _rebuilt.reset(token)


def serialize(obj: Any) -> Any:
    """Describe ``obj`` as JSON data: numbers, text, lists, dicts, and ``class_name`` records.

    Raises:
        SerializationError: an object without ``get_config``, or a function without a name.

    >>> serialize((1, "a", np.float32(0.5)))
    [1, 'a', 0.5]
    """
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return obj
    return describe_together(lambda: _describe(obj))


def _describe(obj: Any) -> Any:
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return obj
    if isinstance(obj, (list, tuple)):
        return [_describe(v) for v in obj]
    if isinstance(obj, Mapping):
        return {str(k): _describe(v) for k, v in obj.items()}
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, (np.ndarray, jax.Array)):
        array = np.asarray(obj)
        return {
            "class_name": "__numpy__",
            "config": {"value": array.tolist(), "dtype": array.dtype.name},
        }
    if isinstance(obj, (np.dtype,)):
        return obj.name
    if isinstance(obj, slice):
        config = {"start": obj.start, "stop": obj.stop, "step": obj.step}
        return {"class_name": "__slice__", "config": _describe(config)}
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if inspect.isfunction(obj) or inspect.isbuiltin(obj) or inspect.isclass(obj):
        return _serialize_function(obj)
    if not hasattr(obj, "get_config"):
        if callable(obj) and hasattr(obj, "__name__"):
            return _serialize_function(obj)
        raise SerializationError(
            f"Cannot describe {obj!r} (of type {type(obj).__name__}) as data. Give its class a "
            "`get_config` method that returns its constructor's arguments."
        )
    cls = type(obj)
    occurrences = _described.get()
    number = occurrences.count(obj) if occurrences and hasattr(cls, "weights") else None
    record: dict[str, Any] = {
        "module": module_name(cls),
        "class_name": cls.__name__,
        "config": _describe(obj.get_config()),
        "registered_name": None
        if family_of(cls) or isinstance(obj, DTypePolicy)
        else get_registered_name(cls),
    }
    build_config = getattr(obj, "get_build_config", lambda: None)()
    if build_config is not None:
        record["build_config"] = _describe(build_config)
    if number is not None:
        record["shared_object_id"] = number
    return record


def _serialize_function(fn: Any) -> Any:
    """The name of a function: a built-in's by its family, a user's as it was registered."""
    name = getattr(fn, "__name__", "<lambda>")
    registered = _registered_names.get(fn)
    namesakes = {r: f[name] for r, f in _families.items() if _is_function(f.get(name))}
    own = [family for family, known in namesakes.items() if _is_made_of(known, fn)]
    module = "builtins"
    if registered is None and own:
        if own != ["ops"]:
            return name
        module = "keras.ops"
    elif registered is None and _JAX_NN.get(name) is fn:
        module = "jax.nn"
    if name == "<lambda>":
        raise SerializationError(
            "A lambda has no name, so a file cannot refer to it. Define it with `def`, and "
            "register it: `@lamina.saving.register_serializable()`."
        )
    if registered is None and namesakes and module == "builtins":
        family = next(iter(namesakes))
        raise SerializationError(
            f"The function {name!r} (of {fn.__module__}) has the name of another one, "
            f"lamina.{family}.{name}, which a file would be read with. Pass the name {name!r} to "
            "mean Lamina's; or register yours: `@lamina.saving.register_serializable()`."
        )
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": registered or name,
    }


def _is_made_of(known: Any, fn: Any) -> bool:
    """Whether ``fn`` is ``known``, or what ``known`` is a wrapper of."""
    while known is not None and known is not fn:
        known = getattr(known, "__wrapped__", None)
    return known is fn


# The rooms whose classes files may name. The list is fixed here: no file can add to it.
_ROOMS = ("initializers", "regularizers", "constraints", "losses", "metrics", "optimizers",
          "layers", "models")  # fmt: skip


@functools.cache
def _complete_table() -> None:
    """Load every room once, so that the table holds all built-in classes in any new process."""
    for room in _ROOMS:
        importlib.import_module(f"lamina.{room}")


def _lookup(record: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> Any:
    _complete_table()
    module, name = record.get("module"), record["class_name"]
    is_function = name == "function"
    if is_function:
        name = record["config"]
    registered = record.get("registered_name") or name
    for candidate in (name, registered):
        if not isinstance(candidate, str) or not _NAME.fullmatch(candidate):
            raise SerializationError(
                f"A class name is a plain identifier, not a path or an expression. "
                f"Received: {str(candidate)[:80]!r}."
            )
    # A built-in's own record wins over a user's class of the same name.
    if module == "jax.nn" and is_function and name in _JAX_NN:
        return _JAX_NN[name]
    if isinstance(module, str) and module.split(".")[0] in ("keras", "lamina"):
        rooms = [part for part in module.split(".")[1:] if part != "src"] or ["models"]
        known = [builtin(".".join(rooms), name), builtin(rooms[0], name)]
        is_wanted = _is_function if is_function else inspect.isclass
        found = next((c for c in known if is_wanted(c)), None)
        if name == "DTypePolicy":
            found = DTypePolicy
        if found is not None:
            return found
    found = get_registered_object(registered, custom_objects)
    if found is None:
        found = get_registered_object(name, custom_objects)
    if found is None and is_function:
        rooms = (f for room, f in _families.items() if room != "ops")
        found = next((f[name] for f in rooms if _is_function(f.get(name))), None)
    if found is None and module is None:
        found = next((f[name] for f in _families.values() if inspect.isclass(f.get(name))), None)
    if found is None:
        raise SerializationError(
            f"The config names {'function' if is_function else 'class'} {name!r} "
            f"(module {module!r}), which is not built in and not registered. Pass "
            f"`custom_objects={{{name!r}: ...}}`, or decorate it with "
            "`@lamina.saving.register_serializable()` before loading."
        )
    return found


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Rebuild what :func:`serialize` described.

    Args:
        config: JSON data; dicts with ``class_name`` and ``config`` become objects.
        custom_objects: names of users' classes and functions that the config may refer to.

    Raises:
        SerializationError: a class that is neither built in, registered nor passed.
    """
    if isinstance(config, (list, tuple)):
        return [deserialize(v, custom_objects) for v in config]
    if not isinstance(config, Mapping):
        return config
    if "class_name" not in config or "config" not in config:
        return {k: deserialize(v, custom_objects) for k, v in config.items()}
    name, inner = config["class_name"], config["config"]
    found: Any = np.ndarray  # until the record names another class
    try:
        if name in ("__numpy__", "__tensor__"):
            return np.array(inner["value"], dtype=standardize_dtype(inner["dtype"]))
        if name == "__slice__":
            return slice(inner["start"], inner["stop"], inner["step"])
        if name == "__ellipsis__":
            return Ellipsis
        if name == "__lambda__":
            raise UnsafeFileError(
                "The config holds the code of a Python lambda. Lamina runs no code from files. "
                "Where the file is made, define the function with `def`, register it with "
                "`@keras.saving.register_keras_serializable()`, and save again."
            )
        found = _lookup(config, custom_objects)
        if name == "function":
            return found
        if not inspect.isclass(found):
            raise SerializationError(f"The config wants a class. {name!r} is {found!r}.")
        number = config.get("shared_object_id")
        with CustomObjectScope(custom_objects or {}), rebuild_together() as table:
            if isinstance(number, int) and isinstance(table.get(number), found):
                return table[number]
            obj = _make(found, inner, config.get("build_config"))
            if isinstance(number, int) and hasattr(found, "weights"):
                table[number] = obj
            return obj
    except (SerializationError, UnsafeFileError):
        raise
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as e:
        entries = inner if isinstance(inner, Mapping) else {}
        own = f" {entries['name']!r}" if "name" in entries else ""
        # What a class of the user's own needs is known to its `get_config` alone.
        shown = f", which has {list(entries)}" if family_of(found) is None else ""
        raise SerializationError(
            f"{name}{own} cannot be made from its config{shown}: "
            f"{e if isinstance(e, LaminaError) else repr(e)}"
        ) from e


def _make(cls: Any, config: Any, build_config: Any) -> Any:
    from_config = getattr(cls, "from_config", None)
    obj: Any = cls(**config) if from_config is None else from_config(config)
    if build_config and hasattr(obj, "build_from_config"):
        obj.build_from_config(build_config)
    return obj
