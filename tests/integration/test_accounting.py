"""Beat holds the totals to the ledger, and makes a report of each month that has ended."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from core.job import JobKind
from core.quota import Cost, Unit
from core.store import usage
from core.store.accounts import Account
from core.store.session import Database
from tests.integration import quota, work
from tests.integration.quota import MINUTE
from workers import accounting

# A weight with a fraction, so that a product is told from what it is made of.
WEIGHTED = replace(work.TIERS, tiers={tier: replace(plan, price_weight=0.5) for tier, plan in work.TIERS.tiers.items()})

LONG_AGO = 2
"""Months after which a period has ended for certain: in its first hour, a month leaves the one before it open."""


def use(database: Database, account: Account) -> None:
    """Two minutes and three pages, of which nothing is held any more, and a granted page."""
    work.finish(database, work.submit(database, account), 2)
    work.finish(database, work.submit(database, account, JobKind.DOCUMENT), 3)
    with database.transaction() as connection:
        usage.grant(connection, account.id, Cost(Unit.PAGES, Decimal(1)))


def reported(database: Database) -> list[UUID]:
    return [row.account_id for row in work.execute(database, "SELECT account_id FROM usage_reports")]


def test_totals_that_are_right_are_left_alone(database: Database, account: Account) -> None:
    use(database, account)

    assert accounting.reconcile(database) == 0


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE usage_totals SET used = used + 7",
        "UPDATE usage_totals SET reserved = 5, granted = 0",
        "UPDATE usage_totals SET period = period - interval '1 month'",
        "DELETE FROM usage_totals",
    ],
)
def test_totals_that_are_not_what_the_ledger_says_are_an_error_and_corrected(
    database: Database, account: Account, damage: str
) -> None:
    use(database, account)
    work.transcribing(database, account, 1)
    right = [quota.balance(database, account, unit) for unit in Unit]
    work.execute(database, damage)

    with capture_logs() as logs:
        corrected = accounting.reconcile(database)

    assert corrected >= 2
    assert [line["log_level"] for line in logs] == ["error"] * corrected
    assert {line["account"] for line in logs} == {str(account.id)}
    assert [quota.balance(database, account, unit) for unit in Unit] == right
    assert quota.totals_that_differ_from_the_ledger(database) == []
    assert accounting.reconcile(database) == 0


def test_last_months_totals_are_corrected_too(database: Database, account: Account) -> None:
    use(database, account)
    quota.move_usage_to_last_month(database)
    work.execute(database, "UPDATE usage_totals SET used = 0")

    assert accounting.reconcile(database) == 2


@pytest.mark.timeout(120)
def test_totals_are_never_taken_for_wrong_while_jobs_come_and_go(database: Database, account: Account) -> None:
    ids = [work.submit(database, account) for _ in range(12)]
    calls = [call for job_id in ids for call in (partial(work.finish, database, job_id), reconcile(database))]

    answers = work.together(8, *calls)

    assert answers[1::2] == [0] * len(ids)
    assert quota.balance(database, account).used == len(ids) * MINUTE


def reconcile(database: Database) -> partial[int]:
    return partial(accounting.reconcile, database)


def test_a_month_that_has_ended_becomes_one_report_of_what_was_used(database: Database, account: Account) -> None:
    use(database, account)
    quota.move_usage_to_last_month(database, LONG_AGO)

    assert accounting.close_periods(database, WEIGHTED) == 1

    (report,) = work.execute(database, "SELECT * FROM usage_reports")
    assert (report.account_id, report.tier, report.jobs, report.period.day) == (account.id, "pro", 2, 1)
    assert (report.used_audio_s, report.used_pages) == (2 * MINUTE, Decimal(3))
    assert (report.granted_audio_s, report.granted_pages) == (Decimal(0), Decimal(1))
    weighted = (report.price_weight, report.weighted_audio_s, report.weighted_pages)
    assert weighted == (Decimal("0.5"), MINUTE, Decimal("1.5"))


def test_closing_again_or_from_two_beats_at_once_changes_nothing(database: Database, account: Account) -> None:
    use(database, account)
    quota.move_usage_to_last_month(database, LONG_AGO)

    answers = work.together(4, *[partial(accounting.close_periods, database, WEIGHTED)] * 4)

    assert sorted(answers) == [0, 0, 0, 1]
    assert accounting.close_periods(database, work.TIERS) == 0
    assert reported(database) == [account.id]


def test_a_month_that_has_not_ended_is_not_closed(database: Database, account: Account) -> None:
    use(database, account)

    assert accounting.close_periods(database, WEIGHTED) == 0


def test_a_month_is_closed_once_nothing_is_held_in_it_and_others_need_not_wait(
    database: Database, account: Account
) -> None:
    other = work.open_account(database, "grace")
    use(database, other)
    job_id = work.transcribing(database, account, 1)
    quota.move_usage_to_last_month(database, LONG_AGO)

    assert (accounting.close_periods(database, WEIGHTED), reported(database)) == (1, [other.id])
    work.finish(database, job_id)
    assert (accounting.close_periods(database, WEIGHTED), set(reported(database))) == (1, {account.id, other.id})


def test_each_month_has_a_report_of_its_own(database: Database, account: Account) -> None:
    for _ in range(2):
        use(database, account)
        quota.move_usage_to_last_month(database, LONG_AGO)

    assert accounting.close_periods(database, WEIGHTED) == 2
