"""What becomes of each PDF of a folder: text, or an error; how long it takes; how much memory.

Each file is opened as the prepare stage does it (`opening.read_pages`), in a confined process of its own. Files that
are refused for a lack of text are looked at again with PDFium alone: one with text in it would be refused wrongly.

Run: python -m benchmarks.pdf_corpus FOLDER
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import pypdfium2

from core.errors import JobError, PdfNoText
from workers.inputs import opening
from workers.inputs.process import OpenLimits

LIMITS = OpenLimits(memory_bytes=1024**3, total_s=400, step_s=120)
"""As the service's own by default, with room for the worst to show itself."""
MAX_PAGES = 5_000
TRUE_ERRORS = ("pdf_unreadable", "pdf_encrypted", "pdf_no_text")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one file: `text` or the error's code and message; its pages, those by PDFium; seconds."""

    name: str
    code: str
    message: str
    pages: int
    by_pdfium: int
    took_s: float
    doubtful: bool


def outcome(path: Path, scratch: Path) -> Outcome:
    """Open one file as a worker does."""
    copy = scratch / "input"
    shutil.copyfile(path, copy)
    code, message, pages, by_pdfium, doubtful = "text", "", 0, 0, False
    began = time.monotonic()
    try:
        text = opening.read_pages(copy, max_pages=MAX_PAGES, limits=LIMITS, on_page=lambda: None)
        pages, by_pdfium = text.n_pages, text.by_pdfium
    except JobError as error:
        code, message = error.code, error.message
        doubtful = isinstance(error, PdfNoText) and _holds_text(path)
    return Outcome(path.name, code, message, pages, by_pdfium, time.monotonic() - began, doubtful)


def _holds_text(path: Path) -> bool:
    """Whether PDFium finds letters."""
    with suppress(pypdfium2.PdfiumError), pypdfium2.PdfDocument(path) as file:
        return any(page.get_textpage().get_text_range().strip() for page in file)
    return False


def report(outcomes: Sequence[Outcome], peak_mib: float) -> str:
    """A table of the codes, and what stands out."""
    codes = Counter(one.code for one in outcomes)
    lines = ["| outcome | files |", "|---|---|", *(f"| `{code}` | {n} |" for code, n in codes.most_common())]
    good = sum(one.code == "text" or one.code in TRUE_ERRORS for one in outcomes)
    slow = sorted(outcomes, key=lambda one: -one.took_s)
    with_pdfium = sum(one.by_pdfium > 0 for one in outcomes)
    lines += [
        "",
        f"text or a named error: {good} of {len(outcomes)} ({100 * good / len(outcomes):.1f} %)",
        f"with pages that PDFium read: {with_pdfium} files, {sum(one.by_pdfium for one in outcomes)} pages",
        f"took {sum(one.took_s for one in outcomes):.0f} s in all; the most memory of a process: {peak_mib:.0f} MiB",
        "the slowest: " + ", ".join(f"{one.name} {one.took_s:.1f} s" for one in slow[:_SHOWN]),
        "without text here, but not for PDFium: " + (", ".join(one.name for one in outcomes if one.doubtful) or "none"),
    ]
    return "\n".join(lines)


def main(folder: Path) -> None:
    """Print the table, and a line of JSON for each file that holds no text."""
    outcomes = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(folder.glob("*.pdf")):
            with tempfile.TemporaryDirectory(dir=scratch) as own:
                outcomes.append(outcome(path, Path(own)))
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(report(outcomes, peak_mib))
    for one in outcomes:
        if one.code != "text":
            print(json.dumps(asdict(one)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
