"""What a student is to have in common with its teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina import losses
from lamina.errors import ArgumentError, GraphError
from lamina.serialization.fields import Configurable, field, number
from lamina.serialization.registry import builtin
from lamina.tree import nested


def _read_losses(value: Any) -> Any:
    """Convert the names in a nesting of losses; None means no loss."""
    found = nested.map_structure(losses.get, value)
    if all(loss is None for loss in nested.flatten(found)):
        raise ArgumentError(f"expected at least one loss that is not None. Received: {value!r}.")
    return found


_LOSSES = {
    name: field(default=name, convert=_read_losses) for name in ("kl_divergence", "mse")
}  # fmt: skip


@builtin("distillation")
class DistillationLoss(Configurable):
    """Base class of losses between the outputs of a teacher and of a student.

    Subclasses override :meth:`compute_loss`, and :meth:`validate_outputs` or
    :meth:`validate_model_compatibility` where they expect more.

    >>> class Largest(DistillationLoss):
    ...     def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
    ...         return jnp.max(jnp.abs(teacher_outputs - student_outputs))
    >>> float(Largest().compute_loss(jnp.ones(2), jnp.zeros(2)))
    1.0
    """

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """The loss, a scalar.

        Args:
            teacher_outputs: What the teacher computes, in any nesting.
            student_outputs: What the student computes, in the same nesting.
            kwargs: For subclasses.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no `compute_loss`. Define `def compute_loss(self, "
            "teacher_outputs, student_outputs, **kwargs)`, which returns a scalar."
        )

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Check that both nestings are the same.

        Raises:
            StructureError: They are not.
        """
        nested.assert_same_structure(teacher_outputs, student_outputs)

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Check whether the loss applies to two models; called once, before training."""


def _summed(losses_: Any, teacher: Any, student: Any, apply: Callable[[Any, Any, Any], Any]) -> Any:
    """The sum of the mean losses of all outputs that have a loss."""
    parts = zip(*map(nested.flatten, (losses_, teacher, student)), strict=True)
    total: Any = sum(apply(loss, t, s) for loss, t, s in parts if loss is not None)
    return total


def _is_divergence(loss: Any) -> bool:
    return loss is losses.kl_divergence or isinstance(loss, losses.KLDivergence)


@builtin("distillation")
class LogitsDistillation(DistillationLoss):
    """The loss between the logits of teacher and student, both divided by a temperature.

    With the Kullback-Leibler divergence, the softmax of both is compared, and the loss multiplied
    by ``temperature ** 2``, so that its gradients do not depend on the temperature's magnitude; any
    other loss receives the divided logits. Hinton et al. 2015, arXiv:1503.02531. In Keras 3.15 the
    default, ``"kl_divergence"``, compares the logits themselves, and only ``KLDivergence()``
    compares their softmax.

    Args:
        temperature: What to divide logits by; higher values weigh small probabilities more.
        loss: A loss or its name; for several outputs a nesting of them, with None for outputs to
            leave out.

    Raises:
        ArgumentError: No loss, or a temperature that is not positive.

    >>> loss = LogitsDistillation(temperature=2.0)
    >>> float(loss.compute_loss(jnp.array([[2.0, 0.0]]), jnp.array([[2.0, 0.0]])))
    0.0
    """

    temperature: float = field(default=3.0, convert=number("(0, inf)"))
    loss: Any = _LOSSES["kl_divergence"]

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        def apply(loss: Any, teacher: Any, student: Any) -> Any:
            teacher, student = (jnp.asarray(x) / self.temperature for x in (teacher, student))
            if not _is_divergence(loss):
                return jnp.mean(loss(teacher, student))
            return jnp.mean(loss(jax.nn.softmax(teacher), jax.nn.softmax(student))) * (
                self.temperature**2
            )

        return _summed(self.loss, teacher_outputs, student_outputs, apply)


@builtin("distillation")
class FeatureDistillation(DistillationLoss):
    """The loss between what two layers compute, one of the teacher and one of the student.

    Romero et al. 2015, arXiv:1412.6550.

    Args:
        loss: A loss or its name; for several outputs a nesting of them, with None for outputs to
            leave out.
        teacher_layer_name: Name of the teacher's layer; its outputs when None.
        student_layer_name: Name of the student's layer; its outputs when None.

    Raises:
        ArgumentError: No loss.
        GraphError: When the distiller is created, a layer is named of a model without a graph.
        UnknownNameError: Likewise, a layer that the model does not have.

    >>> loss = FeatureDistillation("mae", teacher_layer_name="hidden", student_layer_name="hidden")
    >>> float(loss.compute_loss(jnp.array([[1.0, 3.0]]), jnp.array([[1.0, 2.0]])))
    0.5
    """

    loss: Any = _LOSSES["mse"]
    teacher_layer_name: str | None = None
    student_layer_name: str | None = None

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        for role, model, name in (
            ("teacher", teacher, self.teacher_layer_name),
            ("student", student, self.student_layer_name),
        ):
            if name is None:
                continue
            if model.layer_graph is None:
                raise GraphError(
                    f"FeatureDistillation() names layer {name!r} of the {role} {model.name!r}, "
                    "which has no graph: its layers cannot be observed. Use a functional or "
                    "sequential model, or leave out the name to compare its outputs."
                )
            model.get_layer(name)

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        return _summed(
            self.loss, teacher_outputs, student_outputs,
            lambda loss, teacher, student: jnp.mean(loss(teacher, student)),
        )  # fmt: skip
