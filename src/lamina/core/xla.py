"""The only place that knows how XLA is best driven on each platform."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

from lamina import config

# XLA:CPU fuses operations into library calls. For convolutions that is 2 to 3 times slower than its
# older path; for reductions over leading axes (batch normalization) 4 to 15 times faster. So: the
# library for reductions only.
_OPTIONS = {"cpu": {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}}


@functools.cache
def _keep_compiled() -> None:
    """Let JAX keep what it compiled in the user's cache folder, unless it was told where or not to.

    Only programs that took a second or longer to compile are kept. The folder must be the user's
    alone, because what is found in it is run.
    """
    settings = jax.config.values
    if settings["jax_compilation_cache_dir"] or not settings["jax_enable_compilation_cache"]:
        return
    folder = config.cache_home() / "xla"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return  # no home, or one that cannot be written to
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    if mine and not status.st_mode & 0o022 and os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))


def jit(fn: Callable[..., Any], **kwargs: Any) -> Any:
    """``jax.jit`` with the compiler options that were measured to be best for this platform."""
    _keep_compiled()
    return jax.jit(fn, compiler_options=_OPTIONS.get(jax.default_backend()), **kwargs)
