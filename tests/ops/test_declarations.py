"""What ops declare is what Keras's files say of them."""

import importlib
import inspect

import jax
import numpy as np
import pytest

from lamina import ops
from lamina.core.declaration import DECLARATIONS

MODULES = ("numpy", "nn", "math", "core", "linalg", "image", "einops")


def classes_of_keras():
    found = {}
    for name in MODULES:
        module = importlib.import_module(f"keras.src.ops.{name}")
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == module.__name__:
                arguments = set(inspect.signature(cls).parameters) - {"name", "args", "kwargs"}
                found[cls.__name__] = (name, arguments)
    return found


def test_classes_modules_and_constructors_are_those_of_keras():
    classes = classes_of_keras()
    own = []
    for op_name, declared in DECLARATIONS.items():
        if declared.module_name == "random":
            continue  # Keras's random functions are no operations of a graph
        if declared.class_name not in classes:
            own.append(op_name)
            continue
        module, arguments = classes[declared.class_name]
        assert module == declared.module_name, op_name
        # Functions go to the call here, where they are written as data.
        assert set(declared.constructor) == arguments - set(declared.functions), op_name
    assert {n for n in own if "example" not in n} == {"copysign", "mish"}


@pytest.mark.parametrize(
    ("call", "plain"),
    [
        (lambda o, n: o.nn.adaptive_max_pool(np.ones((1, 4, 4, 1)), (n(2), 3)), None),
        (lambda o, n: o.nn.adaptive_max_pool(np.ones((1, 4, 4, 1)), n(2)), None),
        (lambda o, n: o.pad([[1, 2]], n(1), constant_values=n(3)), None),
        (lambda o, n: o.pad([[1, 2]], (n(1), 2)), None),
        (lambda o, n: o.pad([[1, 2]], [(n(1),)]), lambda o: o.pad([[1, 2]], 1)),
        (lambda o, n: o.reshape(np.arange(6), np.array([3, n(2)])),
         lambda o: o.reshape(np.arange(6), (3, 2))),
        (lambda o, n: o.top_k([1.0, 3.0, 2.0], n(2)), None),
        (lambda o, n: o.unfold(np.ones((1, 2, 3, 4)), n(2)), None),
    ],
)  # fmt: skip
def test_numbers_of_numpy_are_numbers(call, plain):
    ours = ops if plain is None else plain
    expected = call(ours, int) if plain is None else plain(ops)
    for integer in (np.int64, np.int32):
        jax.tree.map(np.testing.assert_array_equal, call(ops, integer), expected)
    assert ops.subtract(np.int8(1), np.int8(2)).dtype == "int8"  # of a tensor it says the dtype
