"""Rules for tensor parallelism, derived from a model's graph.

Two matrix products in a row need no communication between them if the first is split by its
outputs (columns of the kernel) and the second by its inputs (rows): Shoeybi et al. 2019,
arXiv:1909.08053. The rules alternate in this way along the graph, wherever the layers between
compute each feature by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lamina import layers
from lamina.core.graph import Slot
from lamina.core.operation import Op
from lamina.core.tracking import held_as
from lamina.errors import ArgumentError, NotBuiltError
from lamina.tree import nested

Rules = Sequence[tuple[str, Sequence[Any]]]

# Layers and ops that compute each feature from the same feature of their inputs.
_BY_FEATURE = (
    layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Identity,
    layers.Dropout, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise,
    layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D,
    layers.BatchNormalization, layers.Add, layers.Subtract, layers.Multiply, layers.Average,
    layers.Maximum, layers.Minimum,
    layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D,
    layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D,
    layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D,
    layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D,
)  # fmt: skip
_OPS_BY_FEATURE = frozenset(
    "relu relu6 leaky_relu elu selu gelu silu swish tanh sigmoid softplus softsign hard_sigmoid "
    "hard_silu add subtract multiply maximum minimum cast".split()
)
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_ATTENTION = (layers.MultiHeadAttention, layers.GroupQueryAttention)


def tensor_rules(model: Any, axis: str = "model", parts: int = 1) -> list[tuple[str, Any]]:
    """Rules that split the weights of a model over an axis of a mesh.

    Kernels of ``Dense``, ``EinsumDense`` and convolutions are split by their outputs and by their
    inputs in turn, attention by its heads, embeddings by their indices. What the number of devices
    does not divide stays whole, and so do adapters (LoRA), weights of 4 bits, and the weights of
    other layers. Inside of a custom layer, where there is no graph, a layer whose inputs have the
    size of the outputs of the ``Dense`` layer created before it is taken to follow that one.

    Args:
        model: A built model.
        axis: Name of the axis.
        parts: Number of devices along it.

    Returns:
        Pairs of a regular expression that matches an address, and a tuple with the axis or None for
        each dimension: rules for :class:`Sharded`, which may be printed and edited.

    Raises:
        NotBuiltError: The model has no weights yet.

    >>> import lamina
    >>> x = lamina.Input((8,))
    >>> y = layers.Dense(32, activation="relu", name="wide")(x)
    >>> model = lamina.Model(x, layers.Dense(8, name="narrow")(y))
    >>> for rule in tensor_rules(model, parts=2):
    ...     print(*rule)
    wide/kernel (None, 'model')
    wide/bias ('model',)
    narrow/kernel ('model', None)
    """
    if not model.built:
        raise NotBuiltError(f"Model {model.name!r} has no weights yet. Build it first.")
    if parts < 1:
        raise ArgumentError(f"`parts` is a positive integer. Received: {parts!r}.")
    found = _Rules(axis, parts)
    found.follow(model, [False])
    addresses = {v: a for a, (v, _) in model.named_variables().items()}
    chosen = {addresses[v]: axes for v, axes in found.axes.items() if v in addresses}
    return [(re.escape(a), chosen[a]) for a in addresses.values() if a in chosen]


class _Rules:
    """Follows a graph; a tensor is "split" if the axis splits its features."""

    def __init__(self, axis: str, parts: int) -> None:
        self.axis, self.parts = axis, parts
        self.axes: dict[Any, tuple[Any, ...]] = {}
        self._done: dict[Any, bool] = {}

    def follow(self, layer: Any, split: list[bool]) -> bool:
        """Choose the layouts of a layer's weights; return whether its output is split."""
        if layer in self._done:  # called repeatedly
            return self._done[layer]
        self._done[layer] = False
        graph = layer.layer_graph
        if graph is not None:
            result = self._follow_graph(graph, split)
        else:
            result = self._follow_layer(layer, bool(split) and all(split))
        self._done[layer] = result
        return result

    def _follow_graph(self, graph: Any, split: list[bool]) -> bool:
        slots: dict[int, bool] = dict(zip(graph.plan.inputs, split, strict=False))
        for step in graph.plan.steps:
            given = [
                slots.get(x.index, False)
                for x in nested.flatten((step.args, step.kwargs)) if isinstance(x, Slot)
            ]  # fmt: skip
            if isinstance(step.operation, Op):
                result = all(given) and step.operation.op_name in _OPS_BY_FEATURE
            else:
                result = self.follow(step.operation, given)
            slots |= dict.fromkeys(step.outputs, result)
        return all(slots.get(i, False) for i in graph.plan.outputs)

    def _follow_layer(self, layer: Any, split: bool) -> bool:
        if isinstance(layer, _BY_FEATURE):
            return split
        sizes = self._matrix(layer)
        if sizes is not None:
            return self._split_matrix(layer, *sizes, split)
        if isinstance(layer, layers.Embedding):
            return self._embedding(layer)
        if isinstance(layer, _ATTENTION):
            self._attention(layer)
        else:
            self._inside(layer)
        return False

    def _matrix(self, layer: Any) -> tuple[int, int, int | None] | None:
        """The axes of a kernel with the input and output features, and that of the bias."""
        kernel = _weight(layer, "kernel")
        if kernel is None:
            return None
        if isinstance(layer, layers.Dense):
            return 0, 1, 0
        if isinstance(layer, _CONVOLUTIONS) and layer.groups == 1:
            return kernel.ndim - 2, kernel.ndim - 1, 0
        if isinstance(layer, _TRANSPOSED):
            return kernel.ndim - 1, kernel.ndim - 2, 0
        if isinstance(layer, layers.EinsumDense):
            return self._einsum(layer)
        return None

    def _einsum(self, layer: Any) -> tuple[int, int, int | None] | None:
        inputs, kernel, outputs = re.split(",|->", re.sub(r"[ .]", "", layer.equation))
        summed = [i for i, c in enumerate(kernel) if c in inputs and c not in outputs]
        new = [i for i, c in enumerate(kernel) if c in outputs and c not in inputs]
        if not summed or not new:
            return None
        letter, bias = kernel[new[0]], None
        if layer.bias is not None and letter in layer.bias_axes:
            bias = outputs.index(letter) - min(map(outputs.index, layer.bias_axes))
        return summed[0], new[0], bias

    def _split_matrix(
        self, layer: Any, inputs: int, outputs: int, bias_axis: int | None, split: bool
    ) -> bool:
        kernel, bias = _weight(layer, "kernel"), layer.bias
        if split and self._divides(kernel, inputs):
            self._set(kernel, inputs)
            return False
        if not self._divides(kernel, outputs):
            return False
        self._set(kernel, outputs)
        if bias is not None and bias_axis is not None:
            self._set(bias, bias_axis)
        return True

    def _embedding(self, layer: Any) -> bool:
        # By its features would split what follows too: each block would gather its inputs again.
        table = _weight(layer, "embeddings")
        if self._divides(table, 0):
            self._set(table, 0)
        return False

    def _attention(self, layer: Any) -> None:
        """Split all projections by heads, unless their numbers do not allow it."""
        for inner in held_as(layer, "layer"):
            role, kernel = inner.name, _weight(inner, "kernel")
            if role in ("query", "key", "value") and self._divides(kernel, 1):
                self._set(kernel, 1)
                if inner.bias is not None:
                    self._set(inner.bias, 0)
            elif role == "attention_output" and self._divides(kernel, 0):
                self._set(kernel, 0)

    def _inside(self, layer: Any) -> None:
        """Follow the inner layers of a custom layer in the order of their creation."""
        before: int | None = None  # number of features of the last output that is split
        for inner in held_as(layer, "layer"):
            matrix = self._matrix(inner)
            if matrix is None:
                self.follow(inner, [False])
                continue
            shape = inner.kernel.shape
            split = before == shape[matrix[0]]
            result = self.follow(inner, [split])
            before = shape[matrix[1]] if result else None

    def _divides(self, variable: Any, dimension: int) -> bool:
        return (
            variable is not None and self.parts > 1 and variable.shape[dimension] % self.parts == 0
        )

    def _set(self, variable: Any, dimension: int) -> None:
        self.axes[variable] = tuple(
            self.axis if i == dimension else None for i in range(variable.ndim)
        )


def _weight(layer: Any, name: str) -> Any:
    """The variable of a layer's weights; None if it has none, or packs several into one byte."""
    if layer.quantization_mode not in (None, "int8", "float8"):
        return None
    return next((v for v in layer.weights if v.name == name), None)
