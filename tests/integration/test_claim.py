"""A chunk is leased by one attempt at a time, and a lease is renewed by the attempt that holds it alone."""

from __future__ import annotations

import uuid
from dataclasses import replace

from core.doubts import MOST_WARNINGS, NOT_ALL
from core.errors import Internal
from core.job import JobStatus, JobWarning
from core.options import TranscriptionOptions
from core.plan import AudioChunk, Clip, Region
from core.store import chunks, completion, interventions
from core.store.accounts import Account
from core.store.chunks import Claim
from core.store.results import Transcribed
from core.store.session import Database
from tests.integration import work


def renew(database: Database, claim: Claim, lease_s: float = 60) -> bool:
    with database.transaction() as connection:
        return chunks.renew(connection, claim, lease_s=lease_s)


def orphans(database: Database, worker_id: str | None = None) -> list[uuid.UUID]:
    with database.transaction() as connection:
        return [orphan.chunk_id for orphan in chunks.orphans(connection, worker_id=worker_id)]


def test_a_claim_starts_the_chunk_and_its_job(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)

    claimed = work.claim_one(database, job_id, worker_id="w/1")

    (row,) = work.chunk_rows(database, job_id)
    assert (row.status, row.attempt, row.worker_id, row.dispatched_until) == ("running", 1, "w/1", None)
    assert (claimed.job_id, claimed.account_id, claimed.attempt) == (job_id, account.id, 1)
    assert work.job(database, job_id).status is JobStatus.PROCESSING


def test_a_claim_carries_what_the_worker_needs(database: Database, account: Account) -> None:
    job_id = work.submit(database, account, index=False)
    work.prepare(database, job_id, 2)

    claimed = work.claim_one(database, job_id)

    assert (claimed.stage, claimed.ordinal) == ("transcribe", 0)
    assert claimed.work == AudioChunk((Clip((Region(0.0, 5.0),)),))
    assert claimed.options == TranscriptionOptions(model=work.MODEL, index=False)


def test_of_many_who_claim_a_chunk_at_once_one_gets_it(database: Database, account: Account) -> None:
    (chunk_id,) = work.queued(database, work.submit(database, account))

    answers = work.together(8, *[lambda: work.claim(database, chunk_id)] * 24)

    assert len([answer for answer in answers if answer is not None]) == 1
    assert all(answer is None or isinstance(answer, Claim) for answer in answers)


def test_many_chunks_of_one_job_are_claimed_at_once_without_losing_one(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    ids = work.prepare(database, job_id, 40)

    answers = work.together(8, *[lambda each=each: work.claim(database, each) for each in ids * 2])

    assert sorted(str(answer.chunk_id) for answer in answers if answer) == sorted(map(str, ids))


def test_a_second_message_does_not_shorten_the_pause_after_a_failure(database: Database, account: Account) -> None:
    claimed = work.claim_one(database, work.submit(database, account))
    with database.transaction() as connection:
        completion.fail(connection, claimed, Internal(), max_failures=3)

    assert work.claim(database, claimed.chunk_id) is None
    work.execute(database, "UPDATE chunks SET retry_at = now()")
    assert work.claim(database, claimed.chunk_id) is not None


def test_what_a_newer_release_stored_is_read_as_far_as_it_is_known(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.execute(database, "UPDATE jobs SET options = options || '{\"speakers\": 2}'")
    stored = '[{"code": "c", "message": "m", "at": 3}, {"code": "d", "message": "n", "start_s": 1, "end_s": 2}]'
    work.execute(database, "UPDATE jobs SET warnings = CAST(:stored AS jsonb)", stored=stored)

    assert work.claim_one(database, job_id).options == TranscriptionOptions(model=work.MODEL)
    assert work.job(database, job_id).warnings == [JobWarning("c", "m"), JobWarning("d", "n", 1, 2)]


def test_a_chunk_that_is_done_cannot_be_claimed(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    claimed = work.claim_one(database, job_id)
    work.complete(database, claimed)

    assert work.claim(database, claimed.chunk_id) is None


def test_a_chunk_of_a_cancelled_job_cannot_be_claimed(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    (chunk_id,) = work.queued(database, job_id)
    with database.transaction() as connection:
        interventions.cancel(connection, job_id, account.id)

    assert work.claim(database, chunk_id) is None
    assert work.job(database, job_id).started_at is None


def test_a_chunk_that_is_gone_cannot_be_claimed(database: Database) -> None:
    assert work.claim(database, uuid.uuid4()) is None


def test_a_lease_runs_as_long_as_was_asked_for(database: Database, account: Account) -> None:
    work.claim_one(database, work.submit(database, account), lease_s=90)

    ((left_s,),) = work.execute(database, "SELECT extract(epoch FROM lease_until - now()) FROM chunks")
    assert 60 < left_s <= 90


def test_a_renewed_lease_runs_on(database: Database, account: Account) -> None:
    claimed = work.claim_one(database, work.submit(database, account), lease_s=0)
    assert orphans(database) == [claimed.chunk_id]

    assert renew(database, claimed)
    assert orphans(database) == []


def test_another_attempt_cannot_renew_a_lease(database: Database, account: Account) -> None:
    claimed = work.claim_one(database, work.submit(database, account), lease_s=0)

    assert not renew(database, replace(claimed, attempt=claimed.attempt - 1))
    assert not renew(database, replace(claimed, attempt=claimed.attempt + 1))
    assert orphans(database) == [claimed.chunk_id]


def test_a_lease_of_a_cancelled_job_cannot_be_renewed(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    claimed = work.claim_one(database, job_id)
    with database.transaction() as connection:
        interventions.cancel(connection, job_id, account.id)

    assert not renew(database, claimed)


def test_a_lease_of_a_deleted_job_cannot_be_renewed(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    claimed = work.claim_one(database, job_id)
    with database.transaction() as connection:
        interventions.delete(connection, job_id, account.id)

    assert not renew(database, claimed)


def test_a_lease_that_runs_is_nobodys_orphan(database: Database, account: Account) -> None:
    work.claim_one(database, work.submit(database, account))

    assert orphans(database) == []


def test_everything_that_a_replaced_process_held_is_an_orphan_at_once(database: Database, account: Account) -> None:
    held = work.claim_one(database, work.submit(database, account), worker_id="w/0")
    work.claim_one(database, work.submit(database, account), worker_id="w/1")

    assert orphans(database, worker_id="w/0") == [held.chunk_id]


def test_a_job_says_when_it_keeps_no_more_warnings_of_doubt(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.prepare(database, job_id, 3)
    for ordinal in range(3):
        doubts = [JobWarning("text_doubtful", "?", 60.0 * ordinal + n, 60.0 * ordinal + n + 1) for n in range(45)]
        claimed = work.claim_one(database, job_id)
        work.complete(database, claimed, Transcribed([work.segment(ordinal)], None, None, doubts))

    kept = work.job(database, job_id).warnings
    assert len(kept) == MOST_WARNINGS
    assert kept[0] == NOT_ALL
