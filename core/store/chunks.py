"""Chunks: claimed, renewed, and taken back from workers that went silent.

Every statement here is one that several processes run at once; each says why that is safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.job import ChunkStatus, JobKind, Stage
from core.lanes import Lane, Tier
from core.options import JobOptions, options_of
from core.store.tables import chunks
from core.work import Work, from_stored


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one attempt to work one chunk, as long as its lease is renewed."""

    chunk_id: UUID
    job_id: UUID
    account_id: UUID
    kind: JobKind
    tier: Tier
    lane: Lane
    stage: Stage
    ordinal: int
    attempt: int
    failures: int
    uncharged: int
    work: Work
    options: JobOptions


@dataclass(frozen=True, slots=True)
class Took:
    """How long an attempt was at work: by itself, and before that waiting for its models to be loaded."""

    compute_s: float
    cold_start_s: float = 0.0


# The job's row is locked before the chunk's, as everywhere; of two deliveries of one message the
# second finds the chunk no longer queued and gets no row. A chunk that backs off after a failure is
# not claimed by an older message.
_CLAIM = sa.text("""
WITH job AS (
    SELECT j.id, j.kind, j.tier, j.lane, j.options
    FROM jobs j JOIN chunks c ON c.job_id = j.id
    WHERE c.id = :chunk AND j.status IN ('queued', 'processing')
    FOR NO KEY UPDATE OF j
), claimed AS (
    UPDATE chunks
    SET status = 'running', attempt = attempt + 1, worker_id = :worker, started_at = now(),
        dispatched_until = NULL, retry_at = NULL, dispatches = 0, lease_until = now() + make_interval(secs => :lease_s)
    FROM job
    WHERE chunks.id = :chunk AND chunks.job_id = job.id AND chunks.status = 'queued'
      AND (chunks.retry_at IS NULL OR chunks.retry_at <= now())
    RETURNING chunks.*, job.kind, job.tier, job.lane, job.options
), started AS (
    UPDATE jobs SET status = 'processing', started_at = now()
    FROM claimed WHERE jobs.id = claimed.job_id AND jobs.status = 'queued'
)
SELECT * FROM claimed
""")


def claim(connection: Connection, chunk_id: UUID, *, worker_id: str, lease_s: float) -> Claim | None:
    """Lease a chunk; None when it is not to be worked now (done, claimed, backing off, cancelled or gone)."""
    row = connection.execute(_CLAIM, {"chunk": chunk_id, "worker": worker_id, "lease_s": lease_s}).one_or_none()
    if row is None:
        return None
    kind, stage = JobKind(row.kind), Stage(row.stage)
    return Claim(
        chunk_id=row.id,
        job_id=row.job_id,
        account_id=row.account_id,
        kind=kind,
        tier=Tier(row.tier),
        lane=Lane(row.lane),
        stage=stage,
        ordinal=row.ordinal,
        attempt=row.attempt,
        failures=row.failures,
        uncharged=row.uncharged,
        work=from_stored(stage, kind, row.input),
        options=options_of(kind, row.options),
    )


_RENEW = sa.text("""
UPDATE chunks SET lease_until = now() + make_interval(secs => :lease_s)
WHERE id = :chunk AND status = 'running' AND attempt = :attempt
""")


def renew(connection: Connection, claim: Claim, *, lease_s: float) -> bool:
    """Extend a lease. False when the attempt holds no more: cancelled, rescued or deleted."""
    values = {"chunk": claim.chunk_id, "attempt": claim.attempt, "lease_s": lease_s}
    return connection.execute(_RENEW, values).rowcount == 1


@dataclass(frozen=True, slots=True)
class Orphan:
    """A chunk whose worker went silent, or whose process is known to be dead."""

    chunk_id: UUID
    job_id: UUID
    attempt: int
    known_dead: bool = False


def is_held(held: Claim | Orphan) -> sa.ColumnElement[bool]:
    """The fence: this attempt, and no other, works the chunk."""
    running = chunks.c.status == ChunkStatus.RUNNING
    return sa.and_(chunks.c.id == held.chunk_id, running, chunks.c.attempt == held.attempt)


def orphans(connection: Connection, *, worker_id: str | None = None) -> list[Orphan]:
    """Running chunks whose lease has run out; or all that one worker held when its process died."""
    lost = "worker_id = :worker" if worker_id is not None else "lease_until < now()"
    rows = connection.execute(
        sa.text(f"SELECT id, job_id, attempt FROM chunks WHERE status = 'running' AND {lost}"),
        {"worker": worker_id} if worker_id is not None else {},
    )
    return [Orphan(row.id, row.job_id, row.attempt, known_dead=worker_id is not None) for row in rows]


def held_by(connection: Connection, worker_id: str) -> list[Orphan]:
    """What a worker works in all of its processes, whose ids are its own and a slot."""
    rows = connection.execute(
        sa.text("""
            SELECT id, job_id, attempt FROM chunks WHERE status = 'running' AND starts_with(worker_id, :worker || '/')
        """),
        {"worker": worker_id},
    )
    return [Orphan(row.id, row.job_id, row.attempt) for row in rows]


@dataclass(frozen=True, slots=True)
class ServerTime:
    """The clock by which leases and waits run, and for how long its server has been up."""

    now: datetime
    up_s: float


def server_time(connection: Connection) -> ServerTime:
    """As the database tells it."""
    query = sa.text("SELECT now(), extract(epoch FROM now() - pg_postmaster_start_time())")
    now, up_s = connection.execute(query).one()
    return ServerTime(now, float(up_s))


_OF_THE_FUTURE = sa.text("""
WITH leased AS (
    UPDATE chunks SET lease_until = now() + make_interval(secs => :lease_s)
    WHERE id IN (
        SELECT id FROM chunks WHERE status = 'running' AND lease_until > now() + make_interval(secs => 2 * :lease_s)
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
), waiting AS (
    UPDATE chunks
    SET dispatched_until = CASE WHEN dispatched_until > now() THEN now() ELSE dispatched_until END,
        retry_at = CASE WHEN retry_at > now() THEN now() ELSE retry_at END
    WHERE id IN (
        SELECT id FROM chunks
        WHERE status = 'queued' AND (dispatched_until > now() + make_interval(secs => 2 * :wait_s)
                                     OR retry_at > now() + make_interval(secs => 2 * :wait_s))
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
)
SELECT (SELECT count(*) FROM leased) + (SELECT count(*) FROM waiting)
""")


def forget_the_future(connection: Connection, *, lease_s: float, wait_s: float) -> int:
    """Bring near what lies farther ahead than anything is ever set: the server's clock was set back since.

    No lease lasts longer than `lease_s`, and no message or pause longer than `wait_s`. Returns how many chunks.
    """
    return int(connection.scalar(_OF_THE_FUTURE, {"lease_s": lease_s, "wait_s": wait_s}) or 0)
