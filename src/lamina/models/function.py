"""A part of a graph as a function, which cannot be trained or saved."""

from __future__ import annotations

from typing import Any

from lamina.core import naming
from lamina.core.boundary import public
from lamina.core.graph import is_symbolic
from lamina.core.operation import Operation, any_symbolic
from lamina.core.symbolic import SymbolicTensor
from lamina.errors import ShapeError
from lamina.layers.arguments import map_shapes
from lamina.models.functional import Graph
from lamina.tree import nested


class Function(Operation):
    """The computation between symbolic tensors, callable on arrays and on other symbolic tensors.

    On arrays it runs layer by layer; on symbolic tensors it calls the same layers and ops again,
    which extends the graph. A ``Model`` of the same tensors can also be trained and saved.

    Args:
        inputs: Symbolic tensors, in any nesting of dicts, lists and tuples.
        outputs: Symbolic tensors that are computed from them, likewise.
        name: Name of the function; ``function``, ``function_1``, ... when None.

    Raises:
        GraphError: An entry is not a symbolic tensor, or an output does not depend on the inputs.

    >>> import lamina
    >>> import numpy as np
    >>> x = lamina.Input((2,))
    >>> double = Function(x, x + x)
    >>> double(np.ones((1, 2), "float32"))
    Array([[2., 2.]], dtype=float32)
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        self.name = naming.check_name(name or naming.auto_name("function"), "function")
        self._inbound_nodes = []
        self._graph = Graph(inputs, outputs)

    @property
    def inputs(self) -> list[Any]:
        """A flat list of the input tensors."""
        return self._graph.inputs

    @property
    def outputs(self) -> list[Any]:
        """A flat list of the output tensors."""
        return self._graph.outputs

    @property
    def operations(self) -> list[Operation]:
        """The layers and ops between the inputs and the outputs."""
        return self._graph.operations

    @property
    def input(self) -> Any:
        """The inputs, in the structure in which they were given."""
        return self._graph.input_structure

    @property
    def output(self) -> Any:
        """The outputs, in the structure in which they were given."""
        return self._graph.output_structure

    @public
    def __call__(self, inputs: Any) -> Any:
        """Compute the outputs for arrays or symbolic tensors.

        Args:
            inputs: Values in the structure of the inputs.

        Raises:
            StructureError: The number or the names of the inputs differ.
            ShapeError: The shape of an input does not match.
        """
        if not any_symbolic(inputs):
            return self._graph.run(inputs)
        values = self._graph.arrange(inputs)
        for value, x, name in zip(values, self.inputs, self._graph.input_names, strict=True):
            if is_symbolic(value) and not _fits(value.shape, x.shape):
                raise ShapeError(
                    f"Function {self.name!r} cannot take the input {name!r}.\n"
                    f"  expected: {x.shape}\n  received: {value.shape}"
                )
        found = self._graph.plan.run(
            values, lambda step, args, kwargs: step.operation(*args, **kwargs)
        )
        return nested.unflatten(self.output, found)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Symbolic tensors like those that a call on ``inputs`` returns.

        Args:
            inputs: Symbolic tensors in the structure of the inputs.
        """
        return self(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shapes of the outputs for inputs of the given shapes (None for unknown dimensions).

        Args:
            input_shape: A tuple, or a list or dict of tuples in the structure of the inputs.
        """
        outputs = self(map_shapes(SymbolicTensor, input_shape))
        return nested.map_structure(lambda x: x.shape, outputs)


def _fits(given: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(given) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(given, wanted, strict=True)
    )
