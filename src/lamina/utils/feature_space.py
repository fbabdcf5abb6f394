"""A table of features of different kinds as one vector, or as a dict of encoded features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import jax
import numpy as np

from lamina import layers
from lamina.core import naming
from lamina.core.boundary import public
from lamina.core.operation import any_symbolic
from lamina.core.spec import TensorSpec
from lamina.core.tracking import replaceable
from lamina.errors import ArgumentError, DataError, NotBuiltError, StructureError, unknown_name
from lamina.layers.preprocessing.adapting import AdaptingLayer
from lamina.layers.preprocessing.base import in_tensorflow, is_in_tensorflow
from lamina.layers.preprocessing.vocabularies import VocabularyLayer
from lamina.models.functional import Graph
from lamina.models.model import Model
from lamina.serialization import registry
from lamina.serialization.registry import builtin
from lamina.training.data.dataset import Dataset
from lamina.tree import nested

_FILE_MODULE = "keras.src.layers.preprocessing.feature_space"
_BATCH = 32  # as in Keras: boundaries of bins depend on it


@builtin(file_module=_FILE_MODULE)
class Cross:
    """A combination of features, hashed to a number of bins.

    Args:
        feature_names: The features.
        crossing_dim: Number of bins.
        output_mode: ``"int"`` for the index of the bin, ``"one_hot"`` for a vector.
    """

    def __init__(
        self, feature_names: Sequence[str], crossing_dim: int, output_mode: str = "one_hot"
    ) -> None:
        _check_mode(output_mode, ("int", "one_hot"))
        self.feature_names = tuple(feature_names)
        self.crossing_dim, self.output_mode = crossing_dim, output_mode

    @property
    def name(self) -> str:
        """The names of the features, joined by ``_X_``."""
        return "_X_".join(self.feature_names)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(vars(self))


@builtin(file_module=_FILE_MODULE)
class Feature:
    """A feature and the layer that it is preprocessed by.

    Args:
        dtype: Dtype of the data, ``"string"`` for text.
        preprocessor: The layer.
        output_mode: ``"float"`` or ``"int"`` to take its result as it is; ``"one_hot"`` for a
            vector.
    """

    def __init__(self, dtype: str, preprocessor: Any, output_mode: str) -> None:
        _check_mode(output_mode, ("int", "one_hot", "float"))
        if isinstance(preprocessor, Mapping):
            preprocessor = registry.deserialize(preprocessor)
        self.dtype, self.preprocessor, self.output_mode = dtype, preprocessor, output_mode

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(vars(self))


def _check_mode(mode: str, known: tuple[str, ...]) -> None:
    if mode not in known:
        raise ArgumentError(f"`output_mode` is one of {list(known)}. Received: {mode!r}.")


@builtin(file_module=_FILE_MODULE, stem="tfd_identity")
class TFDIdentity(layers.Identity):
    """What Keras's files call the layer of features that are taken as they are."""


@builtin(file_module=_FILE_MODULE, stem="tfd_concat")
class TFDConcat(layers.Concatenate):
    """What Keras's files call the layer that makes one vector of all features."""


@builtin("utils", file_module="keras.utils")
class FeatureSpace(Model):
    """Preprocesses and encodes the features of a table, by a layer for each.

    Features are given by their kind: ``"float"``, ``"float_normalized"``, ``"float_rescaled"``,
    ``"float_discretized"``, ``"integer_categorical"``, ``"string_categorical"``,
    ``"integer_hashed"``, ``"string_hashed"``; by the methods of these names, which take options; or
    by :meth:`feature`, with a layer of your own.

    Args:
        features: Dict of names to kinds of features.
        output_mode: ``"concat"`` for one vector for each sample, of the features and then the
            crosses, each in alphabetical order; ``"dict"`` for a dict of them.
        crosses: Tuples of names of features to combine, or results of :meth:`cross`.
        crossing_dim: Number of bins of crosses that are tuples.
        hashing_dim: Number of bins of hashed features that are given by their kind alone.
        num_discretization_bins: Likewise, of discretized features.
        name: Name of the layer.

    Call it on a dict of columns, or of single values; in a pipeline: ``data.map(space)``. In a
    functional model, use :meth:`get_inputs` and :meth:`get_encoded_features`.

    Attributes:
        preprocessors: The layer of each feature.
        crossers: The layer of each cross.

    Raises:
        ArgumentError: Unknown kinds of features, or crosses of features that are not there.
        NotBuiltError: Use before :meth:`adapt`, if there are features to adapt.

    >>> table = {"size": [1.0, 2.0, 4.0], "color": ["red", "blue", "red"]}
    >>> space = FeatureSpace({"size": "float", "color": "string_categorical"})
    >>> space.adapt(table)
    >>> space(table).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 2.0], [0.0, 1.0, 0.0, 4.0]]
    """

    def __init__(
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Iterable[Any] | None = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not features:
            raise ArgumentError("FeatureSpace() needs at least one feature.")
        if output_mode not in ("concat", "dict"):
            raise ArgumentError(f"`output_mode` is 'concat' or 'dict'. Received: {output_mode!r}.")
        self.output_mode = output_mode
        self.crossing_dim, self.hashing_dim = crossing_dim, hashing_dim
        self.num_discretization_bins = num_discretization_bins
        self.features = {key: self._feature(key, kind) for key, kind in features.items()}
        self.crosses = [self._cross(c) for c in crosses or ()]
        self.preprocessors = {key: f.preprocessor for key, f in self.features.items()}
        self.crossers = {
            c.name: layers.HashedCrossing(c.crossing_dim, name=c.name) for c in self.crosses
        }
        self._inputs_by_name = {
            key: layers.Input((1,), dtype=f.dtype, name=key) for key, f in self.features.items()
        }
        self._is_adapted = not any(map(_adapts, self.preprocessors.values()))

    # ---- kinds of features ---------------------------------------------------------------------

    @classmethod
    def cross(
        cls, feature_names: Sequence[str], crossing_dim: int, output_mode: str = "one_hot"
    ) -> Cross:
        """A combination of features; see :class:`Cross`."""
        return Cross(feature_names, crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Any, output_mode: str) -> Feature:
        """A feature with a layer of your own; see :class:`Feature`."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """A number that is taken as it is."""
        return _feature("float", TFDIdentity, name)

    @classmethod
    def float_rescaled(
        cls, scale: Any = 1.0, offset: Any = 0.0, name: str | None = None
    ) -> Feature:
        """A number times ``scale`` plus ``offset``."""
        return _feature("float_rescaled", layers.Rescaling, name, scale=scale, offset=offset)

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """A number, normalized to mean 0 and variance 1 of the data."""
        return _feature("float_normalized", layers.Normalization, name, axis=-1)

    @classmethod
    def float_discretized(
        cls, num_bins: int | None, bin_boundaries: Any = None, output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:  # fmt: skip
        """The bin of a number; boundaries that are not given are computed from the data.

        With boundaries, ``num_bins`` is their number plus one, or None.
        """
        given: dict[str, Any] = {"num_bins": num_bins}
        if bin_boundaries is not None:
            if num_bins not in (None, len(bin_boundaries) + 1):
                raise ArgumentError(
                    f"{len(bin_boundaries)} `bin_boundaries` give {len(bin_boundaries) + 1} bins. "
                    f"Received: num_bins={num_bins!r}, bin_boundaries={bin_boundaries!r}."
                )
            given = {"bin_boundaries": bin_boundaries}
        return _feature("float_discretized", layers.Discretization, name, mode=output_mode, **given)

    @classmethod
    def integer_categorical(
        cls, max_tokens: int | None = None, num_oov_indices: int = 1,
        output_mode: str = "one_hot", name: str | None = None,
    ) -> Feature:  # fmt: skip
        """An integer that is one of those in the data."""
        return _feature(
            "integer_categorical", layers.IntegerLookup, name, "int32", output_mode,
            max_tokens=max_tokens, num_oov_indices=num_oov_indices,
        )  # fmt: skip

    @classmethod
    def string_categorical(
        cls, max_tokens: int | None = None, num_oov_indices: int = 1,
        output_mode: str = "one_hot", name: str | None = None,
    ) -> Feature:  # fmt: skip
        """A string that is one of those in the data."""
        return _feature(
            "string_categorical", layers.StringLookup, name, "string", output_mode,
            max_tokens=max_tokens, num_oov_indices=num_oov_indices,
        )  # fmt: skip

    @classmethod
    def string_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """The bin of a string, by a hash."""
        return _feature(
            "string_hashed", layers.Hashing, name, "string", output_mode, num_bins=num_bins
        )

    @classmethod
    def integer_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """The bin of an integer, by a hash."""
        return _feature(
            "integer_hashed", layers.Hashing, name, "int32", output_mode, num_bins=num_bins
        )

    def _feature(self, name: str, kind: Any) -> Feature:
        if isinstance(kind, Feature):
            return kind
        if isinstance(kind, Mapping):
            return registry.deserialize(kind)
        bins = {
            "float_discretized": self.num_discretization_bins,
            "integer_hashed": self.hashing_dim,
            "string_hashed": self.hashing_dim,
        }
        known = {
            "float": self.float, "float_normalized": self.float_normalized,
            "float_rescaled": self.float_rescaled, "float_discretized": self.float_discretized,
            "integer_categorical": self.integer_categorical,
            "string_categorical": self.string_categorical,
            "integer_hashed": self.integer_hashed, "string_hashed": self.string_hashed,
        }  # fmt: skip
        if kind not in known:
            raise unknown_name(f"kind of feature for {name!r}", kind, known)
        make: Any = known[kind]
        return make(name=name, **({"num_bins": bins[kind]} if kind in bins else {}))

    def _cross(self, given: Any) -> Cross:
        if isinstance(given, Mapping):
            given = registry.deserialize(given)
        made = given if isinstance(given, Cross) else Cross(given, self.crossing_dim)
        unknown = [n for n in made.feature_names if n not in self.features]
        if unknown:
            raise ArgumentError(
                f"`crosses` combine features of the space. Received: {unknown}, which are not "
                f"among {list(self.features)}."
            )
        return made

    # ---- adapting ------------------------------------------------------------------------------

    def adapt(self, dataset: Any) -> None:
        """Let the layers of all features adapt to data, which is read once.

        Args:
            dataset: Dict of columns; or batches of such dicts, or of tuples that begin with one: a
                :class:`lamina.utils.Dataset` (of single samples, too), or another iterable.

        Raises:
            DataError: Something else, or no data.
        """
        adapting = {k: p for k, p in self.preprocessors.items() if _adapts(p)}
        for layer in adapting.values():
            layer.reset_state()
        empty = True
        for batch in _batches(dataset):
            missing = [k for k in adapting if k not in batch]
            if missing:
                raise StructureError(
                    f"adapt() of {self.name!r}: the data has no entry for {missing}. "
                    f"It has {list(batch)}."
                )
            for key, layer in adapting.items():
                layer.update_state(_column(batch[key]))
            empty = False
        if empty:
            raise DataError(f"adapt() of {self.name!r} received no data: {dataset!r}.")
        for layer in adapting.values():
            layer.finalize_state()
        self._is_adapted = True
        self._set_graph(None)
        self._finish()

    def _finish(self) -> Graph:
        """The graph from the inputs to the encoded features."""
        if self._layer_graph is not None:
            return self._layer_graph
        if not self._is_adapted:
            raise NotBuiltError(
                f"FeatureSpace {self.name!r} has features that have to be adapted first: "
                f"{[k for k, p in self.preprocessors.items() if _adapts(p)]}.",
                layer=self.name,
                cure=f"Call `{self.name}.adapt(data)` with the training data.",
            )
        found = {k: p(self._inputs_by_name[k]) for k, p in self.preprocessors.items()}
        crossed = {c.name: self.crossers[c.name]([found[n] for n in c.feature_names])
                   for c in self.crosses}  # fmt: skip
        modes = {k: f.output_mode for k, f in self.features.items()}
        modes |= {c.name: c.output_mode for c in self.crosses}
        encoded = {
            key: self._one_hot(key, tensor) if modes[key] == "one_hot" else tensor
            for group in (found, crossed)
            for key, tensor in sorted(group.items())
        }
        if self.output_mode == "dict":
            outputs: Any = encoded
        else:
            raw = [
                k
                for k, x in encoded.items()
                if not x.dtype.startswith(("float", "bfloat")) and not self._has_encoded(k)
            ]
            if raw:
                raise ArgumentError(
                    f"FeatureSpace {self.name!r} cannot concatenate features that are not encoded: "
                    f"{raw}. Use `output_mode='dict'`, or encode them: `output_mode='one_hot'`."
                )
            tensors = list(encoded.values())
            outputs = TFDConcat(name="encoded")(tensors) if tensors[1:] else tensors[0]
        graph = Graph(self._inputs_by_name, outputs)
        self._set_graph(graph)
        return graph

    def _has_encoded(self, key: str) -> bool:
        """Whether a feature's own layer makes vectors of its indices, which are of int32."""
        layer = self.preprocessors.get(key)
        return isinstance(layer, VocabularyLayer) and layer.output_mode != "int"

    def _one_hot(self, key: str, tensor: Any) -> Any:
        layer = self.preprocessors.get(key) or self.crossers[key]
        if isinstance(layer, VocabularyLayer):
            size = layer.vocabulary_size()
        elif isinstance(layer, layers.CategoryEncoding):
            size = layer.num_tokens
        elif isinstance(layer, layers.Discretization):
            size = layer.num_bins or len(layer.bin_boundaries) + 1
        elif isinstance(layer, (layers.Hashing, layers.HashedCrossing)):
            size = layer.num_bins
        else:
            raise ArgumentError(
                f"Feature {key!r}: with `output_mode='one_hot'`, its layer is a lookup, Hashing or "
                f"Discretization. Received: {layer!r}. Use `output_mode='int'` or 'float'."
            )
        encoder = layers.CategoryEncoding(size, output_mode="multi_hot", name=f"{key}_one_hot")
        return encoder(tensor)

    # ---- use -----------------------------------------------------------------------------------

    @replaceable
    def inputs(self) -> Any:
        """Dict of the symbolic inputs."""
        return self._inputs_by_name

    def get_inputs(self) -> dict[str, Any]:
        """Dict of the symbolic inputs, for a functional model."""
        self._finish()
        return self._inputs_by_name

    def get_encoded_features(self) -> Any:
        """The encoded features as symbolic tensors, for a functional model."""
        return self._finish().output_structure

    @public
    def __call__(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        if is_in_tensorflow(data):
            given = {k: data[k] for k in self._inputs_by_name if k in data}
            return in_tensorflow(given, self._specs, lambda: self)
        graph = self._finish()
        if not isinstance(data, Mapping):
            return super().__call__(data, *args, **kwargs)
        if any_symbolic(data):
            return graph.inlined({k: data[k] for k in graph.input_names if k in data})
        columns = {k: _column(data[k]) for k in graph.input_names if k in data}
        single = any(np.ndim(data[k]) == 0 for k in columns)
        outputs = super().__call__(columns, *args, **kwargs)
        return nested.map_structure(lambda x: x[0], outputs) if single else outputs

    def _specs(self, data: Mapping[str, Any]) -> Any:
        """What a call returns for symbolic columns, or for single values."""
        single = any(x.ndim == 0 for x in data.values())
        return nested.map_structure(
            lambda x: TensorSpec(x.spec.dims_raw[1:] if single else x.spec.dims_raw, x.dtype),
            self.get_encoded_features(),
        )

    # ---- files ---------------------------------------------------------------------------------

    def _listed_layers(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Keras's files have the layers by attribute."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the layers of the features."""
        names = ("features", "output_mode", "crosses", "crossing_dim", "hashing_dim",
                 "num_discretization_bins", "name")  # fmt: skip
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        """A space with the layers that :meth:`get_config` described."""
        with registry.CustomObjectScope(custom_objects or {}):
            return cls(**config)

    def get_build_config(self) -> dict[str, Any] | None:
        """An entry for each feature, as in Keras."""
        return {k: p.get_build_config() for k, p in self.preprocessors.items()}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Build a space whose layers a file describes as adapted."""
        for key, built in config.items():
            if built and not self.preprocessors[key].built:
                self.preprocessors[key].build_from_config(built)
        self._is_adapted = True
        self._finish()


def _feature(
    kind: str, layer: Any, name: str | None, dtype: str = "float32", mode: str = "float",
    **options: Any,
) -> Feature:  # fmt: skip
    name = name or naming.auto_name(kind)
    return Feature(dtype, layer(name=f"{name}_preprocessor", **options), mode)


def _adapts(layer: Any) -> bool:
    """Whether data decide what the layer computes."""
    if isinstance(layer, VocabularyLayer):
        return layer.vocabulary is None
    if isinstance(layer, layers.Normalization):
        return layer.input_mean is None
    if isinstance(layer, layers.Discretization):
        return layer.num_bins is not None
    return isinstance(layer, AdaptingLayer)


def _column(values: Any) -> Any:
    """Values of a feature as an array of shape ``(batch, 1)``, if each is a single one."""
    text = isinstance(values, str) or (
        isinstance(values, (list, tuple)) and values and isinstance(values[0], str)
    )
    array = np.array(values, object) if text else values
    if not isinstance(array, jax.Array):  # which may be traced
        array = np.asarray(array)
    if array.ndim == 0:
        return array.reshape(1, 1)
    return array[:, None] if array.ndim == 1 else array


def _batches(data: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(data, Mapping):
        yield from Dataset({k: _column(v) for k, v in data.items()}).batch(_BATCH)
        return
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise DataError(f"adapt() takes a dict of columns, or batches of them. Received: {data!r}.")
    if isinstance(data, Dataset) and len(data):
        first = _features_of(data[0])
        if any(np.ndim(v) == 0 for v in first.values()):
            data = data.batch(_BATCH)
    yield from map(_features_of, data)


def _features_of(element: Any) -> Mapping[str, Any]:
    found = element[0] if isinstance(element, tuple) and element else element
    if not isinstance(found, Mapping):
        raise DataError(
            "The batches of data for a FeatureSpace are dicts of features. "
            f"Received: an object of type {type(found).__name__}."
        )
    return found


__all__ = ["Cross", "Feature", "FeatureSpace"]
