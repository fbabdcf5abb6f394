"""Messages about names of Keras that Lamina does not have."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.util
import json
import types
from importlib import resources

from lamina.alias.tables import INSTEAD, KERAS_VERSION, PRIVATE

PAGE = "docs/compatibility.md"


@functools.cache
def surface() -> dict[str, dict[str, list[str]]]:
    """Every public module of Keras, with the names in it that Lamina lacks or has otherwise."""
    return json.loads(resources.files(__package__ or "").joinpath("surface.json").read_bytes())


def target_of(path: str) -> types.ModuleType | None:
    """The public module of Lamina for a path of Keras; None if there is none."""
    root = importlib.import_module("lamina")
    if path == "keras":
        return root
    if path not in surface() and path.removeprefix("keras.") not in root.__all__:
        return None
    name = root.__name__ + path.removeprefix("keras")
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # its parent is absent
        return None
    return None if found is None else importlib.import_module(name)


def public_names(module: types.ModuleType) -> list[str]:
    """What a module of Lamina offers: its ``__all__``, or its names that are not modules."""
    with contextlib.suppress(AttributeError):
        return [n for n in module.__all__ if n[0] != "_"]
    return sorted(
        n for n, value in vars(module).items()
        if n[0] != "_" and not isinstance(value, types.ModuleType)
        and n not in ("annotations", "TYPE_CHECKING", "Any")
    )  # fmt: skip


def _known_to_keras(path: str) -> bool:
    parent, _, name = path.rpartition(".")
    return path in surface() or name in surface().get(parent, {})


def reason(path: str) -> str | None:
    """Why Lamina does not plan that name, or what replaces it, if that is known by hand."""
    while path:
        if path in INSTEAD:
            return INSTEAD[path]
        path = path.rpartition(".")[0]
    return None


def _elsewhere(name: str) -> list[str]:
    """Other paths at which Lamina has that name."""
    found = []
    for path in surface():
        module = target_of(path)
        if module is not None and name in public_names(module):
            found.append(f"{path}.{name}")
    return sorted(found, key=lambda p: (p.count("."), p))[:3]


def _near(parent: str, name: str) -> list[str]:
    module = target_of(parent)
    known = [] if module is None else public_names(module)
    plain = {n.lower(): n for n in known}
    close = difflib.get_close_matches(name.lower(), plain, 3, 0.75)
    return [f"{parent}.{plain[n]}" for n in close]


def absent(path: str) -> tuple[str, str]:
    """The message about ``path``, a missing name or module of Keras, and what to do instead."""
    if path.startswith("keras.src"):
        return _private(path)
    parent, _, name = path.rpartition(".")
    why = reason(path)
    if not _known_to_keras(path):
        said = f"{path}: neither Keras {KERAS_VERSION} nor Lamina has it."
    elif why:
        said = f"{path}: Lamina does not have it."
    else:
        said = f"{path}: Lamina does not have it yet."
    if why:
        return said, why
    instead = [p for p in _elsewhere(name) if p != path] or _near(parent, name)
    if instead:
        return said, f"Did you mean {' or '.join(f'`{p}`' for p in instead)}?"
    return said, f"{PAGE} lists all that is and is not here."


def _private(path: str) -> tuple[str, str]:
    known = ", ".join(f"`{p}`" for p in PRIVATE)
    instead = _elsewhere(path.rpartition(".")[2])
    return f"{path} is private to Keras, and Lamina has other insides.", (
        f"{f'Use `{instead[0]}`. ' if instead else ''}Of the private modules only {known} are "
        "known, because libraries import them."
    )
