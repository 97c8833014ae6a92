"""A recording is transcribed while it is prepared, and whatever interrupts that, nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from core.errors import LeaseLost, MediaTooLong, OverQuota
from core.job import JobStatus, Stage
from core.store import completion, interventions, planning
from core.store.accounts import Account
from core.store.chunks import Claim, Orphan
from core.store.results import Prepared
from core.store.session import Database
from tests.integration import quota, work


@pytest.fixture
def preparing(database: Database, account: Account) -> Claim:
    """A recording that is being opened."""
    return work.claim_one(database, work.submit(database, account))


def lose(database: Database, claimed: Claim) -> None:
    with database.transaction() as connection:
        orphan = Orphan(claimed.chunk_id, claimed.job_id, claimed.attempt, known_dead=True)
        completion.rescue(connection, orphan, max_failures=3)


def stages(database: Database, claimed: Claim) -> list[tuple[str, int, str]]:
    rows = work.chunk_rows(database, claimed.job_id)
    return sorted((row.stage, row.ordinal, row.status) for row in rows if row.stage != Stage.PREPARE)


def test_a_chunk_is_transcribed_while_the_rest_is_prepared(database: Database, preparing: Claim) -> None:
    work.emit(database, preparing, 0)
    work.complete(database, work.claim_one(database, preparing.job_id))

    job = work.job(database, preparing.job_id)
    assert (job.status, job.stage, job.chunks_done, job.chunks_total) == ("processing", "transcribe", 1, None)
    assert stages(database, preparing) == [("transcribe", 0, "done")]  # nobody took it for the last


@pytest.mark.parametrize("n_done_before", [0, 1, 2])
def test_the_next_stage_begins_when_all_is_prepared_and_transcribed(
    database: Database, preparing: Claim, n_done_before: int
) -> None:
    for ordinal in range(2):
        work.emit(database, preparing, ordinal)
    for _ in range(n_done_before):
        work.complete(database, work.claim_one(database, preparing.job_id))
    work.complete(database, preparing, Prepared(duration_s=130.0))

    job = work.finish(database, preparing.job_id)
    assert (job.status, job.chunks_done, job.chunks_total) == (JobStatus.COMPLETED, 3, 3)
    assert stages(database, preparing) == [
        *(("assemble", 0, "done"), ("embed", 0, "done"), ("transcribe", 0, "done"), ("transcribe", 1, "done"))
    ]
    assert quota.ledger(database, job.id) == [
        *(("reserve", Decimal(5)), ("reserve", Decimal(60)), ("reserve", Decimal(65)), ("settle", Decimal(130)))
    ]


def test_the_attempt_that_follows_goes_on_where_the_lost_one_was(database: Database, preparing: Claim) -> None:
    work.emit(database, preparing, 0)
    lose(database, preparing)
    with pytest.raises(LeaseLost):
        work.emit(database, preparing, 1)
    with database.transaction() as connection:
        assert planning.emitted(connection, preparing.job_id) == (1, 5.0)

    work.execute(database, "UPDATE chunks SET retry_at = NULL")
    (waiting,) = (row.id for row in work.chunk_rows(database, preparing.job_id, Stage.PREPARE))
    again = work.claim(database, waiting)
    assert again is not None
    work.emit(database, again, 1)
    work.complete(database, again, Prepared(duration_s=65.0))
    assert work.finish(database, preparing.job_id).status is JobStatus.COMPLETED
    assert [row.chunk_ordinal for row in work.execute(database, "SELECT chunk_ordinal FROM segments")] == [0, 1]


def end_by_cancelling(database: Database, claimed: Claim) -> None:
    with database.transaction() as connection:
        interventions.cancel(connection, claimed.job_id, claimed.account_id)


def end_by_deleting(database: Database, claimed: Claim) -> None:
    with database.transaction() as connection:
        interventions.end(connection, claimed.job_id, claimed.account_id)
        interventions.delete(connection, claimed.job_id, claimed.account_id)


def end_by_what_it_meets(database: Database, claimed: Claim) -> None:
    quota.fail(database, claimed, MediaTooLong())


@pytest.mark.parametrize("end", [end_by_cancelling, end_by_deleting, end_by_what_it_meets])
def test_a_job_that_ends_meanwhile_gets_no_more_chunks_and_holds_nothing(
    database: Database, account: Account, preparing: Claim, end: Callable[[Database, Claim], None]
) -> None:
    work.emit(database, preparing, 0)
    end(database, preparing)

    with pytest.raises(LeaseLost):
        work.emit(database, preparing, 1)
    with pytest.raises(LeaseLost):
        work.complete(database, preparing, Prepared(duration_s=65.0))
    assert work.queued(database, preparing.job_id) == []
    assert quota.balance(database, account).reserved == 0


def test_a_recording_that_turns_out_longer_than_the_quota_fails_where_it_runs_out(
    database: Database, account: Account, preparing: Claim
) -> None:
    plans = quota.limited(audio_s=100)
    work.emit(database, preparing, 0, plans=plans)
    work.emit(database, preparing, 1, plans=plans)
    with pytest.raises(OverQuota, match=r"at least 125 s .* Left: 100 s of") as refused:
        work.emit(database, preparing, 2, plans=plans)
    quota.fail(database, preparing, refused.value)

    assert work.job(database, preparing.job_id).status is JobStatus.FAILED
    assert quota.balance(database, account).reserved == 0


def test_what_a_job_holds_in_two_months_is_held_once(database: Database, account: Account, preparing: Claim) -> None:
    work.emit(database, preparing, 0)
    quota.move_usage_to_last_month(database)
    work.emit(database, preparing, 1)
    assert quota.balance(database, account).reserved == 60

    work.complete(database, preparing, Prepared(duration_s=65.0))
    work.finish(database, preparing.job_id)
    assert quota.balance(database, account).used == 60
    assert sum(amount for kind, amount in quota.ledger(database, preparing.job_id) if kind == "settle") == 65


def test_a_job_that_failed_meanwhile_is_tried_again_from_where_it_was(
    database: Database, account: Account, preparing: Claim
) -> None:
    work.emit(database, preparing, 0)
    work.complete(database, work.claim_one(database, preparing.job_id))
    work.emit(database, preparing, 1)
    end_by_what_it_meets(database, preparing)
    with database.transaction() as connection:
        interventions.retry(connection, preparing.job_id, account.id, work.TIERS)
    assert quota.balance(database, account).reserved == 65  # before any of it is worked again

    waiting = {(row.stage, row.ordinal): row for row in work.chunk_rows(database, preparing.job_id)}
    assert {place for place, row in waiting.items() if row.status == "queued"} == {("prepare", 0), ("transcribe", 1)}
    again = work.claim(database, waiting["prepare", 0].id)
    assert again is not None
    work.complete(database, again, Prepared(duration_s=65.0))
    job = work.finish(database, preparing.job_id)
    assert (job.status, job.chunks_done, job.chunks_total) == (JobStatus.COMPLETED, 3, 3)
    assert quota.used_and_reserved(database, account) == (Decimal(65), quota.ZERO)


def test_nobody_says_how_long_a_job_takes_before_all_of_it_is_known(database: Database, preparing: Claim) -> None:
    work.report_worker(database, "express")
    for ordinal in range(2):
        work.emit(database, preparing, ordinal)
    work.complete(database, work.claim_one(database, preparing.job_id))
    assert work.estimate(database, preparing.job_id).eta_s is None

    work.complete(database, preparing, Prepared(duration_s=65.0))
    assert work.estimate(database, preparing.job_id).eta_s is not None
