from lamina import layers
from tests.cases.layers_convolution import CUBE, LINE, PLANE, case

CASES = [
    case("up1d", layers.UpSampling1D, LINE, (1,), size=3),
    case("up2d", layers.UpSampling2D, PLANE, (1, 2), size=(2, 3)),
    case("up2d_bilinear", layers.UpSampling2D, PLANE, (), size=2, interpolation="bilinear"),
    case("up2d_bicubic", layers.UpSampling2D, PLANE, (), size=2, interpolation="bicubic"),
    case("up3d", layers.UpSampling3D, CUBE, (1,)),
    case("pad1d", layers.ZeroPadding1D, LINE, (1,), padding=(1, 2)),
    case("pad2d", layers.ZeroPadding2D, PLANE, (1, 2), padding=((1, 0), (2, 3))),
    case("pad2d_channels_first", layers.ZeroPadding2D, (2, 4, 8, 9), (2, 3), padding=(1, 2),
         data_format="channels_first"),
    case("pad3d", layers.ZeroPadding3D, CUBE, (1,), padding=1),
    case("crop1d", layers.Cropping1D, LINE, (1,), cropping=(1, 2)),
    case("crop2d", layers.Cropping2D, PLANE, (1, 2), cropping=((1, 0), (2, 3))),
    case("crop3d", layers.Cropping3D, CUBE, (1,), cropping=1),
]  # fmt: skip
