"""What the compiler says about a training step: communication, memory and operations."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import defaultdict
from typing import Any

import jax.numpy as jnp

from lamina.core.sharding import bytes_per_device
from lamina.execution.program import Program
from lamina.runtime import cost

# An instruction of a compiled program: its shape (or shapes in brackets), then its name.
_COLLECTIVE = re.compile(
    r"= (?P<shape>\(?[^=]*?) "
    r"(?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_COMMENT = re.compile(r"/\*.*?\*/")
_ARRAY = re.compile(r"\b(?P<dtype>[a-z]+\d+\w*|pred)\[(?P<dims>[\d,]*)\]")
_DTYPES = {"pred": "bool", "bf16": "bfloat16", "f16": "float16", "f32": "float32", "f64": "float64",
           "s8": "int8", "s16": "int16", "s32": "int32", "s64": "int64",
           "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class StepAnalysis:
    """What XLA says about a compiled training step.

    ``print(analysis)`` shows it as text.

    Attributes:
        collectives: For each kind of communication (``"all-reduce"``, ...) the number of
            instructions, and the bytes of their results on one device. Instructions inside a loop
            count once.
        state_bytes: Bytes of weights, optimizer state and metrics on one device.
        temporary_bytes: Bytes of intermediate values on one device.
        operations: Arithmetic operations of one device.
        host_bytes: Bytes of the optimizer's slots in the memory of the host, for one device.
    """

    collectives: dict[str, tuple[int, int]]
    state_bytes: int
    temporary_bytes: int
    operations: float
    host_bytes: int = 0

    def __str__(self) -> str:
        lines = [
            f"State per device: {cost.readable(self.state_bytes)}",
            *([f"In host memory: {cost.readable(self.host_bytes)}"] if self.host_bytes else []),
            f"Intermediate values per device: {cost.readable(self.temporary_bytes)}",
            f"Operations per device and step: {self.operations:.4g}",
        ]
        lines += [
            f"Communication per step: {count} {kind}, {cost.readable(size)}"
            for kind, (count, size) in self.collectives.items()
        ]
        return "\n".join(lines)


def collectives(text: str) -> dict[str, tuple[int, int]]:
    """The communication in the text of a compiled program: number and bytes by kind.

    >>> collectives("%r = f32[8,4]{1,0} all-reduce(f32[8,4]{1,0} %x), channel_id=1")
    {'all-reduce': (1, 128)}
    """
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for match in _COLLECTIVE.finditer(_COMMENT.sub("", text)):
        sizes = [
            math.prod(map(int, filter(None, array["dims"].split(","))))
            * jnp.dtype(_DTYPES.get(array["dtype"], "uint8")).itemsize
            for array in _ARRAY.finditer(match["shape"])
        ]
        count, size = found[match["kind"]]
        found[match["kind"]] = count + 1, size + sum(sizes)
    return dict(sorted(found.items()))


def analyze(program: Program, batch: Any) -> StepAnalysis:
    """Compile a training step ahead of time, for arrays that need not exist.

    Args:
        program: The training step.
        batch: The shapes and dtypes of a batch ``(x, y, sample_weight)``.
    """
    compiled = program.lower(batch).compile()
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis() or {}
    variables = [v for table in program.variables.groups().values() for v in table.values()]
    return StepAnalysis(
        collectives(compiled.as_text()),
        sum(bytes_per_device(v.shape, v.dtype, v.layout) for v in variables),
        int(memory.temp_size_in_bytes) if memory is not None else 0,
        float(costs.get("flops", 0.0)),
        sum(bytes_per_device(v.shape, v.dtype, v.layout, on_host=True) for v in variables),
    )


__all__ = ["StepAnalysis", "analyze", "collectives"]
