"""The only place that knows how XLA is best driven on each platform."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lamina import settings

# XLA:CPU fuses operations into library calls. For convolutions that is 2 to 3 times slower than its
# older path; for reductions over leading axes (batch normalization) 4 to 15 times faster. So: the
# library for reductions only. LLVM's highest level makes no step faster than its first does, and
# convolutional networks compile a fifth longer.
_OPTIONS = {
    "cpu": {
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
        "xla_backend_optimization_level": 1,
    }
}

ALIGNMENT = 64  # bytes, of the arrays that XLA:CPU computes with
_MIB = 1 << 20
# Parameters of glibc's `mallopt` (malloc.h): number and value.
_MALLOC = {
    # Only the first heap takes blocks above 64 MiB, and the more heaps, the fewer threads have it;
    # with just one, the threads of small models wait for each other.
    "M_ARENA_MAX": (-8, 3),
    "M_MMAP_THRESHOLD": (-3, 256 * _MIB),  # blocks up to this come from a heap ...
    "M_TRIM_THRESHOLD": (-1, 512 * _MIB),  # ... which gives nothing back below this,
    "M_TOP_PAD": (-2, 32 * _MIB),  # and grows by this
}


@functools.cache
def _keep_compiled() -> None:
    """Let JAX keep what it compiled in the user's cache folder, unless it was told where or not to.

    Programs that took a quarter of a second or longer are kept, some 100 KiB each: with JAX's own
    limit, a second, a small model would be compiled anew by each process. The folder must be the
    user's alone, because what is found in it is run.
    """
    chosen = jax.config.values
    if chosen["jax_compilation_cache_dir"] or not chosen["jax_enable_compilation_cache"]:
        return
    folder = settings.cache_home() / "xla"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return  # no home, or one that cannot be written to
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    if mine and not status.st_mode & 0o022 and os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        limit = "jax_persistent_cache_min_compile_time_secs"
        if limit.upper() not in os.environ and chosen[limit] == 1.0:  # JAX's own
            jax.config.update(limit, 0.25)


def _from_libc(name: str) -> Any:
    """A function of glibc's; None where the C library is another."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def _keep_memory() -> None:
    """Let the C library keep the memory that a step frees, for the next step to use.

    XLA:CPU allocates the buffers of each step anew. glibc asks the system for a large block and
    returns it when it is freed, so that every step waits for pages to be mapped and cleared: a
    fifth to a third of a convolutional network's steps, none of it with these settings. The price
    is up to 512 MiB a heap that stay with the process after large models are gone.

    What a user chose in the environment stays, and nothing is changed where JAX has no CPU.
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ)
    if chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    if "cpu" not in (jax.config.values["jax_platforms"] or "cpu"):
        return
    mallopt = _from_libc("mallopt")
    if mallopt is not None:
        for parameter, value in _MALLOC.values():
            mallopt(parameter, value)


def give_back_memory() -> None:
    """Return to the system what lies free in the heap, such as after a compilation."""
    trim = _from_libc("malloc_trim")
    if trim is not None:
        trim(0)


def has_own_memory() -> bool:
    """Whether the device has another memory than the host, so that data has to be sent to it."""
    return jax.default_backend() != "cpu"


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in host memory that XLA:CPU reads where it lies; any other it copies first."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = misaligned(memory)
    return memory[start : start + size].view(dtype).reshape(shape)


def misaligned(array: np.ndarray) -> int:
    """After how many bytes an array reaches an address from which XLA:CPU reads in place."""
    return -array.ctypes.data % ALIGNMENT


def options() -> dict[str, Any]:
    """The compiler options that were measured to be best for this platform.

    One that a user chose in the environment (``XLA_FLAGS``) is not among them.
    """
    chosen = os.environ.get("XLA_FLAGS", "")
    return {k: v for k, v in _OPTIONS.get(jax.default_backend(), {}).items() if k not in chosen}


def jit(fn: Callable[..., Any], **kwargs: Any) -> Any:
    """``jax.jit`` with the :func:`options` of this platform."""
    _keep_compiled()
    return jax.jit(fn, compiler_options=options(), **kwargs)


_keep_memory()
