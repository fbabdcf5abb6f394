"""Packages whose names are imported on first use, so that a program pays for what it uses."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any


def names_of(
    package: str, modules: Mapping[str, str], submodules: str = "", defined: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of such a package.

    Type checkers do not see these names: import them under ``if TYPE_CHECKING:`` too. For
    ``from package import *``, the package has the attribute ``__all__``.

    Args:
        package: Its ``__name__``.
        modules: From each module to the names that the package takes from it, separated by spaces;
            ``name=original`` where the two differ.
        submodules: Names of modules of the package that are attributes too, separated by spaces.
        defined: Public names that the package defines or imports itself, separated by spaces.

    >>> get, names = names_of("lamina.patterns", {"string": "digits letters=ascii_letters"})
    >>> get("digits"), get("letters")[:3], names()
    ('0123456789', 'abc', ['digits', 'letters'])
    """
    origins = {name: (f"{package}.{name}", "") for name in submodules.split()}
    for module, names in modules.items():
        for entry in names.split():
            name, _, original = entry.partition("=")
            origins[name] = (module, original or name)

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return [*origins, *defined.split()]
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = origins[name]
        with _without_collections():
            value: Any = importlib.import_module(module)
        if original:
            value = getattr(value, original)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted([*origins, *defined.split()])

    return __getattr__, __dir__


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Load JAX without garbage collections, and never look for garbage in what it consists of.

    Some 180,000 objects are created, and stay. Python would search them for garbage several times
    meanwhile, which takes 15 % of the time, and again when models are traced.
    """
    if "jax" in sys.modules or not gc.isenabled():
        yield
        return
    gc.collect()  # so that what is kept from later searches contains no garbage
    gc.disable()
    try:
        yield
    finally:
        if "jax" in sys.modules:
            gc.freeze()
        gc.enable()
