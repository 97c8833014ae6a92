"""Puts the lines of a page in the order in which they are read, where the file has them across two columns.

Most files hold column after column; some hold line after line, each across both. `pdf_pdfium` gives the boxes of the
text, and `pdf` asks only for pages that look so. A table is read line by line: what makes columns is running text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

FEWEST_LINES = 5
"""In each column: a shorter one is rather a table, or an address beside another."""
_FULL = 0.6
"""Of a column's width: its lines are longer as a rule, where the cells of a table are not."""
_MIDDLE = (0.3, 0.7)
_MAX_ACROSS = 0.3
"""Of all lines: titles and captions may go across both columns."""
_FEWEST_CHARACTERS = 15


@dataclass(frozen=True, slots=True)
class Box:
    """A piece of text on one line, in points from the lower left corner of the page."""

    left: float
    bottom: float
    right: float
    top: float
    text: str

    @property
    def middle(self) -> float:
        """Its height on the page."""
        return (self.bottom + self.top) / 2


def in_columns(boxes: Sequence[Box]) -> str | None:
    """The text, column by column between what goes across both; None if the page does not have two columns."""
    if not boxes or (gutter := _gutter(boxes)) is None:
        return None
    left = [box for box in boxes if box.right <= gutter]
    right = [box for box in boxes if box.left >= gutter]
    if not (_is_column(left) and _is_column(right)):
        return None
    across = [box for box in boxes if box.left < gutter < box.right]
    parts: list[Box] = []
    above = float("inf")
    for below in (*sorted((box.middle for box in across), reverse=True), float("-inf")):
        for column in (left, right):
            parts += _downwards(box for box in column if below < box.middle <= above)
        parts += _downwards(box for box in across if box.middle == below)
        above = below
    return "\n".join(_lines(parts))


def _gutter(boxes: Sequence[Box]) -> float | None:
    """Where the fewest lines cross, nearest to the middle of the text; None if too many do everywhere."""
    begin, end = min(box.left for box in boxes), max(box.right for box in boxes)
    places = [begin + (end - begin) * percent / 100 for percent in range(*(int(100 * part) for part in _MIDDLE))]
    centre = (begin + end) / 2
    crossed = {at: sum(box.left < at < box.right for box in boxes) for at in places}
    best = min(places, key=lambda at: (crossed[at], abs(at - centre)))
    return best if crossed[best] <= _MAX_ACROSS * len(boxes) else None


def _is_column(boxes: Sequence[Box]) -> bool:
    lines = _downwards(boxes)
    if len({round(box.middle) for box in lines}) < FEWEST_LINES:
        return False
    width = max(box.right for box in lines) - min(box.left for box in lines)
    full = median(box.right - box.left for box in lines) >= _FULL * width
    return full and median(len(box.text) for box in lines) >= _FEWEST_CHARACTERS


def _downwards(boxes: Iterable[Box]) -> list[Box]:
    return sorted(boxes, key=lambda box: (-box.middle, box.left))


def _lines(boxes: Sequence[Box]) -> list[str]:
    """The texts, those that follow each other on one line in one piece."""
    lines: list[str] = []
    last: Box | None = None
    for box in boxes:
        if last is not None and box.left >= last.left and abs(box.middle - last.middle) < (box.top - box.bottom) / 2:
            lines[-1] += " " + box.text
        else:
            lines.append(box.text)
        last = box
    return lines
