"""Calls of built-in layers on arrays, outside of a compiled step: each is one compiled program.

JAX would dispatch every operation of such a call by itself, which takes several times as long as
the computation of a small layer. A program is shared by all layers with equal arguments.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import threading
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from lamina import settings
from lamina.core import spec
from lamina.core.scope import Record, Scope, current, entered
from lamina.core.variable import Variable, read
from lamina.layers.arguments import is_plain_array, shaping_fields
from lamina.layers.methods import LayerMethods
from lamina.layers.snapshot import Structure
from lamina.layers.state import LayerState
from lamina.runtime import xla
from lamina.serialization.registry import find_builtin, registration_of
from lamina.tree import nested

_MOST = 4096  # programs in the process
_ARRAYS = (jax.Array, np.ndarray)

_numbers: dict[Hashable, int] = {}  # short keys for the arguments of layers
_count = itertools.count()
_programs: dict[Hashable, _Program | None] = {}  # None: the call cannot be compiled
_lock = threading.Lock()
_calling = threading.local()


def run(
    layer: LayerState, call: Callable[..., Any], positional: list[Any], keywords: dict[str, Any]
) -> Any:
    """What ``call(*positional, **keywords)`` returns, compiled where that makes no difference.

    That is, for built-in layers outside of training, whose call has no effect besides its result.

    Args:
        layer: The layer, whose scope is the current one.
        call: Its computation.
        positional: The positional arguments.
        keywords: The keyword arguments.
    """
    scope = current()
    if scope is None or not _is_plain(scope) or not _can_be_compiled(type(layer)):
        return call(*positional, **keywords)
    known = _known(layer)
    arrays, static = _separated(positional, keywords)
    if known.number is None or static is None:
        return call(*positional, **keywords)
    key = (known.number, static, scope.compute_dtype, *settings.read_by_calls())
    program = _programs[key] if key in _programs else _Program()
    if program is not None:
        with contextlib.suppress(Exception):  # raised below, if it is an error of the call
            found = program(_Call(scope, call, positional, keywords, known.variables), arrays)
            _keep(key, program)
            return found
    found = call(*positional, **keywords)
    _keep(key, None)
    return found


def _is_plain(scope: Scope) -> bool:
    return not (
        scope.pure or scope.abstract or scope.training or scope.building is not None
        or scope.key is not None or scope.hook is not None or scope.host is not None
    )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _can_be_compiled(cls: type[LayerState]) -> bool:
    registered = registration_of(cls)
    return (
        registered is not None and registered.namespace == "layers"
        # What layers for data have learned from data is not among their arguments.
        and not cls.runs_on_host and cls.for_worker is LayerMethods.for_worker
    )  # fmt: skip


def _separated(positional: list[Any], keywords: dict[str, Any]) -> tuple[list[Any], Hashable]:
    """The arrays among the arguments, and a key of everything else; None if there is none."""
    arrays: list[Any] = []
    static: list[Any] = []
    for x in (*positional, *keywords.values()):
        if isinstance(x, _ARRAYS):
            arrays.append(x)
            static.append("*")
        elif x is None or type(x) is bool:
            static.append(x)
        else:
            arrays += (a for a in nested.flatten(x) if isinstance(a, _ARRAYS))
            shown = nested.map_structure(lambda a: "*" if isinstance(a, _ARRAYS) else a, x)
            static.append(spec.freeze(shown))
            if static[-1] is None:
                return arrays, None
    if not all(map(is_plain_array, arrays)):
        return arrays, None
    return arrays, (len(positional), *keywords, *static)


def _keep(key: Hashable, program: _Program | None) -> None:
    if key in _programs and _programs[key] is program:
        return
    with _lock:
        _programs[key] = program
        if len(_programs) > _MOST:
            _programs.clear()
            _numbers.clear()


class _Known(Structure):
    """What is known of a layer until it changes: its variables, and the key of its arguments."""

    __slots__ = ("number", "variables")

    def __init__(self, layer: LayerState) -> None:
        super().__init__(layer)
        self.variables = {str(i): v for i, v in enumerate(layer.variables)}
        self.number: int | None = None
        with contextlib.suppress(TypeError, AttributeError):
            layers = (layer, *self._inner)
            key = (*map(_key_of, layers), *map(_kind_of, self.variables.values()))
            self.number = _numbers.setdefault(key, next(_count))

    def __reduce__(self) -> Any:
        return type(None), ()  # the number means nothing in another process


def _known(layer: LayerState) -> _Known:
    known = layer.__dict__.get("_eager_call")
    if known is None or not known.is_current(layer):
        known = layer.__dict__["_eager_call"] = _Known(layer)
    return known


def _key_of(layer: Any) -> Hashable:
    """What the call of a layer depends on, besides its variables; TypeError if that is unknown."""
    cls = type(layer)
    names = cls.config_fields()
    functions = (n for n, x in vars(layer).items()
                 if callable(x) and n not in names and not isinstance(x, LayerState))  # fmt: skip
    if not _can_be_compiled(cls) or any(hasattr(cls, n) for n in functions):
        raise TypeError  # the user has replaced a method
    fields = [_field(getattr(layer, name)) for name in shaping_fields(cls)]
    key = spec.freeze(cls, layer.dtype_policy.name, fields, layer.get_build_config())
    if key is None:
        raise TypeError
    return key


def _field(value: Any) -> Any:
    if isinstance(value, LayerState):
        return "layer"  # which is one of `flatten_layers`
    if isinstance(value, (list, tuple)):
        return [_field(x) for x in value]
    if callable(value) and not any(
        find_builtin(space, value.__name__) is value for space in ("activations", "ops")
    ):
        raise TypeError  # a function of the user may have effects
    return value


def _kind_of(variable: Variable) -> Hashable:
    if variable.layout is not None:
        raise TypeError
    return variable.shape, variable.dtype


@dataclasses.dataclass(slots=True)
class _Call:
    """A call for which a program may have to be traced."""

    scope: Scope
    call: Callable[..., Any]
    positional: list[Any]
    keywords: dict[str, Any]
    variables: dict[str, Variable]


class _Program:
    """The compiled call of all layers with the same arguments."""

    def __init__(self) -> None:
        self._compiled = xla.jit(self._layer_call)
        self._structure: Any = None
        self._is_traced = False

    def __call__(self, call: _Call, arrays: list[Any]) -> Any:
        values = read(call.variables)
        _calling.call = call
        try:
            if not (self._is_traced or self._compiled.trace(values, arrays).jaxpr.eqns):
                raise TypeError  # it returns its arguments
            leaves = self._compiled(values, arrays)
        finally:
            _calling.call = None
        return nested.unflatten(self._structure, leaves)

    def _layer_call(self, values: dict[str, Any], arrays: list[Any]) -> list[Any]:
        call = _calling.call
        given = iter(arrays)
        positional, keywords = nested.map_structure(
            lambda x: next(given) if isinstance(x, _ARRAYS) else x,
            (call.positional, call.keywords),
        )
        bound = {v: values[i] for i, v in call.variables.items()}
        scope = dataclasses.replace(call.scope, values=bound, pure=True, record=Record())
        with entered(scope):
            outputs = call.call(*positional, **keywords)
        leaves = nested.flatten(outputs)
        if scope.record != Record() or not all(isinstance(x, jax.Array) for x in leaves):
            raise TypeError
        self._structure = nested.map_structure(lambda _: None, outputs)
        self._is_traced = True
        return leaves
