"""The sentences of a document, page after page, each with its place.

Before this stand the readers of PDFs; `core.passages` packs the sentences into passages. The text of a document, which
`char_start` and `char_end` of its passages count in, is the *flow* made here: the words of all pages in order with one
space between them. Pages are taken one by one, and no more is kept of them than a sentence that is not finished.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core import headings, page_labels
from core.details import Heading
from core.packing import Border, Part, Ruler, Unit
from core.punctuation import ENDS_SENTENCE

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]+[”’」』）]*\s*")  # CJK leaves no space after its full stop

_HEADING_CHARS = 100
"""So little text that ends no sentence is a heading alone: it stays with what follows."""


@dataclass(frozen=True, slots=True)
class Page:
    """The text of one page. `number` counts from 1; `label` is the page as it is printed, where the file says it."""

    number: int
    text: str
    label: str | None = None


def sentences(pages: Iterable[Page], outline: Iterable[Heading], ruler: Ruler) -> Iterator[Unit]:
    """The sentences of all pages in order, those that run over a page break in one piece if that is within the limit.

    A part of the document begins with each heading of the outline and each new series of page labels.
    """
    flow = _Flow(ruler)
    outlined = headings.by_page(outline)
    label: str | None = None
    for page in pages:
        on_page = outlined.pop(page.number, [])
        if page_labels.restarts(label, page.label):
            yield from flow.end_paragraph()
            flow.begin_part()
        label = page.label or label
        placed: Heading | None = None
        for stretch in headings.stretches(page.text, on_page):
            if stretch.heading is not None:
                placed = stretch.heading
                if stretch.printed:
                    yield from flow.end_paragraph()
                flow.begin_section(placed.title)
            yield from flow.take(page.number, stretch.text)
        if on_page and placed is not on_page[-1]:
            flow.begin_section(on_page[-1].title)
    yield from flow.end_paragraph()


class _Flow:
    """What of the document is not cut into sentences yet: the end of what was read, if no sentence ends there."""

    def __init__(self, ruler: Ruler) -> None:
        self._ruler = ruler
        self._part = Part()
        self._next_part = Part()
        self._part_text = ""  # the beginning of it
        self._text = ""
        self._at = 0  # where that begins in the flow
        self._starts: list[tuple[int, int]] = []  # where pages begin in the flow, and their numbers

    def begin_part(self) -> None:
        """What comes next is of another part."""
        self._next_part = Part(self._next_part.number + 1, self._next_part.section)
        self._part_text = ""

    def begin_section(self, title: str) -> None:
        """What comes next, after a sentence that is not finished, stands under a heading.

        That is another part, unless what came before is a heading alone, too.
        """
        alone = len(self._part_text) <= _HEADING_CHARS and not ENDS_SENTENCE.search(self._part_text.rstrip())
        if not (self._next_part.section and alone):
            self.begin_part()
        self._next_part = Part(self._next_part.number, " ".join(title.split()))

    def take(self, page: int, text: str) -> Iterator[Unit]:
        """The sentences that are finished with this text. The end of a page ends a paragraph if it ends a sentence."""
        self._starts.append((self._at + len(self._text), page))
        paragraphs = [joined for part in _PARAGRAPH.split(text) if (joined := " ".join(part.split()))]
        for index, paragraph in enumerate(paragraphs, 1):
            if not self._text:
                self._part = self._next_part
            self._text += paragraph + " "
            if len(self._part_text) <= _HEADING_CHARS:
                self._part_text += paragraph[: _HEADING_CHARS + 1] + " "
            if index < len(paragraphs) or ENDS_SENTENCE.search(paragraph):
                yield from self.end_paragraph()
            else:
                yield from self._finished()

    def end_paragraph(self) -> Iterator[Unit]:
        """All that is left, to the end of a paragraph."""
        spans = list(_sentence_spans(self._text))
        for index, (start, end) in enumerate(spans, 1):
            yield from self._units(start, end, Border.PARAGRAPH if index == len(spans) else Border.SENTENCE)
        self._keep_from(len(self._text))

    def _finished(self) -> Iterator[Unit]:
        """All but the last sentence; that too, without a border, if it is longer than a passage already."""
        *spans, (last_start, last_end) = _sentence_spans(self._text)
        for start, end in spans:
            yield from self._units(start, end, Border.SENTENCE)
        if self._ruler.exceeds(self._text[last_start:last_end]):
            yield from self._units(last_start, last_end, Border.NONE)
            last_start = last_end
        self._keep_from(last_start)

    def _keep_from(self, start: int) -> None:
        self._at += start
        self._text = self._text[start:]
        page = bisect_right(self._starts, self._at, key=lambda begins: begins[0]) - 1
        self._starts = self._starts[max(page, 0) :]

    def _units(self, start: int, end: int, border: Border) -> Iterator[Unit]:
        """A sentence, in pieces if it is over the limit."""
        sentence = self._text[start:end]
        for cut_from, cut_to in self._ruler.cut(sentence):
            piece = sentence[cut_from:cut_to]
            at = self._at + start + cut_from
            yield Unit(
                piece,
                self._ruler.tokens(piece),
                at,
                self._page_at(at),
                self._page_at(at + len(piece.rstrip()) - 1),
                border if cut_to == len(sentence) else Border.NONE,
                self._part,
            )
        self._part = self._next_part

    def _page_at(self, at: int) -> int:
        return self._starts[bisect_right(self._starts, at, key=lambda begins: begins[0]) - 1][1]


def _sentence_spans(text: str) -> Sequence[tuple[int, int]]:
    """Spans without a gap. A full stop before a small letter ("e.g. this") ends no sentence."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if not text[match.end() : match.end() + 1].islower()]
    starts = [0, *ends]
    return [(start, end) for start, end in zip(starts, [*ends, len(text)], strict=True) if end > start]
