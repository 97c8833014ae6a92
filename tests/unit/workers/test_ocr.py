"""Pages that are images are read by Tesseract, in a process that can do nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest
from fpdf import FPDF

from workers.inputs import ocr, opening
from workers.inputs.ocr import OcrLimits
from workers.inputs.pdf_pages import PdfText
from workers.inputs.process import OpenLimits

MIB = 1024 * 1024
OPEN = OpenLimits(1024 * MIB, 60, 60)
LIMITS = OcrLimits("eng", 10, 60, 60, 1024 * MIB)

pytestmark = pytest.mark.skipif(ocr.program() is None, reason="Tesseract is not installed")


def scanned(path: Path, *texts: str) -> Path:
    """A PDF of pages that are images of these texts, but for the last, which is text."""
    made = FPDF()
    for text in texts:
        page = FPDF()
        page.add_page()
        page.set_font("Times", size=24)
        page.multi_cell(0, 12, text)
        image = pypdfium2.PdfDocument(bytes(page.output()))[0].render(scale=2).to_pil()
        made.add_page()
        made.image(image, 0, 0, made.w, made.h)
    made.add_page()
    made.set_font("Times", size=12)
    made.cell(0, 6, "Text that needs no reading.")
    made.output(str(path))
    return path


def read(path: Path, limits: OcrLimits = LIMITS) -> tuple[PdfText, int]:
    text = opening.read_pages(path, max_pages=99, limits=OPEN, on_page=lambda: None, scans=limits.max_pages)
    return ocr.recognized(text, path.with_name("pages"), limits, lambda: None, began=time.monotonic())


def test_the_words_of_an_image_stand_at_their_page(tmp_path: Path) -> None:
    text, by_ocr = read(scanned(tmp_path / "input", "The tide rises twice a day."))

    assert [(page.number, page.text) for page in text.pages] == [
        (1, "The tide rises twice a day."),
        (2, "Text that needs no reading."),
    ]
    assert (by_ocr, text.empty_pages) == (1, 0)


def test_no_more_pages_are_read_than_may_be(tmp_path: Path) -> None:
    text, by_ocr = read(scanned(tmp_path / "input", "One page.", "Another page."), replace(LIMITS, max_pages=1))

    assert (by_ocr, text.empty_pages, [page.number for page in text.pages]) == (1, 1, [1, 3])


@pytest.mark.parametrize(
    "limits", [replace(LIMITS, languages="xyz"), replace(LIMITS, page_s=0.01), replace(LIMITS, total_s=0)]
)
def test_a_page_that_cannot_be_read_stays_without_text(tmp_path: Path, limits: OcrLimits) -> None:
    text, by_ocr = read(scanned(tmp_path / "input", "One page."), limits)

    assert (by_ocr, text.empty_pages, [page.number for page in text.pages]) == (0, 1, [2])


BECOME = """
import json, os, sys
from pathlib import Path
from workers.inputs.confinement import Bounds, Reach, confine
folder, wanted, *arguments = sys.argv[1:]
confine(Bounds(2**30, 10, 2**20), Reach(Path(folder), Path(folder), Path(os.path.realpath("/bin/cat"))))
os.execv(wanted, [wanted, *arguments])
"""


def become(folder: Path, *argv: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", BECOME, str(folder), *argv]
    return subprocess.run(command, capture_output=True, check=False)


def test_the_process_becomes_its_program_and_no_other_and_reads_no_file_of_others(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("mine")
    cat = str(Path("/bin/cat").resolve())

    assert become(tmp_path, cat, str(tmp_path / "own")).stdout == b"mine"
    assert become(tmp_path, cat, "/etc/passwd").stdout == b""
    assert become(tmp_path, str(Path("/bin/echo").resolve()), "begun").stdout == b""
