"""A recording that carries its title and chapters keeps them: real files of each kind, written by PyAV."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.details import Chapter, MediaDetails, to_stored
from tests.chaptered import Mark, chaptered
from workers.inputs import opening
from workers.inputs.audio import decode
from workers.inputs.media_details import MAX_CHAPTERS, MAX_DETAILS_BYTES, MAX_TEXT, taken
from workers.inputs.process import OpenLimits

LIMITS = OpenLimits(memory_bytes=2**30, total_s=60, step_s=60)
TIDES = [Mark("At sea", 0, 2), Mark("On the shore", 2, 4)]


def details_of(path: Path) -> MediaDetails:
    return decode(path, path.with_name("decoded"), max_s=3600, on_progress=lambda _: None).details


@pytest.mark.parametrize("kind", ["mka", "m4a", "mp3", "ogg"])
def test_the_chapters_of_a_file_come_with_its_sound(tmp_path: Path, kind: str) -> None:
    found = details_of(chaptered(tmp_path / f"talk.{kind}", "The tides", TIDES))

    assert found.title == "The tides"
    first, second = found.chapters
    assert (first.title, second.title) == ("At sea", "On the shore")
    assert (first.start_s, first.end_s, second.start_s) == pytest.approx((0, 2, 2), abs=0.1)
    assert second.end_s == pytest.approx(4.2, abs=0.4)  # Ogg does not say where a chapter ends


def test_the_chapters_come_out_of_the_process_that_opens_the_file(tmp_path: Path) -> None:
    path = chaptered(tmp_path / "talk.mka", "The tides", TIDES)

    with opening.decoding(path, tmp_path / "raw", max_s=600, limits=LIMITS, on_progress=lambda: None) as sound:
        sound.await_until(math.inf)

    assert sound.details == MediaDetails("The tides", chapters=(Chapter("At sea", 0, 2), Chapter("On the shore", 2, 4)))


def test_a_file_that_says_nothing_has_no_details(tmp_path: Path) -> None:
    assert details_of(chaptered(tmp_path / "talk.mka", None, [])) == MediaDetails()


def test_the_name_of_a_track_is_no_title(tmp_path: Path) -> None:
    assert details_of(chaptered(tmp_path / "talk.mka", None, [], track="Surround 5.1")) == MediaDetails()


def test_the_words_of_a_file_are_lines_of_bounded_length(tmp_path: Path) -> None:
    marks = [Mark(" At\n \x1b[31msea\u202e " + "x" * 1000, 0, 2), Mark("", 2, 4)]

    found = details_of(chaptered(tmp_path / "talk.mka", "The\ttides", marks))

    assert found.title == "The tides"
    first, second = (one.title for one in found.chapters)
    assert first.startswith("At [31msea x")
    assert (len(first), second) == (MAX_TEXT, "Chapter 2")


def test_a_chapter_ends_where_the_next_one_begins(tmp_path: Path) -> None:
    marks = [Mark("first", 0, 2.5), Mark("second", 2, 3), Mark("third", 3, 4)]

    found = details_of(chaptered(tmp_path / "talk.mka", None, marks))

    assert found.chapters == (Chapter("first", 0, 2), Chapter("second", 2, 3), Chapter("third", 3, 4))


def test_no_more_chapters_are_kept_than_anybody_reads(tmp_path: Path) -> None:
    marks = [Mark("x" * 2000, n / 1000, (n + 1) / 1000) for n in range(MAX_CHAPTERS + 100)]
    path = chaptered(tmp_path / "talk.mka", None, marks)

    with opening.decoding(path, tmp_path / "raw", max_s=600, limits=LIMITS, on_progress=lambda: None) as sound:
        sound.await_until(math.inf)

    assert sound.details is not None
    assert len(sound.details.chapters) == MAX_CHAPTERS


def test_a_title_that_is_no_text_does_not_spoil_the_recording(tmp_path: Path) -> None:
    path = chaptered(tmp_path / "talk.mka", "The tides", TIDES)
    path.write_bytes(path.read_bytes().replace(b"The tides", b"The\xff\xfe\xf0des").replace(b"At sea", b"At \xc3\xc3a"))

    found = decode(path, tmp_path / "decoded", max_s=3600, on_progress=lambda _: None)

    assert found.duration_s > 3
    assert found.details.title == "Thedes"


def test_what_a_process_that_was_taken_over_says_is_cleaned_again() -> None:
    said = to_stored(MediaDetails("a\x1b" + "b" * 1000, None, None, "javascript:x", (Chapter("x\n", 5, 1),)))

    with capture_logs() as logs:
        assert taken(said) == MediaDetails(("a " + "b" * 1000)[:MAX_TEXT])
        assert taken({"title": "\0"}) is taken({"title": 5, "chapters": "?"}) is taken([]) is taken(None) is None
    assert len(logs) == 3


def test_the_longest_details_fit_on_one_line() -> None:
    chapter = Chapter("\U0001f30a" * MAX_TEXT, 1 / 3, 2 / 3)

    longest = json.dumps(to_stored(MediaDetails(chapters=(chapter,) * MAX_CHAPTERS)))

    assert len(longest.encode()) < MAX_DETAILS_BYTES
