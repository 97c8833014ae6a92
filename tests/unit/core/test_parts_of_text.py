"""Passages keep to chapters, headings, series of page numbers and turns of speakers, and repeat only within them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence

import pytest

from core.details import Chapter, Heading
from core.passages import Page, PageCut, Passage, SpokenCut, TimedText, flow_chars, from_pages, from_segments, moved

LIMIT = 100


def count_words(text: str) -> int:
    return 2 + len(text.split())


def cut(*pages: Page, outline: Sequence[Heading] = (), limit: int = LIMIT) -> list[Passage]:
    return from_pages(pages, count_words, limit, outline=outline, cut=PageCut(complete=1.0, overlap=0.5))


def said(*sentences: tuple[float, float, str], chapters: Sequence[Chapter] = ()) -> list[tuple[str, str | None]]:
    timed = [TimedText(*sentence) for sentence in sentences]
    passages = from_segments(timed, count_words, LIMIT, chapters=chapters, cut=SpokenCut(overlap=1.0))
    return [(passage.text, passage.section) for passage in passages]


def sections(passages: Sequence[Passage]) -> list[tuple[str, str | None]]:
    return [(passage.text, passage.section) for passage in passages]


def test_a_passage_that_parts_a_paragraph_repeats_its_last_sentence() -> None:
    passages = cut(Page(1, "One two three. Four five. Six seven eight. Nine."), limit=9)
    assert [passage.text for passage in passages] == [
        "One two three. Four five.",
        "Four five. Six seven eight. Nine.",
    ]
    assert [(passage.char_start, passage.char_end) for passage in passages] == [(0, 25), (15, 48)]


def test_a_passage_after_a_paragraph_repeats_nothing() -> None:
    passages = from_pages([Page(1, "One. Two three.\n\nFour five six.")], count_words, 6, cut=PageCut(overlap=0.5))
    assert [passage.text for passage in passages] == ["One. Two three.", "Four five six."]


def test_pages_are_cited_as_they_are_printed() -> None:
    passages = cut(Page(1, "The sea is", "iii"), Page(2, "wide.", "iv"))
    assert [(passage.page_from, passage.page_to, passage.page_label) for passage in passages] == [(1, 2, "iii–iv")]


def test_no_passage_runs_from_one_series_of_page_numbers_into_another() -> None:
    passages = cut(Page(1, "The preface ends", "ii"), Page(2, "and the book begins.", "1"), Page(3, "It ends.", "2"))
    assert [(passage.text, passage.page_label) for passage in passages] == [
        ("The preface ends", "ii"),
        ("and the book begins. It ends.", "1–2"),
    ]


def test_a_printed_heading_begins_a_passage_in_the_middle_of_a_page() -> None:
    text = "Water comes.\n2  The\nTides\nThey rise. They fall."
    assert sections(cut(Page(1, text), outline=[Heading("The Tides", 1, 0)])) == [
        ("Water comes.", None),
        ("2 The Tides They rise. They fall.", "The Tides"),
    ]


def test_a_heading_that_is_not_printed_begins_at_the_top_of_its_page() -> None:
    pages = [Page(1, "Water comes."), Page(2, "It rises."), Page(3, "It falls.")]
    assert sections(cut(*pages, outline=[Heading("Tides", 2, 0)])) == [
        ("Water comes.", None),
        ("It rises. It falls.", "Tides"),
    ]


def test_a_sentence_that_runs_into_the_page_of_a_heading_is_not_torn() -> None:
    pages = [Page(1, "Water comes. And it"), Page(2, "goes. It rises.")]
    assert sections(cut(*pages, outline=[Heading("Tides", 2, 0)])) == [
        ("Water comes. And it goes.", None),
        ("It rises.", "Tides"),
    ]


def test_a_heading_alone_stays_with_the_one_below_it() -> None:
    outline = [Heading("Water", 1, 0), Heading("Tides", 1, 1), Heading("Streams", 1, 1)]
    assert sections(cut(Page(1, "Water\nTides\nThey rise.\nStreams\nThey run."), outline=outline)) == [
        ("Water Tides They rise.", "Water"),
        ("Streams They run.", "Streams"),
    ]


def test_the_last_heading_of_a_page_holds_for_the_next_page_even_if_it_is_not_printed() -> None:
    outline = [Heading("Tides", 1, 0), Heading("Streams", 1, 0)]
    pages = [Page(1, "Tides\nThey rise and fall."), Page(2, "They run.")]
    assert sections(cut(*pages, outline=outline)) == [
        ("Tides They rise and fall.", "Tides"),
        ("They run.", "Streams"),
    ]


def test_a_chapter_of_a_recording_ends_a_passage_without_overlap() -> None:
    chapters = [Chapter("Ice", 0, 4), Chapter("Sea", 4, 8)]
    assert said((0, 2, "One."), (2, 4, "Two."), (4, 6, "Three."), (6, 8, "Four."), chapters=chapters) == [
        ("One. Two.", "Ice"),
        ("Three. Four.", "Sea"),
    ]


def test_speech_before_the_first_chapter_stands_under_none() -> None:
    assert said((0, 2, "One."), (5, 6, "Two."), chapters=[Chapter("Ice", 4, 8)]) == [("One.", None), ("Two.", "Ice")]


def test_a_passage_never_mixes_speakers() -> None:
    turns = [TimedText(0, 1, "Why?", "A"), TimedText(1, 2, "Because.", "B"), TimedText(2, 3, "It is.", "B")]
    passages = from_segments(turns, count_words, LIMIT)
    assert [(passage.text, passage.speaker) for passage in passages] == [("Why?", "A"), ("Because. It is.", "B")]


def test_a_stretch_of_a_transcript_takes_its_place_in_the_whole() -> None:
    before = [" One  two.", " ", "Three."]
    (passage,) = moved(from_segments([TimedText(0, 1, "Four.")], count_words, LIMIT), flow_chars(before))
    assert passage.char_start is not None
    assert passage.char_end is not None
    assert "One two. Three. Four."[passage.char_start : passage.char_end] == "Four."


@pytest.mark.parametrize(
    "text", ["น้ำขึ้นน้ำลง" * 50, "潮の満ち引きは月が起こす" * 50, "潮汐，由月亮引起。" * 50, "tide " * 300]
)
def test_text_without_spaces_or_full_stops_is_cut_within_the_limit(text: str) -> None:
    passages = from_pages([Page(1, text), Page(2, text)], len, 64)
    assert all(len(passage.text) <= 64 for passage in passages)
    covered = {at for passage in passages for at in range(passage.char_start or 0, passage.char_end or 0)}
    whole = " ".join([*text.split(), *text.split()])
    assert {at for at, letter in enumerate(whole) if letter != " "} <= covered


def test_pages_are_not_kept_when_their_sentences_are_cut() -> None:
    def endless() -> Iterator[Page]:
        for number in range(1, 101):
            yield Page(number, f"{number} " + "word word word word word word. " * 300)

    tracemalloc.start()
    try:
        passages = from_pages(endless(), count_words, 200, cut=PageCut(complete=1.0, overlap=0.0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    text_bytes = sum(len(passage.text) for passage in passages)
    assert text_bytes > 900_000
    assert peak < 1.8 * text_bytes  # the passages and what describes them, not the pages as well
