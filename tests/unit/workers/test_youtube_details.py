"""What a stranger wrote about a video is kept only as far as it is text, numbers in order, and a web address."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.details import Chapter, MediaDetails
from workers.inputs.media_details import MAX_CHAPTERS, MAX_TEXT, number
from workers.inputs.youtube_details import details

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["title", "start_time", "end_time"]), inner),
)


def test_a_record_that_says_nothing_has_no_details() -> None:
    assert details({}) == MediaDetails()


def test_a_title_is_one_line_that_a_database_takes() -> None:
    found = details({"title": " The\n tides\0\ud800 \x1b" + "x" * 1000, "channel": " \n"})

    assert found.title is not None
    assert found.title.startswith("The tides x")
    assert len(found.title) == MAX_TEXT
    assert found.channel is None


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "http://", "https://a b/", "https://[", "https://x/" + "y" * 3000, 5, "https://ü/"]
)
def test_a_picture_that_is_nowhere_on_the_web_is_left_out(url: object) -> None:
    assert details({"thumbnail": url}).thumbnail_url is None


def test_chapters_are_in_order_and_apart() -> None:
    chapters: list[Any] = [
        {"title": "One", "start_time": 0, "end_time": 10},
        {"title": "Within one", "start_time": 5, "end_time": 20},
        {"title": "No end", "start_time": 10, "end_time": None},
        {"title": "Backwards", "start_time": 12, "end_time": 11},
        {"title": "For ever", "start_time": 12, "end_time": math.inf},
        "no chapter",
        {"title": None, "start_time": 10.5, "end_time": 30},
    ]

    assert details({"chapters": chapters}).chapters == (Chapter("One", 0, 10), Chapter("Chapter 2", 10.5, 30))


def test_there_are_only_so_many_chapters() -> None:
    chapters = [{"title": "x", "start_time": n, "end_time": n + 1} for n in range(MAX_CHAPTERS + 10)]

    assert len(details({"chapters": chapters}).chapters) == MAX_CHAPTERS


@given(st.fixed_dictionaries(dict.fromkeys(("title", "channel", "id", "thumbnail", "chapters"), JUNK)))
def test_no_record_is_too_odd(record: dict[str, Any]) -> None:
    found = details(record)

    texts = [found.title, found.channel, found.video_id, *(chapter.title for chapter in found.chapters)]
    assert all(text is None or (text and "\0" not in text and text.encode()) for text in texts)
    assert all(chapter.start_s < chapter.end_s < math.inf for chapter in found.chapters)


@pytest.mark.parametrize("value", [None, True, "1", math.nan, math.inf, -1])
def test_what_is_no_number_is_none(value: object) -> None:
    assert number(value) is None
