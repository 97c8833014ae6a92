"""A waiting person sees a bar on a terminal and plain lines in a log."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from service.answers import JobStatus
from service.cli.progress import describe, duration, following


def seen(
    status: str = "processing",
    stage: str = "transcribe",
    done: int = 3,
    total: int | None = 12,
    eta_s: float | None = None,
    name: str = "talk.mp3",
    fetched: int | None = None,
) -> JobStatus:
    percent = 100 * done // total if total else 0
    job = JobStatus(
        "1", "transcription", status, stage, name, done, total, percent, eta_s, [], None, "2026-11-22T00:00:00Z", {}
    )
    return replace(job, stage_percent=fetched)


def logged(*polls: JobStatus) -> list[str]:
    """What a log gets for these polls, line by line."""
    log = io.StringIO()
    with following(Console(file=log, force_terminal=False, width=40)) as follow:
        for poll in polls:
            follow(poll)
    return log.getvalue().splitlines()


def test_a_job_in_work_says_its_stage_its_chunks_and_its_share() -> None:
    assert describe(seen()) == "talk.mp3: transcribe, 3/12 chunks, 25 %"


def test_the_time_left_is_said_once_it_is_measured() -> None:
    assert describe(seen(eta_s=40.2)) == "talk.mp3: transcribe, 3/12 chunks, 25 %, about 40 s left"


def test_chunks_are_not_counted_before_the_input_is_prepared() -> None:
    assert describe(seen(stage="prepare", done=0, total=None)) == "talk.mp3: prepare"


def test_a_download_says_how_much_is_there_and_a_log_hears_of_every_tenth() -> None:
    polls = [seen(stage="prepare", done=0, total=None, fetched=percent) for percent in (None, 3, 9, 41, 44, 52)]

    assert logged(*polls) == ["talk.mp3: prepare", "talk.mp3: prepare, 41 % fetched", "talk.mp3: prepare, 52 % fetched"]


@pytest.mark.parametrize("status", ["queued", "completed", "failed", "cancelled"])
def test_a_job_that_waits_or_has_ended_says_only_that(status: str) -> None:
    assert describe(seen(status)) == f"talk.mp3: {status}"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_durations_are_said_in_the_units_of_their_size(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_log_gets_a_line_for_each_change_and_none_for_a_poll_without_one() -> None:
    assert logged(seen("queued"), seen("queued"), seen(done=3), seen(done=3, eta_s=9), seen("completed")) == [
        "talk.mp3: queued",
        "talk.mp3: transcribe, 3/12 chunks, 25 %",
        "talk.mp3: completed",
    ]


def test_a_name_is_written_as_it_is_and_on_one_line() -> None:
    name = "[bold]a recording with a very long name that does not fit in 40 columns[/bold].mp3"

    assert logged(seen("queued", name=name)) == [f"{name}: queued"]


def test_a_log_gets_no_control_characters() -> None:
    assert "\x1b" not in "".join(logged(seen("queued"), seen(), seen("completed")))


def test_a_terminal_gets_a_bar_that_shows_stage_and_chunks() -> None:
    terminal = io.StringIO()
    with following(Console(file=terminal, force_terminal=True, width=120)) as follow:
        follow(seen())

    assert "talk.mp3 transcribe" in terminal.getvalue()
    assert "3/12 chunks" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()


@pytest.mark.parametrize("name", ["talk [final].mp3", "talk [red].mp3", "talk [/b].mp3"])
def test_a_bar_shows_names_with_brackets_as_they_are(name: str) -> None:
    terminal = io.StringIO()
    with following(Console(file=terminal, force_terminal=True, width=120)) as follow:
        follow(seen(name=name))

    assert name in terminal.getvalue()
