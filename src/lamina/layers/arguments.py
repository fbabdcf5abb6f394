"""Arguments of a call: signature, accepted inputs, and shapes and masks of nested tensors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina.core.graph import is_symbolic
from lamina.core.scope import get_mask, set_mask
from lamina.core.spec import is_anonymous, show_dims
from lamina.core.variable import value_of
from lamina.dtype_policies import dtypes
from lamina.errors import StructureError
from lamina.serialization.registry import defined_by_user
from lamina.serialization.text import reads_config
from lamina.tree import nested


class InputSpec:
    """The inputs that a layer accepts, checked on every call, symbolic or not.

    Args:
        dtype: Required dtype name, or None.
        shape: Required shape; None matches any dimension.
        ndim: Required number of axes.
        max_ndim: Largest number of axes.
        min_ndim: Smallest number of axes.
        axes: Required sizes of single axes, such as ``{-1: 64}``.
        allow_last_axis_squeeze: Whether to ignore a last axis of size 1 that only the tensor or
            only ``shape`` has.
        name: The key of the tensor if the inputs are a dict; otherwise only a description.
        optional: Whether None may be passed instead of a tensor.
        layout: Meaning of the axes, such as ``"(batch, time, features)"``, for messages.

    >>> from lamina import layers
    >>> layer = layers.Flatten()
    >>> layer.input_spec = InputSpec(min_ndim=3)
    >>> layer([[1.0, 2.0]])
    Traceback (most recent call last):
        ...
    lamina.errors.ShapeError: Layer 'flatten' ...
    """

    def __init__(
        self,
        dtype: str | None = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
        layout: str = "",
    ) -> None:
        self.dtype = None if dtype is None else dtypes.standardize_dtype(dtype)
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = {int(k): v for k, v in (axes or {}).items()}
        self.allow_last_axis_squeeze, self.name, self.optional = (
            allow_last_axis_squeeze, name, optional,
        )  # fmt: skip
        self.layout = layout

    def get_config(self) -> dict[str, Any]:
        """The requirements by argument name, as :meth:`from_config` reads them."""
        return {
            "dtype": self.dtype, "shape": self.shape, "ndim": self.ndim, "max_ndim": self.max_ndim,
            "min_ndim": self.min_ndim, "axes": self.axes, "optional": self.optional,
        }  # fmt: skip

    @classmethod
    @reads_config
    def from_config(cls, config: Mapping[str, Any]) -> InputSpec:
        """The spec that :meth:`get_config` described."""
        return cls(**config)

    def mismatch(self, x: Any) -> str | None:
        """The requirement that ``x``, which has a shape and a dtype, violates; None if it fits."""
        dims, shape = dims_of(x), self.shape
        squeezes = self.allow_last_axis_squeeze and shape is not None
        if squeezes and shape and dims:
            dims = dims[:-1] if dims[-1] == 1 else dims
            shape = shape[:-1] if shape[-1] == 1 else shape
        ndim = len(shape) if squeezes and shape is not None else self.ndim
        if ndim is not None and len(dims) != ndim:
            return f"{self.ndim} axes{', ' if self.layout else ''}{self.layout}"
        if self.min_ndim is not None and len(dims) < self.min_ndim:
            return f"at least {self.min_ndim} axes"
        if self.max_ndim is not None and len(dims) > self.max_ndim:
            return f"at most {self.max_ndim} axes"
        if self.dtype is not None and str(x.dtype) != self.dtype:
            return f"dtype {self.dtype}"
        wanted = dict(self.axes)
        if shape is not None:
            wanted |= dict(enumerate(shape))
        for axis, size in wanted.items():
            here = dims[axis] if -len(dims) <= axis < len(dims) else 0
            # An unknown dimension without a name may turn out to fit; a named one does not.
            if size is not None and here != size and not is_anonymous(here):
                return f"size {size} on axis {axis}"
        return None

    def cure(self, x: Any) -> str:
        """A suggestion for an ``x`` that does not fit; empty if there is none."""
        dims = dims_of(x)
        maker = x.node.operation if is_symbolic(x) else None
        if len(dims) < (self.min_ndim or 0) or len(dims) > (self.max_ndim or len(dims)):
            return ""
        if self.ndim is None or len(dims) == self.ndim:
            sizes = [n for n in (*self.axes.values(), *(self.shape or ())) if n is not None]
            if any(n in dims[1:] for n in sizes):
                return "Are the axes in another order (channels first or last)?"
            return (
                "The first call created the weights for that size. For another size, create "
                "another layer."
            )
        if len(dims) == self.ndim - 1:
            if getattr(maker, "return_sequences", None) is False:
                return (
                    f"Set `return_sequences=True` in {x.node.operation.name!r}, so that it returns "
                    "all time steps and not only the last one."
                )
            if self.layout.endswith((" channels)", " features)")):
                missing = self.layout.rpartition(" ")[2][:-1]
                return (
                    f"If the axis of {missing} is missing, `lamina.ops.expand_dims(x, -1)` adds it."
                )
        if len(dims) == self.ndim + 1 and maker is not None and not x.node.inputs:
            return (
                "Does the shape of `Input` include the batch size? It must not: "
                f"`Input(shape={show_dims(dims[2:])})`."
            )
        return ""

    def __repr__(self) -> str:
        shown = {k: v for k, v in self.__dict__.items() if v}
        return f"InputSpec({', '.join(f'{k}={v}' for k, v in shown.items())})"


_SPACE = {1: ("steps",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def layout(rank: int, data_format: str = "channels_last", *, time: bool = False) -> str:
    """The meaning of the axes of sequences, images or volumes, for messages.

    >>> layout(2), layout(1, "channels_first", time=True)
    ('(batch, height, width, channels)', '(batch, time, channels, steps)')
    """
    space = _SPACE[rank]
    inner = (*space, "channels") if data_format == "channels_last" else ("channels", *space)
    return f"({', '.join(('batch', *(('time',) if time else ()), *inner))})"


def dims_of(x: Any) -> tuple[Any, ...]:
    """The dimensions of a tensor, including symbolic ones."""
    return x.spec.dims_raw if is_symbolic(x) else tuple(x.shape)


class CallSignature:
    """The parameters of a class's ``call``."""

    def __init__(self, cls: type) -> None:
        self.signature = inspect.signature(cls.call)  # pyright: ignore[reportAttributeAccessIssue]
        parameters = list(self.signature.parameters.values())[1:]
        self.signature = self.signature.replace(parameters=parameters)
        self.names = [p.name for p in parameters]
        self.first = parameters[0].name if parameters else None
        self.takes_training = "training" in self.names
        self.takes_mask = "mask" in self.names
        self.takes_kwargs = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
        # In Keras's files only tensors are positional arguments.
        rest = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        self.by_name = () if rest else (bool, int, float, str, type(None))
        default = self.signature.parameters["training"].default if self.takes_training else None
        self.training_default = default if isinstance(default, bool) else False
        self.build_names = shape_parameters(cls.build)  # pyright: ignore[reportAttributeAccessIssue]


def shape_parameters(method: Callable[..., Any]) -> list[str]:
    """The names of the parameters of a class's ``build`` or ``compute_output_shape``."""
    parameters = inspect.signature(inspect.unwrap(method)).parameters.values()
    return [p.name for p in list(parameters)[1:]
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]  # fmt: skip


def call_signature(cls: type) -> CallSignature:
    """The cached parameters of the ``call`` of a layer's class."""
    found = cls.__dict__.get("_signature")
    if found is None:
        found = CallSignature(cls)
        type.__setattr__(cls, "_signature", found)
    return found


def shapes_of(x: Any) -> Any:
    """The shapes of nested tensors, in the same structure; None for unknown dimensions."""
    return nested.map_structure(lambda t: None if t is None else _shape_of(t), x)


def _shape_of(x: Any) -> Any:
    shape = getattr(x, "shape", None)
    return shape if shape is None else tuple(d if isinstance(d, int) else None for d in shape)


def as_shape(x: Any) -> Any:
    """A shape (or nested shapes) from JSON, in which tuples are lists."""
    return map_shapes(tuple, x)


def map_shapes(fn: Callable[[Any], Any], x: Any) -> Any:
    """Apply ``fn`` to every shape (a flat tuple or list) of nested shapes."""
    if x is None:
        return None
    if isinstance(x, Mapping):
        return {k: map_shapes(fn, v) for k, v in x.items()}
    if all(d is None or not nested.is_nested(d) for d in x):
        return fn(x)
    return [map_shapes(fn, v) for v in x]


_NOT_SHAPING = ("_initializer", "_regularizer", "_constraint")
_OTHERS = ("self", "name", "trainable", "dtype", "weights")


@functools.lru_cache(maxsize=1024)
def shaping_fields(cls: Any) -> list[str]:
    """The constructor's arguments that may affect what the outputs are."""
    names = dict.fromkeys(cls.config_fields())
    parameters = inspect.signature(cls.__init__).parameters.values()
    names |= {
        p.name: None for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    return [n for n in names if not n.endswith(_NOT_SHAPING) and n not in _OTHERS]


def as_array(x: Any) -> Any:
    """Convert NumPy arrays and variables to JAX arrays; return everything else unchanged."""
    if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biufc":
        return jnp.asarray(dtypes.narrowed(np.asarray(x)))
    return value_of(x)


def as_tensors(x: Any, cls: type) -> Any:
    """Convert nested lists of numbers to one array, as in ``layer([[1., 2.]])``.

    A single number becomes an array in calls of built-in layers; a user's ``call`` may need it.
    """
    if isinstance(x, (bool, int, float)) and not defined_by_user(cls, "call"):
        return np.asarray(x, None if isinstance(x, int) else "float32")
    if isinstance(x, (list, tuple)) and x:
        leaves = nested.flatten(x)
        if leaves and all(isinstance(v, (int, float)) for v in leaves):
            return array_of(x, dtype=None if isinstance(leaves[0], int) else "float32")
    return x


def array_of(x: Any, layer: Any = None, dtype: Any = None) -> np.ndarray:
    """Nested lists as an array.

    Raises:
        StructureError: Rows of different length.
    """
    try:
        return np.asarray(x, dtype)
    except ValueError:
        who = "A layer" if layer is None else f"Layer {layer.name!r} ({type(layer).__name__})"
        raise StructureError(
            f"{who} takes an array, or nested lists that make one.",
            expected="rows of one length",
            received=f"a {type(x).__name__} with rows of different length",
            cure="Pad the rows first: `utils.pad_sequences(x, padding='post')`.",
        ) from None


def autocast(x: Any, dtype: str) -> Any:
    """Cast a floating array to ``dtype``, and propagate its mask."""
    if isinstance(x, jax.Array) and dtypes.is_float(str(x.dtype)) and x.dtype != dtype:
        cast = x.astype(dtype)
        mask = get_mask(x)
        if mask is not None:
            set_mask(cast, mask)
        return cast
    return x


def may_carry_mask(x: Any) -> bool:
    """Whether any of the leaves is an array."""
    return any(isinstance(leaf, jax.Array) for leaf in nested.flatten(x))


def masks_of(x: Any) -> Any:
    """The masks in the structure of ``x``; None if there are none."""
    masks = nested.map_structure(get_mask, x)
    return None if all(m is None for m in nested.flatten(masks)) else masks


def is_plain_array(x: Any) -> bool:
    """Whether ``x`` is an array without a mask that compiled programs take as it is."""
    if isinstance(x, np.ndarray) and dtypes.exceeds(x):
        return False
    if type(x) is not np.ndarray and (
        not isinstance(x, (np.ndarray, jax.Array)) or isinstance(x, jax.core.Tracer)
    ):
        return False
    return get_mask(x) is None


def path_to(x: Any) -> str:
    """The names on the path from an input to ``x``, through the first input of each node."""
    names, node = [], x.node
    while node is not None:
        dims = show_dims(node.output_leaves[0].spec.dims_raw) if node.output_leaves else ""
        names.append(f"{node.operation.name} {dims}")
        node = node.inputs[0].node if node.inputs else None
    names.reverse()
    return " -> ".join(names if len(names) <= 6 else [*names[:2], "...", *names[-3:]])


def shapes_for(cls: type, names: list[str], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The shapes that a method with parameters of these names takes for the arguments of a call."""
    if len(names) <= 1:
        first = call_signature(cls).first or ""
        return {names[0]: shapes_of(arguments.get(first))} if names else {}
    wanted = (n for n in names if n.endswith("_shape"))
    return {n: shapes_of(arguments.get(n.removesuffix("_shape"))) for n in wanted}
