"""Random functional programs, built twice in lockstep: as a graph, and on shapes of numbers.

Each statement of a program calls a layer, an op or a nested model on symbolic tensors. A copy of
the layer runs beside it on abstract arrays of three concrete sizes: what the two say must agree.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import lamina
import tests.cases
from lamina import layers, ops
from lamina.core import spec
from lamina.core.scope import Scope, entered
from lamina.core.spec import TensorSpec
from lamina.errors import LaminaError
from lamina.serialization import registry
from lamina.tree import nested
from tests.cases import Case

# Three readings of the open sizes. Names get sizes that differ, so that different names stay
# different; sizes without a name share one that halves well, because they are taken to fit.
SIZES = (
    {"batch": 2, "time": 9, "words": 11, None: 8},
    {"batch": 3, "time": 25, "words": 14, None: 24},
    {"batch": 5, "time": 32, "words": 41, None: 40},
)
# What layers say of sizes that their arguments do not allow, such as a window on fewer entries.
TOO_SMALL = ("would be empty", "crop everything", "cannot reshape this input",
             "does not evenly divide")  # fmt: skip
LARGEST = 300_000  # elements of a tensor; a program that grows beyond takes another turn
ROWS = [
    case
    for info in pkgutil.iter_modules(tests.cases.__path__)
    # Layers for images draw random numbers, and batches decide together, in every call.
    if info.name.startswith("layers_") and info.name != "layers_image"
    for case in importlib.import_module(f"tests.cases.{info.name}").CASES
    if not getattr(case.cls, "stateful", False)
]


@registry.register_serializable(package="tests")
class Crossing(layers.Layer):
    """What users write: dicts in, nested structures out, no `build`, no shapes."""

    def call(self, inputs):
        a, b = inputs["first"], inputs["second"]
        return {"sum": a + b, "pair": [a * 2.0, (b - 1.0,)]}


@registry.register_serializable(package="tests")
class Blending(layers.Layer):
    """A layer with a layer and a weight inside, and an argument that is no tensor."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(units, activation="relu")

    def build(self, input_shape):
        self.gain = self.add_weight(shape=(), initializer="ones", name="gain")

    def call(self, inputs, flip=False):
        x = self.inner(inputs) * self.gain.value
        return ops.flip(x, -1) if flip else x


# ---- what a statement can do ---------------------------------------------------------------------

# Text with {} for tensors, smallest rank, function. Python's operators on symbolic tensors are ops,
# on arrays they are JAX's own, which know nothing of masks: there the fourth entry is called.
Move = tuple[str, int, Callable[..., Any]] | tuple[str, int, Callable[..., Any], Callable[..., Any]]

UNARY: list[Move] = [
    ("{0} * 2.0 + 1", 1, lambda x: x * 2.0 + 1, lambda x: ops.add(ops.multiply(x, 2.0), 1)),
    ("1.0 - {0}", 1, lambda x: 1.0 - x, lambda x: ops.subtract(1.0, x)),
    ("abs(-{0}) ** 2", 1, lambda x: abs(-x) ** 2,
     lambda x: ops.power(ops.absolute(ops.negative(x)), 2)),
    ("{0}[:, 0]", 3, lambda x: x[:, 0]),
    ("{0}[:, -1:]", 2, lambda x: x[:, -1:]),
    ("{0}[:, ::2]", 2, lambda x: x[:, ::2]),
    ("{0}[:, 1:-1]", 3, lambda x: x[:, 1:-1]),
    ("{0}[..., :2]", 2, lambda x: x[..., :2]),
    ("{0}[:, None]", 1, lambda x: x[:, None]),
    ("ops.relu({0})", 1, ops.relu),
    ("ops.softmax({0})", 2, ops.softmax),
    ("ops.mean({0}, axis=1)", 3, lambda x: ops.mean(x, axis=1)),
    ("ops.max({0}, axis=-1, keepdims=True)", 2, lambda x: ops.max(x, axis=-1, keepdims=True)),
    ("ops.sum({0}, axis=(1, 2))", 4, lambda x: ops.sum(x, axis=(1, 2))),
    ("ops.swapaxes({0}, 1, 2)", 3, lambda x: ops.swapaxes(x, 1, 2)),
    ("ops.moveaxis({0}, 1, -1)", 3, lambda x: ops.moveaxis(x, 1, -1)),
    ("ops.expand_dims({0}, -1)", 1, lambda x: ops.expand_dims(x, -1)),
    ("ops.squeeze({0}, -1)", 2, lambda x: ops.squeeze(x, -1)),
    ("ops.flip({0}, axis=1)", 2, lambda x: ops.flip(x, axis=1)),
    ("ops.roll({0}, 1, axis=1)", 2, lambda x: ops.roll(x, 1, axis=1)),
    ("ops.cumsum({0}, axis=1)", 2, lambda x: ops.cumsum(x, axis=1)),
    ("ops.repeat({0}, 2, axis=1)", 2, lambda x: ops.repeat(x, 2, axis=1)),
    ("ops.concatenate([{0}, {0}], 1)", 2, lambda x: ops.concatenate([x, x], 1)),
    ("ops.stack([{0}, {0}], 1)", 1, lambda x: ops.stack([x, x], 1)),
    ("ops.split({0}, 2, axis=-1)", 2, lambda x: ops.split(x, 2, axis=-1)),
    ("ops.where({0} > 0, {0}, 0.0)", 1, lambda x: ops.where(ops.greater(x, 0), x, 0.0)),
    ("ops.cast({0} > 0, 'float32')", 1, lambda x: ops.cast(x > 0, "float32"),
     lambda x: ops.cast(ops.greater(x, 0), "float32")),
    ("ops.argmax({0}, axis=-1)", 2, lambda x: ops.argmax(x, axis=-1)),
    ("ops.reshape({0}, (-1, 2))", 2, lambda x: ops.reshape(x, (-1, 2))),
    ("ops.einsum('b...d->bd', {0})", 3, lambda x: ops.einsum("b...d->bd", x)),
    ("ops.matmul({0}, ops.swapaxes({0}, -1, -2))", 3,
     lambda x: ops.matmul(x, ops.swapaxes(x, -1, -2))),
]  # fmt: skip

BINARY: list[Move] = [
    ("{0} + {1}", 1, lambda a, b: a + b, ops.add),
    ("{0} - {1}", 1, lambda a, b: a - b, ops.subtract),
    ("{0} * {1}", 1, lambda a, b: a * b, ops.multiply),
    ("ops.maximum({0}, {1})", 1, ops.maximum),
    ("ops.concatenate([{0}, {1}], -1)", 2, lambda a, b: ops.concatenate([a, b], -1)),
    ("ops.concatenate([{0}, {1}], 1)", 2, lambda a, b: ops.concatenate([a, b], 1)),
    ("ops.stack([{0}, {1}], -1)", 1, lambda a, b: ops.stack([a, b], -1)),
    ("ops.matmul({0}, {1})", 3, ops.matmul),
]

MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")


class Refused(Exception):
    """A statement that neither the graph nor the numbers can execute."""


class Unequal(AssertionError):
    """The graph and the numbers disagree: a defect."""


@dataclasses.dataclass(eq=False)
class Tensor:
    """A value of a program: symbolic, and as one concrete spec for each reading of the sizes."""

    name: str
    symbol: Any
    concrete: tuple[TensorSpec, ...]

    @property
    def rank(self) -> int:
        return self.symbol.ndim

    @property
    def floating(self) -> bool:
        return self.symbol.dtype.startswith("float")


@dataclasses.dataclass(eq=False)
class Statement:
    """``outputs = function(*arguments)``."""

    function: Callable[..., Any]
    arguments: list[Tensor]
    outputs: list[Tensor]


def abstractly(function: Callable[..., Any], specs: list[TensorSpec]) -> list[TensorSpec]:
    """The specs of what comes out for arrays of these concrete specs."""
    scope = Scope(pure=True, abstract=True, key=jax.random.key(0))
    with entered(scope):
        return nested.flatten(spec.evaluate(function, specs))


def at(dim: Any, sizes: dict[Any, int], anonymous: set[str]) -> int | None:
    """The number that a symbolic size stands for; None where it is made of unknown symbols."""
    if isinstance(dim, int):
        return dim
    names = dict.fromkeys(anonymous, sizes[None]) | {k: v for k, v in sizes.items() if k}
    functions = {"max": max, "min": min, "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b}
    text = str(dim).replace("^", "**")
    if not set(re.findall(r"[A-Za-z_]\w*", text)) <= names.keys() | functions.keys():
        return None
    return eval(text, {"__builtins__": {}}, names | functions)


class Program:
    """A functional model in the making, and all that is known about it.

    Args:
        tape: integers; each decision takes the next one, or 0 when there is none left.
        numbers: numbers the layers, so that names are unique.
    """

    def __init__(self, tape: Iterator[int], numbers: Any = None, indent: str = "") -> None:
        self.tape = tape
        self.numbers = numbers or itertools.count()
        self.indent = indent
        self.inputs: list[Tensor] = []
        self.tensors: list[Tensor] = []
        self.statements: list[Statement] = []
        self.lines: list[str] = []
        self.anonymous: set[str] = set()
        self.calls: list[tuple[Any, Any, str, list[tuple[Any, ...]]]] = []

    # ---- tensors ---------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        self.lines.append(self.indent + line)

    def choose(self, options: Any) -> Any:
        options = list(options)
        return options[next(self.tape, 0) % len(options)]

    def maybe(self) -> bool:
        return self.choose([False, True])

    def new_input(self, dims: Any, dtype: str = "float32") -> Tensor:
        """An Input; ``dims`` without the batch."""
        name = f"in{next(self.numbers)}"
        symbol = lamina.Input(shape=tuple(dims), dtype=dtype, name=name)
        for given, dim in zip(dims, symbol.spec.dims_raw[1:], strict=True):
            if given is None:
                self.anonymous.add(str(dim))
        concrete = tuple(
            TensorSpec([at(d, sizes, self.anonymous) for d in symbol.spec.dims_raw], dtype)
            for sizes in SIZES
        )
        tensor = Tensor(name, symbol, concrete)
        self.say(f"{name} = Input({tuple(dims)!r}, dtype={dtype!r}, name={name!r})")
        self.inputs.append(tensor)
        self.tensors.append(tensor)
        return tensor

    def open_size(self, fixed: int) -> Any:
        return self.choose([fixed, "time", None, "words"])

    def any_input(self) -> Tensor:
        rank = self.choose([1, 2, 3])
        return self.new_input(
            [*(self.open_size(n) for n in (5, 6)[: rank - 1]), self.choose([4, 6, 3, 1])]
        )

    def tensor(self, fits: Callable[[Tensor], bool]) -> Tensor:
        """Some tensor that fits; rather one of the newest, so that programs grow long."""
        found = [t for t in reversed(self.tensors) if fits(t)]
        if not found:
            raise Refused
        return self.choose(found[: self.choose([1, 2, 4, len(found)])])

    # ---- statements ------------------------------------------------------------------------------

    def execute(
        self, function: Any, twin: Any, arguments: list[Tensor], text: str, share: bool = False,
        direct: Any = None,
    ) -> None:  # fmt: skip
        """Call on symbolic tensors and on concrete specs, and compare.

        Args:
            function: what the statement calls.
            twin: the same with weights of its own, for the concrete specs.
            arguments: what it is called on.
            text: the statement as one would write it.
            share: whether later statements may call it again.
            direct: what is called on arrays, where that is not ``function``.
        """
        built: Any = None
        refusal: Exception | None = None
        try:
            built = function(*(t.symbol for t in arguments))
        except (LaminaError, ValueError, TypeError) as e:
            refusal = e
        ran, failure = [], None
        for i in range(len(SIZES)):
            try:
                ran.append(abstractly(twin, [t.concrete[i] for t in arguments]))
            except (LaminaError, ValueError, TypeError) as e:
                failure = e
                break
        lenient = any(
            set(re.findall(r"_\d+", str(d))) for t in arguments for d in t.symbol.spec.dims_raw
        )
        if refusal is not None and failure is not None:
            raise Refused
        if refusal is not None:
            cut = any("min(" in str(d) for t in arguments for d in t.symbol.spec.dims_raw)
            if cut and "an unknown dimension" in str(refusal):
                raise Refused  # `x[:2]` has two entries in the readings above, one in others
            raise Unequal(f"{text}\nruns, but does not build:\n{refusal!r}")
        if failure is not None:
            if lenient or any(words in str(failure) for words in TOO_SMALL):
                raise Refused
            raise Unequal(f"{text}\nbuilds, but does not run:\n{failure!r}")
        symbols = [x for x in nested.flatten(built) if x is not None]
        if any(np.prod(s.dims_raw) > LARGEST for specs in ran for s in specs if s):
            raise Refused
        outputs = []
        for n, symbol in enumerate(symbols):
            concrete = tuple([s for s in specs if s is not None][n] for specs in ran)
            name = f"x{next(self.numbers)}"
            self.compare(symbol, concrete, text, lenient)
            outputs.append(Tensor(name, symbol, concrete))
        names = ", ".join(t.name for t in outputs)
        self.say(f"{names} = {text}" if len(outputs) == 1 else f"[{names}] = flatten({text})")
        self.statements.append(Statement(direct or function, arguments, outputs))
        # Tensors without a batch or without entries are legal, and lead nowhere.
        self.tensors += [t for t in outputs if t.rank and all(np.prod(s.dims_raw)
                                                              for s in t.concrete)]  # fmt: skip
        if share:
            signature = [(t.rank, t.symbol.dtype) for t in arguments]
            self.calls.append((function, twin, text, signature))

    def compare(
        self, symbol: Any, concrete: tuple[TensorSpec, ...], text: str, lenient: bool
    ) -> None:
        """The promised spec against those that came out."""
        for sizes, real in zip(SIZES, concrete, strict=True):
            wrong = symbol.dtype != real.dtype or symbol.ndim != len(real.dims_raw)
            for dim, actual in zip(symbol.spec.dims_raw, real.dims_raw, strict=False):
                promised = at(dim, sizes, self.anonymous)
                # An open size that was taken to equal a known one may turn out otherwise.
                wrong |= promised is not None and promised != actual and not lenient
            if wrong:
                raise Unequal(f"{text}\npromises {symbol.spec}, gives {real} for {sizes}")

    def step(self) -> None:
        """Draw and execute one statement."""
        self.choose([self.row, self.row, self.unary, self.dense, self.binary, self.merge,
                     self.again, self.row, self.crossing, self.nest, self.blend])()  # fmt: skip

    def row(self) -> None:
        """A row of the tables: any layer, called as its row says."""
        case: Case = self.choose(ROWS)
        name = f"{case.name}_{next(self.numbers)}"
        arguments: list[Tensor] = []
        for i, (shape, dtype) in enumerate(case.inputs):

            def fits(t: Tensor, shape: Any = shape, dtype: str = dtype) -> bool:
                return t.rank == len(shape) and t.symbol.dtype == dtype

            use_old = len(self.inputs) > 3 or self.maybe()
            if use_old and any(map(fits, self.tensors)):
                arguments.append(self.tensor(fits))
                continue
            opened = case.unknown_axes if i == 0 else ()
            arguments.append(self.new_input(
                [self.open_size(n) if a in opened else n for a, n in enumerate(shape) if a], dtype
            ))  # fmt: skip
        layer, twin = copy_of(case, name), copy_of(case, name)
        holes = ", ".join(t.name for t in arguments)
        shown = ", ".join(f"{k}={v!r}" for k, v in case.kwargs.items())
        self.execute(
            lambda *xs: case.apply(layer, xs), lambda *xs: case.apply(twin, xs), arguments,
            f"case {case.name}: {case.cls.__name__}({shown})({holes})", share=True,
        )  # fmt: skip

    def unary(self) -> None:
        text, rank, function, *direct = self.choose(UNARY)
        x = self.tensor(lambda t: t.floating and t.rank >= rank)
        self.execute(function, function, [x], text.format(x.name), direct=(*direct, None)[0])

    def binary(self) -> None:
        text, rank, function, *direct = self.choose(BINARY)
        a = self.tensor(lambda t: t.floating and t.rank >= rank)
        b = self.tensor(lambda t: t.floating and t.rank == a.rank)
        shown = text.format(a.name, b.name)
        self.execute(function, function, [a, b], shown, direct=(*direct, None)[0])

    def dense(self) -> None:
        units, n = self.choose([4, 6, 1]), next(self.numbers)
        x = self.tensor(lambda t: t.floating and t.rank >= 2)
        layer, twin = (layers.Dense(units, name=f"dense_{n}") for _ in range(2))
        self.execute(layer, twin, [x], f"Dense({units})({x.name})", share=True)

    def merge(self) -> None:
        cls = getattr(layers, self.choose(MERGES))
        first = self.tensor(lambda t: t.rank >= 1)
        count = 2 if cls is layers.Subtract else self.choose([2, 3])
        alike = [first, *(self.tensor(lambda t: t.rank == first.rank and t.symbol.dtype ==
                                      first.symbol.dtype) for _ in range(count - 1))]  # fmt: skip
        layer = cls(name=f"merge_{next(self.numbers)}")
        names = ", ".join(t.name for t in alike)
        self.execute(
            lambda *xs: layer(list(xs)), lambda *xs: layer(list(xs)), alike,
            f"{cls.__name__}()([{names}])",
        )  # fmt: skip

    def crossing(self) -> None:
        a = self.tensor(lambda t: t.floating)
        b = self.tensor(lambda t: t.floating and t.rank == a.rank)
        layer = Crossing(name=f"crossing_{next(self.numbers)}")

        def function(a: Any, b: Any) -> Any:
            return layer({"second": b, "first": a})

        self.execute(function, function, [a, b],
                     f"Crossing()({{'second': {b.name}, 'first': {a.name}}})")  # fmt: skip

    def blend(self) -> None:
        x = self.tensor(lambda t: t.floating and t.rank >= 2)
        name, flip = f"blend_{next(self.numbers)}", self.maybe()
        layer, twin = (Blending(4, name=name) for _ in range(2))
        self.execute(lambda x: layer(x, flip=flip), lambda x: twin(x, flip=flip), [x],
                     f"Blending(4)({x.name}, flip={flip})", share=True)  # fmt: skip

    def again(self) -> None:
        """A layer that was called before, on other tensors: its weights are shared."""
        if not self.calls:
            raise Refused
        function, twin, text, signature = self.choose(self.calls)
        arguments = [self.tensor(lambda t, s=s: (t.rank, t.symbol.dtype) == s) for s in signature]
        names = ", ".join(t.name for t in arguments)
        self.execute(function, twin, arguments, f"the layer of [{text}] again, on {names}")

    def nest(self) -> None:
        """A model made of a few statements, called like a layer."""
        if self.indent:
            raise Refused
        x = self.tensor(lambda t: t.floating and t.rank >= 2)
        inner = Program(self.tape, self.numbers, indent="    ")
        known = self.maybe()
        dims = [
            None if str(d) in self.anonymous or (not known and not isinstance(d, int))
            or spec.is_anonymous(d) else d if isinstance(d, int) else str(d)
            for d in x.symbol.spec.dims_raw[1:]
        ]  # fmt: skip
        if str(x.symbol.spec.dims_raw[0]) != "batch":
            raise Refused
        inner.new_input(dims)
        for _ in range(self.choose([1, 2, 3])):
            inner.attempt()
        if len(inner.inputs) > 1 or not inner.statements:
            raise Refused
        model = inner.model(f"nested_{next(self.numbers)}")
        self.lines += inner.lines
        self.execute(model, model, [x], f"{model.name}({x.name})", share=True)

    def attempt(self) -> None:
        """A statement, or none where neither side can execute it."""
        kept = len(self.lines)
        try:
            self.step()
        except Refused:
            del self.lines[kept:]
            used = {t for s in self.statements for t in s.arguments}
            dead = [t for t in self.inputs[1:] if t not in used]
            self.inputs = [t for t in self.inputs if t not in dead]
            self.tensors = [t for t in self.tensors if t not in dead]

    def grow(self, statements: int) -> None:
        """Draw the whole program."""
        self.any_input()
        for _ in range(statements):
            self.attempt()

    # ---- the model -------------------------------------------------------------------------------

    def model(self, name: str) -> Any:
        """The model of tensors that nothing reads, its inputs and outputs in some structure."""
        read = {t for s in self.statements for t in s.arguments}
        ends = [t for t in self.tensors if t not in read and t not in self.inputs] or self.tensors
        chosen = list(dict.fromkeys([ends[-1], *ends[: self.choose([0, 1, 3])]]))
        if self.choose([0, 0, 1]):  # an input, or a tensor that others read
            chosen = list(dict.fromkeys([*chosen, self.choose(self.tensors)]))
        self.results = chosen
        needed, todo = set(), list(chosen)
        makers = {t: s for s in self.statements for t in s.outputs}
        while todo:
            t = todo.pop()
            if t not in needed:
                needed.add(t)
                todo += makers[t].arguments if t in makers else []
        self.inputs = [t for t in self.inputs if t in needed]
        self.input_structure = self.nested(self.inputs)
        self.output_structure = self.nested(chosen)

        def symbols(structure: Any) -> Any:
            return nested.map_structure(lambda t: t.symbol, structure)

        shown = [nested.map_structure(lambda t: t.name, s)
                 for s in (self.input_structure, self.output_structure)]  # fmt: skip
        self.say(f"{name} = Model({shown[0]}, {shown[1]})")
        return lamina.Model(symbols(self.input_structure), symbols(self.output_structure),
                            name=name)  # fmt: skip

    def nested(self, tensors: list[Tensor]) -> Any:
        """One of the structures that a user could give these tensors."""
        if self.indent or (len(tensors) == 1 and self.maybe()):
            return tensors[0] if len(tensors) == 1 else list(tensors)
        kind = self.choose(["list", "dict", "tuple", "deep"])
        if kind == "dict":  # names that sort in another order than they are declared
            return {f"k{9 - i}": t for i, t in enumerate(tensors)}
        if kind == "deep":
            return {"z": {"b": tensors[0]}, "a": list(tensors[1:])} if tensors[1:] else {
                "z": [tensors[0]]}  # fmt: skip
        return tuple(tensors) if kind == "tuple" else list(tensors)

    def feed(self, leaves: list[Any]) -> Any:
        """Arrays for the inputs, in the structure of the inputs."""
        values = dict(zip(self.inputs, leaves, strict=True))
        return nested.map_structure(lambda t: values[t], self.input_structure)

    def compose(self, leaves: list[Any]) -> list[Any]:
        """The results by calling everything on arrays, statement after statement."""
        values = dict(zip(self.inputs, leaves, strict=True))
        wanted = set(self.results)
        for s in self.statements:
            if all(t in values for t in s.arguments):
                made = [x for x in nested.flatten(s.function(*(values[t] for t in s.arguments)))
                        if x is not None]  # fmt: skip
                values |= dict(zip(s.outputs, made, strict=True))
            if wanted <= values.keys():
                break
        return [values[t] for t in nested.flatten(self.output_structure)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def copy_of(case: Case, name: str) -> Any:
    """A new layer of the row, with layers of its own inside."""
    fresh = {k: registry.deserialize(registry.serialize(v)) if holds_layers(v) else v
             for k, v in case.kwargs.items()}  # fmt: skip
    return case.cls(**fresh, name=name)


def holds_layers(value: Any) -> bool:
    return any(isinstance(x, layers.Layer) for x in nested.flatten(value))


# ---- what a traced program computes --------------------------------------------------------------


def digest(jaxpr: Any, inputs: list[str], consts: Any = ()) -> list[str]:
    """For each output, what it is computed from and how: equal for the same computation.

    The order of equations and the names of variables do not count; which input is read where does.
    """
    import hashlib

    known: dict[Any, str] = {}

    def mark(*parts: Any) -> str:
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]

    def of(v: Any) -> str:
        if hasattr(v, "val"):
            return mark("literal", repr(v.val), str(v.aval))
        return known[v]

    def shown(value: Any) -> Any:
        inner = getattr(value, "jaxpr", value)
        if hasattr(inner, "eqns"):
            return digest(inner, [f"i{n}" for n in range(len(inner.invars))],
                          getattr(value, "consts", ()))  # fmt: skip
        if isinstance(value, (tuple, list)):
            return [shown(v) for v in value]
        return re.sub(r"0x[0-9a-f]+", "", str(value))

    known |= dict(zip(jaxpr.invars, inputs, strict=True))
    for v, const in zip(jaxpr.constvars, consts, strict=False):
        known[v] = mark("const", np.asarray(const).tobytes(), str(v.aval))
    for equation in jaxpr.eqns:
        parameters = [(k, shown(p)) for k, p in sorted(equation.params.items())]
        here = mark(equation.primitive.name, parameters, [of(v) for v in equation.invars])
        known |= {v: f"{here}/{n}" for n, v in enumerate(equation.outvars)}
    return [of(v) for v in jaxpr.outvars]


def computation(model: Any, function: Callable[..., Any], specs: list[TensorSpec]) -> list[str]:
    """The digest of ``function(arrays)``, the model's weights being inputs of their own."""
    variables = model.weights

    def run(weights: list[Any], *arrays: Any) -> list[Any]:
        with entered(Scope(values=dict(zip(variables, weights, strict=True)), pure=True)):
            return nested.flatten(function(list(arrays)))

    weights = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables]
    closed = jax.make_jaxpr(run)(weights, *(s.struct for s in specs))
    inputs = [f"{what} {i}" for what, n in (("weight", len(weights)), ("input", len(specs)))
              for i in range(n)]  # fmt: skip
    return digest(closed.jaxpr, inputs, closed.consts)


def arrays(specs: list[TensorSpec], seed: int = 0) -> list[np.ndarray]:
    """Numbers in these shapes; small integers, which every embedding has."""
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=s.dims_raw).astype(s.dtype) if s.dtype.startswith("float")
        else rng.integers(0, 5, s.dims_raw).astype(s.dtype)
        for s in specs
    ]  # fmt: skip
