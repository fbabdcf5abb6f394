"""Recurrences over images: the products of an LSTM as convolutions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import ShapeDtypeStruct, eval_shape

from lamina import activations, settings
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.recurrent import _OwnCell
from lamina.layers.recurrent_cells import LSTMCell, _Cell
from lamina.ops.lowering.conv import conv
from lamina.ops.lowering.recurrence import LSTMStep, convolution_by_products
from lamina.serialization.fields import field, int_tuple, one_of, positive_int
from lamina.serialization.registry import builtin
from lamina.tree import nested

_padding = one_of("valid", "same")


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
        self._make_weights(input_shape, self.kernel_size, bias_shape)

    def _input_product(self, x: Any, kernel: Any) -> Any:
        """The convolution of all steps at once: outside of the loop, where it is fast."""
        leading = x.shape[: x.ndim - self.rank - 1]
        images = x.reshape(math.prod(leading), *x.shape[len(leading) :])
        y = conv(images, kernel, self.strides, self.padding, self.dilation_rate)
        return y.reshape(*leading, *y.shape[1:])

    def step(self) -> LSTMStep:
        return dataclasses.replace(super().step(), convolution=convolution_by_products)

    def output_shape(self, shape: Any) -> tuple[Any, ...]:
        """The shape of a state for one step's input of this shape."""
        image = ShapeDtypeStruct(tuple(shape), self.compute_dtype)
        kernel = ShapeDtypeStruct(self.kernel.shape, self.compute_dtype)
        return (*eval_shape(self._input_product, image, kernel).shape[:-1], self.units)


@builtin()
class _ConvLSTM(_OwnCell):
    """ConvLSTM1D, 2D and 3D: all but the rank."""

    cell_class: ClassVar[type[_Cell]] = _ConvLSTMCell
    rank: ClassVar[int]
    filters: int = field(convert=positive_int)
    kernel_size: Any = field()
    strides: Any = 1
    padding: str = field("valid", convert=_padding)
    data_format: Any = field(None, convert=settings.standardize_data_format)
    dilation_rate: Any = 1
    activation: Any = field("tanh", convert=activations.get)
    recurrent_activation: Any = field("sigmoid", convert=activations.get)
    use_bias: bool = True
    unit_forget_bias: bool = field(True, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("kernel_size", "strides", "dilation_rate"):
            try:
                setattr(self, name, int_tuple(self.rank)(getattr(self, name)))
            except ArgumentError as e:
                raise ArgumentError(f"{type(self).__name__}(): `{name}`: {e}") from None
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{type(self).__name__}() expects `strides` or `dilation_rate` to be 1. "
                f"Received: strides={self.strides}, dilation_rate={self.dilation_rate}."
            )
        super().__post_init__()
        if self.data_format == "channels_first":
            self._channel_axis = 2

    def _more_for_the_cell(self) -> dict[str, Any]:
        return {"units": self.filters}

    def _channels_last(self, shape: Any) -> Any:
        if self.data_format == "channels_last":
            return shape
        return (*shape[:2], *shape[3:], shape[2])

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """Not to be had: the states are as large as the images."""
        raise ShapeError(
            f"Layer {self.name!r} ({type(self).__name__}) has states of the size of its output.\n"
            f"  expected: an input\n  received: batch size {batch_size} alone\n"
            "Call the layer without `initial_state` to start with zeros."
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


@builtin("layers")
class ConvLSTM1D(_ConvLSTM):
    """A long short-term memory over a sequence of rows: its products are convolutions.

    With ``*`` for convolution, ``i, f, g, o = split(x * kernel + h * recurrent_kernel + bias)``,
    ``c' = gate(f) c + gate(i) activation(g)`` and ``h' = gate(o) activation(c')``. The convolution
    of the state always has stride 1 and same padding.

    Args:
        filters: number of channels of the output.
        kernel_size: extent of both kernels, one integer or 1.
        strides: steps between the input's windows.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
        dilation_rate: distance between the input's taps.
        activation: of the candidate and of the new cell state.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: for the kernel, of shape ``(*kernel_size, channels, 4 * filters)``.
        recurrent_initializer: for the recurrent kernel ``(*kernel_size, filters, 4 * filters)``.
        bias_initializer: for the bias, of shape ``(4 * filters,)``.
        unit_forget_bias: whether the forget gate's bias starts with ones.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each step of the optimizer.
        recurrent_constraint: likewise, of the recurrent kernel.
        bias_constraint: likewise, of the bias.
        dropout: part of the input's entries to drop while training, the same at each time step.
        recurrent_dropout: likewise, of the state's entries.
        seed: makes the drops differ from those of the global seed.
        return_sequences: see :class:`~lamina.layers.RNN`, as for the arguments below.
        return_state: ...
        go_backwards: ...
        stateful: ...
        unroll: ...
        zero_output_for_mask: ...

    Shapes: ``(batch, time, width, channels)`` to ``(batch, new_width, filters)``;
    ``return_sequences`` keeps the time axis. With ``channels_first``, the channels come before the
    sizes.

    Raises:
        ShapeError: another rank or number of channels, a mask or a state that does not fit.

    Shi et al. 2015, https://arxiv.org/abs/1506.04214

    >>> ConvLSTM1D(4, 3)(jnp.ones((2, 5, 8, 3))).shape
    (2, 6, 4)
    """

    rank: ClassVar[int] = 1


@builtin("layers")
class ConvLSTM2D(_ConvLSTM):
    """A long short-term memory over a sequence of images: its products are convolutions.

    With ``*`` for convolution, ``i, f, g, o = split(x * kernel + h * recurrent_kernel + bias)``,
    ``c' = gate(f) c + gate(i) activation(g)`` and ``h' = gate(o) activation(c')``. The convolution
    of the state always has stride 1 and same padding.

    Args:
        filters: number of channels of the output.
        kernel_size: extent of both kernels, one integer or 2.
        strides: steps between the input's windows.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
        dilation_rate: distance between the input's taps.
        activation: of the candidate and of the new cell state.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: for the kernel, of shape ``(*kernel_size, channels, 4 * filters)``.
        recurrent_initializer: for the recurrent kernel ``(*kernel_size, filters, 4 * filters)``.
        bias_initializer: for the bias, of shape ``(4 * filters,)``.
        unit_forget_bias: whether the forget gate's bias starts with ones.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each step of the optimizer.
        recurrent_constraint: likewise, of the recurrent kernel.
        bias_constraint: likewise, of the bias.
        dropout: part of the input's entries to drop while training, the same at each time step.
        recurrent_dropout: likewise, of the state's entries.
        seed: makes the drops differ from those of the global seed.
        return_sequences: see :class:`~lamina.layers.RNN`, as for the arguments below.
        return_state: ...
        go_backwards: ...
        stateful: ...
        unroll: ...
        zero_output_for_mask: ...

    Shapes: ``(batch, time, height, width, channels)`` to
    ``(batch, new_height, new_width, filters)``; ``return_sequences`` keeps the time axis. With
    ``channels_first``, the channels come before the sizes.

    Raises:
        ShapeError: another rank or number of channels, a mask or a state that does not fit.

    Shi et al. 2015, https://arxiv.org/abs/1506.04214

    >>> ConvLSTM2D(4, 3)(jnp.ones((2, 5, 8, 8, 3))).shape
    (2, 6, 6, 4)
    """

    rank: ClassVar[int] = 2


@builtin("layers")
class ConvLSTM3D(_ConvLSTM):
    """A long short-term memory over a sequence of volumes: its products are convolutions.

    With ``*`` for convolution, ``i, f, g, o = split(x * kernel + h * recurrent_kernel + bias)``,
    ``c' = gate(f) c + gate(i) activation(g)`` and ``h' = gate(o) activation(c')``. The convolution
    of the state always has stride 1 and same padding.

    Args:
        filters: number of channels of the output.
        kernel_size: extent of both kernels, one integer or 3.
        strides: steps between the input's windows.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
        dilation_rate: distance between the input's taps.
        activation: of the candidate and of the new cell state.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: for the kernel, of shape ``(*kernel_size, channels, 4 * filters)``.
        recurrent_initializer: for the recurrent kernel ``(*kernel_size, filters, 4 * filters)``.
        bias_initializer: for the bias, of shape ``(4 * filters,)``.
        unit_forget_bias: whether the forget gate's bias starts with ones.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each step of the optimizer.
        recurrent_constraint: likewise, of the recurrent kernel.
        bias_constraint: likewise, of the bias.
        dropout: part of the input's entries to drop while training, the same at each time step.
        recurrent_dropout: likewise, of the state's entries.
        seed: makes the drops differ from those of the global seed.
        return_sequences: see :class:`~lamina.layers.RNN`, as for the arguments below.
        return_state: ...
        go_backwards: ...
        stateful: ...
        unroll: ...
        zero_output_for_mask: ...

    Shapes: ``(batch, time, depth, height, width, channels)`` to
    ``(batch, new_depth, new_height, new_width, filters)``; ``return_sequences`` keeps the time
    axis. With ``channels_first``, the channels come before the sizes.

    Raises:
        ShapeError: another rank or number of channels, a mask or a state that does not fit.

    Shi et al. 2015, https://arxiv.org/abs/1506.04214

    >>> ConvLSTM3D(4, 3)(jnp.ones((2, 5, 8, 8, 8, 3))).shape
    (2, 6, 6, 6, 4)
    """

    rank: ClassVar[int] = 3


__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"]
