"""Random initializers: normal, uniform, scaled by fan-in and fan-out, orthogonal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lamina.core import prng
from lamina.errors import ArgumentError, ShapeError
from lamina.initializers.base import Initializer, read_seed, working_dtype
from lamina.serialization.fields import field, integers, number, one_of, optional
from lamina.serialization.registry import builtin

# Standard deviation of the standard normal distribution truncated at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


# Number of elements that are drawn from one generator.
_BLOCK = 1 << 22


def _truncated_normal(rng: np.random.Generator, count: int, dtype: Any) -> np.ndarray:
    """Standard normal values between -2 and 2: those outside are drawn again."""
    values = rng.standard_normal(count, dtype)
    outside = np.flatnonzero(np.abs(values) > 2)
    while outside.size:
        values[outside] = rng.standard_normal(outside.size, dtype)
        outside = outside[np.abs(values[outside]) > 2]
    return values


@builtin()
class _Independent(Initializer):
    """An initializer whose elements are independent of each other.

    A large array is drawn in blocks of rows, each from a generator of its own. So any part can be
    drawn alone, with the same values: by the process and for the device that stores it.
    """

    _shared_arguments: ClassVar[Mapping[str, str]] = {
        "seed": "Integer for the same values in each call; None to follow the global seed.",
        "input_axes": "Axes of the inputs, for weights that are neither a matrix nor a kernel of a"
        "\n        convolution.",
        "output_axes": "Axes of the outputs, likewise.",
    }

    def values(
        self, rng: np.random.Generator, count: int, shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        """Draw ``count`` elements of an array of the given shape."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return self.values(rng, math.prod(shape), shape, dtype).reshape(shape)

    def draw_for(self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str) -> Any:
        return self.draw_part(parts, shape, dtype, tuple(slice(n) for n in shape))

    def draw_part(
        self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str, index: tuple[slice, ...]
    ) -> np.ndarray:
        """A part of the values of one weight.

        Args:
            parts: What the weight is; an integer ``seed`` is used in its place.
            shape: Shape of the weight.
            dtype: Dtype that the result will be cast to.
            index: The part, a slice without a step for each dimension.
        """
        row = math.prod(shape[1:])
        rows = max(1, _BLOCK // max(1, row))
        if not shape or shape[0] <= rows:
            return super().draw_for(parts, shape, dtype)[index]
        seed = self._seed()
        own = parts if seed is None else ("initializer", seed)
        start, stop, _ = index[0].indices(shape[0])
        found = []
        for block in range(start // rows, -(-stop // rows)):
            first = block * rows
            count = min(rows, shape[0] - first)
            rng = prng.stream(*own, *(("block", block) if block else ()))
            drawn = self.values(rng, count * row, shape, dtype).reshape(count, *shape[1:])
            found.append(drawn[(slice(max(start - first, 0), stop - first), *index[1:])])
        return np.concatenate(found)


@builtin("initializers", "normal")
class RandomNormal(_Independent):
    """Values of a normal distribution.

    Args:
        mean: Mean of the distribution.
        stddev: Standard deviation of the distribution.

    >>> RandomNormal(stddev=0.1, seed=1)((2, 3)).shape
    (2, 3)
    """

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = field(default=None, convert=read_seed)

    def values(
        self, rng: np.random.Generator, count: int, shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        return self.mean + self.stddev * rng.standard_normal(count, working_dtype(dtype))


@builtin("initializers")
class TruncatedNormal(_Independent):
    """Values of a normal distribution truncated at two standard deviations from its mean.

    Args:
        mean: Mean of the distribution.
        stddev: Standard deviation before truncation.

    >>> bool((abs(TruncatedNormal(stddev=0.1)((1000,))) <= 0.2).all())
    True
    """

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = field(default=None, convert=read_seed)

    def values(
        self, rng: np.random.Generator, count: int, shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        return self.mean + self.stddev * _truncated_normal(rng, count, working_dtype(dtype))


@builtin("initializers", "uniform")
class RandomUniform(_Independent):
    """Values of the uniform distribution over ``[minval, maxval)``.

    Args:
        minval: Lower bound, included.
        maxval: Upper bound, excluded.

    >>> values = RandomUniform(0.0, 2.0)((1000,))
    >>> bool(((values >= 0) & (values < 2)).all())
    True
    """

    minval: float = -0.05
    maxval: float = 0.05
    seed: int | None = field(default=None, convert=read_seed)

    def values(
        self, rng: np.random.Generator, count: int, shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        return self.minval + (self.maxval - self.minval) * rng.random(count, working_dtype(dtype))


@builtin("initializers", "OrthogonalInitializer")
class Orthogonal(Initializer):
    """A random matrix whose columns (or rows, if fewer) are orthogonal and have the norm ``gain``.

    The ``Q`` of the QR decomposition of a normal matrix ``(prod(shape[:-1]), shape[-1])``, with the
    signs that make it uniformly distributed over orthogonal matrices. Saxe et al. 2014,
    arXiv:1312.6120; signs: Mezzadri 2007, arXiv:math-ph/0609050.

    Args:
        gain: Norm of the columns.
        seed: Integer for the same values in each call; None to follow the global seed.

    >>> q = Orthogonal()((4, 2))
    >>> bool(abs(q.T @ q - np.eye(2)).max() < 1e-6)
    True
    """

    gain: float = 1.0
    seed: int | None = field(default=None, convert=read_seed)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if len(shape) < 2:
            raise ShapeError(
                f"Orthogonal() expects a shape with at least two axes. Received: {shape}."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = rng.standard_normal((max(rows, columns), min(rows, columns)), working_dtype(dtype))
        q, r = np.linalg.qr(normal)
        q *= np.copysign(1, np.diagonal(r))
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


# ---- scaled by fan-in and fan-out ----------------------------------------------------------------


def fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """The fan-in and fan-out of a weight: inputs for each output, outputs for each input.

    A matrix has the shape ``(inputs, outputs)``; the kernel of a convolution has the shape
    ``(*window, inputs, outputs)``, and each element of the window counts.

    Args:
        shape: Shape of the weight.
        input_axes: Axes whose sizes are multiplied to the fan-in, for other weights.
        output_axes: Axes whose sizes are multiplied to the fan-out.

    >>> fans((64, 10)), fans((3, 3, 16, 32)), fans((8, 4, 16), (0,), (1, 2))
    ((64, 10), (144, 288), (8, 64))
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _check_axes(initializer: Any) -> None:
    given, taken = initializer.input_axes, initializer.output_axes
    if (given is None) != (taken is None):
        raise ArgumentError(
            f"{type(initializer).__name__}() takes both `input_axes` and `output_axes`, or "
            f"neither. Received: input_axes={given}, output_axes={taken}."
        )


def _draw_scaled(
    how: Any, rng: np.random.Generator, count: int, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    """Values with mean 0 and variance ``how.scale / fan``."""
    fan_in, fan_out = fans(shape, how.input_axes, how.output_axes)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[how.mode]
    stddev = math.sqrt(how.scale / max(1, fan))
    work = working_dtype(dtype)
    if how.distribution == "uniform":
        return stddev * math.sqrt(3) * (2 * rng.random(count, work) - 1)
    if how.distribution == "untruncated_normal":
        return stddev * rng.standard_normal(count, work)
    return stddev / _TRUNCATED_STDDEV * _truncated_normal(rng, count, work)


def _distribution(value: Any) -> str:
    word = "truncated_normal" if value == "normal" else value
    return one_of("truncated_normal", "untruncated_normal", "uniform")(word)


@builtin("initializers")
class VarianceScaling(_Independent):
    """Values with mean 0 and variance ``scale / fan``, so that layers preserve variances.

    Args:
        scale: Factor of the variance, above 0.
        mode: ``"fan_in"``, ``"fan_out"`` or ``"fan_avg"`` (their mean).
        distribution: ``"truncated_normal"`` (truncated at two standard deviations, then scaled to
            the variance), ``"untruncated_normal"`` or ``"uniform"``.

    >>> values = VarianceScaling(2.0, "fan_in", seed=0)((400, 100))
    >>> f"{float(values.var() * 400):.1f}"
    '2.0'
    """

    scale: float = field(default=1.0, convert=number("(0, inf)"))
    mode: str = field(default="fan_in", convert=one_of("fan_in", "fan_out", "fan_avg"))
    distribution: str = field(default="truncated_normal", convert=_distribution)
    seed: int | None = field(default=None, convert=read_seed)
    input_axes: Sequence[int] | None = field(default=None, convert=optional(integers))
    output_axes: Sequence[int] | None = field(default=None, convert=optional(integers))

    def __post_init__(self) -> None:
        _check_axes(self)

    def values(
        self, rng: np.random.Generator, count: int, shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        return _draw_scaled(self, rng, count, shape, dtype)


@builtin()
class _Preset(_Independent):
    """A named :class:`VarianceScaling`."""

    scale: ClassVar[float]
    mode: ClassVar[str]
    distribution: ClassVar[str]

    seed: int | None = field(default=None, convert=read_seed)
    input_axes: Sequence[int] | None = field(default=None, convert=optional(integers))
    output_axes: Sequence[int] | None = field(default=None, convert=optional(integers))

    def __post_init__(self) -> None:
        _check_axes(self)

    def values(
        self, rng: np.random.Generator, count: int, shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        return _draw_scaled(self, rng, count, shape, dtype)


@builtin("initializers")
class GlorotUniform(_Preset):
    """Uniform on ``[-a, a]`` with ``a = sqrt(6 / (fan_in + fan_out))``; the default of most layers.

    Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward networks".

    >>> float(abs(GlorotUniform()((30, 30))).max()) <= (6 / 60) ** 0.5
    True
    """

    scale, mode, distribution = 1.0, "fan_avg", "uniform"


@builtin("initializers")
class GlorotNormal(_Preset):
    """Truncated normal with variance ``2 / (fan_in + fan_out)``.

    Glorot and Bengio 2010, as :class:`GlorotUniform`.

    >>> GlorotNormal()((30, 30)).shape
    (30, 30)
    """

    scale, mode, distribution = 1.0, "fan_avg", "truncated_normal"


@builtin("initializers")
class HeUniform(_Preset):
    """Uniform on ``[-a, a]`` with ``a = sqrt(6 / fan_in)``; for layers with ReLU.

    He et al. 2015, arXiv:1502.01852.

    >>> float(abs(HeUniform()((24, 8))).max()) <= (6 / 24) ** 0.5
    True
    """

    scale, mode, distribution = 2.0, "fan_in", "uniform"


@builtin("initializers")
class HeNormal(_Preset):
    """Truncated normal with variance ``2 / fan_in``; for layers with ReLU.

    He et al. 2015, arXiv:1502.01852.

    >>> HeNormal()((3, 3, 4, 8)).shape
    (3, 3, 4, 8)
    """

    scale, mode, distribution = 2.0, "fan_in", "truncated_normal"


@builtin("initializers")
class LecunUniform(_Preset):
    """Uniform on ``[-a, a]`` with ``a = sqrt(3 / fan_in)``; for layers with SELU.

    LeCun et al. 1998, "Efficient BackProp".

    >>> float(abs(LecunUniform()((27, 8))).max()) <= (3 / 27) ** 0.5
    True
    """

    scale, mode, distribution = 1.0, "fan_in", "uniform"


@builtin("initializers")
class LecunNormal(_Preset):
    """Truncated normal with variance ``1 / fan_in``; for layers with SELU.

    Klambauer et al. 2017, arXiv:1706.02515.

    >>> LecunNormal()((27, 8)).shape
    (27, 8)
    """

    scale, mode, distribution = 1.0, "fan_in", "truncated_normal"


def with_axes(initializer: Any, input_axes: Sequence[int], output_axes: Sequence[int]) -> Any:
    """An initializer that scales by the numbers of inputs and outputs, with the axes of a kernel.

    Any other, and one that was given axes, is returned unchanged.
    """
    if not isinstance(initializer, (VarianceScaling, _Preset)) or None not in (
        initializer.input_axes, initializer.output_axes,
    ):  # fmt: skip
        return initializer
    given: dict[str, Any] = {
        name: getattr(initializer, name) for name in initializer.config_fields()
    }
    axes = {"input_axes": input_axes, "output_axes": output_axes}
    made: Any = type(initializer)
    return made(**given | axes)
