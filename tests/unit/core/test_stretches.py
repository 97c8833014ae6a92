"""Segments become stretches that end with a sentence or a pause, and know when each character is spoken."""

from __future__ import annotations

from hypothesis import given

from core.line_breaks import clean
from core.stretches import LONGEST_S, PAUSE_S, stretches_of
from core.transcript import TranscriptSegment, TranscriptWord
from tests.spoken import said, transcripts


def texts(*segments: TranscriptSegment) -> list[str]:
    return [stretch.text for stretch in stretches_of(segments)]


def test_segments_are_joined_until_a_sentence_ends() -> None:
    assert texts(*said((0, 2, "The sea climbs"), (2, 3, "the sand."), (3, 4, "It rests."))) == [
        "The sea climbs the sand.",
        "It rests.",
    ]


def test_a_pause_ends_a_stretch_inside_a_sentence() -> None:
    assert texts(*said((0, 2, "The sea"), (2 + PAUSE_S, 4, "climbs"))) == ["The sea", "climbs"]


def test_speech_without_a_full_stop_does_not_make_one_stretch_without_end() -> None:
    found = list(stretches_of(said(*((float(n), n + 1.0, "and on") for n in range(600)))))

    assert max(stretch.ended_s(len(stretch.text)) - stretch.begins_s(0) for stretch in found) <= LONGEST_S


def test_without_timed_words_time_is_shared_out_by_characters() -> None:
    [stretch] = stretches_of(said((10, 14, "0123"), (14, 15, "567.")))

    assert [stretch.begins_s(char) for char in (0, 1, 2, 5, 7)] == [10, 11, 12, 14, 14.5]
    assert [stretch.ended_s(char) for char in (1, 4, 9)] == [11, 14, 15]


def test_timed_words_are_where_they_were_heard() -> None:
    words = (TranscriptWord(1, 2, "The", 0.9), TranscriptWord(5, 6, "tide.", 0.9))
    [stretch] = stretches_of([TranscriptSegment(0, 9, "The tide.", words=words)])

    assert (stretch.begins_s(0), stretch.ended_s(3), stretch.begins_s(4), stretch.ended_s(9)) == (1, 2, 5, 6)


def test_a_word_that_is_not_in_the_text_is_passed_over() -> None:
    words = (TranscriptWord(1, 2, "A", 0.9), TranscriptWord(3, 4, "tide.", 0.9))
    [stretch] = stretches_of([TranscriptSegment(0, 9, "The tide.", words=words)])

    assert (stretch.begins_s(4), stretch.ended_s(9)) == (3, 4)


def test_words_that_stand_without_spaces_have_their_own_times() -> None:
    words = (TranscriptWord(1, 2, "水は", 0.9), TranscriptWord(5, 6, "上がる", 0.9))
    [stretch] = stretches_of([TranscriptSegment(0, 9, "水は上がる", words=words)])

    assert (stretch.begins_s(0), stretch.ended_s(2), stretch.begins_s(2), stretch.ended_s(5)) == (1, 2, 5, 6)


@given(transcripts())
def test_no_text_is_lost_and_no_character_is_spoken_outside_its_segments(segments: list[TranscriptSegment]) -> None:
    found = list(stretches_of(segments))

    assert "".join(stretch.text for stretch in found).replace(" ", "") == "".join(
        clean(segment.text).replace(" ", "") for segment in segments
    )
    for stretch in found:
        times = [stretch.begins_s(char) for char in range(len(stretch.text))]
        assert all(segments[0].start_s <= time_s <= max(s.end_s for s in segments) + 1e-6 for time_s in times)
