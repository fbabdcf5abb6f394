"""The import hook that lets ``import keras`` find Lamina."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lamina.alias.messages import absent, public_names, target_of
from lamina.alias.tables import KERAS_VERSION, PRIVATE, TENSORFLOW
from lamina.errors import AbsentModuleError, AbsentNameError, StateError, TrainingWarning

_PRIVATE = "lamina.alias.private"  # loaded on first use: it loads the library
_FOR_CHILDREN = str(Path(__file__).parent / "for_children")


def _version() -> str:
    """The version of Keras whose surface Lamina follows."""
    return KERAS_VERSION


class KerasModule(types.ModuleType):
    """A module of Keras's name whose attributes are those of a module of Lamina.

    It is an object of its own, so that what a program assigns to ``keras.layers`` does not change
    Lamina, and that a missing name is reported under the name that the program uses.

    Args:
        name: its path: ``"keras.layers"``.
        target: the module of Lamina; None for a private one that has few names, or leads to others.
        more: further names, which :mod:`lamina.alias.private` has.
    """

    def __init__(
        self, name: str, target: types.ModuleType | None, more: tuple[str, ...] = ()
    ) -> None:
        super().__init__(name, None if target is None else target.__doc__)
        self.__path__ = []  # a package, so that a missing submodule is reported too
        self.__file__ = None if target is None else target.__file__
        self._target = target
        self._more = more
        if name == "keras":
            self.__version__ = KERAS_VERSION
            self.version = _version

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return [n for n in self._offered() if n[0] != "_"]
        path = f"{self.__name__}.{name}"
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if _leads_to_module(path):
            return importlib.import_module(path)
        own = importlib.import_module(_PRIVATE) if name in self._more else self._target
        value = getattr(own, name, self)
        if value is not self and not isinstance(value, types.ModuleType):
            setattr(self, name, value)
            return value
        subject, cure = absent(path)
        raise AbsentNameError(subject, cure=cure)

    def __repr__(self) -> str:
        found = "private to Keras" if self._target is None else self._target.__name__
        return f"<module {self.__name__!r}, which is {found}>"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._offered()})

    def _offered(self) -> list[str]:
        return [*self._more, *([] if self._target is None else public_names(self._target))]


def _leads_to_module(path: str) -> bool:
    """Whether ``path`` is a module under the alias."""
    if path == "keras.src" or path.startswith("keras.src."):
        return any(p == path or p.startswith(path + ".") for p in PRIVATE)
    return target_of(path) is not None


class KerasFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and makes the modules of Keras's name; refuses those that Lamina lacks."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        root = fullname.partition(".")[0]
        if f"{fullname}.".startswith(("tensorflow.keras.", "keras._tf_keras.")):
            raise AbsentModuleError(TENSORFLOW.format(name="tensorflow.keras"))
        if root != "keras":
            return None
        if not _leads_to_module(fullname):
            raise _absent_module(fullname)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        name = spec.name
        if name == "keras":
            _check_backend()
        if not name.startswith("keras.src"):
            return KerasModule(name, target_of(name))
        public, more = PRIVATE.get(name, (None, ()))
        found = None if public is None else target_of(public)
        if public is not None and found is None:
            raise _absent_module(public)
        return KerasModule(name, found, more)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing: the module's attributes are looked up in Lamina when they are used."""


def _absent_module(path: str) -> AbsentModuleError:
    subject, cure = absent(path)
    error = AbsentModuleError(subject, cure=cure)
    error.name = path
    return error


def _check_backend() -> None:
    wanted = os.environ.get("KERAS_BACKEND", "jax")
    if wanted != "jax":
        warnings.warn(
            f"KERAS_BACKEND is {wanted!r}, and Lamina, which `import keras` finds here, runs on "
            "JAX: tensors are JAX's. Take the setting out where the program uses Keras's "
            "functions only.",
            TrainingWarning,
            stacklevel=3,
        )


def alias_keras() -> None:
    """Let ``import keras`` find Lamina, from now on and in this process and its workers.

    It is for programs and libraries that say ``import keras`` and cannot be changed: a notebook,
    KerasTuner, SciKeras. ``python -m lamina run program.py`` does the same for a whole program.
    Whether Keras is installed makes no difference. ``keras.__version__`` is then a version of
    Keras; ``lamina.__version__`` stays Lamina's.

    Raises:
        StateError: Keras itself is already imported, so that objects of both would meet.

    Example::

        import lamina

        lamina.alias_keras()

        import keras  # Lamina
        from keras.layers import Dense
    """
    loaded = sys.modules.get("keras")
    if loaded is not None and not isinstance(loaded, KerasModule):
        raise StateError(
            "alias_keras() was called after `import keras`, which loaded Keras itself "
            f"({loaded.__file__}).",
            cure="Call it first, before anything that imports Keras; in a notebook, restart the "
            "kernel.",
        )
    if not any(isinstance(finder, KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, KerasFinder())
    if _FOR_CHILDREN not in sys.path:
        sys.path.insert(1, _FOR_CHILDREN)  # behind the program's own folder
