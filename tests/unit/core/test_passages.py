"""Passages hold all of the text, keep to the limit, end where sentences end and say where they come from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.packing import CHARS_PER_TOKEN
from core.passages import SPOKEN, Page, PageCut, Passage, SpokenCut, TimedText, from_pages, from_segments

NO_LIMIT = 10_000
NO_OVERLAP = SpokenCut(overlap=0.0)

Count = Callable[[str], int]


def count_words(text: str) -> int:
    """A tokenizer that sees one token in a word and adds a start and an end mark."""
    return 2 + len(text.split())


def count_bytes(text: str) -> int:
    """A tokenizer that sees one token in each byte, spaces included."""
    return len(text.encode())


def letters(texts: Sequence[str]) -> str:
    return "".join("".join(text.split()) for text in texts)


def texts(passages: Sequence[Passage]) -> list[str]:
    return [passage.text for passage in passages]


def times(passages: Sequence[Passage]) -> list[tuple[float | None, float | None]]:
    return [(passage.start_s, passage.end_s) for passage in passages]


def pages_of(passages: Sequence[Passage]) -> list[tuple[int | None, int | None]]:
    return [(passage.page_from, passage.page_to) for passage in passages]


def put_together(passages: Sequence[Passage]) -> str:
    """The text again from overlapping passages, each character once."""
    text = ""
    for passage in passages:
        assert passage.char_start is not None
        assert passage.char_end is not None
        assert len(passage.text) == passage.char_end - passage.char_start
        text = text.ljust(passage.char_start)
        assert text[passage.char_start :] == passage.text[: len(text) - passage.char_start]
        text = text[: passage.char_start] + passage.text
    return text


def single_spaced(texts: Sequence[str]) -> str:
    return " ".join(" ".join(texts).split())


def spoken(*sentences: tuple[float, float, str]) -> list[TimedText]:
    return [TimedText(start_s, end_s, text) for start_s, end_s, text in sentences]


prose = st.text(st.sampled_from("aB1é漢 \n\t.!?。”-\u00a0\x1f"), max_size=200) | st.text(max_size=50)
counters = st.sampled_from([count_words, count_bytes])
limits = st.integers(min_value=5, max_value=60)
documents = st.lists(prose, max_size=6).map(lambda parts: [Page(number, text) for number, text in enumerate(parts, 1)])


@st.composite
def transcripts(draw: st.DrawFn) -> list[TimedText]:
    at_s, segments = 0.0, []
    for text in draw(st.lists(prose, max_size=12)):
        start_s = at_s + draw(st.floats(0, 40))
        at_s = start_s + draw(st.floats(0.1, 35))
        segments.append(TimedText(start_s, at_s, text))
    return segments


@given(documents, counters, limits)
def test_a_document_loses_no_letter_and_keeps_to_the_limit(pages: list[Page], count: Count, limit: int) -> None:
    passages = from_pages(pages, count, limit)
    assert put_together(passages) == single_spaced([page.text for page in pages])
    assert all(count(passage.text) <= limit for passage in passages)
    assert all(passage.text and passage.text == " ".join(passage.text.split()) for passage in passages)


@given(documents, counters, limits)
def test_the_text_of_a_passage_stands_on_the_pages_it_names(pages: list[Page], count: Count, limit: int) -> None:
    previous = 1
    for passage in from_pages(pages, count, limit):
        assert passage.page_from is not None
        assert passage.page_to is not None
        assert previous <= passage.page_to
        assert passage.page_from <= passage.page_to
        assert letters([passage.text]) in letters([p.text for p in pages[passage.page_from - 1 : passage.page_to]])
        previous = passage.page_to


@given(transcripts(), counters, limits)
def test_a_transcript_loses_no_letter_and_keeps_to_the_limit(
    segments: list[TimedText], count: Count, limit: int
) -> None:
    passages = from_segments(segments, count, limit)
    assert put_together(passages) == single_spaced([segment.text for segment in segments])
    assert all(count(passage.text) <= limit for passage in passages)
    assert all(passage.text and passage.text == " ".join(passage.text.split()) for passage in passages)


@given(transcripts())
def test_the_times_of_a_passage_are_those_of_its_first_and_last_segment(segments: list[TimedText]) -> None:
    starts, ends = {s.start_s for s in segments}, {s.end_s for s in segments}
    longest_segment = max((s.end_s - s.start_s for s in segments), default=0.0)
    for passage in from_segments(segments, count_words, NO_LIMIT):
        assert passage.start_s in starts
        assert passage.end_s in ends
        assert passage.end_s - passage.start_s <= max(SPOKEN.longest_s, longest_segment)
        assert passage.page_from is passage.page_to is None


def test_nothing_makes_no_passages() -> None:
    assert from_pages([], count_words, 10) == []
    assert from_pages([Page(1, " \n\n ")], count_words, 10) == []
    assert from_segments([], count_words, 10) == []
    assert from_segments(spoken((0, 1, "  ")), count_words, 10) == []


def test_a_passage_ends_where_a_sentence_ends() -> None:
    text = "One two three four. Five six seven? Eight nine ten eleven twelve! Thirteen."
    assert texts(from_pages([Page(1, text)], count_words, 10)) == [
        "One two three four. Five six seven?",
        "Eight nine ten eleven twelve! Thirteen.",
    ]


def test_a_full_stop_before_a_small_letter_ends_no_sentence() -> None:
    passages = from_pages([Page(1, "Big fish, e.g. the tuna, swim. Small fish hide.")], count_words, 8)
    assert texts(passages) == ["Big fish, e.g. the tuna, swim.", "Small fish hide."]


def test_sentences_of_a_script_without_spaces_end_too() -> None:
    assert texts(from_pages([Page(1, "今日は晴れ。明日は雨です。")], len, 8)) == ["今日は晴れ。", "明日は雨です。"]


def test_a_paragraph_that_fills_a_quarter_is_a_passage_of_its_own() -> None:
    text = "One two three four five.\n\nSix seven.\n \nEight nine ten eleven twelve."
    passages = from_pages([Page(1, text)], count_words, 22, cut=PageCut(complete=0.25))
    assert texts(passages) == [
        "One two three four five.",
        "Six seven. Eight nine ten eleven twelve.",
    ]


def test_a_sentence_that_runs_over_a_page_break_is_cited_with_both_pages() -> None:
    pages = [Page(3, "All of this is on page three and ends there. But this"), Page(4, "runs on. The rest is here.")]
    passages = from_pages(pages, count_words, 13)
    assert texts(passages) == ["All of this is on page three and ends there.", "But this runs on. The rest is here."]
    assert pages_of(passages) == [(3, 3), (3, 4)]


def test_pages_that_end_with_a_sentence_are_not_mixed() -> None:
    pages = [Page(1, "The first page is here."), Page(2, ""), Page(3, "The third page is here.")]
    passages = from_pages(pages, count_words, 20)
    assert texts(passages) == ["The first page is here.", "The third page is here."]
    assert pages_of(passages) == [(1, 1), (3, 3)]


def test_a_sentence_over_the_limit_is_cut_at_its_clauses() -> None:
    text = "When the moon is full, the water is high, and boats float."
    assert texts(from_pages([Page(1, text)], count_words, 8)) == [
        "When the moon is full,",
        "the water is high,",
        "and boats float.",
    ]


def test_an_endless_word_is_cut_to_the_limit() -> None:
    passages = from_pages([Page(1, "x" * 1_000)], len, 64)
    assert "".join(texts(passages)) == "x" * 1_000
    assert max(map(len, texts(passages))) <= 64


def test_a_word_that_counts_as_one_token_however_long_is_cut_all_the_same() -> None:
    passages = from_pages([Page(1, "x" * 100_000)], count_words, 10)
    assert max(map(len, texts(passages))) < (10 + 1) * CHARS_PER_TOKEN


def test_a_limit_that_holds_no_character_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens=3"):
        from_pages([Page(1, "🌊")], count_bytes, 3)


def test_a_transcript_passage_closes_at_the_first_sentence_end_after_ten_seconds() -> None:
    segments = spoken((0, 6, "One."), (6, 9, "Two"), (9, 12, "goes on."), (12, 15, "Three."))
    passages = from_segments(segments, count_words, NO_LIMIT, cut=NO_OVERLAP)
    assert texts(passages) == ["One. Two goes on.", "Three."]
    assert times(passages) == [(0, 12), (12, 15)]


def test_a_pause_after_a_sentence_closes_a_passage_of_five_seconds() -> None:
    segments = spoken((0, 2, "Hello."), (4, 6, "Welcome."), (7.5, 9, "Now the tides."))
    assert times(from_segments(segments, count_words, NO_LIMIT, cut=NO_OVERLAP)) == [(0, 6), (7.5, 9)]


def test_a_question_stays_with_its_answer() -> None:
    segments = spoken((0, 11, "What does the day begin with?"), (11.2, 13, "A pot of tea."), (13.2, 25, "Then I walk."))
    assert texts(from_segments(segments, count_words, NO_LIMIT, cut=NO_OVERLAP)) == [
        "What does the day begin with? A pot of tea.",
        "Then I walk.",
    ]


def test_a_question_after_five_seconds_begins_a_passage() -> None:
    segments = spoken((0, 6, "I walk the walls."), (6.2, 8, "“And then?”"), (8.2, 9, "Tea."))
    assert texts(from_segments(segments, count_words, NO_LIMIT, cut=NO_OVERLAP)) == [
        "I walk the walls.",
        "“And then?” Tea.",
    ]


def test_a_passage_that_grows_too_long_goes_back_to_its_last_sentence() -> None:
    segments = spoken((0, 8, "One."), (8, 16, "two"), (16, 24, "three"), (24, 32, "four."))
    assert times(from_segments(segments, count_words, NO_LIMIT)) == [(0, 8), (8, 32)]


def test_speech_without_full_stops_is_cut_at_thirty_seconds() -> None:
    segments = [TimedText(at, at + 8, "and so on") for at in range(0, 80, 8)]
    passages = from_segments(segments, count_words, NO_LIMIT)
    assert times(passages) == [(0, 24), (24, 48), (48, 72), (72, 80)]


def test_an_hour_of_silence_is_in_no_passage() -> None:
    segments = spoken((0, 1, "Hello."), (3600, 3601, "Goodbye."))
    assert times(from_segments(segments, count_words, NO_LIMIT)) == [(0, 1), (3600, 3601)]


def test_the_times_of_a_segment_in_pieces_are_interpolated_by_characters() -> None:
    passages = from_segments(spoken((100, 120, "aaaa bbbb cccc dddd ")), len, 9)
    assert texts(passages) == ["aaaa bbbb", "cccc dddd"]
    (first, last) = passages
    assert first.start_s == 100
    assert first.end_s == last.start_s == pytest.approx(100 + 20 * 10 / 19)
    assert last.end_s == 120


def test_reading_passages_does_not_load_the_library_that_cuts_them() -> None:
    code = "import core.passages, sys; sys.exit('semchunk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
