"""Layers that combine several tensors: sums, products, extrema, concatenation, dot products."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lamina import ops
from lamina.core.naming import snake_case
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError, StructureError
from lamina.layers.base import Layer
from lamina.serialization.docstrings import completed, entries
from lamina.serialization.fields import axis_or_axes, field
from lamina.serialization.registry import builtin


@builtin()
class _Merge(Layer):
    """Base class: the input is a list of tensors."""

    _count: ClassVar[int | None] = None  # number of tensors; None for any number

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def _several(self, inputs: Any) -> Sequence[Any]:
        """The inputs, if they are a list of the right length."""
        listed = isinstance(inputs, (list, tuple)) and len(inputs) > 0
        if not listed or self._count not in (None, len(inputs)):
            wanted = "tensors" if self._count is None else f"exactly {self._count} tensors"
            if isinstance(inputs, (list, tuple)):
                received = f"{len(inputs)} tensors" if inputs else "an empty list"
            else:
                received = "not a list"
            raise StructureError(
                f"Layer {self.name!r} ({type(self).__name__}) takes a list of {wanted}. "
                f"Received: {received}. Write `layer([a, b])`.",
                layer=self.name,
            )
        return inputs

    def _shape_error(self, inputs: Sequence[Any], expected: str, cure: str) -> ShapeError:
        return ShapeError(
            f"Layer {self.name!r} ({type(self).__name__}) cannot combine tensors of these shapes.",
            layer=self.name,
            expected=expected,
            received=", ".join(show_dims(x.shape) for x in inputs),
            cure=cure,
        )


@builtin()
class _Elementwise(_Merge):
    """Combine tensors element by element, from the first to the last.

    Batch sizes must be equal. The other axes are broadcast; a tensor with fewer axes gets new ones
    of size 1 after its batch axis. The result has a mask only if every input has one: the union of
    the masks.
    """

    _combine: ClassVar[Callable[[Any, Any], Any]]
    _skips_masked: ClassVar[bool] = False  # leave masked elements out of the result
    _all_masked: ClassVar[float | None] = (
        None  # the result where all are masked; None for the first input
    )

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Combine all inputs."""
        inputs = self._several(inputs)
        rank = max(x.ndim for x in inputs)
        arrays = [_widened(x, rank - x.ndim) for x in inputs]
        self._check(inputs, arrays)
        if mask is None or not self._skips_masked or all(m is None for m in mask):
            return functools.reduce(self._combine, arrays)
        counts = [True if m is None else _extended(_widened(m, rank - x.ndim), rank)
                  for x, m in zip(inputs, mask, strict=True)]  # fmt: skip
        result, seen = arrays[0], counts[0]
        for x, counted in zip(arrays[1:], counts[1:], strict=True):
            alone = jnp.where(counted, x, result)
            both = jnp.logical_and(seen, counted)
            result = jnp.where(both, self._combine(result, x), alone)
            seen = jnp.logical_or(seen, counted)
        return result if self._all_masked is None else jnp.where(seen, result, self._all_masked)

    def _check(self, inputs: Sequence[Any], arrays: Sequence[Any]) -> None:
        for axis, sizes in enumerate(zip(*(x.shape for x in arrays), strict=True)):
            if len(set(sizes) if axis == 0 else set(sizes) - {1}) > 1:
                raise self._shape_error(
                    inputs,
                    "equal batch sizes, and sizes that are equal or 1 on every other axis",
                    _cure(sizes, arrays[0].ndim),
                )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """True where any input is unmasked; None unless every input has a mask."""
        if mask is None or any(m is None for m in mask):
            return None
        rank = max(x.ndim for x in inputs)
        masks = [_widened(m, rank - x.ndim) for x, m in zip(inputs, mask, strict=True)]
        axes = max(m.ndim for m in masks)
        return functools.reduce(ops.logical_or, [_extended(m, axes) for m in masks])


def _cure(sizes: Sequence[Any], rank: int) -> str:
    """How to make tensors of this rank that differ in these dimensions compatible."""
    if not any(isinstance(n, int) for n in sizes):
        return "Dimensions with different names differ. If they are equal, give them one name."
    if rank < 4:
        return "Convert them to one shape first, for example with `Dense` or `Reshape`."
    return (
        "Convert them to one shape first: convolutions with padding='same' keep the shape of an "
        "image, and a convolution with kernel_size=1 changes the number of channels."
    )


def _widened(x: Any, count: int) -> Any:
    """``x`` with ``count`` axes of size 1 after its batch axis."""
    return ops.expand_dims(x, tuple(range(1, 1 + count))) if count else x


def _extended(mask: Any, rank: int) -> Any:
    """``mask`` with trailing axes of size 1, ``rank`` axes in all."""
    return ops.expand_dims(mask, tuple(range(mask.ndim, rank))) if rank > mask.ndim else mask


@builtin("layers")
class Add(_Elementwise):
    """The sum of the inputs: ``a + b + ...``.

    Shapes: a list of ``(batch, ...)`` to ``(batch, ...)``; sizes of 1 are broadcast.

    Raises:
        ShapeError: Batch sizes that differ, or shapes that do not broadcast.

    >>> Add()([jnp.ones((1, 2)), jnp.full((1, 2), 3.0)]).tolist()
    [[4.0, 4.0]]
    """

    _combine = staticmethod(jnp.add)


@builtin("layers")
class Subtract(_Elementwise):
    """The difference of two inputs: ``a - b``.

    Shapes: two of ``(batch, ...)`` to ``(batch, ...)``; sizes of 1 are broadcast.

    Raises:
        StructureError: A different number of inputs than two.
        ShapeError: Batch sizes that differ, or shapes that do not broadcast.

    >>> Subtract()([jnp.ones((1, 2)), jnp.full((1, 2), 3.0)]).tolist()
    [[-2.0, -2.0]]
    """

    _combine = staticmethod(jnp.subtract)
    _count = 2


@builtin("layers")
class Multiply(_Elementwise):
    """The product of the inputs: ``a * b * ...``; masked elements count as 1.

    Shapes: a list of ``(batch, ...)`` to ``(batch, ...)``; sizes of 1 are broadcast.

    Raises:
        ShapeError: Batch sizes that differ, or shapes that do not broadcast.

    >>> Multiply()([jnp.full((1, 2), 2.0), jnp.full((1, 2), 3.0)]).tolist()
    [[6.0, 6.0]]
    """

    _combine = staticmethod(jnp.multiply)
    _skips_masked = True
    _all_masked = 0


@builtin("layers")
class Average(Add):
    """The mean of the inputs: ``(a + b + ...) / n``.

    Shapes: a list of ``(batch, ...)`` to ``(batch, ...)``; sizes of 1 are broadcast. Integers
    become floats.

    Raises:
        ShapeError: Batch sizes that differ, or shapes that do not broadcast.

    >>> Average()([jnp.ones((1, 2)), jnp.full((1, 2), 3.0)]).tolist()
    [[2.0, 2.0]]
    """

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Add the inputs, and divide by their number."""
        return super().call(inputs, mask) / len(inputs)


@builtin("layers")
class Maximum(_Elementwise):
    """The largest of the inputs, elementwise: ``max(a, b, ...)``; masked elements are left out.

    Shapes: a list of ``(batch, ...)`` to ``(batch, ...)``; sizes of 1 are broadcast.

    Raises:
        ShapeError: Batch sizes that differ, or shapes that do not broadcast.

    >>> Maximum()([jnp.array([[1.0, 5.0]]), jnp.array([[3.0, 4.0]])]).tolist()
    [[3.0, 5.0]]
    """

    _combine = staticmethod(jnp.maximum)
    _skips_masked = True


@builtin("layers")
class Minimum(_Elementwise):
    """The smallest of the inputs, elementwise: ``min(a, b, ...)``; masked elements are left out.

    Shapes: a list of ``(batch, ...)`` to ``(batch, ...)``; sizes of 1 are broadcast.

    Raises:
        ShapeError: Batch sizes that differ, or shapes that do not broadcast.

    >>> Minimum()([jnp.array([[1.0, 5.0]]), jnp.array([[3.0, 4.0]])]).tolist()
    [[1.0, 4.0]]
    """

    _combine = staticmethod(jnp.minimum)
    _skips_masked = True


@builtin("layers")
class Concatenate(_Merge):
    """Concatenate tensors along an axis.

    The masks of the inputs are concatenated too if they have that axis. Otherwise, as along the
    features, the mask of the result is the union of the masks. An input without a mask is unmasked
    everywhere.

    Args:
        axis: The axis along which to concatenate; the last one by default.

    Shapes: a list of ``(batch, ..., n_i, ...)`` to ``(batch, ..., sum(n_i), ...)``.

    Raises:
        ShapeError: Ranks that differ, or sizes that differ on another axis.

    >>> Concatenate()([jnp.ones((1, 2)), jnp.zeros((1, 3))]).tolist()
    [[1.0, 1.0, 0.0, 0.0, 0.0]]
    """

    axis: int = -1

    def call(self, inputs: Any) -> Any:
        """Concatenate the inputs."""
        inputs = self._several(inputs)
        rank = inputs[0].ndim
        same_rank = all(x.ndim == rank for x in inputs)
        if same_rank and not -rank <= self.axis < rank:
            raise self._shape_error(
                inputs,
                f"tensors with an axis {self.axis}, the `axis` of this layer",
                f"They have the axes {-rank} to {rank - 1}.",
            )
        if not same_rank or len({self._others(x.shape) for x in inputs}) != 1:
            raise self._shape_error(
                inputs,
                f"the same number of axes, and equal sizes on all of them except axis {self.axis}",
                "Choose another `axis`, or make the other sizes equal first.",
            )
        return jnp.concatenate(inputs, self.axis)

    def _others(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        axis = self.axis % len(shape)
        return (*shape[:axis], *shape[axis + 1 :])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The masks, concatenated if they have the axis; otherwise their union."""
        if mask is None or all(m is None for m in mask):
            return None
        axes = max(m.ndim for m in mask if m is not None)
        everywhere = [
            ops.all(ops.ones_like(x, dtype="bool"), axis=tuple(range(axes, x.ndim))) for x in inputs
        ]
        masks = [
            x if m is None else ops.logical_and(_extended(m, axes), x)
            for x, m in zip(everywhere, mask, strict=True)
        ]
        axis = self.axis % inputs[0].ndim
        if axis < axes:
            return ops.concatenate(masks, axis)
        return functools.reduce(ops.logical_or, masks)


def _read_axes(value: Any) -> int | tuple[int, ...]:
    axes = axis_or_axes(value)
    if isinstance(axes, tuple) and len(axes) != 2:
        raise ArgumentError(f"expected an axis or a pair of axes. Received: {value!r}.")
    return axes


@builtin("layers")
class Dot(_Merge):
    """Dot products along one axis of each of two tensors, sample by sample.

    ``result[n, i, j] = sum_k a[n, i, k] * b[n, k, j]`` for matrices with ``axes=(2, 1)``.

    Args:
        axes: The axis to sum over, or one for each input; not the batch axis.
        normalize: Scale each vector along the axis to an L2 norm of 1 first, so that the result is
            the cosine similarity.

    Shapes: ``(batch, *a, k)`` and ``(batch, k, *b)`` to ``(batch, *a, *b)``, and to ``(batch, 1)``
    if only the batch axis would be left.

    Raises:
        StructureError: A different number of inputs than two.
        ShapeError: Sizes that differ along the axes or the batch; an axis that does not exist.

    >>> Dot(axes=1)([jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])]).tolist()
    [[11.0]]
    """

    axes: int | tuple[int, ...] = field(convert=_read_axes)
    normalize: bool = False
    _count = 2

    def call(self, inputs: Any) -> Any:
        """Multiply and sum."""
        a, b = self._several(inputs)
        axes = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        fits = all(-x.ndim <= k < x.ndim and k % x.ndim for x, k in zip((a, b), axes, strict=True))
        if not fits or a.shape[axes[0]] != b.shape[axes[1]] or a.shape[0] != b.shape[0]:
            raise self._shape_error(
                inputs,
                f"equal sizes of axis {axes[0]} of the first and axis {axes[1]} of the second "
                "(no batch axis among them), and equal batch sizes",
                "Choose other `axes`; axis 0 is the batch.",
            )
        if self.normalize:
            a, b = ops.normalize(a, axes[0]), ops.normalize(b, axes[1])
        dtype = jnp.result_type(a, b)
        contracted = ((axes[0] % a.ndim,), (axes[1] % b.ndim,))
        result = jax.lax.dot_general(a.astype(dtype), b.astype(dtype), (contracted, ((0,), (0,))))
        return result[:, None] if result.ndim == 1 else result

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """None: the masked positions are summed over."""
        return None


# The call in the example of a layer: its arguments and its inputs.
_OF_LAYER = re.compile(r">>> \w+\((.*?)\)\((\[.*\])\)")


def _function(cls: type[_Merge], **defaults: Any) -> Callable[..., Any]:
    """The layer as a function of a list: ``add([a, b])`` is ``Add()([a, b])``."""
    own = [
        p.replace(default=defaults.get(p.name, p.default))
        for p in inspect.signature(cls).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    inputs = inspect.Parameter("inputs", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    kwargs = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
    signature = inspect.Signature([inputs, *own, kwargs])

    def merge(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        inputs, rest = given.pop("inputs"), given.pop("kwargs", {})
        return cls(**{**defaults, **given, **rest})(inputs)

    merge.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    merge.__name__ = merge.__qualname__ = snake_case(cls.__name__)
    described = {"inputs": "List of tensors.", **entries(cls.__doc__)}
    merge.__doc__ = completed(
        f"Functional form of :class:`{cls.__name__}`.",
        signature.parameters,
        {**described, "kwargs": "Arguments of :class:`Layer`, such as ``name``."},
        Returns="    The result of calling the layer on ``inputs``.",
    ).replace("    kwargs:", "    **kwargs:")
    example = "\n\n>>> " + inspect.cleandoc(cls.__doc__ or "").partition("\n\n>>> ")[2]
    merge.__doc__ += _OF_LAYER.sub(rf">>> {merge.__name__}(\2, \1)", example).replace(", )", ")")
    return merge


add = _function(Add)
subtract = _function(Subtract)
multiply = _function(Multiply)
average = _function(Average)
maximum = _function(Maximum)
minimum = _function(Minimum)
concatenate = _function(Concatenate)
dot = _function(Dot, axes=-1)

__all__ = [
    "Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract", "add",
    "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract",
]  # fmt: skip
