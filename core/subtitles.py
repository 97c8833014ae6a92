"""Segments as subtitles: cues that fit on the screen, stay long enough to be read, and never overlap.

`core.stretches` has joined the segments; `service.transcript_files` writes the cues as SubRip and WebVTT.

A stretch is cut where that reads best (after a sentence, else after a clause or a pause, else in equal parts) into cues
that fit in the lines of the layout. Where Whisper timed the words, a cue has the times of its words; otherwise the time
of each segment is shared out by characters. A cue too short for reading stays during the silence after it, never into
the next cue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from core.line_breaks import Border, Unit, columns, lines_of, units_of
from core.stretches import PAUSE_S, Stretch, stretches_of
from core.transcript import TranscriptSegment

MIN_LINE_CHARS, MAX_LINE_CHARS, MAX_LINES = 10, 200, 10
"""What a layout may be asked for."""

SHORTEST_S, LONGEST_S = 5 / 6, 7.0
"""How long a cue stays, where the speech lets it. These two, lines of 42 characters, two of them, and no gaps below
half a second are what the Timed Text Style Guide of Netflix asks for. Its reading speeds for English are 20 characters
a second and, for children, 17: the slower one is the default here, for who reads a second language."""

BREATH_S = 0.5
"""A silence after which a new cue may begin as well as after a clause. In a shorter one the screen does not go blank:
it would flicker. After `PAUSE_S` a new cue does begin, or it would be shown too early."""

_COST_OF_BORDER = {Border.SENTENCE: 0.0, Border.CLAUSE: 0.5, Border.WORD: 2.0}
"""Of ending a cue there, where a cue more costs 1."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What fits on the screen: `lines` of `line_chars` columns; and what is read in a second, in columns."""

    line_chars: int = 42
    lines: int = 2
    chars_per_s: float = 17.0


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown from `start_ms` until `end_ms` (never equal) on the media clock; no line is empty."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues_of(segments: Iterable[TranscriptSegment], layout: Layout) -> Iterator[Cue]:
    """The cues of segments that are in order of time, made one after the other."""
    spoken = (piece for stretch in stretches_of(segments) for piece in _pieces(stretch, layout))
    free_ms = 0
    piece = next(spoken, None)
    while piece is not None:
        following = next(spoken, None)
        start_ms = max(_ms(piece.start_s), free_ms)
        free_ms = _end_ms(piece, start_ms, layout, None if following is None else _ms(following.start_s))
        yield Cue(start_ms, free_ms, piece.lines)
        piece = following


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a cue shows, and when it is spoken."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def _end_ms(piece: _Piece, start_ms: int, layout: Layout, next_ms: int | None) -> int:
    """Until it has been spoken and can have been read, or the next one comes, without a flicker in between."""
    read_ms = _ms(max(SHORTEST_S, sum(map(columns, piece.lines)) / layout.chars_per_s))
    end_ms = max(_ms(piece.end_s), start_ms + read_ms)
    if next_ms is not None and next_ms - end_ms < _ms(BREATH_S):
        end_ms = next_ms
    end_ms = min(end_ms, start_ms + max(_ms(LONGEST_S), read_ms))
    return max(end_ms, start_ms + 1)  # one of no length would not be shown, and WebVTT has none


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _pieces(stretch: Stretch, layout: Layout) -> Iterator[_Piece]:
    units = units_of(stretch.text, layout.line_chars)
    timed = [_TimedUnit(unit, stretch.begins_s(unit.start), stretch.ended_s(unit.end)) for unit in units]
    for first, end in _best_cuts(timed, layout):
        lines = lines_of(stretch.text, units[first:end], layout.line_chars)
        yield _Piece(timed[first].start_s, timed[end - 1].end_s, lines)


@dataclass(frozen=True, slots=True)
class _TimedUnit:
    unit: Unit
    start_s: float
    end_s: float


def _best_cuts(timed: Sequence[_TimedUnit], layout: Layout) -> list[tuple[int, int]]:
    """The cues as ranges of units, those that cost least together."""
    end_costs = [_cost_of_end(one, following) for one, following in pairwise(timed)] + [0.0]
    shown_until_s = [one.start_s for one in timed[1:]] + [timed[-1].end_s]
    costs = [0.0] + [inf] * len(timed)
    begins = [0] * (len(timed) + 1)
    for first, one in enumerate(timed):
        for end in _ends(timed, first, layout):
            wide = timed[end - 1].unit.right - one.unit.left
            own = _cost(wide, shown_until_s[end - 1] - one.start_s, layout) + end_costs[end - 1]
            if costs[first] + own < costs[end]:
                costs[end], begins[end] = costs[first] + own, first
    cuts = []
    end = len(timed)
    while end:
        cuts.append((begins[end], end))
        end = begins[end]
    return cuts[::-1]


def _ends(timed: Sequence[_TimedUnit], first: int, layout: Layout) -> Iterator[int]:
    """Where a cue that begins with this unit may end: while it fits in its lines and its time, and nobody pauses."""
    yield first + 1
    lines, left = 1, timed[first].unit.left
    for index in range(first + 1, len(timed)):
        one = timed[index]
        if one.unit.right - left > layout.line_chars:
            lines, left = lines + 1, one.unit.left
        long = one.end_s - timed[first].start_s > LONGEST_S
        if lines > layout.lines or long or one.start_s - timed[index - 1].end_s >= PAUSE_S:
            return
        yield index + 1


def _cost(wide: int, shown_s: float, layout: Layout) -> float:
    """Of a cue, by itself: 1, more if it is nearly empty, and more if it is gone before it has been read."""
    empty = 1 - wide / (layout.lines * layout.line_chars)
    missing_s = max(SHORTEST_S, wide / layout.chars_per_s) - shown_s
    # Squared, so that cues of about the same length cost least together.
    return 1 + empty * empty + (missing_s / SHORTEST_S if missing_s > 0 else 0)


def _cost_of_end(last: _TimedUnit, following: _TimedUnit) -> float:
    breathes = following.start_s - last.end_s >= BREATH_S
    return _COST_OF_BORDER[max(last.unit.border, Border.CLAUSE) if breathes else last.unit.border]
