"""Variables: named, mutable arrays for weights, statistics, counters and optimizer state."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core import naming
from lamina.core.scope import Scope, current
from lamina.core.sharding import (
    Layout,
    current_distribution,
    gathered,
    is_on_mesh,
    on_devices,
    put_parts,
    read_layout,
    whole,
)
from lamina.core.sharding import put as put_on_mesh
from lamina.core.tracking import Trackable
from lamina.dtype_policies.dtypes import canonical, is_float, standardize_dtype
from lamina.errors import ArgumentError, ShapeError, StateError
from lamina.runtime import processes

_AGGREGATIONS = ("none", "mean", "sum", "only_first_replica")
_SYNCHRONIZATIONS = ("none", "on_read", "on_write", "auto")


def _one_of(argument: str, value: str | None, choices: tuple[str, ...]) -> str:
    if (value or "none") not in choices:
        raise ArgumentError(
            f"Variable(): `{argument}` expects one of {list(choices)}. Received: {value!r}."
        )
    return value or "none"


@runtime_checkable
class DrawsFor(Protocol):
    """An initializer whose values depend on the identity of the variable."""

    def draw_for(self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str) -> Any:
        """Values of the given shape and dtype, as a function of ``parts``."""
        ...


@runtime_checkable
class DrawsParts(DrawsFor, Protocol):
    """An initializer that can draw a part of the values alone."""

    def draw_part(
        self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str, index: tuple[slice, ...]
    ) -> Any:
        """Part ``index`` of what :meth:`draw_for` returns."""
        ...


class LiveState(Protocol):
    """The state of a running training; variables bound to it are read and written there."""

    def get(self, group: str, address: str) -> Any:
        """The array, for immediate use only."""
        ...

    def lend(self, group: str, address: str) -> Any:
        """The array, for keeping: the state will not donate its buffer to a step."""
        ...

    def replace(self, group: str, address: str, value: Any) -> None:
        """Replace the array."""
        ...


class VariableOwner(Protocol):
    """The object that a variable belongs to."""

    @property
    def path(self) -> str:
        """Names from the outermost object to this one, joined by slashes."""
        ...


class Variable(Trackable):
    """A named, mutable array: mutable state of layers, metrics and optimizers.

    The value is initialized on first use, from ``initializer``, the seed, and the path of the
    variable. Creating a variable is therefore cheap, and adding a layer does not change the initial
    values of other layers. JAX accepts variables wherever it accepts arrays.

    Args:
        initializer: An array, a callable ``(shape, dtype) -> array``, or its name, such as
            ``"zeros"``.
        shape: Shape of the value; required if ``initializer`` is a callable or a name.
        dtype: Dtype of the value; when None, that of the initial array, or ``floatx``.
        trainable: Whether an optimizer may change the variable.
        autocast: Whether the value is cast to the compute dtype when it is read in a layer's call.
        aggregation: What replicas of a program of your own are to do with their values: ``"mean"``,
            ``"sum"``, ``"only_first_replica"``, or nothing, ``"none"``. It is only recorded: here
            one program holds one value.
        synchronization: When they are to do it: ``"on_read"``, ``"on_write"``, ``"auto"``, or
            ``"none"``; recorded likewise.
        name: Name within the owner.
        layout: How the value is split over devices: a ``lamina.distribution.TensorLayout`` or a
            ``jax.sharding.NamedSharding``; what a distribution decides when None.
        overwrite_with_gradient: Whether an optimizer sets the variable to its gradient, instead of
            descending along it: for statistics that the backward pass computes.
        regularizer: Penalty on the value, added to the loss.
        constraint: Projection of the value after each update.
        owner: The layer, metric or optimizer that the variable belongs to.
        draw_path: Path that determines the random initial values; that of the variable when None.

    Attributes:
        layout: How the value lies on a mesh of devices; None for a single device. It is the given
            one, or else set by :meth:`lay_out`.

    >>> v = Variable(np.zeros(3, "float32"), name="total")
    >>> v.assign(np.ones(3))
    Array([1., 1., 1.], dtype=float32)
    >>> float(jnp.sum(v))
    3.0
    """

    __slots__ = (
        "__weakref__", "_address", "_draw", "_given_layout", "_group", "_lent", "_live", "_owner",
        "_owner_path", "_scopes", "_value", "aggregation", "autocast", "constraint", "dtype",
        "frozen", "initializer", "is_weight", "layout", "name", "overwrite_with_gradient",
        "regularizer", "shape", "synchronization", "trainable",
    )  # fmt: skip
    tracked_as = "variable"

    def __init__(
        self,
        initializer: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = "none",
        synchronization: str | None = "auto",
        name: str | None = None,
        layout: Any = None,
        *,
        overwrite_with_gradient: bool = False,
        regularizer: Any = None,
        constraint: Any = None,
        owner: VariableOwner | None = None,
        draw_path: str | None = None,
    ) -> None:
        self.name = naming.check_name(name or naming.auto_name("variable"), "variable")
        self._owner = None if owner is None else weakref.ref(owner)
        self._owner_path: str | None = None  # in a copy that was made without the owner
        self._scopes = naming.current_name_scopes()
        # Unfreezing a layer makes its weights trainable again, but never its statistics, nor the
        # frozen weights that adapters replace.
        self.trainable = self.is_weight = trainable
        self.frozen = False
        self.autocast, self.overwrite_with_gradient = autocast, overwrite_with_gradient
        self.aggregation = _one_of("aggregation", aggregation, _AGGREGATIONS)
        self.synchronization = _one_of("synchronization", synchronization, _SYNCHRONIZATIONS)
        self.regularizer, self.constraint = regularizer, constraint
        self.layout = self._given_layout = read_layout(layout, self.name)
        self._live: LiveState | None = None
        self._group = self._address = ""
        self._value: Any = None
        self._lent = False
        self._draw: tuple[Any, ...] = ()
        if isinstance(initializer, str):  # a package above this one knows the names
            initializer = importlib.import_module("lamina.initializers").get(initializer)
        if callable(initializer):
            if shape is None or any(not isinstance(d, (int, np.integer)) or d < 0 for d in shape):
                raise ShapeError(
                    f"Variable {self.path!r} needs a fully known shape. Received: shape={shape}. "
                    "A weight cannot depend on an unknown dimension; give the `Input` an integer "
                    "on that axis."
                )
            self.initializer = initializer
            self.shape = tuple(int(d) for d in shape)
            self.dtype = canonical(standardize_dtype(dtype))
            self._draw = (settings.seed_of_new(), naming.draw_name(draw_path or self.path))
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
    def owner(self) -> VariableOwner | None:
        """The layer, metric or optimizer that the variable belongs to."""
        return None if self._owner is None else self._owner()

    @property
    def path(self) -> str:
        """The current path of the owner, and the name: ``"encoder/dense/kernel"``."""
        before = self._path_before()
        own = self.name if before is None else f"{before}/{self.name}"
        return "/".join((*self._scopes, own)) if self._scopes else own

    def _path_before(self) -> str | None:
        """The path of the owner, or in a copy without it, of the owner of the original."""
        owner = self.owner
        return owner.path if owner is not None else self._owner_path

    def _belongs_to(self, owner: Any) -> bool:
        return self.owner is owner

    def _join(self, owner: Any) -> None:
        if self._owner is None:
            self._owner, self._owner_path = weakref.ref(owner), None

    def __getstate__(self) -> tuple[Any, dict[str, Any]]:
        """The content, to copy or pickle: no state of a running training, and not the owner."""
        attributes, state = super().__getstate__()  # pyright: ignore[reportGeneralTypeIssues]
        state |= {"_live": None, "_group": "", "_address": ""}
        state |= {"_owner": None, "_owner_path": self._path_before()}
        if self.is_initialized:
            state |= {"_value": self._own(), "_lent": True}
        return attributes, state

    @property
    def value(self) -> Any:
        """The array bound to the variable in the current call, or else the variable's own."""
        scope = current()
        if scope is None:
            return self._own()
        found = self._bound(scope)
        if self.autocast and scope.compute_dtype and is_float(self.dtype):
            found = jnp.asarray(found, scope.compute_dtype)
        # After the cast, so that fewer bytes are sent.
        return found if self.layout is None else gathered(found, self.layout)

    def _bound(self, scope: Scope) -> Any:
        """The value without the cast to the compute dtype."""
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
            return on_devices(self._live.lend(self._group, self._address), self.layout)
        self._lent = True
        return on_devices(self._array(), self.layout)

    def _array(self) -> Any:
        if self._value is None:
            self.find_layout()
            self._value = self._initial()
            # A user's function may return an array that it keeps.
            self._lent = self._lent or not isinstance(self.initializer, DrawsFor)
        return self._value

    def find_layout(self) -> Layout | None:
        """The layout; that of the current distribution if no other was chosen before."""
        distribution = current_distribution()
        if distribution is not None and self.layout is None:
            self.layout = distribution.layouts({self.path: self})[self.path]
        return self.layout

    def _set(self, value: Any) -> None:
        """Set the value; an array that may be referenced elsewhere counts as lent."""
        self._value = _concrete(value, self.dtype, self.layout)
        self._lent = self._value is value

    def lay_out(self, layout: Layout | None) -> None:
        """Keep the value on a mesh of devices, or on a single device if ``layout`` is None.

        A variable that was created with a layout keeps that one. A value that does not exist yet is
        created there, and so never is on one device as a whole.
        """
        layout = self._given_layout or layout
        if layout == self.layout:
            return
        self.layout = layout
        if self._live is not None:
            old = self._live.get(self._group, self._address)
            self._live.replace(self._group, self._address, _moved(old, layout))
        elif self._value is not None:
            self._value, self._lent = _moved(self._value, layout), False

    def _initial(self) -> Any:
        value: Any
        first = self.initializer
        if self.layout is not None and isinstance(first, DrawsParts):
            return put_parts(
                self.shape, self.dtype, self.layout.stored,
                lambda index: first.draw_part(self._draw, self.shape, self.dtype, index),
            )  # fmt: skip
        with jax.ensure_compile_time_eval():
            if isinstance(self.initializer, DrawsFor):
                value = self.initializer.draw_for(self._draw, self.shape, self.dtype)
            else:
                value = self.initializer(self.shape, dtype=self.dtype)  # pyright: ignore[reportOptionalCall]
        if tuple(np.shape(value)) != self.shape:
            raise ShapeError(
                f"The initializer {self.initializer!r} of variable {self.path!r} was called with "
                f"shape {self.shape}. It returned shape {tuple(np.shape(value))}."
            )
        return _concrete(value, self.dtype, self.layout)

    @property
    def is_initialized(self) -> bool:
        """Whether the value is initialized; reading :attr:`value` initializes it."""
        return self._value is not None or self._live is not None

    def assign(self, value: Any) -> Any:
        """Replace the value.

        Args:
            value: An array of the variable's shape, which is cast to its dtype.

        Returns:
            The new value.

        Raises:
            ShapeError: The value has a different shape.
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
            new = _concrete(value, self.dtype, self.layout)
            self._live.replace(self._group, self._address, copied(new) if new is value else new)
            return new
        self._set(value)
        return self._value

    def assign_add(self, value: Any) -> Any:
        """Add ``value`` to the variable."""
        return self.assign(self._raw() + _operand(value))

    def assign_sub(self, value: Any) -> Any:
        """Subtract ``value`` from the variable."""
        return self.assign(self._raw() - _operand(value))

    def _raw(self) -> Any:
        scope = current()
        return self._own() if scope is None else self._bound(scope)

    def bind(self, live: LiveState, group: str, address: str) -> Callable[[Any, bool], None]:
        """Read and write the value in ``live``, under ``group`` and ``address``.

        Returns:
            A function ``release(value, lent)``, which ends this and writes the value back to the
            variable (or to the state that it was bound to before); ``lent`` tells whether the value
            may be referenced elsewhere.
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
        return np.array(whole(self.value))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(whole(self.value), dtype=dtype)

    def __jax_array__(self) -> Any:
        return self.value

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}>"

    def __getattr__(self, name: str) -> Any:
        # Methods of arrays (sum, mean, T, at, astype, reshape, ...) apply to the value.
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

    def __round__(self, ndigits: int | None = None) -> Any:
        return jnp.round(self.value, ndigits or 0)

    # Two variables are the same object if `is` says so; `==` compares their elements.
    __hash__ = object.__hash__


def _concrete(value: Any, dtype: str, layout: Layout | None = None) -> Any:
    with jax.ensure_compile_time_eval():
        if not isinstance(value, jax.Array):
            # JAX would compile a program for the conversion.
            value = np.array(value, jnp.dtype(dtype))
        if layout is None:
            return jnp.asarray(value, dtype)
        return put_on_mesh(value.astype(dtype), layout.stored)


def _moved(value: Any, layout: Layout | None) -> Any:
    return jnp.asarray(whole(value)) if layout is None else put_on_mesh(value, layout.stored)


def copied(values: Any) -> Any:
    """Copies of arrays in any nesting, on the same devices, without compiling a program."""
    if processes.are_several():  # JAX wants to be told where parts of other processes lie
        return jax.tree.map(
            lambda x: jax.device_put(x, x.sharding if is_on_mesh(x) else None, may_alias=False),
            values,
        )
    return jax.device_put(values, may_alias=False)


def value_of(x: Any) -> Any:
    """The value of a variable; everything else unchanged."""
    return x.value if isinstance(x, Variable) else x


def _operand(x: Any) -> Any:
    """What stands beside a variable in arithmetic, as JAX takes it."""
    return jnp.asarray(x) if isinstance(x, (list, tuple)) else value_of(x)


def _operator(name: str, read: Callable[[Any], Any]) -> Callable[..., Any]:
    def apply(self: Variable, *args: Any) -> Any:
        return getattr(self.value, name)(*map(read, args))

    return apply


_BINARY = "add sub mul truediv floordiv mod pow matmul and or xor".split()
_OPERATORS = [f"__{side}{name}__" for name in _BINARY for side in ("", "r")]
_OPERATORS += [f"__{name}__" for name in "eq ne lt le gt ge neg pos abs invert".split()]
for _name in _OPERATORS:
    setattr(Variable, _name, _operator(_name, _operand))
Variable.__getitem__ = _operator("__getitem__", value_of)  # pyright: ignore[reportAttributeAccessIssue]

# As a pytree with one leaf, a variable is accepted by every function of jax.numpy.
jax.tree_util.register_pytree_node(
    Variable, lambda v: ((v.value,), None), lambda _, children: children[0]
)


def read(variables: Mapping[str, Variable]) -> dict[str, Any]:
    """The arrays of ``variables`` by address, for immediate use: the caller must not keep them."""
    return {a: v._value if v._value is not None else _peek(v) for a, v in variables.items()}


def values_of(variables: Iterable[Variable]) -> list[Any]:
    """The arrays of ``variables`` in their order, for immediate use as those of :func:`read`."""
    return [v._value if v._value is not None else _peek(v) for v in variables]


def _peek(variable: Variable) -> Any:
    live = variable._live
    return variable._array() if live is None else live.get(variable._group, variable._address)


def take(variables: Mapping[str, Variable]) -> dict[str, Any]:
    """The arrays of ``variables`` by address, for a step to which their buffers are donated.

    Arrays that may be referenced elsewhere are copied. Always call :func:`put` afterwards.
    """
    return {
        a: v._value if v._value is not None and not v._lent else _donatable(v)
        for a, v in variables.items()
    }


def _donatable(variable: Variable) -> Any:
    value = _peek(variable)  # creating it may reveal another reference to it
    return value if variable._live is None and not variable._lent else copied(value)


def put(variables: Mapping[str, Variable], values: Mapping[str, Any]) -> None:
    """Write the arrays that a step returned back to ``variables``."""
    for address, variable in variables.items():
        live = variable._live
        if live is None:
            variable._value, variable._lent = values[address], False
        else:  # part of another running training
            live.replace(variable._group, variable._address, values[address])
