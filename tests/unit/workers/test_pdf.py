"""PDFs of all kinds, made on the spot: what can be read is read, and what cannot is refused in words for people."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.constants import PageLabelStyle

from core.details import DocumentDetails, Heading
from core.errors import PdfEncrypted, PdfNoText, PdfUnreadable
from core.passages import Page
from workers.inputs import pdf
from workers.inputs.pdf import PdfAsked, read_pages
from workers.inputs.pdf_budget import OverBudget
from workers.inputs.pdf_pages import PdfText, loaded
from workers.inputs.pdf_pdfium import ByPdfium
from workers.inputs.pdf_pypdf import MAX_HEADINGS, MAX_TITLE, Unreadable
from workers.inputs.pdf_words import storable

THREE_PAGES = ("The first page.", "The second page.", "The third page.")


def written(path: Path, *pages: str) -> Path:
    """A PDF with these texts, line by line."""
    made = FPDF()
    for text in pages:
        made.add_page()
        made.set_font("Times", size=12)
        for line in text.splitlines():
            made.cell(0, 6, line, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    made.output(str(path))
    return path


def encrypted(path: Path, user_password: str, algorithm: str) -> Path:
    writer = PdfWriter(clone_from=written(path, *THREE_PAGES))
    writer.encrypt(user_password, "owner", algorithm=algorithm)
    writer.write(path)
    return path


def read(
    path: Path,
    max_pages: int = 100,
    on_page: Callable[[int, int], None] = lambda done, total: None,
    password: str = "",
) -> PdfText:
    result = path.with_suffix(".pages")
    read_pages(path, result, max_pages=max_pages, on_page=on_page, asked=PdfAsked(password))
    return loaded(result)


def break_page(monkeypatch: pytest.MonkeyPatch, broken: set[int], error: Exception) -> None:
    """Make pypdf fail on these pages, and PDFium: they fail in too many ways to build a file for each."""
    break_pypdf(monkeypatch, broken, error)

    def refuse(reader: ByPdfium, number: int) -> str:
        raise Unreadable

    monkeypatch.setattr(ByPdfium, "text", refuse)


def break_pypdf(monkeypatch: pytest.MonkeyPatch, broken: set[int], error: BaseException) -> None:
    extract = PageObject.extract_text

    def failing(page: PageObject, **options: Any) -> str:
        assert page.page_number is not None
        if page.page_number + 1 in broken:
            raise error
        return extract(page, **options)

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
    made = FPDF()
    for _ in range(2):
        made.add_page()
        made.rect(10, 10, 100, 100, style="F")
    made.output(str(tmp_path / "a.pdf"))
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


@pytest.mark.parametrize("error", [ValueError("/tmp/x"), RecursionError(), OverBudget()])
def test_a_page_that_pypdf_cannot_read_is_read_by_pdfium(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    break_pypdf(monkeypatch, {2}, error)
    text = read(written(tmp_path / "a.pdf", *THREE_PAGES))
    assert [page.text for page in text.pages] == list(THREE_PAGES)
    assert (text.empty_pages, text.by_pdfium) == (0, 1)


def test_a_page_that_takes_pypdf_too_long_is_read_by_pdfium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(page: PageObject, **options: Any) -> str:
        while True:
            pass

    monkeypatch.setattr(PageObject, "extract_text", endless)
    monkeypatch.setattr(pdf, "PAGE_CPU_S", 0.05)
    assert read(written(tmp_path / "a.pdf", *THREE_PAGES)).by_pdfium == 3


def test_a_file_that_pypdf_cannot_open_is_read_by_pdfium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise KeyError("/Root")

    monkeypatch.setattr("workers.inputs.pdf_pypdf.PdfReader", refuse)
    text = read(outlined(tmp_path / "a.pdf"))
    assert ([page.label for page in text.pages], text.by_pdfium) == (["i", "ii", "1"], 3)
    assert text.details == OUTLINED


def outlined(path: Path) -> Path:
    """Three pages with an outline, and with two numbering styles."""
    writer = PdfWriter(clone_from=written(path, *THREE_PAGES))
    first = writer.add_outline_item(title="One", page_number=0)
    writer.add_outline_item(title="One,\n one", page_number=1, parent=first)
    writer.add_outline_item(title="Two", page_number=2)
    writer.set_page_label(0, 1, style=PageLabelStyle.LOWERCASE_ROMAN)
    writer.set_page_label(2, 2, style=PageLabelStyle.DECIMAL)
    writer.write(path)
    return path


OUTLINED = DocumentDetails(
    "One", ("i", "ii", "1"), (Heading("One", 1, 0), Heading("One, one", 2, 1), Heading("Two", 3, 0))
)


def test_the_outline_and_the_printed_numbers_are_told(tmp_path: Path) -> None:
    text = read(outlined(tmp_path / "a.pdf"))
    assert text.details == OUTLINED
    assert [page.label for page in text.pages] == ["i", "ii", "1"]


def test_a_printed_number_that_cannot_be_stored_loses_what_cannot(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=written(path := tmp_path / "a.pdf", *THREE_PAGES))
    writer.set_page_label(0, 2, prefix="A\x00-", style=PageLabelStyle.DECIMAL)
    writer.write(path)

    assert [page.label for page in read(path).pages] == ["A-1", "A-2", "A-3"]


def test_plain_numbers_are_no_labels_and_the_title_is_that_of_the_file(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=outlined(tmp_path / "a.pdf"))
    writer.add_metadata({"/Title": " On\nTides "})
    writer.root_object.pop("/PageLabels")
    writer.write(tmp_path / "a.pdf")
    text = read(tmp_path / "a.pdf")
    assert (text.details.title, text.details.page_labels) == ("On Tides", ())
    assert [page.label for page in text.pages] == [None, None, None]


def test_a_long_outline_is_cut_and_one_that_pypdf_cannot_read_is_read_by_pdfium(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = PdfWriter(clone_from=written(tmp_path / "a.pdf", *THREE_PAGES))
    for number in range(MAX_HEADINGS + 1):
        writer.add_outline_item(title="x" * 2 * MAX_TITLE + str(number), page_number=0)
    writer.write(tmp_path / "a.pdf")
    outline = read(tmp_path / "a.pdf").details.outline
    assert (len(outline), len(outline[0].title)) == (MAX_HEADINGS, MAX_TITLE)

    def endless(_: PdfReader) -> object:
        raise OverBudget

    for cannot in (lambda _: 1 / 0, endless):
        monkeypatch.setattr(PdfReader, "outline", property(cannot))
        monkeypatch.setattr(PdfReader, "page_labels", property(cannot))
        assert read(tmp_path / "a.pdf").details == DocumentDetails(outline[0].title, (), outline)


def test_an_outline_that_nobody_can_read_spoils_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise pypdfium2.PdfiumError("broken")

    monkeypatch.setattr(PdfReader, "outline", property(broken))
    monkeypatch.setattr(pypdfium2.PdfDocument, "get_toc", broken)

    text = read(outlined(tmp_path / "a.pdf"))

    assert (len(text.pages), text.details.outline) == (3, ())


def test_what_a_terminal_would_obey_is_left_out(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=written(tmp_path / "a.pdf", *THREE_PAGES))
    writer.add_outline_item(title="On\x01 \x1b[31mTides", page_number=0)
    writer.set_page_label(0, 2, prefix="A\x1b\x01-", style=PageLabelStyle.DECIMAL)
    writer.write(tmp_path / "a.pdf")

    text = read(tmp_path / "a.pdf")

    assert text.details.outline[0].title == "On [31mTides"
    assert text.details.page_labels[0] == "A-1"
    assert storable("a\x00b\x1b[0m\x9bc\tand\nd") == "ab[0mc\tand\nd"


def two_columns(path: Path, left: Sequence[str], right: Sequence[str]) -> Path:
    """A page with a title and two columns, written line by line across both."""
    made = FPDF()
    made.add_page()
    made.set_font("Times", size=10)
    made.text(60, 15, "A title that stands across the page, above both of its columns")
    for at, (one, other) in enumerate(zip(left, right, strict=True)):
        made.text(15, 25 + 5 * at, one)
        made.text(110, 25 + 5 * at, other)
    made.output(str(path))
    return path


def test_two_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    left = [f"The left column holds running text, line {at} of it" for at in range(10)]
    right = [f"The right one goes on with other words, line {at}" for at in range(10)]
    lines = read(two_columns(tmp_path / "a.pdf", left, right)).pages[0].text.splitlines()
    assert lines == ["A title that stands across the page, above both of its columns", *left, *right]


def test_a_table_is_read_line_by_line(tmp_path: Path) -> None:
    names, values = [f"Name of thing {at}" + "x" * 3 * at for at in range(10)], [f"{at}.50" for at in range(10)]
    text = read(two_columns(tmp_path / "a.pdf", names, values)).pages[0].text
    assert text.index("Name of thing 0") < text.index("0.50") < text.index("Name of thing 1")


def test_running_heads_and_footers_are_no_text(tmp_path: Path) -> None:
    texts = [f"The text of page {letter}.\nIt ends with {letter}." for letter in "abcde"]
    pages = [f"Annual report\n{text}\nPage {number} of 5" for number, text in enumerate(texts, 1)]
    assert [page.text for page in read(written(tmp_path / "a.pdf", *pages)).pages] == texts


def test_heads_of_left_and_right_pages_are_told_apart_from_headings(tmp_path: Path) -> None:
    pages = [f"{('Tides', 'A. Author')[n % 2]}\nSection {n * n + 7}\nWords {'abcdef'[n]}." for n in range(6)]
    text = read(written(tmp_path / "a.pdf", *pages))
    assert [page.text.splitlines()[0] for page in text.pages] == [f"Section {n * n + 7}" for n in range(6)]


def test_pages_that_say_all_the_same_keep_their_text(tmp_path: Path) -> None:
    assert [page.text for page in read(written(tmp_path / "a.pdf", *["The same."] * 4)).pages] == ["The same."] * 4


def test_ligatures_are_letters_and_other_signs_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PageObject, "extract_text", lambda page, **options: "\ufb01nd the o\ufb03ce, 5 m\u00b2 \u2460")
    assert read(written(tmp_path / "a.pdf", "x")).pages[0].text == "find the office, 5 m\u00b2 \u2460"


@pytest.mark.parametrize("algorithm", ["AES-256", "AES-128", "RC4-128"])
def test_the_right_password_opens_a_file_and_a_wrong_one_is_called_so(tmp_path: Path, algorithm: str) -> None:
    path = encrypted(tmp_path / "a.pdf", "secret", algorithm)
    assert [page.text for page in read(path, password="secret").pages] == list(THREE_PAGES)
    with pytest.raises(PdfEncrypted, match="password does not open") as caught:
        read(path, password="wrong one")
    assert "wrong one" not in caught.value.message


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
    monkeypatch.setattr(PageObject, "extract_text", lambda page, **options: "a\x00b\ud800c\udfffd 🌊")
    assert read(written(tmp_path / "a.pdf", "x")).pages == (Page(1, "abcd 🌊"),)


def test_printed_page_numbers_are_no_text_but_other_lone_numbers_are(tmp_path: Path) -> None:
    pages = ("A sentence that\n7", "- 8 -\nruns on.\n1912", "The end.\n9")
    text = read(written(tmp_path / "a.pdf", *pages))
    assert [page.text for page in text.pages] == ["A sentence that", "runs on.\n1912", "The end."]


def test_a_file_of_page_numbers_alone_keeps_them(tmp_path: Path) -> None:
    assert [page.text for page in read(written(tmp_path / "a.pdf", "1", "2", "3")).pages] == ["1", "2", "3"]


def test_a_word_parted_at_a_line_end_is_joined_if_the_document_knows_it(tmp_path: Path) -> None:
    parted = "The light-\nhouse is well-\nknown and rare-\nly seen."
    text = read(written(tmp_path / "a.pdf", parted, "A lighthouse, and a Well-known one."))
    assert text.pages[0].text == "The lighthouse is well-known and rare-\nly seen."


def test_a_soft_hyphen_is_never_part_of_a_word(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.pdf", "A light\u00ad\nhouse.")).pages[0].text == "A lighthouse."


def test_the_fixtures_are_what_they_claim(tmp_path: Path) -> None:
    assert PdfReader(encrypted(tmp_path / "a.pdf", "", "AES-256")).is_encrypted
