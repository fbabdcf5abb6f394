"""The arguments of constructors and functions: Keras's names, order and defaults."""

import importlib
import inspect

import keras
import pytest

NAMESPACES = (
    "activations", "callbacks", "constraints", "initializers", "layers", "losses", "metrics",
    "optimizers", "optimizers.schedules", "regularizers",
)  # fmt: skip
# What Keras's classes take and Lamina's do not: low-rank adaptation and quantization; and initial
# weights that no file holds, which are taken by name.
ABSENT = {
    "Dense": {"lora_rank", "lora_alpha", "quantization_config"},
    "EinsumDense": {
        "lora_rank",
        "lora_alpha",
        "quantization_config",
        "gptq_unpacked_column_size",
    },
    "Embedding": {"weights", "lora_rank", "lora_alpha", "quantization_config"},
    "ReversibleEmbedding": {"weights", "lora_rank", "lora_alpha", "quantization_config"},
    "Bidirectional": {"weights", "backward_layer"},
    "JaxLayer": {"native_serialization_platforms"},  # TensorFlow's
}
VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def look_up(root, namespace):
    for part in namespace.split("."):
        root = getattr(root, part)
    return root


def shared():
    """Namespace, name and both objects of all that both have."""
    for namespace in NAMESPACES:
        ours = importlib.import_module(f"lamina.{namespace}")
        theirs = look_up(keras, namespace)
        for name in dir(theirs):
            found = getattr(ours, name, None)
            if name[0] != "_" and callable(found) and callable(getattr(theirs, name)):
                yield namespace, name, found, getattr(theirs, name)


def parameters(x):
    given = inspect.signature(x.__init__ if inspect.isclass(x) else x).parameters
    return {n: p for n, p in given.items() if n != "self" and p.kind not in VARIADIC}


def plain(value):
    """A default, with 1 for (1, 1), which mean the same."""
    if callable(value) and not inspect.isclass(value):
        return value.__name__
    while isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return value


ROWS = list(shared())


@pytest.mark.parametrize(
    ("namespace", "name", "ours", "theirs"), ROWS, ids=[f"{row[0]}.{row[1]}" for row in ROWS]
)
def test_arguments(namespace, name, ours, theirs):
    absent = ABSENT.get(name, set()) if namespace == "layers" else set()
    mine, other = parameters(ours), parameters(theirs)
    by_position = [n for n, p in other.items() if p.kind is not p.KEYWORD_ONLY and n not in absent]
    order = [n for n, p in mine.items() if p.kind is not p.KEYWORD_ONLY]
    assert order[: len(by_position)] == by_position
    assert not (set(other) - set(mine) - absent)
    for argument in set(other) & set(mine):
        default = other[argument].default
        if default is not inspect.Parameter.empty:  # what Keras requires may be optional
            assert plain(mine[argument].default) == plain(default), argument
