"""A failed job that is tried again works what is not done, and that alone."""

from __future__ import annotations

from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.errors import Conflict, LeaseLost, MediaUnreadable
from core.job import JobKind, JobStatus, Stage
from core.store import completion, interventions, retention
from core.store.accounts import Account
from core.store.chunks import Claim
from core.store.jobs import Job
from core.store.session import Database
from tests.integration import work


def failed_in_the_middle(database: Database, account: Account) -> tuple[UUID, Claim]:
    """A job of four chunks: one done, one failed, one in work and one waiting; and the claim that was in work."""
    job_id = work.transcribing(database, account, 4)
    work.complete(database, work.claim_one(database, job_id))
    failing, running = work.claim_one(database, job_id), work.claim_one(database, job_id)
    with database.transaction() as connection:
        completion.fail(connection, failing, MediaUnreadable(), max_failures=3)
    return job_id, running


def retry(database: Database, job_id: UUID, account: Account) -> Job:
    with database.transaction() as connection:
        return interventions.retry(connection, job_id, account.id, work.TIERS)


def test_what_was_done_stays_and_the_rest_is_queued(database: Database, account: Account) -> None:
    job_id, _ = failed_in_the_middle(database, account)

    job = retry(database, job_id, account)

    assert (job.status, job.stage, job.error, job.finished_at) == (JobStatus.QUEUED, Stage.TRANSCRIBE, None, None)
    assert job.chunks_done == 1
    rows = work.chunk_rows(database, job_id, Stage.TRANSCRIBE)
    assert [(row.status, row.failures) for row in rows] == [("done", 0), *[("queued", 0)] * 3]


def test_a_job_that_is_tried_again_completes_with_every_segment_once(database: Database, account: Account) -> None:
    job_id, _ = failed_in_the_middle(database, account)
    retry(database, job_id, account)

    assert work.finish(database, job_id).status is JobStatus.COMPLETED
    ordinals = work.execute(database, "SELECT chunk_ordinal FROM segments ORDER BY chunk_ordinal")
    assert [row.chunk_ordinal for row in ordinals] == [0, 1, 2, 3]


def test_a_worker_of_the_time_before_cannot_end_a_chunk_that_is_tried_again(
    database: Database, account: Account
) -> None:
    job_id, stale = failed_in_the_middle(database, account)
    retry(database, job_id, account)

    with pytest.raises(LeaseLost):
        work.complete(database, stale)
    while (claimed := work.claim_one(database, job_id)).chunk_id != stale.chunk_id:
        continue
    with pytest.raises(LeaseLost):
        work.complete(database, stale)
    work.complete(database, claimed)


def test_an_input_that_could_not_be_opened_is_opened_again(database: Database, account: Account) -> None:
    job_id = work.submit(database, account, JobKind.DOCUMENT)
    with database.transaction() as connection:
        completion.fail(connection, work.claim_one(database, job_id), MediaUnreadable(), max_failures=3)
    retry(database, job_id, account)

    assert work.finish(database, job_id).status is JobStatus.COMPLETED


def test_a_job_that_is_tried_again_waits_for_room_like_any_other(database: Database, account: Account) -> None:
    first = work.submit(database, account, concurrent_jobs=1)
    with database.transaction() as connection:
        completion.fail(connection, work.claim_one(database, first), MediaUnreadable(), max_failures=3)
    second = work.submit(database, account, concurrent_jobs=1)
    retry(database, first, account)

    assert work.queued(database, first) == []
    with database.transaction() as connection:
        interventions.cancel(connection, second, account.id)
    assert len(work.queued(database, first)) == 1


@pytest.mark.parametrize("status", ["queued", "completed", "cancelled"])
def test_only_what_has_failed_is_tried_again(database: Database, account: Account, status: str) -> None:
    job_id = work.submit(database, account, JobKind.DOCUMENT)
    if status == "completed":
        work.finish(database, job_id)
    if status == "cancelled":
        with database.transaction() as connection:
            interventions.cancel(connection, job_id, account.id)

    with pytest.raises(Conflict, match=status):
        retry(database, job_id, account)


def erase_chunk_audio(database: Database, job_id: UUID) -> None:
    with database.transaction() as connection:
        retention.mark_chunk_blobs_erased(connection, job_id)


def test_what_is_left_of_a_job_whose_audio_is_erased_is_not_tried_again(database: Database, account: Account) -> None:
    job_id, _ = failed_in_the_middle(database, account)
    erase_chunk_audio(database, job_id)

    with pytest.raises(Conflict, match="submit the recording again"):
        retry(database, job_id, account)
    assert work.job(database, job_id).status is JobStatus.FAILED


def test_a_job_that_needs_no_erased_audio_is_tried_again_and_cleaned_again(
    database: Database, account: Account
) -> None:
    job_id = work.submit(database, account)
    with database.transaction() as connection:
        completion.fail(connection, work.claim_one(database, job_id), MediaUnreadable(), max_failures=3)
    erase_chunk_audio(database, job_id)
    retry(database, job_id, account)

    assert work.finish(database, job_id).status is JobStatus.COMPLETED
    work.execute(database, "UPDATE jobs SET finished_at = now() - interval '1 hour'")
    with database.transaction() as connection:
        assert retention.with_idle_chunk_blobs(connection, UUID(int=0), idle_s=60, limit=9) == [job_id]


def test_of_two_who_try_again_at_once_one_is_told_that_it_is_queued(database: Database, account: Account) -> None:
    job_id, _ = failed_in_the_middle(database, account)

    answers = work.together(2, *[lambda: retry(database, job_id, account)] * 2)

    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "Job"]


def test_retrying_over_http_answers_the_job_and_refuses_what_has_not_failed(
    api: TestClient, database: Database, account: Account
) -> None:
    job_id, _ = failed_in_the_middle(database, account)

    answers = [api.post(f"/v1/jobs/{job_id}/retry") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 409]
    assert (answers[0].json()["status"], answers[0].json()["error"]) == ("queued", None)
    assert answers[1].json()["code"] == "conflict"


def test_what_was_done_before_a_failure_says_nothing_of_the_time_left(database: Database, account: Account) -> None:
    job_id, _ = failed_in_the_middle(database, account)
    work.execute(database, "UPDATE chunks SET started_at = now() - interval '1 day' WHERE status = 'done'")
    retry(database, job_id, account)
    claimed = work.claim_one(database, job_id)
    assert work.estimate(database, job_id).eta_s is None

    work.complete(database, claimed)

    eta_s = work.estimate(database, job_id).eta_s
    assert eta_s is not None
    assert eta_s < 3600
