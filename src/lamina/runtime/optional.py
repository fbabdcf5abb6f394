"""Optional packages: loaded where they are needed, with an error that says what to install."""

from __future__ import annotations

import importlib
from typing import Any

from lamina.errors import MissingPackageError


def load(module: str, user: str, requirement: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Its full name.
        user: What needs it, for the message.
        requirement: What to install, as ``pip install`` takes it.

    Raises:
        MissingPackageError: It is not installed.

    >>> load("json", "This example", "json").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        package = module.partition(".")[0]
        if e.name is None or e.name.partition(".")[0] != package:
            raise  # something that an installed package needs itself
        raise MissingPackageError(
            f"{user} needs the package {package!r}, which is not installed. "
            f"Install it: `pip install '{requirement}'`."
        ) from e
