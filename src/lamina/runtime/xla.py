"""The settings with which XLA is fastest on each platform."""

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
# older code path, for reductions over leading axes (batch normalization) 4 to 15 times faster: use
# the library for reductions only. LLVM's highest optimization level makes no step faster than the
# first level, but compilation of convolutional networks takes 20 % longer.
_OPTIONS = {
    "cpu": {
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
        "xla_backend_optimization_level": 1,
    }
}

ALIGNMENT = 64  # in bytes, of the arrays that XLA:CPU uses without a copy
_MIB = 1 << 20
# Parameters of glibc's `mallopt` (malloc.h): their number and the value.
_MALLOC = {
    # Only the first heap serves blocks above 64 MiB, and the more heaps there are, the fewer
    # threads use it; with a single heap, the threads of small models wait for each other.
    "M_ARENA_MAX": (-8, 3),
    "M_MMAP_THRESHOLD": (-3, 256 * _MIB),  # blocks up to this size come from a heap ...
    "M_TRIM_THRESHOLD": (-1, 512 * _MIB),  # ... which keeps free memory up to this
    # ... and grows in these steps. All heaps but the first consist of parts of 64 MiB; a free part
    # is unmapped if the one before it has this much room at its end.
    "M_TOP_PAD": (-2, 64 * _MIB),
}


@functools.cache
def _keep_compiled() -> None:
    """Cache compiled programs in the user's cache folder, unless JAX's cache is configured.

    Programs that took at least 0.25 s to compile are kept, about 100 KiB each: with JAX's default,
    1 s, small models would be compiled again by each process. The folder must be accessible to the
    user only, because its content is executed.
    """
    chosen = jax.config.values
    if chosen["jax_compilation_cache_dir"] or not chosen["jax_enable_compilation_cache"]:
        return
    folder = settings.cache_home() / "xla"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return  # no home folder, or not a writable one
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    if mine and not status.st_mode & 0o022 and os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        limit = "jax_persistent_cache_min_compile_time_secs"
        if limit.upper() not in os.environ and chosen[limit] == 1.0:  # JAX's default
            jax.config.update(limit, 0.25)


def _from_libc(name: str) -> Any:
    """A function of glibc; None with another C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def _keep_memory() -> None:
    """Let the C library keep the memory that a step frees for the next step.

    XLA:CPU allocates new buffers in each step. By default glibc requests large blocks from the
    system and returns them when they are freed, so that every step waits for pages to be mapped and
    cleared, which takes 20 to 33 % of the steps of convolutional networks. With these settings it
    takes no time, but up to 512 MiB per heap stay allocated after large models are deleted.

    Settings from the environment take precedence, and nothing is changed if JAX has no CPU backend.
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
    """Return free memory of the heap to the system, for example after a compilation."""
    trim = _from_libc("malloc_trim")
    if trim is not None:
        trim(0)


def has_own_memory() -> bool:
    """Whether the device has memory of its own, so that data must be transferred from the host."""
    return jax.default_backend() != "cpu"


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in host memory that XLA:CPU reads in place, without the copy that others need."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = misaligned(memory)
    return memory[start : start + size].view(dtype).reshape(shape)


def misaligned(array: np.ndarray) -> int:
    """The number of bytes to the next address of the array that is aligned for XLA:CPU."""
    return -array.ctypes.data % ALIGNMENT


def options() -> dict[str, Any]:
    """The compiler options that were measured to be fastest on this platform.

    Options that the user has set in the environment (``XLA_FLAGS``) are left out.
    """
    chosen = os.environ.get("XLA_FLAGS", "")
    return {k: v for k, v in _OPTIONS.get(jax.default_backend(), {}).items() if k not in chosen}


def jit(fn: Callable[..., Any], **kwargs: Any) -> Any:
    """``jax.jit`` with the :func:`options` of this platform."""
    _keep_compiled()
    return jax.jit(fn, compiler_options=options(), **kwargs)


_keep_memory()
