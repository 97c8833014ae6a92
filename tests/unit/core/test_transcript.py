"""Segments brought in order and read as text, and many chunks' opinions read as one language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.transcript import (
    PARAGRAPH_CHARS,
    PARAGRAPH_PAUSE_S,
    SENTENCE_PAUSE_S,
    HeardLanguage,
    TranscriptSegment,
    TranscriptWord,
    in_order,
    plain_text,
    spoken_language,
)
from tests.spoken import anyhow, said

SENTENCE = "The sea does not keep the hours of the sun."


@given(anyhow(), st.floats(0, 10), st.floats(0, 30))
def test_times_of_any_sort_come_out_in_order_inside_their_chunk(
    segments: list[TranscriptSegment], start_s: float, length_s: float
) -> None:
    ordered = in_order(segments, start_s, start_s + length_s)

    times = [time_s for segment in ordered for time_s in (segment.start_s, segment.end_s)]
    assert times == sorted(times)
    assert all(start_s <= time_s <= start_s + length_s for time_s in times)
    for segment in ordered:
        spoken = [time_s for word in segment.words for time_s in (word.start_s, word.end_s)]
        assert [segment.start_s, *spoken, segment.end_s] == sorted([segment.start_s, *spoken, segment.end_s])


@given(anyhow())
def test_bringing_segments_in_order_loses_no_text_and_changes_nothing_the_second_time(
    segments: list[TranscriptSegment],
) -> None:
    ordered = in_order(segments, 0, 30)

    assert sorted(segment.text for segment in ordered) == sorted(segment.text for segment in segments)
    assert [len(s.words) for s in ordered] == [len(s.words) for s in sorted(segments, key=lambda s: s.start_s)]
    assert in_order(ordered, 0, 30) == ordered


def test_segments_that_are_in_order_stay_as_they_are() -> None:
    words = (TranscriptWord(1.0, 1.5, "The", 0.9), TranscriptWord(1.5, 2.0, "tide", 0.9))
    segments = [TranscriptSegment(1, 2, "The tide", words=words), *said((2, 4, "comes in."))]

    assert in_order(segments, 0, 30) == segments


def test_the_segments_of_two_chunks_are_in_order_as_well() -> None:
    before, after = said((28, 31, "climbs")), said((29, 33, "the sand."))

    first, second = in_order(before, 0, 30)[0], in_order(after, 30, 60)[0]

    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (28, 30, 30, 33)


def test_a_segment_ends_where_the_next_one_begins() -> None:
    first, second = in_order(said((0, 5, "One"), (3, 6, "two.")), 0, 30)

    assert (first.end_s, second.start_s) == (3, 3)


def test_no_segments_are_no_text() -> None:
    assert plain_text([]) == ""


def test_segments_that_follow_each_other_are_one_paragraph() -> None:
    assert plain_text(said((0, 2, "The tide"), (2.5, 4, "comes in."))) == "The tide comes in."


def test_a_long_pause_begins_a_paragraph() -> None:
    spoken = said((0, 2, "First"), (2 + PARAGRAPH_PAUSE_S, 6, "second."))

    assert plain_text(spoken) == "First\n\nsecond."


def test_after_a_sentence_a_shorter_pause_does() -> None:
    spoken = said((0, 2, "First."), (2 + SENTENCE_PAUSE_S, 6, "Second."))

    assert plain_text(spoken) == "First.\n\nSecond."


@pytest.mark.parametrize(("said_before", "limit_s"), [("First.", SENTENCE_PAUSE_S), ("First", PARAGRAPH_PAUSE_S)])
def test_a_pause_just_below_the_limit_does_not(said_before: str, limit_s: float) -> None:
    spoken = said((0, 2, said_before), (2 + limit_s - 0.01, 6, "Second."))

    assert plain_text(spoken) == f"{said_before} Second."


def test_spaces_around_a_segment_are_not_doubled() -> None:
    assert plain_text(said((0, 1, " One "), (1, 2, " two. "))) == "One two."


def test_a_line_end_in_a_segment_begins_no_paragraph() -> None:
    assert plain_text(said((0, 1, "One\n\ntwo."))) == "One two."


def test_a_segment_without_text_leaves_no_gap() -> None:
    assert plain_text(said((0, 1, "One"), (1, 2, "  "), (2, 3, "two."))) == "One two."


def test_a_pause_is_counted_over_a_segment_without_text() -> None:
    assert plain_text(said((0, 1, "One."), (1, 2, " "), (3, 4, "Two."))) == "One.\n\nTwo."


def test_a_long_paragraph_ends_with_its_next_sentence() -> None:
    n_full = -(-PARAGRAPH_CHARS // len(SENTENCE))
    spoken = said(*((n, n + 1, SENTENCE) for n in range(n_full)), (n_full, n_full + 1, "And then"))

    first, second = plain_text(spoken).split("\n\n")

    assert (first.count(SENTENCE), second) == (n_full, "And then")


def test_a_long_paragraph_does_not_end_inside_a_sentence() -> None:
    assert "\n" not in plain_text(said(*((n, n + 1, "and then the water") for n in range(100))))


def test_text_of_a_script_without_spaces_is_joined_without_them() -> None:
    assert plain_text(said((0, 1, "潮は月の"), (1, 2, "力で動く。"), (2, 3, "OK"))) == "潮は月の力で動く。 OK"


def test_segments_that_overlap_stay_in_one_paragraph() -> None:
    assert plain_text(said((0, 5, "One"), (3, 6, "two."))) == "One two."


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.from_regex(r"[a-z]{1,8}", fullmatch=True))))
def test_every_word_is_in_the_text_once_and_in_order(spans: list[tuple[float, float, str]]) -> None:
    segments, now_s = [], 0.0
    for pause_s, length_s, text in spans:
        segments.append(TranscriptSegment(now_s + pause_s, now_s + pause_s + length_s, text))
        now_s += pause_s + length_s

    assert plain_text(segments).split() == [text for _, _, text in spans]


def test_nothing_heard_is_no_language() -> None:
    assert spoken_language([]) is None


def test_the_language_with_the_most_speech_wins() -> None:
    heard = [HeardLanguage("de", 0.9, 10), HeardLanguage("en", 0.9, 30), HeardLanguage("de", 0.9, 10)]

    assert spoken_language(heard) == "en"


def test_many_short_chunks_outvote_one_long_chunk() -> None:
    heard = [HeardLanguage("en", 0.9, 30), *[HeardLanguage("de", 0.9, 10)] * 4]

    assert spoken_language(heard) == "de"


def test_an_uncertain_vote_counts_less() -> None:
    assert spoken_language([HeardLanguage("cy", 0.3, 40), HeardLanguage("en", 0.95, 20)]) == "en"
