"""A named slot for an array: weights, statistics, counters, optimizer state."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core import naming
from lamina.core.scope import Scope, current
from lamina.core.tracking import Trackable
from lamina.dtype_policies.dtypes import canonical, is_float, standardize_dtype
from lamina.errors import ShapeError, StateError


@runtime_checkable
class DrawsFor(Protocol):
    """An initializer that draws the values of a variable by what the variable is."""

    def draw_for(self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str) -> Any:
        """Values of that shape, a function of ``parts``."""
        ...


class LiveState(Protocol):
    """Where the values of a running training live; variables bound to it read and write there."""

    def get(self, group: str, address: str) -> Any:
        """The array, to compute with at once."""
        ...

    def lend(self, group: str, address: str) -> Any:
        """The array, which the state will not give to a step that consumes its buffers."""
        ...

    def replace(self, group: str, address: str, value: Any) -> None:
        """Put another array in its place."""
        ...


class VariableOwner(Protocol):
    """What a variable asks of the object that made it."""

    @property
    def path(self) -> str:
        """Names from the outermost object down, joined by slashes."""
        ...


class Variable(Trackable):
    """A named array that layers and optimizers read and replace.

    Its value is made on first use, from ``initializer``, the seed and the variable's place among
    those made since the seed was set: making a variable costs nothing, and adding one layer changes
    no other layer's initial values. A variable can stand wherever JAX takes an array.

    Args:
        initializer: An array, or a callable ``(shape, dtype) -> array``.
        shape: Needed when ``initializer`` is a callable.
        dtype: Dtype of the value; the initial array's, or ``floatx``, when None.
        trainable: Whether an optimizer may change it.
        name: Its name within its owner.
        owner: The layer, metric or optimizer that it belongs to.
        draw_path: What its initial values are drawn for; made from the names when None.

    >>> v = Variable(np.zeros(3, "float32"), name="total")
    >>> v.assign(np.ones(3))
    Array([1., 1., 1.], dtype=float32)
    >>> float(jnp.sum(v))
    3.0
    """

    __slots__ = (
        "__weakref__", "_address", "_draw", "_group", "_lent", "_live", "_owner", "_scopes",
        "_value", "autocast", "constraint", "dtype", "initializer", "is_weight", "name",
        "regularizer", "shape", "trainable",
    )  # fmt: skip
    tracked_as = "variable"

    def __init__(
        self,
        initializer: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        *,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        owner: VariableOwner | None = None,
        draw_path: str | None = None,
    ) -> None:
        self.name = naming.check_name(name or naming.auto_name("variable"), "variable")
        self._owner = None if owner is None else weakref.ref(owner)
        self._scopes = naming.current_name_scopes()
        # Freezing a layer stops its weights, and never lets its statistics train.
        self.trainable = self.is_weight = trainable
        self.autocast = autocast
        self.regularizer, self.constraint = regularizer, constraint
        self._live: LiveState | None = None
        self._group = self._address = ""
        self._value: Any = None
        self._lent = False
        self._draw: tuple[Any, ...] = ()
        if callable(initializer):
            if shape is None or any(not isinstance(d, (int, np.integer)) for d in shape):
                raise ShapeError(
                    f"Variable {self.path!r} needs a shape of numbers. Received: shape={shape}. "
                    "A weight cannot depend on a dimension that is not known while building; give "
                    "the `Input` a number on that axis."
                )
            self.initializer = initializer
            self.shape = tuple(int(d) for d in shape)
            self.dtype = canonical(standardize_dtype(dtype))
            self._draw = (settings.global_seed(), naming.draw_name(draw_path or self.path))
        else:
            value = initializer if isinstance(initializer, jax.Array) else np.asarray(initializer)
            wanted = dtype or (settings.floatx() if value.dtype == np.float64 else value.dtype)
            self.initializer = None
            self.dtype = canonical(standardize_dtype(wanted))
            self.shape = tuple(value.shape)
            self._set(value)
            if shape is not None and tuple(shape) != self.shape:
                raise ShapeError(
                    f"Variable {self.path!r} was declared with shape {tuple(shape)}. "
                    f"Received an initial value of shape {self.shape}."
                )

    @property
    def path(self) -> str:
        """Its owner's path and its name, as they are now: ``"encoder/dense/kernel"``."""
        owner = None if self._owner is None else self._owner()
        own = self.name if owner is None else f"{owner.path}/{self.name}"
        return "/".join((*self._scopes, own)) if self._scopes else own

    @property
    def value(self) -> Any:
        """The array: the one bound by the call in progress, or the variable's own."""
        scope = current()
        if scope is None:
            return self._own()
        found = self._bound(scope)
        if self.autocast and scope.compute_dtype and is_float(self.dtype):
            found = jnp.asarray(found, scope.compute_dtype)
        return found

    def _bound(self, scope: Scope) -> Any:
        """The value without the compute dtype's cast."""
        found = scope.record.updates.get(self)
        if found is None:
            found = scope.values.get(self)
        if found is not None:
            return found
        if scope.pure:
            scope.record.unbound[self] = None
        return jnp.zeros(self.shape, self.dtype) if scope.abstract else self._own()

    def _own(self) -> Any:
        if self._live is not None:
            return self._live.lend(self._group, self._address)
        self._lent = True
        return self._array()

    def _array(self) -> Any:
        if self._value is None:
            self._value = self._initial()
            # A user's function may return an array that it keeps.
            self._lent = self._lent or not isinstance(self.initializer, DrawsFor)
        return self._value

    def _set(self, value: Any) -> None:
        """Hold ``value``; an array that somebody else may hold too counts as lent."""
        self._value = _concrete(value, self.dtype)
        self._lent = self._value is value

    def _initial(self) -> Any:
        value: Any
        with jax.ensure_compile_time_eval():
            if isinstance(self.initializer, DrawsFor):
                value = self.initializer.draw_for(self._draw, self.shape, self.dtype)
            else:
                value = self.initializer(self.shape, dtype=self.dtype)  # pyright: ignore[reportOptionalCall]
        if tuple(np.shape(value)) != self.shape:
            raise ShapeError(
                f"The initializer {self.initializer!r} of variable {self.path!r} was asked for "
                f"shape {self.shape}. It returned {tuple(np.shape(value))}."
            )
        return _concrete(value, self.dtype)

    @property
    def is_initialized(self) -> bool:
        """Whether the array exists yet; reading :attr:`value` makes it."""
        return self._value is not None or self._live is not None

    def assign(self, value: Any) -> Any:
        """Replace the value.

        Args:
            value: An array of the variable's shape; cast to its dtype.

        Returns:
            The new value.

        Raises:
            ShapeError: Another shape.
            StateError: Inside a ``jit`` of your own, where the new value would be lost.
        """
        value = value.value if isinstance(value, Variable) else value
        shape = tuple(np.shape(value))
        if shape != self.shape:
            raise ShapeError(
                f"Variable {self.path!r} has shape {self.shape}. Received a value of shape {shape}."
            )
        scope = current()
        if scope is not None and scope.pure:
            scope.record.updates[self] = new = jnp.asarray(value, self.dtype)
            return new
        if isinstance(value, jax.core.Tracer):
            raise StateError(
                f"Variable {self.path!r} was assigned a traced value outside of a stateless call, "
                "where it would be lost. Use `stateless_call(...)` inside your own jit or grad."
            )
        if self._live is not None:
            new = _concrete(value, self.dtype)
            self._live.replace(self._group, self._address, copied(new) if new is value else new)
            return new
        self._set(value)
        return self._value

    def assign_add(self, value: Any) -> Any:
        """Add ``value`` to the variable."""
        return self.assign(self._raw() + value)

    def assign_sub(self, value: Any) -> Any:
        """Subtract ``value`` from the variable."""
        return self.assign(self._raw() - value)

    def _raw(self) -> Any:
        scope = current()
        return self._own() if scope is None else self._bound(scope)

    def bind(self, live: LiveState, group: str, address: str) -> Callable[[Any, bool], None]:
        """Live in ``live`` under ``group`` and ``address``.

        Returns:
            ``release(value, lent)``, which gives the variable a value of its own again (or gives it
            to the state that it lived in before); ``lent``: whether somebody else may hold it.
        """
        before = self._live, self._group, self._address
        old, old_lent = self._value, self._lent
        self._live, self._group, self._address = live, group, address
        self._value = None

        def release(value: Any, lent: bool) -> None:
            self._live, self._group, self._address = before
            if self._live is None:
                self._value, self._lent = value, lent or (old_lent and value is old)
            elif self._live.get(self._group, self._address) is not value:
                self._live.replace(self._group, self._address, copied(value) if lent else value)
            elif lent:
                self._live.lend(self._group, self._address)

        return release

    def numpy(self) -> np.ndarray:
        """A NumPy copy of the value."""
        return np.array(self.value)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.value, dtype=dtype)

    def __jax_array__(self) -> Any:
        return self.value

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}>"

    def __getattr__(self, name: str) -> Any:
        # Methods of arrays (sum, mean, T, at, astype, reshape, ...) work on the value.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.value, name)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __len__(self) -> int:
        return len(self.value)

    __hash__ = object.__hash__


def _concrete(value: Any, dtype: str) -> Any:
    with jax.ensure_compile_time_eval():
        if not isinstance(value, jax.Array):
            value = np.array(value, jnp.dtype(dtype))  # JAX would compile a program to convert it
        return jnp.asarray(value, dtype)


def copied(values: Any) -> Any:
    """Copies of arrays in any nesting, where they are; without a program to be compiled for it."""
    return jax.device_put(values, may_alias=False)


def _operator(name: str) -> Callable[..., Any]:
    def apply(self: Variable, *args: Any) -> Any:
        args = tuple(a.value if isinstance(a, Variable) else a for a in args)
        return getattr(self.value, name)(*args)

    return apply


_BINARY = "add sub mul truediv floordiv mod pow matmul and or xor".split()
_PLAIN = "neg abs invert getitem lt le gt ge".split()
OPERATORS = [f"__{side}{name}__" for name in _BINARY for side in ("", "r")]
OPERATORS += [f"__{name}__" for name in _PLAIN]
for _name in OPERATORS:
    setattr(Variable, _name, _operator(_name))

# As a one-leaf pytree a variable passes through every function of jax.numpy as its array.
jax.tree_util.register_pytree_node(
    Variable, lambda v: ((v.value,), None), lambda _, children: children[0]
)


def read(variables: Mapping[str, Variable]) -> dict[str, Any]:
    """The arrays of ``variables`` by address, to compute with: nobody may keep or change them."""
    return {a: v._value if v._value is not None else _peek(v) for a, v in variables.items()}


def _peek(variable: Variable) -> Any:
    live = variable._live
    return variable._array() if live is None else live.get(variable._group, variable._address)


def take(variables: Mapping[str, Variable]) -> dict[str, Any]:
    """The arrays of ``variables`` by address, for a step that consumes their buffers.

    What somebody else may hold is copied. Follow with :func:`put`, whatever happens.
    """
    return {
        a: v._value if v._value is not None and not v._lent else _mine(v)
        for a, v in variables.items()
    }


def _mine(variable: Variable) -> Any:
    value = _peek(variable)  # making it may show that somebody else holds it
    return value if variable._live is None and not variable._lent else copied(value)


def put(variables: Mapping[str, Variable], values: Mapping[str, Any]) -> None:
    """Let ``variables`` hold the arrays that a step returned."""
    for address, variable in variables.items():
        live = variable._live
        if live is None:
            variable._value, variable._lent = values[address], False
        else:  # part of another running training
            live.replace(variable._group, variable._address, values[address])
