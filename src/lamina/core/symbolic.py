"""The symbolic tensor: what ``Input`` and layers return while a model is being built."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Self

import jax
import numpy as np

from lamina.core import naming
from lamina.core.graph import Node
from lamina.core.spec import BATCH, TensorSpec, show_dims
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError, DTypeError, SymbolicTensorError

# Public ops by name, registered by their declarations; NumPy functions on tensors use them.
OPERATIONS: dict[str, Callable[..., Any]] = {}
_numbers = itertools.count()


def next_number() -> int:
    """A serial number: larger than those of all existing symbolic tensors."""
    return next(_numbers)


class _Origin:
    """The operation of a tensor that was created by calling the class directly."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._inbound_nodes: list[Node] = []


class SymbolicTensor:
    """A tensor without values: a shape, a dtype, and a position in the graph.

    Symbolic tensors are created by ``Input`` and by calling layers and ops on other symbolic
    tensors. Python's operators, indexing, and NumPy's functions (where :mod:`lamina.ops` has one of
    the same name) record further nodes of the graph.

    Create one directly to describe an output in a layer's ``compute_output_spec``.

    Args:
        shape: Dimensions, batch included: integers, None for unknown ones, or names.
        dtype: The dtype or its name.
        sparse: Only False is supported: symbolic tensors are dense.
        ragged: Only False is supported.
        record_history: Without effect, for compatibility: calls on the tensor are always recorded.
        name: Name of the tensor; automatic when None.

    Attributes:
        shape: Dimensions, with None for those that are not integers.
        dims: Dimensions with names and formulas, such as ``("batch", "2*time", 8)``.
        dtype: Name of the dtype.
        node: The call that produced the tensor.
        index: Position among the outputs of that call.
        name: Name of the tensor, for messages and for the inputs and outputs of a model.
        mask: Spec of the tensor's mask, or None.
        number: Serial number in the process: tensors created later have larger numbers.
    """

    __slots__ = (
        "__weakref__", "_symbolic_mask", "index", "mask", "name", "node", "number", "spec",
    )  # fmt: skip
    is_symbolic_tensor = True
    __array_priority__ = 1000

    def __init__(
        self,
        shape: Sequence[int | str | None],
        dtype: Any = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
    ) -> None:
        if sparse or ragged:
            raise ArgumentError(
                "Symbolic tensors are dense, with one size along each axis. "
                f"Received: sparse={sparse!r}, ragged={ragged!r}."
            )
        dims = [BATCH if i == 0 and n is None else n for i, n in enumerate(shape)]
        name = naming.auto_name("keras_tensor") if name is None else name
        spec = TensorSpec(tuple(dims), standardize_dtype(dtype))
        self._place(spec, Node(_Origin(name), (), {}, "KerasTensor(...)"), 0, name, None)
        self.node.outputs = self

    @classmethod
    def of(
        cls, spec: TensorSpec, node: Node, index: int, name: str, mask: TensorSpec | None = None
    ) -> Self:
        """The symbolic tensor of an output of a call.

        Args:
            spec: Shape and dtype.
            node: The call.
            index: Position among the outputs of the call.
            name: Name of the tensor.
            mask: Spec of the tensor's mask, or None.
        """
        self = cls.__new__(cls)
        self._place(spec, node, index, name, mask)
        return self

    def _place(
        self, spec: TensorSpec, node: Node, index: int, name: str, mask: TensorSpec | None
    ) -> None:
        self.spec, self.node, self.index, self.name, self.mask = spec, node, index, name, mask
        self.number = next(_numbers)
        self._symbolic_mask: Any = None

    @property
    def symbolic_mask(self) -> Any:
        """The mask as a symbolic tensor.

        None if there is none, or if it is known only when the model runs, as that of a model's
        output.
        """
        if self.mask is not None and self._symbolic_mask is None:
            found = self.node.operation.symbolic_mask(self.node, self.index)
            if found is not None and found.ndim == len(self.mask.dims_raw):
                self._symbolic_mask = found
        return self._symbolic_mask

    @property
    def _keras_mask(self) -> Any:
        """The mask, by the name that programs for Keras read."""
        return self.symbolic_mask

    @property
    def sparse(self) -> bool:
        """False: symbolic tensors are dense."""
        return False

    @property
    def ragged(self) -> bool:
        """False: symbolic tensors are not ragged."""
        return False

    @property
    def ragged_rank(self) -> None:
        """None: there are no ragged axes."""
        return

    @property
    def row_splits_dtype(self) -> None:
        """None: there are no ragged axes."""
        return

    def reshape(self, newshape: Any) -> Any:
        """``lamina.ops.reshape(x, newshape)``."""
        return OPERATIONS["reshape"](self, newshape)

    def astype(self, dtype: Any) -> Any:
        """``lamina.ops.cast(x, dtype)``."""
        return OPERATIONS["cast"](self, dtype)

    def squeeze(self, axis: Any = None) -> Any:
        """``lamina.ops.squeeze(x, axis)``."""
        return OPERATIONS["squeeze"](self, axis)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Dimensions, with None for those that are not integers."""
        return self.spec.shape

    @property
    def dims(self) -> tuple[int | str | None, ...]:
        """Dimensions with names and formulas."""
        return self.spec.dims

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.spec.dims_raw)

    def __repr__(self) -> str:
        return f"<SymbolicTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def _no_values(self, what: str, cure: str) -> NoReturn:
        raise SymbolicTensorError(
            f"{what} needs concrete values. {self.name!r} is a symbolic tensor of shape "
            f"{show_dims(self.spec.dims_raw)}, whose values exist only when the model runs. {cure}"
        )

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 - it has no truth value
        self._no_values(
            "A Python condition (`if`, `while`, `and`, `not`)",
            "Use `lamina.ops.where(condition, a, b)`, or write a layer whose `call` does it.",
        )

    def __float__(self) -> NoReturn:
        self._no_values("float()", "Call the finished model on an array to get numbers.")

    def __int__(self) -> NoReturn:
        self._no_values("int()", "Call the finished model on an array to get numbers.")

    def __index__(self) -> NoReturn:  # noqa: PLE0305 - it is not a number
        self._no_values("An index or range()", "Use a dimension from `.shape`, or an op.")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._no_values("A NumPy function", "Use the function of the same name in `lamina.ops`.")

    def __jax_array__(self) -> NoReturn:
        self._no_values(
            "A function of jax.numpy",
            "Use the function of the same name in `lamina.ops`, or put it into a layer's `call`.",
        )

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        self._no_values(
            "Assigning to entries",
            "Compute a new tensor instead, with `lamina.ops.where` or `lamina.ops.concatenate`.",
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        text = f"A symbolic tensor has no attribute {name!r}."
        if name in OPERATIONS:
            text += f" Write `lamina.ops.{name}(x, ...)` instead of `x.{name}(...)`."
        elif name in ("numpy", "item", "tolist", "eval"):
            text += " It has no values yet: call the finished model on an array to get numbers."
        raise AttributeError(text)

    def __len__(self) -> int:
        size = self.spec.dims_raw[0] if self.spec.dims_raw else None
        if not isinstance(size, int):
            self._no_values("len()", "The size of the first axis is not known while building.")
        return size

    def __iter__(self) -> Any:
        if not isinstance(self.spec.dims_raw[0] if self.spec.dims_raw else None, int):
            self._no_values(
                "A loop (`for`, `list()`, unpacking)",
                "The size of the first axis is not known yet; ops apply to all of its entries.",
            )
        return (OPERATIONS["get_item"](self, i) for i in range(len(self)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and ufunc.__name__ in OPERATIONS:
            return OPERATIONS[ufunc.__name__](*inputs, **kwargs)
        return self.__array__()

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func.__name__ in OPERATIONS:
            return OPERATIONS[func.__name__](*args, **kwargs)
        return self.__array__()


class HostText:
    """Text in a compiled call: layers of the host have computed what depends on it.

    Args:
        symbol: The text as a symbolic tensor, in the graph of what they compute.

    Attributes:
        dtype: ``"string"``.
        shape: The dimensions, None for unknown ones.
    """

    __slots__ = ("symbol",)
    dtype = "string"

    def __init__(self, symbol: SymbolicTensor) -> None:
        self.symbol = symbol

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The dimensions, None for unknown ones."""
        return self.symbol.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.symbol.ndim

    def __getitem__(self, key: Any) -> Any:
        return OPERATIONS["get_item"](self, key)

    def __repr__(self) -> str:
        return f"<text of shape {self.shape}>"

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.__jax_array__()

    def __jax_array__(self) -> NoReturn:
        raise DTypeError(
            "Text reached a computation with numbers.",
            expected="numbers",
            received=f"text of shape {self.shape}",
            cure="Convert it first, with TextVectorization, StringLookup or Hashing.",
        )


def is_text(x: Any) -> bool:
    """True for an array of text, and for text in a compiled call."""
    return isinstance(x, HostText) or (
        isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "OUST"
    )


def install_operator(method: str, call: Callable[..., Any], *, reflected: bool = False) -> None:
    """Implement an operator of symbolic tensors by an op.

    Args:
        method: The special method, such as ``"__add__"``.
        call: The op.
        reflected: Whether the tensor is the last argument of the op.
    """

    def operator(self: SymbolicTensor, *args: Any) -> Any:
        return call(*args, self) if reflected else call(self, *args)

    operator.__name__ = method
    setattr(SymbolicTensor, method, operator)


# JAX's functions flatten their arguments first, so the error is raised there.
jax.tree_util.register_pytree_node(
    SymbolicTensor, lambda x: x.__jax_array__(), lambda _, children: children[0]
)
