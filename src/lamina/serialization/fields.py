"""Constructor arguments written once.

A class that declares fields gets ``__init__``, ``get_config``, ``from_config``, ``repr`` and
equality from them::

    class Scale(Configurable):
        factor: float
        axis: int = -1


    Scale(2.0).get_config()  # {"factor": 2.0, "axis": -1}

A class that writes its own ``__init__`` is captured by signature instead: the arguments of each
construction are remembered, so it too has a ``get_config``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self, dataclass_transform

from lamina.core.graph import is_symbolic
from lamina.errors import ArgumentError, SerializationError, SignatureError, unknown_name
from lamina.serialization import registry

MISSING: Any = object()


class Field:
    """One constructor argument: its default, and the function that reads what users pass."""

    __slots__ = ("convert", "default", "kw_only", "name")

    def __init__(self, default: Any, convert: Callable[[Any], Any] | None, kw_only: bool) -> None:
        self.default, self.convert, self.kw_only = default, convert, kw_only
        self.name = ""


def field(
    default: Any = MISSING,
    *,
    convert: Callable[[Any], Any] | None = None,
    kw_only: bool = False,
) -> Any:
    """Declare a constructor argument with more than a plain default.

    Args:
        default: the value when the caller gives none; without it the argument is required.
        convert: turns what the caller passes (and the default) into what is stored.
        kw_only: accept the argument only by name.
    """
    return Field(default, convert, kw_only)


def _declared(cls: type) -> dict[str, Field]:
    own: dict[str, Field] = {}
    for name, annotation in inspect.get_annotations(cls).items():
        if name.startswith("_") or "ClassVar" in str(annotation):
            continue
        value = cls.__dict__.get(name, MISSING)
        declared = value if isinstance(value, Field) else Field(value, None, False)
        declared.name = name
        own[name] = declared
        if value is not MISSING:
            delattr(cls, name)
    return own


@dataclass_transform()
class Configurable:
    """Base of everything that has a configuration: see the module's text."""

    _fields: ClassVar[dict[str, Field]] = {}
    _captured: tuple[tuple[Any, ...], dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        owner = next(c for c in cls.__mro__ if "__init__" in c.__dict__)
        if owner is Configurable or (owner is not cls and _is_field_class(owner)):
            own = _declared(cls)
            if own:
                # An argument that becomes positional takes its place among the class's own.
                before = {n: f for n, f in cls._fields.items() if f is not None and f.kw_only}
                moved = {n for n, f in own.items() if n in before and not f.kw_only}
                merged = {n: f for n, f in cls._fields.items() if n not in moved} | own
                cls._fields = dict(sorted(merged.items(), key=lambda kv: kv[1].kw_only))
                cls.__init__ = _make_init(cls)  # pyright: ignore[reportAttributeAccessIssue]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "_captured", (args, kwargs))
        return self

    def __init__(self) -> None:
        self.__post_init__()

    def __post_init__(self) -> None:
        """Called when all fields are set: check them together, derive what depends on them."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name, as data that :meth:`from_config` reads."""
        cls = type(self)
        owner = next(c for c in cls.__mro__ if "get_config" in c.__dict__)
        if not _is_field_class(cls) and registry.registration_of(owner):
            return self._captured_arguments()
        return {name: getattr(self, name) for name in cls._fields}

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Take constructor arguments that are no fields; return those that nobody knows."""
        return extra

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new object from :meth:`get_config`'s data."""
        return cls(**{k: _revive(v) for k, v in config.items()})

    def _captured_arguments(self) -> dict[str, Any]:
        args, kwargs = self._captured
        signature = inspect.signature(type(self).__init__)
        bound = signature.bind(self, *args, **kwargs).arguments
        config: dict[str, Any] = {}
        for name, parameter in list(signature.parameters.items())[1:]:
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                if bound.get(name):
                    raise SerializationError(
                        f"{type(self).__name__}.__init__ takes *{name}, which has no name to save "
                        "under. Write a `get_config` and a `from_config`."
                    )
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                config.update(bound.get(name, {}))
            elif name in bound:
                config[name] = bound[name]
        return config

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v}" for k, v in self._repr_items())
        return f"{type(self).__name__}({shown})"

    def _repr_items(self) -> list[tuple[str, str]]:
        items = []
        for name, f in type(self)._fields.items():
            value = getattr(self, name, None)
            default = f.default
            if f.convert and default is not MISSING and not callable(default):
                default = f.convert(default)
            if name in self.__dict__ and (default is MISSING or not _same(value, default)):
                shown = value.__name__ if inspect.isfunction(value) else repr(value)
                items.append((name, shown))
        return items

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Configurable):
            return NotImplemented
        return registry.serialize(self.get_config()) == registry.serialize(other.get_config())

    __hash__ = object.__hash__


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except ValueError:  # arrays
        return False


def _is_field_class(cls: type) -> bool:
    return getattr(cls.__init__, "_made_from_fields", False)


def _revive(value: Any) -> Any:
    if isinstance(value, Mapping) and "class_name" in value and "config" in value:
        return registry.deserialize(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_revive(v) for v in value)
    return value


def _make_init(cls: Any) -> Callable[..., None]:
    fields: dict[str, Field] = cls._fields
    positional = [f.name for f in fields.values() if not f.kw_only]

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if len(args) > len(positional):
            raise SignatureError(
                f"{type(self).__name__}() takes at most {len(positional)} positional arguments "
                f"({', '.join(positional)}). Received {len(args)}."
            )
        given = dict(zip(positional, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise SignatureError(
                    f"{type(self).__name__}() got two values for argument `{name}`."
                )
            given[name] = value
        for name, value in given.items():
            if is_symbolic(value):
                raise SignatureError(
                    f"{type(self).__name__}(): `{name}` received the tensor {value.name!r}. A "
                    f"layer is made first and called then: `{type(self).__name__}(...)(x)`."
                )
        extra = self._accept_extra({k: given.pop(k) for k in list(given) if k not in fields})
        if extra:
            unknown = unknown_name(
                f"argument of {type(self).__name__}()", next(iter(extra)), fields
            )
            raise SignatureError(str(unknown))
        for name, f in fields.items():
            value = given.get(name, f.default)
            if value is MISSING:
                raise SignatureError(f"{type(self).__name__}() needs the argument `{name}`.")
            if f.convert is not None:
                try:
                    value = f.convert(value)
                except ArgumentError as e:
                    raise type(e)(f"{type(self).__name__}(): `{name}`: {e}") from e
            object.__setattr__(self, name, value)
        self.__post_init__()

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for f in fields.values():
        kind = (
            inspect.Parameter.KEYWORD_ONLY if f.kw_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
        )
        default = inspect.Parameter.empty if f.default is MISSING else f.default
        parameters.append(inspect.Parameter(f.name, kind, default=default))
    required_first = sorted(
        parameters[1:], key=lambda p: (p.kind, p.default is not inspect.Parameter.empty)
    )
    __init__.__signature__ = inspect.Signature([parameters[0], *required_first])  # pyright: ignore[reportFunctionMemberAccess]
    __init__._made_from_fields = True  # pyright: ignore[reportFunctionMemberAccess]
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


# ---- readers for the commonest kinds of argument -----------------------------------------------


def positive_int(value: Any) -> int:
    """Read a size: an integer above zero."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) <= 0:
        raise ArgumentError(f"expected a positive integer. Received: {value!r}.")
    return int(value)


def int_tuple(rank: int, *, minimum: int = 1) -> Callable[[Any], tuple[int, ...]]:
    """Reader of ``rank`` integers, or one integer for all: ``3`` and ``(3, 3)`` mean the same."""
    return functools.partial(_int_tuple, rank=rank, minimum=minimum)


def _int_tuple(value: Any, *, rank: int, minimum: int) -> tuple[int, ...]:
    several = isinstance(value, Iterable) and not isinstance(value, str)
    values: tuple[Any, ...] = tuple(value) if several else (value,) * rank
    whole = all(hasattr(v, "__index__") and not isinstance(v, bool) for v in values)
    if len(values) != rank or not whole or min(values) < minimum:
        raise ArgumentError(
            f"expected an integer >= {minimum} or {rank} of them. Received: {value!r}."
        )
    return tuple(int(v) for v in values)


def one_of(*choices: Any) -> Callable[[Any], Any]:
    """Reader of a word from a fixed list; case does not matter."""

    def read(value: Any) -> Any:
        word = value.lower() if isinstance(value, str) else value
        if word not in choices:
            raise ArgumentError(f"expected one of {list(choices)}. Received: {value!r}.")
        return word

    return read
