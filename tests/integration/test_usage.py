"""What a job takes of the quota: held once its length is known, used when it completes, free again when it does not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from core.errors import QuotaExceeded
from core.job import JobKind, JobStatus
from core.lanes import Tier
from core.quota import Balance, Cost, Unit
from core.store import interventions, usage
from core.store.accounts import Account
from core.store.results import Prepared
from core.store.session import Database
from tests.integration import work
from tests.integration.quota import (
    MINUTE,
    ZERO,
    balance,
    cancel,
    fail,
    failed,
    ledger,
    limited,
    move_usage_to_last_month,
    prepare_as_a_worker_does,
    totals_that_differ_from_the_ledger,
    used_and_reserved,
)


def test_nothing_is_held_until_the_length_is_known(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    assert balance(database, account).reserved == 0

    work.prepare(database, job_id, 2)
    assert used_and_reserved(database, account) == (ZERO, 2 * MINUTE)


@pytest.mark.parametrize(
    ("kind", "unit", "amount"),
    [(JobKind.TRANSCRIPTION, Unit.AUDIO_S, Decimal(120)), (JobKind.DOCUMENT, Unit.PAGES, Decimal(2))],
)
def test_what_a_completed_job_held_is_used(
    database: Database, account: Account, kind: JobKind, unit: Unit, amount: Decimal
) -> None:
    job_id = work.submit(database, account, kind)
    work.finish(database, job_id, 2)

    assert ledger(database, job_id) == [("reserve", amount), ("settle", amount)]
    assert used_and_reserved(database, account, unit) == (amount, ZERO)


def test_what_a_failed_job_held_is_free_again(database: Database, account: Account) -> None:
    job_id = failed(database, account, 2)

    assert ledger(database, job_id) == [("reserve", 2 * MINUTE), ("refund", 2 * MINUTE)]
    assert balance(database, account) == Balance(Unit.AUDIO_S, balance(database, account).limit)


def test_what_a_cancelled_job_held_is_free_again(database: Database, account: Account) -> None:
    job_id = work.transcribing(database, account, 2)
    cancel(database, job_id, account)

    assert ledger(database, job_id)[1:] == [("refund", 2 * MINUTE)]
    assert balance(database, account).reserved == 0


def test_erasing_a_job_keeps_what_it_used_and_gives_back_what_it_held(database: Database, account: Account) -> None:
    done, open_ = work.submit(database, account), work.transcribing(database, account, 1)
    work.finish(database, done)
    for job_id in (done, open_):
        with database.transaction() as connection:
            interventions.delete(connection, job_id, account.id)

    assert used_and_reserved(database, account) == (MINUTE, ZERO)
    assert [kind for kind, _ in ledger(database, done) + ledger(database, open_)] == [
        *("reserve", "settle", "reserve", "refund")
    ]


def test_a_silent_recording_costs_nothing(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.complete(database, work.claim_one(database, job_id), Prepared([], duration_s=600))

    assert work.finish(database, job_id).status is JobStatus.COMPLETED
    assert ledger(database, job_id) == []


def test_an_input_that_cannot_be_opened_costs_nothing(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    fail(database, work.claim_one(database, job_id))

    assert ledger(database, job_id) == []


def test_unlimited_use_is_metered_all_the_same(database: Database) -> None:
    account = work.open_account(database, "grace", Tier.ENTERPRISE)
    work.finish(database, work.submit(database, account))

    assert (balance(database, account).used, balance(database, account).remaining) == (MINUTE, None)


def test_a_job_that_is_longer_than_what_is_left_fails_and_opens_nothing(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    prepare_as_a_worker_does(database, job_id, limited(audio_s=59.9))

    job = work.job(database, job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == ("quota_exceeded", False)
    assert "takes at least 60 s" in job.error.message
    assert "59.9 s" in job.error.message
    assert "renews at" in job.error.message
    assert (ledger(database, job_id), work.queued(database, job_id)) == ([], [])


def test_a_grant_lets_a_job_fit_and_belongs_to_this_period(database: Database, account: Account) -> None:
    with database.transaction() as connection:
        usage.grant(connection, account.id, Cost(Unit.AUDIO_S, MINUTE))
    job_id = work.submit(database, account)
    prepare_as_a_worker_does(database, job_id, limited(audio_s=1))

    assert work.job(database, job_id).status is JobStatus.PROCESSING
    move_usage_to_last_month(database)
    assert balance(database, account).granted == 0


def test_a_change_of_tier_counts_at_once(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.execute(database, "UPDATE accounts SET tier = 'enterprise'")
    plans = {**limited(audio_s=1).tiers, Tier.ENTERPRISE: work.TIERS.plan(Tier.ENTERPRISE)}
    prepare_as_a_worker_does(database, job_id, replace(work.TIERS, tiers=plans))

    assert work.job(database, job_id).status is JobStatus.PROCESSING


def test_a_job_that_is_settled_next_month_counts_in_the_month_in_which_it_was_held(
    database: Database, account: Account
) -> None:
    job_id = work.transcribing(database, account, 1)
    move_usage_to_last_month(database)
    work.finish(database, job_id)

    assert balance(database, account) == Balance(Unit.AUDIO_S, balance(database, account).limit)
    (totals,) = work.execute(database, "SELECT used, reserved FROM usage_totals")
    assert (totals.used, totals.reserved) == (MINUTE, ZERO)
    assert totals_that_differ_from_the_ledger(database) == []


def test_what_was_used_last_month_leaves_this_month_whole(database: Database, account: Account) -> None:
    work.finish(database, work.submit(database, account))
    move_usage_to_last_month(database)
    job_id = work.submit(database, account)
    prepare_as_a_worker_does(database, job_id, limited(audio_s=60))

    assert work.job(database, job_id).status is JobStatus.PROCESSING


def test_a_failed_job_holds_its_length_again_when_it_is_tried_again(database: Database, account: Account) -> None:
    job_id = failed(database, account)
    with database.transaction() as connection:
        interventions.retry(connection, job_id, account.id, work.TIERS)
    work.finish(database, job_id)

    assert [kind for kind, _ in ledger(database, job_id)] == ["reserve", "refund", "reserve", "settle"]
    assert used_and_reserved(database, account) == (MINUTE, ZERO)


def test_a_job_for_which_nothing_is_left_is_not_tried_again(database: Database, account: Account) -> None:
    job_id = failed(database, account)
    with (
        pytest.raises(QuotaExceeded, match="takes at least 60 s") as refused,
        database.transaction() as connection,
    ):
        interventions.retry(connection, job_id, account.id, limited(audio_s=59))

    assert 0 < (refused.value.retry_after_s or 0) <= 31 * 86400
    assert work.job(database, job_id).status is JobStatus.FAILED


def test_a_job_that_was_over_quota_can_be_tried_again_when_there_is_room(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    prepare_as_a_worker_does(database, job_id, limited(audio_s=1))
    with database.transaction() as connection:
        interventions.retry(connection, job_id, account.id, work.TIERS)

    assert work.finish(database, job_id).status is JobStatus.COMPLETED
    assert used_and_reserved(database, account) == (MINUTE, ZERO)
