"""How many jobs of an account are worked at a time: a job beyond that waits, without chunks, until another has ended.

Counted is each lane by itself, so that an account's own batch work does not hold up its express job. A job that is
admitted gets its `prepare` chunk; one that failed and is tried again gets back the chunks that are not done.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.job import ChunkStatus, Stage
from core.lanes import Lane, queue_of
from core.store.tables import chunks, jobs

_AT_ONCE = 100
"""Held jobs that are looked at when there is room; every end of a job looks again."""

_LOCK_ACCOUNT = sa.text("SELECT FROM accounts WHERE id = :account FOR NO KEY UPDATE")

# The oldest first, as many as fit beside those that are worked; the limit is the highest that one of them came with, so
# that an older, lower one holds up nothing. Never waits for a row: whoever holds it may wait for this account. A job
# that was passed over is admitted with the next end of a job, or by `with_room` and Beat.
_ADMIT = sa.text("""
WITH worked AS (
    SELECT count(*) AS n FROM jobs
    WHERE account_id = :account AND lane = :lane AND admitted_at IS NOT NULL AND status IN ('queued', 'processing')
), held AS (
    SELECT id, concurrent_jobs FROM jobs
    WHERE account_id = :account AND lane = :lane AND admitted_at IS NULL AND status = 'queued'
    ORDER BY id LIMIT :at_once
    FOR NO KEY UPDATE SKIP LOCKED
), ranked AS (
    SELECT id, max(concurrent_jobs) OVER () AS at_once, row_number() OVER (ORDER BY id) AS place FROM held
)
UPDATE jobs SET admitted_at = now()
FROM ranked, worked
WHERE jobs.id = ranked.id AND worked.n + ranked.place <= ranked.at_once
RETURNING jobs.id, EXISTS (SELECT FROM chunks WHERE chunks.job_id = jobs.id) AS begun
""")


def lock_account(connection: Connection, account_id: UUID) -> None:
    """Hold the account's row until the end of the transaction; idempotency keys come after it."""
    connection.execute(_LOCK_ACCOUNT, {"account": account_id})


def admit(connection: Connection, account_id: UUID, lane: Lane) -> None:
    """Admit what there is room for. Call it in the transaction that makes room, or that submits."""
    # Two who make room at once count one after the other: the count below must see what the other has admitted.
    lock_account(connection, account_id)
    admitted = connection.execute(_ADMIT, {"account": account_id, "lane": lane, "at_once": _AT_ONCE}).all()
    for job in admitted:
        if job.begun:
            _reopen(connection, job.id)
        else:
            _begin(connection, job.id, account_id, lane)


_WITH_ROOM = sa.text("""
SELECT account_id, lane
FROM (
    SELECT account_id, lane, max(concurrent_jobs) AS at_once FROM jobs
    WHERE admitted_at IS NULL AND status = 'queued' GROUP BY account_id, lane
) held
WHERE at_once > (
    SELECT count(*) FROM jobs
    WHERE account_id = held.account_id AND lane = held.lane AND admitted_at IS NOT NULL
      AND status IN ('queued', 'processing')
)
""")


def with_room(connection: Connection) -> list[tuple[UUID, Lane]]:
    """The accounts and lanes in which a job waits although there is room: it was passed over while it was locked."""
    return [(row.account_id, Lane(row.lane)) for row in connection.execute(_WITH_ROOM)]


def _begin(connection: Connection, job_id: UUID, account_id: UUID, lane: Lane) -> None:
    prepare = {"job_id": job_id, "account_id": account_id, "stage": Stage.PREPARE, "ordinal": 0, "input": {}}
    connection.execute(sa.insert(chunks).values(**prepare, queue=queue_of(Stage.PREPARE, lane)))


def _reopen(connection: Connection, job_id: UUID) -> None:
    """Queue again what the job's failure left undone."""
    reopened = connection.execute(
        sa.update(chunks)
        .where(chunks.c.job_id == job_id, chunks.c.status.in_((ChunkStatus.FAILED, ChunkStatus.CANCELLED)))
        .values(
            status=ChunkStatus.QUEUED,
            failures=0,
            uncharged=0,
            error_code=None,
            finished_at=None,
            dispatched_until=None,
            dispatches=0,
            retry_at=None,
            waiting_since=sa.func.now(),
        ),
    ).rowcount
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(chunks_left=reopened))
