"""Packages whose names are imported on first use, so that a program pays for what it uses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
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
        value: Any = importlib.import_module(module)
        if original:
            value = getattr(value, original)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted([*origins, *defined.split()])

    return __getattr__, __dir__
