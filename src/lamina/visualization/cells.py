"""Text in the cells of tables: wrapping, widths and color."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells
from rich.text import Text

JOINED = "\xa0"  # a space at which lines are broken only as a last resort


def in_ascii(frame: str) -> str:
    """The lines that connect rows, in ASCII characters."""
    return frame.translate(str.maketrans("├│└", "||`"))


def wrap(text: str, width: int, frame: str = "", height: int = 1) -> list[str]:
    """Wrap text to lines of at most ``width``, inside a word only if it is too long.

    The first line starts with ``frame``; the others continue its vertical lines. There are at least
    ``height`` lines.
    """
    further = frame.translate(str.maketrans("├└`", "│  "))
    if cell_len(frame) * 2 > width:  # a frame this deep leaves no space for text
        frame = further = ""
    limit = width - cell_len(frame)
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines.append("")
        words = paragraph.split(" ")
        if any(cell_len(word) > limit for word in words):
            words = paragraph.replace(JOINED, " ").split(" ")
        for word in words:
            glue = " " * bool(lines[-1])
            for piece in [word] if cell_len(word) <= limit else _pieces(word, limit):
                if cell_len(lines[-1] + glue + piece) <= limit:
                    lines[-1] += glue + piece
                else:
                    lines.append(piece)
                glue = ""
    lines = [line.replace(JOINED, " ") for line in lines]
    lines += [""] * (height - len(lines))
    return [(further if i else frame) + line for i, line in enumerate(lines)]


def _pieces(word: str, limit: int) -> list[str]:
    """Split a word into parts that fit, preferably at separators."""
    return [piece for part in _SEAMS.split(word) if part for piece in chop_cells(part, limit)]


def shrink(widths: list[int], minimums: list[int], limit: int) -> list[int]:
    """Shrink the widest columns until all fit, below the minimums only as a last resort.

    The minimums are the longest words, so that numbers, which are single words, are split last.
    """
    widths = list(widths)
    for _ in range(sum(widths) - max(limit, len(widths))):
        i = max(range(len(widths)), key=lambda i: (widths[i] > minimums[i], widths[i]))
        widths[i] -= 1
    return widths


_SEAMS = re.compile(r"(?<=[_/])|(?<=[a-z0-9])(?=[A-Z\[])")
_COLOURS = {"size": "green", "type": "blue", "open": "cyan"}
_TOKENS = re.compile(
    r"(?P<type>(?<=\()[A-Z]\w*(?=\)$))|(?P<open>\bNone\b|\?)|(?P<size>\b\d[\d,.]*\b)"
)


def coloured(text: str) -> Text:
    """Text whose types, numbers and unknown parts are colored."""
    styled = Text(text)
    for match in _TOKENS.finditer(text):
        styled.stylize(_COLOURS[match.lastgroup or ""], *match.span())
    return styled
