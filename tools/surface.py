"""What Keras's public surface holds that Lamina's does not: names, members, parameters."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras

from lamina.alias.messages import target_of

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "src" / "lamina" / "alias" / "surface.json"

Gaps = dict[str, dict[str, list[str]]]

# What is part of the module objects, or of the means that each library is written with.
NOT_SURFACE = {"keras.src", "keras.version"}
# What members of classes are there for a backend, or are made by scikit-learn.
NO_MEMBERS = {"convert_weight", "distribute_tf_dataset", "jax_state_sync", "set_fit_request"}


def modules() -> dict[str, Any]:
    """Every public module of Keras, by its path."""
    found: dict[str, Any] = {}

    def visit(path: str, module: Any) -> None:
        found[path] = module
        for name, value in sorted(vars(module).items()):
            inner = f"{path}.{name}"
            if name[0] != "_" and inner not in NOT_SURFACE and inspect.ismodule(value):
                visit(inner, value)

    visit("keras", keras)
    return found


def names(path: str, module: Any) -> list[str]:
    """The public names of a module of Keras that are no modules."""
    return sorted(
        name
        for name, value in vars(module).items()
        if name[0] != "_" and not inspect.ismodule(value) and f"{path}.{name}" not in NOT_SURFACE
    )


def _default(value: Any) -> str:
    """A default as text, the same for defaults that mean the same: ``1``, ``1.0``, ``(1, 1)``."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__name__
    if isinstance(value, tuple) and value and len({_default(v) for v in value}) == 1:
        return _default(value[0])
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(int(value) if value == value // 1 else value)
    return repr(value)


def _signature(value: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(value)
    except (TypeError, ValueError):
        return None


def differences(theirs: Any, mine: Any) -> list[str]:
    """How the parameters of two callables differ, from the view of a program written for Keras."""
    wanted, found = _signature(theirs), _signature(mine)
    if wanted is None or found is None:
        return []
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found.parameters.values())
    said: list[str] = []
    for name, parameter in wanted.parameters.items():
        own = found.parameters.get(name)
        if parameter.kind in _VARIADIC or (own is None and anything):
            continue
        if own is None:
            said.append(f"no `{name}`")
        elif own.default is _NONE:
            if parameter.default is not _NONE:
                said.append(f"`{name}` has no default")
        elif parameter.default is not _NONE and _default(own.default) != _default(
            parameter.default
        ):
            said.append(f"`{name}={_default(own.default)}`, not {_default(parameter.default)}")
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in found.parameters.values()):
        return said
    taken = [n for n in _positional(wanted) if n in found.parameters or anything]
    for theirs_here, mine_here in zip(taken, _positional(found), strict=False):
        if mine_here not in wanted.parameters and theirs_here in _positional(found):
            return [*said, f"`{mine_here}` comes before `{theirs_here}`"]
    order = [n for n in _positional(found) if n in taken]
    if order == taken[: len(order)]:
        by_name = taken[len(order) :]
        if by_name:
            said.append(f"by name only: {', '.join(f'`{n}`' for n in by_name)}")
    else:
        said.append(f"order: {', '.join(f'`{n}`' for n in order)}")
    return said


_NONE = inspect.Parameter.empty
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _positional(signature: inspect.Signature) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [n for n, p in signature.parameters.items() if p.kind in kinds]


@functools.cache
def _public() -> frozenset[int]:
    """Every public object of Keras, by its id."""
    return frozenset(id(getattr(m, n)) for path, m in modules().items() for n in names(path, m))


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public members of a class of Keras that its public bases among Keras's classes lack.

    Those that it has from bases that are not public count as its own.
    """
    bases = [c for c in cls.__mro__[1:] if c.__module__.startswith("keras.")]
    inherited = {n for base in bases if id(base) in _public() for n in dir(base)}
    own = {n for c in [cls, *bases] for n in vars(c)}
    for name in sorted(own - inherited - NO_MEMBERS):
        if name[0] != "_":
            yield name, inspect.getattr_static(cls, name)


def gaps() -> Gaps:
    """For each public module of Keras: what is absent (``[]``), and what differs, in words.

    A class that has several paths is compared member by member once, under the first one, and so
    is a member that several classes have from a base that is not public, if the gap is the same.
    """
    found: Gaps = {}
    known: set[tuple[int, str]] = set()
    first: dict[int, tuple[str, str]] = {}
    compared: set[int] = set()
    for path, module in modules().items():
        here = found.setdefault(path, {})
        for name in names(path, module):
            theirs, mine = getattr(module, name), getattr(target_of(path), name, None)
            home = first.setdefault(id(theirs), (path, name))
            if mine is None:
                here[name] = []
            elif callable(theirs):
                said = differences(theirs, mine)
                if said:
                    here[name] = said
                if inspect.isclass(theirs) and id(theirs) not in compared:
                    compared.add(id(theirs))
                    for member, said in member_gaps(home[1], theirs, mine).items():
                        value = inspect.getattr_static(theirs, member.partition(".")[2])
                        if (gap := (id(value), repr(said))) not in known:
                            known.add(gap)
                            found[home[0]][member] = said
    return found


def _has(cls: Any, member: str) -> bool:
    """Whether instances have the member: the class does, declares it, or takes it."""
    if hasattr(cls, member):
        return True
    declared = any(member in vars(c).get("__annotations__", {}) for c in inspect.getmro(cls))
    signature = _signature(cls)
    return declared or (signature is not None and member in signature.parameters)


def member_gaps(name: str, theirs: type, mine: Any) -> dict[str, list[str]]:
    """What a class lacks of the public members that a class of Keras defines itself."""
    said: dict[str, list[str]] = {}
    for member, value in _members(theirs):
        if not _has(mine, member):
            said[f"{name}.{member}"] = []
        elif inspect.isroutine(value):
            found = differences(getattr(theirs, member), getattr(mine, member))
            if found:
                said[f"{name}.{member}"] = found
    return said


def recorded() -> Gaps:
    """The gaps that the repository knows of."""
    return json.loads(RECORD.read_bytes()) if RECORD.exists() else {}


def written(found: Gaps) -> str:
    """The record as text: a line for each name, so that branches merge."""
    lines = ["{"]
    for number, (path, here) in enumerate(sorted(found.items())):
        end = "" if number == len(found) - 1 else ","
        if not here:
            lines.append(f" {json.dumps(path)}: {{}}{end}")
            continue
        lines.append(f" {json.dumps(path)}: {{")
        rows = [f"  {json.dumps(name)}: {json.dumps(said)}" for name, said in sorted(here.items())]
        lines += [*(f"{row}," for row in rows[:-1]), rows[-1], f" }}{end}"]
    return "\n".join([*lines, "}", ""])


def compare(found: Gaps, known: Gaps) -> tuple[list[str], list[str]]:
    """What is worse than recorded, and what is better, a line each."""
    worse, better = [], []
    for path in sorted({*found, *known}):
        new, old = found.get(path, {}), known.get(path, {})
        for name in sorted({*new, *old}):
            if new.get(name) != old.get(name):
                line = f"{path}.{name}: {_state(new, name)} (recorded: {_state(old, name)})"
                (better if _rank(new, name) < _rank(old, name) else worse).append(line)
    return worse, better


def _state(gaps: dict[str, list[str]], name: str) -> str:
    if name not in gaps:
        return "here"
    return "; ".join(gaps[name]) or "absent"


def _rank(gaps: dict[str, list[str]], name: str) -> int:
    """How large a gap is: none, so many differences, absent, absent with its class."""
    if gaps.get(name.partition(".")[0]) == [] and "." in name:
        return 2000
    if name not in gaps:
        return 0
    return len(gaps[name]) or 1000
