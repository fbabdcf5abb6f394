"""The optimizer's state and the arguments of ``compile`` in files."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lamina.core.boundary import warn
from lamina.core.sharding import slot_layouts
from lamina.core.variable import Variable
from lamina.errors import CorruptFileError, LaminaError, SavingWarning, SerializationError
from lamina.layers.state import saved_addresses
from lamina.saving.weights import Places, Stored, fill, optimizer_variables
from lamina.serialization import registry


def variables_of(optimizer: Any) -> dict[str, Variable]:
    """The optimizer's variables, by their names in a file."""
    return optimizer_variables(optimizer, "optimizer/")


def addresses_of(model: Any) -> list[str]:
    """The addresses of the weights that the optimizer has a state for, in its order."""
    known = {v: address for address, v in saved_addresses(model).items()}
    return [known[v] for v in model.optimizer.parameters if v in known]


def parameters_of(model: Any, optimized: Any = None) -> dict[str, Variable]:
    """The weights that the optimizer of a file has a state for, by address.

    Args:
        model: The model.
        optimized: Their addresses, if the file says so; else those that train now.
    """
    known = saved_addresses(model)
    if isinstance(optimized, list) and all(isinstance(a, str) and a in known for a in optimized):
        return {a: known[a] for a in optimized}
    return {address: v for address, (v, trains) in model.named_variables().items() if trains}


def read(stored: Stored, model: Any, optimized: Any) -> None:
    """Give the optimizer its state; where the file's is another one's, none."""
    count = sum(n.startswith("optimizer/vars/") for n in stored.names())
    if not count or not model.built:
        return
    weights = parameters_of(model, optimized)
    model.optimizer.build(weights)
    state = model.optimizer.state_variables
    by = model.distributed_by
    on_host = by is not None and by.offload_optimizer
    for key, layout in slot_layouts(state, weights, on_host).items():
        state[key].lay_out(layout)
    variables = {
        n: v for n, v in variables_of(model.optimizer).items() if n.startswith("optimizer/vars/")
    }
    shapes = {n: stored.shape(n) for n in variables}
    if count != len(variables) or any(shapes[n] != v.shape for n, v in variables.items()):
        warn(
            f"{stored.where} contains {count} arrays of an optimizer's state, which do not match "
            f"the {len(variables)} of {type(model.optimizer).__name__}. Its state is reset. Were "
            "layers frozen or unfrozen between training and saving?",
            SavingWarning,
        )
        return
    fill(stored, Places.of(variables), error=CorruptFileError, way_out="", whole=False)


def _lost(model: Any, config: Mapping[str, Any]) -> list[str]:
    """The arguments of a user's ``compile`` that the file lacks."""
    own = registry.defined_by_user
    if not own(type(model), "compile") or own(type(model), "compile_from_config"):
        return []
    variadic = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    parameters = inspect.signature(model.compile).parameters
    return [k for k, p in parameters.items() if p.kind not in variadic and k not in config]


def compile_with(model: Any, settings: Any, custom_objects: Any, where: str) -> None:
    """Compile a model with the arguments in a file.

    Args:
        model: The model.
        settings: The arguments of ``compile``, as data.
        custom_objects: Your own classes and functions by name.
        where: The file, for messages.

    Raises:
        CorruptFileError: They are not a dict.
        SerializationError: They cannot be deserialized.

    Warns:
        SavingWarning: The model has a ``compile`` with arguments that the file lacks. The model is
            not compiled.
    """
    if not isinstance(settings, Mapping):
        raise CorruptFileError(f"{where}: the arguments of `compile` are not a dict: {settings!r}.")
    try:
        with registry.CustomObjectScope(custom_objects or {}):
            config = registry.deserialize(settings, custom_objects)
            if lost := _lost(model, config):
                warn(
                    f"The model in {where} is not compiled: {type(model).__name__}.compile takes "
                    f"{lost}, which the file does not contain. Call `compile` again, or give the "
                    "class `get_compile_config` and `compile_from_config`.",
                    SavingWarning,
                )
                return
            model.compile_from_config(config)
    except LaminaError as e:
        raise SerializationError(
            f"{where} contains arguments of `compile` that cannot be deserialized: {e}",
            cure="Pass `compile=False` to load the model without them.",
        ) from e
