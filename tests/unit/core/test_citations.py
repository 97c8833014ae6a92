"""A place is written so that a person finds it."""

from __future__ import annotations

import pytest

from core.citations import clock, label, link
from core.passages import Passage

PAGE = Passage("", 3, 3, None, None)
SECOND = Passage("", None, None, 41.9, 52.0)


@pytest.mark.parametrize(
    ("passage", "written"),
    [
        (PAGE, "p. 3"),
        (Passage("", 3, 4, None, None), "pp. 3–4"),
        (Passage("", 3, 3, None, None, page_label="iii"), "p. iii"),
        (Passage("", 3, 4, None, None, page_label="iii–iv"), "pp. iii–iv"),
        (SECOND, "00:41"),
        (Passage("", None, None, 3723.0, 3730.0), "1:02:03"),
    ],
)
def test_a_page_is_named_as_it_is_printed_and_a_moment_as_a_clock_shows_it(passage: Passage, written: str) -> None:
    assert label(passage) == written


def test_a_clock_counts_hours_beyond_a_day() -> None:
    assert clock(90_000) == "25:00:00"


def test_a_video_is_linked_from_the_second_on() -> None:
    assert link(SECOND, video_id="dQw4w9WgXcQ", url="https://www.youtube.com/watch?v=dQw4w9WgXcQ") == (
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=41s"
    )


def test_a_file_is_linked_at_its_page_or_second() -> None:
    assert link(PAGE, video_id=None, url="https://example.org/a.pdf#top") == "https://example.org/a.pdf#page=3"
    assert link(SECOND, video_id=None, url="https://example.org/a.mp3") == "https://example.org/a.mp3#t=41"


def test_an_upload_has_no_link() -> None:
    assert link(PAGE, video_id=None, url=None) is None
