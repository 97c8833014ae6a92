"""What a library says while it fetches reaches the operator's log: bounded, in one line each, and without secrets."""

from __future__ import annotations

import logging

import pytest
from structlog.testing import capture_logs

from workers.inputs.notes import MOST_CHARS, MOST_NOTES, Notes, Noting, cleaned

SECRET = "g.a000mQjXk2vVd8yT1sZ0hB7nQwErTyUiOpAsDfGhJk"


@pytest.mark.parametrize(
    "said",
    [
        f"HTTP error for https://user:{SECRET}@example.org/a?key={SECRET}",
        f"socks5h://{SECRET}@10.0.0.1 does not answer",
        f"sent Cookie: SID={SECRET}; a=b",
        "Set-Cookie: PREF=short; path=/",
        f"Authorization: Bearer {SECRET}",
        f"po_token {SECRET} was refused",
        f"invalid entry: '.youtube.com\tTRUE\t/\tTRUE\t0\tSID\t{SECRET}'",
    ],
)
def test_no_secret_stays_in_a_note(said: str) -> None:
    assert SECRET not in cleaned(said)
    assert "PREF" not in cleaned(said)


def test_a_note_is_one_line_of_bounded_length() -> None:
    assert cleaned("one\n\x1b[31mtwo\0\u202ethree") == "one [31mtwo three"
    assert len(cleaned("word " * 10_000)) <= MOST_CHARS


def test_what_is_logged_in_the_process_is_said_once_and_in_bounds() -> None:
    said: list[object] = []
    logger = logging.Logger("of.a.library")
    logger.addHandler(Noting(lambda **facts: said.append(tuple(facts.values()))))

    logger.info("not worth it")
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
