"""Text is broken where a reader would break it, and whatever it is, no line is too wide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.line_breaks import clean, columns, lines_of, n_lines, units_of
from core.subtitles import MIN_LINE_CHARS
from tests.spoken import TEXTS


def lines(text: str, line_chars: int) -> tuple[str, ...]:
    text = clean(text)
    return lines_of(text, units_of(text, line_chars), line_chars)


@given(TEXTS.filter(clean), st.integers(MIN_LINE_CHARS, 60))
def test_no_line_is_empty_or_too_wide_and_nothing_is_lost(text: str, line_chars: int) -> None:
    broken = lines(text, line_chars)

    assert all(line == line.strip() != "" and columns(line) <= line_chars for line in broken)
    assert "".join(broken).replace(" ", "") == clean(text).replace(" ", "")


@given(TEXTS.filter(clean), st.integers(MIN_LINE_CHARS, 60))
def test_there_are_as_few_lines_as_possible(text: str, line_chars: int) -> None:
    assert len(lines(text, line_chars)) == n_lines(units_of(clean(text), line_chars), line_chars)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("It fits.", ("It fits.",)),
        ("One line that is longer than what fits", ("One line that is", "longer than what fits")),
        ("The tide comes in, but the sea is patient", ("The tide comes in,", "but the sea is patient")),
        ("Tide rises, and then it falls", ("Tide rises,", "and then it falls")),
        ("Dit-elle « attends-moi donc ! » alors", ("Dit-elle « attends-moi", "donc ! » alors")),
    ],
)
def test_lines_are_even_and_break_after_punctuation(text: str, broken: tuple[str, ...]) -> None:
    assert lines(text, 24) == broken


def test_a_full_stop_before_a_small_letter_ends_no_sentence() -> None:
    borders = [unit.border.name for unit in units_of("Look, e.g. here. It ends.", 42)]

    assert borders == ["CLAUSE", "WORD", "SENTENCE", "WORD", "SENTENCE"]


def test_wide_characters_count_double() -> None:
    assert columns("潮 tide") == 7
    assert lines("潮" * 30, 20) == ("潮" * 10,) * 3


def test_no_line_begins_with_a_closing_mark_or_ends_with_an_opening_one() -> None:
    text = "潮は「月」の、力で。動く（毎日）ッ！" * 6

    broken = lines(text, 10)

    assert all(line[0] not in "」、。）ッ！" and line[-1] not in "「（" for line in broken)


def test_no_line_begins_with_what_is_drawn_over_the_character_before() -> None:
    assert [line[0] for line in lines("葛\U000e0100A" * 5, 10)] == ["葛", "葛"]


def test_a_word_longer_than_a_line_is_broken_between_what_a_reader_takes_for_characters() -> None:
    assert lines("e\u0301" * 15, 10) == ("e\u0301" * 10, "e\u0301" * 5)
