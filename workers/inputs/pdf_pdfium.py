"""A PDF as PDFium reads it, the library of Chrome: it forgives more than pypdf, is quicker, and can paint a page.

`pdf` opens it for what `pdf_pypdf` cannot read, and for the boxes of text where columns are to be put in order. It is
native code that may crash on a hostile file: it is loaded in the confined process alone.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from pathlib import Path

import pypdfium2
import pypdfium2.raw as c

from core.details import DocumentDetails, Heading
from workers.inputs.pdf_columns import Box, in_columns
from workers.inputs.pdf_pages import MAX_PIXELS
from workers.inputs.pdf_pypdf import MAX_HEADINGS, MAX_LABEL, Locked, Unreadable, one_line
from workers.inputs.pdf_words import storable

MAX_BOXES = 2_000
"""Of a page whose columns are put in order: PDFium looks through all letters for each."""
MAX_CHARACTERS = 2_000_000
"""Of a page."""
SCAN_DPI = 200
_MOST_MARKS = 20 * MAX_HEADINGS
"""Of an outline, with those that lead nowhere."""
_MAX_DEPTH = 10


class ByPdfium:
    """An open file. `close` it, or end the process."""

    def __init__(self, path: Path, password: str) -> None:
        try:
            self._file = pypdfium2.PdfDocument(path, password=password or None)
        except pypdfium2.PdfiumError as error:
            if error.err_code in (c.FPDF_ERR_PASSWORD, c.FPDF_ERR_SECURITY):
                raise Locked from error
            raise Unreadable from error
        self.n_pages = len(self._file)

    def text(self, number: int) -> str:
        """The text of a page, counted from 1, its columns in order. Raises `Unreadable`."""
        try:
            page = self._file.get_page(number - 1)
            try:
                return self._text(page.get_textpage())
            finally:
                page.close()
        except pypdfium2.PdfiumError as error:
            raise Unreadable from error

    def in_columns(self, number: int) -> str | None:
        """The text of a page whose two columns are to be put in order; None if it has none, or cannot be read."""
        try:
            page = self._file.get_page(number - 1)
            try:
                return in_columns(_boxes(page.get_textpage()))
            finally:
                page.close()
        except pypdfium2.PdfiumError:
            return None

    def _text(self, page: pypdfium2.PdfTextPage) -> str:
        if page.count_chars() > MAX_CHARACTERS:
            raise Unreadable
        # At a line's end PDFium writes a hyphen of its own, and leaves out the break.
        text: str = page.get_text_range()
        text = text.replace("\r\n", "\n").replace("\ufffe", "-\n").replace("\x02", "-\n")
        return text.replace("-\n\n", "-\n")

    def paint(self, number: int, path: Path) -> bool:
        """Paint a page that holds an image into a grey PGM, at most `MAX_PIXELS`; False if it holds none."""
        try:
            page = self._file.get_page(number - 1)
            try:
                if next(iter(page.get_objects(filter=[c.FPDF_PAGEOBJ_IMAGE])), None) is None:
                    return False
                width, height = page.get_size()
                scale = min(SCAN_DPI / 72, (MAX_PIXELS / max(1.0, width * height)) ** 0.5)
                _write_pgm(page.render(scale=scale, grayscale=True), path)
            finally:
                page.close()
        except (pypdfium2.PdfiumError, ValueError):
            return False
        return True

    def details(self) -> DocumentDetails:
        """Title and outline."""
        outline: list[Heading] = []
        with suppress(pypdfium2.PdfiumError, ValueError):  # what came before the fault is told all the same
            for mark in islice(self._file.get_toc(max_depth=_MAX_DEPTH), _MOST_MARKS):
                target = mark.get_dest()
                page = target.get_index() if target is not None else None
                if page is not None and (title := one_line(mark.get_title())):
                    outline.append(Heading(title, page + 1, mark.level))
                if len(outline) == MAX_HEADINGS:
                    break
        title = one_line(self._file.get_metadata_value("Title"))
        return DocumentDetails(title or (outline[0].title if outline else None), (), tuple(outline))

    def labels(self) -> tuple[str, ...]:
        """The printed number of each page; none where they are 1, 2, 3 …"""
        labels = [storable(self._file.get_page_label(at))[:MAX_LABEL] for at in range(self.n_pages)]
        plain = [str(number) for number in range(1, self.n_pages + 1)]
        return () if labels == plain or not any(labels) else tuple(labels)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _write_pgm(bitmap: pypdfium2.PdfBitmap, path: Path) -> None:
    pixels, stride = memoryview(bitmap.buffer).cast("B"), bitmap.stride
    with path.open("wb") as file:
        file.write(b"P5 %d %d 255\n" % (bitmap.width, bitmap.height))
        for row in range(bitmap.height):
            file.write(pixels[row * stride : row * stride + bitmap.width])


def _boxes(page: pypdfium2.PdfTextPage) -> list[Box]:
    boxes: list[Box] = []
    n_boxes = page.count_rects()
    if n_boxes > MAX_BOXES:
        return []
    for at in range(n_boxes):
        left, bottom, right, top = page.get_rect(at)
        text = " ".join(page.get_text_bounded(left, bottom, right, top).replace("\ufffe", "-").split())
        if text:
            boxes.append(Box(left, bottom, right, top, text))
    return boxes
