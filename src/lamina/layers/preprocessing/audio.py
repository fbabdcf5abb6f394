"""Spectrograms of audio."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from lamina import ops, settings
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, DTypeError
from lamina.initializers import STFT
from lamina.layers.arguments import InputSpec
from lamina.layers.base import Layer
from lamina.layers.preprocessing.base import PreprocessingLayer
from lamina.serialization.fields import field, fields_of, number, one_of, optional, positive_int
from lamina.serialization.registry import builtin
from lamina.transforms import audio


def _read_window(value: Any) -> Any:
    return one_of("hann", "hamming")(value) if isinstance(value, str) else value


@builtin("layers")
class MelSpectrogram(PreprocessingLayer):
    """Energy of audio in frequency bands of the mel scale, over time.

    Frames of the signal, whose ends are padded by reflection, are weighted with a window and
    transformed; the magnitudes, to a power, are summed in triangular bands that are equally wide on
    the mel scale, and expressed in decibels. The arguments are those of librosa.

    Args:
        fft_length: Number of samples of a transform.
        sequence_stride: Distance between frames in samples.
        sequence_length: Length of the window in samples; ``fft_length`` when None.
        window: ``"hann"``, ``"hamming"``, weights of that length, or None for no weights.
        sampling_rate: Samples per second.
        num_mel_bins: Number of bands.
        min_freq: Lower end of the first band in hertz.
        max_freq: Upper end of the last band in hertz; half of the sampling rate when None.
        power_to_db: Whether to return decibels.
        top_db: Largest difference to the maximum of the batch in decibels, to which smaller
            values are raised.
        mag_exp: Exponent of the magnitudes: 1 for amplitudes, 2 for energy.
        min_power: Smallest energy before the logarithm.
        ref_power: Energy that corresponds to 0 decibels.

    Shapes: ``(samples,)`` to ``(num_mel_bins, frames)``, or ``(batch, samples)`` to
    ``(batch, num_mel_bins, frames)``, with ``samples // sequence_stride + 1`` frames.

    Attributes:
        transform: The same computation on NumPy arrays, for data pipelines.

    Raises:
        ArgumentError: The window is longer than the transform, or the signal shorter than half of
            it.

    >>> import numpy as np
    >>> MelSpectrogram(fft_length=256, sequence_stride=128)(np.zeros(1024)).shape
    (128, 9)
    """

    fft_length: int = field(default=2048, convert=positive_int)
    sequence_stride: int = field(default=512, convert=positive_int)
    sequence_length: Any = field(default=None, convert=optional(positive_int))
    window: Any = field(default="hann", convert=_read_window)
    sampling_rate: int = field(default=16000, convert=positive_int)
    num_mel_bins: int = field(default=128, convert=positive_int)
    min_freq: float = field(default=20.0, convert=number("[0, inf)"))
    max_freq: Any = field(default=None, convert=optional(number("(0, inf)")))
    power_to_db: bool = field(default=True, convert=bool)
    top_db: float = field(default=80.0, convert=number("[0, inf)"))
    mag_exp: float = field(default=2.0, convert=number("(0, inf)"))
    min_power: float = field(default=1e-10, convert=number("(0, inf)"))
    ref_power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sequence_length = self.sequence_length or self.fft_length
        self.max_freq = self.max_freq or self.sampling_rate // 2
        if self.fft_length < self.sequence_length:
            raise ArgumentError(
                "MelSpectrogram(): `fft_length` must be at least `sequence_length`. Received: "
                f"fft_length={self.fft_length}, sequence_length={self.sequence_length}."
            )

    @property
    def transform(self) -> audio.MelSpectrogram:
        """The layer's computation, for NumPy in any process."""
        fields = {name: vars(self)[name] for name in fields_of(type(self), Layer)}
        name = f"Layer {self.name!r} (MelSpectrogram)"
        return audio.MelSpectrogram(**fields, dtype=self.compute_dtype, name=name)

    def call(self, inputs: Any) -> Any:
        """The spectrogram."""
        return self.transform.apply(jnp, inputs, None, False)

    @staticmethod
    def linear_to_mel_weight_matrix(
        num_mel_bins: int = 20,
        num_spectrogram_bins: int = 129,
        sampling_rate: float = 8000,
        lower_edge_hertz: float = 125.0,
        upper_edge_hertz: float = 3800.0,
        dtype: str = "float32",
    ) -> Any:
        """The weights of the bands, ``(num_spectrogram_bins, num_mel_bins)``."""
        matrix = audio.mel_matrix(
            num_mel_bins, num_spectrogram_bins, sampling_rate, lower_edge_hertz, upper_edge_hertz
        )
        return jnp.asarray(matrix, dtype)


_MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


@builtin("layers")
class STFTSpectrogram(Layer):
    """Short-time Fourier transform of audio, as convolutions whose kernels can be trained.

    Args:
        mode: ``"log"`` for logarithms of magnitudes, ``"magnitude"``, ``"psd"`` for the power
            spectral density, ``"real"``, ``"imag"``, ``"angle"``, or ``"stft"`` for real parts
            followed by imaginary parts.
        frame_length: Length of a frame in samples.
        frame_step: Distance between frames in samples; half of the length when None.
        fft_length: Number of samples of a transform, at least ``frame_length``; the next power of 2
            when None.
        window: Name of a window of ``scipy.signal.get_window``, or None for none.
        periodic: Whether the window is periodic rather than symmetric.
        scaling: ``"density"`` divides the window by the square root of its sum of squares,
            ``"spectrum"`` by its sum; None does not scale.
        padding: ``"valid"`` for frames within the signal, ``"same"`` to pad it with zeros.
        expand_dims: Whether channels and frequencies are two axes instead of one.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    Shapes: ``(batch, samples, channels)`` to ``(batch, frames, channels * frequencies)``, or with
    ``expand_dims`` to ``(batch, frames, frequencies, channels)``, where ``frequencies`` is
    ``fft_length // 2 + 1``, twice that for ``"stft"``. With ``channels_first``:
    ``(batch, channels, samples)`` to ``(batch, channels * frequencies, frames)`` or
    ``(batch, channels, frames, frequencies)``.

    Raises:
        ArgumentError: A ``frame_step`` above the length, or a ``fft_length`` below it.
        DTypeError: An input of integers.

    >>> STFTSpectrogram(frame_length=8)(jnp.zeros((1, 32, 1))).shape
    (1, 7, 5)
    """

    mode: str = field(default="log", convert=one_of(*_MODES))
    frame_length: int = field(default=256, convert=positive_int)
    frame_step: int | None = field(default=None, convert=optional(positive_int))
    fft_length: int | None = field(default=None, convert=optional(positive_int))
    window: str | None = "hann"
    periodic: bool = field(default=False, convert=bool)
    scaling: str | None = field(default="density", convert=one_of("density", "spectrum", None))
    padding: str = field(default="valid", convert=one_of("valid", "same"))
    expand_dims: bool = field(default=False, convert=bool)
    data_format: Any = field(default=None, convert=settings.standardize_data_format)

    real_kernel = None
    imag_kernel = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.frame_step or 1) > self.frame_length:
            raise ArgumentError(
                "STFTSpectrogram(): `frame_step` must not be above `frame_length`. Received: "
                f"frame_step={self.frame_step}, frame_length={self.frame_length}."
            )
        if (self.fft_length or self.frame_length) < self.frame_length:
            raise ArgumentError(
                "STFTSpectrogram(): `fft_length` must be at least `frame_length`. Received: "
                f"fft_length={self.fft_length}, frame_length={self.frame_length}."
            )
        last = self.data_format == "channels_last"
        names = "(batch, samples, channels)" if last else "(batch, channels, samples)"
        self.input_spec = InputSpec(ndim=3, layout=names)

    def build(self, input_shape: Any) -> None:
        """Create the kernels."""
        size = self.fft_length or 2 ** math.ceil(math.log2(self.frame_length))
        shape = self.frame_length, 1, size // 2 + 1
        for side, without in (("real", "imag"), ("imag", "real")):
            if self.mode != without:
                initializer = STFT(side, self.window, self.scaling, self.periodic)
                kernel = self.add_weight(shape, initializer, name=f"{side}_kernel")
                vars(self)[f"{side}_kernel"] = kernel

    def call(self, inputs: Any) -> Any:
        """The spectrogram."""
        if not jnp.issubdtype(inputs.dtype, jnp.floating):
            raise DTypeError(
                f"Layer {self.name!r} (STFTSpectrogram) expects a signal of floats. "
                f"Received: {show_dims(inputs.shape)} {inputs.dtype}.",
                layer=self.name,
                cure="Divide 16-bit samples by 32768.",
            )
        last = self.data_format == "channels_last"
        signal = jnp.swapaxes(inputs, 1, 2) if last else inputs
        y = self._spectrum(signal)  # (batch, channels, frames, frequencies)
        if self.expand_dims:
            return jnp.moveaxis(y, 1, -1) if last else y
        batch, channels, frames, frequencies = y.shape
        y = jnp.swapaxes(y, 2, 3).reshape(batch, channels * frequencies, frames)
        return jnp.swapaxes(y, 1, 2) if last else y

    def _convolved(self, signal: Any, kernel: Any) -> Any:
        batch, channels, samples = signal.shape
        y = ops.conv(
            signal.reshape(batch * channels, samples, 1), jnp.asarray(kernel.value, signal.dtype),
            strides=self.frame_step or self.frame_length // 2, padding=self.padding,
            data_format="channels_last",
        )  # fmt: skip
        return y.reshape(batch, channels, *y.shape[1:])

    def _spectrum(self, signal: Any) -> Any:
        if self.mode == "real":
            return self._convolved(signal, self.real_kernel)
        imaginary = self._convolved(signal, self.imag_kernel)
        if self.mode == "imag":
            return imaginary
        real = self._convolved(signal, self.real_kernel)
        if self.mode == "angle":
            return jnp.arctan2(imaginary, real)
        if self.mode == "stft":
            return jnp.concatenate([real, imaginary], -1)
        power = real**2 + imaginary**2
        if self.mode == "psd":  # the negative frequencies have the same power
            twice = jnp.ones(power.shape[-1], power.dtype).at[1:-1].set(2)
            return power * twice
        smallest = settings.epsilon()
        magnitude = jnp.sqrt(jnp.maximum(power, smallest))
        return magnitude if self.mode == "magnitude" else jnp.log(jnp.maximum(magnitude, smallest))


__all__ = ["MelSpectrogram", "STFTSpectrogram"]
