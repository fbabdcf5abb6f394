"""NASNet: cells of separable convolutions, found by search, each of which reads the last two.

Zoph et al. 2017, "Learning Transferable Architectures for Scalable Image Recognition",
arXiv:1707.07012 (figure 4).

============ ==================== ================= ==========
Model        Normal cells a stack Features at the end Parameters
============ ==================== ================= ==========
NASNetMobile 4                    1056              5.3 M
NASNetLarge  6                    4032              88.9 M
============ ==================== ================= ==========
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lamina import layers
from lamina.applications import building
from lamina.applications.building import Family, Options, classify, concatenate, pad_before_stride
from lamina.applications.imagenet_utils import utilities
from lamina.errors import ArgumentError


class _Settings(NamedTuple):
    """Normal cells in each stack, features at the end, filters of the first convolution."""

    cells: int
    features: int
    stem: int
    skips_reduction: bool


def _normalize(x: Any, name: str) -> Any:
    return building.normalize(x, name, momentum=0.9997, epsilon=1e-3)


def _relu(x: Any, name: str | None = None) -> Any:
    return layers.Activation("relu", name=name)(x)


def _convolve(x: Any, filters: int, name: str) -> Any:
    return layers.Conv2D(filters, 1, padding="same", use_bias=False, name=name,
                         kernel_initializer="he_normal")(x)  # fmt: skip


def _separable(x: Any, filters: int, size: int, name: str, stride: int = 1) -> Any:
    """Twice: ReLU, separable convolution, batch normalization."""
    x, padding = _relu(x), "same"
    if stride == 2:
        x, padding = pad_before_stride(x, size, f"separable_conv_1_pad_{name}"), "valid"
    for i in (1, 2):
        if i == 2:
            x, stride, padding = _relu(x), 1, "same"
        x = layers.SeparableConv2D(
            filters=filters, kernel_size=size, strides=stride, padding=padding, use_bias=False,
            name=f"separable_conv_{i}_{name}",
        )(x)  # fmt: skip
        x = _normalize(x, f"separable_conv_{i}_bn_{name}")
    return x


def _average(x: Any, name: str) -> Any:
    return layers.AveragePooling2D(3, strides=1, padding="same", name=name)(x)


def _adjust(previous: Any, x: Any, filters: int, halves: bool, name: str) -> Any:
    """The output of the cell before the last, with the size and channels of the last."""
    if previous is None:
        return x
    if halves:
        previous = _relu(previous, f"adjust_relu_1_{name}")
        shifted = layers.ZeroPadding2D(((0, 1), (0, 1)))(previous)
        shifted = layers.Cropping2D(((1, 0), (1, 0)))(shifted)
        paths = [
            _convolve(layers.AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_{i}_{name}")(p),
                      filters // 2, f"adjust_conv_{i}_{name}")
            for i, p in enumerate((previous, shifted), 1)
        ]  # fmt: skip
        return _normalize(concatenate(paths), f"adjust_bn_{name}")
    if building.channels_of(previous) != filters:
        previous = _convolve(_relu(previous), filters, f"adjust_conv_projection_{name}")
        return _normalize(previous, f"adjust_bn_{name}")
    return previous


def _normal_cell(x: Any, p: Any, filters: int, name: str) -> Any:
    h = _normalize(_convolve(_relu(x), filters, f"normal_conv_1_{name}"), f"normal_bn_1_{name}")

    def add(i: int, a: Any, b: Any) -> Any:
        return layers.Add(name=f"normal_add_{i}_{name}")([a, b])

    def left(i: int) -> str:
        return f"normal_left{i}_{name}"

    def right(i: int) -> str:
        return f"normal_right{i}_{name}"

    parts = [
        add(1, _separable(h, filters, 5, left(1)), _separable(p, filters, 3, right(1))),
        add(2, _separable(p, filters, 5, left(2)), _separable(p, filters, 3, right(2))),
        add(3, _average(h, left(3)), p),
        add(4, _average(p, left(4)), _average(p, right(4))),
        add(5, _separable(h, filters, 3, left(5)), h),
    ]
    return concatenate([p, *parts], f"normal_concat_{name}")


def _reduction_cell(x: Any, p: Any, filters: int, name: str) -> Any:
    h = _convolve(_relu(x), filters, f"reduction_conv_1_{name}")
    h = _normalize(h, f"reduction_bn_1_{name}")
    padded = pad_before_stride(h, 3, f"reduction_pad_1_{name}")

    def branch(x: Any, size: int, side: str) -> Any:
        return _separable(x, filters, size, f"reduction_{side}_{name}", 2)

    def pool(kind: Any, side: str) -> Any:
        return kind(3, strides=2, name=f"reduction_{side}_{name}")(padded)

    def add(a: Any, b: Any, name: str | None) -> Any:
        return layers.Add(name=name)([a, b])

    x1 = add(branch(h, 5, "left1"), branch(p, 7, "right1"), f"reduction_add_1_{name}")
    x2 = add(pool(layers.MaxPooling2D, "left2"), branch(p, 7, "right2"),
             f"reduction_add_2_{name}")  # fmt: skip
    x3 = add(pool(layers.AveragePooling2D, "left3"), branch(p, 5, "right3"),
             f"reduction_add3_{name}")  # fmt: skip
    x4 = add(x2, _average(x1, f"reduction_left4_{name}"), None)
    x5 = add(_separable(x1, filters, 3, f"reduction_left4_{name}"),
             pool(layers.MaxPooling2D, "right5"), f"reduction_add4_{name}")  # fmt: skip
    return concatenate([x2, x3, x4, x5], f"reduction_concat_{name}")


def _network(x: Any, options: Options, settings: _Settings) -> Any:
    if None in x.shape[1:]:
        raise ArgumentError(
            "NASNet needs a known image size, because it joins paths that round sizes in different "
            f"ways. Received: images of {x.shape[1:]}. Pass `input_shape`, such as (224, 224, 3)."
        )
    x = layers.Conv2D(settings.stem, 3, strides=2, use_bias=False, name="stem_conv1",
                      kernel_initializer="he_normal")(x)  # fmt: skip
    x = _normalize(x, "stem_bn1")
    filters, count = settings.features // 24, settings.cells
    cells = [(True, filters // 4, "stem_1"), (True, filters // 2, "stem_2")]
    for stack in range(3):
        if stack:
            cells.append((True, filters << stack, f"reduce_{stack * count}"))
        names = range(first := stack * count + (stack > 0), first + count)
        cells += [(False, filters << stack, str(i)) for i in names]
    previous, halves = None, False
    for reduces, width, name in cells:
        p = _adjust(previous, x, width, halves, name)
        cell = _reduction_cell if reduces else _normal_cell
        new = cell(x, p, width, name)
        # After a reduction, the large model goes on with the cell before the last.
        keeps = reduces and settings.skips_reduction and not name.startswith("stem")
        previous, halves, x = previous if keeps else x, reduces, new
    return classify(_relu(x), options, top=None, is_named=False)


_FAMILY = Family(
    __doc__, _network, building.HOST + "nasnet/NASNet-{key}{top}.h5", "-no-top",
    "input_shape include_top weights input_tensor pooling classes classifier_activation name",
)  # fmt: skip
NASNetMobile = _FAMILY.function(
    "NASNetMobile", _Settings(4, 1056, 32, False), key="mobile", name="nasnet_mobile", digests=(
    "020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63"))  # fmt: skip
NASNetLarge = _FAMILY.function(
    "NASNetLarge", _Settings(6, 4032, 96, True), key="large", name="nasnet_large", size=331,
    digests=("11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5"))  # fmt: skip
preprocess_input, decode_predictions = utilities("tf")
