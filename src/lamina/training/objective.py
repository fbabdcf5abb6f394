"""Losses, metrics and weights, bound to a model's outputs by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from numbers import Real
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import losses as losses_module
from lamina import metrics as metrics_module
from lamina import settings
from lamina.core import naming
from lamina.core.boundary import warn
from lamina.core.graph import is_symbolic
from lamina.core.scope import current
from lamina.core.variable import Variable
from lamina.errors import (
    ArgumentError,
    LaminaError,
    ShapeError,
    StructureError,
    TrainingWarning,
    unknown_name,
)
from lamina.layers.arguments import as_array
from lamina.serialization.registry import builtin
from lamina.training import checks
from lamina.tree import nested
from lamina.tree.matching import NamedLeaves, leaf_names

_ACCURACY = {
    "accuracy": ("BinaryAccuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy"),
    "crossentropy": (
        "BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy",
    ),
}  # fmt: skip
_ALIASES = {"acc": "accuracy", "ce": "crossentropy"}


class Objective:
    """The losses and metrics passed to ``compile``, bound to outputs.

    Args:
        loss: A name, object or function; a list, or a dict by output name.
        loss_weights: Numbers, in the same form, or one for all outputs.
        metrics: Names, objects or functions; a list, list of lists, or dict by output name.
        weighted_metrics: Likewise, for metrics that use sample weights.

    Attributes:
        trackers: Metrics by log name, the total loss first.
        combined: The metrics passed to ``compile`` as one; None if there are none.
        output_names: Names of the outputs, set by :meth:`bind`.
        output_shapes: Shapes of the outputs, with None for unknown dimensions.
    """

    def __init__(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> None:
        self.given = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics,
                      "weighted_metrics": weighted_metrics}  # fmt: skip
        self.output_names: list[str] | None = None
        self._outputs = NamedLeaves([], [])
        self.output_shapes: list[tuple[Any, ...]] = []
        self.trackers: dict[str, Any] = {"loss": metrics_module.Mean(name="loss")}
        some = metrics is not None or weighted_metrics is not None
        self.combined = CompileMetrics(self) if some else None
        self._losses: list[Any] = []
        self._weights: list[float] = []
        # For each output: (log name, metric or unresolved metric, whether it is weighted).
        self._metrics: list[list[tuple[str | None, Any, bool]]] = []
        self._told_extra: list[list[str]] = []

    def bind(self, names: list[str], structure: Any) -> None:
        """Assign every loss, weight and metric to one of the outputs.

        Args:
            names: A unique name for each output.
            structure: The outputs, in any nesting.

        Raises:
            UnknownNameError: There is no output or loss of a given name.
            StructureError: The length of a list is not the number of outputs.
        """
        if self.output_names is not None:
            if self.output_names != names:
                raise StructureError(
                    f"The model was compiled for the outputs {self.output_names}. "
                    f"It now returns {names}."
                )
            return
        outputs = nested.flatten(structure)
        # Outputs in lists have the names of their layers too: ``"dense"`` for ``"heads/dense"``.
        aliases = [
            x.name if is_symbolic(x) and path and isinstance(path[-1], int) else None
            for path, x in nested.flatten_with_path(structure)
        ]
        self._outputs = NamedLeaves(structure, names, aliases)
        losses, without = self._one_per_output("loss")
        weights, _ = self._one_per_output("loss_weights")
        self._losses = [losses_module.as_loss(x) for x in losses]
        if without and any(losses):
            warn(
                f"`loss` has no entry for the outputs {without}: layers that only they depend "
                "on are not trained. If this is intended, pass None for them.",
                TrainingWarning,
            )
        for name, weight in zip(names, weights, strict=True):
            if weight is not None and not isinstance(weight, Real):
                raise ArgumentError(
                    f"`loss_weights` must be numbers. Received {weight!r} for output {name!r}."
                )
        self._weights = [1.0 if w is None else float(w) for w in weights]
        self._metrics = [[] for _ in names]
        for key, weighted in (("metrics", False), ("weighted_metrics", True)):
            per_output = self._metrics_per_output(key)
            for own, items in zip(self._metrics, per_output, strict=True):
                own.extend((None, item, weighted) for item in items)
        self.output_names = names
        self.output_shapes = [tuple(x.shape) for x in outputs]
        if all(map(is_symbolic, outputs)):
            chosen = [[item for _, item, _ in own] for own in self._metrics]
            checks.check_outputs(names, outputs, self._losses, chosen)
        for i in range(len(names)):
            self._resolve(i)

    def _per_output(self, key: str) -> tuple[list[Any], list[str]]:
        """An argument of ``compile``: its entry for each output, and the outputs without one."""
        names = self._outputs.names
        found, missing, unknown = self._outputs.match(self.given[key], f"`{key}`")
        if unknown:
            raise unknown_name(f"output in `{key}`", unknown[0], names)
        return found, missing

    def _one_per_output(self, key: str) -> tuple[list[Any], list[str]]:
        """Likewise, where an entry is no list; one in a list counts as one."""
        found, missing = self._per_output(key)
        entries = [x[0] if isinstance(x, (list, tuple)) and len(x) == 1 else x for x in found]
        for name, x in zip(self._outputs.names, entries, strict=True):
            if isinstance(x, (list, tuple)):
                raise StructureError(
                    f"`{key}` has a list of {len(x)} entries for the output {name!r}. Expected one."
                )
        return entries, missing

    def _metrics_per_output(self, key: str) -> list[list[Any]]:
        given, names = self.given[key], self._outputs.names
        if given is None or given in ([], ()):
            return [[] for _ in names]
        if not isinstance(given, (list, tuple, Mapping)):
            raise ArgumentError(
                f"`{key}` must be a list or a dict by output name. Received: {given!r}. "
                f"Did you mean [{given!r}]?"
            )
        if len(names) == 1 and isinstance(given, (list, tuple)):
            if not any(isinstance(x, (list, tuple)) for x in given):
                return [list(given)]
            if len(given) > 1:
                raise StructureError(
                    f"`{key}` contains a list for each of {len(given)} outputs. The model has one, "
                    f"{names[0]!r}."
                )
        return [_as_list(x) for x in self._per_output(key)[0]]

    def check_values(self, y: Any) -> None:
        """Check the values of the targets, which is not possible in a traced step.

        Raises:
            DataError: A class index is out of range.
        """
        targets = self.arrange(y, "target")
        checks.check_targets(self.output_names or [], targets, self.output_shapes, self._losses)

    def weigh_classes(self, class_weight: Mapping[int, float]) -> Callable[[Any, Any], Any]:
        """A function that computes sample weights from targets, by the weight of each class.

        Args:
            class_weight: A number for each class index; the weight of other classes is 1.

        Returns:
            A function of the targets and the sample weights (or None), by which the result is
            multiplied.
        """
        if not isinstance(class_weight, Mapping):
            raise ArgumentError(
                "`class_weight` is a dict of a number for each class index. "
                f"Received: {class_weight!r}. For weights in the order of the classes: "
                "`dict(enumerate(weights))`."
            )
        losses = [loss for loss in self._losses if loss is not None]
        if self.output_names is None:  # a model without a graph that has not run yet
            losses = [losses_module.as_loss(x) for x in nested.flatten(self.given["loss"])]
        loss = losses[0] if len(losses) == 1 else None
        shape = self.output_shapes[0] if len(self.output_shapes) == 1 else None
        keys = [int(k) for k in class_weight]

        def weigh(y: Any, sample_weight: Any) -> Any:
            leaves = [leaf for leaf in nested.flatten(y) if leaf is not None]
            if len(leaves) != 1:
                raise ArgumentError(
                    "`class_weight` is only supported for models with one target. For several "
                    "outputs, pass `sample_weight` for each."
                )
            labels = _class_numbers(np.asarray(leaves[0]), loss, shape).astype(np.int64)
            first = min([*keys, int(labels.min(initial=0))])  # hinge losses have a class -1
            size = max([*keys, int(labels.max(initial=0))]) - first + 1
            table = np.ones(size, settings.floatx())
            for k, w in class_weight.items():
                table[int(k) - first] = w
            weights = table[labels - first]
            if sample_weight is None:
                return weights
            given = np.asarray(nested.flatten(sample_weight)[0])
            # There may be one weight per sample, but one class per time step.
            missing = weights.ndim - given.ndim
            return weights * given.reshape(given.shape + (1,) * max(0, missing))

        return weigh

    def bindings(self, outputs: list[Any], targets: Any) -> list[tuple[str, ...]]:
        """For each output: name, shape, shape of the target, loss, metrics; all as strings."""
        rows = []
        names = self.output_names or []
        y = self.arrange(targets, "target")
        for i, (name, output) in enumerate(zip(names, outputs, strict=True)):
            loss = self._losses[i]
            shown = "none" if loss is None else str(loss.name)
            if self._weights[i] != 1:
                shown = f"{self._weights[i]:g} x {shown}"
            metrics = ", ".join(str(log_name) for log_name, _, _ in self._metrics[i])
            target = "none" if y[i] is None else f"{tuple(y[i].shape)} {y[i].dtype}"
            rows.append((name, f"{tuple(output.shape)} {output.dtype}", target, shown, metrics))
        return rows

    # ---- inside a step -------------------------------------------------------------------------

    def arrange(self, data: Any, what: str) -> list[Any]:
        """The targets or sample weights in the order of the outputs; None where one is missing."""
        names = self.output_names or []
        if data is None:
            return [None] * len(names)
        if nested.is_nested(data):
            found, missing, unknown = self._outputs.match(data, f"The {what} data", arrays=True)
            if unknown and len(missing) == len(names):
                raise unknown_name(f"output in the {what} data", unknown[0], names)
            if unknown and unknown not in self._told_extra:
                self._told_extra.append(unknown)
                warn(
                    f"The {what} data has entries that are not outputs of the model and are ignored"
                    f": {unknown}. The outputs are {names}.",
                    TrainingWarning,
                )
            return found
        if len(names) == 1:
            return [data]
        if what == "sample weight":
            return [data] * len(names)
        used = [i for i, x in enumerate(self._losses) if x is not None or self._metrics[i]]
        if len(used) == 1:  # `loss=["mse", None]`
            return [data if i in used else None for i in range(len(names))]
        raise StructureError(
            f"The model has the outputs {names}. Received one {what} array; pass a list in this "
            "order, or a dict by these names."
        )

    def compiled_metrics(self) -> dict[str, Any]:
        """The metrics passed to ``compile`` by log name, as far as their shapes are known."""
        names = [name for own in self._metrics for name, _, _ in own if name is not None]
        return {name: self.trackers[name] for name in names}

    def in_order(self, logs: Collection[str]) -> list[str]:
        """The names of ``logs`` in the order of lists: metrics of several outputs by name."""
        own = list(self.compiled_metrics())
        loss, *parts = [name for name in self.trackers if name not in own]
        several = len(self.output_names or ()) > 1
        of_outputs = [f"{n}_loss" for n in self._outputs.by_key()]
        parts = [n for n in of_outputs if n in parts] + [n for n in parts if n not in of_outputs]
        names = [loss, *parts, *(sorted(own) if several else own)]
        return [n for n in names if n in logs] + [n for n in logs if n not in names]

    def public_trackers(self) -> list[Any]:
        """The trackers as a user's step updates them: :attr:`combined` in place of its parts."""
        own = {id(m) for m in self.compiled_metrics().values()}
        loss, *others = [m for m in self.trackers.values() if id(m) not in own]
        return [loss, *([] if self.combined is None else [self.combined]), *others]

    def parts(self) -> list[Any]:
        """The losses and metrics, whose attributes determine what a step computes."""
        return [*(x for x in self._losses if x is not None), *self.trackers.values()]

    @property
    def has_loss(self) -> bool:
        """Whether a loss was passed to ``compile``."""
        return bool(self._losses) and any(x is not None for x in self._losses)

    def loss(self, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The weighted sum of all losses, a scalar; the loss of each output is recorded."""
        outputs = self.outputs_of(y_pred)
        targets = self.arrange(y, "target")
        weights = self.arrange(sample_weight, "sample weight")
        total, parts = jnp.zeros(()), {}
        scope = current()
        names = self.output_names or []
        for i, (name, loss) in enumerate(zip(names, self._losses, strict=True)):
            if loss is None:
                continue
            if targets[i] is None:
                wanted = [n for n, x in zip(names, self._losses, strict=True) if x is not None]
                received = f"entries for {list(y)}" if isinstance(y, Mapping) else "no `y`"
                raise StructureError(
                    f"Output {name!r} has a loss but no target.",
                    expected=f"targets for {wanted}",
                    received=received,
                    cure=(
                        "Pass them as `y`; validation data and batches of a generator must be "
                        "tuples `(x, y)`."
                    ),
                )
            try:
                value = loss(targets[i], outputs[i], weights[i])
            except LaminaError as e:
                raise e.with_details(f"Output {name!r}") from None
            parts[f"{name}_loss"] = value
            total = total + self._weights[i] * value
        if scope is not None:
            scope.record.parts |= parts
        return total

    def outputs_of(self, y_pred: Any) -> list[Any]:
        """A flat list of the outputs; the first call names those of a model without a graph."""
        leaves = nested.flatten(y_pred)
        if self.output_names is None:
            self.bind(names_of(y_pred), y_pred)
        return leaves

    def track(self, total: Any, parts: Mapping[str, Any], batch_size: int) -> None:
        """Update the means of the total loss and, if it is a sum of several, of each of them."""
        self.trackers["loss"].update_state(total, sample_weight=batch_size)
        if len(parts) > 1:
            for name, value in parts.items():
                if name not in self.trackers:
                    self.trackers[name] = metrics_module.Mean(name=name)
                self.trackers[name].update_state(value, sample_weight=batch_size)

    def update_metrics(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        """Update all metrics with a batch; inside a pure scope, which records their new values."""
        outputs = self.outputs_of(y_pred)
        targets = self.arrange(y, "target")
        weights = self.arrange(sample_weight, "sample weight")
        for i, (target, output) in enumerate(zip(targets, outputs, strict=True)):
            if target is None:
                continue
            self._resolve(i, target, output)
            for log_name, metric, weighted in self._metrics[i]:
                try:
                    metric.update_state(
                        target, output, sample_weight=weights[i] if weighted else None
                    )
                except ShapeError as e:
                    raise e.with_details(f"Metric {log_name!r}") from None

    def results(self, metrics: list[Any]) -> dict[str, Any]:
        """The current results of ``metrics``, by log name."""
        names: dict[int, list[str]] = {}
        for name, metric in self.trackers.items():  # one metric may be there for several outputs
            names.setdefault(id(metric), []).append(name)
        logs: dict[str, Any] = {}
        for metric in metrics:
            result = nested.map_structure(as_array, metric.result())
            named = dict.fromkeys(names.get(id(metric), [str(metric.name)]), result)
            logs |= result if isinstance(result, dict) else named
        return {name: logs[name] for name in self.trackers if name in logs} | logs

    def _resolve(self, i: int, target: Any = None, output: Any = None) -> None:
        """Convert names and functions to metrics; ``"accuracy"`` only when the shapes are known."""
        resolved = []
        for log_name, item, weighted in self._metrics[i]:
            waits = isinstance(item, str) and _ALIASES.get(item, item) in _ACCURACY
            if log_name is None and (output is not None or not waits):
                metric, log_name = _as_metric(item, target, output)
                log_name = self._free_name(log_name, i, weighted)
                self.trackers[log_name] = metric
                item = metric
            resolved.append((log_name, item, weighted))
        self._metrics[i] = resolved
        for name in self.compiled_metrics():  # in the order of `compile`
            self.trackers[name] = self.trackers.pop(name)

    @property
    def waits_for_shapes(self) -> bool:
        """Whether a metric such as ``"accuracy"`` needs shapes that are not known yet.

        All do before the first call of a model without a graph, whose outputs are not known.
        """
        if self.output_names is None:
            return bool(self.given["metrics"] or self.given["weighted_metrics"])
        return any(name is None for own in self._metrics for name, _, _ in own)

    def _free_name(self, name: str, i: int, weighted: bool) -> str:
        prefix = ""
        if self.output_names is not None and len(self.output_names) > 1:
            prefix = f"{self.output_names[i]}_"
        if weighted and prefix + name in self.trackers:
            name = f"weighted_{name}"
        return naming.free(self.trackers, prefix + name)


@builtin()
class CompileMetrics(metrics_module.Metric):
    """All metrics passed to ``compile`` as a single one, for steps of a user's own.

    It takes the targets and outputs of the whole model, and passes sample weights to the
    ``weighted_metrics`` only, as ``fit`` does.

    Args:
        objective: Where the metrics are bound to the outputs.

    >>> import lamina
    >>> x = lamina.Input((2,))
    >>> model = lamina.Model(x, lamina.layers.Dense(1)(x))
    >>> model.compile(loss="mse", metrics=["mae"])
    >>> loss, metrics = model.metrics
    >>> metrics.update_state(jnp.zeros((1, 1)), jnp.ones((1, 1)))
    >>> {name: float(value) for name, value in metrics.result().items()}
    {'mae': 1.0}
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__(name="compile_metrics")
        self._objective = objective

    @property
    def metrics(self) -> list[Any]:
        """The metrics, in the order of ``compile``."""
        return list(self._objective.compiled_metrics().values())

    @property
    def variables(self) -> list[Variable]:
        return [v for metric in self.metrics for v in metric.variables]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self._objective.update_metrics(y_true, y_pred, sample_weight)

    def result(self) -> dict[str, Any]:
        return self._objective.results(self.metrics)

    def reset_state(self) -> None:
        for metric in self.metrics:
            metric.reset_state()


def _class_numbers(labels: np.ndarray, loss: Any, shape: tuple[Any, ...] | None) -> np.ndarray:
    """The class index of each target, from the form of targets that the loss expects.

    Args:
        labels: The targets.
        loss: The loss, or None.
        shape: Shape of the output, or None if it is not known.
    """
    if labels.ndim > 1 and labels.shape[-1] == 1:
        return labels[..., 0]
    if labels.ndim < 2 or (loss is not None and loss.class_axis is not None):
        return labels
    if shape is not None and len(shape) == labels.ndim + 1:  # a class for each position
        return labels
    if (loss is not None and loss.reads is not None) or (
        shape is not None and len(shape) == labels.ndim
    ):
        return labels.argmax(getattr(loss, "axis", -1))
    one_hot = bool(np.all(labels >= 0)) and np.allclose(labels.sum(-1), 1)
    return labels.argmax(-1) if one_hot else labels


def names_of(outputs: Any) -> list[str]:
    """Names for the outputs of a model without a graph: dict keys, or output, output_1, ..."""
    return naming.numbered(leaf_names(outputs, lambda _: "output"))


def _as_list(x: Any) -> list[Any]:
    return [] if x is None else list(x) if isinstance(x, (list, tuple)) else [x]


def _as_metric(item: Any, target: Any, output: Any) -> tuple[Any, str]:
    """A metric object and its log name; "accuracy" becomes the variant for the shapes."""
    if isinstance(item, metrics_module.Metric):
        return item, str(item.name)
    if isinstance(item, str) and _ALIASES.get(item, item) in _ACCURACY:
        binary, categorical, sparse = _ACCURACY[_ALIASES.get(item, item)]
        if output.ndim < 1 or output.shape[-1] == 1 or output.ndim == 1:
            kind = binary
        elif target.ndim == output.ndim and target.shape[-1] == output.shape[-1]:
            kind = categorical
        else:
            kind = sparse
        return getattr(metrics_module, kind)(name=item), item
    found: Any = metrics_module.get(item)
    if found is None:
        raise ArgumentError(
            "A list of metrics contains None. Expected: names, metrics or functions. None stands "
            "for an output without metrics, where there is one entry for each output."
        )
    if isinstance(found, metrics_module.Metric):
        if isinstance(item, str):
            found.name = item  # a new object, which is named as in `compile`
        return found, str(found.name)
    named = isinstance(found, losses_module.Loss)
    name = str(found.name) if named else naming.snake_case(naming.name_of(found))
    name = item if isinstance(item, str) else name
    return metrics_module.MeanMetricWrapper(found, name=name), name


__all__ = ["Objective", "names_of"]
