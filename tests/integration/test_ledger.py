"""Whatever comes together: no account gets more than its quota, and the ledger stays the truth."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from core.errors import Conflict, LeaseLost
from core.job import JobStatus
from core.store.accounts import Account
from core.store.session import Database
from tests.integration import work
from tests.integration.quota import (
    MINUTE,
    ZERO,
    balance,
    cancel,
    fail,
    ledger,
    limited,
    prepare_as_a_worker_does,
    totals_that_differ_from_the_ledger,
    used_and_reserved,
)


@pytest.mark.timeout(120)
def test_of_a_hundred_jobs_at_once_exactly_those_go_on_that_the_quota_admits(
    database: Database, account: Account
) -> None:
    plans = limited(audio_s=10 * 60)
    ids = [work.submit(database, account) for _ in range(100)]

    answers = work.together(15, *[partial(prepare_as_a_worker_does, database, job_id, plans) for job_id in ids])

    assert answers == [None] * 100
    ended = [work.job(database, job_id) for job_id in ids]
    admitted = [job for job in ended if job.status is JobStatus.PROCESSING]
    refused = [job.error.code for job in ended if job.error is not None]
    assert (len(admitted), refused) == (10, ["quota_exceeded"] * 90)
    for job in admitted:
        work.finish(database, job.id)
    assert used_and_reserved(database, account) == (10 * MINUTE, ZERO)
    assert totals_that_differ_from_the_ledger(database) == []


@pytest.mark.timeout(120)
def test_however_many_ends_meet_on_a_job_what_it_held_is_given_back_or_used_once(
    database: Database, account: Account
) -> None:
    calls: list[Any] = []
    ids = [work.transcribing(database, account, 1) for _ in range(12)]
    for job_id in ids:
        work.complete(database, work.claim_one(database, job_id))
        work.complete(database, work.claim_one(database, job_id))  # the next to end completes the job
        claimed = work.claim_one(database, job_id)
        calls += [partial(cancel, database, job_id, account), partial(fail, database, claimed)] * 2
        calls += [partial(work.complete, database, claimed)] * 2

    answers = work.together(12, *calls)

    refused = [answer for answer in answers if answer is not None]
    assert {type(answer).__name__ for answer in refused} <= {LeaseLost.__name__, Conflict.__name__}
    for job_id in ids:
        wanted = "settle" if work.job(database, job_id).status is JobStatus.COMPLETED else "refund"
        assert ledger(database, job_id) == [("reserve", MINUTE), (wanted, MINUTE)]
    assert balance(database, account).reserved == 0
    assert totals_that_differ_from_the_ledger(database) == []


@pytest.mark.parametrize("change", ["UPDATE usage_events SET amount = 1", "DELETE FROM usage_events", "TRUNCATE {}"])
def test_the_ledger_is_only_added_to(database: Database, account: Account, change: str) -> None:
    work.transcribing(database, account, 1)

    with pytest.raises(IntegrityError, match="append-only"):
        work.execute(database, change.format("usage_events"))


def test_the_ledger_of_an_account_goes_with_the_account(database: Database, account: Account) -> None:
    kept = work.open_account(database, "grace")
    for each in (account, kept):
        work.transcribing(database, each, 1)
    work.execute(database, "DELETE FROM accounts WHERE id = :id", id=account.id)

    assert [row.account_id for row in work.execute(database, "SELECT account_id FROM usage_events")] == [kept.id]


def test_a_reservation_cannot_be_given_back_twice_even_by_hand(database: Database, account: Account) -> None:
    work.transcribing(database, account, 1)

    with pytest.raises(IntegrityError):
        work.execute(database, "UPDATE usage_totals SET reserved = reserved - 61")
