"""A model's state as data, and its loss as a pure function of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lamina.core.scope import Record, Scope, current, entered
from lamina.core.variable import Variable, value_of
from lamina.errors import ArgumentError, ShapeError, StructureError, unknown_name
from lamina.models.trainer import Trainer
from lamina.serialization.registry import builtin
from lamina.tree import nested

Arrays = Sequence[Any]
_GROUPS = (
    "trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables",
)  # fmt: skip


@builtin()
class StatelessTrainer(Trainer):
    """The pure forms that training steps of a user's own are made of."""

    def stateless_compute_loss(
        self,
        trainable_variables: Arrays,
        non_trainable_variables: Arrays,
        metrics_variables: Arrays,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tuple[Any, tuple[list[Any], list[Any], list[Any]]]:
        """:meth:`compute_loss` as a pure function of the model's state.

        Args:
            trainable_variables: Arrays in the order of ``model.trainable_variables``.
            non_trainable_variables: Arrays in the order of ``model.non_trainable_variables``.
            metrics_variables: Arrays in the order of ``model.metrics_variables``.
            x: A batch of inputs.
            y: Its targets.
            y_pred: The model's outputs for ``x``.
            sample_weight: Weights of the samples, or None.
            training: Whether this is a training step.

        Returns:
            The loss, a scalar, and the three lists with the values that computing it has left.
        """
        lists = (trainable_variables, non_trainable_variables, metrics_variables)
        return self._pure_loss(lists, [], x, y, y_pred, sample_weight, training)

    def compute_loss_and_updates(
        self,
        trainable_variables: Arrays,
        non_trainable_variables: Arrays,
        metrics_variables: Arrays,
        x: Any,
        y: Any,
        sample_weight: Any,
        training: bool = False,
        optimizer_variables: Arrays | None = None,
    ) -> tuple[Any, tuple[Any, Any, list[Any], list[Any]]]:
        """The forward pass and the loss, for ``jax.value_and_grad(..., has_aux=True)``.

        Args:
            trainable_variables: Arrays in the order of ``model.trainable_variables``.
            non_trainable_variables: Arrays in the order of ``model.non_trainable_variables``.
            metrics_variables: Arrays in the order of ``model.metrics_variables``.
            x: A batch of inputs.
            y: Its targets.
            sample_weight: Weights of the samples, or None.
            training: Whether this is a training step.
            optimizer_variables: Arrays in the order of ``model.optimizer.variables``, from which an
                optimizer that scales the loss takes its scale.

        Returns:
            The loss, scaled where the optimizer does so, and ``(unscaled loss, outputs, new
            non-trainable values, new metrics values)``.
        """
        scope = current()
        y_pred, non_trainable_variables, losses = self.stateless_call(
            trainable_variables, non_trainable_variables, x, return_losses=True, training=training,
            seed=None if scope is None else scope.key,
        )  # fmt: skip
        lists = (trainable_variables, non_trainable_variables, metrics_variables)
        # The last losses are the penalties on weights, which `compute_loss` adds itself.
        penalties = sum(bool(v.regularizer) for v in self.trainable_variables)
        loss, (_, non_trainable, metrics) = self._pure_loss(
            lists, losses[: len(losses) - penalties], x, y, y_pred, sample_weight, training
        )
        scaled = loss
        if training and self.optimizer is not None and optimizer_variables is not None:
            state = map(value_of, optimizer_variables)
            bound = dict(zip(self.optimizer.variables, state, strict=True))
            with entered(Scope(values=bound, pure=True)):
                scaled = self.optimizer.scale_loss(loss)
        return scaled, (loss, y_pred, non_trainable, metrics)

    def _pure_loss(
        self, lists: tuple[Arrays, Arrays, Arrays], added: list[Any], x: Any, y: Any, y_pred: Any,
        sample_weight: Any, training: bool,
    ) -> tuple[Any, tuple[list[Any], list[Any], list[Any]]]:  # fmt: skip
        variables = (self.trainable_variables, self.non_trainable_variables, self.metrics_variables)
        values: dict[Variable, Any] = {}
        for mine, given in zip(variables, lists, strict=True):
            if len(mine) != len(given):
                raise StructureError(
                    f"The state of {self.name!r} does not fit.",
                    expected=f"lists of {[len(v) for v in variables]} arrays",
                    received=f"lists of {[len(g) for g in lists]}",
                )
            values |= dict(zip(mine, map(value_of, given), strict=True))
        record = Record()
        record.losses = list(added)
        outer = current()
        scope = Scope(
            values=values, training=training, pure=True, record=record,
            key=None if outer is None else outer.key, step=None if outer is None else outer.step,
        )  # fmt: skip
        with entered(scope):
            loss = self.compute_loss(x, y, y_pred, sample_weight, training)
        first, second, third = (
            [record.updates.get(v, values[v]) for v in mine] for mine in variables
        )
        return loss, (first, second, third)

    def get_state_tree(
        self, value_format: Literal["backend_tensor", "numpy_array"] = "backend_tensor"
    ) -> dict[str, Any]:
        """All state of the model as nested dicts, by the paths of the variables.

        Args:
            value_format: ``"backend_tensor"`` for JAX arrays, ``"numpy_array"`` for NumPy arrays.

        Returns:
            A dict with the keys ``"trainable_variables"``, ``"non_trainable_variables"``,
            ``"optimizer_variables"`` and ``"metrics_variables"``.

        >>> from lamina import Sequential, layers
        >>> model = Sequential([layers.Input((2,)), layers.Dense(1, name="out")])
        >>> {k: v.shape for k, v in model.get_state_tree()["trainable_variables"]["out"].items()}
        {'kernel': (2, 1), 'bias': (1,)}
        """
        if value_format not in ("backend_tensor", "numpy_array"):
            raise ArgumentError(
                f"`value_format` is 'backend_tensor' or 'numpy_array'. Received: {value_format!r}."
            )
        tree: dict[str, Any] = {}
        for group, variables in self._groups().items():
            tree[group] = {}
            for path, variable in variables.items():
                *names, last = path.split("/")
                place = tree[group]
                for name in names:
                    place = place.setdefault(name, {})
                place[last] = variable.numpy() if value_format == "numpy_array" else variable.value
        return tree

    def set_state_tree(self, state_tree: Mapping[str, Any]) -> None:
        """Assign the values of a tree that :meth:`get_state_tree` returned, or of a part of one.

        Raises:
            UnknownNameError: A path of no variable; nothing is changed then.
            ShapeError: A value of another shape; likewise.
        """
        groups = self._groups()
        assigned: list[tuple[Variable, Any]] = []
        for group, tree in state_tree.items():
            if group not in groups:
                raise unknown_name("part of a state tree", group, groups)
            for names, value in nested.flatten_with_path(tree):
                path = "/".join(map(str, names))
                variable = groups[group].get(path)
                if variable is None:
                    raise unknown_name(f"path in {group}", path, groups[group])
                if tuple(value.shape) != variable.shape:
                    raise ShapeError(
                        f"The value of {path!r} does not fit.",
                        expected=f"shape {variable.shape}",
                        received=f"shape {tuple(value.shape)}",
                    )
                assigned.append((variable, value))
        for variable, value in assigned:
            variable.assign(value)

    def _groups(self) -> dict[str, dict[str, Variable]]:
        optimizer = [] if self.optimizer is None else list(self.optimizer.variables)
        metrics = self.metrics_variables if self.compiled else []
        lists = (self.trainable_variables, self.non_trainable_variables, optimizer, metrics)
        return {g: {v.path: v for v in found} for g, found in zip(_GROUPS, lists, strict=True)}


__all__ = ["StatelessTrainer"]
