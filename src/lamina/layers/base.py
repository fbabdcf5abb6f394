"""The base class of layers: arguments, weights and a computation on arrays or symbolic tensors."""

from __future__ import annotations

import contextlib
import functools
import inspect
import weakref
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import prng, spec
from lamina.core.boundary import public, warn
from lamina.core.graph import Node, is_symbolic
from lamina.core.operation import any_symbolic, record, stand_in
from lamina.core.scope import Record, Scope, current, entered, get_mask, random_key, set_mask
from lamina.core.spec import TensorSpec
from lamina.core.variable import Variable, value_of
from lamina.dtype_policies import dtypes
from lamina.errors import (
    ArgumentError,
    LaminaError,
    MaskWarning,
    SignatureError,
    StructureError,
)
from lamina.layers import eager
from lamina.layers.arguments import (
    InputSpec,
    as_array,
    as_shape,
    as_tensors,
    autocast,
    call_signature,
    map_shapes,
    masks_of,
    may_carry_mask,
    shape_parameters,
    shapes_for,
    shaping_fields,
)
from lamina.layers.calls import (
    add_notes,
    check_inputs,
    evaluated,
    explained,
    observed,
    tracked_build,
)
from lamina.layers.state import LayerState, names_inside
from lamina.serialization import registry
from lamina.serialization.registry import builtin
from lamina.tree import nested


@builtin("layers")
class Layer(LayerState):
    """A computation with weights, of which models are composed.

    A subclass creates its weights in ``build(input_shape)`` (or in ``__init__``) with
    :meth:`add_weight`, and computes its outputs in ``call(inputs)``, which may also take
    ``training`` and ``mask``. Nothing else is required: output shapes are inferred by abstract
    evaluation of ``call``, and the constructor's arguments are stored for saving.

    Args:
        activity_regularizer: Penalty on the outputs, added to the loss.
        trainable: Whether the optimizer may change the weights.
        dtype: Name of the dtype, or dtype policy, of weights and computation.
        autocast: Whether floating inputs are cast to the compute dtype.
        name: The layer's name; ``dense``, ``dense_1``, ... when None.

    Raises:
        ShapeError: On a call with an input that does not match.

    >>> import numpy as np
    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones")
    ...
    ...     def call(self, inputs):
    ...         return inputs * self.factor
    >>> Scale()(np.ones((2, 3), "float32")).shape
    (2, 3)
    """

    input_spec = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = tracked_build(cls.__dict__["build"])

    # ---- building ------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Create the weights for an input shape, with None for unknown dimensions."""
        self.built = True

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes that :meth:`build` received, in the format of Keras's files."""
        shapes = self._build_shapes
        if not self.built or not shapes:
            return None
        if len(shapes) == 1:
            return {"input_shape": next(iter(shapes.values()))}
        return {"shapes_dict": {k: v for k, v in shapes.items() if v is not None}}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Build from what :meth:`get_build_config` returned."""
        if self.built:
            return
        if "shapes_dict" in config:
            self.build(**{k: as_shape(v) for k, v in config["shapes_dict"].items()})
        elif "input_shape" in config:
            self.build(as_shape(config["input_shape"]))

    def _build_for(self, arguments: Mapping[str, Any]) -> None:
        names = call_signature(type(self)).build_names
        self.build(**shapes_for(type(self), names, arguments))
        self.built = True

    # ---- calling -------------------------------------------------------------------------------

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; subclasses override this."""
        raise SignatureError(
            f"Layer {self.name!r} of class {type(self).__name__} has no `call`. "
            "Define `def call(self, inputs): ...` in the class.",
            layer=self.name,
        )

    def _scope(self, training: bool | None = None) -> Scope:
        here = current() or Scope()
        if training is None:
            training = here.training
        dtype = self.compute_dtype if self.autocast else None
        if here.layer is None:
            name, draw_name = self.name, self._draw_name
        else:
            if not self.built:
                self.__dict__["_containing_layer"] = weakref.ref(here.layer)
            name, draw_name = names_inside(here.layer, self)
        return here.inside(name, draw_name, self, training, dtype)

    @public
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        training, arguments = self._bind(args, kwargs)
        if any_symbolic(tuple(arguments.values())):
            return self._call_symbolic(arguments, training)
        arguments = {k: nested.map_structure(as_array, v) for k, v in arguments.items()}
        check_inputs(self, arguments)
        if not self.built:
            self._build_for(arguments)
        outer, scope = current(), self._scope(training)
        with entered(scope), jax.named_scope(scope.path[-1]):
            try:
                if self._remat is None:
                    outputs = self._run(arguments)
                else:
                    outputs = self._remat.call(self.name, self._run, arguments)
            except Exception as e:
                add_notes(e, self, outer, self.layer_graph is not None)
                raise
        if outer is None:
            self._losses_of_call = scope.record.losses
        if not (self.supports_masking or self._told_of_mask) and not (
            (outer and (outer.abstract or outer.building))
            # Built-in layers handle the masks of their inner layers themselves.
            or (outer and registry.registration_of(type(outer.layer)) is not None)
        ):  # fmt: skip
            inputs = arguments.get(call_signature(type(self)).first or "")
            if masks_of(inputs) is not None and masks_of(outputs) is None:
                self._warn_of_lost_mask("the mask of its inputs")
        return outputs

    def _bind(self, args: Any, kwargs: dict[str, Any]) -> tuple[bool | None, dict[str, Any]]:
        """The arguments by name, and ``training`` if the caller passed it."""
        signature = call_signature(type(self))
        training = kwargs.get("training")
        if not signature.takes_training and not signature.takes_kwargs:
            kwargs.pop("training", None)
        if len(args) == 1 and not kwargs and signature.first is not None:
            parameter = signature.signature.parameters[signature.first]
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and len(signature.names) == 1:
                return training, {signature.first: as_tensors(args[0], type(self))}
        try:
            bound = signature.signature.bind(*args, **kwargs)
        except TypeError as e:
            shown = ", ".join(map(str, signature.signature.replace(
                parameters=[p.replace(annotation=p.empty)
                            for p in signature.signature.parameters.values()],
                return_annotation=inspect.Signature.empty,
            ).parameters.values()))  # fmt: skip
            tensors = len(args) > 1 and all(is_symbolic(x) or spec.is_array(x) for x in args)
            several = tensors and self.input_spec is None
            raise SignatureError(
                f"Layer {self.name!r} ({type(self).__name__}) was called with wrong arguments: {e}."
                f" The arguments of `call` are ({shown})."
                + (f" Pass several tensors as one list: `{self.name}([a, b])`." if several else ""),
                layer=self.name,
            ) from None
        arguments = dict(bound.arguments)
        for name, parameter in signature.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD and name in arguments:
                arguments |= arguments.pop(name)
        first = signature.first
        if first is not None and first in arguments:
            arguments[first] = as_tensors(arguments[first], type(self))
        return arguments.get("training", training), arguments

    def _run(self, arguments: dict[str, Any]) -> Any:
        """Compute on arrays, inside this layer's scope."""
        scope = current()
        assert scope is not None  # noqa: S101 - entered by every caller
        signature = call_signature(type(self))
        masks = {k: masks_of(v) for k, v in arguments.items() if may_carry_mask(v)}
        if self.autocast and dtypes.is_float(self.compute_dtype):
            arguments = {
                k: nested.map_structure(functools.partial(autocast, dtype=self.compute_dtype), v)
                for k, v in arguments.items()
            }
        if signature.takes_training and arguments.get("training") is None:
            training = scope.training
            arguments["training"] = signature.training_default if training is None else training
        previous = masks.get(signature.first or "")
        for name in signature.names:
            key = name.removesuffix("mask").removesuffix("_") or signature.first
            if name.endswith("mask") and arguments.get(name) is None and key in masks:
                arguments[name] = masks[key]
        if signature.takes_mask and arguments.get("mask") is not None and previous is None:
            previous = arguments["mask"]
        positional, keywords = self._split(arguments)
        run = self.call if self.quantization_mode is None else self.quantized_call
        outputs = eager.run(self, run, positional, keywords)
        if outputs is None:
            raise StructureError(
                f"`call` of layer {self.name!r} ({type(self).__name__}) returned None. Is a "
                "`return` missing?"
            )
        if scope.hook is not None or self.output_sharding is not None:
            outputs = observed(self, arguments, outputs, scope.hook)
        if self.activity_regularizer is not None:
            for x in nested.flatten(outputs):
                self.add_loss(self.activity_regularizer(x) / x.shape[0])
        self._propagate_mask(arguments.get(signature.first or ""), previous, outputs)
        return outputs

    def _split(self, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Split the arguments into positional and keyword arguments, as ``call`` takes them."""
        positional: list[Any] = []
        keywords = dict(arguments)
        for name, parameter in call_signature(type(self)).signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional.extend(keywords.pop(name, ()))
            elif parameter.kind is parameter.POSITIONAL_ONLY or (
                parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                and not isinstance(keywords.get(name), call_signature(type(self)).by_name)
                and len(positional) == list(call_signature(type(self)).names).index(name)
            ):  # fmt: skip
                positional.append(keywords.pop(name))
        return positional, keywords

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the outputs, for layers with ``supports_masking``; the input's by default."""
        return previous_mask

    def symbolic_mask(self, node: Node, index: int) -> Any:
        """The mask of an output of a call on symbolic tensors, computed by ops, or None."""
        if self.layer_graph is not None:
            return None
        _, arguments = self._bind(node.args, node.kwargs)
        inputs = arguments.get(call_signature(type(self)).first or "")
        previous = nested.map_structure(
            lambda x: x.symbolic_mask if is_symbolic(x) else None, inputs
        )
        if all(m is None for m in nested.flatten(previous)):
            previous = arguments.get("mask")
        masks = nested.flatten(self.compute_mask(inputs, previous))
        return masks[0 if len(masks) == 1 else index]

    def _propagate_mask(self, inputs: Any, previous: Any, outputs: Any) -> None:
        overridden = registry.defined_by_user(type(self), "compute_mask")
        if self.supports_masking or overridden:
            masks = self.compute_mask(inputs, previous)
            if masks is None:
                return
            leaves = nested.flatten(outputs)
            mask_leaves = nested.flatten(masks)
            if len(mask_leaves) == 1:
                mask_leaves = mask_leaves * len(leaves)
            for x, mask in zip(leaves, mask_leaves, strict=False):
                if mask is not None and (get_mask(x) is None or overridden):
                    set_mask(x, mask)

    def _call_symbolic(self, arguments: dict[str, Any], training: bool | None) -> Any:
        """Check the inputs, build the layer, infer the output spec, and record a node."""
        outputs, masks = self._inferred(arguments, training, checked=True)
        inputs = nested.flatten(arguments.get(call_signature(type(self)).first or ""))
        masked = [x.name for x in inputs if is_symbolic(x) and x.mask is not None]
        if masked and not any(nested.flatten(masks)):
            self._warn_of_lost_mask(f"the mask of {masked[0]!r}")
        positional, keywords = self._split(arguments)
        return record(self, tuple(positional), keywords, outputs, masks)

    def _inferred(
        self, arguments: dict[str, Any], training: bool | None, checked: bool = False
    ) -> tuple[Any, Any]:
        """Build the layer and infer the specs of its outputs and masks; errors name the layer."""
        try:
            if checked:
                check_inputs(self, arguments)
            with entered(Scope()):
                if not self.built:
                    self._build_for(arguments)
            return self._infer(arguments, training)
        except Exception as e:
            error = explained(e, self, arguments)
            if error is e:
                raise
            raise error from (None if isinstance(e, LaminaError) else e)

    def _warn_of_lost_mask(self, mask: str) -> None:
        """Warn once that a mask is not propagated, unless the layer's class handles masks."""
        if (
            self.supports_masking or self._told_of_mask
            or registry.defined_by_user(type(self), "compute_mask")
        ):  # fmt: skip
            return
        self._told_of_mask = True
        who = f"Layer {self.name!r} ({type(self).__name__})"
        if call_signature(type(self)).takes_mask:
            warn(
                f"{who} uses {mask}, but does not propagate it to its outputs. To propagate it, "
                "set `self.supports_masking = True` in the constructor; if it should not be "
                "propagated, define `compute_mask` and return None.",
                MaskWarning,
            )
        else:
            warn(
                f"{who} does not support masking, so {mask} is ignored and not propagated. If "
                "masked positions must not affect the result, use a layer that supports masking.",
                MaskWarning,
            )

    def _infer(self, arguments: dict[str, Any], training: bool | None) -> tuple[Any, Any]:
        """Specs of the outputs, and for each output leaf the spec of its mask, or None."""
        overridden = self._user_spec(arguments)
        waiting = not registry.defined_by_user(type(self), "build") and not all(
            x.built for x in self._sublayers()
        )
        if overridden is not None and not waiting:
            return overridden, self._mask_specs(arguments, overridden)
        symbolic = [x for x in nested.flatten(tuple(arguments.values())) if is_symbolic(x)]
        specs = [x.spec for x in symbolic]
        mask_specs = [x.mask for x in symbolic]
        present = [m for m in mask_specs if m is not None]

        def run(*arrays: Any) -> tuple[Any, list[Any]]:
            scope = Scope(key=prng.abstract_key(), pure=True, abstract=True)
            with entered(scope):
                it, masks = iter(arrays), iter(arrays[len(specs) :])
                tensors = [next(it) for _ in specs]
                for x, m in zip(tensors, mask_specs, strict=True):
                    if m is not None:
                        set_mask(x, next(masks))
                fill = iter(tensors)
                filled = {
                    k: nested.map_structure(lambda x: next(fill) if is_symbolic(x) else x, v)
                    for k, v in arguments.items()
                }
                with entered(self._scope(training)):
                    outputs = self._run(filled)
                return outputs, [get_mask(x) for x in nested.flatten(outputs)]

        if overridden is not None:
            # The call builds the inner layers. Where it cannot be evaluated without values, which
            # may be why the class computes its shapes, the first call on arrays does.
            with contextlib.suppress(Exception):
                spec.evaluate(run, [*specs, *present])
            return overridden, self._mask_specs(arguments, overridden)
        key = self._evaluation_key(arguments, training, [m is not None for m in mask_specs])
        outputs, masks = evaluated(self, arguments, key, run, specs, present)
        if not any(isinstance(x, TensorSpec) for x in nested.flatten(outputs)):
            raise StructureError(
                f"`call` of layer {self.name!r} ({type(self).__name__}) returned no tensor. "
                f"Received: {outputs!r}."
            )
        return outputs, masks

    def _evaluation_key(
        self, arguments: Mapping[str, Any], training: bool | None, masked: list[bool]
    ) -> Any:
        """Cache key of a built-in layer's output spec besides the input specs; None if uncached."""
        cls = type(self)
        if registry.registration_of(cls) is None or self._sublayers():
            return None
        values = [getattr(self, name) for name in shaping_fields(cls)]
        static = nested.map_structure(lambda x: "*" if is_symbolic(x) else x, dict(arguments))
        return spec.freeze(cls, self._own_policy.name, training, values, static, masked)

    def _user_spec(self, arguments: Mapping[str, Any]) -> Any:
        """The result of a user's ``compute_output_spec`` or ``compute_output_shape``, if any."""
        cls = type(self)
        inputs = arguments.get(call_signature(type(self)).first or "")
        if registry.defined_by_user(cls, "compute_output_spec"):
            answer = self.compute_output_spec(inputs)
            return nested.map_structure(lambda x: x.spec if is_symbolic(x) else x, answer)
        if registry.defined_by_user(cls, "compute_output_shape"):
            names = shape_parameters(cls.compute_output_shape)
            given = shapes_for(type(self), names, arguments)
            shape = self.compute_output_shape(**given)
            if is_symbolic(inputs) and shape is next(iter(given.values()), None):
                return TensorSpec(nested.flatten(inputs)[0].spec.dims_raw, self.compute_dtype)
            tensors = [x for x in nested.flatten(tuple(arguments.values())) if is_symbolic(x)]
            batch = next((x.spec.dims_raw[:1] for x in tensors if x.ndim), (spec.BATCH,))

            def to_spec(s: Any) -> TensorSpec:
                s = tuple(s)
                return TensorSpec((*(batch if s[:1] == (None,) else s[:1]), *s[1:]),
                                  self.compute_dtype)  # fmt: skip

            return map_shapes(to_spec, shape)
        return None

    def _mask_specs(self, arguments: Mapping[str, Any], outputs: Any) -> list[Any]:
        """The masks of outputs whose specs the user's class computes."""
        inputs = arguments.get(call_signature(type(self)).first or "")
        leaves = [x for x in nested.flatten(inputs) if is_symbolic(x)]
        passes = self.supports_masking or registry.defined_by_user(type(self), "compute_mask")
        count = len(nested.flatten(outputs))
        if not passes or all(x.mask is None for x in leaves):
            return [None] * count

        def run(*arrays: Any) -> Any:
            values = iter(arrays)
            masks = {x: None if x.mask is None else next(values) for x in leaves}
            with entered(Scope(pure=True, abstract=True)):
                return self.compute_mask(
                    nested.map_structure(lambda x: next(values) if x in masks else x, inputs),
                    nested.map_structure(masks.get, inputs),
                )

        masks = [x.mask for x in leaves if x.mask is not None]
        found = nested.flatten(spec.evaluate(run, [*masks, *(x.spec for x in leaves)]))
        return found * count if len(found) == 1 else found

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The specs of the outputs of a call on symbolic tensors, without recording a node."""
        training, arguments = self._bind(args, kwargs)
        return self._inferred(arguments, training)[0]

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The shape of the output for inputs of the given shape (None for unknown dimensions).

        >>> from lamina import layers
        >>> layers.Dense(3).compute_output_shape((None, 4))
        (None, 3)
        """
        shapes = [*args, *kwargs.values()]
        names = call_signature(type(self)).names

        def tensor(shape: Any) -> Any:
            dims = (spec.BATCH if shape[0] is None else shape[0], *shape[1:]) if shape else ()
            return stand_in(TensorSpec(dims, self.compute_dtype))

        arguments = dict(zip(names, (map_shapes(tensor, s) for s in shapes), strict=False))
        specs = self.compute_output_spec(**arguments)
        return nested.map_structure(lambda s: None if s is None else s.shape, specs)

    # ---- losses --------------------------------------------------------------------------------

    def add_loss(self, loss: Any) -> None:
        """Add a loss to the training loss, inside ``call``; arrays are summed to a scalar."""
        scope = current()
        if scope is None:
            raise ArgumentError("add_loss() must be called inside `call`.")
        scope.record.losses.extend(jnp.sum(x) for x in nested.flatten(loss))

    @property
    def losses(self) -> list[Any]:
        """The losses of the last eager call, followed by the penalties on weights."""
        return [*self._losses_of_call, *self.weight_penalties()]

    def weight_penalties(self) -> list[Any]:
        """The values of the regularizers of the weights that are currently trainable."""
        return [v.regularizer(v.value) for v in self.trainable_variables if v.regularizer]

    # ---- pure calls ----------------------------------------------------------------------------

    def apply_pure(
        self, values: Mapping[Variable, Any], *args: Any, key: Any = None, **kwargs: Any
    ) -> tuple[Any, Record]:
        """Call the layer with variables bound to ``values``, without side effects.

        Returns:
            The outputs, and the record of new values, losses and logs.
        """
        outer = current()
        if key is None and outer is not None and outer.key is not None:
            key = random_key(name="stateless_call")
        record = Record()
        step = None
        if outer is not None and outer.pure:
            values, step = {**outer.values, **values}, outer.step
            record.unbound = outer.record.unbound
        scope = Scope(
            values=values, training=kwargs.get("training"), key=key, pure=True, record=record,
            step=step, abstract=outer is not None and outer.abstract,
        )  # fmt: skip
        with entered(scope):
            return self(*args, **kwargs), scope.record

    def stateless_call(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *args: Any,
        return_losses: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The call as a pure function of the weights, to which JAX transformations apply.

        Args:
            trainable_variables: Arrays in the order of :attr:`trainable_variables`, or a dict with
                the addresses of :meth:`named_variables`.
            non_trainable_variables: Likewise.
            args: The inputs.
            return_losses: Whether to return the list of added losses, too.
            seed: Seed of random numbers (dropout): an integer or a JAX key, which should differ in
                each call. Required inside your own ``jax.jit`` if random numbers are drawn; the
                step that :meth:`fit` compiles has its own.
            kwargs: Keyword arguments of the call (``training=True`` ...).

        Returns:
            ``(outputs, non_trainable_variables)``, and the losses if ``return_losses``. The new
            values have the form in which the old ones were passed.
        """
        named = self.named_variables()
        values: dict[Variable, Any] = {}
        for given, trains in ((trainable_variables, True), (non_trainable_variables, False)):
            mine = {a: v for a, (v, t) in named.items() if t == trains}
            if isinstance(given, Mapping):
                values |= {mine[a]: x for a, x in given.items()}
            elif len(given) == len(mine):
                values |= dict(zip(mine.values(), given, strict=True))
            else:
                raise StructureError(
                    f"stateless_call() of {self.name!r} expects {len(mine)} "
                    f"{'trainable' if trains else 'non-trainable'} values. Received {len(given)}."
                )
        values = {v: value_of(x) for v, x in values.items()}
        if seed is not None and not spec.is_array(seed):
            seed = prng.base_key(seed)
        elif seed is not None and not jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
            seed = jax.random.key(seed) if seed.ndim == 0 else jax.random.wrap_key_data(seed)
        outputs, rec = self.apply_pure(values, *args, key=seed, **kwargs)
        outer = current()
        if outer is not None and outer.pure:  # variables of other layers belong to the caller
            outer.record.updates |= {v: x for v, x in rec.updates.items() if v not in values}
        if isinstance(non_trainable_variables, Mapping):
            new: Any = {a: rec.updates.get(named[a][0], x)
                        for a, x in non_trainable_variables.items()}  # fmt: skip
        else:
            mine = [v for v, t in named.values() if not t]
            new = [rec.updates.get(v, values[v]) for v in mine]
        if not return_losses:
            return outputs, new
        with entered(Scope(values=values, pure=True)):
            return outputs, new, [*rec.losses, *self.weight_penalties()]


def scope_of(layer: Layer, training: bool | None) -> Scope:
    """The scope of a call of ``layer`` inside the current scope."""
    return layer._scope(training)


__all__ = ["InputSpec", "Layer", "scope_of"]
