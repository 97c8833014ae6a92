"""Text in lines: where it may be broken, how wide it is, and which breaks read best.

`core.subtitles` cuts a segment into cues by the units made here, and has the lines of each cue broken here. A width is
in columns, as a terminal counts them: one for most characters, two for Chinese, Japanese and Korean ones, none for what
is drawn over another character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from wcwidth import iter_graphemes, width

from core.punctuation import ENDS_CLAUSE, ENDS_SENTENCE, UNSPACED

_TOKEN = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
_STAYS_WITH_THE_ONE_BEFORE = "ー々ゝゞぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ"
"""Letters that no Japanese line begins with."""


class Border(IntEnum):
    """What ends with a unit; the more, the better a break after it."""

    WORD = 0
    CLAUSE = 1
    SENTENCE = 2


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of text that is not broken: characters `start` to `end` of it, columns `left` to `right`."""

    start: int
    end: int
    left: int
    right: int
    border: Border


def clean(text: str) -> str:
    """The text in one line: single spaces, no control characters."""
    return " ".join(_CONTROL.sub("", text).split())


def units_of(text: str, line_chars: int) -> list[Unit]:
    """The units of a clean text, none wider than a line of `line_chars` columns (2 at least)."""
    spans = [piece for span in _unbroken(text) for piece in _narrow(text, span, line_chars)]
    units: list[Unit] = []
    right = 0
    for index, (start, end) in enumerate(spans):
        left = right + (start - units[-1].end if units else 0)
        right = left + columns(text[start:end])
        following = text[spans[index + 1][0]] if index + 1 < len(spans) else ""
        units.append(Unit(start, end, left, right, _border(text[start:end], following)))
    return units


def columns(text: str) -> int:
    """How wide a text is."""
    return width(text, control_codes="ignore")


def n_lines(units: Sequence[Unit], line_chars: int) -> int:
    """The fewest lines that hold the units."""
    count, left = 1, units[0].left
    for unit in units:
        if unit.right - left > line_chars:
            count, left = count + 1, unit.left
    return count


def lines_of(text: str, units: Sequence[Unit], line_chars: int) -> tuple[str, ...]:
    """The units in as few lines as hold them, of about the same width, broken after punctuation where that is near."""
    count = n_lines(units, line_chars)
    fair = max(units[-1].right - units[0].left, 1) / count
    # cost[k][i]: of the best way to set the first i units in k lines, and where the last of these lines begins.
    cost: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for _ in range(count):
        cost.append({})
        for first, (so_far, _) in cost[-2].items():
            for last in range(first, len(units)):
                wide = units[last].right - units[first].left
                if wide > line_chars:
                    break
                own = ((wide - fair) / fair) ** 2 - 0.1 * units[last].border
                if last + 1 not in cost[-1] or so_far + own < cost[-1][last + 1][0]:
                    cost[-1][last + 1] = (so_far + own, first)
    ends = [len(units)]
    for reached in reversed(cost[1:]):
        ends.append(reached[ends[-1]][1])
    return tuple(text[units[first].start : units[end - 1].end] for first, end in pairwise(reversed(ends)))


def _unbroken(text: str) -> Iterator[tuple[int, int]]:
    """The spans between which a line may be broken."""
    start, end = 0, 0
    for token in _TOKEN.finditer(text):
        if end and _may_part(text[start:end], token[0]):
            yield start, end
            start = token.start()
        end = token.end()
    if end:
        yield start, end


def _may_part(before: str, after: str) -> bool:
    """Not after an opening bracket, and not before what belongs to the text before it: `!`, `)`, a dash, an accent."""
    if unicodedata.category(before[-1]) in ("Ps", "Pi"):
        return False
    begins = unicodedata.category(after[0])
    if begins[0] == "M" or after[0] in _STAYS_WITH_THE_ONE_BEFORE:
        return False
    return begins in ("Ps", "Pi") or any(char.isalnum() for char in after)


def _narrow(text: str, span: tuple[int, int], line_chars: int) -> Iterator[tuple[int, int]]:
    """The span, or pieces of it that fit in a line: a word of that length is broken between any two characters."""
    start, end = span
    if columns(text[start:end]) <= line_chars:
        yield span
        return
    at, wide = start, 0
    for atom in _atoms(text[start:end], line_chars):
        own = columns(atom)
        if wide + own > line_chars:
            yield from _trimmed(text, start, at)
            start, wide = at, 0
        at, wide = at + len(atom), wide + own
    yield from _trimmed(text, start, end)


def _atoms(text: str, line_chars: int) -> Iterator[str]:
    """What a reader takes for one character; of one that is wider than a line, which nobody writes, its parts."""
    for grapheme in iter_graphemes(text):
        if columns(grapheme) <= line_chars:
            yield grapheme
        else:
            yield from grapheme


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without spaces around it, if anything is left."""
    piece = text[start:end]
    if shown := piece.strip():
        start += piece.index(shown)
        yield start, start + len(shown)


def _border(text: str, following: str) -> Border:
    if ENDS_SENTENCE.search(text) and not following.islower():  # a small letter goes on: "e.g. this"
        return Border.SENTENCE
    return Border.CLAUSE if ENDS_CLAUSE.search(text) else Border.WORD
