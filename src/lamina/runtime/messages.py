"""Where the library prints its messages: to standard output or a logger."""

from __future__ import annotations

import io
import logging
import sys
from typing import TextIO

from lamina import settings
from lamina.runtime import processes

_LOGGER = logging.getLogger("lamina")


class _Log(io.TextIOBase):
    """A stream that logs its lines with the logger ``"lamina"``."""

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                _LOGGER.info("%s", line.rstrip())
        return len(text)


class _Nowhere(io.TextIOBase):
    """A stream that drops what is written, in processes other than the first."""

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


def stream() -> TextIO:
    """The standard output, unless ``lamina.config.disable_interactive_logging()`` was called.

    Of several processes that run one program, only the first one writes.

    >>> settings.disable_interactive_logging()
    >>> stream() is sys.stdout
    False
    >>> settings.enable_interactive_logging()
    >>> stream() is sys.stdout
    True
    """
    if not processes.is_first():
        return _Nowhere()  # pyright: ignore[reportReturnType]
    return sys.stdout if settings.is_interactive_logging_enabled() else _Log()  # pyright: ignore[reportReturnType]
