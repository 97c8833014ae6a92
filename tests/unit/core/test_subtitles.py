"""Segments become cues that can be read: inside the layout, one after the other, cut where the sentence allows it."""

from __future__ import annotations

from itertools import pairwise, zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.line_breaks import clean, columns
from core.subtitles import LONGEST_S, MAX_LINE_CHARS, MAX_LINES, MIN_LINE_CHARS, SHORTEST_S, Cue, Layout, cues_of
from core.transcript import TranscriptSegment
from tests.spoken import said, transcripts, word_by_word

LAYOUTS = st.builds(Layout, st.integers(MIN_LINE_CHARS, MAX_LINE_CHARS), st.integers(1, MAX_LINES), st.floats(5, 100))
TIDES = (
    "Stand on the beach for a few hours, and you will see the sea climb the sand, rest for some time, and slip away "
    "again. The moon does most of the work."
)


def cues(segments: list[TranscriptSegment], layout: Layout | None = None) -> list[Cue]:
    return list(cues_of(segments, layout or Layout()))


def texts(found: list[Cue]) -> list[str]:
    return [" ".join(cue.lines) for cue in found]


@given(transcripts(), LAYOUTS)
def test_every_cue_fits_in_the_layout_and_none_overlaps_the_next(
    segments: list[TranscriptSegment], layout: Layout
) -> None:
    found = cues(segments, layout)

    for cue in found:
        assert 0 <= cue.start_ms < cue.end_ms
        assert 1 <= len(cue.lines) <= layout.lines
        assert all(line == line.strip() != "" and columns(line) <= layout.line_chars for line in cue.lines)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(found))


@given(transcripts(), LAYOUTS)
def test_all_that_was_said_is_shown_once_and_in_order(segments: list[TranscriptSegment], layout: Layout) -> None:
    shown = "".join("".join(cue.lines) for cue in cues(segments, layout))

    assert shown.replace(" ", "") == "".join(clean(segment.text).replace(" ", "") for segment in segments)


@given(transcripts(), LAYOUTS)
def test_a_cue_stays_until_it_can_have_been_read_or_the_next_one_comes(
    segments: list[TranscriptSegment], layout: Layout
) -> None:
    found = cues(segments, layout)

    for cue, following in zip_longest(found, found[1:]):
        read_ms = 1000 * max(SHORTEST_S, sum(map(columns, cue.lines)) / layout.chars_per_s)
        shown_ms = cue.end_ms - cue.start_ms
        assert shown_ms >= read_ms - 1 or (following is not None and cue.end_ms == following.start_ms)
        assert shown_ms <= max(1000 * LONGEST_S, read_ms) + 1


def test_a_short_segment_is_one_cue_with_its_own_times() -> None:
    assert cues(said((3.25, 7.5, "The tide comes in."))) == [Cue(3250, 7500, ("The tide comes in.",))]


def test_a_long_segment_is_cut_after_sentences_and_clauses() -> None:
    assert [cue.lines for cue in cues(said((0, 10, TIDES)))] == [
        ("Stand on the beach for a few hours,", "and you will see the sea climb the sand,"),
        ("rest for some time, and slip away again.", "The moon does most of the work."),
    ]


def test_a_sentence_that_whisper_cut_in_two_is_cut_where_it_reads_best() -> None:
    halves = said(
        (0, 3, "The water comes up, it goes down, and it comes up once"), (3, 4, "more. That is why the water rises.")
    )

    assert texts(cues(halves)) == [
        "The water comes up, it goes down, and it comes up once more.",
        "That is why the water rises.",
    ]


def test_a_cue_has_the_times_of_its_words_where_they_were_heard() -> None:
    words = TIDES.split()

    found = cues([word_by_word(10, TIDES)])

    assert [" ".join(cue.lines).split() for cue in found] == [words[:17], words[17:]]
    assert [(cue.start_ms, cue.end_ms) for cue in found] == [(10_000, 16_800), (16_800, 22_800)]


def test_without_timed_words_a_cue_has_its_share_of_the_characters() -> None:
    found = cues(said((0, 12, f"{'a' * 59}. {'b' * 58}.")), Layout(line_chars=60, lines=1))

    assert [(cue.start_ms, cue.end_ms) for cue in found] == [(0, 6100), (6100, 12_000)]


def test_a_cue_stays_in_the_silence_after_it_but_not_in_the_next_one() -> None:
    hurried = said((0, 0.2, "Stop there."), (0.5, 0.7, "Now!"), (9, 9.1, "The sea is patient, but not for long."))

    assert [(cue.start_ms, cue.end_ms) for cue in cues(hurried)] == [(0, 500), (500, 1333), (9000, 11_176)]


@pytest.mark.parametrize(("next_s", "end_ms"), [(2.4, 2400), (2.6, 2000), (0.9, 900)])
def test_the_screen_does_not_flicker_between_two_cues(next_s: float, end_ms: int) -> None:
    first, _ = cues(said((0, 2, "The tide."), (next_s, 5, "The sea.")))

    assert first.end_ms == end_ms


def test_a_word_that_takes_a_minute_is_not_shown_for_a_minute() -> None:
    assert cues(said((0, 60, "Om."))) == [Cue(0, 7000, ("Om.",))]


def test_a_cue_ends_where_the_speaker_takes_a_breath() -> None:
    before, after = word_by_word(0, "one two"), word_by_word(1.4, "three four five six")
    spoken = TranscriptSegment(0, 3, "one two three four five six", words=before.words + after.words)

    assert texts(cues([spoken], Layout(line_chars=20, lines=1))) == ["one two", "three four five six"]


def test_slow_speech_is_not_gathered_for_longer_than_a_cue_stays() -> None:
    found = cues([word_by_word(0, "and so on and so forth", each_s=3)])

    assert texts(found) == ["and so", "on and", "so forth"]


def test_a_pause_parts_two_cues() -> None:
    before, after = word_by_word(0, "and then the water"), word_by_word(5, "goes up")
    spoken = TranscriptSegment(0, 6, "and then the water goes up", words=before.words + after.words)

    assert texts(cues([spoken])) == ["and then the water", "goes up"]


@pytest.mark.parametrize("n_lines", [1, 2, 3])
def test_the_layout_says_how_many_lines_there_are(n_lines: int) -> None:
    found = cues(said((0, 20, TIDES)), Layout(line_chars=24, lines=n_lines))

    assert max(len(cue.lines) for cue in found) == n_lines


def test_cues_come_one_after_the_other_without_reading_to_the_end() -> None:
    def endless() -> object:
        n = 0
        while True:
            yield TranscriptSegment(n * 10.0, n * 10.0 + 5, "The tide comes in.")
            n += 1

    found = cues_of(endless(), Layout())  # type: ignore[arg-type]

    assert [next(found).start_ms for _ in range(3)] == [0, 10_000, 20_000]
