"""Pure steps: ``(state, batch) -> state``, compiled with the state's buffers donated.

The state is one pytree with the groups ``trainable``, ``non_trainable``, ``optimizer`` and
``metrics``, all keyed by address, and ``monitor`` and ``key``. Whatever a step reports is
accumulated in ``metrics``, so nothing has to leave the device at each step.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import spec
from lamina.core.boundary import warn
from lamina.core.scope import Record, Scope, current, entered, random_key
from lamina.core.variable import Variable, copied, read
from lamina.errors import ArgumentError, StructureError, TrainingWarning
from lamina.runtime import xla
from lamina.runtime.cost import uses
from lamina.serialization import registry
from lamina.training.data import pack_x_y_sample_weight, unpack_x_y_sample_weight
from lamina.training.inplace import InPlace
from lamina.training.objective import Objective
from lamina.tree import nested

State = dict[str, Any]
NEVER = np.iinfo(np.int32).max
_CONVOLUTION = "conv_general_dilated"
_MANY_SHAPES = 6
_LOG = "log/"  # the metrics' group also carries what a user's own step reports, by these addresses


def is_own(model: Any, method: str) -> bool:
    """Whether a user's class defines ``method`` in place of the library's."""
    return registry.defined_by_user(type(model), method)


def forward(model: Any, batch: Any, training: bool) -> Any:
    """The total loss of a batch, which the metrics see too; inside a pure scope."""
    scope = current()
    assert scope is not None  # noqa: S101 - entered by every caller
    x, y, sample_weight = batch
    objective = model.objective
    outputs = model(x, training=training)
    objective.outputs_of(outputs)
    if training and not (
        objective.has_loss or scope.record.losses or is_own(model, "compute_loss")
    ):
        raise ArgumentError(
            "There is nothing to minimise: pass `loss=` to compile(), or call `self.add_loss` "
            "in a layer."
        )
    total = model.compute_loss(
        x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=training
    )
    total = jnp.mean(jnp.asarray(total, "float32"))
    objective.track(total, scope.record.parts, nested.flatten(x)[0].shape[0])
    if is_own(model, "compute_metrics"):
        scope.record.logs |= model.compute_metrics(x, y, outputs, sample_weight)
    else:
        objective.update_metrics(y, outputs, sample_weight)
    return total


class Program:
    """The steps of one model under one objective, compiled once and kept.

    A user's ``train_step``, ``test_step`` or ``predict_step`` stands in for the standard one.

    Args:
        model: offers ``named_variables``, ``compute_loss`` and the call.
        objective: losses and metrics, or None to predict only.
        optimizer: offers ``update``, or None to evaluate only.
        eager: run layer by layer instead of compiled.
    """

    def __init__(
        self, model: Any, objective: Objective | None, optimizer: Any, eager: bool
    ) -> None:
        self.model, self.objective, self.optimizer = model, objective, optimizer
        named = model.named_variables()
        self.trainable = {a: v for a, (v, trains) in named.items() if trains}
        self.non_trainable = {a: v for a, (v, trains) in named.items() if not trains}
        self.eager = eager
        train = self._train_by_user if is_own(model, "train_step") else self._train
        test = self._test_by_user if is_own(model, "test_step") else self._test
        predict = self._predict_by_user if is_own(model, "predict_step") else self._predict
        self._inner_train: Any = train if eager else jax.jit(train)
        self._inner_test: Any = test if eager else jax.jit(test)
        jit = (lambda fn, **_: fn) if eager else xla.jit
        self.train = jit(self._train_one, donate_argnums=0)
        self.test = jit(self._inner_test, donate_argnums=1)
        self.train_many = jit(self._train_many, donate_argnums=0)
        self.test_many = jit(self._test_many, donate_argnums=1)
        self._inner_predict: Any = predict if eager else jax.jit(predict)
        self.predict = jit(self._inner_predict)
        self.predict_many = jit(self._predict_many)
        self.results = jit(self._results)
        self.output_structure: Any = None
        # Weights that move even in a test (a recurrent layer's state), by address.
        self._moving: list[str] = []
        # Whether a training step was compiled, and how many of them fill a dispatch's time.
        self.ran, self.chunk = False, 1
        # The shapes of the samples that the training loop takes in place; see `takes_in_place`.
        self._in_place: Any = None
        # Whether steps are run in loops, by step and shapes.
        self._in_loops: dict[Any, bool] = {}
        # Name to shape and dtype of what a user's own step reports.
        self._reports: dict[str, Any] = {}
        self._forget_metrics()
        self._traced: dict[str, list[str]] = {}

    # ---- state ---------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[Any]:
        """The metrics whose state the steps carry: the compiled ones, then those the model holds.

        For a model with a step of its own, just ``model.metrics``, in whose order the step finds
        their values.
        """
        if self._metrics is None:
            self._metrics = held = list(self.model.metrics)
            own = is_own(self.model, "train_step") or is_own(self.model, "test_step")
            if self.objective is not None and not own:
                trackers = list(self.objective.trackers.values())
                self._metrics = trackers + [m for m in held if all(m is not t for t in trackers)]
        return self._metrics

    def _forget_metrics(self) -> None:
        self._metrics: list[Any] | None = None
        self._metric_variables: dict[str, Variable] | None = None

    @property
    def metric_variables(self) -> dict[str, Variable]:
        """Address to variable, for all metrics; complete once a batch was seen (:meth:`check`)."""
        if self._metric_variables is None:
            self._metric_variables = {
                f"{i}_{metric.name}/{j}_{v.name}": v
                for i, metric in enumerate(self.metrics)
                for j, v in enumerate(metric.variables)
            }
        return self._metric_variables

    def log_names(self) -> list[str]:
        """The names under which a pass reports, in their order."""
        state = {a: struct_of(v) for a, v in self.metric_variables.items()}
        reports = {_LOG + k: x for k, x in self._reports.items()}
        return list(jax.eval_shape(self.results, state | reports))

    def fresh_metrics(self) -> dict[str, Any]:
        """The metrics' state before any batch."""
        scope = Scope(pure=True)
        with entered(scope):
            for metric in self.metrics:
                metric.reset_state()
        return self.current_metrics(scope.record.updates)

    def current_metrics(self, updates: Mapping[Variable, Any] | None = None) -> dict[str, Any]:
        """The metrics' state as it is, but for ``updates``: copies, which a step may take."""
        values = {
            a: jnp.asarray((updates or {}).get(v, v.value), v.dtype)
            for a, v in self.metric_variables.items()
        }
        reports = {_LOG + k: np.zeros(x.shape, x.dtype) for k, x in self._reports.items()}
        return copied(values | reports)

    def weights(self) -> State:
        """The weights' values, as they are."""
        return {
            "trainable": read(self.trainable),
            "non_trainable": read(self.non_trainable),
        }

    def keep(self, moved: Mapping[str, Any]) -> None:
        """Let the weights that moved in a test or prediction keep their new values."""
        for address, value in moved.items():
            self.non_trainable[address].assign(value)

    def carry(self, metrics: dict[str, Any], weights: State) -> State:
        """What test steps hand on: the metrics, and the weights that move."""
        moving = {a: weights["non_trainable"][a] for a in self._moving}
        return {"metrics": metrics, "moving": copied(moving)}

    def check(self, batch: Any, training: bool) -> None:
        """Run a step abstractly: every mismatch of names, shapes and dtypes is told here."""
        structs = jax.tree.map(struct_of, batch)
        self._reports, self._moving = {}, []
        self._forget_metrics()
        if is_own(self.model, "train_step" if training else "test_step"):
            self._check_own(structs, training)
            return

        record = self._run_apart(batch if self.eager else structs, training)
        self._reports = {k: struct_of(x) for k, x in record.logs.items()}
        self._moving = [a for a, v in self.non_trainable.items() if v in record.updates]
        self._forget_metrics()  # some make their state when they first see a batch

    def _run_apart(self, batch: Any, training: bool) -> Record:
        """Run a step's forward pass and forget its values: on shapes alone, unless eager."""
        scope = Scope(training=training, pure=True, abstract=not self.eager, key=_abstract_key())

        def run(b: Any) -> Any:
            with entered(scope):
                forward(self.model, b, training)
            return {k: jnp.asarray(x) for k, x in scope.record.logs.items()}

        scope.record.logs = run(batch) if self.eager else jax.eval_shape(run, batch)
        return scope.record

    def _check_own(self, structs: Any, training: bool) -> None:
        step = "train_step" if training else "test_step"
        if len(inspect.signature(getattr(self.model, step)).parameters) != 2:
            raise ArgumentError(
                f"{type(self.model).__name__}.{step} takes other arguments than `(self, state, "
                f"data)`. Steps are pure functions here: `state` is the tuple of lists "
                f"{_STATE[step]}, and the step returns `logs, state`. Use `self.stateless_call`, "
                "`self.optimizer.stateless_apply` and `metric.stateless_update_state` inside."
            )
        if self.objective is not None and self.objective.waits_for_shapes:
            self._run_apart(structs, training)
        weights = {
            "trainable": {a: struct_of(v) for a, v in self.trainable.items()},
            "non_trainable": {a: struct_of(v) for a, v in self.non_trainable.items()},
        }
        key = jax.eval_shape(lambda: jax.random.key_data(_abstract_key()))
        for _ in range(2):  # some metrics make their state when they first see a batch
            self._forget_metrics()
            metrics = {a: struct_of(v) for a, v in self.metric_variables.items()}
            if training:
                self.build_optimizer()
                optimizer = {a: struct_of(v) for a, v in self.optimizer.state_variables.items()}
                state = {**weights, "optimizer": optimizer, "metrics": metrics, "key": key,
                         "monitor": jax.ShapeDtypeStruct((), "int32")}  # fmt: skip
                found = jax.eval_shape(self._train_by_user, state, structs)
            else:
                carry = {"metrics": metrics, "moving": weights["non_trainable"]}
                found = jax.eval_shape(self._test_by_user, weights, carry, structs)
            self._reports = {
                k.removeprefix(_LOG): x for k, x in found["metrics"].items() if k.startswith(_LOG)
            }
        self._forget_metrics()

    def build_optimizer(self) -> Any:
        """The optimizer, with state for what trains now."""
        try:
            self.optimizer.build(self.trainable)
        except StructureError:
            # What trains has changed since the last fit: it starts anew, at the same step.
            step = int(self.optimizer.iterations)
            self.optimizer = self.model.optimizer = type(self.optimizer).from_config(
                self.optimizer.get_config()
            )
            self.optimizer.build(self.trainable)
            self.optimizer.iterations.assign(step)
        return self.optimizer

    # ---- the steps -----------------------------------------------------------------------------

    def _bound(self, *groups: tuple[Mapping[str, Variable], Mapping[str, Any]]) -> dict[Any, Any]:
        return {v: values[a] for variables, values in groups for a, v in variables.items()}

    def _note_trace(self, what: str, batch: Any) -> None:
        """Say once that a step is compiled again and again, and for which shapes."""
        shapes = self._traced.setdefault(what, [])
        now = ", ".join(str(tuple(x.shape)) for x in jax.tree.leaves(batch))
        if now not in shapes:
            shapes.append(now)
        if len(shapes) == _MANY_SHAPES and not self.eager:
            warn(
                f"{what} of {self.model.name!r} is compiled anew for each shape of a batch, so far "
                f"for {'; '.join(shapes)}. Batches of one shape (padded, or with the last one left "
                "out) need one compilation. This is said once.",
                TrainingWarning,
            )

    def _train(self, state: State, batch: Any, key: Any = None) -> State:
        self._note_trace("The training step", batch)
        iteration = state["optimizer"]["iteration"]
        key = step_key(state) if key is None else key

        def loss(trainable: Any) -> Any:
            values = self._bound(
                (self.trainable, trainable), (self.non_trainable, state["non_trainable"]),
                (self.metric_variables, state["metrics"]),
            )  # fmt: skip
            scope = Scope(values=values, training=True, key=key, pure=True)
            with entered(scope):
                total = forward(self.model, batch, True)
            new = scope.record.updates
            moved = {a: new.get(v, values[v]) for a, v in self.non_trainable.items()}
            scaled = self.optimizer.scale_loss(total, state["optimizer"])
            return scaled, (total, moved, self._seen(scope.record, values))

        (_, (total, non_trainable, metrics)), gradients = jax.value_and_grad(loss, has_aux=True)(
            state["trainable"]
        )
        trainable, optimizer = self.optimizer.update(
            gradients, state["trainable"], state["optimizer"]
        )
        return {
            "trainable": trainable, "non_trainable": non_trainable, "optimizer": optimizer,
            "metrics": metrics, "key": state["key"],
            "monitor": _watched(state["monitor"], total, iteration),
        }  # fmt: skip

    def _seen(self, record: Record, values: Mapping[Variable, Any]) -> dict[str, Any]:
        """The metrics' new state, and what a user's ``compute_metrics`` reports."""
        metrics = {a: record.updates.get(v, values[v]) for a, v in self.metric_variables.items()}
        return metrics | {_LOG + k: jnp.asarray(x) for k, x in record.logs.items()}

    def _test(self, weights: State, carry: State, batch: Any) -> State:
        values = self._bound(
            (self.trainable, weights["trainable"]),
            (self.non_trainable, weights["non_trainable"] | carry["moving"]),
            (self.metric_variables, carry["metrics"]),
        )  # fmt: skip
        scope = Scope(values=values, training=False, pure=True)
        with entered(scope):
            forward(self.model, batch, False)
        new = scope.record.updates
        return {
            "metrics": self._seen(scope.record, values),
            "moving": {a: new.get(self.non_trainable[a], x) for a, x in carry["moving"].items()},
        }

    def _predict(self, weights: State, x: Any) -> tuple[list[Any], dict[str, Any]]:
        self._note_trace("predict()", x)
        values = self._bound(
            (self.trainable, weights["trainable"]), (self.non_trainable, weights["non_trainable"])
        )
        scope = Scope(values=values, training=False, pure=True)
        with entered(scope):
            outputs = self.model(x, training=False)
        new = scope.record.updates
        return self._flat(outputs), {a: new[v] for a, v in self.non_trainable.items() if v in new}

    def _flat(self, outputs: Any) -> list[Any]:
        # JAX would sort the keys of a dict; the nesting is kept apart from the arrays.
        self.output_structure = nested.map_structure(lambda _: None, outputs)
        return nested.flatten(outputs)

    def _results(self, metrics: Any) -> dict[str, Any]:
        assert self.objective is not None  # noqa: S101 - only asked of compiled models
        if self._reports:
            return {k: metrics[_LOG + k] for k in self._reports}
        with entered(Scope(values=self._bound((self.metric_variables, metrics)), pure=True)):
            return self.objective.results(self.metrics)

    # ---- steps that a user wrote -----------------------------------------------------------------

    def _train_by_user(self, state: State, batch: Any) -> State:
        iteration = state["optimizer"]["iteration"]
        groups = (
            ("trainable", self.trainable), ("non_trainable", self.non_trainable),
            ("optimizer", self.optimizer.state_variables), ("metrics", self.metric_variables),
        )  # fmt: skip
        scope = Scope(
            values=self._bound(*((variables, state[group]) for group, variables in groups)),
            key=step_key(state), pure=True,
        )  # fmt: skip
        logs, new = self._call_own("train_step", scope, state, groups, batch)
        total = logs.get("loss", 0.0)
        monitor = _watched(state["monitor"], jnp.mean(jnp.asarray(total)), iteration)
        return {**state, **new, "metrics": _with_logs(new["metrics"], logs), "monitor": monitor}

    def _test_by_user(self, weights: State, carry: State, batch: Any) -> State:
        groups = (
            ("trainable", self.trainable), ("non_trainable", self.non_trainable),
            ("metrics", self.metric_variables),
        )  # fmt: skip
        state = {
            "trainable": weights["trainable"], "metrics": carry["metrics"],
            "non_trainable": weights["non_trainable"] | carry["moving"],
        }  # fmt: skip
        scope = Scope(
            values=self._bound(*((variables, state[group]) for group, variables in groups)),
            pure=True,
        )
        logs, new = self._call_own("test_step", scope, state, groups, batch)
        before = {a: state["non_trainable"][a] for a in self.non_trainable}
        moved = {a: x for a, x in new["non_trainable"].items() if x is not before[a]}
        self._moving = list(moved)
        moving = {a: moved.get(a, x) for a, x in carry["moving"].items()}
        return {"metrics": _with_logs(new["metrics"], logs), "moving": moving}

    def _predict_by_user(self, weights: State, x: Any) -> tuple[list[Any], dict[str, Any]]:
        groups = (("trainable", self.trainable), ("non_trainable", self.non_trainable))
        lists = tuple([weights[g][a] for a in variables] for g, variables in groups)
        scope = Scope(
            values=self._bound(*((variables, weights[g]) for g, variables in groups)), pure=True
        )
        with entered(scope):
            outputs, new = self.model.predict_step(lists, x)
        new = dict(zip(self.non_trainable, new, strict=True))
        old = weights["non_trainable"]
        return self._flat(outputs), {a: v for a, v in new.items() if v is not old[a]}

    def _call_own(
        self, step: str, scope: Scope, state: State, groups: Any, batch: Any
    ) -> tuple[dict[str, Any], State]:
        """Call the user's step on lists; what it assigns to variables counts as returned."""
        lists = tuple([state[group][a] for a in variables] for group, variables in groups)
        with entered(scope):
            result = getattr(self.model, step)(lists, pack_x_y_sample_weight(*batch))
        lengths = tuple(map(len, lists))
        if (
            not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], dict))
            or not isinstance(result[1], (tuple, list))
            or tuple(map(len, result[1])) != lengths
        ):
            raise StructureError(
                f"{type(self.model).__name__}.{step} returns `logs, state`: a dict of scalars, "
                f"then lists as long as those it was given, {_STATE[step]} of lengths "
                f"{lengths}. Received: {jax.tree.map(jnp.shape, result)!r}."
            )
        logs, lists = result
        new = {
            group: {a: scope.record.updates.get(v, getattr(x, "value", x))
                    for (a, v), x in zip(variables.items(), values, strict=True)}
            for (group, variables), values in zip(groups, lists, strict=True)
        }  # fmt: skip
        return logs, new

    # ---- dispatches ------------------------------------------------------------------------------

    def _train_one(self, state: State, batch: Any) -> tuple[State, Any]:
        """One step; returns a token too, to wait on, because the next step takes the state."""
        state = self._inner_train(state, batch)
        return state, jnp.copy(state["optimizer"]["iteration"])

    def _train_many(self, state: State, block: Any, size: Static, count: Any) -> tuple[State, Any]:
        """Steps over the first ``count`` batches of a block of data; returns a token too."""
        state = jax.lax.fori_loop(
            0, count, lambda i, s: self._inner_train(s, batch_of(block, i, size)), state
        )
        return state, jnp.copy(state["optimizer"]["iteration"])

    def _test_many(
        self, weights: State, carry: State, block: Any, size: Static, count: Any
    ) -> State:
        return jax.lax.fori_loop(
            0, count, lambda i, c: self._inner_test(weights, c, batch_of(block, i, size)), carry
        )

    def _predict_many(self, weights: State, x: Any, shapes: Any, size: Any, count: Any) -> Any:
        """The outputs of the first ``count`` batches of a block of data."""
        block = nested.flatten(x)[0].shape[0]
        outputs = [jnp.zeros((block, *s.shape[1:]), s.dtype) for s in shapes.value]

        def body(i: Any, outputs: Any) -> Any:
            leaves, _ = self._inner_predict(weights, batch_of(x, i, size))
            at = i * size.value
            return [
                jax.lax.dynamic_update_slice_in_dim(whole, new, at, 0)
                for whole, new in zip(outputs, leaves, strict=True)
            ]

        return jax.lax.fori_loop(0, count, body, outputs)

    def takes_in_place(self, samples: Any) -> bool:
        """Whether to train on samples where they lie: the loop is compiled for their number.

        Of other samples than the first it is not: blocks have one shape for any number.
        """
        shapes = jax.tree.map(jnp.shape, samples)
        self._in_place = self._in_place or shapes
        return self._in_place == shapes

    def outputs_in_loop(self, weights: State, x: Any) -> tuple[Any, ...] | None:
        """Shapes of the outputs for a batch, if batches can be predicted in a compiled loop."""
        if self.eager:
            return None
        traced = self._inner_predict.trace(weights, x)
        leaves, moved = traced.out_info
        size = nested.flatten(x)[0].shape[0]
        slow = _is_slow_in_loop(traced)
        if moved or slow or any(s.shape[:1] != (size,) for s in leaves):
            return None
        return tuple(leaves)

    def loops(self, what: str, *args: Any) -> bool:
        """Whether many steps (``"train"`` or ``"test"``) in one dispatch are faster than one each.

        Args:
            what: the step.
            args: what it will be called with, as arrays or their shapes; the batch is the last.
        """
        key = (what, *((x.shape, x.dtype) for x in jax.tree.leaves(args[-1])))
        if key not in self._in_loops:
            step = self._inner_train if what == "train" else self._inner_test
            self._in_loops[key] = not self.eager and not _is_slow_in_loop(step.trace(*args))
        return self._in_loops[key]


def _is_slow_in_loop(traced: Any) -> bool:
    """XLA:CPU runs a convolution inside a loop up to 60 times slower than outside of one."""
    return jax.default_backend() == "cpu" and uses(traced.jaxpr.jaxpr, _CONVOLUTION)


_STATE = {
    "train_step": "(trainable_variables, non_trainable_variables, optimizer_variables, "
    "metrics_variables)",
    "test_step": "(trainable_variables, non_trainable_variables, metrics_variables)",
}


def _abstract_key() -> Any:
    return jax.random.key(0)


def step_key(state: State) -> Any:
    """The key of the random draws of the step that comes next.

    The state has the key's bare data: a typed key costs each dispatch 0.1 ms.
    """
    return jax.random.fold_in(
        jax.random.wrap_key_data(state["key"]), state["optimizer"]["iteration"]
    )


def struct_of(x: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an array."""
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _with_logs(metrics: dict[str, Any], logs: Mapping[str, Any]) -> dict[str, Any]:
    return metrics | {_LOG + k: jnp.asarray(getattr(x, "value", x)) for k, x in logs.items()}


def _watched(monitor: Any, total: Any, iteration: Any) -> Any:
    """The first step whose loss was not finite."""
    bad = jnp.where(jnp.isfinite(total), NEVER, iteration.astype("int32"))
    return jnp.minimum(monitor, bad)


def standard_step(model: Any, step: str, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    """The library's own step in the form in which users write theirs; see ``Model.train_step``."""
    program = Program(model, model.objective, model.optimizer, eager=True)
    weights = {
        "trainable": dict(zip(program.trainable, state[0], strict=True)),
        "non_trainable": dict(zip(program.non_trainable, state[1], strict=True)),
    }
    metrics = dict(zip(program.metric_variables, state[-1], strict=True))
    batch = unpack_x_y_sample_weight(data)
    if step == "test_step":
        carry = {"metrics": metrics, "moving": weights["non_trainable"]}
        new = program._test(weights, carry, batch)
        moved = list(new["moving"].values())
        lists = (state[0], moved, [new["metrics"][a] for a in metrics])
    else:
        scope = current()
        key = random_key(name="train_step") if scope is None or scope.key is None else scope.key
        addresses = model.optimizer.state_variables
        optimizer = dict(zip(addresses, state[2], strict=True))
        groups = {**weights, "optimizer": optimizer, "metrics": metrics}
        new = program._train(
            {**groups, "key": key, "monitor": jnp.array(NEVER, "int32")}, batch, key
        )
        lists = tuple([new[g][a] for a in values] for g, values in groups.items())
    return program._results(new["metrics"]), lists


class Static:
    """A value that a compiled step knows while it is traced: a pytree without leaves."""

    def __init__(self, value: Any) -> None:
        self.value = value


jax.tree_util.register_pytree_node(Static, lambda s: ((), s.value), lambda value, _: Static(value))


def batch_of(block: Any, i: Any, size: Static) -> Any:
    """Batch ``i`` of a block of data, or of samples that stay where they are."""
    if isinstance(block, InPlace):
        return block.batch(i, size.value)
    return jax.tree.map(
        lambda a: jax.lax.dynamic_slice_in_dim(a, i * size.value, size.value), block
    )


def build(model: Any, batch: Any) -> None:
    """Make the weights of a model that has not seen an input, from a batch's shapes."""
    if is_own(model, "train_step") and not (is_own(model, "call") or model.graph):
        model.built = True  # its step calls the models inside, which are built already
    elif model.run_eagerly and model.graph is None:
        with entered(Scope(pure=True, key=_abstract_key())):  # values decide what it does
            model(batch[0])
    elif not model.built or not getattr(model, "graph", None):
        x = batch[0]
        specs = nested.map_structure(
            lambda a: spec.TensorSpec((spec.BATCH, *a.shape[1:]), a.dtype), x
        )
        model._build_on(specs)


def predict_program(model: Any, batch: Any) -> Program:
    """The steps for a model's outputs alone, kept with the model."""
    build(model, batch)
    programs = model.programs()
    if "predict" not in programs:
        programs["predict"] = Program(model, None, None, model.run_eagerly)
    return programs["predict"]
