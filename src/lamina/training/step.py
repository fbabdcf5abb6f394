"""Pure steps: ``(state, batch) -> state``, compiled with the state's buffers donated.

The state is one pytree with the groups ``trainable``, ``non_trainable``, ``optimizer`` and
``metrics``, all keyed by address, and ``monitor`` and ``key``. Whatever a step reports is
accumulated in ``metrics``, so nothing has to leave the device at each step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import tree
from lamina.core import registry, spec, xla
from lamina.core.scope import Record, Scope, entered
from lamina.core.variable import Variable
from lamina.errors import ArgumentError
from lamina.training.objective import Objective

State = dict[str, Any]
NEVER = np.iinfo(np.int32).max


class Program:
    """The steps of one model under one objective, compiled once and kept.

    Args:
        model: offers ``named_variables``, ``compute_loss`` and the call.
        objective: losses and metrics, or None to predict only.
        optimizer: offers ``update``, or None to evaluate only.
        eager: run layer by layer instead of compiled.
    """

    def __init__(
        self, model: Any, objective: Objective | None, optimizer: Any, eager: bool
    ) -> None:
        for name in ("train_step", "test_step", "predict_step"):
            if hasattr(model, name):
                raise ArgumentError(
                    f"{type(model).__name__} defines `{name}`, which fit, evaluate and predict "
                    "would not call. Override `compute_loss`, or write your own loop with "
                    "`model.stateless_call` and `optimizer.stateless_apply`."
                )
        self.model, self.objective, self.optimizer = model, objective, optimizer
        named = model.named_variables()
        self.trainable = {a: v for a, (v, trains) in named.items() if trains}
        self.non_trainable = {a: v for a, (v, trains) in named.items() if not trains}
        self.eager = eager
        inner_train: Any = self._train if eager else jax.jit(self._train)
        inner_test: Any = self._test if eager else jax.jit(self._test)
        self._inner_train, self._inner_test = inner_train, inner_test
        jit = (lambda fn, **_: fn) if eager else xla.jit
        self.train = jit(inner_train, donate_argnums=0)
        self.test = jit(inner_test, donate_argnums=1)
        self.train_many = jit(self._train_many, donate_argnums=0)
        self.test_many = jit(self._test_many, donate_argnums=1)
        self.train_at = jit(self._train_at, donate_argnums=0)
        self.test_at = jit(self._test_at, donate_argnums=1)
        self.predict = jit(self._predict)
        self.results = jit(self._results)
        self.output_structure: Any = None
        self._metric_variables: dict[str, Variable] | None = None

    # ---- state ---------------------------------------------------------------------------------

    @property
    def metric_variables(self) -> dict[str, Variable]:
        """Address to variable, for all metrics; complete once a batch was seen (:meth:`check`)."""
        if self._metric_variables is None:
            assert self.objective is not None  # noqa: S101 - only asked of compiled models
            self._metric_variables = {
                f"{name}/{i}_{v.name}": v
                for name, metric in self.objective.trackers.items()
                for i, v in enumerate(metric.variables)
            }
        return self._metric_variables

    def fresh_metrics(self) -> dict[str, Any]:
        """The metrics' state before any batch."""
        assert self.objective is not None  # noqa: S101 - only asked of compiled models
        scope = Scope(pure=True)
        with entered(scope):
            for metric in self.objective.trackers.values():
                metric.reset_state()
        return {
            a: jnp.array(scope.record.updates.get(v, v.value), v.dtype, copy=True)
            for a, v in self.metric_variables.items()
        }

    def check(self, batch: Any, training: bool) -> None:
        """Run a step abstractly: every mismatch of names, shapes and dtypes is told here."""
        structs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)

        def run(b: Any) -> Any:
            scope = Scope(training=training, pure=True, abstract=True, key=jax.random.key(0))
            with entered(scope):
                self._forward(b, training, scope.record)
            return 0

        jax.eval_shape(run, structs)
        self._metric_variables = None

    # ---- the steps -----------------------------------------------------------------------------

    def _forward(self, batch: Any, training: bool, record: Record) -> tuple[Any, Any, Any]:
        """Total loss, loss parts and outputs; inside a pure scope."""
        assert self.objective is not None  # noqa: S101 - only asked of compiled models
        x, y, sample_weight = batch
        outputs = self.model(x, training=training)
        if self.objective.output_names is None:
            self.objective.losses(y, outputs, sample_weight)
        _, parts = self.objective.losses(y, outputs, sample_weight)
        own_loss = registry.family_of(type(self.model).compute_loss) is None
        if training and not (parts or record.losses or own_loss):
            raise ArgumentError(
                "There is nothing to minimise: pass `loss=` to compile(), or call `self.add_loss` "
                "in a layer."
            )
        total = self.model.compute_loss(
            x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=training
        )
        for extra in (*record.losses, *self.model.weight_penalties()):
            total = total + extra
        total = jnp.asarray(total, "float32") if total.ndim == 0 else jnp.mean(total)
        size = tree.flatten(x)[0].shape[0]
        self.objective.update_metrics(y, outputs, sample_weight, total, parts, size)
        return total, parts, outputs

    def _bound(self, *groups: tuple[Mapping[str, Variable], Mapping[str, Any]]) -> dict[Any, Any]:
        return {v: values[a] for variables, values in groups for a, v in variables.items()}

    def _train(self, state: State, batch: Any) -> State:
        assert self.optimizer is not None  # noqa: S101 - only asked of compiled models
        iteration = state["optimizer"]["iteration"]
        key = jax.random.fold_in(state["key"], iteration)

        def loss(trainable: Any) -> Any:
            values = self._bound(
                (self.trainable, trainable), (self.non_trainable, state["non_trainable"]),
                (self.metric_variables, state["metrics"]),
            )  # fmt: skip
            scope = Scope(values=values, training=True, key=key, pure=True)
            with entered(scope):
                total, _, _ = self._forward(batch, True, scope.record)
            scaled = self.optimizer.scale_loss(total, state["optimizer"])
            return scaled, (total, *self._collected(scope.record, state))

        (_, (total, non_trainable, metrics)), gradients = jax.value_and_grad(loss, has_aux=True)(
            state["trainable"]
        )
        trainable, optimizer = self.optimizer.update(
            gradients, state["trainable"], state["optimizer"]
        )
        bad = jnp.where(jnp.isfinite(total), NEVER, iteration.astype("int32"))
        return {
            "trainable": trainable, "non_trainable": non_trainable, "optimizer": optimizer,
            "metrics": metrics, "key": state["key"],
            "monitor": jnp.minimum(state["monitor"], bad),
        }  # fmt: skip

    def _collected(self, record: Record, state: State) -> tuple[dict[str, Any], dict[str, Any]]:
        new = record.updates
        return (
            {a: new.get(v, state["non_trainable"][a]) for a, v in self.non_trainable.items()},
            {a: new.get(v, state["metrics"][a]) for a, v in self.metric_variables.items()},
        )

    def _test(self, weights: State, metrics: Any, batch: Any) -> Any:
        values = self._bound(
            (self.trainable, weights["trainable"]), (self.non_trainable, weights["non_trainable"]),
            (self.metric_variables, metrics),
        )  # fmt: skip
        scope = Scope(values=values, training=False, pure=True)
        with entered(scope):
            self._forward(batch, False, scope.record)
        new = scope.record.updates
        return {a: new.get(v, metrics[a]) for a, v in self.metric_variables.items()}

    def _predict(self, weights: State, x: Any) -> list[Any]:
        values = self._bound(
            (self.trainable, weights["trainable"]), (self.non_trainable, weights["non_trainable"])
        )
        scope = Scope(values=values, training=False, pure=True)
        with entered(scope):
            outputs = self.model(x, training=False)
        # JAX would sort the keys of a dict; the nesting is kept apart from the arrays.
        self.output_structure = tree.map_structure(lambda _: None, outputs)
        return tree.flatten(outputs)

    def _results(self, metrics: Any) -> dict[str, Any]:
        assert self.objective is not None  # noqa: S101 - only asked of compiled models
        values = self._bound((self.metric_variables, metrics))
        logs: dict[str, Any] = {}
        with entered(Scope(values=values, pure=True)):
            for name, metric in self.objective.trackers.items():
                result = metric.result()
                logs |= result if isinstance(result, dict) else {name: result}
        return logs

    # ---- many steps in one dispatch --------------------------------------------------------------

    def _train_many(self, state: State, data: Any, order: Any, size: Any, lo: Any, hi: Any) -> Any:
        """Steps ``lo`` to ``hi`` over data that lives on the device; returns a token to wait on."""

        def body(i: Any, s: State) -> State:
            return self._inner_train(s, gather(data, order, i, size))

        state = jax.lax.fori_loop(lo, hi, body, state)
        return state, jnp.copy(state["optimizer"]["iteration"])

    def _test_many(self, weights: State, metrics: Any, data: Any, order: Any, size: Any,
                   lo: Any, hi: Any) -> Any:  # fmt: skip
        def body(i: Any, m: Any) -> Any:
            return self._inner_test(weights, m, gather(data, order, i, size))

        return jax.lax.fori_loop(lo, hi, body, metrics)

    def _train_at(self, state: State, data: Any, order: Any, size: Any, i: Any) -> Any:
        state = self._inner_train(state, gather(data, order, i, size))
        return state, jnp.copy(state["optimizer"]["iteration"])

    def _test_at(
        self, weights: State, metrics: Any, data: Any, order: Any, size: Any, i: Any
    ) -> Any:
        return self._inner_test(weights, metrics, gather(data, order, i, size))

    def wants_single_steps(self, state: State, batch: Any) -> bool:
        """Whether this program runs faster step by step than in a compiled loop.

        XLA:CPU runs a convolution inside a loop up to 60 times slower than outside of one.
        """
        if self.eager:
            return True
        if jax.default_backend() != "cpu":
            return False
        return contains(self._inner_train.trace(state, batch).jaxpr.jaxpr, "conv_general_dilated")


class Window:
    """The static number of samples in a batch, as a pytree without leaves."""

    def __init__(self, size: int) -> None:
        self.size = size


jax.tree_util.register_pytree_node(Window, lambda w: ((), w.size), lambda size, _: Window(size))


def gather(data: Any, order: Any, i: Any, window: Window) -> Any:
    """Batch ``i`` of data on the device."""
    index = jax.lax.dynamic_slice(order, (i * window.size,), (window.size,))
    return jax.tree.map(lambda a: jnp.take(a, index, axis=0), data)


def contains(jaxpr: Any, primitive: str) -> bool:
    """Whether a program uses a primitive, at any depth."""
    stack = [jaxpr]
    while stack:
        current = stack.pop()
        for equation in current.eqns:
            if equation.primitive.name == primitive:
                return True
            for value in equation.params.values():
                for inner in value if isinstance(value, (tuple, list)) else (value,):
                    inner = getattr(inner, "jaxpr", inner)
                    if hasattr(inner, "eqns"):
                        stack.append(inner)
    return False


def build(model: Any, batch: Any) -> None:
    """Make the weights of a model that has not seen an input, from a batch's shapes."""
    if not model.built or not getattr(model, "graph", None):
        x = batch[0]
        specs = tree.map_structure(
            lambda a: spec.TensorSpec((spec.BATCH, *a.shape[1:]), a.dtype), x
        )
        model._build_on(specs)
