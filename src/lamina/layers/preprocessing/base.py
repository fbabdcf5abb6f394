"""Base of the layers whose computation also runs on NumPy arrays, in data pipelines."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lamina.core import prng, spec
from lamina.core.boundary import public
from lamina.core.operation import stand_in
from lamina.core.scope import entered, random_key
from lamina.core.spec import TensorSpec
from lamina.errors import DTypeError
from lamina.layers.base import Layer
from lamina.serialization.registry import builtin
from lamina.transforms.base import Transform
from lamina.transforms.draws import fold_in
from lamina.tree import nested


@builtin()
class PreprocessingLayer(Layer):
    """A layer that also runs in data pipelines, on NumPy arrays.

    Attributes:
        transform: The layer's computation, as an object that can be pickled and needs no JAX. It
            takes the data, and an integer or a key that determines the random numbers.
    """

    takes_text = False

    @property
    def transform(self) -> Transform:
        """The layer's computation, for NumPy in any process."""
        raise NotImplementedError

    @public
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensorflow: Any = sys.modules.get("tensorflow")
        if tensorflow is not None and args:
            leaves = nested.flatten(args[0])
            if any(tensorflow.is_tensor(x) for x in leaves):
                if not tensorflow.executing_eagerly():
                    return _in_graph(self, tensorflow, *args, **kwargs)
                args = nested.map_structure(_as_numpy, args)
        if args and not self.takes_text:
            self._check_numbers(args[0])
        is_host = prng.is_drawing_for() and self.built and len(args) == 1
        if is_host and all(isinstance(x, np.ndarray) for x in nested.flatten(args[0])):
            with entered(self._scope(kwargs.get("training"))):
                return self._on_host(args[0], **kwargs)
        return super().__call__(*args, **kwargs)

    def _check_numbers(self, data: Any) -> None:
        x = data.get("images") if isinstance(data, Mapping) else data
        if isinstance(x, np.ndarray) and x.dtype.kind in "USTO":
            raise DTypeError(
                f"Layer {self.name!r} ({type(self).__name__}) takes numbers.",
                layer=self.name,
                received=f"an array of dtype {x.dtype}",
                cure="For image files, see `utils.image_dataset_from_directory` and "
                "`utils.load_img`; for text, TextVectorization and StringLookup.",
            )

    def _on_host(self, data: Any, training: bool = True) -> Any:
        """The call on NumPy arrays of a data set, with the numbers that a call would draw."""
        key = np.zeros(2, "uint32")
        if "seed" in type(self)._fields and training:
            key = np.asarray(jax.random.key_data(random_key(vars(self)["seed"], "")))
        return self.transform(data, key, training)


def _as_numpy(x: Any) -> Any:
    return np.asarray(x) if sys.modules["tensorflow"].is_tensor(x) else x


def _in_graph(layer: PreprocessingLayer, tensorflow: Any, data: Any, training: bool = True) -> Any:
    """The layer inside a function of TensorFlow, as ``tf.data.Dataset.map`` calls it.

    Each element has its own random numbers, in the order in which elements are computed.
    """
    tensors = nested.map_structure(tensorflow.convert_to_tensor, data)
    symbols = nested.map_structure(
        lambda x: stand_in(TensorSpec(_dims(x.shape), x.dtype.name)), tensors
    )
    specs = layer.compute_output_spec(symbols)
    transform, numbers = layer.transform, itertools.count()
    key = np.asarray(jax.random.key_data(random_key(vars(layer).get("seed"), layer.name)))

    def run(*arrays: np.ndarray) -> list[np.ndarray]:
        given = nested.unflatten(tensors, list(arrays))
        done = nested.flatten(transform(given, fold_in(key, next(numbers)), training))
        return [np.asarray(x, s.dtype) for x, s in zip(done, nested.flatten(specs), strict=True)]

    leaves = nested.flatten(specs)
    dtypes = [tensorflow.as_dtype(s.dtype) for s in leaves]
    results = tensorflow.numpy_function(run, nested.flatten(tensors), dtypes)
    for result, one in zip(results, leaves, strict=True):
        result.set_shape(one.shape)
    return nested.unflatten(specs, list(results))


def _dims(shape: Any) -> tuple[Any, ...]:
    """The dimensions of a shape of TensorFlow; unknown ones are symbols."""
    sizes = list(shape)
    first = [spec.BATCH if n is None else n for n in sizes[:1]]
    return (*first, *(spec.symbol(f"size_{i}") if n is None else n
                      for i, n in enumerate(sizes[1:])))  # fmt: skip


__all__ = ["PreprocessingLayer"]
