"""Figures in columns, for a terminal."""

from collections.abc import Sequence
from unicodedata import east_asian_width


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, all columns as wide as their widest cell; :param rows: at least one, all of a length."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def between(interval: tuple[float, float]) -> str:
    """Shares, 0 to 1, in per cent."""
    low, high = interval
    return f"{100 * low:.1f}-{high:.1%}"


def shortened(text: str, width: int) -> str:
    """The beginning of ``text``, where all of it is wider."""
    if _width(text) <= width:
        return text
    while _width(text) >= width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _width(text: str) -> int:
    """Columns on a terminal."""
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)
