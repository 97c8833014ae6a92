"""Read the text of a PDF page by page, with pypdf, and with PDFium what pypdf cannot read.

The prepare stage hands over a file that was uploaded or downloaded; `core.passages` cuts the pages into passages.
Whatever is wrong with a file is said in words for the person who sent it: nothing here may fail the worker, for
PDFs in the wild are broken in every way. One page at a time is in memory; the others lie on disk (`pdf_pages`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, TextIO

from core.details import DocumentDetails
from core.errors import PdfEncrypted, PdfNoText, PdfUnreadable
from core.passages import Page
from workers.inputs.pdf_budget import OverBudget, budget
from workers.inputs.pdf_pages import PdfText, scan_of, write_end, write_page, written_pages
from workers.inputs.pdf_pdfium import ByPdfium
from workers.inputs.pdf_pypdf import ByPypdf, Locked, Read, Unreadable
from workers.inputs.pdf_running import RunningLines
from workers.inputs.pdf_words import PartedWords, storable

HEADER = b"%PDF-"
HEADER_WITHIN_BYTES = 1024
"""Where readers look for the header: mail and web servers put bytes of their own in front of it."""

OPENING_CPU_S = 5.0
PAGE_CPU_S = 2.0
TOTAL_CPU_S = 15.0
"""Processor time that pypdf may take to open a file, for one page, and beyond `EASY_PAGE_CPU_S` for all of them."""
EASY_PAGE_CPU_S = 0.1
FEWEST_ZIGZAGS = 5
"""So often a page has to go on far to the right on the same line before its columns are looked at."""


@dataclass(frozen=True, slots=True)
class PdfAsked:
    """The password of a file, and of how many pages without text the image is to be left beside the result."""

    password: str = field(default="", repr=False)
    scans: int = 0


PLAIN = PdfAsked()


def read_pages(
    path: Path, result: Path, *, max_pages: int, on_page: Callable[[int, int], None], asked: PdfAsked = PLAIN
) -> None:
    """Write the text of each page to `result`, for `pdf_pages.loaded`; a second file is left beside it.

    `on_page(done, n_pages)` is called after each, and may raise to stop. Raises PdfUnreadable (no PDF, broken, no
    pages, more than `max_pages`), PdfEncrypted (opens only with a password, or not with this one) or PdfNoText.
    """
    raw = result.with_name(f"{result.name}.raw")
    # pypdf reads what it needs: an upload may be larger than the memory.
    with path.open("rb") as file, closing(_open(file, path, asked.password)) as readers:
        n_pages = _checked(readers.n_pages, max_pages)
        survey = _Survey()
        labels = readers.labels()
        with raw.open("w", encoding="utf-8") as pages:
            for number in range(1, n_pages + 1):
                text = readers.text(number)
                survey.take(
                    Page(number, text or "", labels[number - 1] if labels else None), pages, failed=text is None
                )
                if text == "" and len(survey.scans) < asked.scans and readers.paint(number, scan_of(result, number)):
                    survey.scans.append(number)
                on_page(number, n_pages)
        details = replace(readers.details(), page_labels=labels)
    if len(survey.failed) == n_pages:
        raise PdfUnreadable("None of the pages of this PDF can be read; the file is damaged.")
    facts = PdfText((), n_pages, 0, tuple(survey.failed), readers.by_pdfium, details, tuple(survey.scans))
    if not _write(raw, result, survey, facts) and not survey.scans:
        if readers.is_damaged:
            raise PdfUnreadable("The PDF is damaged, and what can be opened of it holds no text.")
        raise PdfNoText


@dataclass(slots=True)
class _Survey:
    """What is known of all pages once they were read."""

    failed: list[int] = field(default_factory=list)
    scans: list[int] = field(default_factory=list)
    running: RunningLines = field(default_factory=RunningLines)
    parted: PartedWords = field(default_factory=PartedWords)

    def take(self, page: Page, file: TextIO, *, failed: bool) -> None:
        """Keep a page."""
        if failed:
            self.failed.append(page.number)
        elif page.text:
            self.running.see(page)
            self.parted.ask(page.text)
            write_page(file, page)


def _write(raw: Path, result: Path, survey: _Survey, text: PdfText) -> int:
    """The pages as they are handed over, and what is said besides. How many have text."""
    if survey.parted:
        for page in written_pages(raw):
            survey.parted.see(page.text)
    with_text = 0
    with result.open("w", encoding="utf-8") as file:
        for cleaned in (True, False):  # what holds page numbers alone is a file of numbers
            for page in written_pages(raw):
                kept = survey.running.without(page) if cleaned else page
                if kept.text:
                    with_text += 1
                    write_page(file, replace(kept, text=survey.parted.joined(kept.text)))
            if with_text:
                break
        write_end(file, replace(text, empty_pages=text.n_pages - with_text))
    return with_text


def _checked(n_pages: int, max_pages: int) -> int:
    if n_pages == 0:
        raise PdfUnreadable("The PDF has no pages.")
    if n_pages > max_pages:
        raise PdfUnreadable(f"The PDF has {n_pages:,} pages; this service accepts at most {max_pages:,}.")
    return n_pages


def _open(file: BinaryIO, path: Path, password: str) -> _Readers:
    """The readers that open the file; PDFium is asked only where pypdf fails."""
    if HEADER not in file.read(HEADER_WITHIN_BYTES):
        raise PdfUnreadable("The file is not a PDF.")
    file.seek(0)
    try:
        with budget(OPENING_CPU_S):
            return _Readers(path, password, ByPypdf(file, password))
    except (Locked, Unreadable, OverBudget):
        pass
    try:
        return _Readers(path, password, None)
    except Locked as cause:
        if password:
            raise PdfEncrypted("The password does not open this PDF.") from cause
        raise PdfEncrypted from cause
    except Unreadable as cause:
        raise PdfUnreadable("The PDF is damaged or incomplete and cannot be opened.") from cause


class _Readers:
    """Both ways to read one file. PDFium opens it when it is first needed."""

    def __init__(self, path: Path, password: str, pypdf: ByPypdf | None) -> None:
        self.by_pdfium = 0
        self.is_damaged = pypdf is None
        self._path, self._password, self._pypdf = path, password, pypdf
        self._left_s = TOTAL_CPU_S
        self._refused = False
        self._pdfium: ByPdfium | None = None
        first: ByPypdf | ByPdfium
        if pypdf is None:
            first = self._pdfium = ByPdfium(path, password)
        else:
            first = pypdf
        self.n_pages, self.labels = first.n_pages, first.labels

    def details(self) -> DocumentDetails:
        """Title and outline. pypdf takes in all of an outline before it tells the first entry."""
        if self._pypdf is not None:
            with suppress(Unreadable, OverBudget):
                return self._pypdf.details()
        other = self._second()
        return DocumentDetails() if other is None else other.details()

    def text(self, number: int) -> str | None:
        """The text of a page, empty if it has none; None if neither can read it."""
        found = self._by_pypdf(number)
        if found is not None and found.text:
            if found.zigzags >= FEWEST_ZIGZAGS and (other := self._second()) is not None:
                return storable(other.in_columns(number) or found.text)
            return found.text
        other = self._second()
        try:
            text = None if other is None else storable(other.text(number))
        except Unreadable:
            text = None
        self.by_pdfium += bool(text)
        return text if found is None else text or ""

    def _by_pypdf(self, number: int) -> Read | None:
        """What pypdf reads on the page; None if it cannot, or takes too long."""
        if self._pypdf is None:
            return None
        began = time.process_time()
        try:
            with budget(min(PAGE_CPU_S, self._left_s + EASY_PAGE_CPU_S)):
                found = self._pypdf.text(number)
                return replace(found, text=storable(found.text))
        except (Unreadable, OverBudget):
            return None
        finally:
            self._left_s -= max(0.0, time.process_time() - began - EASY_PAGE_CPU_S)

    def _second(self) -> ByPdfium | None:
        if self._pdfium is None and not self._refused:
            try:
                self._pdfium = ByPdfium(self._path, self._password)
            except (Locked, Unreadable):
                self._refused = True
        return self._pdfium

    def paint(self, number: int, path: Path) -> bool:
        """Paint a page; False if it holds no image or cannot be painted."""
        other = self._second()
        return other is not None and other.paint(number, path)

    def close(self) -> None:
        """Let go of the file."""
        if self._pdfium is not None:
            self._pdfium.close()
