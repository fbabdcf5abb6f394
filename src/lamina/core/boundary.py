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

from lamina import settings
from lamina.core.scope import current

_F = TypeVar("_F", bound=Callable[..., Any])
_INTERNAL = (__name__.partition(".")[0] + ".", "jax.", "jax._src", "contextlib", "functools")


def public(fn: _F) -> _F:
    """Decorator of public functions: removes internal frames from the tracebacks of their errors.

    ``lamina.config.disable_traceback_filtering()`` turns this off.
    """

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except Exception as e:
            if current() is not None or not settings.is_traceback_filtering_enabled():
                raise  # called by another public function, which filters the traceback
            shown: BaseException | None = e
            while shown is not None:
                shown.__traceback__ = _users_frames(shown.__traceback__)
                _drop_jax_note(shown)
                shown = shown.__cause__
            raise

    return cast(_F, call)


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
