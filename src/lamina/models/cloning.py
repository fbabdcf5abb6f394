"""Serialization of graphs: configs, JSON, clones."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

from lamina import saving
from lamina.core.boundary import warn
from lamina.core.graph import Node, is_symbolic
from lamina.core.operation import Op, Operation, any_symbolic
from lamina.core.symbolic import SymbolicTensor
from lamina.errors import (
    ArgumentError,
    CorruptFileError,
    LaminaError,
    SavingWarning,
    SerializationError,
)
from lamina.layers import Input, InputLayer, Layer
from lamina.layers.state import (
    flatten_layers,
    has_automatic_name,
    name_automatically,
    set_trainable_alone,
)
from lamina.models.functional import Graph
from lamina.runtime.budget import Budget, charge, loading
from lamina.serialization import registry, shared, text
from lamina.tree import nested


def graph_config(graph: Graph, is_for_files: bool = True) -> dict[str, Any]:
    """The graph as JSON data: each operation once, with its calls in this graph.

    Args:
        graph: The graph.
        is_for_files: Whether calls among the inputs and outputs are counted as in Keras's files:
            those of a functional model from 1. All others are counted from 0.
    """
    return shared.describe_together(lambda: _graph_config(graph, is_for_files))


def _number_of_first_call(operation: Any) -> int:
    """With which number its calls begin, among the inputs and outputs of a graph in a file."""
    cls: Any = type(operation)
    has_graph = isinstance(operation, Layer) and operation.layer_graph is not None
    return int(has_graph and cls.lists_input)


def _graph_config(graph: Graph, is_for_files: bool) -> dict[str, Any]:
    index: dict[Node, int] = {}
    counts: dict[Any, int] = defaultdict(int)
    for node in [x.node for x in graph.inputs if not x.node.inputs] + graph.nodes:
        if node not in index:
            index[node] = counts[node.operation]
            counts[node.operation] += 1

    def reference(x: Any) -> Any:
        return [x.node.operation.name, index[x.node], x.index]

    def end(x: Any) -> Any:
        name, number, i = reference(x)
        first = _number_of_first_call(x.node.operation) if is_for_files else 0
        return [name, number + first, i]

    def argument(x: Any) -> Any:
        if not is_symbolic(x):
            return registry.serialize(x)
        config = {"shape": list(x.shape), "dtype": x.dtype, "keras_history": reference(x)}
        return {"class_name": "__keras_tensor__", "config": config}

    def call(args: Any, kwargs: Any) -> dict[str, Any]:
        return {
            "args": nested.map_structure(argument, list(args)),
            "kwargs": {
                k: nested.map_structure(argument, v) for k, v in kwargs.items() if v is not None
            },
        }

    nodes: dict[Any, list[Node]] = defaultdict(list)
    for node in index:
        nodes[node.operation].append(node)
    records = []
    for operation in graph.operations:
        if isinstance(operation, Op):
            (node,) = nodes[operation]
            record, args, kwargs = saving.operations.describe(operation, node.args, node.kwargs)
            calls = [call(args, kwargs)]
        else:
            record = _layer_record(operation)
            calls = [call(node.args, node.kwargs) for node in nodes[operation] if node.inputs]
        records.append({**record, "name": operation.name, "inbound_nodes": calls})
    return {
        "layers": records,
        "input_layers": nested.map_structure(end, graph.input_structure),
        "output_layers": nested.map_structure(end, graph.output_structure),
    }


def _layer_record(layer: Any) -> dict[str, Any]:
    try:
        return registry.serialize(layer)
    except (SerializationError, TypeError) as e:
        if isinstance(e, SerializationError) and e.layer:  # the error is about an inner layer
            raise
        raise SerializationError(
            f"Layer {layer.name!r} of class {type(layer).__name__} cannot be described as data: "
            f"{e}",
            layer=layer.name,
        ) from e


def _make_operation(record: Mapping[str, Any], custom_objects: Any) -> Any:
    op = saving.operations.read(record)
    if op is not None:
        return op
    layer = registry.deserialize(record, custom_objects)
    if not isinstance(layer, Operation):
        raise SerializationError(
            f"{record.get('class_name')!r} in a graph is neither a layer nor an operation."
        )
    layer.name = record.get("name", layer.name)
    return layer


def graph_from_config(
    config: Mapping[str, Any],
    custom_objects: Mapping[str, Any] | None = None,
    make: Callable[[Mapping[str, Any], Any], Any] = _make_operation,
    call_function: Callable[..., Any] | None = None,
    is_from_file: bool = True,
) -> Graph:
    """Rebuild the graph that :func:`graph_config` described, by calling its layers again.

    The time is linear in the number of calls, in any order.

    Args:
        config: The graph as JSON data.
        custom_objects: Custom classes and functions by name.
        make: Makes the operation of a record.
        call_function: Is called with an operation and its arguments, instead of the operation.
        is_from_file: The argument ``is_for_files`` of :func:`graph_config`.

    Raises:
        SerializationError: A call refers to a tensor that no call returns.
    """
    try:
        with shared.rebuild_together():
            return _rebuild(config, custom_objects, make, call_function, is_from_file)
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as e:
        if isinstance(e, LaminaError) or not is_from_file:  # an error of the caller's functions
            raise
        raise SerializationError.damaged("The config of a graph is", e) from e


def _rebuild(
    config: Mapping[str, Any], custom_objects: Any, make: Any, call_function: Any,
    is_from_file: bool,
) -> Graph:  # fmt: skip
    operations: dict[str, Any] = {}
    calls: dict[tuple[str, int], Mapping[str, Any]] = {}
    made: dict[tuple[str, int], list[Any]] = {}
    for record in config["layers"]:
        name = record["name"]
        if name in operations:
            raise SerializationError(f"The config names two layers {name!r}.")
        operation = operations[name] = make(record, custom_objects)
        if isinstance(operation, InputLayer):
            made[name, 0] = [operation.output]
        for i, call in enumerate(record["inbound_nodes"]):
            calls[name, i] = call

    needs: dict[Any, set[Any]] = {}
    waiting: dict[Any, list[Any]] = defaultdict(list)
    for key, call in calls.items():
        name, i = key
        wanted = {(h[0], h[1]) for h in _histories([call["args"], call["kwargs"]])}
        if i:
            wanted.add((name, i - 1))
        needs[key] = {w for w in wanted if w not in made}
        for w in needs[key]:
            waiting[w].append(key)
    ready = deque(k for k, n in needs.items() if not n)
    while ready:
        key = ready.popleft()
        made[key] = _call(
            operations[key[0]], key[0], calls[key], made, custom_objects, call_function
        )
        for other in waiting[key]:
            needs[other].discard(key)
            if not needs[other]:
                ready.append(other)
    stuck = [k for k in calls if k not in made]
    if stuck:
        raise SerializationError(
            f"The config's calls {stuck[:5]} need tensors that no call returns: "
            f"{sorted(map(str, needs[stuck[0]]))[:5]}."
        )

    ends = config["input_layers"], config["output_layers"]
    first = {k: _number_of_first_call(x) if is_from_file else 0 for k, x in operations.items()}

    def note_first(reference: Any) -> None:
        name, number, _ = reference
        first[name] = min(first[name], number)  # 0 in files of which the calls are counted from 0

    def tensor(reference: Any) -> Any:
        name, number, i = reference
        return made[name, number - first[name]][i]

    _map_references(note_first, ends)
    return Graph(*(_map_references(tensor, x) for x in ends))


def _call(
    operation: Any, name: str, call: Any, made: Any, custom_objects: Any, call_function: Any
) -> list[Any]:
    def value(x: Any) -> Any:
        if isinstance(x, Mapping):
            if x.get("class_name") == "__keras_tensor__":
                history = x["config"]["keras_history"]
                return made[history[0], history[1]][history[2]]
            if "class_name" in x:
                return registry.deserialize(x, custom_objects)
            return {k: value(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return [value(v) for v in x]
        return x

    args, kwargs = value(call["args"]), value(call["kwargs"])
    charge(nodes=1)
    if not any_symbolic(args, kwargs):  # it would compute something now, of any size
        raise SerializationError(f"The call of {name!r} in the config has no tensor as argument.")
    if call_function is not None and isinstance(operation, Layer):
        outputs = call_function(operation, *args, **kwargs)
        if not nested.flatten(outputs) or not all(map(is_symbolic, nested.flatten(outputs))):
            raise ArgumentError(
                "`call_function` returns the symbolic outputs of the layer that it is given. "
                f"Received for {name!r}: {outputs!r}."
            )
        return nested.flatten(outputs)
    outputs = operation(*args, **kwargs)
    if isinstance(operation, saving.operations.Described):
        for x in nested.flatten(outputs):
            x.node.operation.name = x.name = name
    return [x for x in nested.flatten(outputs) if isinstance(x, SymbolicTensor)]


def _histories(x: Any) -> list[Any]:
    found, stack = [], [x]
    while stack:
        x = stack.pop()
        if isinstance(x, Mapping):
            if x.get("class_name") == "__keras_tensor__":
                found.append(x["config"]["keras_history"])
            else:
                stack.extend(x.values())
        elif isinstance(x, (list, tuple)):
            stack.extend(x)
    return found


def _map_references(fn: Callable[[Any], Any], x: Any) -> Any:
    if isinstance(x, Mapping):
        return {k: _map_references(fn, v) for k, v in x.items()}
    if len(x) == 3 and isinstance(x[0], str) and isinstance(x[1], int):
        return fn(x)
    return [_map_references(fn, v) for v in x]


def model_from_json(
    json_string: str,
    custom_objects: Mapping[str, Any] | None = None,
    *,
    budget: Budget | None = None,
) -> Any:
    """The model that ``model.to_json()`` described, with newly initialized weights.

    It is compiled if the text has the arguments of ``compile``, as that of a compiled model.

    Args:
        json_string: The text, of Lamina or of Keras 1.1 to 3.
        custom_objects: Your own classes and functions, by the names that the text uses.
        budget: What loading may use; the default suits all but extraordinary texts.

    Raises:
        SerializationError: The text is not valid, or does not describe a model.
        UnsafeFileError: It needs more than the budget allows.

    Warns:
        SavingWarning: The arguments of ``compile`` cannot be read. The model is not compiled.

    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    >>> model_from_json(model.to_json()).output_shape
    (None, 2)
    """
    if not isinstance(json_string, (str, bytes)):
        raise ArgumentError(
            f"A model is described by a JSON text. Received: {json_string!r} (of type "
            f"{type(json_string).__name__})."
        )
    where = "The text of the model"
    with loading(where, budget, len(json_string)):
        config = text.parse(json_string, where, SerializationError)
        model = saving.upgrade.rebuild(config, None, custom_objects, where)
        if not (isinstance(model, Layer) and isinstance(model, saving.archive.Compiles)):
            raise SerializationError(
                f"{where} describes no model, but an object of type {type(model).__name__}."
            )
        if compiled := config.get("compile_config"):
            try:
                saving.optimizer.compile_with(model, compiled, custom_objects, where)
            except (SerializationError, CorruptFileError) as e:
                warn(f"The model is not compiled: {e.subject}", SavingWarning)
        return model


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Layer], Layer] | None = None,
    call_function: Any = None,
    recursive: bool = False,
) -> Any:
    """A model of the same architecture with new layers and newly initialized weights.

    Args:
        model: A model with a config.
        input_tensors: Tensors on which to build the copy, instead of new inputs.
        clone_function: Function from a layer to a new layer; by default, the new layer is created
            from the config.
        call_function: Function that is called as ``call_function(layer, *args, **kwargs)`` instead
            of each new layer, and returns the layer's outputs; for functional models only.
        recursive: Whether ``clone_function`` is also applied inside nested models.

    Returns:
        The copy, which is not compiled.

    Raises:
        ArgumentError: The model has no graph, which the other arguments need, or a function of
            yours does not return what is described above.

    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    >>> copy = clone_model(model)
    >>> copy.output_shape, copy.layers[-1] is model.layers[-1]
    ((None, 2), False)
    """
    cls: Any = type(model)
    if not isinstance(model, Layer):
        raise ArgumentError(f"`clone_model` takes a model. Received: {model!r}.")
    if model.layer_graph is None and not (input_tensors is None and clone_function is None):
        raise ArgumentError(
            "`clone_function` and `input_tensors` need a functional model or a built Sequential. "
            f"{model.name!r} is a {type(model).__name__}, which is copied by its config."
        )
    if call_function is not None and not (model.layer_graph is not None and cls.lists_input):
        raise ArgumentError(
            "`call_function` is supported for functional models only. "
            f"{model.name!r} is a {type(model).__name__}."
        )
    own = {type(x).__name__: type(x) for x in flatten_layers(model)
           if registry.registration_of(type(x)) is None}  # fmt: skip
    with registry.CustomObjectScope(own), shared.rebuild_together() as made:
        if model.layer_graph is None:
            copy = type(model).from_config(registry.serialize(model)["config"])
        else:
            copy = _clone_graph(
                model, input_tensors, clone_function, recursive, made, call_function
            )  # fmt: skip
        name_automatically(copy, [has_automatic_name(x) for x in flatten_layers(model)], True)
        return copy


def _clone_graph(
    model: Any, input_tensors: Any, clone_function: Any, recursive: bool, made: dict[int, Any],
    call_function: Any,
) -> Any:  # fmt: skip
    originals = {op.name: op for op in model.operations}
    given = None if input_tensors is None else nested.flatten(input_tensors)
    inputs = [x.node.operation.name for x in model.inputs]

    def copy_of(record: Mapping[str, Any], original: Any) -> Any:
        if isinstance(original, InputLayer):
            if given is None:
                return registry.deserialize(registry.serialize(original))
            x = given[inputs.index(original.name)]
            is_input = isinstance(x.node.operation, InputLayer)
            return x.node.operation if is_input else Input(tensor=x).node.operation
        if clone_function is None:
            copy = type(original).from_config(record["config"])
        elif recursive and original.layer_graph is not None:
            copy = clone_model(original, None, clone_function, None, True)
        else:
            copy = clone_function(original)
            if not isinstance(copy, Layer):
                raise ArgumentError(
                    f"`clone_function` returns a layer. Received for {original.name!r}: {copy!r}."
                )
            return copy
        copy.name = original.name
        return copy

    def make(record: Mapping[str, Any], _: Any) -> Any:
        original = originals[record["name"]]
        if isinstance(original, Op):
            return saving.operations.read(record)
        number = record.get("shared_object_id")
        copy = made.get(number) if number is not None else None
        if copy is None:
            copy = copy_of(record, original)
            if number is not None:
                made[number] = copy
        return copy

    if not type(model).lists_input:
        config = shared.describe_together(model.get_config)["layers"][1:]
        first = given[0] if given else Input(batch_shape=model.inputs[0].spec.dims_raw,
                                             dtype=model.inputs[0].dtype)  # fmt: skip
        layers = [make(record, None) for record in config]
        copy = type(model)([first, *layers], name=model.name)
    else:
        graph = graph_from_config(
            graph_config(model.layer_graph, False), None, make, call_function, False
        )
        copy = type(model)(graph.input_structure, graph.output_structure, name=model.name)
    set_trainable_alone(copy, model.trainable)
    return copy
