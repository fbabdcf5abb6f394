"""Base of the layers whose computation also runs on NumPy arrays, in data pipelines."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from lamina import settings
from lamina.core import prng, spec
from lamina.core.boundary import public
from lamina.core.operation import stand_in
from lamina.core.scope import current, entered, random_key
from lamina.core.spec import TensorSpec
from lamina.errors import DTypeError, NotBuiltError
from lamina.layers.base import Layer
from lamina.serialization.registry import builtin
from lamina.transforms.base import Transform
from lamina.transforms.draws import fold_in
from lamina.transforms.seeding import Seeded
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
        if args and is_in_tensorflow(args[0]):
            return in_tensorflow(args[0], self.compute_output_spec,
                                 lambda: self._for_tensorflow(*args[1:], **kwargs))  # fmt: skip
        args = _from_tensorflow(args)
        if args and not self.takes_text:
            self._check_numbers(args[0])
        is_host = prng.is_drawing_for() and len(args) == 1
        if is_host and all(isinstance(x, np.ndarray) for x in nested.flatten(args[0])):
            if not self.built:
                self._build_for(self._bind(args, {})[1])
            with entered(self._scope(kwargs.get("training"))):
                return self._on_host(args[0], **kwargs)
        return super().__call__(*args, **kwargs)

    def _for_tensorflow(self, training: bool = True) -> Callable[[Any], Any]:
        """The computation of elements, each with random numbers of its own, in their order."""
        transform, numbers = self.transform, itertools.count()
        key = np.asarray(jax.random.key_data(random_key(vars(self).get("seed"), self.name)))
        return lambda data: transform(data, fold_in(key, next(numbers)), training)

    def _check_numbers(self, data: Any) -> None:
        x = data.get("images") if isinstance(data, Mapping) else data
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "USTOMm":
            return
        missing = next((v for v in x.ravel() if v is None), 0) if x.dtype == object else 0
        cure = "For images, see `utils.image_dataset_from_directory`; for text, TextVectorization."
        if missing is None:
            cure = "Replace missing values first; in pandas: `column.fillna(0.0)`."
        elif x.dtype.kind in "Mm":
            cure = (
                "Convert times to numbers, such as days: `(x - x.min()) / np.timedelta64(1, 'D')`."
            )
        raise DTypeError(
            f"Layer {self.name!r} ({type(self).__name__}) takes numbers.",
            layer=self.name,
            received=f"an array of dtype {x.dtype}" + " with None" * (missing is None),
            cure=cure,
        )

    def for_worker(self) -> Callable[..., Any] | None:
        """The call on NumPy arrays as a function that can be pickled and needs no JAX.

        Raises:
            NotBuiltError: The layer has not seen data yet.
        """
        if not self.built and type(self).build is not Layer.build:
            raise NotBuiltError(
                f"Layer {self.name!r} ({type(self).__name__}) is not built, which worker processes "
                "cannot do.",
                layer=self.name,
                cure="Call its `adapt(data)`, or `build(input_shape)`, first.",
            )
        with entered(self._scope()) as scope:
            return self._seeded("/".join((*scope.draw_path, "")))

    def _seeded(self, path: str) -> Seeded:
        draws = "seed" in type(self)._fields
        seed = vars(self)["seed"] if draws else None
        return Seeded(self.transform, path if draws else None, seed, settings.global_seed())

    def _on_host(self, data: Any, training: bool = True) -> Any:
        """The call on NumPy arrays of a data set, with the numbers that a call would draw."""
        scope = current()
        return self._seeded("/".join((*(scope.draw_path if scope else ()), "")))(data, training)


def is_in_tensorflow(data: Any) -> bool:
    """Whether tensors belong to a function of TensorFlow, as ``tf.data.Dataset.map`` calls it."""
    tensorflow: Any = sys.modules.get("tensorflow")
    return (
        tensorflow is not None and not tensorflow.executing_eagerly()
        and any(tensorflow.is_tensor(x) for x in nested.flatten(data))
    )  # fmt: skip


def _from_tensorflow(data: Any) -> Any:
    """The data with arrays for the tensors of TensorFlow; as it is where that is not loaded."""
    tensorflow: Any = sys.modules.get("tensorflow")
    if tensorflow is None:
        return data
    return nested.map_structure(lambda x: np.asarray(x) if tensorflow.is_tensor(x) else x, data)


def in_tensorflow(
    data: Any, specs_of: Callable[[Any], Any], make: Callable[[], Callable[[Any], Any]]
) -> Any:
    """What a function of arrays returns, as tensors of the function of TensorFlow around it.

    Args:
        data: Tensors of TensorFlow, in any nesting.
        specs_of: Gives symbolic results for symbolic tensors.
        make: Returns the function of arrays.
    """
    tensorflow: Any = sys.modules["tensorflow"]
    # TensorFlow would rewrite the source of all that is called here, JAX included.
    return tensorflow.autograph.experimental.do_not_convert(_in_tensorflow)(
        tensorflow, data, specs_of, make
    )


def _in_tensorflow(tensorflow: Any, data: Any, specs_of: Any, make: Any) -> Any:
    run = make()
    tensors = nested.map_structure(tensorflow.convert_to_tensor, data)
    specs = specs_of(nested.map_structure(
        lambda x: stand_in(TensorSpec(_dims(x.shape), x.dtype.name)), tensors
    ))  # fmt: skip
    leaves = nested.flatten(specs)

    def computed(*arrays: np.ndarray) -> list[np.ndarray]:
        done = nested.flatten(run(nested.unflatten(tensors, list(arrays))))
        return [np.asarray(x, object if s.dtype == "string" else s.dtype)
                for x, s in zip(done, leaves, strict=True)]  # fmt: skip

    dtypes = [tensorflow.as_dtype(s.dtype) for s in leaves]
    results = tensorflow.numpy_function(computed, nested.flatten(tensors), dtypes)
    for result, one in zip(results, leaves, strict=True):
        result.set_shape(one.shape)
    return nested.unflatten(specs, list(results))


def _dims(shape: Any) -> tuple[Any, ...]:
    """The dimensions of a shape of TensorFlow; unknown ones are symbols."""
    sizes = list(shape)
    first = [spec.BATCH if n is None else n for n in sizes[:1]]
    return (*first, *(spec.symbol(f"size_{i}") if n is None else n
                      for i, n in enumerate(sizes[1:])))  # fmt: skip


__all__ = ["PreprocessingLayer", "in_tensorflow", "is_in_tensorflow"]
