"""What a query asks for, and how two lists of hits become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.passages import Passage
from core.search import Asked, Ranking, fused, overlap, parse, reordered, spans_of, words_of


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


def test_who_is_nearest_and_holds_all_words_scores_one_and_comes_first() -> None:
    assert list(fused([(7, 0.9), (8, 0.4)], [(7, 1.0), (9, 0.5)]).items()) == [(7, 1.0), (9, 1 / 6), (8, 0.0)]


def test_cosines_are_taken_relative_to_the_list() -> None:
    high, low = fused([(1, 0.9), (2, 0.8), (3, 0.7)], []), fused([(1, 0.6), (2, 0.3), (3, 0.0)], [])
    assert list(high) == list(low) == [1, 2, 3]
    assert high == pytest.approx(low)


def test_in_a_short_list_a_small_difference_stays_small() -> None:
    assert list(fused([(1, 0.81), (2, 0.80)], [(2, 1.0)])) == [2, 1]


def test_few_of_the_words_lift_nobody_over_what_is_much_nearer() -> None:
    assert list(fused([(1, 0.7), (2, 0.5), (3, 0.1)], [(2, 0.2), (3, 0.1)])) == [1, 2, 3]
    assert list(fused([(1, 0.7), (2, 0.65), (3, 0.1)], [(2, 1.0)])) == [2, 1, 3]


SHORT: list[tuple[Ranking, Ranking, list[int]]] = [
    ([], [], []),
    ([(1, 0.5)], [], [1]),
    ([], [(2, 0.5)], [2]),
    ([(1, 0.5), (2, 0.5)], [], [1, 2]),
]


@pytest.mark.parametrize(("semantic", "keyword", "best"), SHORT)
def test_a_list_may_be_short_or_empty(semantic: Ranking, keyword: Ranking, best: list[int]) -> None:
    assert list(fused(semantic, keyword)) == best


def test_what_a_re_ranker_has_read_comes_first_in_its_order_and_the_rest_keeps_its_own() -> None:
    assert reordered([5, 6, 7, 8], {6: 0.0, 5: 0.2, 7: 0.9}) == [7, 5, 6, 8]
    assert reordered([5, 6, 7], {}) == [5, 6, 7]


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
