"""What a library says while it fetches reaches the operator's log: bounded, in one line each, and without secrets."""

from __future__ import annotations

import logging

import pytest
from structlog.testing import capture_logs

from workers.inputs.notes import MOST_CHARS, MOST_NOTES, Notes, Noting, cleaned

LONG = "g.a000mQjXk2vVd8yT1sZ0hB7nQwErTyUiOpAsDfGhJk"


@pytest.mark.parametrize(
    "said",
    [
        "HTTP error for https://user:hunter2@example.org/a?key=1",
        "HTTP error for https://example.org/a?key=hunter2",
        "socks5h://hunter2@10.0.0.1 does not answer",
        "the proxy user:hunter2@proxy.lan:3128 does not answer",
        "sent Cookie: a=b; SID=hunter2",
        "sent {'Cookie': 'a=b; c=hunter2'}",
        "Set-Cookie: PREF=hunter2; path=/",
        "SAPISID=hunter2 was refused",
        "Authorization: Bearer hunter2",
        f"the value {LONG}hunter2 was refused",
        f"invalid entry: '.youtube.com\tTRUE\t/\tTRUE\t0\tNAME\t{LONG}hunter2'",
    ],
)
def test_no_secret_that_can_be_told_stays_in_a_note(said: str) -> None:
    assert "hunter2" not in cleaned(said)


@pytest.mark.parametrize("said", ["The page of the video says: Sign in", "Cookies are no longer valid", "Side: 5"])
def test_words_stay_in_a_note(said: str) -> None:
    assert cleaned(said) == said


def test_a_note_is_one_line_of_bounded_length() -> None:
    assert cleaned("one\n\x1b[31mtwo\0\u202ethree") == "one [31mtwo three"
    assert len(cleaned("word " * 10_000)) <= MOST_CHARS


def test_what_is_logged_in_the_process_is_said_once_and_in_bounds() -> None:
    said: list[object] = []
    logger = logging.Logger("of.a.library")
    logger.addHandler(Noting(lambda **facts: said.append(tuple(facts.values()))))

    logger.info("not worth it")
    logger.warning("%d", "a call that the library got wrong")
    logger.error("the file %s", "is gone")
    for number in [*range(100), *range(100)]:
        logger.warning("no. %d", number)

    assert said[:2] == [("the file is gone", True), ("no. 0", False)]
    assert len(said) == len(set(said)) == MOST_NOTES


def test_who_was_taken_over_cannot_fill_the_log() -> None:
    notes = Notes()
    with capture_logs() as logs:
        for _ in range(1000):
            notes.take({"not": "a text"}, "yes")
        notes.take("x", True)

    assert len(logs) == MOST_NOTES
    assert {one["log_level"] for one in logs} == {"warning"}
