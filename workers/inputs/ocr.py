"""Has Tesseract, where it is installed, read the images of pages without text. Each is read by a process of its own.

The prepare stage calls `recognized` with what `opening` brought; `recognizing` is the process, which binds itself and
becomes the program. A page that cannot be read stays without text: that fails no job.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from core.errors import JobError, PdfUnreadable
from core.passages import Page
from workers.inputs.confinement import Bounds
from workers.inputs.opening import PAGE_TEXT_BYTES, check_written
from workers.inputs.pdf_pages import PdfText, scan_of

log = structlog.get_logger(__name__)

PROGRAM = "tesseract"
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class OcrLimits:
    """Languages as Tesseract names them (`eng+deu`); pages of a job; seconds for a page, and for opening in all."""

    languages: str
    max_pages: int
    page_s: float
    total_s: float
    memory_bytes: int


def program() -> Path | None:
    """Where Tesseract is installed."""
    found = shutil.which(PROGRAM)
    return Path(found).resolve() if found else None


def recognized(
    text: PdfText, result: Path, limits: OcrLimits, on_page: Callable[[], None], *, began: float
) -> tuple[PdfText, int]:
    """The text with that of its scanned pages, which lie beside `result`; how many pages were read so.

    `began` is when opening the file did (`time.monotonic`): what is not read in time stays without text.
    """
    tesseract = program()
    found: list[Page] = []
    for number in text.scans[: limits.max_pages]:
        left_s = began + limits.total_s - time.monotonic()
        if tesseract is None or left_s <= 0:
            break
        on_page()
        words = _recognize(tesseract, scan_of(result, number), limits, min(limits.page_s, left_s))
        if words:
            labels = text.details.page_labels
            found.append(Page(number, words, labels[number - 1] if number <= len(labels) else None))
    pages = tuple(sorted((*text.pages, *found), key=lambda page: page.number))
    return replace(text, pages=pages, empty_pages=text.empty_pages - len(found)), len(found)


def _recognize(tesseract: Path, scan: Path, limits: OcrLimits, most_s: float) -> str:
    """The words of one image; empty if there are none, or the program fails or takes too long."""
    from workers.inputs.pdf_words import storable

    bounds = Bounds(limits.memory_bytes, int(most_s) + 1, PAGE_TEXT_BYTES * 16)
    places = {"program": str(tesseract), "scan": str(scan), "languages": limits.languages}
    asked = json.dumps({"bounds": asdict(bounds), **places})
    try:
        subprocess.run(
            [sys.executable, "-P", "-B", "-m", "workers.inputs.recognizing", asked],
            env={"OMP_THREAD_LIMIT": "1"} | {name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=most_s,
            check=True,
            start_new_session=True,  # Ctrl-C is for the worker, which may finish its chunk
        )
        written = scan.with_suffix(".txt")
        check_written(written, bounds.file_bytes, PdfUnreadable)
    except (subprocess.SubprocessError, JobError) as error:
        log.warning("a page could not be read by OCR", page=scan.stem, why=type(error).__name__)
        return ""
    return storable(written.read_text(encoding="utf-8", errors="replace"))
