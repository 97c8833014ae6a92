"""A PDF as pypdf reads it: the first choice, for it follows the text's own order and knows ligatures and encodings.

`pdf` calls it within a budget of time and has `pdf_pdfium` read what is broken here. pypdf raises errors of many kinds
on the PDFs that occur, not only its own: all of them come out of here as `Unreadable`, but for a lack of memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from pypdf import PasswordType, PdfReader
from pypdf.generic import Destination

from core.details import DocumentDetails, Heading
from workers.inputs.pdf_budget import OverBudget, budget
from workers.inputs.pdf_words import storable

MAX_HEADINGS = 500
MAX_TITLE = 300
"""Characters."""
MAX_LABEL = 40

_DETAILS_S = 3.0
"""Processor time for what is nice to have."""
_KEPT_OBJECTS = 20_000
"""Objects of the file that pypdf may keep; some tens of megabytes."""
_SAME_LINE = 0.2
"""Of the font's size: texts whose baselines differ less stand on one line."""


class Unreadable(Exception):
    """pypdf cannot read this."""


class Locked(Exception):
    """It opens with a password, and not with the one that was given."""


@dataclass(frozen=True, slots=True)
class Read:
    """The text of a page; `zigzags` counts how often it goes on further right on the same line, far from the last."""

    text: str
    zigzags: int


@contextmanager
def _whatever_it_raises() -> Iterator[None]:
    try:
        yield
    except (MemoryError, Locked):
        raise
    except Exception as error:
        raise Unreadable from error


class ByPypdf:
    """A file that stays open as long as it is read from."""

    def __init__(self, file: BinaryIO, password: str) -> None:
        with _whatever_it_raises():
            self._reader = PdfReader(file)
            # Many PDFs are encrypted with an empty password, only to forbid printing: those open for everyone.
            if self._reader.is_encrypted and not any(map(self._opens, dict.fromkeys(("", password)))):
                raise Locked
            self.n_pages = len(self._reader.pages)

    def _opens(self, password: str) -> bool:
        return self._reader.decrypt(password) != PasswordType.NOT_DECRYPTED

    def text(self, number: int) -> Read:
        """The text of a page, counted from 1."""
        zigzags, last = 0, (0.0, 0.0)

        def visit(text: str, cm: Sequence[float], tm: Sequence[float], _font: Any, size: float) -> None:
            nonlocal zigzags, last
            if text.strip():
                x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
                y = tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
                reach = abs(tm[3] * cm[3] * (size or 1)) or 10.0
                zigzags += abs(y - last[1]) < _SAME_LINE * reach and x - last[0] > 10 * reach
                last = x, y

        with _whatever_it_raises():
            text = self._reader.pages[number - 1].extract_text(visitor_text=visit)
            if len(self._reader.resolved_objects) > _KEPT_OBJECTS:
                self._reader.resolved_objects.clear()
            return Read(text, zigzags)

    def labels(self) -> tuple[str, ...]:
        """The printed number of each page; none where they are 1, 2, 3 …, or cannot be told."""
        try:
            with _whatever_it_raises(), budget(_DETAILS_S):
                labels = tuple(storable(str(label))[:MAX_LABEL] for label in self._reader.page_labels)
        except (Unreadable, OverBudget):
            return ()
        return () if labels == tuple(map(str, range(1, len(labels) + 1))) else labels

    def details(self) -> DocumentDetails:
        """Title and outline, as far as they can be told. Raises `Unreadable` and `OverBudget` where nothing can be."""
        outline: list[Heading] = []
        title = None
        try:
            with _whatever_it_raises(), budget(_DETAILS_S):
                title = self._title()
                for heading in self._headings(self._reader.outline, 0):
                    outline.append(heading)
                    if len(outline) == MAX_HEADINGS:
                        break
        except (Unreadable, OverBudget):  # what came before the fault is told all the same
            if not outline:
                raise
        return DocumentDetails(title or (outline[0].title if outline else None), (), tuple(outline))

    def _title(self) -> str | None:
        found = self._reader.metadata
        return one_line(str(found.title)) if found is not None and found.title else None

    def _headings(self, entries: Sequence[Any], level: int) -> Iterator[Heading]:
        for entry in entries:
            if isinstance(entry, list):
                yield from self._headings(entry, level + 1)
            elif isinstance(entry, Destination) and (title := one_line(str(entry.title))):
                page = self._reader.get_destination_page_number(entry)
                if page is not None and page >= 0:
                    yield Heading(title, page + 1, level)


def one_line(title: str) -> str | None:
    """A title that can be stored, on one line and of bounded length; None if nothing is left of it."""
    return storable(" ".join(storable(title).split())[:MAX_TITLE]) or None
