"""How attempts end: every result counts once, one of them finishes the job, and a stale one changes nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from core.errors import Internal, JobError, LeaseLost, MediaUnreadable
from core.job import JobKind, JobStatus, Stage
from core.store import completion, interventions, jobs
from core.store.accounts import Account
from core.store.chunks import Claim, Orphan
from core.store.completion import Rescued
from core.store.results import Transcribed
from core.store.session import Database
from core.transcript import HeardLanguage
from tests.integration import work


def fail(database: Database, claimed: Claim, error: JobError | None = None, max_failures: int = 3) -> bool:
    with database.transaction() as connection:
        return completion.fail(connection, claimed, error or Internal(), max_failures=max_failures)


def rescue(database: Database, claimed: Claim, max_failures: int = 3) -> Rescued:
    with database.transaction() as connection:
        orphan = Orphan(claimed.chunk_id, claimed.job_id, claimed.attempt, known_dead=True)
        return completion.rescue(connection, orphan, max_failures=max_failures)


def cancel(database: Database, job_id: UUID, account: Account) -> None:
    with database.transaction() as connection:
        interventions.cancel(connection, job_id, account.id)


def wait_s(database: Database, chunk_id: UUID) -> float:
    """How long a chunk waits before it may be dispatched again."""
    pause = "coalesce(extract(epoch FROM retry_at - now()), 0)::float"
    ((seconds,),) = work.execute(database, f"SELECT {pause} FROM chunks WHERE id = :id", id=chunk_id)
    return float(seconds)


@pytest.mark.parametrize(
    ("kind", "index", "opened"),
    [
        (JobKind.TRANSCRIPTION, True, [("prepare", 1), ("transcribe", 31), ("embed", 2), ("assemble", 1)]),
        (JobKind.TRANSCRIPTION, False, [("prepare", 1), ("transcribe", 31), ("assemble", 1)]),
        (JobKind.DOCUMENT, True, [("prepare", 1), ("embed", 31), ("assemble", 1)]),
    ],
)
def test_stages_are_opened_in_order_each_after_the_last_chunk_of_the_one_before(
    database: Database, account: Account, kind: JobKind, index: bool, opened: list[tuple[str, int]]
) -> None:
    job_id = work.submit(database, account, kind, index=index)
    seen: list[tuple[str, int]] = []
    while waiting := work.queued(database, job_id):
        claimed = work.claim_one(database, job_id)
        if not seen or seen[-1][0] != claimed.stage:
            seen.append((claimed.stage, len(waiting)))
            assert work.job(database, job_id).stage == claimed.stage
        work.complete(database, claimed, work.result_of(claimed, n_chunks=31))

    ended = work.job(database, job_id)
    assert seen == opened
    assert (ended.status, ended.chunks_done, ended.finished_at is not None) == (
        JobStatus.COMPLETED,
        ended.chunks_total,
        True,
    )


def test_the_embed_chunks_of_a_transcript_cover_its_chunks_once(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    for chunk_id in work.prepare(database, job_id, 31):
        claimed = work.claim(database, chunk_id)
        assert claimed is not None
        work.complete(database, claimed)

    spans = [row.input for row in work.chunk_rows(database, job_id, Stage.EMBED)]
    covered = [n for span in spans for n in range(span["chunk_from"], span["chunk_to"] + 1)]
    assert covered[:31] == list(range(31))
    assert len(covered) == len(set(covered))


@pytest.mark.parametrize("kind", work.UPLOADED)
def test_an_input_without_anything_to_do_goes_straight_to_its_end(
    database: Database, account: Account, kind: JobKind
) -> None:
    job_id = work.submit(database, account, kind)

    assert work.finish(database, job_id, n_chunks=0).status is JobStatus.COMPLETED
    assert {row.stage for row in work.chunk_rows(database, job_id)} == {"prepare", "assemble"}


@pytest.mark.timeout(60)
def test_every_chunk_counts_once_however_often_and_by_whomever_it_is_delivered(
    database: Database, account: Account
) -> None:
    ids = {work.submit(database, account): 100, work.submit(database, account): 100}
    chunk_ids = [chunk for job_id, n in ids.items() for chunk in work.prepare(database, job_id, n)]
    deliveries = chunk_ids * 3
    random.Random(7).shuffle(deliveries)

    def deliver(chunk_id: UUID) -> str:
        claimed = work.claim(database, chunk_id)
        if claimed is None:
            return "forgotten"
        work.complete(database, claimed)
        return "done"

    answers = work.together(15, *[lambda each=each: deliver(each) for each in deliveries])

    assert Counter(map(str, answers)) == {"done": 200, "forgotten": 400}
    for job_id in ids:
        assert work.job(database, job_id).chunks_done == 100
        assert len(work.chunk_rows(database, job_id, Stage.EMBED)) == 4
    assert work.execute(database, "SELECT count(*) FROM segments")[0][0] == 200


@pytest.mark.timeout(60)
def test_of_many_completions_of_one_attempt_one_counts(database: Database, account: Account) -> None:
    job_id = work.submit(database, account, index=False)
    claims = [work.claim(database, chunk_id) for chunk_id in work.prepare(database, job_id, 20)]
    attempts = [claimed for claimed in claims if claimed is not None]

    answers = work.together(15, *[lambda each=each: work.complete(database, each) for each in attempts * 3])

    assert Counter(type(answer).__name__ for answer in answers) == {"NoneType": 20, "LeaseLost": 40}
    assert len(work.chunk_rows(database, job_id, Stage.ASSEMBLE)) == 1


def test_a_stale_attempt_is_refused_after_another_took_over(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    stale = work.claim_one(database, job_id)
    rescue(database, stale)
    work.claim_one(database, job_id)

    with pytest.raises(LeaseLost):
        work.complete(database, stale)
    assert work.job(database, job_id).chunks_total is None


def test_a_stale_attempt_is_refused_after_another_was_done(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.prepare(database, job_id, 2)
    stale = work.claim_one(database, job_id)
    rescue(database, stale)
    work.complete(database, work.claim_one(database, job_id))

    with pytest.raises(LeaseLost):
        work.complete(database, stale, Transcribed([work.segment(9)], HeardLanguage("de", 1.0, 9.0)))
    ((text,),) = work.execute(database, "SELECT text FROM segments")
    assert text == "Words of part 0."


def test_what_its_chunks_computed_and_waited_for_models_is_summed_once_and_apart(
    database: Database, account: Account
) -> None:
    job_id = work.submit(database, account, index=False)
    work.complete(database, work.claim_one(database, job_id), work.prepared(2), compute_s=9, cold_start_s=9)
    stale = work.claim_one(database, job_id)
    rescue(database, stale)
    work.complete(database, work.claim_one(database, job_id), compute_s=1.5, cold_start_s=2.0)
    with pytest.raises(LeaseLost):
        work.complete(database, stale, compute_s=100, cold_start_s=100)
    work.complete(database, work.claim_one(database, job_id), compute_s=0.25)

    job = work.job(database, job_id)
    assert (job.compute_s, job.cold_start_s) == (1.75, 2.0)
    chunks = work.chunk_rows(database, job_id, Stage.TRANSCRIBE)
    assert [(chunk.compute_s, chunk.cold_start_s) for chunk in chunks] == [(1.5, 2.0), (0.25, 0.0)]


def test_a_result_for_a_cancelled_or_deleted_job_is_refused(database: Database, account: Account) -> None:
    cancelled, deleted = work.submit(database, account), work.submit(database, account)
    claims = [work.claim_one(database, job_id) for job_id in (cancelled, deleted)]
    cancel(database, cancelled, account)
    with database.transaction() as connection:
        interventions.delete(connection, deleted, account.id)

    for claimed in claims:
        with pytest.raises(LeaseLost):
            work.complete(database, claimed)
        with pytest.raises(LeaseLost):
            fail(database, claimed, MediaUnreadable())


def test_a_chunk_that_cannot_succeed_fails_its_job_and_cancels_its_siblings(
    database: Database, account: Account
) -> None:
    job_id = work.submit(database, account)
    work.prepare(database, job_id, 4)
    work.complete(database, work.claim_one(database, job_id))
    claimed = work.claim_one(database, job_id)
    running = work.claim_one(database, job_id)

    assert fail(database, claimed, MediaUnreadable())

    failed = work.job(database, job_id)
    assert failed.status is JobStatus.FAILED
    assert failed.error == jobs.JobFailure("media_unreadable", MediaUnreadable().message, False, Stage.TRANSCRIBE)
    statuses = [row.status for row in work.chunk_rows(database, job_id, Stage.TRANSCRIBE)]
    assert statuses == ["done", "failed", "cancelled", "cancelled"]
    with pytest.raises(LeaseLost):
        work.complete(database, running)


def test_a_passing_fault_is_tried_again_ever_later_and_then_fails_the_job(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    waits = []
    for _ in range(2):
        claimed = work.claim_one(database, job_id)
        assert not fail(database, claimed)
        waits.append(wait_s(database, claimed.chunk_id))

    assert 0 < waits[0] < waits[1]
    assert fail(database, work.claim_one(database, job_id))
    error = work.job(database, job_id).error
    assert error is not None
    assert (error.code, error.retryable) == ("internal", True)


def test_a_failure_of_a_stale_attempt_changes_nothing(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    stale = work.claim_one(database, job_id)
    rescue(database, stale)
    held = work.claim_one(database, job_id)

    for error in (Internal(), MediaUnreadable()):
        with pytest.raises(LeaseLost):
            fail(database, stale, error)

    (row,) = work.chunk_rows(database, job_id)
    assert (row.status, row.attempt, row.failures) == ("running", held.attempt, 1)


def test_a_rescued_chunk_is_queued_again_and_after_too_many_crashes_fails_its_job(
    database: Database, account: Account
) -> None:
    job_id = work.submit(database, account)

    assert [rescue(database, work.claim_one(database, job_id)) for _ in range(3)] == [
        Rescued.REQUEUED,
        Rescued.REQUEUED,
        Rescued.FAILED,
    ]

    error = work.job(database, job_id).error
    assert error is not None
    assert (error.code, error.stage) == ("chunk_crashed", Stage.PREPARE)


def test_a_first_crash_goes_on_at_once(database: Database, account: Account) -> None:
    claimed = work.claim_one(database, work.submit(database, account))

    rescue(database, claimed)

    assert wait_s(database, claimed.chunk_id) <= 0


@pytest.mark.parametrize("ending", [work.complete, fail])
def test_a_rescue_that_comes_too_late_changes_nothing(
    database: Database, account: Account, ending: Callable[[Database, Claim], object]
) -> None:
    job_id = work.submit(database, account)
    claimed = work.claim_one(database, job_id)
    ending(database, claimed)
    before = work.chunk_rows(database, job_id)

    assert rescue(database, claimed) is Rescued.UNTOUCHED
    assert work.chunk_rows(database, job_id) == before


def test_a_lease_of_another_attempt_is_not_rescued(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    claimed = work.claim_one(database, job_id)

    assert rescue(database, replace(claimed, attempt=claimed.attempt + 1)) is Rescued.UNTOUCHED
    assert work.chunk_rows(database, job_id)[0].status == "running"
