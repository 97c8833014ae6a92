"""Segments read as text, and many chunks' opinions read as one language."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.transcript import PARAGRAPH_PAUSE_S, HeardLanguage, TranscriptSegment, plain_text, spoken_language


def said(*spans: tuple[float, float, str]) -> list[TranscriptSegment]:
    return [TranscriptSegment(start_s, end_s, text) for start_s, end_s, text in spans]


def test_no_segments_are_no_text() -> None:
    assert plain_text([]) == ""


def test_segments_that_follow_each_other_are_one_paragraph() -> None:
    assert plain_text(said((0, 2, "The tide"), (2.5, 4, "comes in."))) == "The tide comes in."


def test_a_long_pause_begins_a_paragraph() -> None:
    spoken = said((0, 2, "First."), (2 + PARAGRAPH_PAUSE_S, 6, "Second."))

    assert plain_text(spoken) == "First.\n\nSecond."


def test_a_pause_just_below_the_limit_does_not() -> None:
    spoken = said((0, 2, "First."), (2 + PARAGRAPH_PAUSE_S - 0.01, 6, "Second."))

    assert plain_text(spoken) == "First. Second."


def test_spaces_around_a_segment_are_not_doubled() -> None:
    assert plain_text(said((0, 1, " One "), (1, 2, " two. "))) == "One two."


def test_a_segment_without_text_leaves_no_gap() -> None:
    assert plain_text(said((0, 1, "One"), (1, 2, "  "), (2, 3, "two."))) == "One two."


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
