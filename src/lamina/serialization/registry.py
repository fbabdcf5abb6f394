"""The registry of classes and functions: names in files and strings in code resolve to them.

Built-in classes are registered when they are defined, users' classes by
:func:`register_serializable` or a ``custom_objects`` argument. Resolving a name only looks it up:
modules that a file names are not imported, attribute paths are not followed, and no code is read
from a file.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import jax
import numpy as np

from lamina.core.naming import snake_case
from lamina.core.symbolic import OPERATIONS
from lamina.core.tracking import Trackable
from lamina.dtype_policies import policy
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import (
    ArgumentError,
    LaminaError,
    SerializationError,
    UnsafeFileError,
    unknown_name,
)
from lamina.runtime import budget
from lamina.serialization import docstrings, text
from lamina.serialization.deferred import complete_namespace, complete_table, converted
from lamina.serialization.shared import describe_together, described_so_far, rebuild_together

_T = TypeVar("_T")
_REGISTERED = re.compile(r"[^>\x00-\x1f]{0,200}>[^>\x00-\x1f]{1,200}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(>[A-Za-z_][A-Za-z0-9_]*)?")


@runtime_checkable
class _Configured(Protocol):
    """An object with a config."""

    def get_config(self) -> dict[str, Any]: ...


@runtime_checkable
class _Built(Protocol):
    """An object that creates its weights for the shapes in a file."""

    def get_build_config(self) -> dict[str, Any] | None: ...

    def build_from_config(self, config: Mapping[str, Any]) -> None: ...


@runtime_checkable
class _Function(Protocol):
    """A callable that has a name."""

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


def _has_state(cls: type) -> bool:
    """Whether the identity of an object matters where it occurs more than once."""
    return issubclass(cls, Trackable) and cls.tracked_as in ("layer", "seed_generator")


_namespaces: dict[str, dict[str, Any]] = {"ops": OPERATIONS}
# How Keras's files refer to a class: module and name.
_in_files: dict[tuple[str | None, str], Any] = {}
_DECLARED = "_registration"
_custom: dict[str, Any] = {}
_registered_names: dict[Any, str] = {}
_scoped: ContextVar[Mapping[str, Any] | None] = ContextVar("lamina_custom_objects", default=None)


def _is_function(x: Any) -> bool:
    return callable(x) and not inspect.isclass(x)


# JAX's own activations, which a file may name too; some differ from those of the same name.
_JAX_NN = {n: f for n, f in vars(jax.nn).items() if n[0] != "_" and _is_function(f)}


@dataclasses.dataclass(frozen=True, slots=True)
class Registration:
    """How a built-in class is registered.

    Attributes:
        namespace: Its public namespace, such as ``"layers"``; None for an internal base class.
        name: Its public name.
        file_module: Its module in Keras's files.
        stem: Prefix of automatic names, and its name in weights files.
    """

    namespace: str | None
    name: str
    file_module: str | None
    stem: str


def builtin(
    namespace: str | None = None,
    *aliases: str,
    file_module: str | None = None,
    stem: str | None = None,
) -> Callable[[_T], _T]:
    """Decorator that registers a class or function of the library.

    Args:
        namespace: Its public namespace, such as ``"layers"``; None for a base class without a
            public name.
        aliases: Further names for lookups by string.
        file_module: Its module in Keras's files; ``keras.<namespace>`` when None.
        stem: Prefix of automatic names; the object's name in snake_case when None.
    """

    def declare(obj: _T) -> _T:
        name: str = obj.__name__  # pyright: ignore[reportAttributeAccessIssue]
        is_class = inspect.isclass(obj)
        if is_class:
            module = file_module or (namespace and f"keras.{namespace}")
            declared = Registration(namespace, name, module, stem or snake_case(name))
            setattr(obj, _DECLARED, declared)
            docstrings.complete_class(obj)  # pyright: ignore[reportArgumentType]
            _in_files[module, name] = obj
        if namespace is not None:
            table = _namespaces.setdefault(namespace, {})
            table[name] = obj
            spellings = (snake_case(name), name.lower()) if is_class else ()
            for alias in aliases if not is_class else ():
                table[alias] = obj
            for alias in (*spellings, *aliases):
                table.setdefault(alias, obj)
        return obj

    return declare


# Registered here because their package is below this one: dtypes of layers are read with it.
for _policy in policy.CLASSES.values():
    builtin("dtype_policies", file_module=policy.file_module_of(_policy))(_policy)


def registration_of(cls: type) -> Registration | None:
    """How a built-in class is registered; None for a user's class."""
    return cls.__dict__.get(_DECLARED)


def stem_of(cls: type) -> str:
    """The prefix of automatic names of a class, such as ``"dense"``."""
    declared = registration_of(cls)
    return snake_case(cls.__name__) if declared is None else declared.stem


def defined_by_user(cls: type, attribute: str) -> bool:
    """Whether ``attribute`` of ``cls`` is defined by a user's class.

    >>> class Mine(dict):
    ...     def keys(self):
    ...         return []
    >>> defined_by_user(Mine, "keys")
    True
    """
    owner = next(c for c in cls.__mro__ if attribute in c.__dict__)
    return registration_of(owner) is None


def find_builtin(namespace: str, name: str) -> Any | None:
    """The built-in object of that name, or None."""
    if name not in _namespaces.get(namespace, {}):
        complete_namespace(namespace)
    return _namespaces.get(namespace, {}).get(name)


def register_serializable(package: str = "Custom", name: str | None = None) -> Callable[[_T], _T]:
    """Decorator that registers your class or function, so that files and configs can refer to it.

    Args:
        package: A prefix that distinguishes your names from those of others.
        name: The name to register; the object's own by default.

    >>> @register_serializable(package="shop")
    ... class Basket:
    ...     def get_config(self):
    ...         return {}
    >>> get_registered_name(Basket)
    'shop>Basket'
    """

    def register(obj: _T) -> _T:
        full = f"{package}>{name or obj.__name__}"  # pyright: ignore[reportAttributeAccessIssue]
        if not _REGISTERED.fullmatch(full):
            raise ArgumentError(
                "register_serializable() expects a package and a name of printable characters "
                f"without '>', at most 200 each. Received: {full!r}."
            )
        if inspect.isclass(obj) and not issubclass(obj, _Configured):
            raise SerializationError(
                f"Class {obj.__name__} has no `get_config`, so it cannot be saved. Add a "
                "`get_config` method that returns the constructor's arguments."
            )
        _custom[full] = obj
        _registered_names[obj] = full
        return obj

    return register


def get_registered_name(obj: Any) -> str:
    """The name that ``obj`` was registered under, or its own.

    Args:
        obj: A class or function.

    >>> get_registered_name(dict)
    'dict'
    """
    return str(_registered_names.get(obj, obj.__name__))


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any | None:
    """The custom object of that name, or None.

    Searches ``custom_objects``, the active scopes, the registered objects and ``module_objects``,
    in this order.

    Args:
        name: Its name.
        custom_objects: Objects by name, or None.
        module_objects: Other objects by name, or None.

    >>> get_registered_object("mine", {"mine": abs})
    <built-in function abs>
    """
    for table in (custom_objects or {}, _scoped.get() or {}, _custom, module_objects or {}):
        if name in table:
            return table[name]
    return None


def get_custom_objects() -> dict[str, Any]:
    """The live dictionary of registered objects.

    >>> "not registered" in get_custom_objects()
    False
    """
    return _custom


class CustomObjectScope:
    """Context in which configs may refer to the given objects, besides the registered ones.

    Args:
        custom_objects: Dict of names to classes or functions.

    >>> with CustomObjectScope({"mine": abs}):
    ...     get_registered_object("mine")
    <built-in function abs>
    """

    def __init__(self, custom_objects: Mapping[str, Any]) -> None:
        self._objects = dict(custom_objects)

    def __enter__(self) -> Self:
        self._token = _scoped.set({**(_scoped.get() or {}), **self._objects})
        return self

    def __exit__(self, *_: object) -> None:
        _scoped.reset(self._token)


def resolve(family: str, identifier: Any, what: str) -> Any:
    """Convert a name, config, class or object to an object of ``family``; None stays None.

    Raises:
        UnknownNameError: An unknown name; the message lists the closest ones.
        ArgumentError: Neither a name, a config nor something callable.
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        found = get_registered_object(identifier)
        if found is None:
            found = find_builtin(family, identifier)
        if found is None:
            raise unknown_name(what, identifier, _namespaces.get(family, {}))
        return found() if inspect.isclass(found) else found
    if callable(identifier):
        return identifier() if inspect.isclass(identifier) else identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    raise ArgumentError(
        f"Unknown kind of {what}. Expected a name, a config, a class or a callable. "
        f"Received: {identifier!r} (of type {type(identifier).__name__})."
    )


def _module_in_files(cls: type) -> str | None:
    declared = registration_of(cls)
    return cls.__module__ if declared is None else declared.file_module


def serialize(obj: Any) -> Any:
    """Convert ``obj`` to JSON data: numbers, strings, lists, dicts, and ``class_name`` records.

    Args:
        obj: An object with ``get_config``, a function with a name, a value, or a nesting of these.

    Raises:
        SerializationError: An object without ``get_config``, or a function without a name.

    >>> serialize((1, "a", np.float32(0.5)))
    [1, 'a', 0.5]
    """
    return describe_together(lambda: _describe(obj))


def _describe(obj: Any) -> Any:
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return obj
    if isinstance(obj, (list, tuple)):
        return [_describe(v) for v in obj]
    cls: Any = type(obj)
    if isinstance(obj, Mapping) and registration_of(cls) is None:
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
    if isinstance(obj, bytes):
        try:
            return {"class_name": "__bytes__", "config": {"value": obj.decode()}}
        except UnicodeDecodeError as e:
            raise SerializationError(f"Bytes are saved as text of UTF-8, not {obj!r}.") from e
    if isinstance(obj, slice):
        config = {"start": obj.start, "stop": obj.stop, "step": obj.step}
        return {"class_name": "__slice__", "config": _describe(config)}
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if inspect.isfunction(obj) or inspect.isbuiltin(obj) or inspect.isclass(obj):
        return _serialize_function(obj)
    if not isinstance(obj, _Configured):
        if isinstance(obj, _Function):
            return _serialize_function(obj)
        raise SerializationError(
            f"Cannot serialize {obj!r} (of type {type(obj).__name__}). Give its class a "
            "`get_config` method that returns its constructor's arguments."
        )
    occurrences = described_so_far()
    number = occurrences.count(obj) if occurrences and _has_state(cls) else None
    declared = registration_of(cls)
    record: dict[str, Any] = {
        "module": _module_in_files(cls),
        "class_name": cls.__name__,
        "config": _describe(cls.get_config(obj)),
        "registered_name": None if declared is not None else get_registered_name(cls),
    }
    build_config = obj.get_build_config() if isinstance(obj, _Built) else None
    if build_config is not None:
        record["build_config"] = _describe(build_config)
    if number is not None:
        record["shared_object_id"] = number
    return record


def _serialize_function(fn: Any) -> Any:
    """The name of a function: of a built-in one in its namespace, of a user's as registered."""
    name = getattr(fn, "__name__", "<lambda>")
    registered = _registered_names.get(fn)
    namesakes = {r: f[name] for r, f in _namespaces.items() if _is_function(f.get(name))}
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
            f"The function {name!r} (of {fn.__module__}) has the same name as "
            f"lamina.{family}.{name}, which a saved file would refer to. Pass the name {name!r} to "
            "use Lamina's, or register yours: `@lamina.saving.register_serializable()`."
        )
    return {
        "module": module,
        "class_name": "function",
        "config": registered or name,
        "registered_name": registered or name,
    }


def _is_made_of(known: Any, fn: Any) -> bool:
    """Whether ``fn`` is ``known``, or the function that ``known`` wraps."""
    while known is not None and known is not fn:
        known = getattr(known, "__wrapped__", None)
    return known is fn


def _lookup(record: Mapping[str, Any]) -> Any:
    complete_table()
    module, name = record.get("module"), record["class_name"]
    is_function = name == "function"
    if is_function:
        name = record["config"]
    registered = record.get("registered_name") or name
    for candidate in (name, registered):
        if not isinstance(candidate, str) or not (
            _NAME.fullmatch(candidate) or _REGISTERED.fullmatch(candidate)
        ):
            raise SerializationError(
                f"A class name is a plain identifier, not a path or an expression. "
                f"Received: {str(candidate)[:80]!r}."
            )
    # The record of a built-in class takes precedence over a user's class of the same name.
    if module == "jax.nn" and is_function and name in _JAX_NN:
        return _JAX_NN[name]
    if isinstance(module, str) and module.split(".")[0] in ("keras", "lamina"):
        parts = [part for part in module.split(".")[1:] if part != "src"] or ["models"]
        known = [
            _in_files.get((module, name)),
            find_builtin(".".join(parts), name),
            find_builtin(parts[0], name),
        ]
        is_wanted = _is_function if is_function else inspect.isclass
        found = next((c for c in known if is_wanted(c)), None)
        if found is not None:
            return found
    alone = name.rpartition(">")[2] if is_function else name  # as custom objects are often passed
    candidates = (get_registered_object(n) for n in (registered, name, alone))
    found = next((x for x in candidates if x is not None), None)
    if found is None and is_function:
        known = (f.get(name) for space, f in _namespaces.items() if space != "ops")
        found = next((f for f in known if _is_function(f)), None)
    if found is None and module is None:  # as in files of before Keras 3, and in `.h5` files
        found = next((c for (space, n), c in _in_files.items() if space and n == name), None)
    if found is None:
        raise SerializationError(
            f"The config names {'function' if is_function else 'class'} {name!r} "
            f"(module {module!r}), which is not built in and not registered. Pass "
            f"`custom_objects={{{name!r}: ...}}`, or decorate it with "
            "`@lamina.saving.register_serializable()` before loading."
        )
    return found


# Records that stand for values, and the tensors of a graph.
_VALUES = ("__numpy__", "__bytes__", "__tensor__", "__slice__", "__ellipsis__", "__keras_tensor__")


def is_known(record: Mapping[str, Any]) -> bool:
    """Whether the class or function of a record is built in or registered. Nothing is created."""
    try:
        return record["class_name"] in _VALUES or _lookup(record) is not None
    except SerializationError:
        return False


def deserialize(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True, *,
    module_objects: Mapping[str, Any] | None = None, printable_module_name: str = "object",
) -> Any:  # fmt: skip
    """Recreate the object from the data that :func:`serialize` returned.

    Args:
        config: JSON data; dicts with ``class_name`` and ``config`` become objects.
        custom_objects: Your own classes and functions, by the names that the config uses.
        safe_mode: Accepted for compatibility with Keras. Code in a config is never run.
        module_objects: Those of a library: a ``config`` that is a name alone is one of these.
        printable_module_name: What ``module_objects`` are, for messages.

    Raises:
        SerializationError: A class that is neither built in, registered nor passed.
        UnknownNameError: A name alone that ``module_objects`` does not have.

    >>> from lamina.optimizers import schedules
    >>> deserialize(schedules.serialize(schedules.ExponentialDecay(0.5, 10, 0.9)))(0).item()
    0.5
    """
    known = {**(module_objects or {}), **(custom_objects or {})}
    if isinstance(config, str) and module_objects is not None:
        if config not in known:
            raise unknown_name(printable_module_name, config, list(known))
        return known[config]() if inspect.isclass(known[config]) else known[config]
    if not isinstance(config, (list, tuple, Mapping)):
        return config
    with text.reading(config, "The config"), CustomObjectScope(known):
        return _revive(config)


def _revive(config: Any) -> Any:
    """The object, or the nesting of objects, that a config describes."""
    if isinstance(config, (list, tuple)):
        return [_revive(v) for v in config]
    if not isinstance(config, Mapping):
        return config
    if "class_name" not in config or "config" not in config:
        return {k: _revive(v) for k, v in config.items()}
    budget.charge(nodes=1)
    name, inner = config["class_name"], config["config"]
    found: Any = np.ndarray  # until the record names another class
    try:
        if name in ("__numpy__", "__tensor__"):
            return np.array(inner["value"], dtype=standardize_dtype(inner["dtype"]))
        if name == "__bytes__":
            return inner["value"].encode()
        if name == "__slice__":
            return slice(inner["start"], inner["stop"], inner["step"])
        if name == "__ellipsis__":
            return Ellipsis
        if name == "__lambda__":
            raise UnsafeFileError(
                "The config contains the code of a Python lambda. Lamina runs no code from files. "
                "In the program that saves the file, define the function with `def`, register it "
                "with `@keras.saving.register_keras_serializable()`, and save again."
            )
        try:
            found = _lookup(config)
        except SerializationError:
            old = None if "module" in config else converted(config, "layers")
            if old is None:
                raise
            return _revive(old)
        if name == "function":
            return found
        if not inspect.isclass(found):
            raise SerializationError(f"The config refers to a class, but {name!r} is {found!r}.")
        number = config.get("shared_object_id")
        with rebuild_together() as table:
            if isinstance(number, int) and isinstance(table.get(number), found):
                return table[number]
            obj = _make(found, inner, config.get("build_config"))
            if isinstance(number, int) and _has_state(found):
                table[number] = obj
            return obj
    except (SerializationError, UnsafeFileError, MemoryError, OSError, Warning):
        raise
    except Exception as e:  # whatever the config makes a class raise
        own = f" {inner['name']!r}" if isinstance(inner, Mapping) and "name" in inner else ""
        # Only its `get_config` knows which arguments a user's class needs.
        shown = f", which has {list(inner or ())}" if registration_of(found) is None else ""
        raise SerializationError(
            f"{name}{own} cannot be created from its config{shown}: "
            f"{e if isinstance(e, LaminaError) else repr(e)}"
        ) from e


def _make(cls: Any, config: Any, build_config: Any) -> Any:
    from_config = getattr(cls, "from_config", None)
    obj: Any = cls(**config) if from_config is None else from_config(config)
    if build_config and isinstance(obj, _Built):
        obj.build_from_config(build_config)
    return obj
