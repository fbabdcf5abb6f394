"""The state of layers: arguments, dtypes, and weights by address."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Self

import numpy as np

from lamina import constraints, initializers, regularizers
from lamina.core import naming
from lamina.core.boundary import warn
from lamina.core.operation import Operation
from lamina.core.rematerialization import RematScope, current_remat
from lamina.core.scope import Scope, current
from lamina.core.spec import entries_of
from lamina.core.tracking import Owner, Trackable, count_change, held, held_as
from lamina.core.variable import Variable
from lamina.dtype_policies import dtypes
from lamina.dtype_policies.policy import DTypePolicy, DTypePolicyMap, get_policy
from lamina.errors import ArgumentError, NotBuiltError, StateError
from lamina.layers.methods import LayerMethods
from lamina.random.seed_generator import SeedGenerator
from lamina.serialization.fields import Configurable, as_data, field
from lamina.serialization.registry import builtin, defined_by_user, registration_of, stem_of


@builtin()
class _LayerFields(Configurable):
    """The keyword-only arguments of all layers."""

    activity_regularizer: Any = field(default=None, convert=regularizers.get, kw_only=True)
    trainable: bool = field(default=True, convert=bool, kw_only=True)
    dtype: Any = field(default=None, convert=get_policy, kw_only=True)
    autocast: bool = field(default=True, convert=bool, kw_only=True)
    name: Any = field(default=None, kw_only=True)


class _Attributes:
    """The internal attributes of all layers."""

    built: bool
    supports_masking: bool
    supports_jit: bool
    input_spec: Any
    _losses_of_call: list[Any]
    _build_shapes: dict[str, Any] | None  # what `build` received
    _without_effect: tuple[str, ...] = ()  # arguments that earlier versions of Keras had
    _told_of_mask: bool  # whether it has warned that a mask is not propagated
    _given_batch_shape: tuple[Any, ...] | None
    _made_in_call: bool
    _is_quantized: bool
    _has_automatic_name: bool
    _draw_name: str
    _name: str
    _trainable: bool
    _own_weights: list[Variable]
    _dtype_policy: DTypePolicy
    _remat: RematScope | None
    output_sharding: Any = None  # where a distribution wants the outputs
    _containing_layer: Any  # a weak reference to the layer that contains it
    _inner_names: tuple[int, dict[Any, tuple[str, str]]]


@builtin()
class LayerState(_Attributes, LayerMethods, Owner, Trackable, _LayerFields, Operation):
    """Arguments, dtypes and weights; :class:`~lamina.layers.Layer` adds the call.

    Attributes:
        built: Whether the weights exist.
        supports_jit: Whether the call can be compiled. If not, models with this layer run layer
            by layer, unless they are compiled with ``jit_compile=True``.
        supports_masking: Whether the layer propagates the mask of its input.
    """

    tracked_as = "layer"
    _untracked = frozenset(
        (
            "_captured",
            "_inbound_nodes",
            "_own_weights",
            "_tracked_attributes",
            "_inner_names",
            "_losses_of_call",
        )
    )

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        scope = current()
        self.__dict__.update(
            built=False, supports_masking=defined_by_user(cls, "compute_mask"), _inbound_nodes=[],
            _losses_of_call=[], _given_batch_shape=None, _has_automatic_name=False, _draw_name="",
            _trainable=True, _own_weights=[], _inner_names=(-1, {}), _containing_layer=None,
            _told_of_mask=False, supports_jit=True, _build_shapes=None, _remat=current_remat(),
            _is_quantized=False,
            _made_in_call=scope is not None and bool(scope.path) and scope.building is None,
        )  # fmt: skip
        return self

    def _decides(self, name: str, value: Any) -> bool:
        """For built-in layers, only the constructor's arguments and methods affect a call."""
        if registration_of(type(self)) and name not in type(self)._fields and not callable(value):
            return False
        return super()._decides(name, value)

    def __post_init__(self) -> None:
        self._start_drawing()  # the value of the field, possibly None, is already set

    def _start_drawing(self) -> None:
        own = stem_of(type(self)) if self._has_automatic_name else self._name
        object.__setattr__(self, "_draw_name", naming.draw_name(own))

    def _from_config(self) -> Self:
        if self._draw_name == self._name and naming.is_numbered(self._name, stem_of(type(self))):
            self._draw_name = naming.draw_name(stem_of(type(self)))  # the process numbered the name
        return self

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The layer's name; setting it changes the addresses of its weights."""
        return self._name

    @name.setter
    def name(self, value: str | None) -> None:
        if "_name" in self.__dict__:
            count_change(self)  # addresses change
        object.__setattr__(self, "_has_automatic_name", value is None)
        if value is None:
            value = naming.auto_name(stem_of(type(self)))
        object.__setattr__(self, "_name", naming.check_name(value, "layer"))

    @property
    def path(self) -> str:
        """The layer's name, preceded by the names of the layers that contain it."""
        parent = None if self._containing_layer is None else self._containing_layer()
        if parent is None:
            return self._name
        return f"{parent.path}/{parent._names_of(self)[0]}"

    def _belongs_to(self, owner: Any) -> bool:
        return self._containing_layer is not None and self._containing_layer() is owner

    def _join(self, owner: Any) -> None:
        if self._containing_layer is None:
            self.__dict__["_containing_layer"] = weakref.ref(owner)

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, to copy or pickle, without the calls in a graph of other layers."""
        return {**super().__getstate__(), "_inbound_nodes": [], "_containing_layer": None}

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Accept ``input_shape`` and similar arguments of the first layer of a ``Sequential``."""
        if "input_dim" in extra:
            extra["input_shape"] = (extra.pop("input_dim"),)
        if (shape := extra.pop("input_shape", None)) is not None:
            self._given_batch_shape = (None, *entries_of(shape, type(self).__name__, "input_shape"))
        if (shape := extra.pop("batch_input_shape", None)) is not None:
            self._given_batch_shape = entries_of(shape, type(self).__name__, "batch_input_shape")
        for name in self._without_effect:
            if extra.pop(name, None) is not None:
                warn(f"{type(self).__name__}(): `{name}` has no effect. Remove it.", UserWarning)
        return extra

    # ---- dtype and mode ------------------------------------------------------------------------

    @property
    def dtype_policy(self) -> DTypePolicy:
        """The dtypes of weights and computation; setting a quantized policy quantizes the layer."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        policy = get_policy(value)
        if isinstance(self._dtype_policy, DTypePolicyMap):
            if self.path in self._dtype_policy:
                del self._dtype_policy[self.path]
            self._dtype_policy[self.path] = policy
        else:
            self._dtype_policy = policy
        count_change(self)
        if policy.quantization_mode is not None and self.built and not self._is_quantized:
            self._quantize_for(policy)

    @property
    def _own_policy(self) -> DTypePolicy:  # of a map, the entry for the layer's path
        policy = self._dtype_policy
        return policy[self.path] if isinstance(policy, DTypePolicyMap) else policy

    @property
    def quantization_mode(self) -> str | None:
        """How the weights are quantized, ``"int8"``, ``"int4"`` or ``"float8"``; None if not."""
        return self._own_policy.quantization_mode

    @property
    def dtype(self) -> str:
        """The dtype of the weights."""
        return self._own_policy.variable_dtype

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self._dtype_policy = get_policy(value)
        count_change(self)

    variable_dtype = dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype of the computation."""
        return self._own_policy.compute_dtype

    @property
    def trainable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the optimizer may change the weights; setting it includes inner layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        # The constructor does not change the layers that it receives.
        layers = self._flatten_layers() if "_name" in self.__dict__ else [self]
        for layer in layers:
            layer.__dict__["_trainable"] = bool(value)
            for variable in layer._own_variables():
                if variable.is_weight and not variable.frozen:
                    variable.trainable = bool(value)

    # ---- weights -------------------------------------------------------------------------------

    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str | None = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Create a weight of this layer.

        Args:
            shape: Shape of the weight; ``()`` when None.
            initializer: A name, an :class:`~lamina.initializers.Initializer` or a callable
                ``(shape, dtype) -> array``; when None, ``"glorot_uniform"`` for floats, and zeros
                for other dtypes.
            dtype: Dtype of the weight; the layer's variable dtype when None.
            trainable: Whether the optimizer may change the weight.
            autocast: Whether the weight is cast to the compute dtype when read during a call.
            regularizer: Penalty on the weight, added to the loss.
            constraint: Projection of the weight after each update.
            aggregation: See :class:`lamina.Variable`.
            overwrite_with_gradient: Whether an optimizer sets the weight to its gradient.
            name: Name within the layer.

        Returns:
            The variable, which is added to :attr:`weights`.
        """
        dtype = self.dtype if dtype is None else dtypes.standardize_dtype(dtype)
        if initializer is None:
            initializer = "glorot_uniform" if dtypes.is_float(dtype) else "zeros"
        if name is None:
            n = sum(v.name.startswith("variable") for v in self._own_weights)
            name = f"variable_{n}" if n else "variable"
        shape = () if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
        scope = current()
        if scope is not None and scope.path:
            self._raise_weight_in_call(scope, name)
        inner = scope.draw_path[1:] if scope is not None else ()
        root = self._draw_name if scope is None or not scope.draw_path else scope.draw_path[0]
        variable = Variable(
            initializers.get(initializer), shape, dtype, trainable, autocast, aggregation,
            name=name, overwrite_with_gradient=overwrite_with_gradient,
            regularizer=regularizers.get(regularizer), constraint=constraints.get(constraint),
            owner=self, draw_path="/".join((root, *inner, str(name))),
        )  # fmt: skip
        if trainable and not self._trainable:
            variable.trainable = False
        self._own_weights.append(variable)
        count_change(self)
        return variable

    @property
    def metrics(self) -> list[Any]:
        """The metrics that this layer and the layers inside of it hold."""
        held_metrics = (x for layer in self._flatten_layers() for x in held_as(layer, "metric"))
        return list(dict.fromkeys(held_metrics))

    @property
    def metrics_variables(self) -> list[Variable]:
        """The variables of :attr:`metrics`."""
        return [v for metric in self.metrics for v in metric.variables]

    def _raise_weight_in_call(self, scope: Scope, name: str) -> None:
        """Raise an error: weights created in a call would be new in each call and never train."""
        where = "/".join(scope.path)
        if scope.building is None:
            raise StateError(
                f"Layer {self.name!r} ({type(self).__name__}) creates its weight {name!r} inside "
                f"`call` (of {where}), so it would be a new one in each call. Create weights in "
                "`build(self, input_shape)` or `__init__`.",
                layer=self.name,
            )
        if scope.building._made_in_call:
            raise StateError(
                f"Layer {self.name!r} ({type(self).__name__}) was created inside the `call` of "
                f"{where.rpartition('/')[0]!r}, so its weights would be new in each call. Create "
                "the layer in `__init__` or `build`, assign it to an attribute, and call that.",
                layer=self.name,
            )

    def _own_variables(self) -> list[Variable]:
        """The variables of this layer itself: weights first, then non-trainable state."""
        found = dict.fromkeys(self._own_weights)
        for _, x in held(self):
            if isinstance(x, Variable):
                found[x] = None
            elif isinstance(x, SeedGenerator):
                found[x.state] = None
        return sorted(found, key=lambda v: not v.is_weight)

    def _saved_variables(self) -> list[Variable]:
        """The variables of this layer itself that are saved: all but those of seed generators."""
        own, generators = self._own_variables(), held_as(self, SeedGenerator.tracked_as)
        states = {generator.state for generator in generators}
        return [v for v in own if v not in states] if states else own

    def _file_variables(self) -> list[Variable]:
        return self._saved_variables()

    def _writes_itself(self) -> bool:
        cls = type(self)
        return (
            cls.save_own_variables is not LayerState.save_own_variables
            or cls.load_own_variables is not LayerState.load_own_variables
        )

    def _listed_layers(self) -> tuple[list[Any], bool] | None:
        """A model's layers as its file lists them, and whether the list precedes its attributes."""
        return None

    def _sublayers(self) -> list[Any]:
        """The direct inner layers, in the order of creation."""
        return held_as(self, "layer")

    def _flatten_layers(self, recursive: bool = True, include_self: bool = True) -> list[Any]:
        """This layer and all inner layers without duplicates, outer layers first."""
        order: dict[Any, None] = {}
        stack: list[LayerState] = [self]
        while stack:
            layer = stack.pop()
            if layer not in order:
                order[layer] = None
                stack.extend(reversed(layer._sublayers() if recursive or layer is self else []))
        return list(order)[not include_self :]

    def _names_of(self, inner: Any) -> tuple[str, str]:
        """The names of an inner layer in this one: for tables and messages, and for addresses."""
        version, names = self._inner_names
        if version != self._change_count or inner not in names:
            names = self._name_inner()
            names.setdefault(inner, (inner.name, inner.name))
            self._inner_names = self._change_count, names
        return names[inner]

    def _name_inner(self) -> dict[Any, tuple[str, str]]:
        # Attributes instead of automatic names, whose numbers depend on the rest of the process.
        names: dict[Any, tuple[str, str]] = {}
        for path, x in held(self):
            if isinstance(x, LayerState) and x not in names:
                name = "/".join(map(str, path)) if x._has_automatic_name else x.name
                names[x] = name, name
        return names

    def named_variables(self) -> dict[str, tuple[Variable, bool]]:
        """Map the address of every variable to (variable, whether it is currently trainable).

        The address is the path of layer names from this layer, followed by the name of the
        variable; equal names of siblings are distinguished by numbers. Automatic names are numbered
        within the enclosing layer, not within the process, so that models created by the same code
        have equal addresses.
        """
        found: dict[str, tuple[Variable, bool]] = {}
        seen: set[Any] = set()
        stack: list[tuple[str, LayerState]] = [("", self)]
        while stack:
            prefix, layer = stack.pop()
            if layer in seen:
                continue
            seen.add(layer)
            layer.__dict__["_inner_names"] = (-1, {})  # an inner layer may have been renamed
            for v in layer._own_variables():
                if v not in seen:
                    seen.add(v)
                    address = naming.free(found, prefix + v.name)
                    found[address] = (v, self._trainable and v.trainable)
            below: dict[str, Any] = {}
            for sub in layer._sublayers():
                below[naming.free(below, layer._names_of(sub)[1])] = sub
            stack.extend((f"{prefix}{name}/", sub) for name, sub in reversed(below.items()))
        return found

    def _saved_addresses(self) -> dict[str, Variable]:
        """Map addresses to variables, for the variables that are saved."""
        saved = set(self.weights)
        return {a: v for a, (v, _) in self.named_variables().items() if v in saved}

    @property
    def variables(self) -> list[Variable]:
        """All variables of this layer and of its inner layers."""
        return [v for v, _ in self.named_variables().values()]

    @property
    def weights(self) -> list[Variable]:
        """The variables that are saved: all except states that layers keep between calls."""
        own = (v for layer in self._flatten_layers() for v in layer._saved_variables())
        return list(dict.fromkeys(own))

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables that an optimizer may currently change."""
        return [v for v, trains in self.named_variables().values() if trains]

    trainable_weights = trainable_variables

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The variables that no optimizer may currently change."""
        return [v for v, trains in self.named_variables().values() if not trains]

    non_trainable_weights = non_trainable_variables

    def get_weights(self) -> list[np.ndarray]:
        """NumPy copies of all weights, in the order of :attr:`weights`."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights; if a shape or the number differs, nothing is changed.

        Raises:
            ArgumentError: The number of arrays or a shape differs; all differences are listed.
        """
        own, given = self.weights, list(weights)
        if len(own) != len(given):
            raise ArgumentError(
                f"set_weights() of {self.name!r} expects {len(own)} arrays, one for each of "
                f"{[v.path for v in own]}. Received {len(given)}."
            )
        wrong = [
            f"  {v.path}: expected shape {v.shape}, received {np.shape(w)}"
            for v, w in zip(own, given, strict=True) if tuple(np.shape(w)) != v.shape
        ]  # fmt: skip
        if wrong:
            raise ArgumentError(
                f"set_weights() of {self.name!r}: the shapes differ:\n" + "\n".join(wrong)
            )
        for v, w in zip(own, given, strict=True):
            v.assign(w)

    def count_params(self) -> int:
        """The total number of elements of all weights.

        Raises:
            NotBuiltError: The layer has no weights yet, because it was not called or built.
        """
        if not self.built:
            raise NotBuiltError(
                f"Layer {self.name!r} has no weights yet: they are created when the input shape is "
                f"known. Call the layer on a tensor, or call `{self.name}.build(input_shape)`.",
                layer=self.name,
            )
        return sum(v.size for v in self.weights)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Save the arrays of this layer itself, by name; by default these are its weights.

        Override it together with :meth:`load_own_variables` to save other arrays.
        """
        for i, variable in enumerate(self._file_variables()):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Load what :meth:`save_own_variables` saved."""
        for i, variable in enumerate(self._file_variables()):
            variable.assign(store[str(i)])

    # ---- description ---------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name, as :meth:`from_config` reads them."""
        config, dtype = super().get_config(), as_data(self._dtype_policy)
        base = {"name": self.name, "trainable": self.trainable, "dtype": dtype}
        config.pop("autocast", None)
        if (
            self.activity_regularizer is None
            and _LayerFields._fields["activity_regularizer"]
            is (type(self)._fields["activity_regularizer"])
        ):
            config.pop("activity_regularizer", None)
        owner = next(c for c in type(self).__mro__ if "get_config" in c.__dict__)
        if registration_of(owner):
            parameters = inspect.signature(type(self).__init__).parameters
            open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            base = {k: v for k, v in base.items() if open_ended or k in parameters}
        return {**base, **{k: v for k, v in config.items() if k not in base}}

    def __repr__(self) -> str:
        shown = "".join(f", {k}={v}" for k, v in self._repr_items() if k != "name")
        return f"<{type(self).__name__} name={self.__dict__.get('_name')}{shown}>"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return id(self)


# ---- access for code that traverses models: the engine, saving, visualization --------------------


def names_inside(layer: LayerState, inner: Any) -> tuple[str, str]:
    """The names of an inner layer in ``layer``: for tables and messages, and for addresses."""
    return layer._names_of(inner)


def given_batch_shape(layer: LayerState) -> tuple[Any, ...] | None:
    """The input shape, including the batch, that was passed to a first layer; or None."""
    return layer._given_batch_shape


def set_trainable_alone(layer: LayerState, value: bool) -> None:
    """Set ``trainable`` of a layer without setting that of inner layers."""
    layer.__dict__["_trainable"] = value


def file_variables(layer: LayerState) -> list[Variable]:
    """The variables of a layer itself in the order of files."""
    return layer._file_variables()


def writes_itself(layer: LayerState) -> bool:
    """Whether files contain something else of a layer than the values of its variables."""
    return layer._writes_itself()


def listed_layers(layer: LayerState) -> tuple[list[Any], bool] | None:
    """A model's layers as its file lists them, and whether the list precedes its attributes."""
    return layer._listed_layers()


def flatten_layers(layer: LayerState) -> list[Any]:
    """A layer and all inner layers without duplicates, outer layers first."""
    return layer._flatten_layers()


def has_automatic_name(layer: LayerState) -> bool:
    """Whether the layer's name was generated from that of its class."""
    return layer._has_automatic_name


def name_automatically(layer: LayerState, flags: Any, numbered: bool = False) -> None:
    """Mark the names as automatic that were so when the layers were serialized.

    Args:
        layer: The outermost layer.
        flags: Whether it was, for each of :func:`flatten_layers`; other values have no effect.
        numbered: Whether their draws differ from those of layers of the same class.
    """
    layers = flatten_layers(layer)
    if isinstance(flags, list) and len(flags) == len(layers):
        for x, automatic in zip(layers, flags, strict=True):
            x.__dict__["_has_automatic_name"] = automatic is True
            if automatic is True:
                own = x._from_config()._draw_name if numbered else stem_of(type(x))
                x.__dict__["_draw_name"] = own
            x.__dict__["_inner_names"] = (-1, {})


def saved_addresses(layer: LayerState) -> dict[str, Variable]:
    """Map addresses to variables, for the variables that are saved."""
    return layer._saved_addresses()
