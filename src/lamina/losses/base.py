"""What every loss shares: the shape rule, weights and masks, reductions, and :class:`Loss`.

The shape rule holds for loss classes, loss functions and metrics alike, and is checked on static
shapes, so also while tracing: targets and predictions have equal shapes, or one of them has an
additional trailing axis of size 1. Nothing is ever broadcast.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

from lamina import ops, settings
from lamina.core import naming
from lamina.core.operation import merge_masks
from lamina.core.scope import get_mask
from lamina.core.spec import agree
from lamina.core.tracking import Versioned
from lamina.dtype_policies.dtypes import canonical, is_float, standardize_dtype
from lamina.dtype_policies.policy import get_policy
from lamina.errors import ShapeError
from lamina.serialization import registry
from lamina.serialization.docstrings import completed
from lamina.serialization.fields import Configurable, field, fields_of, one_of
from lamina.serialization.namespaces import accessors
from lamina.serialization.registry import builtin
from lamina.tree import nested

_F = TypeVar("_F", bound=Callable[..., Any])

Kind = Literal["elements", "vectors", "classes", "labels"]
"""What a function compares: single elements, whole vectors, scores with a class index
(``"classes"``), or other shapes that contain class indices (``"labels"``)."""
_WITH_INDICES = ("classes", "labels")

# ---- the shape rule ------------------------------------------------------------------------------


def aligned(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Adapt the rank of the target to that of the prediction, by a trailing axis of size 1.

    A vector of predictions with a column of targets becomes a column. All other pairs are returned
    unchanged.

    >>> [x.shape for x in aligned(np.zeros((4, 1)), np.zeros(4))]
    [(4, 1), (4, 1)]
    >>> [x.shape for x in aligned(np.zeros((4, 2)), np.zeros((4, 2, 1)))]
    [(4, 2, 1), (4, 2, 1)]
    """
    t, p = tuple(y_true.shape), tuple(y_pred.shape)
    if t == (*p, 1):
        if len(p) == 1:
            return y_true, ops.expand_dims(y_pred, -1)
        return ops.squeeze(y_true, -1), y_pred
    if p == (*t, 1):
        return ops.expand_dims(y_true, -1), y_pred
    return y_true, y_pred


def matched(y_true: Any, y_pred: Any, where: str) -> tuple[Any, Any]:
    """Convert targets and predictions to equal shapes by the shape rule.

    Args:
        y_true: Targets.
        y_pred: Predictions.
        where: Name of the loss or metric, for the message.

    Raises:
        ShapeError: Shapes that differ by more than a trailing axis of size 1.

    >>> matched(np.zeros((8, 1)), np.zeros((8, 3)), "mean_squared_error")
    Traceback (most recent call last):
    ...
    lamina.errors.ShapeError: mean_squared_error: the targets and predictions do not match.
      expected: y_true of shape (8, 3), like y_pred, or with an additional trailing axis of size 1
      received: y_true of shape (8, 1), y_pred of shape (8, 3)
    Give the last layer 1 unit instead of 3; or, if y_true holds class indices, use a \
`sparse_categorical_...` loss or metric.
    """
    y_true, y_pred = aligned(y_true, y_pred)
    t, p = tuple(y_true.shape), tuple(y_pred.shape)
    if not agree(t, p):
        raise ShapeError(
            f"{where}: the targets and predictions do not match.",
            expected=(
                f"y_true of shape {p}, like y_pred, or with an additional "
                f"{'or missing ' if p[-1:] == (1,) else ''}trailing axis of size 1"
            ),
            received=f"y_true of shape {t}, y_pred of shape {p}",
            cure=_cure(t, p),
        )
    return y_true, y_pred


def class_numbers(y_true: Any, y_pred: Any, axis: int, where: str) -> Any:
    """Class indices without the class axis, as int32.

    Args:
        y_true: Class indices, of the shape of ``y_pred`` without ``axis``, or with size 1 there.
        y_pred: One score for each class along ``axis``.
        axis: Axis of the classes.
        where: Name of the loss or metric, for the message.

    Raises:
        ShapeError: Any other shape, such as that of one-hot targets.

    >>> class_numbers(np.array([[2], [0]]), np.zeros((2, 3)), -1, "loss")
    Array([2, 0], dtype=int32)
    """
    t, p = tuple(y_true.shape), tuple(y_pred.shape)
    if not -len(p) <= axis < len(p):
        raise ShapeError(
            f"{where}: y_pred has no axis of classes.",
            expected=f"an axis {axis}",
            received=f"y_pred of shape {p}",
            cure="Give the last layer one unit for each class.",
        )
    axis %= len(p)
    without, kept = p[:axis] + p[axis + 1 :], (*p[:axis], 1, *p[axis + 1 :])
    if p[axis] != 1 and agree(t, p):
        raise ShapeError(
            f"{where}: the targets look one-hot.",
            expected=f"class indices of shape {without}",
            received=f"y_true of shape {t}, like y_pred",
            cure=(
                "Use the loss or metric without `sparse`, or pass `y_true.argmax("
                f"{axis - len(p)})`."
            ),
        )
    if agree(t, kept):
        y_true = ops.squeeze(y_true, axis)
    elif not agree(t, without):
        raise ShapeError(
            f"{where}: the targets and predictions do not match.",
            expected=f"class indices of shape {without} or {kept}",
            received=f"y_true of shape {t}, y_pred of shape {p}",
            cure=_cure_of_classes(t, p, without),
        )
    return ops.cast(y_true, "int32")


_LENGTHS = "The batch sizes differ: check that x and y have the same samples."
_AXES = (
    "y_pred has more axes than y_true: end the model with {} (`Flatten` or a global "
    "pooling before the last layer, or `return_sequences=False`)."
)


def _cure_of_classes(t: tuple[Any, ...], p: tuple[Any, ...], without: tuple[Any, ...]) -> str:
    """The probable cause, for targets that are class indices."""
    if t and t[0] != p[0]:
        return _LENGTHS
    if t[:-1] == without:
        return (
            f"If y_true is one-hot with {t[-1]} classes, give the last layer {t[-1]} units and use "
            "the loss or metric without `sparse`."
        )
    if len(t) < len(without):
        return _AXES.format("one vector of scores for each sample")
    return "Reshape y_true to one class index for each vector of scores in y_pred."


def _cure(t: tuple[Any, ...], p: tuple[Any, ...]) -> str:
    """The probable cause."""
    if t and p and t[0] != p[0]:
        return _LENGTHS
    if len(t) == len(p) and t[:-1] == p[:-1]:
        units = f"Give the last layer {t[-1]} unit{'s' * (t[-1] != 1)} instead of {p[-1]}"
        if t[-1] == 1:
            return (
                f"{units}; or, if y_true holds class indices, use a `sparse_categorical_...` loss "
                "or metric."
            )
        return f"{units}, or choose the columns of y_true that the model predicts."
    if t == p[:-1]:
        return (
            f"y_true lacks the last axis. If it holds class indices, make them one-hot with "
            f"`lamina.utils.to_categorical(y, {p[-1]})` or use a `sparse_categorical_...` loss or "
            "metric; if it holds single values, give the last layer 1 unit."
        )
    if len(p) > len(t):
        return _AXES.format("one value for each target")
    return "Reshape y_true to the shape of the output, or change the last layers of the model."


def weights_like(values: Any, weights: Any, what: str, where: str) -> Any:
    """``weights`` with as many axes as ``values``, the missing ones being of size 1.

    Args:
        values: The values to weight.
        weights: Of the shape of ``values`` or of its first axes, ``(batch,)`` or ``(batch, time)``;
            a further axis of size 1 may follow.
        what: ``"sample_weight"`` or ``"mask"``, for the message.
        where: Name of the loss or metric, for the message.

    Raises:
        ShapeError: Any other shape.

    >>> weights_like(ops.zeros((2, 3)), [1.0, 0.0], "sample_weight", "mse").shape
    (2, 1)
    """
    weights = ops.convert_to_tensor(weights)
    v, w = tuple(values.shape), tuple(weights.shape)
    if not agree(w, v[: len(w)]) and w[-1:] == (1,):
        weights, w = ops.squeeze(weights, -1), w[:-1]
    if not agree(w, v[: len(w)]):
        shape = tuple(weights.shape)
        if len(w) > len(v):
            axes = tuple(range(len(v), len(w)))
            cure = (
                f"It has more axes than the values. Reduce them first, for example "
                f"`{what}.mean(axis={axes[0] if len(axes) == 1 else axes})`."
            )
        else:
            cure = "Give one weight for each sample, `(batch,)`, or each step, `(batch, time)`."
        raise ShapeError(
            f"{where}: the shape of {what} does not match that of the values.",
            expected=f"shape {v}, or its first axes, as in {v[:1]}",
            received=f"{what} of shape {shape}",
            cure=cure,
        )
    if len(w) < len(v):
        weights = ops.expand_dims(weights, tuple(range(len(w), len(v))))
    return ops.cast(weights, values.dtype)


def safe_divide(a: Any, b: Any) -> Any:
    """``a / b``, and 0 where ``b`` is 0, with finite gradients.

    >>> safe_divide(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    zero = ops.equal(b, 0)
    return ops.where(zero, 0, a / ops.where(zero, 1, b))


def weighted(values: Any, weights: Any) -> Any:
    """``values * weights``; a weight of 0 removes even a value that is not finite.

    >>> weighted(ops.convert_to_tensor([2.0, np.inf]), np.array([3.0, 0.0])).tolist()
    [6.0, 0.0]
    """
    return ops.where(ops.equal(weights, 0), 0, values * weights)


REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


def reduce(values: Any, sample_weight: Any, mask: Any, reduction: str | None, where: str) -> Any:
    """Weight the values of a loss and reduce them to one number.

    =========================== =================================
    ``sum_over_batch_size``     ``sum(w * v) / number of values``
    ``mean``                    the same
    ``sum``                     ``sum(w * v)``
    ``mean_with_sample_weight`` ``sum(w * v) / sum(w)``
    ``none``, None              ``w * v``
    =========================== =================================

    Masked values count neither in the numerator nor in the denominator; a mean of no values is 0.

    >>> reduce(np.array([1.0, 3.0]), np.array([1.0, 2.0]), None, "mean", "loss").item()
    3.5
    >>> reduce(np.array([1.0, 3.0]), None, np.array([True, False]), "mean", "loss").item()
    1.0
    """
    values = ops.convert_to_tensor(values)
    if not values.shape:  # a loss that has averaged already: every sample has this value
        mask, shape = None, () if sample_weight is None else np.shape(sample_weight)
        values = ops.broadcast_to(values, shape)
    counted = None if mask is None else weights_like(values, mask, "mask", where)
    weights = counted
    if sample_weight is not None:
        weights = weights_like(values, sample_weight, "sample_weight", where)
        weights = weights if counted is None else weights * counted
    result = values if weights is None else weighted(values, weights)
    if reduction in ("none", None):
        return result
    if reduction == "sum":
        return ops.sum(result)
    denominator = weights if reduction == "mean_with_sample_weight" else counted
    if denominator is None:
        return ops.mean(result)
    return safe_divide(ops.sum(result), ops.sum(denominator * ops.ones_like(values)))


# ---- functions -----------------------------------------------------------------------------------


def as_float(x: Any) -> Any:
    """``x`` as a tensor, with its own dtype if that is a float, else with ``floatx``."""
    x = ops.convert_to_tensor(x)
    return x if is_float(standardize_dtype(x.dtype)) else ops.cast(x, settings.floatx())


def as_pair(y_true: Any, y_pred: Any, where: str) -> tuple[Any, Any]:
    """Both as tensors with the float dtype and the shape of the prediction."""
    y_pred = as_float(y_pred)
    return matched(ops.convert_to_tensor(y_true, y_pred.dtype), y_pred, where)


def loss_function(kind: Kind, *aliases: str) -> Callable[[_F], _F]:
    """Decorator: register a loss function, under its own name and ``aliases``.

    Unless its targets are class indices, the function is called with tensors of the same shape and
    float dtype.

    Args:
        kind: What the function compares.
        aliases: Further names for :func:`get`.
    """

    def publish(fn: _F) -> _F:
        return registry.builtin("losses", *aliases)(pairwise(kind, fn))

    return publish


# What the docstrings of functions of elements share.
_ARGUMENTS = {
    "y_true": "Targets, ``(batch, ..., n)``.",
    "y_pred": "Predictions of the same shape, or differing by one trailing axis of size 1.",
}
_RESULTS = (
    "    Values of shape ``(batch, ...)``.",
    "    Values of the same shape without ``axis``.",
)
_ERRORS = "    ShapeError: Different shapes, which are not broadcast."


def pairwise(kind: Kind, fn: _F) -> _F:
    """``fn(y_true, y_pred, ...)`` under the shape rule; its ``kind`` says what it compares."""
    name = fn.__name__  # pyright: ignore[reportFunctionMemberAccess]
    if kind in ("elements", "vectors"):
        names = inspect.signature(fn).parameters
        fn.__doc__ = completed(
            fn.__doc__, names, _ARGUMENTS, Returns=_RESULTS["axis" in names], Raises=_ERRORS
        )

    @functools.wraps(fn)
    def call(y_true: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        if kind not in _WITH_INDICES:
            y_true, y_pred = as_pair(y_true, y_pred, name)
        return fn(y_true, y_pred, *args, **kwargs)

    call.kind = kind  # pyright: ignore[reportAttributeAccessIssue]
    return call  # pyright: ignore[reportReturnType]


def kind_of(fn: Callable[..., Any]) -> Kind | None:
    """What a loss or metric function compares; None for a user's function."""
    return vars(fn).get("kind") if inspect.isfunction(fn) else None


def values_of(fn: Callable[..., Any], y_true: Any, y_pred: Any, **arguments: Any) -> Any:
    """Call a loss or metric function so that a batch of scalars gives a value for each of them.

    For elementwise functions ``(batch,)`` is the same as ``(batch, 1)``. Users' functions are
    called with the result of :func:`aligned`, and may compare any shapes.
    """
    if nested.is_nested(y_true) or nested.is_nested(y_pred):
        return fn(y_true, y_pred, **arguments)
    kind = kind_of(fn)
    if kind not in _WITH_INDICES:
        y_true, y_pred = aligned(y_true, y_pred)
    if kind == "elements" and len(y_true.shape) == len(y_pred.shape) == 1:
        y_true, y_pred = ops.expand_dims(y_true, -1), ops.expand_dims(y_pred, -1)
    return fn(y_true, y_pred, **arguments)


# ---- classes -------------------------------------------------------------------------------------


def compute_dtype(value: Any) -> str:
    """The name of the dtype that a loss or metric computes in: ``floatx`` unless one is given."""
    return get_policy(settings.floatx() if value is None else value).compute_dtype


REDUCTION: Any = field(default="sum_over_batch_size", convert=one_of(*REDUCTIONS))
DTYPE: Any = field(default=None, convert=compute_dtype)


@runtime_checkable
class _Shaped(Protocol):
    """Tensors of any library."""

    @property
    def shape(self) -> Any: ...


def tensors(x: Any, dtype: str | None) -> Any:
    """``x`` with tensors as leaves; a list of numbers is one tensor."""
    if isinstance(x, Mapping) or any(isinstance(leaf, _Shaped) for leaf in nested.flatten(x)):
        return nested.map_structure(
            lambda leaf: None if leaf is None else ops.convert_to_tensor(leaf, dtype), x
        )
    return None if x is None else ops.convert_to_tensor(np.asarray(x), dtype)


@builtin("losses")
class Loss(Versioned, Configurable):
    """Base class of losses: a value for each sample, and their reduction to one number.

    To write a loss, implement ``call``, which returns one value for each sample::

        class Pinball(lamina.losses.Loss):
            def __init__(self, quantile=0.5, name="pinball", **kwargs):
                super().__init__(name=name, **kwargs)
                self.quantile = quantile

            def call(self, y_true, y_pred):
                error = y_true - y_pred
                return ops.mean(ops.maximum(self.quantile * error, (self.quantile - 1) * error), -1)

    Args:
        name: Name; derived from that of the class when None.
        reduction: ``"sum_over_batch_size"`` or ``"mean"`` (the sum of the weighted values, divided
            by their number), ``"sum"``, ``"mean_with_sample_weight"`` (divided by the sum of the
            weights), or ``"none"`` or None (the weighted values themselves).
        dtype: Dtype or policy to compute in; ``floatx`` when None.

    >>> class Largest(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return ops.max(ops.abs(y_true - y_pred), axis=-1)
    >>> Largest()(np.zeros((2, 2)), np.array([[1.0, -3.0], [0.0, 1.0]])).item()
    2.0
    """

    name: str | None = None
    reduction: str | None = REDUCTION
    dtype: Any = DTYPE

    def __post_init__(self) -> None:
        if self.name is None:
            self.name = naming.auto_name(type(self).__name__)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The values of the loss, at least one for each sample.

        Args:
            y_true: Targets: a tensor, or a nested structure of tensors.
            y_pred: Predictions of the model.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not implement `call(self, y_true, y_pred)`."
        )

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The reduced loss.

        Args:
            y_true: Targets: a tensor, or a nested structure of tensors.
            y_pred: Predictions. Values where the predictions, or the values that ``call`` returns,
                are masked are ignored.
            sample_weight: Weights of the values, with their shape or its first axes.

        Returns:
            A scalar, or the values if the reduction is none, in the dtype of the loss.

        Raises:
            ShapeError: Targets or weights whose shapes do not match those of the predictions.
        """
        mask = None if nested.is_nested(y_pred) else get_mask(y_pred)
        dtype = canonical(self.dtype)
        y_pred = tensors(y_pred, dtype)
        y_true = tensors(y_true, None if self._takes_class_indices() else dtype)
        values = self.call(y_true, y_pred)
        mask = merge_masks([mask, get_mask(values)])
        return reduce(values, sample_weight, mask, self.reduction, str(self.name))

    def _takes_class_indices(self) -> bool:
        """Whether targets are integers that a float dtype might not represent."""
        return False

    @property
    def reads(self) -> Literal["logits", "probabilities"] | None:
        """How the predictions are interpreted, if the loss is defined for one of these."""
        return None

    @property
    def class_axis(self) -> int | None:
        """The axis of the predictions that targets are indices of."""
        return None

    @property
    def ignored_class(self) -> int | None:
        """The class index of targets to ignore."""
        return None

    def get_config(self) -> dict[str, Any]:
        config_ = super().get_config()
        if config_.get("dtype") == settings.floatx():
            del config_["dtype"]  # as Keras does: users' classes often take no `dtype`
        return config_


def _parameters(fn: Any) -> Collection[str]:
    try:
        return inspect.signature(fn).parameters
    except (TypeError, ValueError):  # a callable without a signature
        return ()


@builtin("losses")
class FunctionLoss(Loss):
    """A loss whose values a function computes: the base class of all built-in ones."""

    fn: ClassVar[Any]
    _shared_arguments: ClassVar[Mapping[str, str]] = {
        "reduction": "How to reduce the values: see :class:`Loss`.",
        "name": "Name of the loss.",
        "dtype": "Dtype or policy to compute in; ``floatx`` when None.",
    }

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the function besides targets and predictions."""
        return {name: vars(self)[name] for name in fields_of(type(self), beyond=Loss)}

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return values_of(self.fn, y_true, y_pred, **self._arguments())

    def _takes_class_indices(self) -> bool:
        return kind_of(self.fn) in _WITH_INDICES

    @property
    def reads(self) -> Literal["logits", "probabilities"] | None:
        if "from_logits" not in _parameters(self.fn):
            return None
        return "logits" if self._arguments().get("from_logits") else "probabilities"

    @property
    def class_axis(self) -> int | None:
        if kind_of(self.fn) != "classes":
            return None
        return self._arguments().get("axis", -1)

    @property
    def ignored_class(self) -> int | None:
        return self._arguments().get("ignore_class")


FUNCTION: Any = field(convert=lambda value: registry.resolve("losses", value, "loss"))


@builtin("losses")
class LossFunctionWrapper(FunctionLoss):
    """Any function ``(y_true, y_pred) -> values`` as a :class:`Loss`.

    Args:
        fn: The function, or the name of a built-in one.
        reduction: See :class:`Loss`.
        name: A name; the function's own when None.
        dtype: Dtype or policy to compute in; ``floatx`` when None.
        **kwargs: Other arguments of the function.

    >>> loss = LossFunctionWrapper("huber", delta=2.0)
    >>> loss.name, loss(np.zeros((1, 1)), np.full((1, 1), 3.0)).item()
    ('huber', 4.0)
    """

    fn: Any = FUNCTION
    reduction: str | None = REDUCTION
    name: str | None = None
    dtype: Any = DTYPE

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        self._extra = extra
        return {}

    def __post_init__(self) -> None:
        if self.name is None:
            self.name = naming.name_of(self.fn)

    def _arguments(self) -> dict[str, Any]:
        return self._extra

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._extra}


get, serialize, deserialize = accessors("losses", "loss", "MeanSquaredError", config="name")


def as_loss(identifier: Any) -> Loss | None:
    """The :class:`Loss` that ``identifier`` stands for; None stays None.

    Args:
        identifier: A name, function of ``(y_true, y_pred)``, config, class, loss, or None.

    >>> as_loss("mse").name
    'mean_squared_error'
    """
    loss = get(identifier)
    return loss if loss is None or isinstance(loss, Loss) else LossFunctionWrapper(loss)
