"""The night's report says what happened on the day (UTC) that ended, once, and makes up for nights that were missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from functools import partial
from uuid import UUID

import pytest
import structlog
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from core.errors import NotFound
from core.job import JobKind
from core.lanes import Lane
from core.settings import settings as process_settings
from core.store import daily
from core.store.accounts import Account
from core.store.daily import MAKES_UP_DAYS, DailyReport
from core.store.session import Database
from service.cli import app
from tests.integration import quota, work
from workers import accounting

# As the report has it: a day is over ten minutes after midnight.
YESTERDAY = (
    "date_trunc('day', (now() - interval '10 minutes') AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '1 day'"
)


@pytest.fixture(autouse=True)
def opened_long_ago(database: Database, account: Account) -> None:
    work.execute(database, "UPDATE accounts SET created_at = now() - interval '1 year'")


def happened(database: Database, job_id: UUID, *, submitted_h: float, wait_s: float = 0) -> None:
    """The job was submitted so many hours after yesterday began, started after a wait, and ended at once."""
    submitted = f"{YESTERDAY} + make_interval(secs => {3600 * submitted_h})"
    started = f"{submitted} + make_interval(secs => {wait_s})"
    finished = f"CASE WHEN finished_at IS NULL THEN NULL ELSE {started} END"
    this = f"id = '{job_id}'"
    was_started = f"CASE WHEN started_at IS NULL THEN NULL ELSE {started} END"
    work.execute(
        database,
        f"UPDATE jobs SET created_at = {submitted}, started_at = {was_started}, finished_at = {finished} WHERE {this}",
    )
    work.execute(database, f"UPDATE chunks SET started_at = {was_started} WHERE job_id = '{job_id}'")
    with database.transaction() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # past the ledger's trigger
        connection.exec_driver_sql(f"UPDATE usage_events SET created_at = {started} WHERE job_id = '{job_id}'")


def report(database: Database) -> DailyReport:
    """Yesterday's."""
    accounting.report_days(database)
    (day,) = work.execute(database, f"SELECT (({YESTERDAY}) AT TIME ZONE 'UTC')::date")[0]
    with database.transaction() as connection:
        return daily.get(connection, day)


def test_a_day_is_summed_up(database: Database, account: Account) -> None:
    for hours, wait_s in ((0, 2), (12, 4), (23.9, 10)):
        recording = work.submit(database, account)
        work.finish(database, recording, 2)
        happened(database, recording, submitted_h=hours, wait_s=wait_s)
    document = work.submit(database, account, JobKind.DOCUMENT, lane=Lane.BATCH)
    work.finish(database, document, 3)
    happened(database, document, submitted_h=1, wait_s=600)
    happened(database, quota.failed(database, account), submitted_h=2, wait_s=1)
    cancelled = work.submit(database, account)
    quota.cancel(database, cancelled, account)
    happened(database, cancelled, submitted_h=3)

    found = report(database)

    assert (found.submitted, found.completed, found.failed, found.cancelled) == (6, 4, 1, 1)
    assert (found.audio_s, found.pages, found.audio_hours) == (Decimal(360), Decimal(3), 0.1)
    assert found.failures == {"media_unreadable": 1}
    assert found.wait_p95_s == pytest.approx({"express": 9.1, "batch": 600})  # of 1, 2, 4 and 10 s


def test_what_happened_on_other_days_is_not_in_it(database: Database, account: Account) -> None:
    for hours in (-0.1, 24):
        job_id = work.submit(database, account)
        work.finish(database, job_id)
        happened(database, job_id, submitted_h=hours)
        happened(database, quota.failed(database, account), submitted_h=hours)

    found = report(database)

    assert (found.submitted, found.completed, found.failed, found.audio_s) == (0, 0, 0, Decimal(0))
    assert (found.failures, found.wait_p95_s) == ({}, {})


def test_what_was_erased_meanwhile_still_counts_as_audio(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.finish(database, job_id)
    happened(database, job_id, submitted_h=5)
    work.execute(database, "DELETE FROM jobs")

    found = report(database)

    assert (found.completed, found.audio_s) == (0, Decimal(60))


def test_a_job_that_was_tried_again_waited_for_its_first_start_alone(database: Database, account: Account) -> None:
    job_id = quota.failed(database, account)
    happened(database, job_id, submitted_h=5, wait_s=3)
    work.execute(database, "UPDATE jobs SET started_at = now() WHERE id = :id", id=job_id)  # as a retry leaves it

    assert report(database).wait_p95_s == pytest.approx({"express": 3})


def test_a_report_is_written_once_by_however_many_and_logged_as_a_line(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "log", structlog.get_logger())  # one that has logged before is captured no more
    with capture_logs() as logs:
        answers = work.together(4, *[partial(accounting.report_days, database)] * 4)

    assert sum(answers) == MAKES_UP_DAYS
    assert accounting.report_days(database) == 0
    assert [line["event"] for line in logs] == ["report of a day"] * MAKES_UP_DAYS


def test_nights_that_were_missed_are_made_up_for_but_not_from_before_the_service(database: Database) -> None:
    work.execute(database, f"UPDATE accounts SET created_at = {YESTERDAY} - interval '1 day' + interval '5 hours'")

    assert accounting.report_days(database) == 2


def test_without_accounts_there_is_a_week_to_report_and_nothing_breaks(database: Database) -> None:
    work.execute(database, "DELETE FROM accounts")

    assert accounting.report_days(database) == MAKES_UP_DAYS


def test_a_day_that_goes_on_has_no_report(database: Database) -> None:
    accounting.report_days(database)
    (today,) = work.execute(database, "SELECT (now() AT TIME ZONE 'UTC')::date")[0]

    with database.transaction() as connection, pytest.raises(NotFound, match=str(today)):
        daily.get(connection, today)


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Run]:
    """`scribelane report …` on this test's database."""
    monkeypatch.setenv("SCRIBELANE_DATABASE_URL", database_url)
    process_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(app, ["report", *arguments])
    process_settings.cache_clear()


def test_the_command_prints_the_last_report_or_that_of_a_day(run: Run, database: Database) -> None:
    figures = '9, 5, 3, 1, 5400, 12, \'{"timeout": 2, "internal": 1}\', \'{"express": 1.5}\''
    for day in ("2026-01-01", "2026-01-02"):
        work.execute(database, f"INSERT INTO daily_reports VALUES ('{day}', {figures})".replace('":', '"\\:'))

    last, first = run(), run("--day", "2026-01-01")

    assert [one.exit_code for one in (last, first)] == [0, 0]
    assert last.stdout.splitlines() == [
        "day          2026-01-02 (UTC)",
        "submitted    9",
        "completed    5",
        "failed       3",
        "cancelled    1",
        "audio hours  1.5",
        "pages        12",
        "failures     internal 1, timeout 2",
        "wait p95 s   express 1.5",
    ]
    assert first.stdout.startswith("day          2026-01-01")


@pytest.mark.parametrize(("arguments", "code"), [((), 1), (("--day", str(date(2026, 1, 1))), 1), (("--day", "x"), 2)])
def test_a_day_without_a_report_is_an_error_in_one_line(run: Run, arguments: tuple[str, ...], code: int) -> None:
    refused = run(*arguments)

    assert (refused.exit_code, refused.stdout) == (code, "")
    if code == 1:
        assert refused.stderr.startswith("error: There is no report of")
        assert refused.stderr.count("\n") == 1
