"""Layers around models that are written in JAX or Flax."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core import naming, prng
from lamina.core.scope import current, random_key
from lamina.core.variable import Variable, copied, value_of
from lamina.dtype_policies import dtypes
from lamina.errors import ArgumentError, SerializationError, StructureError, unknown_name
from lamina.initializers.base import read_seed
from lamina.layers.arguments import map_shapes
from lamina.layers.base import Layer
from lamina.runtime import optional
from lamina.serialization.fields import field
from lamina.serialization.registry import builtin
from lamina.tree import nested


def _takes(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


@builtin()
class _PureModel(Layer):
    """What both have in common: trees of weights, and calls of a pure function with them."""

    seed: int | None = field(default=None, convert=read_seed, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._input_dtypes: Any = None
        self._trees: dict[str, Any] = {"params": None, "state": None}

    # What a subclass gives.

    def _given(self) -> tuple[Any, Any]:
        """Initial parameters and state, each None where the layer has to make them."""
        raise NotImplementedError

    def _initialize(self, key: Any, inputs: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def _apply(self, params: Any, state: Any, inputs: Any, training: bool) -> tuple[Any, Any]:
        raise NotImplementedError

    # ---- weights -------------------------------------------------------------------------------

    def _build_for(self, arguments: Mapping[str, Any]) -> None:
        inputs = arguments["inputs"]
        self._input_dtypes = tuple(str(x.dtype) for x in nested.flatten(inputs))
        super()._build_for(arguments)

    def build(self, input_shape: Any) -> None:
        """Make the weights: those that were given, or new ones for inputs of this shape."""
        params, state = self._given()
        if params is None and state is None:
            params, state = self._made(input_shape)
        self._trees = {
            "params": self._variables(params, trainable=True),
            "state": self._variables(state, trainable=False),
        }

    def _made(self, input_shape: Any) -> tuple[Any, Any]:
        shapes: list[tuple[int, ...]] = []
        map_shapes(lambda shape: shapes.append(tuple(1 if n is None else n for n in shape)),
                   input_shape)  # fmt: skip
        known = self._input_dtypes or [self.compute_dtype] * len(shapes)
        scope = current()
        place = (self.name,) if scope is None else scope.draw_path
        drawn = (settings.seed_of_new(), *place) if self.seed is None else (self.seed,)
        with jax.ensure_compile_time_eval():  # a model may be built while it is traced
            leaves = [jnp.ones(s, d) for s, d in zip(shapes, known, strict=True)]
            structure = map_shapes(lambda shape: None, input_shape)
            return self._initialize(prng.base_key(*drawn), nested.unflatten(structure, leaves))

    def _variables(self, tree: Any, trainable: bool) -> Any:
        """The same tree with a variable for each array or number; other leaves stay."""
        taken: dict[str, None] = {v.name: None for v in self.weights}

        def variable(path: Any, leaf: Any) -> Any:
            if not isinstance(leaf, (bool, int, float, np.ndarray, np.generic, jax.Array)):
                return leaf
            value = jnp.asarray(leaf)
            kind = str(value.dtype)
            name = naming.free(taken, jax.tree_util.keystr(path, simple=True, separator="_"))
            taken[name] = None
            return self.add_weight(
                value.shape, lambda shape, dtype: copied(value.astype(dtype)), trainable=trainable,
                dtype=None if dtypes.is_float(kind) else kind,  # None: as the policy says
                name=name or "value",
            )  # fmt: skip

        return jax.tree_util.tree_map_with_path(variable, tree)

    def get_build_config(self) -> dict[str, Any] | None:
        config = super().get_build_config()
        return None if config is None else {**config, "input_dtypes": self._input_dtypes}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        self._input_dtypes = config.get("input_dtypes")
        super().build_from_config(config)

    def _key(self, training: bool) -> Any:
        """The key of this call; a prediction that has none of its own always has the same."""
        scope = current()
        if training or (scope is not None and scope.key is not None):
            return random_key(self.seed, "rng")
        return prng.base_key(self.seed or 0)

    # ---- calls ---------------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Call the model; the state that it returns takes the place of the one before."""
        old = self._trees["state"]
        params, state = (_values(self._trees[name]) for name in ("params", "state"))
        outputs, new = self._apply(params, state, inputs, training)
        if new is None:
            return outputs
        if jax.tree.structure(new) != jax.tree.structure(state):
            raise StructureError(
                f"The model of layer {self.name!r} ({type(self).__name__}) returned a state of "
                f"another structure.\n  expected: {jax.tree.structure(state)}\n"
                f"  received: {jax.tree.structure(new)}"
            )
        variables = jax.tree.leaves(old, is_leaf=_is_variable)
        leaves = zip(variables, *map(jax.tree.leaves, (state, new)), strict=True)
        for variable, before, after in leaves:
            if isinstance(variable, Variable) and after is not before:
                variable.assign(jnp.asarray(after, variable.dtype))
        return outputs


def _is_variable(x: Any) -> bool:
    return isinstance(x, Variable)


def _values(tree: Any) -> Any:
    return jax.tree.map(value_of, tree, is_leaf=_is_variable)


def _read_function(value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise ArgumentError(f"expected a function. Received: {value!r}.")
    return value


def _optional_function(value: Any) -> Callable[..., Any] | None:
    return None if value is None else _read_function(value)


@builtin("layers")
class JaxLayer(_PureModel):
    """A model in pure JAX as a layer: its parameters are the weights.

    ``call_fn`` is called with those of these arguments that it has, by name: ``params`` and
    ``inputs``, which it must have; ``state``, for what changes without training; ``rng``, a key
    that is new in each step; ``training``. It returns the outputs, or ``(outputs, new_state)`` if
    it takes a state. ``init_fn(rng, inputs)`` returns new ``params``, or ``(params, state)``; it
    may take ``training`` too, which is True. ``inputs`` then are ones of the shapes of the inputs,
    with 1 for unknown sizes. The arrays and numbers in the trees become weights.

    A file of the whole model refers to both functions by name: register them with
    :func:`lamina.saving.register_serializable`.

    Args:
        call_fn: The model.
        init_fn: Makes its parameters; not needed where ``params`` or ``state`` are given.
        params: Initial parameters, a pytree of arrays.
        state: Initial state, a pytree of arrays.
        seed: Integer that determines what ``init_fn`` and ``call_fn`` draw; without it, the global
            seed and the layer's path do.

    Raises:
        ArgumentError: A ``call_fn`` without ``params`` or ``inputs``, or nothing that makes the
            parameters.
        StructureError: A new state of another structure.

    >>> def init(rng, inputs):
    ...     return {"w": jax.random.normal(rng, (inputs.shape[-1], 4))}
    >>> def model(params, inputs):
    ...     return inputs @ params["w"]
    >>> layer = JaxLayer(model, init)
    >>> layer(jnp.ones((2, 3))).shape, [w.path for w in layer.weights]
    ((2, 4), ['jax_layer/w'])
    """

    call_fn: Any = field(convert=_read_function)
    init_fn: Any = field(default=None, convert=_optional_function)
    params: Any = None
    state: Any = None
    seed: int | None = field(default=None, convert=read_seed)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._arguments = _takes(self.call_fn)
        absent = {"params", "inputs"} - self._arguments
        unknown = self._arguments - {"params", "state", "rng", "inputs", "training"}
        if absent or unknown:
            raise ArgumentError(
                "JaxLayer(): `call_fn` must take `params` and `inputs`, and may take `state`, `rng`"
                f" and `training`. Received a function of {sorted(self._arguments)}."
            )
        if self.init_fn is None and self.params is None and self.state is None:
            raise ArgumentError("JaxLayer() needs `init_fn`, or `params` and `state`.")

    def _given(self) -> tuple[Any, Any]:
        return self.params, self.state

    def _initialize(self, key: Any, inputs: Any) -> tuple[Any, Any]:
        extra = {"training": True} if "training" in _takes(self.init_fn) else {}
        made = self.init_fn(rng=key, inputs=inputs, **extra)
        return made if "state" in self._arguments else (made, None)

    def _apply(self, params: Any, state: Any, inputs: Any, training: bool) -> tuple[Any, Any]:
        given = {"params": params, "state": state, "inputs": inputs, "training": training}
        if "rng" in self._arguments:
            given["rng"] = self._key(training)
        outputs = self.call_fn(**{k: v for k, v in given.items() if k in self._arguments})
        return outputs if "state" in self._arguments else (outputs, None)

    def get_config(self) -> dict[str, Any]:
        """The arguments, without parameters and state: files of weights hold those."""
        if self.init_fn is None:
            raise SerializationError(
                f"Layer {self.name!r} (JaxLayer) has no `init_fn`, by which a loaded layer would "
                "make the structure of its weights. Pass it beside `params`."
            )
        return {k: v for k, v in super().get_config().items() if k not in ("params", "state")}


@builtin("layers")
class FlaxLayer(_PureModel):
    """A module of Flax (``flax.linen``) as a layer: its variables are the weights.

    The method that is called takes ``inputs``, and may take ``training``. Variables in collections
    other than ``"params"``, such as the statistics of ``BatchNorm``, are not trained, and are kept
    up to date. The random numbers that the module asks for come from a key that is new in each
    step.

    Args:
        module: A ``flax.linen.Module``.
        method: What to call instead of ``__call__``: a method, its name, or a function whose first
            argument is the module.
        variables: Initial variables, as ``module.init`` returns them; new ones when None.
        seed: Integer that determines what is drawn; without it, the global seed and the layer's
            path do.

    Raises:
        MissingPackageError: Flax is not installed.
        ArgumentError: A ``module`` that is not one of ``flax.linen``.

    >>> import flax.linen as nn
    >>> layer = FlaxLayer(nn.Dense(4))
    >>> layer(jnp.ones((2, 3))).shape, [w.path for w in layer.weights]
    ((2, 4), ['flax_layer/params_bias', 'flax_layer/params_kernel'])
    """

    def __init__(
        self, module: Any, method: Any = None, variables: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        flax = optional.load("flax.linen", "FlaxLayer()", "flax")
        if not isinstance(module, flax.Module):
            raise ArgumentError(
                f"FlaxLayer(): `module` expects a flax.linen.Module. Received: {module!r}."
            )
        self.module, self.method, self._initial = module, method, variables
        self._mutable = flax.DenyList(["params"])
        called = module.__call__ if method is None else method
        if isinstance(method, str):
            called = vars(type(module)).get(method)
            if called is None:
                raise unknown_name(f"method of {type(module).__name__}", method, vars(type(module)))
        self._takes_training = "training" in _takes(called)

    def _given(self) -> tuple[Any, Any]:
        return (None, None) if self._initial is None else _parted(self._initial)

    def _options(self, training: bool) -> dict[str, Any]:
        options = {"method": self.method}
        return {**options, "training": training} if self._takes_training else options

    def _initialize(self, key: Any, inputs: Any) -> tuple[Any, Any]:
        return _parted(self.module.init(key, inputs, **self._options(True)))

    def _apply(self, params: Any, state: Any, inputs: Any, training: bool) -> tuple[Any, Any]:
        # Flax takes the key of "params" where a collection of keys has none of its own.
        keys = {"params": self._key(training)}
        outputs, new = self.module.apply(
            {**(params or {}), **(state or {})}, inputs, rngs=keys, mutable=self._mutable,
            **self._options(training),
        )  # fmt: skip
        if not state:
            return outputs, None
        return outputs, {name: new.get(name, state[name]) for name in state}

    def get_config(self) -> dict[str, Any]:
        """The arguments, without the variables: files of weights hold those."""
        return {k: v for k, v in super().get_config().items() if k != "variables"}


def _parted(variables: Mapping[str, Any]) -> tuple[Any, Any]:
    """Parameters, and everything else."""
    params = {k: v for k, v in variables.items() if k == "params"}
    return params, {k: v for k, v in variables.items() if k != "params"}


__all__ = ["FlaxLayer", "JaxLayer"]
