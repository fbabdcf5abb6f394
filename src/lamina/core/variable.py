"""A named slot for an array: weights, statistics, counters, optimizer state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core import naming, prng
from lamina.core.scope import current
from lamina.dtype_policies.dtypes import canonical, is_float, standardize_dtype
from lamina.errors import ShapeError, StateError


class Cell:
    """Where the values of a running training live: ``state[group][address]``.

    The loop puts the whole state in after each step, so reading a variable reads the live value.
    """

    __slots__ = ("state",)

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def replace(self, group: str, address: str, value: Any) -> None:
        """Change one value, leaving the dictionaries that others may hold as they are."""
        self.state = {**self.state, group: {**self.state[group], address: value}}


class Variable:
    """A named array that layers and optimizers read and replace.

    Its value is made on first use, from ``initializer``, the global seed and the path alone: making
    a variable costs nothing, and adding one layer changes no other layer's initial values.
    A variable can stand wherever JAX takes an array.

    Args:
        initializer: an array, or a callable ``(shape, dtype) -> array``.
        shape: needed when ``initializer`` is a callable.
        dtype: dtype of the value; the initial array's, or ``floatx``, when None.
        trainable: whether an optimizer may change it.
        name: its name within its owner.
        path: its full address, such as ``"encoder/dense/kernel"``; the name by default.

    >>> v = Variable(np.zeros(3, "float32"), name="total")
    >>> v.assign(np.ones(3))
    >>> float(jnp.sum(v))
    3.0
    """

    __slots__ = (
        "__weakref__", "_address", "_cell", "_group", "_occurrence", "_seed", "_value", "autocast",
        "constraint", "dtype", "initializer", "name", "path", "regularizer", "shape", "trainable",
    )  # fmt: skip

    def __init__(
        self,
        initializer: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        path: str | None = None,
        *,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> None:
        self.name = naming.check_name(name or naming.auto_name("variable"), "variable")
        self.path = path or self.name
        self.trainable = trainable
        self.autocast = autocast
        self.regularizer, self.constraint = regularizer, constraint
        self._cell: Cell | None = None
        self._group = self._address = ""
        self._value: Any = None
        self._seed = settings.global_seed()
        self._occurrence = naming.occurrence(self.path)
        if callable(initializer):
            if shape is None or any(not isinstance(d, (int, np.integer)) for d in shape):
                raise ShapeError(
                    f"Variable {self.path!r} needs a shape of numbers. Received: shape={shape}. "
                    "A weight cannot depend on a size that is not known while building; give the "
                    "`Input` a number on that axis."
                )
            self.initializer = initializer
            self.shape = tuple(int(d) for d in shape)
            self.dtype = canonical(standardize_dtype(dtype))
        else:
            value = np.asarray(initializer)
            wanted = dtype or (settings.floatx() if value.dtype == np.float64 else value.dtype)
            self.initializer = None
            self.dtype = canonical(standardize_dtype(wanted))
            self.shape = value.shape
            self._value = _concrete(value, self.dtype)
            if shape is not None and tuple(shape) != self.shape:
                raise ShapeError(
                    f"Variable {self.path!r} was declared with shape {tuple(shape)}. "
                    f"Received an initial value of shape {self.shape}."
                )

    @property
    def value(self) -> Any:
        """The array: the one bound by the call in progress, or the variable's own."""
        scope = current()
        if scope is None:
            return self._own()
        found = scope.record.updates.get(self)
        if found is None:
            found = scope.values.get(self)
            if found is None:
                found = jnp.zeros(self.shape, self.dtype) if scope.abstract else self._own()
        if self.autocast and scope.compute_dtype and is_float(self.dtype):
            found = jnp.asarray(found, scope.compute_dtype)
        return found

    def _own(self) -> Any:
        if self._cell is not None:
            # A copy: the next step takes the live buffer for its own result.
            return copied(self._cell.state[self._group][self._address])
        if self._value is None:
            self._value = self._initial()
        return self._value

    def _initial(self) -> Any:
        draw = getattr(self.initializer, "draw", None)
        value: Any
        with jax.ensure_compile_time_eval():
            if draw is None:
                value = self.initializer(self.shape, dtype=self.dtype)  # pyright: ignore[reportOptionalCall]
            else:
                seed = getattr(self.initializer, "seed", None)
                rng = (
                    prng.stream("initializer", seed)
                    if isinstance(seed, int)
                    else prng.stream(self._seed, self.path, self._occurrence)
                )
                value = draw(rng, self.shape, self.dtype)
        if tuple(np.shape(value)) != self.shape:
            raise ShapeError(
                f"The initializer {self.initializer!r} of variable {self.path!r} was asked for "
                f"shape {self.shape}. It returned {tuple(np.shape(value))}."
            )
        return _concrete(value, self.dtype)

    @property
    def is_initialized(self) -> bool:
        """Whether the array exists yet; reading :attr:`value` makes it."""
        return self._value is not None or self._cell is not None

    def assign(self, value: Any) -> None:
        """Replace the value.

        Args:
            value: an array of the variable's shape; cast to its dtype.

        Raises:
            ShapeError: another shape.
            StateError: inside a ``jit`` of your own, where the new value would be lost.
        """
        shape = tuple(np.shape(value))
        if shape != self.shape:
            raise ShapeError(
                f"Variable {self.path!r} has shape {self.shape}. Received a value of shape {shape}."
            )
        value = value.value if isinstance(value, Variable) else value
        scope = current()
        if scope is not None and scope.pure:
            scope.record.updates[self] = jnp.asarray(value, self.dtype)
        elif isinstance(value, jax.core.Tracer):
            raise StateError(
                f"Variable {self.path!r} was assigned a traced value outside of a stateless call, "
                "where it would be lost. Use `stateless_call(...)` inside your own jit or grad."
            )
        elif self._cell is not None:
            self._cell.replace(self._group, self._address, _concrete(value, self.dtype))
        else:
            self._value = _concrete(value, self.dtype)

    def assign_add(self, value: Any) -> None:
        """Add ``value`` to the variable."""
        self.assign(self._raw() + value)

    def assign_sub(self, value: Any) -> None:
        """Subtract ``value`` from the variable."""
        self.assign(self._raw() - value)

    def _raw(self) -> Any:
        """The value without the compute dtype's cast."""
        scope = current()
        if scope is not None:
            found = scope.record.updates.get(self)
            found = scope.values.get(self) if found is None else found
            if found is not None:
                return found
            if scope.abstract:
                return jnp.zeros(self.shape, self.dtype)
        return self._own()

    def bind(self, cell: Cell | None, group: str = "", address: str = "") -> None:
        """Live in ``cell`` under ``group`` and ``address``; with None, take the value back."""
        if cell is None:
            if self._cell is not None:  # which runs no more steps
                self._value, self._cell = self._cell.state[self._group][self._address], None
        else:
            self._cell, self._group, self._address = cell, group, address
            self._value = None

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
    """The arrays of ``variables``, by address."""
    return {address: v.value for address, v in variables.items()}
