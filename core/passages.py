"""Cut text into passages: small enough for the embedding model, large enough to mean something, each with its citation.

Before this stand the readers of the inputs (`workers.inputs.pdf`, the transcribe stage); after it the embed
stage turns each passage into one vector, and search answers with the passage and the place it came from.

Text becomes units (sentences of a document, segments of a transcript) that are joined again into passages
greedily: a passage closes where it is complete, or else goes back to the last good border before the limit.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import zip_longest
from typing import cast

CountTokens = Callable[[str], int]
"""How many tokens the embedding model sees in a text, its own special tokens included, nothing cut off."""

CHARS_PER_TOKEN = 16
"""No more characters than this count as one token. A tokenizer may see one unknown token in a word of any length
(WordPiece does from 100 characters on), and then a page of base64 would be a passage without end."""

FULL_ENOUGH = 0.25
"""A paragraph or page that ends closes the passage when this share of the limit is used. Below it, a heading or a
slide says too little to be found by, and stays with what follows."""

COMPLETE_S = 10.0
"""A transcript's passage closes at the first sentence that ends after this time: two or three spoken sentences are
enough to be found by, and a citation of 10 to 15 s plays what was asked for at once."""

PAUSE_S = 1.0
"""Who is silent this long after a sentence has finished a thought: the passage closes there from half of
`COMPLETE_S` on. Between the sentences of one thought people pause for about half a second."""

LONGEST_S = 30.0
"""A transcript's passage never takes in another segment beyond this: who has to listen longer has not been shown the
place. It is also the window in which Whisper hears, so a single segment is rarely longer."""

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]+[”’」』）]*\s*")  # CJK leaves no space after its full stop
_ENDS_SENTENCE = re.compile(r"[.!?…。！？][\"'”’»)\]」』）]*$")


@dataclass(frozen=True, slots=True)
class Page:
    """The text of one page. `number` counts from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class TimedText:
    """Spoken text. Times in seconds on the media clock."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A searchable piece of text with its citation: pages (1-based, both included) or seconds on the media clock."""

    text: str
    page_from: int | None
    page_to: int | None
    start_s: float | None
    end_s: float | None


def from_pages(pages: Sequence[Page], count_tokens: CountTokens, max_tokens: int) -> list[Passage]:
    """The passages of a document. One may run over a page break when a sentence does.

    `max_tokens` must hold any single character, otherwise ValueError.
    """
    ruler = _Ruler(count_tokens, max_tokens)
    complete = max_tokens * FULL_ENOUGH

    def is_complete(group: Sequence[_Unit]) -> bool:
        return group[-1].border == _Border.PARAGRAPH and ruler.estimate(group) >= complete

    groups = _pack(_sentences(pages, ruler), ruler.fits, is_complete)
    return [
        Passage(_text(group), int(group[0].begin), int(group[-1].end), None, None)
        for packed in groups
        for group in ruler.verified(packed)
    ]


def from_segments(
    segments: Sequence[TimedText],
    count_tokens: CountTokens,
    max_tokens: int,
    *,
    complete_s: float = COMPLETE_S,
    longest_s: float = LONGEST_S,
) -> list[Passage]:
    """The passages of a transcript: whole segments, of `complete_s` to `longest_s` seconds where the speech allows it.

    Only a segment of more than `max_tokens` is cut; its times are then interpolated by characters.
    `max_tokens` must hold any single character, otherwise ValueError.
    """
    ruler = _Ruler(count_tokens, max_tokens)

    def fits(group: Sequence[_Unit]) -> bool:
        return ruler.fits(group) and _end(group) - _begin(group) <= longest_s

    def is_complete(group: Sequence[_Unit]) -> bool:
        length_s = _end(group) - _begin(group)
        match group[-1].border:
            case _Border.PARAGRAPH:
                return length_s >= complete_s / 2
            case _Border.SENTENCE:
                return length_s >= complete_s
            case _Border.NONE:
                return False

    groups = _pack(_spoken(segments, ruler), fits, is_complete)
    return [
        Passage(_text(group), None, None, _begin(group), _end(group))
        for packed in groups
        for group in ruler.verified(packed)
    ]


class _Border(IntEnum):
    """What ends where a unit ends."""

    NONE = 0
    SENTENCE = 1
    PARAGRAPH = 2


@dataclass(frozen=True, slots=True)
class _Unit:
    """A piece of text that is not cut further. `text` ends with the space that parts it from the next, if any does;
    `begin` and `end` are pages or seconds."""

    text: str
    tokens: int
    begin: float
    end: float
    border: _Border


class _Ruler:
    """Measures text against the limit, and cuts what is longer.

    Counting the joined text anew for each sentence would be quadratic, so a group is estimated by the sum of its
    units, and only the finished passage is counted exactly.
    """

    def __init__(self, count_tokens: CountTokens, max_tokens: int) -> None:
        self._count_tokens = count_tokens
        self._max_tokens = max_tokens
        self._special = count_tokens("")

    def count(self, text: str) -> int:
        return max(self._count_tokens(text), len(text) // CHARS_PER_TOKEN)

    def unit(self, text: str, begin: float, end: float, border: _Border) -> _Unit:
        return _Unit(text, self.count(text.strip()) - self._special, begin, end, border)

    def estimate(self, group: Sequence[_Unit]) -> int:
        return self._special + sum(unit.tokens for unit in group)

    def fits(self, group: Sequence[_Unit]) -> bool:
        return self.estimate(group) <= self._max_tokens

    def verified(self, group: Sequence[_Unit]) -> Iterator[Sequence[_Unit]]:
        """The group in as many parts as the exact count asks for: nearly always one."""
        while group:
            size = len(group)
            while size > 1 and self.count(_text(group[:size])) > self._max_tokens:
                size -= 1
            yield group[:size]
            group = group[size:]

    def cut(self, text: str) -> list[tuple[int, int]]:
        """Spans of `text` without a gap, each within the limit: one if it fits, or else cut where it hurts least."""
        if self.count(text.strip()) <= self._max_tokens:
            return [(0, len(text))]
        if max(map(self.count, set(text))) > self._max_tokens:
            raise ValueError(f"max_tokens={self._max_tokens} cannot hold a single character")
        # Imported here because the API, which only reads passages, must not pay for it.
        from semchunk.semchunk import chunk

        # Not memoized: semchunk would keep every text that it counted for the life of the process.
        pieces = chunk(text, self._max_tokens, self.count, memoize=False, offsets=True)
        starts = [start for start, _ in cast("tuple[list[str], list[tuple[int, int]]]", pieces)[1]]
        return list(zip(starts, [*starts[1:], len(text)], strict=True))


def _pack(
    units: Sequence[_Unit],
    fits: Callable[[Sequence[_Unit]], bool],
    is_complete: Callable[[Sequence[_Unit]], bool],
) -> Iterator[Sequence[_Unit]]:
    """Groups of units in order: up to where a group is complete, or else to its last good border before it is full."""
    first = 0
    while first < len(units):
        last = first + 1
        while last < len(units) and not is_complete(units[first:last]) and fits(units[first : last + 1]):
            last += 1
        if last < len(units) and not is_complete(units[first:last]):
            last = _last_border(units, first, last)
        yield units[first:last]
        first = last


def _last_border(units: Sequence[_Unit], first: int, last: int) -> int:
    """Where to end a full group: after its last sentence, or where it is if no sentence ends in it."""
    ends = (at for at in range(last, first, -1) if units[at - 1].border >= _Border.SENTENCE)
    return next(ends, last)


def _sentences(pages: Sequence[Page], ruler: _Ruler) -> list[_Unit]:
    """The sentences of all pages in order, those that run over a page break in one piece."""
    text, starts, paragraph_ends = _flow(pages)
    numbers = [page.number for page in pages]
    units = []
    for start, end in _sentence_spans(text, paragraph_ends):
        for cut_from, cut_to in (pieces := ruler.cut(text[start:end])):
            piece = text[start + cut_from : start + cut_to]
            begin_at, end_at = start + cut_from, start + cut_from + len(piece.rstrip()) - 1
            border = _Border.PARAGRAPH if end in paragraph_ends else _Border.SENTENCE
            units.append(
                ruler.unit(
                    piece,
                    numbers[bisect_right(starts, begin_at) - 1],
                    numbers[bisect_right(starts, end_at) - 1],
                    border if cut_to == pieces[-1][1] else _Border.NONE,
                )
            )
    return units


def _flow(pages: Sequence[Page]) -> tuple[str, list[int], set[int]]:
    """All pages as one text with single spaces; where each page starts in it; where paragraphs end in it.

    The end of a page ends a paragraph if it ends a sentence.
    """
    parts: list[str] = []
    starts: list[int] = []
    ends: set[int] = set()
    length = 0
    for page in pages:
        starts.append(length)
        paragraphs = [" ".join(part.split()) for part in _PARAGRAPH.split(page.text)]
        for paragraph in filter(None, paragraphs):
            parts.append(paragraph + " ")
            length += len(paragraph) + 1
            ends.add(length)
        if parts and not _ENDS_SENTENCE.search(parts[-1].rstrip()):
            ends.discard(length)
    return "".join(parts), starts, ends


def _sentence_spans(text: str, paragraph_ends: set[int]) -> Iterator[tuple[int, int]]:
    """Spans without a gap. A full stop before a small letter ("e.g. this") ends no sentence."""
    ends = {match.end() for match in _SENTENCE_END.finditer(text) if not text[match.end() : match.end() + 1].islower()}
    start = 0
    for end in sorted(ends | paragraph_ends | {len(text)}):
        if end > start:
            yield start, end
        start = end


def _spoken(segments: Sequence[TimedText], ruler: _Ruler) -> list[_Unit]:
    """The segments that hold text; one above the limit in pieces."""
    spoken = [replace(segment, text=text) for segment in segments if (text := " ".join(segment.text.split()))]
    units = []
    for segment, following in zip_longest(spoken, spoken[1:]):
        text, length_s = segment.text, segment.end_s - segment.start_s
        for start, end in ruler.cut(text):
            begin_s, end_s = (segment.start_s + length_s * at / len(text) for at in (start, end))
            if end < len(text):
                units.append(ruler.unit(text[start:end], begin_s, end_s, _Border.NONE))
            else:
                units.append(ruler.unit(text[start:] + " ", begin_s, segment.end_s, _spoken_border(segment, following)))
    return units


def _spoken_border(segment: TimedText, following: TimedText | None) -> _Border:
    if not _ENDS_SENTENCE.search(segment.text):
        return _Border.NONE
    pauses = following is None or following.start_s - segment.end_s >= PAUSE_S
    return _Border.PARAGRAPH if pauses else _Border.SENTENCE


def _begin(group: Sequence[_Unit]) -> float:
    return min(unit.begin for unit in group)


def _end(group: Sequence[_Unit]) -> float:
    return max(unit.end for unit in group)


def _text(group: Sequence[_Unit]) -> str:
    return "".join(unit.text for unit in group).strip()
