"""What an owner does to a job that was accepted: cancel it, try it again, erase it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.errors import Conflict, NotFound
from core.job import ENDED, JobKind, JobStatus, Stage
from core.quota import cost_of
from core.store import idempotency, planning, reindexes, usage
from core.store.admission import admit, lock_account
from core.store.jobs import FORGOTTEN, Job, end_chunks, get, lock, lock_batch
from core.store.tables import batches, jobs
from core.tiers import Tiers

JOBLESS = ~sa.exists().where(jobs.c.batch_id == batches.c.id)
"""Of a batch: it has no jobs any more, or never had one."""


def cancel(connection: Connection, job_id: UUID, account_id: UUID) -> Job:
    """End a job at its owner's wish; running chunks notice at their next step. Raises `NotFound`, `Conflict`."""
    was = end(connection, job_id, account_id)
    if was in (JobStatus.COMPLETED, JobStatus.FAILED):
        raise Conflict(f"The job has {was} already.")
    return get(connection, job_id, account_id)


def end(connection: Connection, job_id: UUID, account_id: UUID) -> JobStatus:
    """Cancel a job unless it has ended; returns the status that it had. Raises `NotFound`."""
    job = _locked(connection, job_id, account_id)
    if job.status not in ENDED:
        _end(connection, [job])
    return job.status


def end_batch(connection: Connection, batch_id: UUID) -> int:
    """Cancel those jobs of a batch that have not ended; returns how many."""
    still_open = [job for job in lock_batch(connection, batch_id) if job.status not in ENDED]
    _end(connection, still_open)
    return len(still_open)


def _end(connection: Connection, found: Sequence[Job]) -> None:
    """Cancel jobs of one account and lane; the caller holds their locks."""
    if len(found) > 1:
        usage.lock_held(connection, found[0].account_id)
    for job in found:
        end_chunks(connection, job.id)
        cancelled = {"status": JobStatus.CANCELLED, "finished_at": sa.func.now(), **FORGOTTEN}
        connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(cancelled))
        usage.refund(connection, job.id)
    if found:
        admit(connection, found[0].account_id, found[0].lane)


def retry(connection: Connection, job_id: UUID, account_id: UUID, tiers: Tiers) -> Job:
    """Queue a failed job again: what is done stays, the rest is worked.

    Raises `NotFound`, `Conflict`, or `QuotaExceeded`: its failure gave back what it held.
    """
    job = _locked(connection, job_id, account_id)
    if job.status is not JobStatus.FAILED:
        raise Conflict(f"The job is {job.status}; only one that failed can be tried again.")
    erased = sa.select(jobs.c.chunk_blobs_erased_at.is_not(None)).where(jobs.c.id == job_id)
    if job.stage is Stage.TRANSCRIBE and connection.scalar(erased):  # by a release that kept nothing of a failed job
        raise Conflict("The audio that is left to transcribe was erased; submit the recording again.")
    n_chunks, duration_s = job.chunks_total, job.duration_s
    if job.kind is JobKind.TRANSCRIPTION and n_chunks is None:  # it failed while it was prepared, which holds the rest
        n_chunks, duration_s = planning.emitted(connection, job_id)
    cost = cost_of(job.kind, duration_s=duration_s, pages=job.pages, chunks_total=n_chunks)
    if cost is not None:
        usage.reserve_again(connection, account_id, job_id, cost, tiers)
    anew = {
        **dict.fromkeys(("started_at", "finished_at", "admitted_at", "chunk_blobs_erased_at")),
        **dict.fromkeys(("error_code", "error_message", "error_retryable", "error_stage")),
    }
    kept = sa.func.greatest(jobs.c.expires_at, sa.func.now() + (jobs.c.expires_at - jobs.c.created_at))
    again = sa.update(jobs).where(jobs.c.id == job_id)
    with reindexes.one_at_a_time():
        connection.execute(again.values(status=JobStatus.QUEUED, expires_at=kept, **anew))
    admit(connection, account_id, job.lane)
    return get(connection, job_id, account_id)


def delete(connection: Connection, job_id: UUID, account_id: UUID) -> None:
    """Erase a job with its chunks, text and vectors; with the last job of a batch, the batch and what it refused.

    A worker that holds one of its chunks loses it. Raises `NotFound`.
    """
    _lock_batch_of(connection, job_id, account_id)
    job = _locked(connection, job_id, account_id)
    usage.refund(connection, job_id)  # nothing, unless it was tried again after it had ended
    lock_account(connection, account_id)  # before the keys that go with the job, as whoever submits does
    connection.execute(sa.delete(jobs).where(jobs.c.id == job_id))
    if job.batch_id is not None:
        idempotency.forget_batch(connection, job.batch_id)
        connection.execute(sa.delete(batches).where(batches.c.id == job.batch_id, JOBLESS))
    admit(connection, account_id, job.lane)


def _lock_batch_of(connection: Connection, job_id: UUID, account_id: UUID) -> None:
    """Lock the job's batch, if it has one: before the job, as cancelling the batch does.

    So of two who delete the last jobs at once, the second sees that none is left.
    """
    its = sa.select(jobs.c.batch_id).where(jobs.c.id == job_id, jobs.c.account_id == account_id).scalar_subquery()
    connection.execute(sa.select(batches.c.id).where(batches.c.id == its).with_for_update())


def _locked(connection: Connection, job_id: UUID, account_id: UUID) -> Job:
    """A job of the account, locked until the end of the transaction. Raises `NotFound`."""
    job = lock(connection, job_id, account_id)
    if job is None:
        raise NotFound(f"There is no job {job_id} in this account.")
    return job
