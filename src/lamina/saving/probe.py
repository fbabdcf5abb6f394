"""A probe: inputs, and the outputs that a model had for them when it was saved.

Equal weights do not make equal outputs if the code of a custom layer was changed, or if a layer
computes something else in another version or on another machine. So the outputs are computed again
when the model is loaded, if that costs no more than the budget of the load allows.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lamina.core import prng
from lamina.core.boundary import warn
from lamina.core.scope import Scope, entered
from lamina.dtype_policies.dtypes import is_float
from lamina.errors import ArgumentError, CorruptFileError, SavingWarning
from lamina.runtime import budget, cost
from lamina.runtime.files import Window
from lamina.saving import safetensors
from lamina.saving.json_values import decode, encode
from lamina.saving.members import PROBE, Members
from lamina.tree import nested

# The largest difference, as a part of the largest output: other machines sum in another order.
_TOLERANCE, _OF_SHORT_FLOATS = 1e-3, 0.05
# Compiling takes about as long for one operation of a program as computing that many.
_TO_COMPILE = 10**7
_PER_SECOND = 5e9  # on a slow machine


def write_probe(model: Any, inputs: Any, path: Path) -> Any:
    """Write inputs and the model's outputs for them.

    Args:
        model: A built model.
        inputs: A batch, as ``predict_on_batch`` takes it.
        path: The file of safetensors to write.

    Returns:
        The structure of the inputs, as JSON has it.
    """
    arrays: dict[str, np.ndarray] = {}
    inputs = nested.map_structure(np.asarray, inputs)
    if any(x.dtype.kind not in "biufV" for x in nested.flatten(inputs)):
        raise ArgumentError("A probe consists of numbers.", received=str(inputs)[:200])
    try:
        jax.eval_shape(*_program(model, inputs))
    except Exception as e:
        raise ArgumentError(
            f"A probe is a batch that {model.name!r} takes, and a model with one can be traced "
            f"as a whole, without layers that run on the host. {e}"
        ) from e
    structure = encode(inputs, arrays, "inputs")
    arrays |= {f"outputs/{i}": x for i, x in enumerate(_outputs(model, inputs))}
    safetensors.write(path, arrays)
    return structure


def check_probe(model: Any, structure: Any, members: Members) -> None:
    """Compare the outputs of a loaded model with those in its file.

    Args:
        model: The model.
        structure: What :func:`write_probe` returned.
        members: The file.

    Raises:
        CorruptFileError: They differ by more than rounding.

    Warns:
        SavingWarning: Computing them costs more than the budget allows; they were not compared.
    """
    if not budget.allows("probe_operations", 1):
        return
    where = f"{members.where}: {PROBE}"
    with safetensors.File(Window(io.BytesIO(members.read(PROBE)), where), where) as stored:
        arrays = {name: stored.read(name) for name in stored.names()}
    inputs = decode(structure, arrays)
    program = _program(model, inputs)
    expected = [x for name, x in sorted(arrays.items(), key=lambda e: (len(e[0]), e[0]))
                if name.startswith("outputs/")]  # fmt: skip
    shapes = [x.shape for x in jax.eval_shape(*program)]
    if shapes != [x.shape for x in expected]:
        raise _differs(members, f"shapes {[x.shape for x in expected]}", f"shapes {shapes}")
    operations, size, equations = cost.total(*program)
    operations += _TO_COMPILE * equations
    if not budget.allows("probe_operations", operations):
        warn(
            f"{members.where}: the outputs for the probe were not compared, which needs about "
            f"{operations:.2g} operations. Pass `budget=lamina.saving.Budget(probe_operations="
            f"{2 * operations:.0e})` to compare them, or 0 for no warning.", SavingWarning,
        )  # fmt: skip
        return
    budget.charge(allocated=size)
    budget.extend(operations / _PER_SECOND)
    for i, (a, b) in enumerate(zip(expected, _outputs(model, inputs), strict=True)):
        allowed, largest = _difference(a, b)
        if not largest <= allowed:
            raise _differs(members, f"a difference of at most {allowed:.3g}",
                           f"{largest:.3g} in output {i}, of shape {a.shape}")  # fmt: skip


def _program(model: Any, inputs: Any) -> tuple[Any, Any]:
    """The model as a pure function with a list of outputs, and the specs of the inputs."""

    def run(x: Any) -> list[Any]:
        with entered(Scope(pure=True, abstract=True, key=prng.abstract_key())):
            return nested.flatten(model(x))

    return run, nested.map_structure(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), inputs)


def _outputs(model: Any, inputs: Any) -> list[np.ndarray]:
    """The outputs, whose random numbers do not depend on earlier runs and change no later ones."""
    seed, step, runs = model.run_seed, model.steps_taken, model.runs_taken
    model.resume_at(seed, step, 0)
    try:
        return [np.asarray(x) for x in nested.flatten(model.predict_on_batch(inputs))]
    finally:
        model.resume_at(seed, step, runs)


def _difference(expected: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """The difference that rounding may make, and the largest one; NaN equals NaN."""
    a, b = (np.asarray(x, np.float64) for x in (expected, found))
    if not a.size:
        return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        differences = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    if not is_float(expected.dtype.name):
        return 0.0, float(differences.max())
    scale = np.abs(a[np.isfinite(a)]).max(initial=0.0)
    allowed = _TOLERANCE if expected.dtype.itemsize >= 4 else _OF_SHORT_FLOATS
    return allowed * float(scale), float(differences.max())


def _differs(members: Members, expected: str, received: str) -> CorruptFileError:
    return CorruptFileError(
        f"{members.where}: the model computes other outputs for its probe than when it was saved.",
        expected=expected, received=received,
        cure="Was the code of a layer changed since then? To load the model all the same, pass "
        "`budget=lamina.saving.Budget(probe_operations=0)`.",
    )  # fmt: skip
