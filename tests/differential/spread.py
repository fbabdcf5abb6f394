"""Layers that take several tensors, in the form in which the oracle calls: with one list."""

import dataclasses
import functools

import keras

from lamina.core import registry
from tests.differential import oracle


class Spread:
    """A layer whose call takes the list of inputs that a row of the table describes."""

    def __init__(self, layer, case):
        self.layer, self.case = layer, case

    def __getattr__(self, name):
        return getattr(self.layer, name)

    def _inputs(self, x):
        return x if len(self.case.inputs) > 1 else [x]

    def __call__(self, x, **kwargs):
        return self.case.apply(self.layer, self._inputs(x), **kwargs)

    def stateless_call(self, trainable, non_trainable, x, **kwargs):
        pure = functools.partial(self.layer.stateless_call, trainable, non_trainable)
        return self.case.apply(pure, self._inputs(x), **kwargs)


def compare(case):
    """As :func:`oracle.compare`, for rows with a ``call`` of their own too."""
    if case.call is None:
        oracle.compare(case)
        return

    def theirs():
        record = registry.serialize(case.cls(**case.kwargs))
        return Spread(keras.layers.deserialize(record), case)

    oracle.compare(
        dataclasses.replace(
            case, cls=lambda **kwargs: Spread(case.cls(**kwargs), case), keras=theirs
        )
    )
