"""Constructor arguments, declared once.

A class that declares fields gets ``__init__``, ``get_config``, ``from_config``, ``repr`` and
equality from them::

    class Scale(Configurable):
        factor: float
        axis: int = -1


    Scale(2.0).get_config()  # {"factor": 2.0, "axis": -1}

The fields of a class are those of its base classes, then its own; a field that is declared again
moves to its new position. ``class Base(Configurable, kw_only=True)`` makes all fields of a class
keyword-only. With ``trailing=True`` they come after those of derived classes, so that arguments
with which the signatures of many classes end are declared once. Type checkers cannot express this
order (see PEP 681), so such a class adds ``kw_only=True``, which then affects type checkers only.
``positional="units activation"`` names the fields that come first and may be passed by position,
where Keras's order follows no other rule; it also applies to derived classes, and so does
``without="activation"``, which takes inherited fields away.

For a class with its own ``__init__``, the arguments of each construction are recorded instead, so
it has a ``get_config`` too.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Self, SupportsFloat, dataclass_transform

import jax
import numpy as np

from lamina.core.arguments import Captured
from lamina.core.graph import is_symbolic
from lamina.core.tracking import PLAIN, only_stores, same
from lamina.errors import (
    ArgumentError,
    LaminaError,
    NotBuiltError,
    SerializationError,
    SignatureError,
    unknown_name,
)
from lamina.serialization import registry, shared
from lamina.serialization.deferred import converted
from lamina.serialization.text import reads_config

MISSING: Any = object()
Reader = Callable[[Any], Any]


class ForRank:
    """A converter that depends on the ``rank`` of the class, the number of spatial axes."""

    def __init__(self, make: Callable[[int], Reader]) -> None:
        self.make = make


class Field:
    """One constructor argument: its default and its converter."""

    __slots__ = ("convert", "default", "in_config", "kw_only", "name", "trailing")

    def __init__(
        self, default: Any, convert: Reader | ForRank | None, kw_only: bool, in_config: bool = True
    ) -> None:
        self.default, self.convert, self.kw_only = default, convert, kw_only
        self.name, self.trailing, self.in_config = "", False, in_config

    def by_position(self) -> Field:
        """The same field, which may be given by position."""
        field = Field(self.default, self.convert, False, self.in_config)
        field.name = self.name
        return field

    def read(self, value: Any, cls: type) -> Any:
        """Convert an argument passed to a constructor of ``cls``."""
        if self.convert is None:
            return value
        if isinstance(self.convert, ForRank):
            return self.convert.make(cls.rank)(value)  # pyright: ignore[reportAttributeAccessIssue]
        return self.convert(value)


def field(
    default: Any = MISSING,
    *,
    convert: Reader | ForRank | None = None,
    kw_only: bool = False,
    in_config: bool = True,
) -> Any:
    """Declare a constructor argument that needs more than a default value.

    Type checkers see a default only where it is given by name: ``field(default=None)``.

    Args:
        default: The default value; without it the argument is required.
        convert: Converts the argument (or the default) to the value that is stored.
        kw_only: Whether the argument is keyword-only.
        in_config: Whether the argument is part of the config. If not, such as initial weights, it
            is stored as the attribute ``_given_<name>``.
    """
    return Field(default, convert, kw_only, in_config)


def fields_of(cls: type[Configurable], beyond: type[Configurable] | None = None) -> list[str]:
    """The names of the constructor arguments of ``cls`` that the class ``beyond`` does not have."""
    inherited = {} if beyond is None else beyond._fields
    return [name for name in cls._fields if name not in inherited]


def _declared(cls: type, trailing: bool, kw_only: bool) -> dict[str, Field]:
    own: dict[str, Field] = {}
    for name, annotation in inspect.get_annotations(cls).items():
        if name.startswith("_") or "ClassVar" in str(annotation):
            continue
        value = cls.__dict__.get(name, MISSING)
        # A copy: one `field(...)` may serve several classes.
        given = value if isinstance(value, Field) else Field(value, None, False)
        by_name = given.kw_only or (kw_only and not trailing)
        own[name] = declared = Field(given.default, given.convert, by_name, given.in_config)
        declared.name, declared.trailing = name, trailing
        if value is not MISSING:
            delattr(cls, name)
    return own


@dataclass_transform(field_specifiers=(field,))
class Configurable(Captured):
    """Base class of everything that has a config: see the docstring of the module."""

    _fields: ClassVar[dict[str, Field]] = {}
    _own_fields: ClassVar[dict[str, Field]] = {}
    _positional: ClassVar[tuple[str, ...]] = ()
    _without: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(
        cls, *, trailing: bool = False, kw_only: bool = False, positional: str = "",
        without: str = "", **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init_subclass__(**kwargs)
        if positional:
            cls._positional = tuple(positional.split())
        if without:
            cls._without = tuple(without.split())
        owner = next(c for c in cls.__mro__ if "__init__" in c.__dict__)
        if owner is not Configurable and (owner is cls or not is_field_class(owner)):
            return
        cls._own_fields = _declared(cls, trailing, kw_only)
        declaring = [c for c in cls.__mro__ if "_own_fields" in c.__dict__]
        if (
            not cls._own_fields
            and not positional
            and not without
            and len([b for b in cls.__bases__ if issubclass(b, Configurable)]) < 2
        ):
            return
        merged: dict[str, Field] = {}
        for base in reversed(declaring):
            for name, declared in base.__dict__["_own_fields"].items():
                merged.pop(name, None)
                merged[name] = declared
        for name in cls._without:
            del merged[name]
        first = {name: merged.pop(name).by_position() for name in cls._positional}
        rest = sorted(merged.values(), key=lambda f: (f.kw_only, f.trailing))
        cls._fields = {**first, **{f.name: f for f in rest}}
        cls.__init__ = _make_init(cls)  # pyright: ignore[reportAttributeAccessIssue]

    def __init__(self) -> None:
        self.__post_init__()

    def __post_init__(self) -> None:
        """Called after all fields are set, to validate them and to derive further attributes."""

    if not TYPE_CHECKING:  # where it would make every name an attribute

        def __getattr__(self, name: str) -> Any:
            """Say that the constructor of the base class was not called, if that is why."""
            cls, own = type(self), vars(self)
            stored = (n for f in cls._fields for n in (f, f"_given_{f}"))
            if not name.startswith("__") and cls._fields and not any(n in own for n in stored):
                raise NotBuiltError(
                    f"{cls.__name__}.__init__ did not call `super().__init__()`. Add it as the "
                    "first line of the constructor."
                )
            return object.__getattribute__(self, name)  # with the error that brought us here

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name, as data for :meth:`from_config`."""
        cls = type(self)
        owner = next(c for c in cls.__mro__ if "get_config" in c.__dict__)
        if not is_field_class(cls) and registry.registration_of(owner):
            given = self.captured_arguments()
            known = registry.registration_of(cls) is not None
            return {k: as_data(v) for k, v in given.items()} if known else given
        return {name: as_data(getattr(self, name)) for name in cls.config_fields()}

    @classmethod
    def config_fields(cls) -> list[str]:
        """The names of the constructor arguments that are part of the config."""
        return [name for name, f in cls._fields.items() if f.in_config]

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Process constructor arguments that are not fields; return the unknown ones."""
        return extra

    @classmethod
    @reads_config
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Create an object from the data that :meth:`get_config` returned, of Keras 1 to 3 too."""
        try:
            return cls(**{k: _revive(v) for k, v in config.items()})._from_config()
        except (LaminaError, TypeError, ValueError):
            declared = registry.registration_of(cls)
            if declared is None or declared.namespace is None:
                raise
            record = {"class_name": declared.name, "config": config}
            old = converted(record, declared.namespace)
            if old is None or old["class_name"] != declared.name:
                raise
            return cls(**{k: _revive(v) for k, v in old["config"].items()})._from_config()

    def _from_config(self) -> Self:
        """The object, which has just been created from a config."""
        return self

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v}" for k, v in self._repr_items())
        return f"{type(self).__name__}({shown})"

    def _repr_items(self) -> list[tuple[str, str]]:
        items = []
        for name, f in type(self)._fields.items():
            if name not in self.__dict__:
                continue
            value, default = self.__dict__[name], f.default
            if default is not MISSING and not callable(default):
                default = f.read(default, type(self))
            if default is MISSING or not same(value, default):
                shown = value.__name__ if inspect.isfunction(value) else repr(value)
                items.append((name, shown))
        return items

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Configurable):
            return NotImplemented
        return registry.serialize(self.get_config()) == registry.serialize(other.get_config())

    __hash__ = object.__hash__


def as_data(value: Any) -> Any:
    """An argument in a config: as data, if that leads back to it; numbers and arrays as they are.

    What is neither built in nor registered, such as an initializer of your own, stays an object, so
    that ``from_config(get_config())`` works. In a file, all must be data.
    """
    if not _has_objects(value):
        return value
    try:
        data = registry.serialize(value)
    except SerializationError:
        return value
    return data if shared.described_so_far() is not None or _leads_back(data) else value


def _has_objects(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_objects, value))
    if isinstance(value, dict):
        return any(map(_has_objects, value.values()))
    return not isinstance(value, (str, int, float, np.generic, np.ndarray, jax.Array, NoneType))


def _leads_back(data: Any) -> bool:
    if isinstance(data, list):
        return all(map(_leads_back, data))
    if not isinstance(data, dict):
        return True
    return ("class_name" not in data or registry.is_known(data)) and all(
        map(_leads_back, data.values())
    )


def arguments_shown(x: Configurable) -> list[tuple[str, str]]:
    """Names and values, as text, of the arguments that differ from their defaults."""
    return x._repr_items()


def is_field_class(cls: type) -> bool:
    """Whether the constructor was generated from the fields."""
    return getattr(cls.__init__, "_made_from_fields", False)


def _revive(value: Any) -> Any:
    """Deserialize the records in a config, at any depth of lists and dicts."""
    if isinstance(value, Mapping) and registry.registration_of(type(value)) is None:
        if "class_name" in value and "config" in value:
            return registry.deserialize(value)
        return {k: _revive(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_revive(v) for v in value]
    return tuple(map(_revive, value)) if type(value) is tuple else value


@functools.lru_cache(maxsize=1024)
def _only_stored(cls: type[Configurable]) -> frozenset[str]:
    """The fields whose plain values a constructor may store without ``setattr``."""
    fields = cls._fields.items()
    return frozenset(name for name, f in fields if f.in_config and only_stores(cls, name))


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
                    f"{type(self).__name__}(): `{name}` received the tensor {value.name!r}. "
                    f"Create the layer first, then call it: `{type(self).__name__}(...)(x)`."
                )
        extra = self._accept_extra({k: given.pop(k) for k in list(given) if k not in fields})
        if extra:
            unknown = unknown_name(
                f"argument of {type(self).__name__}()", next(iter(extra)), fields
            )
            raise SignatureError(unknown.subject)
        own, stored = vars(self), _only_stored(type(self))
        for name, f in fields.items():
            value = given.get(name, f.default)
            if value is MISSING:
                raise SignatureError(f"{type(self).__name__}() needs the argument `{name}`.")
            try:
                value = f.read(value, type(self))
            except ArgumentError as e:
                raise e.with_details(f"{type(self).__name__}(): `{name}`") from e
            if type(value) in PLAIN and name in stored and name not in own:
                own[name] = value
            else:
                setattr(self, name if f.in_config else f"_given_{name}", value)
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


# ---- converters of common kinds of arguments ---------------------------------------------------


def is_integer(value: Any) -> bool:
    """Whether ``value`` is a Python, NumPy or JAX integer; booleans are not.

    >>> is_integer(3), is_integer(True), is_integer(3.0)
    (True, False, False)
    """
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)


def optional(read: Reader | ForRank) -> Any:
    """Converter of None, or of what ``read`` accepts.

    >>> optional(positive_int)(None), optional(positive_int)(2)
    (None, 2)
    """
    if isinstance(read, ForRank):
        return ForRank(lambda rank: optional(read.make(rank)))
    return lambda value: None if value is None else read(value)


def integer(value: Any) -> int:
    """Check an integer, such as an axis.

    >>> integer(-1)
    -1
    """
    if not is_integer(value):
        raise ArgumentError(f"expected an integer. Received: {value!r}.")
    return int(value)


def positive_int(value: Any) -> int:
    """Check an integer above zero."""
    if not is_integer(value) or int(value) <= 0:
        raise ArgumentError(f"expected a positive integer. Received: {value!r}.")
    return int(value)


def number(interval: str) -> Reader:
    """Converter of a number in an interval, written as in mathematics.

    Args:
        interval: For example ``"[0, 1)"``: brackets include an end, parentheses exclude it.

    >>> number("(0, inf)")(2)
    2
    >>> number("[0, 1]")(1.5)
    Traceback (most recent call last):
    ...
    lamina.errors.ArgumentError: expected a number in [0, 1]. Received: 1.5.
    """
    low, high = map(float, interval[1:-1].split(","))

    def is_inside(x: float) -> bool:
        above = low <= x if interval[0] == "[" else low < x
        return above and (x <= high if interval[-1] == "]" else x < high)

    def read(value: Any) -> Any:
        is_number = isinstance(value, SupportsFloat) and not isinstance(value, bool)
        if not is_number or not is_inside(float(value)):
            raise ArgumentError(f"expected a number in {interval}. Received: {value!r}.")
        return value if isinstance(value, (int, float)) else float(value)

    return read


def integers(value: Any) -> tuple[int, ...]:
    """Convert one integer or several, such as axes, to a tuple.

    >>> integers(-1), integers([1, 2])
    ((-1,), (1, 2))
    """
    values = (value,) if is_integer(value) else value
    if not isinstance(values, (list, tuple)) or not all(map(is_integer, values)):
        raise ArgumentError(f"expected an integer or a list of them. Received: {value!r}.")
    return tuple(int(v) for v in values)


def axis_or_axes(value: Any) -> int | tuple[int, ...]:
    """Convert one axis to an integer, several to a tuple.

    >>> axis_or_axes(-1), axis_or_axes([1, 2])
    (-1, (1, 2))
    """
    return int(value) if is_integer(value) else integers(value)


def int_tuple(rank: int, *, minimum: int = 1) -> Callable[[Any], tuple[int, ...]]:
    """Converter of ``rank`` integers, or one for all: ``3`` and ``(3, 3)`` are the same."""
    return functools.partial(_int_tuple, rank=rank, minimum=minimum)


def _int_tuple(value: Any, *, rank: int, minimum: int) -> tuple[int, ...]:
    several = isinstance(value, Iterable) and not isinstance(value, str)
    values: tuple[Any, ...] = tuple(value) if several else (value,) * rank
    if len(values) != rank or not all(map(is_integer, values)) or min(values) < minimum:
        raise ArgumentError(
            f"expected an integer >= {minimum} or {rank} of them. Received: {value!r}."
        )
    return tuple(int(v) for v in values)


per_axis = ForRank(int_tuple)
"""Converter of one positive integer for each spatial axis of the class, or one for all."""


def one_of(*choices: Any) -> Reader:
    """Converter of one of the given strings, in any letter case."""

    def read(value: Any) -> Any:
        word = value.lower() if isinstance(value, str) else value
        if word not in choices:
            raise ArgumentError(f"expected one of {list(choices)}. Received: {value!r}.")
        return word

    return read
