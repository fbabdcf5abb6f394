"""The structure of the published architectures as text, the same for Keras's and Lamina's models.

`python -m tests.applications.structure` records that of Keras's: a digest and a few figures of
each. With names of models it prints where Lamina's differ instead.
"""

import difflib
import hashlib
import json
import math
import re
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

RECORD = Path(__file__).with_name("structure.json")
FAMILIES = {
    "convnext": "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge",
    "densenet": "DenseNet121 DenseNet169 DenseNet201",
    "efficientnet": " ".join(f"EfficientNetB{i}" for i in range(8)),
    "efficientnet_v2": " ".join(f"EfficientNetV2{k}" for k in ("B0", "B1", "B2", "B3", *"SML")),
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3": "MobileNetV3Small MobileNetV3Large",
    "nasnet": "NASNetMobile NASNetLarge",
    "resnet": "ResNet50 ResNet101 ResNet152",
    "resnet_v2": "ResNet50V2 ResNet101V2 ResNet152V2",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "xception": "Xception",
}
MODELS = {name: family for family, names in FAMILIES.items() for name in names.split()}
# What says the same in other words, or is of the moment.
_LEFT_OUT = {"data_format", "dtype", "name", "renorm_momentum", "seed"}


def _value(x):
    """An argument of a layer, without what names modules or dtypes."""
    if isinstance(x, dict) and "class_name" in x:
        record = [x["class_name"], _value(x["config"])]
        return ["Zeros", {}] if record == ["Constant", {"value": 0}] else record
    if isinstance(x, dict):
        shown = {k: _value(v) for k, v in sorted(x.items()) if k not in _LEFT_OUT}
        return {k: v for k, v in shown.items() if v is not None and v is not False}
    if isinstance(x, (list, tuple)):
        return [_value(v) for v in x]
    if isinstance(x, float):
        return int(x) if x.is_integer() else round(x, 9)
    return x


def _sources(x):
    """Names of the layers that the arguments of a call come from."""
    if isinstance(x, dict) and "keras_history" in x.get("config", {}):
        return [x["config"]["keras_history"][0]]
    if isinstance(x, dict):
        x = list(x.values())
    return [name for v in x for name in _sources(v)] if isinstance(x, (list, tuple)) else []


def _name(weight):
    """The last part of a weight's path; Keras gives one kind of weight no name."""
    return re.sub(r"^variable(_\d+)?$", "gamma", weight.path.split("/")[-1])


def lines(model):
    """One line for each layer: its name, arguments, inputs, weights and output."""
    found, layers = [], {layer.name: layer for layer in model.layers}
    for record in model.get_config()["layers"]:
        layer = layers.get(record["name"])  # None: an operation, such as a sum
        config = _value(record["config"])
        if "axis" in config and layer.output.ndim == 4:
            config["axis"] = [axis % 4 for axis in np.atleast_1d(config["axis"]).tolist()]
        if {1} in [set(config.get(key, [])) for key in ("kernel_size", "pool_size")]:
            del config["padding"]  # which makes no difference to a window of one pixel
        if record["class_name"] == "Sequential":
            config = [x for x in config["layers"] if x[0] != "InputLayer"]
        of_layer = [] if layer is None else [
            *(f"{_name(w)}{tuple(w.shape)}" for w in layer.weights), layer.output.shape
        ]  # fmt: skip
        found.append(
            f"{record['name']} {record['class_name']} <- {_sources(record['inbound_nodes'])} "
            f"{json.dumps(config, sort_keys=True)} {of_layer}"
        )
    return found


def summary(model):
    """What is recorded of a model."""
    text = "\n".join(lines(model))
    return {
        "name": model.name,
        "input": list(model.input.shape),
        "output": list(model.output.shape),
        "layers": len(model.layers),
        "parameters": sum(math.prod(w.shape) for w in model.weights),
        "digest": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def of_keras(name, /, **options):
    """Keras's model, whose weights have shapes but no values."""
    import keras
    from keras.src.backend.common import global_state

    keras.utils.clear_session()
    try:
        with keras.StatelessScope(initialize_variables=False):
            return getattr(keras.applications, name)(**{"weights": None, **options})
    finally:  # otherwise the next scope would give values to all of them
        global_state.set_global_attribute("uninitialized_variables", [])


def of_lamina(name, /, **options):
    """Lamina's model."""
    import lamina

    lamina.utils.clear_session(free_memory=False)
    return getattr(lamina.applications, name)(weights=None, **options)


def main():
    if names := sys.argv[1:]:
        for name in names:
            theirs, ours = lines(of_keras(name)), lines(of_lamina(name))
            print(name, "differs" if theirs != ours else "is the same")
            print(
                "\n".join(difflib.unified_diff(theirs, ours, "keras", "lamina", n=0, lineterm=""))
            )
        return
    record = {"keras": version("keras"), **{name: summary(of_keras(name)) for name in MODELS}}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
