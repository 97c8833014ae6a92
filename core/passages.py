"""Cut text into passages: small enough for the embedding model, large enough to mean something, each with its citation.

Before this stand the readers of the inputs (`workers.inputs.pdf`, the transcribe stage); after it the embed
stage turns each passage into one vector, and search answers with the passage and the place it came from.

Text becomes units (sentences of a document in `core.page_flow`, segments of a transcript here), which `core.packing`
joins again into passages: one closes where its chapter ends, where it is complete by the rules here, or else at the
last good border before the limit. Where that parts a paragraph, the next one begins with the last sentences again.

`char_start` and `char_end` count characters in the text as a whole, the second one not included: for a document the
words of all pages, for a transcript those of all segments, with one space between them. A passage is exactly that
stretch of it, so passages that overlap share what their spans share, and a reader who skips that has the text again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from core import page_labels
from core.details import Chapter, Heading
from core.packing import Border, CountTokens, Group, Packing, Part, Ruler, Unit, pack
from core.page_flow import Page as Page  # what `from_pages` takes is named here, too
from core.page_flow import sentences
from core.punctuation import ASKS, ENDS_SENTENCE

PAUSE_S = 1.0
"""Who is silent this long after a sentence has probably finished a thought: the passage closes there from half of
`SpokenCut.complete_s` on. `core.plan` parts clips at the same pause, and Whisper hears nothing across it."""


@dataclass(frozen=True, slots=True)
class PageCut:
    """How documents are cut; shares are of the model's limit. Chosen by `benchmarks/search_quality.py`."""

    complete: float = 0.125
    """A paragraph or page that ends closes the passage when this share of the limit is used. Below it, a heading or a
    slide says too little to be found by, and stays with what follows."""

    full: float = 1.0
    """No more than this share is used."""

    overlap: float = 0.15
    """At most this share is said again in the next passage, if a paragraph runs on in it."""


@dataclass(frozen=True, slots=True)
class SpokenCut:
    """How transcripts are cut."""

    complete_s: float = 10.0
    """A passage closes at the first sentence that ends after this time: two or three spoken sentences are
    enough to be found by, and a citation of 10 to 15 s plays what was asked for at once."""

    longest_s: float = 30.0
    """A passage never takes in another segment beyond this: who has to listen longer has not been shown the
    place. It is also the window in which Whisper hears, so a single segment is rarely longer."""

    overlap: float = 0.15
    """At most this share of the model's limit is said again in the next passage, if no pause parts them."""


PAGES, SPOKEN = PageCut(), SpokenCut()


@dataclass(frozen=True, slots=True)
class TimedText:
    """Spoken text. Times in seconds on the media clock. `speaker` where it is known who speaks."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A searchable piece of text with its citation: pages (1-based, both included) or seconds on the media clock.

    `page_label` is the page as it is printed (`iii`, `iii–iv`), `section` the chapter or heading that it stands under,
    `char_start` and `char_end` its place in the text of the document or transcript, which the module's docstring
    defines. Each is None where unknown.
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


def from_pages(
    pages: Iterable[Page],
    count_tokens: CountTokens,
    max_tokens: int,
    *,
    outline: Iterable[Heading] = (),
    cut: PageCut = PAGES,
) -> list[Passage]:
    """The passages of a document. One may run over a page break when a sentence does.

    None runs over the beginning of what stands under a heading of the outline, or of a new series of page labels.
    The pages are taken one by one. `max_tokens` must hold any single character, otherwise ValueError.
    """
    limit = int(max_tokens * cut.full)
    ruler = Ruler(count_tokens, limit)
    labels: dict[float, str | None] = {}

    def labelled() -> Iterator[Page]:
        for page in pages:
            labels[page.number] = page.label
            yield page

    def is_complete(group: Sequence[Unit]) -> bool:
        return group[-1].border == Border.PARAGRAPH and ruler.estimate(group) >= limit * cut.complete

    packing = Packing(ruler.fits, is_complete, limit * cut.overlap)
    groups = ruler.verified(pack(sentences(labelled(), outline, ruler), packing))
    return [
        replace(
            _passage(group),
            page_from=int(group.units[0].begin),
            page_to=int(group.units[-1].end),
            page_label=page_labels.span(labels[group.units[0].begin], labels[group.units[-1].end]),
        )
        for group in groups
    ]


def from_segments(
    segments: Sequence[TimedText],
    count_tokens: CountTokens,
    max_tokens: int,
    *,
    chapters: Sequence[Chapter] = (),
    cut: SpokenCut = SPOKEN,
) -> list[Passage]:
    """The passages of a transcript: whole segments, of `complete_s` to `longest_s` seconds where the speech allows it.

    None runs over the end of a chapter or of a speaker's turn. Only a segment of more than `max_tokens` is cut; its
    times are then interpolated by characters. `max_tokens` must hold any single character, otherwise ValueError.
    """
    ruler = Ruler(count_tokens, max_tokens)

    def fits(group: Sequence[Unit]) -> bool:
        return ruler.fits(group) and _end(group) - _begin(group) <= cut.longest_s

    def is_complete(group: Sequence[Unit]) -> bool:
        length_s = _end(group) - _begin(group)
        match group[-1].border:
            case Border.PARAGRAPH:
                return length_s >= cut.complete_s / 2
            case Border.SENTENCE:
                return length_s >= cut.complete_s
            case Border.NONE:
                return False

    packing = Packing(fits, is_complete, max_tokens * cut.overlap)
    groups = ruler.verified(pack(_spoken(segments, chapters, ruler), packing))
    return [replace(_passage(group), start_s=_begin(group.units), end_s=_end(group.units)) for group in groups]


def flow_chars(texts: Iterable[str]) -> int:
    """How many characters segments with these texts take in a transcript, the space after the last one included."""
    return sum(len(text) + 1 for text in map(_single_spaced, texts) if text)


def moved(passages: Iterable[Passage], chars: int) -> list[Passage]:
    """The passages of a stretch of transcript that begins so many characters after the beginning of the whole."""
    return [
        replace(passage, char_start=passage.char_start + chars, char_end=passage.char_end + chars)
        for passage in passages
        if passage.char_start is not None and passage.char_end is not None
    ]


def _passage(group: Group) -> Passage:
    """The passage of a group, without pages or times."""
    first, last = group.units[0], group.units[-1]
    end = last.at + len(last.text.rstrip())
    part = group.new[0].part
    return Passage(group.text, None, None, None, None, None, first.at, end, part.section, part.speaker)


def _single_spaced(text: str) -> str:
    return " ".join(text.split())


def _spoken(segments: Sequence[TimedText], chapters: Sequence[Chapter], ruler: Ruler) -> Iterator[Unit]:
    """The segments that hold text; one above the limit in pieces."""
    spoken = [replace(segment, text=text) for segment in segments if (text := _single_spaced(segment.text))]
    at = 0
    parts = _spoken_parts(spoken, chapters)
    for segment, following, part in zip(spoken, [*spoken, None][1:], parts, strict=True):
        text, length_s = segment.text, segment.end_s - segment.start_s
        for start, end in ruler.cut(text):
            last = end == len(text)
            yield Unit(
                text[start:end] + (" " if last else ""),
                ruler.tokens(text[start:end]),
                at + start,
                segment.start_s + length_s * start / len(text),
                segment.end_s if last else segment.start_s + length_s * end / len(text),
                _spoken_border(segment, following) if last else Border.NONE,
                part,
            )
        at += len(text) + 1


def _spoken_parts(segments: Sequence[TimedText], chapters: Sequence[Chapter]) -> Iterator[Part]:
    """The part of each segment: it belongs to the chapter in which its middle lies."""
    ordered = sorted(chapters, key=lambda chapter: chapter.start_s)
    part = Part()
    before: tuple[int, str | None] | None = None
    for segment in segments:
        middle_s = (segment.start_s + segment.end_s) / 2
        chapter = bisect_right(ordered, middle_s, key=lambda chapter: chapter.start_s)
        if before != (chapter, segment.speaker):
            before = (chapter, segment.speaker)
            title = ordered[chapter - 1].title.strip() if chapter else ""
            part = Part(part.number + 1, title or None, segment.speaker)
        yield part


def _spoken_border(segment: TimedText, following: TimedText | None) -> Border:
    """What ends with the segment. A question ends nothing: what follows it is the answer as a rule."""
    if ASKS.search(segment.text) or not ENDS_SENTENCE.search(segment.text):
        return Border.NONE
    if following is None or following.start_s - segment.end_s >= PAUSE_S or ASKS.search(following.text):
        return Border.PARAGRAPH
    return Border.SENTENCE


def _begin(group: Sequence[Unit]) -> float:
    return min(unit.begin for unit in group)


def _end(group: Sequence[Unit]) -> float:
    return max(unit.end for unit in group)
