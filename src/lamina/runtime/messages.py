"""Where the library prints its messages: to standard output or a logger."""

from __future__ import annotations

import io
import logging
import sys
from typing import TextIO

from lamina import settings

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


def stream() -> TextIO:
    """The standard output, unless ``lamina.config.disable_interactive_logging()`` was called.

    >>> settings.disable_interactive_logging()
    >>> stream() is sys.stdout
    False
    >>> settings.enable_interactive_logging()
    >>> stream() is sys.stdout
    True
    """
    return sys.stdout if settings.is_interactive_logging_enabled() else _Log()  # pyright: ignore[reportReturnType]
