"""The optimizer's state in files."""

from __future__ import annotations

from typing import Any

from lamina.core.boundary import warn
from lamina.core.variable import Variable
from lamina.errors import CorruptFileError, SavingWarning
from lamina.layers.state import saved_addresses
from lamina.saving.weights import Places, Stored, fill


def variables_of(optimizer: Any) -> dict[str, Variable]:
    """The optimizer's variables, by their names in a file."""
    return {f"optimizer/vars/{i}": v for i, v in enumerate(optimizer.variables)}


def addresses_of(model: Any) -> list[str]:
    """The addresses of the weights that the optimizer has a state for, in its order."""
    known = {v: address for address, v in saved_addresses(model).items()}
    return [known[v] for v in model.optimizer.parameters if v in known]


def read(stored: Stored, model: Any, optimized: Any) -> None:
    """Give the optimizer its state; where the file's is another one's, none."""
    count = sum(n.startswith("optimizer/vars/") for n in stored.names())
    if not count:
        return
    named = {address: v for address, (v, trains) in model.named_variables().items() if trains}
    known = saved_addresses(model)
    if isinstance(optimized, list) and all(isinstance(a, str) and a in known for a in optimized):
        named = {a: known[a] for a in optimized}
    model.optimizer.build(named)
    variables = variables_of(model.optimizer)
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
