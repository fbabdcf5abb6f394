"""The symbolic tensor: what ``Input`` and layers return while a model is being built."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Self

import jax

from lamina.core import naming
from lamina.core.graph import Node
from lamina.core.spec import BATCH, TensorSpec, show_dims
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError, SymbolicTensorError

# Public ops by name, filled where they are declared: NumPy's functions look here.
OPERATIONS: dict[str, Callable[..., Any]] = {}
_numbers = itertools.count()


def next_number() -> int:
    """A number larger than those of all symbolic tensors so far, and smaller than of the next."""
    return next(_numbers)


class _Origin:
    """What stands for the maker of a tensor that was made by hand."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._inbound_nodes: list[Node] = []


class SymbolicTensor:
    """A tensor without values: a shape, a dtype, a place in the graph.

    Made by ``Input`` and by calling layers and ops on other symbolic tensors. Python's operators,
    indexing, and NumPy's functions (where :mod:`lamina.ops` has one of the same name) record
    further nodes of the graph.

    One made by hand says what a layer's own ``compute_output_spec`` returns.

    Args:
        shape: Sizes, batch included; None for an unknown one, or a name.
        dtype: A dtype or its name.
        sparse: False; symbolic tensors are dense.
        ragged: False likewise.
        record_history: Kept for compatibility: calls on the tensor are always recorded.
        name: Its name; automatic when None.

    Attributes:
        shape: Sizes, with None for those that are not numbers.
        dims: Sizes with names and formulas, such as ``("batch", "2*time", 8)``.
        dtype: A dtype's name.
        node: The call that made it.
        index: Its position among the outputs of that call.
        name: For messages, and for the model's inputs and outputs.
        mask: Spec of the mask that it carries, or None.
        number: Counts the symbolic tensors of the process: later ones have larger numbers.
    """

    __slots__ = ("__weakref__", "index", "mask", "name", "node", "number", "spec")
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
                "Symbolic tensors are dense: one size along each axis. "
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
        """The tensor that a call returns.

        Args:
            spec: Its shape and dtype.
            node: The call.
            index: Its position among the outputs of the call.
            name: Its name.
            mask: Spec of the mask that it carries, or None.
        """
        self = cls.__new__(cls)
        self._place(spec, node, index, name, mask)
        return self

    def _place(
        self, spec: TensorSpec, node: Node, index: int, name: str, mask: TensorSpec | None
    ) -> None:
        self.spec, self.node, self.index, self.name, self.mask = spec, node, index, name, mask
        self.number = next(_numbers)

    @property
    def sparse(self) -> bool:
        """False: symbolic tensors are dense."""
        return False

    @property
    def ragged(self) -> bool:
        """False: symbolic tensors have one size along each axis."""
        return False

    def reshape(self, newshape: Any) -> Any:
        """``lamina.ops.reshape(x, newshape)``."""
        return OPERATIONS["reshape"](self, newshape)

    def squeeze(self, axis: Any = None) -> Any:
        """``lamina.ops.squeeze(x, axis)``."""
        return OPERATIONS["squeeze"](self, axis)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sizes, with None for those that are not numbers."""
        return self.spec.shape

    @property
    def dims(self) -> tuple[int | str | None, ...]:
        """Sizes with names and formulas."""
        return self.spec.dims

    @property
    def dtype(self) -> str:
        """The dtype's name."""
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.spec.dims_raw)

    def __repr__(self) -> str:
        return f"<SymbolicTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def _no_values(self, what: str, cure: str) -> NoReturn:
        raise SymbolicTensorError(
            f"{what} needs numbers. {self.name!r} is a symbolic tensor of shape "
            f"{show_dims(self.spec.dims_raw)}: it stands for values that exist only when the "
            f"model runs. {cure}"
        )

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 - it has no truth
        self._no_values(
            "A Python condition (`if`, `while`, `and`, `not`)",
            "Use `lamina.ops.where(condition, a, b)`, or write a layer whose `call` does it.",
        )

    def __float__(self) -> NoReturn:
        self._no_values("float()", "Call the finished model on an array to get numbers.")

    def __int__(self) -> NoReturn:
        self._no_values("int()", "Call the finished model on an array to get numbers.")

    def __index__(self) -> NoReturn:  # noqa: PLE0305 - it is no number
        self._no_values("An index or range()", "Use a size from `.shape`, or an op.")

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
                "How many entries its first axis has is not known yet; ops work on all of them.",
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


def install_operator(method: str, call: Callable[..., Any], *, reflected: bool = False) -> None:
    """Let Python's operator of symbolic tensors be an op.

    Args:
        method: The special method, such as ``"__add__"``.
        call: The op.
        reflected: Whether the tensor is the op's last argument.
    """

    def operator(self: SymbolicTensor, *args: Any) -> Any:
        return call(*args, self) if reflected else call(self, *args)

    operator.__name__ = method
    setattr(SymbolicTensor, method, operator)


# JAX's own functions flatten their arguments first, so this is where they meet the error.
jax.tree_util.register_pytree_node(
    SymbolicTensor, lambda x: x.__jax_array__(), lambda _, children: children[0]
)
