"""Chunks: dispatched, claimed, renewed, and taken back from workers that went silent.

Every statement here is one that several processes run at once; each says why that is safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.job import JobKind, Stage
from core.options import JobOptions, options_of
from core.work import Work, from_stored

_DISPATCH_LOCK = 7306002
IN_FLIGHT_PER_WORKER = 2
"""One chunk in work and one waiting in the broker, so that a worker never idles between two."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one attempt to work one chunk, as long as its lease is renewed."""

    chunk_id: UUID
    job_id: UUID
    account_id: UUID
    kind: JobKind
    stage: Stage
    ordinal: int
    attempt: int
    failures: int
    work: Work
    options: JobOptions


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A message to publish: which chunk, as which task, on which queue."""

    chunk_id: UUID
    stage: Stage
    queue: str


# Advisory lock first: a second dispatcher waits, then sees what the first one did.
#
# capacity   how many chunks each queue may have in flight: a small window per live worker, so that
#            what waits in the broker is short and a newcomer's turn is decided here, not there
# in_flight  what is leased or has a message under way, per queue and account
# turns      round robin: first every job's next chunk in its account, then every account's next
#            in its queue; what an account has in flight counts as turns it already had
# picked     the first of each queue that still fit the window
_DISPATCH = sa.text("""
WITH capacity AS (
    SELECT lane AS queue, count(*) * :per_worker AS slots
    FROM workers, unnest(lanes) AS lane
    WHERE last_seen > now() - make_interval(secs => :worker_silence_s)
    GROUP BY lane
), in_flight AS (
    SELECT queue, account_id, count(*) AS n
    FROM chunks
    WHERE status = 'running' OR (status = 'queued' AND dispatched_until > now())
    GROUP BY queue, account_id
), by_job AS (
    SELECT id, queue, account_id, created_at,
           row_number() OVER (PARTITION BY queue, job_id ORDER BY ordinal) AS job_turn
    FROM chunks
    WHERE status = 'queued' AND available_at <= now() AND (dispatched_until IS NULL OR dispatched_until <= now())
), by_account AS (
    SELECT b.id, b.queue, b.created_at,
           row_number() OVER (PARTITION BY b.queue, b.account_id ORDER BY b.job_turn, b.created_at, b.id)
           + coalesce(f.n, 0) AS account_turn
    FROM by_job b LEFT JOIN in_flight f USING (queue, account_id)
), turns AS (
    SELECT id, queue,
           row_number() OVER (PARTITION BY queue ORDER BY account_turn, created_at, id) AS turn
    FROM by_account
), picked AS (
    SELECT t.id, t.turn
    FROM turns t
    LEFT JOIN capacity c USING (queue)
    LEFT JOIN (SELECT queue, sum(n) AS n FROM in_flight GROUP BY queue) f USING (queue)
    WHERE t.turn <= greatest(coalesce(c.slots, 0), :per_worker) - coalesce(f.n, 0)
), free AS (
    -- Never waits for a row: who holds one is about to claim or cancel it.
    SELECT c.id, p.turn FROM chunks c JOIN picked p USING (id) WHERE c.status = 'queued' FOR UPDATE OF c SKIP LOCKED
), dispatched AS (
    UPDATE chunks
    SET dispatches = dispatches + 1,
        -- A message that nobody claims is sent again, ever more rarely while no worker lives.
        dispatched_until = now() + make_interval(secs => :redispatch_s * least(power(2, dispatches), 4))
    FROM free
    WHERE chunks.id = free.id
    RETURNING chunks.id, chunks.stage, chunks.queue, free.turn
)
SELECT id, stage, queue FROM dispatched ORDER BY turn
""")


def dispatch(connection: Connection, *, redispatch_s: float, worker_silence_s: float) -> list[Dispatched]:
    """Mark the fairest next chunks of each queue as dispatched and return them in order."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _DISPATCH_LOCK})
    rows = connection.execute(
        _DISPATCH,
        {"per_worker": IN_FLIGHT_PER_WORKER, "redispatch_s": redispatch_s, "worker_silence_s": worker_silence_s},
    )
    return [Dispatched(row.id, Stage(row.stage), row.queue) for row in rows]


_UNDISPATCH = sa.text("""
UPDATE chunks SET dispatched_until = NULL, dispatches = greatest(dispatches - 1, 0)
WHERE id IN (SELECT id FROM chunks WHERE id = ANY(:ids) AND status = 'queued' FOR UPDATE SKIP LOCKED)
""")


def undispatch(connection: Connection, chunk_ids: Sequence[UUID]) -> None:
    """Take back what could not be published; the next tick tries again."""
    connection.execute(_UNDISPATCH, {"ids": list(chunk_ids)})


# The job's row is locked before the chunk's, as everywhere; of two deliveries of one message the
# second finds the chunk no longer queued and gets no row. A chunk that backs off after a failure is
# not claimed by an older message.
_CLAIM = sa.text("""
WITH job AS (
    SELECT j.id, j.kind, j.options
    FROM jobs j JOIN chunks c ON c.job_id = j.id
    WHERE c.id = :chunk AND j.status IN ('queued', 'processing')
    FOR NO KEY UPDATE OF j
), claimed AS (
    UPDATE chunks
    SET status = 'running', attempt = attempt + 1, worker_id = :worker, started_at = now(),
        dispatched_until = NULL, dispatches = 0, lease_until = now() + make_interval(secs => :lease_s)
    FROM job
    WHERE chunks.id = :chunk AND chunks.job_id = job.id AND chunks.status = 'queued'
      AND chunks.available_at <= now()
    RETURNING chunks.*, job.kind, job.options
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
        stage=stage,
        ordinal=row.ordinal,
        attempt=row.attempt,
        failures=row.failures,
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


def orphans(connection: Connection, *, worker_id: str | None = None) -> list[Orphan]:
    """Running chunks whose lease has run out; or all that one worker held when its process died."""
    lost = "worker_id = :worker" if worker_id is not None else "lease_until < now()"
    rows = connection.execute(
        sa.text(f"SELECT id, job_id, attempt FROM chunks WHERE status = 'running' AND {lost}"),
        {"worker": worker_id} if worker_id is not None else {},
    )
    return [Orphan(row.id, row.job_id, row.attempt, known_dead=worker_id is not None) for row in rows]
