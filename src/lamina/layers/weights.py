"""The initializers, regularizers and constraints of weights as arguments of layers.

There is one of each for every kind of weight. The combinations that several layers share are base
classes here; :func:`add_weight` uses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lamina import constraints, initializers, regularizers
from lamina.core.variable import Variable
from lamina.layers.base import Layer
from lamina.serialization.fields import field
from lamina.serialization.registry import builtin


def initializer(default: Any) -> Any:
    """A field that holds an initializer."""
    return field(default=default, convert=initializers.get)


def regularizer() -> Any:
    """A field that holds a regularizer, or None."""
    return field(default=None, convert=regularizers.get)


def constraint() -> Any:
    """A field that holds a constraint, or None."""
    return field(default=None, convert=constraints.get)


def add_weight(
    layer: Layer, kind: str, shape: Sequence[int], name: str = "", **options: Any
) -> Variable:
    """Add a weight with the layer's initializer, regularizer and constraint for its kind.

    Args:
        layer: The layer, which has the fields ``{kind}_initializer`` and so on.
        kind: Prefix of the fields' names, such as ``"kernel"``.
        shape: The shape of the weight.
        name: The name of the weight; ``kind`` by default.
        options: Further arguments of :meth:`Layer.add_weight`, which take precedence over the
            fields.
    """
    values = vars(layer)
    return layer.add_weight(
        shape,
        **{
            "initializer": values[f"{kind}_initializer"],
            "regularizer": values[f"{kind}_regularizer"],
            "constraint": values[f"{kind}_constraint"],
            "name": name or kind,
            **options,
        },
    )


def penalties(**weights: str) -> dict[str, str]:
    """Descriptions of the regularizers and constraints of weights, for docstrings.

    >>> penalties(bias="the bias")["bias_constraint"]
    'Projection of the bias after each update.'
    """
    return {
        f"{kind}_{argument}": text.format(weight)
        for argument, text in (
            ("regularizer", "Penalty on {}, added to the loss."),
            ("constraint", "Projection of {} after each update."),
        )
        for kind, weight in weights.items()
    }


@builtin()
class KernelAndBias(Layer, trailing=True, kw_only=True):
    """The last arguments of layers with a ``kernel`` and a ``bias``."""

    _shared_arguments: ClassVar[Mapping[str, str]] = {
        **penalties(kernel="the kernel", bias="the bias"),
        "activity_regularizer": "Penalty on the output, added to the loss.",
    }

    kernel_initializer: Any = initializer("glorot_uniform")
    bias_initializer: Any = initializer("zeros")
    kernel_regularizer: Any = regularizer()
    bias_regularizer: Any = regularizer()
    activity_regularizer: Any = regularizer()
    kernel_constraint: Any = constraint()
    bias_constraint: Any = constraint()


@builtin()
class AffineInitializers(Layer, trailing=True, kw_only=True):
    """The initializers of a learned scale ``gamma`` and offset ``beta``."""

    beta_initializer: Any = initializer("zeros")
    gamma_initializer: Any = initializer("ones")


@builtin()
class AffinePenalties(Layer, trailing=True, kw_only=True):
    """The regularizers and constraints of ``gamma`` and ``beta``."""

    _shared_arguments: ClassVar[Mapping[str, str]] = penalties(beta="``beta``", gamma="``gamma``")

    beta_regularizer: Any = regularizer()
    gamma_regularizer: Any = regularizer()
    beta_constraint: Any = constraint()
    gamma_constraint: Any = constraint()
