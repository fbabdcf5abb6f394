from lamina import layers
from tests.cases import Case

IMAGES = [((2, 8, 9, 3), "float32")]
PIXELS = [((2, 8, 9, 3), "uint8")]
FIRST = {"data_format": "channels_first"}


def case(name, cls, inputs=IMAGES, unknown_axes=(1, 2), **kwargs):
    return Case(name, cls, kwargs, inputs, unknown_axes=unknown_axes)


def in_dict(layer, images, masks, labels, **kwargs):
    data = {"images": images, "segmentation_masks": masks, "labels": labels}
    return list(layer(data, **kwargs).values())


CASES = [
    # What is the same in training and otherwise, and is compared with Keras.
    case("resizing", layers.Resizing, height=5, width=12),
    case("resizing_nearest", layers.Resizing, height=12, width=5, interpolation="nearest"),
    case("resizing_bicubic", layers.Resizing, height=5, width=12, interpolation="bicubic"),
    case("resizing_lanczos3", layers.Resizing, height=5, width=12, interpolation="lanczos3"),
    case("resizing_lanczos5", layers.Resizing, height=12, width=5, interpolation="lanczos5"),
    case("resizing_antialias", layers.Resizing, height=3, width=4, antialias=True),
    case("resizing_antialias_bicubic", layers.Resizing, height=3, width=12, antialias=True,
         interpolation="bicubic"),
    case("resizing_cropped", layers.Resizing, height=4, width=8, crop_to_aspect_ratio=True),
    case("resizing_padded", layers.Resizing, height=4, width=8, pad_to_aspect_ratio=True,
         fill_value=7.0),
    case("resizing_channels_first", layers.Resizing, [((2, 3, 8, 9), "float32")], (2, 3), height=5,
         width=12, **FIRST),
    case("resizing_pixels", layers.Resizing, PIXELS, height=5, width=12),
    case("center_crop", layers.CenterCrop, height=5, width=4),
    case("center_crop_enlarged", layers.CenterCrop, height=5, width=12),
    case("center_crop_channels_first", layers.CenterCrop, [((2, 3, 8, 9), "float32")], (2, 3),
         height=3, width=4, **FIRST),
    case("auto_contrast", layers.AutoContrast, PIXELS),
    case("auto_contrast_range", layers.AutoContrast, value_range=(-3, 3)),
    case("clahe", layers.ContrastLimitedAdaptiveHistogramEqualization, PIXELS),
    case("clahe_tiles", layers.ContrastLimitedAdaptiveHistogramEqualization,
         [((2, 8, 9, 3), "float32")], value_range=(-3, 3), tile_grid_size=(2, 3), clip_limit=2.0),
    # What is random in training.
    case("random_flip", layers.RandomFlip),
    case("random_rotation", layers.RandomRotation, factor=0.2),
    case("random_translation", layers.RandomTranslation, height_factor=0.2, width_factor=(0, 0.3)),
    case("random_zoom", layers.RandomZoom, height_factor=0.2, seed=3),
    case("random_shear", layers.RandomShear, x_factor=0.2, y_factor=0.3),
    case("random_perspective", layers.RandomPerspective, factor=0.5),
    case("random_elastic", layers.RandomElasticTransform),
    case("random_crop", layers.RandomCrop, height=5, width=4),
    case("random_brightness", layers.RandomBrightness, factor=0.2),
    case("random_contrast", layers.RandomContrast, factor=(0.2, 0.4)),
    case("random_color_degeneration", layers.RandomColorDegeneration, factor=0.4),
    case("random_color_jitter", layers.RandomColorJitter, brightness_factor=0.2, hue_factor=0.1),
    case("random_hue", layers.RandomHue, factor=0.2),
    case("random_saturation", layers.RandomSaturation, factor=(0.3, 0.8)),
    case("random_sharpness", layers.RandomSharpness, factor=0.7),
    case("random_posterization", layers.RandomPosterization, factor=4),
    case("random_invert", layers.RandomInvert, factor=0.5),
    case("random_grayscale", layers.RandomGrayscale),
    case("random_gaussian_blur", layers.RandomGaussianBlur, kernel_size=(3, 5)),
    case("random_erasing", layers.RandomErasing, fill_value=0),
    case("solarization", layers.Solarization, threshold_factor=0.5),
    case("equalization", layers.Equalization),
    case("mix_up", layers.MixUp),
    case("cut_mix", layers.CutMix),
    case("rand_augment", layers.RandAugment),
    case("aug_mix", layers.AugMix, num_chains=2, chain_depth=2),
    Case("max_num_bounding_boxes", layers.MaxNumBoundingBoxes, {"max_number": 4}, IMAGES,
         unknown_axes=(1, 2)),
    # With what belongs to the images.
    Case("random_flip_of_dicts", layers.RandomFlip, {"mode": "horizontal"},
         [*IMAGES, ((2, 8, 9, 1), "int32"), ((2, 4), "float32")], call=in_dict),
]  # fmt: skip
