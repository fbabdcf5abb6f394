"""A safe reader of the pickles in data sets (CIFAR's batches, the texts of IMDB and Reuters).

A pickle is a program for a stack machine that can call any function. Python's unpickler would run
it; this reader supports only the instructions that create numbers, strings, containers and arrays,
and refuses any other. It imports nothing, calls nothing, and allocates no more memory than the size
of the file: the three NumPy functions that pickled arrays call are represented by classes here.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Collection
from typing import Any

import numpy as np

from lamina.errors import UnsafeFileError

_GLOBALS = (
    "_codecs.encode",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray._reconstruct",
    "numpy.dtype",
    "numpy.ndarray",
)
# The dtypes of arrays that callers may request, as pickles name them.
BYTES = frozenset({"u1"})
OBJECTS = frozenset({"O", "O4", "O8"})
# Consecutive integers, which are most of a pickled text.
_INTEGERS = re.compile(rb"(?:K.|M..|J....)++", re.DOTALL)


class _Global(str):
    """The dotted name of one of the known globals."""

    __slots__ = ()


class _Type:
    """Represents a ``numpy.dtype``, of bytes or of objects."""

    def __init__(self, is_object: bool) -> None:
        self.is_object = is_object

    def restore(self, state: object) -> None:
        """Ignore byte order and alignment, which these dtypes do not have."""


class PickledArray:
    """Represents a ``numpy.ndarray``, whose content is set by a later instruction.

    Attributes:
        values: The array, of uint8 or of objects.
    """

    values: np.ndarray = np.empty(0, dtype=np.uint8)

    def restore(self, state: tuple[int, tuple[int, ...], _Type, bool, bytes | list[Any]]) -> None:
        """Set shape and content after checking that they match."""
        _, shape, dtype, is_fortran, content = state
        is_expected = isinstance(dtype, _Type) and (
            isinstance(content, list if dtype.is_object else bytes)
        )
        if not is_expected or math.prod(shape) != len(content):
            raise ValueError(f"an array of shape {shape} has {len(content)} entries")
        if isinstance(content, list):
            array = np.fromiter(content, dtype=object, count=len(content))
        else:
            array = np.frombuffer(bytearray(content), dtype=np.uint8)
        self.values = array.reshape(shape, order="F" if is_fortran else "C")


def read_pickle(data: bytes, arrays: Collection[str] = BYTES) -> Any:
    """Read the value of a pickle of protocol 1 to 4.

    Args:
        data: The pickle.
        arrays: The dtypes that its arrays may have: `BYTES` or `OBJECTS`.

    Returns: Numbers, lists, tuples, dicts, :class:`PickledArray`, and strings: bytes for those of
    Python 2, str for those of Python 3.

    Raises:
        UnsafeFileError: If the pickle refers to another global or contains another instruction.
        ValueError: If it is damaged.

    >>> import pickle
    >>> read_pickle(pickle.dumps({"labels": [1, 2]}, protocol=2))
    {'labels': [1, 2]}
    """
    try:
        return _run(data, arrays)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"the pickle's instructions are inconsistent: {error}") from error


def _run(data: bytes, arrays: Collection[str]) -> Any:
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop_from(start: int) -> list[Any]:
        items = stack[start:]
        del stack[start:]
        return items

    argument: Any
    stream = io.BytesIO(data)
    for opcode, argument, _ in pickletools.genops(stream):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINBYTES" | "SHORT_BINBYTES":
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING":  # strings of Python 2, which pickletools decodes
                stack.append(argument.encode("latin-1"))
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"T": (), "L": [], "D": {}}[opcode.name[6]])
            case "TUPLE":
                stack.append(tuple(pop_from(marks.pop())))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop_from(len(stack) - int(opcode.name[-1]))))
            case "APPEND":
                (item,) = pop_from(len(stack) - 1)
                stack[-1].append(item)
            case "APPENDS":
                items = pop_from(marks.pop())
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = pop_from(len(stack) - 2 if opcode.name == "SETITEM" else marks.pop())
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_known(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                stack.append(_known(".".join(pop_from(len(stack) - 2))))
            case "REDUCE":
                function, arguments = pop_from(len(stack) - 2)
                stack.append(_stand_in(function, arguments, arrays))
            case "BUILD":
                (state,) = pop_from(len(stack) - 1)
                stack[-1].restore(state)
            case _:
                raise UnsafeFileError(
                    f"its pickle contains the instruction {opcode.name} {str(argument)[:80]!r}; "
                    "expected only those that create numbers, strings, containers and arrays."
                )
        if run := _INTEGERS.match(data, stream.tell()):
            # Python's unpickler is faster, and safe here: all of these bytes are integers.
            stack.extend(pickle.loads(b"(" + run[0] + b"l."))  # noqa: S301
            stream.seek(run.end())
    raise ValueError("the pickle has no end")


def _known(name: str) -> _Global:
    if name not in _GLOBALS:
        raise UnsafeFileError(
            f"its pickle refers to {name[:80]!r}; expected only {', '.join(_GLOBALS)}. "
            "Nothing was imported or run. Download the file from its publisher."
        )
    return _Global(name)


def _stand_in(function: object, arguments: tuple[Any, ...], arrays: Collection[str]) -> Any:
    if isinstance(function, _Global):
        match str(function), arguments:
            case "_codecs.encode", (str(text), "latin1" | "latin-1"):
                return text.encode("latin-1")
            case "numpy.dtype", (str() | bytes() as name, *_) if _text(name) in arrays:
                return _Type(is_object=_text(name) in OBJECTS)
            case (
                ("numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct"),
                _,
            ):
                return PickledArray()
    raise UnsafeFileError(
        f"its pickle calls {str(function)[:80]!r} with arguments that none of its arrays needs."
    )


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("latin-1")
