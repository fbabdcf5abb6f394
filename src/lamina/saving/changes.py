"""The kinds of changes of which the table of old configs and arrays consists.

A change of configs takes an :class:`Old` record and changes it in place; a change of arrays returns
new ones. :mod:`lamina.saving.migration` says what is changed where.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lamina.errors import SerializationError


@dataclasses.dataclass
class Old:
    """A record of an old config while the rows change it.

    Attributes:
        name: Name of the class.
        config: Its config.
        where: What it is, for messages.
        call: Arguments that every call of the layer gets.
        given: The user's own classes and functions by name.
        ordering: ``dim_ordering`` of the other layers of the model, if it is the same in all.
        notes: What a user should know about the change; shown in a warning.
    """

    name: str
    config: dict[str, Any]
    where: str
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ordering: str | None = None
    call: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def refuse(self, why: str, cure: str = "") -> SerializationError:
        """The error about something that cannot be converted."""
        return SerializationError(f"{self.where}: {why}", cure=cure)


Change = Callable[[Old], None]


# ---- kinds of changes ----------------------------------------------------------------------------


def renamed(**names: str) -> Change:
    """Rename arguments."""

    def change(old: Old) -> None:
        for before, after in names.items():
            if before in old.config:
                value = old.config.pop(before)
                old.config.setdefault(after, value)

    return change


def dropped(**allowed: Any) -> Change:
    """Remove arguments that are gone, where they have one of the values that mean nothing today.

    Args:
        **allowed: For each argument a tuple of such values; Ellipsis allows any value.
    """

    def change(old: Old) -> None:
        for name, neutral in allowed.items():
            if name in old.config:
                value = old.config.pop(name)
                if neutral is not ... and value not in neutral:
                    raise old.refuse(
                        f"`{name}={value!r}` has no counterpart today.",
                        "Write a layer that does the same, and pass it by the name of the old "
                        f"class: `custom_objects={{{old.name!r}: ...}}`.",
                    )

    return change


def became(name: str, **arguments: Any) -> Change:
    """Another class; ``arguments`` are set unless the config has them."""

    def change(old: Old) -> None:
        old.name = name
        for key, value in arguments.items():
            old.config.setdefault(key, value)

    return change


def default(**arguments: Any) -> Change:
    """Set arguments that the config lacks, whose default is another one today."""

    def change(old: Old) -> None:
        for key, value in arguments.items():
            old.config.setdefault(key, value)

    return change


def value(*names: str, become: Mapping[Any, Any]) -> Change:
    """Other words for the values of arguments."""

    def change(old: Old) -> None:
        for name in names:
            value = old.config.get(name)
            if isinstance(value, str) and value in become:
                old.config[name] = become[value]

    return change


def refused(why: str) -> Change:
    """An error that says why there is nothing to convert to."""

    def change(old: Old) -> None:
        raise old.refuse(
            f"{old.name} {why}",
            "Write a layer that does the same, and pass it: "
            f"`custom_objects={{{old.name!r}: ...}}`.",
        )

    return change


def sizes(target: str, *names: str) -> Change:
    """One tuple instead of several arguments."""

    def change(old: Old) -> None:
        if all(name in old.config for name in names):
            old.config[target] = [old.config.pop(name) for name in names]

    return change


# ---- changes of one kind of layer ----------------------------------------------------------------


def flat_list(old: Old) -> None:
    """One axis instead of a list of one."""
    axis = old.config.get("axis")
    if isinstance(axis, (list, tuple)) and len(axis) == 1:
        old.config["axis"] = axis[0]


def ordering_of_others(old: Old) -> None:
    """The order of axes of layers that did not write it."""
    if old.ordering is not None:
        old.config.setdefault("dim_ordering", old.ordering)


def padding_of_sides(old: Old) -> None:
    """Padding of four sides, in a list or by name, as pairs."""
    padding = old.config.get("padding")
    if isinstance(padding, Mapping):
        sides = ("top_pad", "bottom_pad", "left_pad", "right_pad")
        padding = [padding.get(side, 0) for side in sides]
    if isinstance(padding, (list, tuple)) and len(padding) == 4:
        old.config["padding"] = [list(padding[:2]), list(padding[2:])]


_MERGES = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "min": "Minimum",
    "concat": "Concatenate", "dot": "Dot",
}  # fmt: skip


def merge(old: Old) -> None:
    """The layer that merges as ``mode`` says."""
    config = old.config
    mode = config.get("mode")
    if mode not in _MERGES:
        raise old.refuse(f"Merge with mode={str(mode)[:40]!r} has no counterpart today.")
    old.name = _MERGES[mode]
    kept = {k: config[k] for k in ("name", "trainable") if k in config}
    if mode == "concat":
        kept["axis"] = config.get("concat_axis", -1)
    elif mode == "dot":
        kept["axes"] = config.get("dot_axes", -1)
    old.config = kept


def normalization_mode(old: Old) -> None:
    """Mode 0 is what the layer does today; mode 2 used the statistics of each batch, always."""
    mode = old.config.pop("mode", 0)
    if mode == 2:
        old.call["training"] = True
    elif mode != 0:
        raise old.refuse(
            f"BatchNormalization with mode={mode!r} normalized each sample, which no layer of "
            "today does in the same way.",
            "Pass a layer of yours: `custom_objects={'BatchNormalization': ...}`.",
        )


def forget_bias(old: Old) -> None:
    """Whether the bias of the forget gate starts with one."""
    initial = old.config.pop("forget_bias_init", None)
    if initial is not None:
        old.config["unit_forget_bias"] = initial in ("one", "ones")


def transformed(old: Old) -> None:
    """The output shape that a transposed convolution declared follows from its other arguments."""
    old.config.pop("output_shape", None)


def named_function(old: Old) -> None:
    """Shapes are found by running the function; how files name it says whether it is code."""
    if old.config.pop("output_shape_type", "raw") != "raw":
        old.config.pop("output_shape", None)
    function = old.config.get("function")
    if isinstance(function, str):
        old.config["function"] = {
            "module": "builtins", "class_name": "function", "config": function,
            "registered_name": function,
        }  # fmt: skip


def hard_sigmoid(old: Old) -> None:
    """Tell of the function whose formula changed."""
    for name in ("activation", "recurrent_activation"):
        if old.config.get(name) == "hard_sigmoid" and "hard_sigmoid" not in old.given:
            old.notes.append(
                f"{old.where}: `{name}='hard_sigmoid'` was clip(0.2 x + 0.5, 0, 1) when the file "
                "was written and is clip(x / 6 + 0.5, 0, 1) since Keras 3, which is used, as Keras "
                "does. For the outputs of then, pass `custom_objects={'hard_sigmoid': lambda x: "
                "lamina.ops.clip(0.2 * x + 0.5, 0, 1)}`."
            )


def unpackaged(old: Old) -> None:
    """The name of a class without its package."""
    old.name = old.name.partition(">")[2]


def decay(old: Old) -> None:
    """The rate was divided by ``1 + decay * iterations``."""
    decay, rate = old.config.pop("decay", 0), old.config.get("learning_rate", 0.01)
    if decay and isinstance(rate, (int, float)):
        config = {"initial_learning_rate": rate, "decay_steps": 1, "decay_rate": decay}
        old.config["learning_rate"] = {"class_name": "InverseTimeDecay", "config": config}
    elif decay:
        raise old.refuse("`decay` together with a schedule has no counterpart today.")


def accuracy_by_name(old: Old) -> None:
    """A metric that wraps a function is written with the function's name."""
    if isinstance(old.config.get("fn"), Mapping):
        old.config["fn"] = old.config["fn"].get("config")


def other_direction(old: Old) -> None:
    """The copy of a layer that goes backwards went forwards; today a copy always goes backwards."""
    layer = old.config.get("layer")
    config = layer.get("config") if isinstance(layer, Mapping) else None
    if (
        isinstance(layer, Mapping)
        and config
        and config.get("go_backwards")
        and not old.config.get("backward_layer")
    ):
        turned = {**config, "name": f"backward_{config.get('name')}", "go_backwards": False}
        old.config["backward_layer"] = {**layer, "config": turned}


# ---- changes of arrays ---------------------------------------------------------------------------


def joined(order: tuple[int, ...]) -> Callable[[list[np.ndarray], Any], list[np.ndarray]]:
    """Join the kernels, recurrent kernels and biases of gates, stored gate by gate."""

    def change(arrays: list[np.ndarray], config: Mapping[str, Any]) -> list[np.ndarray]:
        if arrays[0].ndim == 4 and config.get("data_format") == "channels_first":
            arrays = [a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for a in arrays]
        return [np.concatenate([arrays[3 * i + k] for i in order], -1) for k in range(3)]

    return change


def first(change: Callable[[np.ndarray], np.ndarray], count: int = 1) -> Any:
    """Change the kernels, which come first."""
    return lambda arrays, _: [*(change(a) for a in arrays[:count]), *arrays[count:]]


def kernel_1d(arrays: list[np.ndarray], config: Mapping[str, Any]) -> list[np.ndarray]:
    """Kernels of one spatial axis that had a second one of size 1."""
    kernel = arrays[0]
    if kernel.shape[1] != 1 or kernel.shape[3] != config["filters"]:  # (filters, in, length, 1)
        kernel = kernel.transpose(2, 3, 1, 0)
    return [kernel[:, 0], *arrays[1:]]


def transposed_kernel(arrays: list[np.ndarray], config: Mapping[str, Any]) -> list[np.ndarray]:
    """Swap the axes of inputs and outputs."""
    first = config.get("data_format") == "channels_first"
    return [arrays[0].transpose((2, 3, 0, 1) if first else (0, 1, 3, 2)), *arrays[1:]]


def flipped(arrays: list[np.ndarray], _: Any) -> list[np.ndarray]:
    """Kernels that were applied as in a convolution, not as in a correlation."""

    def flip(x: np.ndarray) -> np.ndarray:
        return x[tuple(slice(None, None, -1) for _ in range(x.ndim - 2))] if x.ndim > 2 else x

    return list(map(flip, arrays))


def from_cudnn(gates: int) -> Callable[[list[np.ndarray], Any], list[np.ndarray]]:
    """Each gate's kernel is stored transposed, and biases are those of inputs and of states."""

    def change(arrays: list[np.ndarray], _: Any) -> list[np.ndarray]:
        kernel, recurrent, bias = arrays
        inputs = [k.T.reshape(k.shape, order="F") for k in np.split(kernel, gates, 1)]
        states = [k.T for k in np.split(recurrent, gates, 1)]
        both = bias.reshape(2, -1)
        return [
            np.concatenate(inputs, 1), np.concatenate(states, 1),
            both.sum(0) if gates == 4 else both,
        ]  # fmt: skip

    return change


def is_first(config: Mapping[str, Any]) -> bool:
    """Whether channels come first."""
    return config.get("data_format") == "channels_first"
