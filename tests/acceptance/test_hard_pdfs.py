"""On a real service: PDFs that are locked, or whose pages are images, become text where that can be."""

from __future__ import annotations

from pathlib import Path

import pypdfium2
import pytest
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter

from service.client import Client
from tests.acceptance.conftest import ROOT, Service
from workers.inputs import ocr

PASSWORD = "low tide, 6 a.m. – ebb"
SENTENCE = "The harbour master rings a brass bell when the water turns."


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """The sample document, behind a password."""
    writer = PdfWriter()
    writer.append(PdfReader(ROOT / "examples" / "tides.pdf"))
    writer.encrypt(PASSWORD, algorithm="AES-256")
    path = tmp_path / "locked.pdf"
    writer.write(path)
    return path


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    """A page that is the image of one sentence."""
    page = FPDF()
    page.add_page()
    page.set_font("Times", size=24)
    page.multi_cell(0, 12, SENTENCE)
    image = pypdfium2.PdfDocument(bytes(page.output()))[0].render(scale=2).to_pil()
    made = FPDF()
    made.add_page()
    made.image(image, 0, 0, made.w, made.h)
    path = tmp_path / "scanned.pdf"
    made.output(str(path))
    return path


def test_a_locked_pdf_is_embedded_with_its_password_from_stdin_which_is_shown_nowhere(
    service: Service, locked: Path
) -> None:
    done = service.run("embed", "--password-stdin", str(locked), typed=f"{PASSWORD}\n")

    assert done.returncode == 0, done.stderr
    job_id = done.stdout.strip()
    status = service.run("status", job_id)
    passages = service.run("passages", job_id, "--format", "json")
    assert '"status": "completed"' in status.stdout
    assert "The sea does not keep the hours of the sun" in passages.stdout
    assert PASSWORD not in done.stdout + done.stderr + status.stdout


@pytest.mark.parametrize("arguments", [(), ("--password-stdin",)])
def test_a_locked_pdf_without_its_password_fails_as_such(
    service: Service, locked: Path, arguments: tuple[str, ...]
) -> None:
    done = service.run("embed", *arguments, str(locked), typed="high tide\n")

    assert (done.returncode, done.stdout) == (1, "")
    assert "(pdf_encrypted)" in done.stderr


@pytest.mark.skipif(ocr.program() is None, reason="Tesseract is not installed")
def test_a_page_that_is_an_image_is_read_and_found(service: Service, scanned: Path) -> None:
    client = service.client()
    job = client.wait(client.embed(scanned, {"ocr": "auto"}).id)

    assert job.status == "completed", job.error
    assert [warning["code"] for warning in job.warnings] == ["pages_by_ocr"]
    hit = client.search("Who rings when the water turns?", job_ids=[job.id])[0]
    assert (hit.text, hit.citation["label"]) == (SENTENCE, "p. 1")


def test_a_page_that_is_an_image_has_no_text_where_none_is_to_be_read(service: Service, scanned: Path) -> None:
    client: Client = service.client()
    job = client.wait(client.embed(scanned, {"ocr": "off"}).id)

    assert job.error is not None
    assert (job.status, job.error["code"], job.error["retryable"]) == ("failed", "pdf_no_text", False)
