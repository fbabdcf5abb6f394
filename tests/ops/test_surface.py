"""Every name of Keras's `ops`, with Keras's parameters and defaults."""

import inspect

import keras
import pytest

import lamina

# Parameters that Keras takes and Lamina does not, and why.
ABSENT = {
    # Takes `rms_scaling` by these; it is a parameter of its own here.
    "layer_normalization": {"kwargs"},
    # Takes a deprecated name of `inputs` by these.
    "multi_hot": {"kwargs"},
}


def names(namespace):
    return sorted(
        n for n, value in vars(namespace).items() if n[0] != "_" and not inspect.ismodule(value)
    )


NAMESPACES = ["ops", "ops.image", "ops.linalg", "ops.nn", "ops.numpy"]


def find(library, path):
    for part in path.split("."):
        library = getattr(library, part)
    return library


@pytest.mark.parametrize("path", NAMESPACES)
def test_every_name_is_here(path):
    ours, theirs = find(lamina, path), find(keras, path)
    assert [n for n in names(theirs) if not hasattr(ours, n)] == []


@pytest.mark.parametrize("path", NAMESPACES)
def test_parameters_and_defaults_are_those_of_keras(path):
    wrong = []
    for name in names(find(keras, path)):
        theirs = inspect.signature(getattr(find(keras, path), name)).parameters
        ours = inspect.signature(getattr(find(lamina, path), name)).parameters
        wanted = [(n, p.default) for n, p in theirs.items() if n not in ABSENT.get(name, ())]
        found = [(n, p.default) for n, p in ours.items()]
        if found[: len(wanted)] != wanted:
            wrong.append((name, found, wanted))
    assert wrong == []
