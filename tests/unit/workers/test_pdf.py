"""PDFs of all kinds, made on the spot: what can be read is read, and what cannot is refused in words for people."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from pypdf import PageObject, PdfReader, PdfWriter

from core.errors import PdfEncrypted, PdfNoText, PdfUnreadable
from core.passages import Page
from workers.inputs.pdf import PdfText, read_pages

THREE_PAGES = ("The first page.", "The second page.", "The third page.")


def written(path: Path, *pages: str) -> Path:
    """A PDF with these texts, line by line."""
    pdf = FPDF()
    for text in pages:
        pdf.add_page()
        pdf.set_font("Times", size=12)
        for line in text.splitlines():
            pdf.cell(0, 6, line, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.output(str(path))
    return path


def encrypted(path: Path, user_password: str, algorithm: str) -> Path:
    writer = PdfWriter(clone_from=written(path, *THREE_PAGES))
    writer.encrypt(user_password, "owner", algorithm=algorithm)
    writer.write(path)
    return path


def read(path: Path, max_pages: int = 100, on_page: Callable[[int, int], None] = lambda done, total: None) -> PdfText:
    return read_pages(path, max_pages=max_pages, on_page=on_page)


def break_page(monkeypatch: pytest.MonkeyPatch, broken: set[int], error: Exception) -> None:
    """Make pypdf fail on these pages: it fails in too many ways to build a file for each."""
    extract = PageObject.extract_text

    def failing(page: PageObject) -> str:
        assert page.page_number is not None
        if page.page_number + 1 in broken:
            raise error
        return extract(page)

    monkeypatch.setattr(PageObject, "extract_text", failing)


def test_every_page_is_read_with_its_number(tmp_path: Path) -> None:
    text = read(written(tmp_path / "a.pdf", *THREE_PAGES))
    assert text == PdfText(tuple(Page(n, page) for n, page in enumerate(THREE_PAGES, 1)), 3, 0, ())


def test_progress_is_told_after_each_page(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    read(written(tmp_path / "a.pdf", *THREE_PAGES), on_page=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_whoever_listens_to_the_progress_can_stop_it(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyError(f"stopped at {done} of {total}")

    with pytest.raises(KeyError, match="stopped at 1 of 3"):
        read(written(tmp_path / "a.pdf", *THREE_PAGES), on_page=stop)


def test_pages_without_text_are_counted_and_left_out(tmp_path: Path) -> None:
    text = read(written(tmp_path / "a.pdf", "Words.", "", "More words."))
    assert [page.number for page in text.pages] == [1, 3]
    assert (text.n_pages, text.empty_pages, text.failed_pages) == (3, 1, ())


def test_bytes_before_the_header_do_no_harm(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pdf", *THREE_PAGES)
    path.write_bytes(b"\r\nsent by a mail server\r\n" + path.read_bytes())
    assert read(path).n_pages == 3


@pytest.mark.parametrize("algorithm", ["AES-256", "AES-128", "RC4-128"])
def test_an_empty_password_opens_the_file(tmp_path: Path, algorithm: str) -> None:
    assert [page.text for page in read(encrypted(tmp_path / "a.pdf", "", algorithm)).pages] == list(THREE_PAGES)


@pytest.mark.parametrize("algorithm", ["AES-256", "AES-128", "RC4-128"])
def test_a_file_that_asks_for_a_password_is_refused(tmp_path: Path, algorithm: str) -> None:
    with pytest.raises(PdfEncrypted, match="password"):
        read(encrypted(tmp_path / "a.pdf", "secret", algorithm))


def test_a_file_of_images_has_no_text(tmp_path: Path) -> None:
    pdf = FPDF()
    for _ in range(2):
        pdf.add_page()
        pdf.rect(10, 10, 100, 100, style="F")
    pdf.output(str(tmp_path / "a.pdf"))
    with pytest.raises(PdfNoText, match="OCR"):
        read(tmp_path / "a.pdf")


def test_what_is_no_pdf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    for content in (b"", b"Dear reader, this is a text.", random.Random(1).randbytes(5_000), b" " * 1024 + b"%PDF-1.7"):
        path.write_bytes(content)
        with pytest.raises(PdfUnreadable, match="not a PDF"):
            read(path)


def test_a_damaged_file_is_refused_without_inner_detail(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pdf", *THREE_PAGES)
    whole = path.read_bytes()
    for content in (whole[:20], whole[:200], b"%PDF-1.7\n" + random.Random(2).randbytes(5_000)):
        path.write_bytes(content)
        with pytest.raises(PdfUnreadable, match="damaged") as caught:
            read(path)
        assert str(tmp_path) not in caught.value.message


def test_a_truncated_or_scrambled_file_never_raises_anything_else(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pdf", *THREE_PAGES)
    whole, chance = path.read_bytes(), random.Random(3)
    for _ in range(150):
        content = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.5 else whole)
        for _ in range(chance.randrange(30)):
            if content:
                content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            assert read(path).n_pages >= 1
        except (PdfUnreadable, PdfNoText, PdfEncrypted):
            continue


def test_a_file_without_pages_is_refused(tmp_path: Path) -> None:
    PdfWriter().write(tmp_path / "a.pdf")
    with pytest.raises(PdfUnreadable, match="no pages"):
        read(tmp_path / "a.pdf")


def test_a_file_of_too_many_pages_is_refused_before_any_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pdf", *THREE_PAGES)
    calls: list[int] = []
    with pytest.raises(PdfUnreadable, match=r"3 pages.*at most 2"):
        read(path, max_pages=2, on_page=lambda done, total: calls.append(done))
    assert calls == []
    assert read(path, max_pages=3).n_pages == 3


@pytest.mark.parametrize("error", [ValueError("/tmp/x"), RecursionError(), AssertionError(), KeyError("/Font")])
def test_a_broken_page_is_reported_and_the_rest_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    break_page(monkeypatch, {2}, error)
    text = read(written(tmp_path / "a.pdf", *THREE_PAGES))
    assert [page.number for page in text.pages] == [1, 3]
    assert (text.n_pages, text.empty_pages, text.failed_pages) == (3, 1, (2,))


def test_a_file_of_broken_pages_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_page(monkeypatch, {1, 2, 3}, ValueError("/tmp/x"))
    with pytest.raises(PdfUnreadable, match="None of the pages"):
        read(written(tmp_path / "a.pdf", *THREE_PAGES))


def test_a_lack_of_memory_is_not_taken_for_a_broken_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_page(monkeypatch, {2}, MemoryError())
    with pytest.raises(MemoryError):
        read(written(tmp_path / "a.pdf", *THREE_PAGES))


def test_what_no_page_needs_is_not_read_into_memory(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=written(tmp_path / "a.pdf", *THREE_PAGES))
    writer.add_attachment("film.bin", random.Random(4).randbytes(16_000_000))
    writer.write(tmp_path / "large.pdf")
    del writer
    tracemalloc.start()
    try:
        assert read(tmp_path / "large.pdf").n_pages == 3
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_characters_that_the_database_refuses_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PageObject, "extract_text", lambda page: "a\x00b\ud800c\udfffd 🌊")
    assert read(written(tmp_path / "a.pdf", "x")).pages == (Page(1, "abcd 🌊"),)


def test_printed_page_numbers_are_no_text_but_other_lone_numbers_are(tmp_path: Path) -> None:
    pages = ("A sentence that\n7", "- 8 -\nruns on.\n1912", "The end.\n9")
    text = read(written(tmp_path / "a.pdf", *pages))
    assert [page.text for page in text.pages] == ["A sentence that", "runs on.\n1912", "The end."]


def test_a_word_parted_at_a_line_end_is_joined_if_the_document_knows_it(tmp_path: Path) -> None:
    parted = "The light-\nhouse is well-\nknown and rare-\nly seen."
    text = read(written(tmp_path / "a.pdf", parted, "A lighthouse, and a Well-known one."))
    assert text.pages[0].text == "The lighthouse is well-known and rare-\nly seen."


def test_a_soft_hyphen_is_never_part_of_a_word(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.pdf", "A light\u00ad\nhouse.")).pages[0].text == "A lighthouse."


def test_the_fixtures_are_what_they_claim(tmp_path: Path) -> None:
    assert PdfReader(encrypted(tmp_path / "a.pdf", "", "AES-256")).is_encrypted
