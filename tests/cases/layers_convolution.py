from lamina import layers
from tests.cases import Case

LINE, PLANE, CUBE = (2, 9, 4), (2, 8, 9, 4), (2, 5, 6, 7, 2)
FLOAT = "float32"


def case(name, cls, shape, open_axes=(), **kwargs):
    return Case(name, cls, kwargs, [(shape, FLOAT)], unknown_axes=open_axes)


CASES = [
    case("conv1d", layers.Conv1D, LINE, (1,), filters=5, kernel_size=3),
    case("conv1d_causal", layers.Conv1D, LINE, (1,), filters=5, kernel_size=3, padding="causal",
         dilation_rate=2),
    case("conv1d_same_strided", layers.Conv1D, LINE, (1,), filters=5, kernel_size=4, strides=2,
         padding="same", activation="relu"),
    case("conv2d", layers.Conv2D, PLANE, (1, 2), filters=5, kernel_size=3, activation="tanh"),
    case("conv2d_one_channel", layers.Conv2D, (2, 8, 8, 1), (1, 2), filters=5, kernel_size=3),
    case("conv2d_same", layers.Conv2D, PLANE, (1, 2), filters=5, kernel_size=(3, 2),
         padding="same", use_bias=False),
    case("conv2d_strided", layers.Conv2D, PLANE, (1, 2), filters=5, kernel_size=3, strides=(2, 1),
         padding="same"),
    case("conv2d_dilated", layers.Conv2D, PLANE, (1, 2), filters=5, kernel_size=3,
         dilation_rate=2),
    case("conv2d_groups", layers.Conv2D, PLANE, (1, 2), filters=6, kernel_size=3, groups=2),
    case("conv2d_channels_first", layers.Conv2D, (2, 4, 8, 9), (2, 3), filters=5, kernel_size=3,
         data_format="channels_first"),
    case("conv3d", layers.Conv3D, CUBE, (1, 2, 3), filters=3, kernel_size=(2, 3, 3)),
    case("conv3d_same", layers.Conv3D, CUBE, (1,), filters=3, kernel_size=3, strides=2,
         padding="same"),
    case("conv1d_transpose", layers.Conv1DTranspose, LINE, (1,), filters=5, kernel_size=3),
    case("conv2d_transpose", layers.Conv2DTranspose, PLANE, (1, 2), filters=5, kernel_size=3),
    case("conv2d_transpose_same", layers.Conv2DTranspose, PLANE, (1, 2), filters=5,
         kernel_size=3, strides=2, padding="same"),
    case("conv2d_transpose_strided", layers.Conv2DTranspose, PLANE, (1, 2), filters=5,
         kernel_size=(4, 3), strides=2),
    case("conv2d_transpose_padded", layers.Conv2DTranspose, PLANE, (1, 2), filters=5,
         kernel_size=3, strides=2, padding="same", output_padding=1),
    case("conv2d_transpose_dilated", layers.Conv2DTranspose, PLANE, (1, 2), filters=5,
         kernel_size=3, dilation_rate=2),
    case("conv3d_transpose", layers.Conv3DTranspose, CUBE, (1,), filters=3, kernel_size=2,
         strides=2),
    case("depthwise1d", layers.DepthwiseConv1D, LINE, (1,), kernel_size=3),
    case("depthwise2d", layers.DepthwiseConv2D, PLANE, (1, 2), kernel_size=3, padding="same"),
    case("depthwise2d_multiplied", layers.DepthwiseConv2D, PLANE, (1, 2), kernel_size=3,
         depth_multiplier=2, strides=2),
    case("separable1d", layers.SeparableConv1D, LINE, (1,), filters=5, kernel_size=3),
    case("separable2d", layers.SeparableConv2D, PLANE, (1, 2), filters=5, kernel_size=3,
         depth_multiplier=2, activation="relu"),
]  # fmt: skip
