"""The pages of a PDF on disk, a line of JSON each: as they are read, and as they are handed over.

`pdf` writes them in the process that opens the file, so that no more than a page of it is in memory; `opening` takes
them from there into the worker.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from core.details import DocumentDetails, from_stored, to_stored
from core.job import JobKind
from core.passages import Page

MAX_PIXELS = 6_000_000
"""Of the image of a page, at a byte each: A4 at 250 dots an inch."""


@dataclass(frozen=True, slots=True)
class PdfText:
    """The text of a PDF. `pages` holds those with text; pages that failed (by number) count as empty too.

    `by_pdfium` is how many pages PDFium read because pypdf could not.
    """

    pages: tuple[Page, ...]
    n_pages: int
    empty_pages: int
    failed_pages: tuple[int, ...]
    by_pdfium: int = 0
    details: DocumentDetails = field(default_factory=DocumentDetails)
    scans: tuple[int, ...] = ()
    """Pages without text whose image lies in the same folder (`scan_of`)."""


def scan_of(result: Path, number: int) -> Path:
    """Where the image of a page lies, of those that `result` tells of."""
    return result.with_name(f"scan-{number}.pgm")


def write_page(file: TextIO, page: Page) -> None:
    """Add a page."""
    json.dump([page.number, page.text, page.label], file, ensure_ascii=False)
    file.write("\n")


def write_end(file: TextIO, text: PdfText) -> None:
    """Add what is to be said besides the pages; those of `text` itself are not written."""
    facts = [text.n_pages, text.empty_pages, text.failed_pages, text.by_pdfium, to_stored(text.details), text.scans]
    json.dump(facts, file, ensure_ascii=False)
    file.write("\n")


def written_pages(path: Path) -> Iterator[Page]:
    """The pages of a file that has no end yet, one at a time."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield _page(line)


def loaded(path: Path) -> PdfText:
    """All that was written. Raises `ValueError` if it is nothing of that kind."""
    pages: list[Page] = []
    with path.open(encoding="utf-8", newline="\n") as file:
        last = file.readline()
        for line in file:
            pages.append(_page(last))
            last = line
    n_pages, empty, failed, by_pdfium, details, scans = json.loads(last)
    kept = from_stored(JobKind.DOCUMENT, details)
    assert isinstance(kept, DocumentDetails)
    return PdfText(
        tuple(pages), int(n_pages), int(empty), tuple(map(int, failed)), int(by_pdfium), kept, tuple(map(int, scans))
    )


def _page(line: str) -> Page:
    number, text, label = json.loads(line)
    return Page(int(number), str(text), None if label is None else str(label))
