from lamina import layers
from tests.cases import Case

ROWS = [((4, 6, 3), "float32")]
IMAGES = [((2, 5, 4, 6), "float32")]
DENSE = {
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {"units": 4},
    "registered_name": None,
}

CASES = [
    Case("batch_norm", layers.BatchNormalization, {}, ROWS, unknown_axes=(1,)),
    Case("batch_norm_rank_2", layers.BatchNormalization, {"momentum": 0.5, "epsilon": 1e-2},
         [((7, 3), "float32")]),
    Case("batch_norm_images", layers.BatchNormalization, {"axis": 1}, IMAGES, unknown_axes=(2, 3)),
    Case("batch_norm_renorm", layers.BatchNormalization,
         {"renorm": True, "renorm_clipping": {"rmax": 1.5}}, ROWS, unknown_axes=(1,)),
    Case("batch_norm_plain", layers.BatchNormalization, {"center": False, "scale": False}, ROWS,
         unknown_axes=(1,)),
    Case("batch_norm_penalized", layers.BatchNormalization,
         {"gamma_regularizer": "l2", "beta_constraint": "non_neg", "beta_initializer": "ones"},
         ROWS),
    Case("batch_norm_integers", layers.BatchNormalization, {}, [((4, 3), "int32")]),
    Case("layer_norm", layers.LayerNormalization, {}, ROWS, unknown_axes=(1,)),
    Case("layer_norm_axes", layers.LayerNormalization, {"axis": [1, 2]}, ROWS),
    Case("layer_norm_axes_from_behind", layers.LayerNormalization, {"axis": (-1, -2)}, ROWS),
    Case("layer_norm_middle", layers.LayerNormalization, {"axis": 1, "epsilon": 1e-2}, IMAGES,
         unknown_axes=(2, 3)),
    Case("layer_norm_plain", layers.LayerNormalization, {"center": False, "scale": False}, ROWS),
    Case("layer_norm_rms_scaling", layers.LayerNormalization, {"rms_scaling": True}, ROWS),
    Case("group_norm", layers.GroupNormalization, {"groups": 3}, IMAGES, unknown_axes=(1, 2)),
    Case("group_norm_rank_2", layers.GroupNormalization, {"groups": 2}, [((4, 6), "float32")]),
    Case("group_norm_first", layers.GroupNormalization, {"groups": 5, "axis": 1}, IMAGES,
         unknown_axes=(2,)),
    Case("group_norm_instance", layers.GroupNormalization, {"groups": -1, "scale": False}, IMAGES),
    Case("rms_norm", layers.RMSNormalization, {}, ROWS, unknown_axes=(1,)),
    Case("rms_norm_axes", layers.RMSNormalization, {"axis": [1, 2], "epsilon": 1e-2}, ROWS),
    Case("unit_norm", layers.UnitNormalization, {}, ROWS, unknown_axes=(1,)),
    Case("unit_norm_axes", layers.UnitNormalization, {"axis": [1, 2]}, ROWS, unknown_axes=(1, 2)),
    Case("spectral_norm", layers.SpectralNormalization, {"layer": DENSE, "power_iterations": 2},
         [((3, 5), "float32")]),
]  # fmt: skip
