"""Convolutional LSTMs, for sequences of images or similar inputs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import ShapeDtypeStruct, eval_shape

from lamina import activations, settings
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.recurrent import LOOP, PENALTIES, RNNWithCell
from lamina.layers.recurrent_cells import INITIALIZERS, RATES, BuiltinCell, LSTMCell
from lamina.layers.spatial_base import fill
from lamina.ops.lowering.conv import conv
from lamina.ops.lowering.recurrence import LSTMStep, convolution_by_products
from lamina.serialization.fields import field, one_of, per_axis, positive_int
from lamina.serialization.registry import builtin
from lamina.tree import nested


@builtin()
class _ConvLSTMCell(LSTMCell):
    """An LSTM cell whose products are convolutions; channels are the last axis."""

    kernel_size: tuple[int, ...] = field(kw_only=True)
    strides: tuple[int, ...] = field(kw_only=True)
    padding: str = field(kw_only=True)
    dilation_rate: tuple[int, ...] = field(kw_only=True)

    @property
    def rank(self) -> int:
        return len(self.kernel_size)

    def build(self, input_shape: Any) -> None:
        bias_shape = (4 * self.units,) if self.use_bias else None
        self._add_weights(input_shape, self.kernel_size, bias_shape)

    def _input_product(self, x: Any, kernel: Any) -> Any:
        """The convolution of all time steps at once, outside the loop, where it is faster."""
        leading = x.shape[: x.ndim - self.rank - 1]
        images = x.reshape(math.prod(leading), *x.shape[len(leading) :])
        y = conv(images, kernel, self.strides, self.padding, self.dilation_rate)
        return y.reshape(*leading, *y.shape[1:])

    def step(self) -> LSTMStep:
        return dataclasses.replace(super().step(), convolution=convolution_by_products)

    def output_shape(self, shape: Any) -> tuple[Any, ...]:
        """The shape of a state when the input of a time step has this shape."""
        image = ShapeDtypeStruct(tuple(shape), self.compute_dtype)
        kernel = ShapeDtypeStruct(self.kernel.shape, self.compute_dtype)
        return (*eval_shape(self._input_product, image, kernel).shape[:-1], self.units)


@builtin()
class _ConvLSTM(
    RNNWithCell,
    positional="filters kernel_size strides padding data_format dilation_rate activation "
    f"recurrent_activation use_bias {INITIALIZERS} unit_forget_bias {PENALTIES} {RATES} seed "
    f"{LOOP}",
):
    """Base class of ConvLSTM1D, 2D and 3D, which differ in rank only."""

    cell_class: ClassVar[type[BuiltinCell]] = _ConvLSTMCell
    rank: ClassVar[int]
    filters: int = field(convert=positive_int)
    kernel_size: Any = field(convert=per_axis)
    strides: Any = field(default=1, convert=per_axis)
    padding: str = field(default="valid", convert=one_of("valid", "same"))
    data_format: Any = field(default=None, convert=settings.standardize_data_format)
    dilation_rate: Any = field(default=1, convert=per_axis)
    activation: Any = field(default="tanh", convert=activations.get)
    recurrent_activation: Any = field(default="sigmoid", convert=activations.get)
    use_bias: bool = True
    unit_forget_bias: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{type(self).__name__}(): `strides` and `dilation_rate` cannot both be above 1. "
                f"Received: strides={self.strides}, dilation_rate={self.dilation_rate}."
            )
        super().__post_init__()
        if self.data_format == "channels_first":
            self._channel_axis = 2

    def _cell_arguments(self) -> dict[str, Any]:
        return {"units": self.filters}

    def _channels_last(self, shape: Any) -> Any:
        if self.data_format == "channels_last":
            return shape
        return (*shape[:2], *shape[3:], shape[2])

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """Raises an error: the shape of the states depends on that of the input."""
        raise ShapeError(
            f"Layer {self.name!r} ({type(self).__name__}) has states of the shape of its output.",
            layer=self.name,
            expected="an input",
            received=f"only the batch size {batch_size}",
            cure="Call the layer without `initial_state` to start from zeros.",
        )

    def _zero_states(self, shape: Any) -> list[Any]:
        state = self.cell.output_shape((shape[0], *shape[2:]))
        return [jnp.zeros(state, self.compute_dtype)] * 2

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Loop over the second axis, with the channels last."""
        if self.data_format == "channels_last":
            return super().call(sequences, initial_state, mask, training)
        if initial_state is not None:
            initial_state = [jnp.moveaxis(x, 1, -1) for x in nested.flatten(initial_state)]
        outputs = super().call(jnp.moveaxis(sequences, 2, -1), initial_state, mask, training)
        return nested.map_structure(lambda y: jnp.moveaxis(y, -1, y.ndim - self.rank - 1), outputs)


_TEXT = """A convolutional LSTM over a sequence of inputs with $dimensions.

    With ``*`` for convolution, ``i, f, g, o = split(x * kernel + h * recurrent_kernel + bias)``,
    ``c' = gate(f) c + gate(i) activation(g)`` and ``h' = gate(o) activation(c')``. The convolution
    of the state always has stride 1 and same padding.

    Args:
        filters: Number of filters, which is the number of output channels.
        kernel_size: Size of the window of both kernels: one integer, or one for each spatial
            dimension.
        strides: Stride of the convolution of the input: one integer, or one for each spatial
            dimension.
        padding: ``"valid"`` for none, or ``"same"`` for zeros on both sides, with which strides of
            1 keep the spatial shape.
        data_format: ``"channels_last"``, which is ``(batch, time, $spatial, channels)``,
            or ``"channels_first"``, which is ``(batch, time, channels, $spatial)``;
            the default of ``lamina.config`` when None.
        dilation_rate: Spacing between the elements of the kernel in the convolution of the input:
            one integer, or one for each spatial dimension. Above 1, ``strides`` must be 1.
        activation: Activation of the candidate and of the new cell state.
        recurrent_activation: Activation of the gates.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer of the kernel, of shape
            ``(*kernel_size, channels, 4 * filters)``.
        recurrent_initializer: Initializer of the recurrent kernel, of shape
            ``(*kernel_size, filters, 4 * filters)``.
        bias_initializer: Initializer of the bias, of shape ``(4 * filters,)``.
        unit_forget_bias: Whether to initialize the bias of the forget gate with ones.

    Shapes: ``(batch, time, $spatial, channels)`` to
    ``(batch, $new_spatial, filters)`` with ``channels_last``;
    ``return_sequences`` keeps the time axis.

    Raises:
        ArgumentError: ``strides`` and ``dilation_rate`` above 1.
        ShapeError: A different rank or number of channels, or a mask or a state of the wrong shape.

    Shi et al. 2015, https://arxiv.org/abs/1506.04214

    >>> ConvLSTM${rank}D(4, 3)(jnp.ones((2, 5, $input))).shape
    (2, $output)
    """


@builtin("layers")
class ConvLSTM1D(_ConvLSTM):
    __doc__ = fill(_TEXT, 1, input=(8, 3), output=(6, 4))
    rank: ClassVar[int] = 1


@builtin("layers")
class ConvLSTM2D(_ConvLSTM):
    __doc__ = fill(_TEXT, 2, input=(8, 3), output=(6, 4))
    rank: ClassVar[int] = 2


@builtin("layers")
class ConvLSTM3D(_ConvLSTM):
    __doc__ = fill(_TEXT, 3, input=(8, 3), output=(6, 4))
    rank: ClassVar[int] = 3


__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"]
