"""Which chunks a job has: each stage's are queued here, in the transaction of whoever ends the stage before.

`prepare` is the exception: it queues what it has cut of a recording while it cuts the rest (`emit`). Until it is done
it is one of the job's open chunks itself, so that nobody else counts down to zero before. `completion` counts, and
calls `take_in` and `open_next` under the job's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.errors import LeaseLost
from core.job import ENDED, JobKind, Stage, stages_of
from core.lanes import queue_of
from core.plan import AudioChunk
from core.quota import Cost, cost_of
from core.store import jobs as job_store
from core.store import usage
from core.store.chunks import Claim, is_held
from core.store.jobs import Job
from core.store.results import Prepared
from core.store.tables import chunks, jobs
from core.tiers import Tiers
from core.work import TranscriptSpan, Work, from_stored, to_stored

TRANSCRIBED_PER_EMBED = 30
"""Transcribe chunks whose text one embed chunk takes: half an hour of audio at 60 s a chunk."""


def emit(connection: Connection, claim: Claim, chunk: AudioChunk, tiers: Tiers) -> None:
    """Queue a chunk of the recording that the attempt still prepares, and hold the quota for all up to its end.

    Raises `LeaseLost`, or `OverQuota`; the caller then calls `completion.fail`.
    """
    job = job_store.lock(connection, claim.job_id)
    held = sa.select(chunks.c.id).where(is_held(claim))
    if job is None or job.status in ENDED or connection.scalar(held) is None:
        raise LeaseLost()
    _reserve(connection, job, tiers, cost_of(job.kind, duration_s=chunk.end_s, pages=None, chunks_total=1))
    _queue(connection, job, Stage.TRANSCRIBE, [chunk])


def emitted(connection: Connection, job_id: UUID) -> tuple[int, float]:
    """How many chunks of a recording were queued so far, and the second up to which they reach."""
    its = sa.and_(chunks.c.job_id == job_id, chunks.c.stage == Stage.TRANSCRIBE)
    last = sa.select(chunks.c.ordinal, chunks.c.input).where(its).order_by(chunks.c.ordinal.desc()).limit(1)
    row = connection.execute(last).one_or_none()
    if row is None:
        return 0, 0.0
    work = from_stored(Stage.TRANSCRIBE, JobKind.TRANSCRIPTION, row.input)
    assert isinstance(work, AudioChunk)
    return row.ordinal + 1, work.end_s


def take_in(connection: Connection, job: Job, found: Prepared, tiers: Tiers) -> None:
    """Queue what is left of the stage after `prepare`, now that the length of the job is known."""
    stage = stages_of(job.kind, index=job.index)[1]
    n_chunks = _count(connection, job.id, stage) + len(found.work)
    cost = cost_of(job.kind, duration_s=found.duration_s, pages=found.pages, chunks_total=n_chunks)
    _reserve(connection, job, tiers, cost)
    if found.work:
        _queue(connection, job, stage, found.work)
    n_embed = -(-n_chunks // TRANSCRIBED_PER_EMBED) if stage is Stage.TRANSCRIBE and job.index else 0
    connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(chunks_total=n_chunks + n_embed))


def _reserve(connection: Connection, job: Job, tiers: Tiers, cost: Cost | None) -> None:
    if cost is not None:
        usage.reserve(connection, job.account_id, job.id, cost, tiers)


def open_next(connection: Connection, job: Job, ended: Stage) -> bool:
    """Queue the chunks of the next stage that has any, now that all are done; False if there is no such stage."""
    stages = stages_of(job.kind, index=job.index)
    for stage in stages[stages.index(ended) + 1 :]:
        work = _work_of(connection, job, stage)
        if work:
            _queue(connection, job, stage, work)
            return True
    return False


def _work_of(connection: Connection, job: Job, stage: Stage) -> Sequence[Work]:
    """What a stage has to do once all before it is done, besides what `prepare` has queued for it."""
    if stage is Stage.ASSEMBLE:
        return [None]
    if stage is Stage.EMBED and job.kind is JobKind.TRANSCRIPTION:
        spans = range(0, _count(connection, job.id, Stage.TRANSCRIBE), TRANSCRIBED_PER_EMBED)
        return [TranscriptSpan(first, first + TRANSCRIBED_PER_EMBED - 1) for first in spans]
    return []


def _count(connection: Connection, job_id: UUID, stage: Stage) -> int:
    its = sa.select(sa.func.count()).where(chunks.c.job_id == job_id, chunks.c.stage == stage)
    return connection.scalar(its) or 0


def _queue(connection: Connection, job: Job, stage: Stage, work: Sequence[Work]) -> None:
    """Add chunks to a stage, behind those that it has. The caller holds the job's lock."""
    first = _count(connection, job.id, stage)
    rows = [
        {
            "job_id": job.id,
            "account_id": job.account_id,
            "stage": stage,
            "ordinal": ordinal,
            "queue": queue_of(stage, job.lane),
            "input": to_stored(item),
        }
        for ordinal, item in enumerate(work, first)
    ]
    connection.execute(sa.insert(chunks), rows)
    more = {"stage": stage, "chunks_left": jobs.c.chunks_left + len(rows)}
    connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(more))
