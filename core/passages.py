"""Cut text into passages: small enough for the embedding model, large enough to mean something, each with its citation.

Before this stand the readers of the inputs (`workers.inputs.pdf`, the transcribe stage); after it the embed
stage turns each passage into one vector, and search answers with the passage and the place it came from.

Text becomes units (sentences of a document, segments of a transcript), which `core.packing` joins again into
passages: one closes where it is complete by the rules here, or else at the last good border before the limit.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from core.packing import Border, CountTokens, Ruler, Unit, joined, pack
from core.punctuation import ENDS_SENTENCE

FULL_ENOUGH = 0.25
"""A paragraph or page that ends closes the passage when this share of the limit is used. Below it, a heading or a
slide says too little to be found by, and stays with what follows."""

COMPLETE_S = 10.0
"""A transcript's passage closes at the first sentence that ends after this time: two or three spoken sentences are
enough to be found by, and a citation of 10 to 15 s plays what was asked for at once."""

PAUSE_S = 1.0
"""Who is silent this long after a sentence has probably finished a thought: the passage closes there from half of
`COMPLETE_S` on. `core.plan` parts clips at the same pause, and Whisper hears nothing across it."""

LONGEST_S = 30.0
"""A transcript's passage never takes in another segment beyond this: who has to listen longer has not been shown the
place. It is also the window in which Whisper hears, so a single segment is rarely longer."""

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]+[”’」』）]*\s*")  # CJK leaves no space after its full stop


@dataclass(frozen=True, slots=True)
class Page:
    """The text of one page. `number` counts from 1; `label` is the page as it is printed, where the file says it."""

    number: int
    text: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class TimedText:
    """Spoken text. Times in seconds on the media clock."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A searchable piece of text with its citation: pages (1-based, both included) or seconds on the media clock.

    `page_label` is the page as it is printed (`iii`, `iii–iv`), `section` the chapter or heading that it stands under,
    `char_start` and `char_end` its place in the text of the document or transcript. Each is None where unknown.
    """

    text: str
    page_from: int | None
    page_to: int | None
    start_s: float | None
    end_s: float | None
    page_label: str | None = None
    char_start: int | None = None
    char_end: int | None = None
    section: str | None = None
    speaker: str | None = None


def from_pages(pages: Sequence[Page], count_tokens: CountTokens, max_tokens: int) -> list[Passage]:
    """The passages of a document. One may run over a page break when a sentence does.

    `max_tokens` must hold any single character, otherwise ValueError.
    """
    ruler = Ruler(count_tokens, max_tokens)
    complete = max_tokens * FULL_ENOUGH

    def is_complete(group: Sequence[Unit]) -> bool:
        return group[-1].border == Border.PARAGRAPH and ruler.estimate(group) >= complete

    groups = pack(_sentences(pages, ruler), ruler.fits, is_complete)
    return [
        Passage(joined(group), int(group[0].begin), int(group[-1].end), None, None) for group in ruler.verified(groups)
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
    ruler = Ruler(count_tokens, max_tokens)

    def fits(group: Sequence[Unit]) -> bool:
        return ruler.fits(group) and _end(group) - _begin(group) <= longest_s

    def is_complete(group: Sequence[Unit]) -> bool:
        length_s = _end(group) - _begin(group)
        match group[-1].border:
            case Border.PARAGRAPH:
                return length_s >= complete_s / 2
            case Border.SENTENCE:
                return length_s >= complete_s
            case Border.NONE:
                return False

    groups = pack(_spoken(segments, ruler), fits, is_complete)
    return [Passage(joined(group), None, None, _begin(group), _end(group)) for group in ruler.verified(groups)]


def _sentences(pages: Sequence[Page], ruler: Ruler) -> list[Unit]:
    """The sentences of all pages in order, those that run over a page break in one piece."""
    text, starts, paragraph_ends = _flow(pages)
    numbers = [page.number for page in pages]
    units = []
    for start, end in _sentence_spans(text, paragraph_ends):
        for cut_from, cut_to in (pieces := ruler.cut(text[start:end])):
            piece = text[start + cut_from : start + cut_to]
            begin_at, end_at = start + cut_from, start + cut_from + len(piece.rstrip()) - 1
            border = Border.PARAGRAPH if end in paragraph_ends else Border.SENTENCE
            units.append(
                ruler.unit(
                    piece,
                    numbers[bisect_right(starts, begin_at) - 1],
                    numbers[bisect_right(starts, end_at) - 1],
                    border if cut_to == pieces[-1][1] else Border.NONE,
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
        if parts and not ENDS_SENTENCE.search(parts[-1].rstrip()):
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


def _spoken(segments: Sequence[TimedText], ruler: Ruler) -> list[Unit]:
    """The segments that hold text; one above the limit in pieces."""
    spoken = [replace(segment, text=text) for segment in segments if (text := " ".join(segment.text.split()))]
    units = []
    for segment, following in zip_longest(spoken, spoken[1:]):
        text, length_s = segment.text, segment.end_s - segment.start_s
        for start, end in ruler.cut(text):
            begin_s, end_s = (segment.start_s + length_s * at / len(text) for at in (start, end))
            if end < len(text):
                units.append(ruler.unit(text[start:end], begin_s, end_s, Border.NONE))
            else:
                units.append(ruler.unit(text[start:] + " ", begin_s, segment.end_s, _spoken_border(segment, following)))
    return units


def _spoken_border(segment: TimedText, following: TimedText | None) -> Border:
    if not ENDS_SENTENCE.search(segment.text):
        return Border.NONE
    pauses = following is None or following.start_s - segment.end_s >= PAUSE_S
    return Border.PARAGRAPH if pauses else Border.SENTENCE


def _begin(group: Sequence[Unit]) -> float:
    return min(unit.begin for unit in group)


def _end(group: Sequence[Unit]) -> float:
    return max(unit.end for unit in group)
