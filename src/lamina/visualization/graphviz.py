"""Graphs that are laid out and drawn by the Graphviz bundled with pygraphviz."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pygraphviz

_SYSTEM_CONFIGURATION = "/etc/fonts/fonts.conf"
_SETTINGS = ("FONTCONFIG_FILE", "FONTCONFIG_PATH", "FONTCONFIG_SYSROOT")


@contextmanager
def _font_configuration() -> Iterator[None]:
    """Context with a font configuration if neither the user nor the system has one."""
    if any(name in os.environ for name in _SETTINGS) or Path(_SYSTEM_CONFIGURATION).exists():
        yield
        return
    os.environ["FONTCONFIG_FILE"] = str(Path(__file__).with_name("fonts.conf"))
    try:
        yield
    finally:
        del os.environ["FONTCONFIG_FILE"]


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Context in which nothing, not even C code, writes to the standard error stream."""
    try:
        saved = os.dup(2)
    except OSError:  # a process without standard streams
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(nowhere)
        os.close(saved)


@functools.cache
def _load_fonts() -> None:
    """Let Graphviz load its fonts, which it does once in a process.

    The fontconfig library bundled with pygraphviz reads the configuration of the system's version
    and prints warnings about every unknown element.
    """
    graph: Any = pygraphviz.AGraph()
    graph.add_node("text", fontname="Helvetica")
    with _font_configuration(), _without_stderr():
        pygraphviz.AGraph.layout(graph, prog="dot")


class Graph(pygraphviz.AGraph):
    """A graph that loads the fonts of Graphviz, without warnings, before layout and drawing."""

    def layout(self, *args: Any, **kwargs: Any) -> Any:
        _load_fonts()
        return super().layout(*args, **kwargs)

    def draw(self, *args: Any, **kwargs: Any) -> Any:
        _load_fonts()
        return super().draw(*args, **kwargs)
