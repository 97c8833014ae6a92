"""Read the text of a PDF page by page.

The prepare stage hands over a file that was uploaded or downloaded; `core.passages` cuts the pages into passages.
Whatever is wrong with a file is said in words for the person who sent it: nothing here may fail the worker, for
PDFs in the wild are broken in every way, and pypdf raises errors of many kinds on them, not only its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pypdf import PasswordType, PdfReader

from core.errors import JobError, PdfEncrypted, PdfNoText, PdfUnreadable
from core.passages import Page

HEADER = b"%PDF-"
HEADER_WITHIN_BYTES = 1024
"""Where readers look for the header: mail and web servers put bytes of their own in front of it."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL text takes neither NUL nor half of a surrogate pair
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
# From a word's first letter on alone: else a word of a million letters would be looked through a million times.
_LINE_END_HYPHEN = re.compile(r"(?<![^\W\d_])([^\W\d_]+)([-\u2010\u00ad])[^\S\n]*\n[^\S\n]*([^\W\d_]+)")
_LONE_NUMBER = re.compile(r"[-–\s]*(\d{1,5})[-–\s]*", re.ASCII)
_SOFT_HYPHEN = "\u00ad"  # printed only where a line breaks, so it is never part of the word


@dataclass(frozen=True, slots=True)
class PdfText:
    """The text of a PDF. `pages` holds those with text; pages that failed (by number) count as empty too."""

    pages: tuple[Page, ...]
    n_pages: int
    empty_pages: int
    failed_pages: tuple[int, ...]


def read_pages(path: Path, *, max_pages: int, on_page: Callable[[int, int], None]) -> PdfText:
    """The text of each page; `on_page(done, n_pages)` is called after each, and may raise to stop.

    Raises PdfUnreadable (no PDF, broken, no pages, more than `max_pages`), PdfEncrypted (opens only with a password)
    or PdfNoText (nothing but images).
    """
    with path.open("rb") as file:  # pypdf reads what it needs: an upload may be larger than the memory
        return _read(_open(file), max_pages, on_page)


def _read(reader: PdfReader, max_pages: int, on_page: Callable[[int, int], None]) -> PdfText:
    n_pages = _count_pages(reader, max_pages)
    pages: list[Page] = []
    failed: list[int] = []
    for number in range(1, n_pages + 1):
        text = _page_text(reader, number)
        if text is None:
            failed.append(number)
        else:
            pages.append(Page(number, text))
        on_page(number, n_pages)
    if not pages:
        raise PdfUnreadable("None of the pages of this PDF can be read; the file is damaged.")
    with_text = [page for page in _without_page_numbers(pages) if page.text]
    if not with_text:
        raise PdfNoText
    return PdfText(_dehyphenated(with_text), n_pages, n_pages - len(with_text), tuple(failed))


@contextmanager
def _broken_file_is(error: JobError) -> Iterator[None]:
    """Turns whatever pypdf raises into `error`; a lack of memory is told by whoever bounds it."""
    try:
        yield
    except (JobError, MemoryError):
        raise
    except Exception as cause:
        raise error from cause


def _open(file: BinaryIO) -> PdfReader:
    """The reader of a file that stays open as long as it is read from."""
    if HEADER not in file.read(HEADER_WITHIN_BYTES):
        raise PdfUnreadable("The file is not a PDF.")
    file.seek(0)
    with _broken_file_is(PdfUnreadable("The PDF is damaged or incomplete and cannot be opened.")):
        try:
            reader = PdfReader(file)
        except NotImplementedError as cause:  # encrypted for a certificate instead of a password
            raise PdfEncrypted("The PDF is encrypted in a way that cannot be opened here.") from cause
        # Many PDFs are encrypted with an empty password, only to forbid printing: those open for everyone.
        if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
            raise PdfEncrypted
        return reader


def _count_pages(reader: PdfReader, max_pages: int) -> int:
    with _broken_file_is(PdfUnreadable("The PDF is damaged: its list of pages cannot be read.")):
        n_pages = len(reader.pages)
    if n_pages == 0:
        raise PdfUnreadable("The PDF has no pages.")
    if n_pages > max_pages:
        raise PdfUnreadable(f"The PDF has {n_pages:,} pages; this service accepts at most {max_pages:,}.")
    return n_pages


def _page_text(reader: PdfReader, number: int) -> str | None:
    """The page's text, empty if it has none; None if the page is broken."""
    try:
        with _broken_file_is(PdfUnreadable()):
            return _UNSTORABLE.sub("", reader.pages[number - 1].extract_text()).strip()
    except PdfUnreadable:
        return None


def _without_page_numbers(pages: Sequence[Page]) -> list[Page]:
    """Pages without the printed number, which would otherwise stand in the middle of a sentence that runs on.

    A lone number at the head or foot is one if it counts along with the pages; any other belongs to the text.
    """
    offsets = Counter(number - page.number for page in pages for number in _lone_numbers(page).values())

    def cleaned(page: Page) -> Page:
        printed = {at for at, number in _lone_numbers(page).items() if offsets[number - page.number] > 1}
        lines = [line for at, line in enumerate(page.text.splitlines()) if at not in printed]
        return replace(page, text="\n".join(lines).strip())

    return [cleaned(page) for page in pages]


def _lone_numbers(page: Page) -> dict[int, int]:
    """The first and the last line by position, where they hold a number and nothing else."""
    lines = page.text.splitlines()
    matches = {at: _LONE_NUMBER.fullmatch(lines[at]) for at in (0, len(lines) - 1) if lines}
    return {at: int(match[1]) for at, match in matches.items() if match}


def _dehyphenated(pages: Sequence[Page]) -> tuple[Page, ...]:
    """Words that were parted at line ends are whole again, where the document itself shows how they are written."""
    words = {word.casefold() for page in pages for word in _WORD.findall(page.text)}

    def join(match: re.Match[str]) -> str:
        before, hyphen, after = match.groups()
        if hyphen == _SOFT_HYPHEN or f"{before}{after}".casefold() in words:
            return f"{before}{after}"
        if f"{before}-{after}".casefold() in words:
            return f"{before}-{after}"
        return match.group()

    return tuple(replace(page, text=_LINE_END_HYPHEN.sub(join, page.text)) for page in pages)
