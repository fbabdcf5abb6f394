"""What the comparisons of recurrent layers and attention share.

Among it, layers that take several tensors in the form in which the oracle calls: with one list.
"""

import dataclasses
import functools

import keras

from lamina.serialization import registry
from tests.differential import oracle


@keras.saving.register_keras_serializable(package="tests")
class LeakyCell(keras.Layer):
    """The twin in Keras of the cell in tests/cases/layers_recurrent.py."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, inputs, states):
        kept = 0.5 * states[0] + keras.ops.tanh(keras.ops.matmul(inputs, self.kernel))
        return 2 * kept, [kept]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


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
