"""What ops declare is what Keras's files say of them."""

import importlib
import inspect

import lamina.ops  # noqa: F401
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
