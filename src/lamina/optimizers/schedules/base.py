"""The base class of learning rate schedules."""

from __future__ import annotations

from typing import Any

import jax

from lamina.serialization.fields import Configurable
from lamina.serialization.registry import builtin


@builtin("optimizers.schedules")
class LearningRateSchedule(Configurable):
    """Base class of schedules: a learning rate that depends on the number of updates so far.

    Subclasses implement ``__call__(step)``, where ``step`` may be a traced integer: use
    :mod:`lamina.ops` or ``jax.numpy``, not ``if``.

    >>> import jax.numpy as jnp
    >>> class Root(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 1.0 / jnp.sqrt(1.0 + step)
    >>> float(Root()(3))
    0.5
    """

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate after ``step`` updates, a scalar."""
        raise NotImplementedError(
            f"{type(self).__name__} does not implement `__call__(self, step)`."
        )
