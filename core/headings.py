"""Where on a page the headings of a PDF's outline stand.

An outline names a page, not a line. Most titles are printed there as they are written in the outline, so they are
looked for; `core.page_flow` parts the document there, or at the top of the page if a title is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.details import Heading

_NUMBERING = r"(?:[0-9IVXA-Z]{1,5}(?:\.[0-9]+)*[.:)]?\s+)?"
"""What may stand before a printed title and not in the outline: `3`, `2.1`, `IV.`"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Text of a page, and the heading under which it begins if that is new: `printed` if it was found there."""

    text: str
    heading: Heading | None
    printed: bool = False


def by_page(outline: Iterable[Heading]) -> dict[int, list[Heading]]:
    """The headings of each page, in their order. Titles of nothing but space are left out."""
    pages: dict[int, list[Heading]] = {}
    for heading in outline:
        if heading.title.strip():
            pages.setdefault(heading.page, []).append(heading)
    return pages


def stretches(text: str, headings: Sequence[Heading]) -> Iterator[Stretch]:
    """The text of a page, parted before each of its headings. Without a gap."""
    begin, looked = 0, 0
    current: Heading | None = None
    printed = False
    for heading in headings:
        found = _printed(heading.title).search(text, looked)
        if found is None and looked:
            continue  # on this page, but who knows where
        if found is not None and text[begin : found.start()].strip():
            yield Stretch(text[begin : found.start()], current, printed)
            begin = found.start()
        looked = found.end() if found is not None else looked
        current, printed = heading, found is not None
    yield Stretch(text[begin:], current, printed)


def _printed(title: str) -> re.Pattern[str]:
    """The title at the start of a line, over as many lines as it takes."""
    words = r"\s+".join(re.escape(word) for word in title.split())
    return re.compile(rf"^[^\S\n]*{_NUMBERING}{words}(?!\w)", re.IGNORECASE | re.MULTILINE)
