"""The public boundary of the library: tracebacks and warnings refer to the user's own code.

Internal code raises errors as usual. Public functions are decorated with :func:`public`, which
removes the frames of Lamina and JAX from the traceback and keeps those of the user.
"""

from __future__ import annotations

import functools
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

from lamina import settings
from lamina.core.scope import current
from lamina.errors import SymbolicTensorError

_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError, jax.errors.InconclusiveDimensionOperation,
    jax.errors.NonConcreteBooleanIndexError,
)  # fmt: skip
_F = TypeVar("_F", bound=Callable[..., Any])
_INTERNAL = (__name__.partition(".")[0] + ".", "jax.", "jax._src", "contextlib", "functools")


def public(fn: _F) -> _F:
    """Decorator of public functions: removes internal frames from the tracebacks of their errors.

    ``lamina.config.disable_traceback_filtering()`` turns this off.
    """

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            try:
                return fn(*args, **kwargs)
            except Exception as e:
                if current() is None and needs_values(e):
                    raise _explained(e) from None
                raise
        except Exception as e:
            if current() is not None or not settings.is_traceback_filtering_enabled():
                raise  # called by another public function, which filters the traceback
            shown: BaseException | None = e
            while shown is not None:
                shown.__traceback__ = _users_frames(shown.__traceback__)
                _drop_jax_note(shown)
                shown = shown.__cause__ or shown.__context__
            raise

    return cast(_F, call)


USE_OPS = (
    "use ops instead of Python's `if`, `for`, `int()`, `float()`, `.numpy()` and NumPy: "
    "`lamina.ops.where(condition, a, b)`, ..."
)


def needs_values(e: BaseException) -> bool:
    """Whether an error of JAX says that the values of a tensor, or a dimension, are not known."""
    return isinstance(e, _NEEDS_VALUES) or (
        isinstance(e, AttributeError) and str(e).endswith("Tracer has no attribute numpy")
    )


def _explained(e: Exception) -> SymbolicTensorError:
    """The error of a function that needs values where it is traced, without terms of JAX."""
    unknown = isinstance(e, jax.errors.InconclusiveDimensionOperation)
    error = SymbolicTensorError(
        "The code at the end of the traceback needs the values of a tensor, or an unknown "
        "dimension, where only shapes are known: in a compiled step, or for gradients"
        + (f": {str(e).splitlines()[0]}" if unknown else "."),
        cure=f"There, {USE_OPS}",
    )
    for note in getattr(e, "__notes__", []):
        error.add_note(note)
    return error.with_traceback(e.__traceback__)


def _users_frames(tb: types.TracebackType | None) -> types.TracebackType | None:
    frames: list[types.TracebackType] = []
    while tb is not None:
        if not tb.tb_frame.f_globals.get("__name__", "").startswith(_INTERNAL):
            frames.append(tb)
        tb = tb.tb_next
    kept: types.TracebackType | None = None
    for one in reversed(frames):
        kept = types.TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return kept


def _drop_jax_note(e: BaseException) -> None:
    notes = getattr(e, "__notes__", [])
    kept = [n for n in notes if "JAX has removed its internal frames" not in n]
    if len(kept) != len(notes):
        e.__notes__ = kept


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the user's line: the innermost one outside Lamina and JAX."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_INTERNAL):
        frame = frame.f_back
    warnings.warn_explicit(
        message, category, frame.f_code.co_filename, frame.f_lineno,
        frame.f_globals.get("__name__"), frame.f_globals.setdefault("__warningregistry__", {}),
    )  # fmt: skip


def raised_by_user(e: BaseException) -> bool:
    """Whether the innermost frame belongs to the user rather than to Lamina, JAX or NumPy."""
    tb = e.__traceback__
    name = ""
    while tb is not None:
        name = tb.tb_frame.f_globals.get("__name__", "")
        tb = tb.tb_next
    return not name.startswith((*_INTERNAL, "numpy", "jax", "opt_einsum"))
