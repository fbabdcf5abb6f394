"""A model that trains a student to have what a teacher has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from lamina import losses, metrics
from lamina.core.spec import agree, show_dims
from lamina.distillation.losses import DistillationLoss, FeatureDistillation
from lamina.errors import ArgumentError, ShapeError
from lamina.models import Model
from lamina.serialization.fields import number
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config
from lamina.tree import nested

_FINAL = "final_output"
_TRACKED = ("student_loss", "distillation_loss", "total_loss")
_fraction = number("[0, 1]")


@builtin("distillation")
class Distiller(Model):
    """Trains a student on targets, and on the outputs of a teacher, which is frozen.

    The loss is ``student_loss_weight * (loss of the targets) + (1 - student_loss_weight) * (sum of
    the weighted distillation losses)``; the logs report its parts too. Its outputs are the
    student's.

    Args:
        teacher: A trained model.
        student: The model to train, with inputs and outputs of the same shapes and dtypes. It is
            the attribute :attr:`student`, to be used by itself afterwards.
        distillation_losses: A :class:`DistillationLoss`, or a list of them.
        distillation_loss_weights: A weight for each of a list of losses; 1 when None.
        student_loss_weight: Weight of the loss of the targets, from 0 to 1.
        name: Name of the model.
        **kwargs: Further arguments of :class:`~lamina.Model`.

    Raises:
        ArgumentError: Something else than models and losses, or a wrong number of weights.
        ShapeError: Inputs or outputs of teacher and student that differ.

    >>> import lamina
    >>> from lamina.distillation import LogitsDistillation
    >>> def network(units):
    ...     hidden = lamina.layers.Dense(units, activation="relu")
    ...     return lamina.Sequential([lamina.Input((4,)), hidden, lamina.layers.Dense(3)])
    >>> distiller = Distiller(network(32), network(4), LogitsDistillation(temperature=2.0))
    >>> loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> distiller.compile("adam", loss)
    >>> history = distiller.fit(jnp.ones((8, 4)), jnp.ones(8), verbose=0)
    >>> sorted(history.history)
    ['distillation_loss', 'loss', 'student_loss', 'total_loss']
    """

    def __init__(
        self,
        teacher: Model,
        student: Model,
        distillation_losses: Any,
        distillation_loss_weights: Any = None,
        student_loss_weight: float = 0.5,
        name: str | None = "distiller",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        several = isinstance(distillation_losses, (list, tuple))
        listed = list(distillation_losses) if several else [distillation_losses]
        weights = [1.0] * len(listed)
        if several and distillation_loss_weights is not None:
            weights = list(distillation_loss_weights)
        for role, model in (("teacher", teacher), ("student", student)):
            if not isinstance(model, Model):
                raise ArgumentError(f"Distiller(): `{role}` must be a model. Received: {model!r}.")
        if not listed or not all(isinstance(x, DistillationLoss) for x in listed):
            raise ArgumentError(
                "Distiller(): `distillation_losses` must be a distillation loss or a list of them, "
                f"such as `LogitsDistillation()`. Received: {distillation_losses!r}."
            )
        if len(weights) != len(listed):
            raise ArgumentError(
                f"Distiller(): `distillation_loss_weights` must have {len(listed)} weights, one "
                f"for each loss. Received: {weights}."
            )
        try:
            self.student_loss_weight = _fraction(student_loss_weight)
        except ArgumentError as e:
            raise e.with_details("Distiller(): `student_loss_weight`") from e
        _compare(teacher, student)
        self.teacher, self.student = teacher, student
        self.distillation_losses, self.distillation_loss_weights = listed, weights
        for loss in listed:
            loss.validate_model_compatibility(teacher, student)
        features = [x for x in listed if isinstance(x, FeatureDistillation)]
        self._teacher_feature_extractor = _extractor(
            teacher, [x.teacher_layer_name for x in features]
        )
        self._student_feature_extractor = _extractor(
            student, [x.student_layer_name for x in features]
        )
        teacher.trainable = False
        for tracked in _TRACKED:
            setattr(self, f"{tracked}_tracker", metrics.Mean(name=tracked))

    def compile(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Set the optimizer and the loss of the student's targets.

        Args:
            optimizer: An optimizer or its name.
            loss: A loss or its name, or a nesting of them in the structure of the outputs.
            metrics: A list of metrics of the student's outputs.
            kwargs: Further arguments of :meth:`lamina.Model.compile`.

        Raises:
            ArgumentError: No loss.
        """
        if loss is None:
            raise ArgumentError(
                "Distiller.compile() needs `loss`, that of the targets, such as 'mse'."
            )
        self._student_loss = nested.map_structure(losses.get, loss)
        super().compile(optimizer, metrics=metrics, **kwargs)
        self._student_loss_given = loss

    def compile_arguments(self) -> dict[str, Any]:
        """The arguments of :meth:`compile`."""
        return {**super().compile_arguments(), "loss": self._student_loss_given}

    def call(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, inputs: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        """The student's outputs."""
        return self.student(inputs, training=training, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The weighted sum of the loss of the targets and the distillation losses."""
        y_pred = self(x, training=training) if y_pred is None else y_pred
        share, of_targets, distilled = self.student_loss_weight, jnp.zeros(()), jnp.zeros(())
        if share > 0 and y is not None:
            of_targets = self._loss_of_targets(y, y_pred, sample_weight)
        if share < 1:
            teacher = _observed(self._teacher_feature_extractor, self.teacher, x, False)
            student = {_FINAL: y_pred}
            if self._student_feature_extractor is not None:
                seen = self._student_feature_extractor(x, training=training)
                student = {**seen, _FINAL: y_pred}
            for loss, weight in zip(
                self.distillation_losses, self.distillation_loss_weights, strict=True
            ):
                distilled = distilled + weight * _loss_between(loss, teacher, student)
        total = share * of_targets + (1 - share) * distilled
        for tracked, value in zip(_TRACKED, (of_targets, distilled, total), strict=True):
            vars(self)[f"{tracked}_tracker"].update_state(value)
        return total

    def _loss_of_targets(self, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        total: Any = jnp.zeros(())
        targets, outputs = nested.flatten(y), nested.flatten(y_pred)
        for loss, target, output in zip(
            nested.flatten(self._student_loss), targets, outputs, strict=True
        ):
            if isinstance(loss, losses.Loss):
                total = total + loss(target, output, sample_weight)
            elif loss is not None:
                values = loss(target, output)
                weight = 1 if sample_weight is None else jnp.asarray(sample_weight)
                total = total + jnp.mean(values * weight)
        return total

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {
            "name": self.name, "teacher": self.teacher, "student": self.student,
            "distillation_losses": self.distillation_losses,
            "distillation_loss_weights": self.distillation_loss_weights,
            "student_loss_weight": self.student_loss_weight,
        }  # fmt: skip

    @classmethod
    @reads_config
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Any:
        """Create a distiller from the result of :meth:`get_config`."""
        known = {k: v for k, v in config.items() if k not in ("trainable", "dtype")}
        return super().from_config(known, custom_objects)


def _compare(teacher: Model, student: Model) -> None:
    """Check that inputs and outputs of two models with graphs have the same shapes and dtypes."""
    if teacher.layer_graph is None or student.layer_graph is None:
        return
    for what, theirs, mine in (
        ("inputs", teacher.inputs, student.inputs), ("outputs", teacher.outputs, student.outputs),
    ):  # fmt: skip
        alike = len(theirs) == len(mine) and all(
            agree(a.shape, b.shape) and a.dtype == b.dtype
            for a, b in zip(theirs, mine, strict=True)
        )
        if not alike:
            shown = (
                ", ".join(f"{show_dims(x.dims)} {x.dtype}" for x in xs) for xs in (theirs, mine)
            )
            expected, received = shown
            raise ShapeError(
                f"Distiller(): the student's {what} differ from the teacher's.",
                expected=expected,
                received=received,
            )


def _extractor(model: Model, names: list[str | None]) -> Model | None:
    """A model with the outputs of the named layers of ``model``, beside its own outputs."""
    wanted = [n for n in dict.fromkeys(names) if n is not None]
    if not wanted:
        return None
    outputs = {_FINAL: model.output, **{n: model.get_layer(n).output for n in wanted}}
    return Model(model.inputs, outputs, name=f"{model.name}_multi_feature_extractor")


def _observed(extractor: Model | None, model: Model, x: Any, training: bool) -> dict[str, Any]:
    if extractor is None:
        return {_FINAL: model(x, training=training)}
    return extractor(x, training=training)


def _loss_between(loss: DistillationLoss, teacher: dict[str, Any], student: dict[str, Any]) -> Any:
    names = (None, None)
    if isinstance(loss, FeatureDistillation):
        names = (loss.teacher_layer_name, loss.student_layer_name)
    theirs, mine = teacher[names[0] or _FINAL], student[names[1] or _FINAL]
    loss.validate_outputs(theirs, mine)
    value = jnp.asarray(loss.compute_loss(theirs, mine))
    if value.ndim:
        raise ShapeError(
            f"`compute_loss` of {type(loss).__name__} must return a scalar.",
            expected="shape ()",
            received=f"shape {value.shape}",
        )
    return value
