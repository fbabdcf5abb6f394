"""Building of models without a graph: from shapes, from specs of data, from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.core import prng, spec
from lamina.core.scope import Scope, entered
from lamina.core.symbolic import is_text
from lamina.execution.batches import Prepared
from lamina.layers.arguments import call_signature, shapes_of
from lamina.models.host import HostCalls, HostPart
from lamina.models.stateless import StatelessTrainer
from lamina.serialization.registry import builtin, defined_by_user
from lamina.tree import nested


@builtin()
class Buildable(StatelessTrainer):
    """Creates the weights of a model that has its own ``call``."""

    _layer_graph: Any
    _host_calls: HostCalls | None
    _input_dtypes: Any  # of inputs that may be text, in their structure

    @property
    def host_part(self) -> HostPart | HostCalls | None:
        """What runs on the host, ahead of the compiled step; None if there is nothing."""
        if self.layer_graph is not None:
            return self.layer_graph.host
        if self._host_calls is None:
            self.trainable_flags()  # which brings the snapshot up to date
            if self._layer_snapshot is not None and self._layer_snapshot.uses_host:
                self._host_calls = HostCalls(self.build_from_specs)
        return self._host_calls

    def build(self, input_shape: Any) -> None:
        """Create all weights for an input shape with the batch (None for unknown dimensions).

        Args:
            input_shape: A tuple; for several inputs a list or dict of tuples.
        """
        if self._layer_graph is None:
            self.build_from_specs(_specs_from_shapes(input_shape, self.compute_dtype))

    def _build_for(self, arguments: Mapping[str, Any]) -> None:
        """Create the weights in the first call, unless the class has its own ``build``."""
        if type(self).build is not Buildable.build:
            super()._build_for(arguments)
        elif self._layer_graph is None:
            inputs = arguments[call_signature(type(self)).first or ""]
            self._build_shapes = {"input_shape": shapes_of(inputs)}
            self._input_dtypes = nested.map_structure(
                lambda x: "string" if is_text(x) else str(x.dtype), inputs
            ) if self.host_part is not None else None  # fmt: skip
        self.built = True

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes that :meth:`build` received; of inputs with text, the dtypes too."""
        config = super().get_build_config()
        if config is None or self._input_dtypes is None:
            return config
        return {**config, "input_dtypes": self._input_dtypes}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Build from what :meth:`get_build_config` returned."""
        if self.built or config.get("input_dtypes") is None:
            super().build_from_config(config)
        else:
            shapes = _specs_from_shapes(config["input_shape"], self.compute_dtype)
            self.build_from_specs(nested.map_structure(
                lambda s, dtype: spec.TensorSpec(s.dims_raw, dtype), shapes, config["input_dtypes"]
            ))  # fmt: skip

    def build_from_batch(self, inputs: Any) -> None:
        """Create all weights for any number of samples, or for that of a batch.

        The latter is for a ``call`` that adds, for example, noise for a fixed number of samples.

        Args:
            inputs: Arrays in any nesting; None for an absent input.
        """

        def specs(samples: Any) -> Any:
            return nested.map_structure(
                lambda a: None if a is None else spec.TensorSpec(
                    (len(a) if samples is None else samples, *a.shape[1:]), a.dtype
                ), inputs,
            )  # fmt: skip

        try:
            self.build_from_specs(specs(spec.BATCH))
        except Exception as e:
            if self.layer_graph is not None or not defined_by_user(type(self), "call"):
                raise
            try:
                self.build_from_specs(specs(None))
            except Exception:  # noqa: BLE001 - the first one names the dimension
                raise e from None

    def build_from_specs(self, specs: Any) -> None:
        """Create all weights by abstract evaluation of ``call`` on specs."""
        leaves = nested.flatten(specs)
        host = self.host_part if not isinstance(specs, Prepared) else None

        def run(*arrays: Any) -> Any:
            with entered(Scope(pure=True, abstract=True, key=prng.abstract_key())):
                if not isinstance(host, HostCalls):
                    return self(nested.unflatten(specs, list(arrays)))
                with host.recorded(specs, arrays) as inputs:
                    return self(inputs)

        self.built = True  # for a user's `build` that called this one
        try:
            spec.evaluate(run, [spec.TensorSpec(s.dims_raw, "int32") if s.dtype == "string" else s
                                for s in leaves])  # fmt: skip
            if isinstance(host, HostCalls):
                self._input_dtypes = nested.map_structure(lambda s: s.dtype, specs)
            if self._build_shapes is None:
                shapes = nested.map_structure(lambda s: s.shape, specs)
                self._build_shapes = {"input_shape": shapes}
        except BaseException:
            self.built = False
            raise


def _specs_from_shapes(shape: Any, dtype: str) -> Any:
    if isinstance(shape, Mapping):
        return {k: _specs_from_shapes(v, dtype) for k, v in shape.items()}
    if all(d is None or isinstance(d, (int, str, np.integer)) for d in shape):
        dims = (spec.BATCH if shape[0] is None else shape[0], *shape[1:])
        return spec.TensorSpec(dims, dtype)
    return [_specs_from_shapes(s, dtype) for s in shape]


__all__ = ["Buildable"]
