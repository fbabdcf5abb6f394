"""What the published image architectures have in common: arguments, input, top and weights.

A family is the function that builds its layers and the table of its published files; the public
functions, one for each variant, are made from both.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lamina import layers, settings
from lamina.core.graph import is_symbolic
from lamina.errors import ArgumentError, SignatureError
from lamina.models import Model
from lamina.utils.files import get_file

HOST = "https://storage.googleapis.com/tensorflow/keras-applications/"
KERNELS = "{key}_weights_tf_dim_ordering_tf_kernels{top}.h5"


@dataclasses.dataclass(frozen=True)
class Options:
    """The arguments of the public functions, each of which has some of them."""

    include_top: bool = True
    weights: Any = "imagenet"
    input_tensor: Any = None
    input_shape: Any = None
    pooling: str | None = None
    classes: int = 1000
    classifier_activation: Any = "softmax"
    name: str | None = None
    include_preprocessing: bool = True
    alpha: float = 1.0
    depth_multiplier: int = 1
    dropout: float = 0.001
    dropout_rate: float = 0.2
    minimalistic: bool = False


_TEXTS = {
    "include_top": "Whether the model has the classifier at the end.",
    "include_preprocessing": "Whether the model begins with the layers that scale pixels.",
    "weights": """None (random), ``"imagenet"`` (downloaded once, checked by its published digest),
            or the path of a weights file, as published or as written by ``save_weights``.""",
    "input_tensor": """Symbolic tensor to use instead of a new ``Input``; the inputs of the model
            are then those from which it is computed.""",
    "input_shape": "Shape of one image, at least {smallest} x {smallest}; {default}.",
    "pooling": """Without the top: None for the feature map, ``"avg"`` or ``"max"`` for global
            pooling.""",
    "classes": "Number of classes of the top.",
    "classifier_activation": "Activation of the top; None for logits.",
    "alpha": "Factor of the number of filters of all layers (the width multiplier).",
    "depth_multiplier": "Number of output channels of a depthwise convolution for each input.",
    "dropout": "Fraction of the features that the top drops during training.",
    "dropout_rate": "Fraction of the features that the top drops during training; 0 for none.",
    "minimalistic": """Whether to leave out squeeze-and-excite blocks, 5 x 5 kernels and hard swish,
            which some devices compute slowly.""",
    "name": "Name of the model{name}.",
}
COMMON = "include_top weights input_tensor input_shape pooling classes classifier_activation name"


@dataclasses.dataclass(frozen=True)
class Family:
    """What the variants of one architecture have in common.

    Args:
        text: Docstring of the module: what the architecture is, its paper, its variants.
        network: ``(x, options, settings) -> x`` adds the layers of a variant to ``x``.
        files: URL of the published files, with ``{key}`` and ``{top}`` to fill in.
        no_top: ``{top}`` of the files without the top.
        parameters: Names of the arguments of the functions, in Keras's order.
        smallest: Minimum height and width of images.
        sizes: The sizes that weights are published for, where a variant has several.
        needs_size: Whether the top needs a known size, which pretrained weights fix.
        published: ``(options, settings, size) -> (key, digests)`` of the published files with and
            without the top, where they depend on these. The digests are None if there are none.
        model_name: ``(options, size) -> name``, where the default depends on them.
    """

    text: str | None
    network: Callable[[Any, Options, Any], Any]
    files: str = HOST + KERNELS
    no_top: str = "_notop"
    parameters: str = COMMON
    smallest: int = 32
    sizes: tuple[int, ...] = ()
    needs_size: bool = True
    published: Callable[[Options, Any, int], tuple[str, tuple[str, str] | None]] | None = None
    model_name: Callable[[Options, int | None], str] | None = None

    def function(
        self, function: str, settings: Any = None, digests: tuple[str, str] | None = None, *,
        name: str | None = None, key: str | None = None, size: int = 224,
    ) -> Callable[..., Model]:  # fmt: skip
        """The public function of one variant.

        Args:
            function: Its name.
            settings: What ``network`` needs to know of the variant.
            digests: Digests of the published files with and without the top, unless ``published``
                gives them.
            name: Default name of the model; ``function`` in lower case if it is None, unless the
                family has a rule.
            key: Name of the variant in the names of the published files; ``name`` if it is None.
            size: Height and width of images by default.
        """
        if self.model_name is None:
            name = name or function.lower()
        values = dataclasses.asdict(Options(name=name))
        signature = inspect.Signature(
            [
                inspect.Parameter(p, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=values[p])
                for p in self.parameters.split()
            ],
            return_annotation=Model,
        )

        def build(*args: Any, **kwargs: Any) -> Model:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError as e:
                raise SignatureError(
                    f"{function}() was called with wrong arguments: {e}.",
                    expected=function + str(signature).partition(" -> ")[0],
                ) from None
            if given.get("name") is None:
                given["name"] = name
            return self._build(Options(**given), settings, digests, key or name, size)

        build.__name__ = build.__qualname__ = function
        build.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
        build.__doc__ = self._docstring(function, size, name)
        return build

    def _build(
        self, options: Options, settings: Any, digests: Any, key: str | None, size: int
    ) -> Model:
        pretrained = options.weights == "imagenet"
        _check(options)
        start, (height, width) = _image_input(options, self, size)
        if height == width and height in self.sizes:
            size = height
        name = options.name
        if name is None and self.model_name is not None:
            name = self.model_name(options, size if pretrained else height)
        weights = options.weights
        if pretrained:
            if self.published is not None:
                key, digests = self.published(options, settings, size)
            top, i = ("", 0) if options.include_top else (self.no_top, 1)
            weights = get_file(
                origin=self.files.format(key=key, top=top),
                file_hash=None if digests is None else digests[i],
                cache_subdir="models",
            )
        x = self.network(start, options, settings)
        model = Model(start, x, name=name)
        if weights is not None:
            model.load_weights(weights)
        sources = _sources_of(start)
        return model if sources is start else Model(sources, x, name=name)

    def _docstring(self, function: str, size: int, name: str | None) -> str:
        summary, _, rest = (self.text or "").strip().partition("\n\n")
        shown = size if self.needs_size else None
        default = f"{size} x {size} x 3 with the top" if self.needs_size else "unknown by default"
        values: Mapping[str, Any] = {
            "smallest": self.smallest,
            "default": default,
            "name": "" if name else "; by default it says the variant and the size of images",
        }
        arguments = "\n".join(
            f"        {p}: {_TEXTS[p].format_map(values)}" for p in self.parameters.split()
        )
        return f"""{function}: {summary.partition(": ")[2]}

    {rest.replace(chr(10), chr(10) + "    ").strip()}

    Args:
{arguments}

    Returns:
        A functional model. Preprocess images with this module's ``preprocess_input``.

    Raises:
        ArgumentError: A wrong shape, pooling, number of classes or file, or pretrained weights
            that are not published.
        StructureError: A file with other weights, such as those of a model without the top.
        DownloadError: The published file is neither cached nor reachable.

    >>> model = {function}(weights=None)
    >>> model.input_shape, model.output_shape
    ((None, {shown}, {shown}, 3), (None, 1000))
    """


def _check(options: Options) -> None:
    """Check the arguments that need no other knowledge."""
    weights, activation = options.weights, options.classifier_activation
    if options.pooling not in (None, "avg", "max"):
        raise ArgumentError(
            f"`pooling` must be None, 'avg' or 'max'. Received: {options.pooling!r}."
        )
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise ArgumentError(
            "`weights` must be None (random), 'imagenet', or the path of a weights file. "
            f"Received: {weights!r}, which does not exist."
        )
    if weights != "imagenet" or not options.include_top:
        return
    if options.classes != 1000:
        raise ArgumentError(
            "The published ImageNet weights have 1000 classes. "
            f"Received: classes={options.classes}. Use weights=None, or include_top=False."
        )
    if activation not in (None, "linear", "softmax"):
        raise ArgumentError(
            "The published ImageNet weights were trained with a softmax; `classifier_activation` "
            f"must be 'softmax', or None for logits. Received: {activation!r}."
        )


def _image_input(
    options: Options, family: Family, default: int
) -> tuple[Any, tuple[int | None, int | None]]:
    """The input tensor with a checked shape, and the height and width of images."""
    last = settings.image_data_format() == "channels_last"
    needs_size = options.include_top and family.needs_size
    tensor = options.input_tensor
    if tensor is not None:
        if not is_symbolic(tensor):
            raise ArgumentError(
                "`input_tensor` must be a symbolic tensor, such as `Input` returns. "
                f"Received an object of type {type(tensor).__name__}."
            )
        what, shape = "input_tensor", tensor.shape[1:]
        if options.input_shape is not None and tuple(options.input_shape) != tuple(shape):
            raise ArgumentError(
                "`input_shape` must be the shape of `input_tensor`, or None. "
                f"Received: {tuple(options.input_shape)}, and a tensor of {shape}."
            )
    elif options.input_shape is not None:
        what, shape = "input_shape", tuple(options.input_shape)
    else:
        size = default if needs_size else None
        what, shape = "input_shape", (size, size, 3) if last else (3, size, size)
    if len(shape) != 3:
        raise ArgumentError(
            f"`{what}` must have three dimensions for one image. Received: {shape}."
        )
    spatial, channels = (shape[:2], shape[2]) if last else (shape[1:], shape[0])
    smallest = family.smallest
    if any(s is not None and s < smallest for s in spatial):
        raise ArgumentError(
            f"Images must be at least {smallest}x{smallest} for this model. "
            f"Received: {what} of {shape}."
        )
    if needs_size and None in spatial:
        raise ArgumentError(
            "With include_top=True the shape of the images must be known. "
            f"Received: {what} of {shape}."
        )
    sizes = family.sizes or (default,)
    fits = not needs_size or (spatial[0] == spatial[1] and spatial[0] in sizes)
    if options.weights == "imagenet" and not (channels == 3 and fits):
        known = " or ".join(f"{s}x{s}" for s in sizes)
        wanted = f"{known} RGB images" if needs_size else "images of 3 channels"
        raise ArgumentError(
            f"The published ImageNet weights are for {wanted}. Received: {what} of {shape}. "
            "Use weights=None" + (", or include_top=False." if needs_size else ".")
        )
    return (layers.Input(shape=shape) if tensor is None else tensor), spatial


def _sources_of(x: Any) -> Any:
    """The inputs from which a symbolic tensor is computed: one tensor, or a list of them."""
    found, stack = [], [x]
    seen = set()
    while stack:
        x = stack.pop()
        if x.node in seen:
            continue
        seen.add(x.node)
        if not x.node.inputs:
            found.append(x)
        stack.extend(reversed(x.node.inputs))
    return found[0] if len(found) == 1 else found


# ---- layers that several families have -----------------------------------------------------------


def channel_axis() -> int:
    """The axis of the channels in the default layout of images."""
    return -1 if settings.image_data_format() == "channels_last" else 1


def channels_of(x: Any) -> int:
    """Number of channels of a feature map."""
    return x.shape[channel_axis()]


def normalize(x: Any, name: str | None = None, **options: Any) -> Any:
    """Batch normalization of the channels."""
    return layers.BatchNormalization(axis=channel_axis(), name=name, **options)(x)


def concatenate(tensors: list[Any], name: str | None = None) -> Any:
    """Feature maps of equal height and width, joined along their channels."""
    return layers.Concatenate(axis=channel_axis(), name=name)(tensors)


def pad_before_stride(x: Any, kernel_size: int, name: str) -> Any:
    """Padding for a convolution of stride 2 and padding "valid", as PyTorch and Caffe place it.

    Half of the kernel on each side, but one less before an even (or unknown) size.
    """
    half = kernel_size // 2
    height, width = x.shape[1:3] if channel_axis() == -1 else x.shape[2:4]
    before = [half - (size is None or size % 2 == 0) for size in (height, width)]
    return layers.ZeroPadding2D([(b, half) for b in before], name=name)(x)


def divisible(number: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``number``, at least 90 % of it.

    >>> [divisible(n) for n in (10, 11, 12, 33)]
    [16, 16, 16, 32]
    """
    rounded = max(divisor, int(number + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * number else rounded


def pool_globally(x: Any, kind: str | None, *, is_named: bool = False) -> Any:
    """The features of a model without the top: the feature map, or its average or maximum."""
    if kind == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool" if is_named else None)(x)
    if kind == "max":
        return layers.GlobalMaxPooling2D(name="max_pool" if is_named else None)(x)
    return x


def classify(
    x: Any, options: Options, *, top: str | None = "avg_pool", is_named: bool = True,
    dropout: float = 0.0, **dense: Any,
) -> Any:  # fmt: skip
    """Average over the image and one dense layer, or the features of a model without the top.

    Args:
        x: The last feature map.
        options: The arguments of the model.
        top: Name of the layer that pools under the dense layer.
        is_named: Whether the layer that pools without the top has its own name.
        dropout: Fraction of the features that are dropped before the dense layer.
        dense: Further arguments of that layer.
    """
    if not options.include_top:
        return pool_globally(x, options.pooling, is_named=is_named)
    x = layers.GlobalAveragePooling2D(name=top)(x)
    if dropout:
        x = layers.Dropout(dropout, name="top_dropout")(x)
    return layers.Dense(options.classes, activation=options.classifier_activation,
                        name="predictions", **dense)(x)  # fmt: skip
