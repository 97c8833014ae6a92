"""What a query asks for, and how two lists of hits become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.passages import Passage
from core.search import Asked, fused, overlap, parse, spans_of, words_of


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("when does the tide turn?", Asked("when does the tide turn?")),
        ('the "high water" mark', Asked("the high water mark", ("high water",))),
        ("tide -moon", Asked("tide", (), ("moon",))),
        ('tide -"full moon"', Asked("tide", (), ("full moon",))),
        ("below -5 degrees", Asked("below -5 degrees")),
        ("e-mail K-2041", Asked("e-mail K-2041")),
        ('"" - ! "?"', Asked("")),
        ('an "open end', Asked("an open end")),
    ],
)
def test_a_query_is_read_as_search_engines_read_it(query: str, asked: Asked) -> None:
    assert parse(query) == asked


@given(st.text(max_size=200))
def test_any_text_is_a_query(query: str) -> None:
    assert isinstance(parse(query).strict, bool)


def test_who_is_first_in_all_lists_scores_one_and_comes_first() -> None:
    assert fused([(7, 1.0), (8, 1.0)], [(7, 1.0), (9, 1.0)])[7] == 1.0
    assert next(iter(fused([(7, 1.0), (8, 1.0)], [(7, 1.0)]))) == 7
    assert fused() == fused([], []) == {}


def test_who_is_in_both_lists_comes_before_who_is_first_in_one() -> None:
    assert list(fused([(1, 1.0), (2, 1.0)], [(3, 1.0), (2, 1.0)])) == [2, 1, 3]


def test_a_place_counts_for_less_where_few_words_are_held() -> None:
    assert list(fused([(1, 1.0), (2, 1.0)], [(3, 0.01), (2, 0.01)])) == [1, 2, 3]


def passage(**place: float) -> Passage:
    where: dict[str, float | None] = {"page_from": None, "page_to": None, "start_s": None, "end_s": None, **place}
    return Passage(text="", **where)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (passage(char_start=0, char_end=10), passage(char_start=9, char_end=20), True),
        (passage(char_start=0, char_end=10), passage(char_start=10, char_end=20), False),
        (passage(start_s=0.0, end_s=10.0), passage(start_s=8.0, end_s=20.0), True),
        (passage(start_s=0.0, end_s=10.0), passage(start_s=10.0, end_s=20.0), False),
        (passage(page_from=1, page_to=1), passage(page_from=1, page_to=1), False),
    ],
)
def test_neighbours_that_share_text_are_told_by_their_place(one: Passage, other: Passage, shared: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is shared


def test_the_spans_are_those_of_whole_words() -> None:
    text = "Tides, tide; tide's end. Betide!"
    assert words_of([text]) == {"Tides", "tide", "tide's", "end", "Betide"}
    assert [text[slice(*span)] for span in spans_of(text, {"tide", "tide's"})] == ["tide", "tide's"]
