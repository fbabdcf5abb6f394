from lamina import layers
from tests.cases import Case

IMAGES = [((2, 4, 5, 3), "float32")]
BINS = {"bin_boundaries": [-0.5, 0.0, 1.0]}
SIGNAL = [((2, 40, 3), "float32")]


def stft(name, inputs=SIGNAL, unknown_axes=(1,), **kwargs):
    kwargs = {"frame_length": 8, "frame_step": 3, **kwargs}
    return Case(name, layers.STFTSpectrogram, kwargs, inputs, unknown_axes=unknown_axes)


CASES = [
    Case("rescaling", layers.Rescaling, {"scale": 1 / 255}, [((2, 4, 5, 3), "uint8")],
         unknown_axes=(1, 2)),
    Case("rescaling_offset", layers.Rescaling, {"scale": 2.0, "offset": -1}, IMAGES,
         unknown_axes=(1, 2)),
    Case("rescaling_channels", layers.Rescaling,
         {"scale": [1.0, 2.0, 3.0], "offset": [0.5, 0.0, -0.5]}, IMAGES, unknown_axes=(1, 2)),
    Case("normalization", layers.Normalization,
         {"mean": [1.0, 2.0, 3.0], "variance": [0.5, 2.0, 4.0]}, IMAGES, unknown_axes=(1, 2)),
    Case("normalization_inverse", layers.Normalization,
         {"mean": 1.0, "variance": 2.0, "axis": None, "invert": True}, IMAGES, unknown_axes=(1, 2)),
    Case("normalization_axes", layers.Normalization,
         {"mean": [1.0, 2.0, 3.0], "variance": [0.5, 2.0, 4.0], "axis": (1, 3)}, IMAGES),
    Case("discretization", layers.Discretization, BINS, [((3, 4), "float32")], unknown_axes=(1,)),
    Case("discretization_one_hot", layers.Discretization, {**BINS, "output_mode": "one_hot"},
         [((3, 1), "float32")]),
    Case("discretization_multi_hot", layers.Discretization, {**BINS, "output_mode": "multi_hot"},
         [((3, 4), "float32")]),
    Case("discretization_count", layers.Discretization, {**BINS, "output_mode": "count"},
         [((3, 4), "float32")]),
    Case("pipeline", layers.Pipeline,
         {"layers": [layers.CenterCrop(2, 3), layers.Rescaling(2.0, offset=1.0)]}, IMAGES,
         unknown_axes=(1, 2)),
    Case("mel_spectrogram", layers.MelSpectrogram,
         {"fft_length": 64, "sequence_stride": 16, "num_mel_bins": 8}, [((2, 200), "float32")],
         unknown_axes=(1,), rtol=1e-4, atol=1e-4),
    Case("mel_spectrogram_energy", layers.MelSpectrogram,
         {"fft_length": 64, "sequence_stride": 16, "sequence_length": 32, "num_mel_bins": 8,
          "power_to_db": False, "mag_exp": 1.0, "window": "hamming", "min_freq": 100.0,
          "max_freq": 4000.0}, [((2, 200), "float32")], rtol=1e-4, atol=1e-4),
    stft("stft_spectrogram"),
    stft("stft_spectrogram_magnitude", mode="magnitude", padding="same"),
    stft("stft_spectrogram_psd", mode="psd", scaling="spectrum"),
    stft("stft_spectrogram_real", mode="real", expand_dims=True, window=None),
    stft("stft_spectrogram_imag", mode="imag", fft_length=16, periodic=True),
    stft("stft_spectrogram_stft", [((2, 3, 40), "float32")], (2,), mode="stft",
         data_format="channels_first"),
    stft("stft_spectrogram_angle", [((2, 3, 40), "float32")], (2,), mode="angle",
         data_format="channels_first", expand_dims=True, scaling=None),
]  # fmt: skip
