"""Whose turn it is: which waiting chunks go to the broker next.

A queued chunk waits, is under way to a worker (`dispatched_until`), or pauses after a failure (`retry_at`). A round,
under one advisory lock, returns to the waiting what was under way or paused long enough, moves up what a starving lane
has kept past its promise, and then picks. `core.dispatch` publishes what is picked here.

The work of a round grows with what it picks and what is in flight, not with what waits: `benchmarks/dispatch.py`
measures it against up to a million waiting chunks, and `docs/architecture.md` shows the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.job import Stage
from core.lanes import INFERENCE_QUEUES, IO_QUEUES, Lane
from core.store.ageing import NOBODY, move_up
from core.store.tables import account_turns

_DISPATCH_LOCK = 7306002
IN_FLIGHT_PER_WORKER = 2
"""One chunk in work and one waiting in the broker, so that a worker never idles between two."""

EVERYBODY = UUID(int=2**128 - 1)
"""Above every id."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A message to publish: which chunk, as which task, on which queue."""

    chunk_id: UUID
    stage: Stage
    queue: str


@dataclass(frozen=True, slots=True)
class Promises:
    """What a round holds to, in seconds.

    A message unclaimed for `redispatch_s` is sent again; a worker unheard of for `worker_silence_s` has no window;
    a chunk that waited `max_wait_s` of its lane moves up one lane, if that lane starves.
    """

    redispatch_s: float
    worker_silence_s: float
    max_wait_s: Mapping[Lane, float]


_MOST_PATIENCE = 4
"""A message that nobody claims is sent again after `redispatch_s`, and later after as many times that."""


def longest_promise_s(redispatch_s: float) -> float:
    """How long a message is under way at most before it is sent again."""
    return redispatch_s * _MOST_PATIENCE


_RETURN = sa.text("""
UPDATE chunks SET dispatched_until = NULL, retry_at = NULL
WHERE id IN (
    SELECT id FROM chunks
    WHERE status = 'queued' AND (dispatched_until <= now() OR retry_at <= now())
    FOR UPDATE SKIP LOCKED
)
""")

# The accounts that wait in a queue stand in a circle, ordered by id, and so do an account's jobs. Served is who comes
# after the one that was served last; who has chunks in flight has had that many turns already. A circle is walked one
# index look-up a step and no further than it takes to find the fairest, so what waits beyond is never read.
#
# capacity     how many chunks each queue may have in flight: a small window per live worker, so that
#              what waits in the broker is short and a newcomer's turn is decided here, not there
# in_flight    what is leased or has a message under way, per queue, account and job
# room         the queues with a free place, and who was served last in each
# circle       the next accounts of each queue: as many as there are free places, and as many more as have chunks in
#              flight and may have to be passed over. The walk goes to the end (`upto` everybody), then from the
#              beginning to the one who was served last
# share        how many chunks each of them gets at most: an even share of the window, less what it has in flight
# job_circle   the same for the jobs of each account
# waiting      the first waiting chunks of each of those jobs, an even share again
# by_account   the chunks of an account in the order of its jobs' turns
# picked       the first of each queue that still fit the window
# free         the rows themselves. Never waits for one: who holds it is about to claim or cancel it
#
# Shares are rounded up and an account may have fewer chunks than its share, so a round is repeated until it picks none.
PICK = sa.text("""
WITH RECURSIVE capacity AS (
    SELECT lane AS queue, count(*) * :per_worker AS slots
    FROM workers, unnest(lanes) AS lane
    WHERE last_seen > now() - make_interval(secs => :worker_silence_s)
    GROUP BY lane
), in_flight AS MATERIALIZED (
    SELECT queue, account_id, job_id, count(*) AS n
    FROM (
        SELECT queue, account_id, job_id FROM chunks WHERE status = 'running'
        UNION ALL
        SELECT queue, account_id, job_id FROM chunks WHERE status = 'queued' AND dispatched_until IS NOT NULL
    ) one
    GROUP BY queue, account_id, job_id
), busy_queue AS (
    SELECT queue, sum(n) AS n, count(DISTINCT account_id) AS n_accounts FROM in_flight GROUP BY queue
), busy_account AS (
    SELECT queue, account_id, sum(n) AS n, count(*) AS n_jobs FROM in_flight GROUP BY queue, account_id
), room AS MATERIALIZED (
    SELECT q.queue, greatest(coalesce(c.slots, 0), :per_worker) - coalesce(b.n, 0) AS free, coalesce(b.n, 0) AS taken,
           coalesce(b.n_accounts, 0) AS n_busy, coalesce(t.account_id, :nobody) AS last
    FROM unnest(CAST(:queues AS text[])) AS q(queue)
    LEFT JOIN capacity c USING (queue) LEFT JOIN busy_queue b USING (queue) LEFT JOIN account_turns t USING (queue)
    WHERE greatest(coalesce(c.slots, 0), :per_worker) > coalesce(b.n, 0)
), circle AS (
    SELECT queue, free, taken, n_busy, last, last AS account_id, CAST(:everybody AS uuid) AS upto, 0 AS place FROM room
    UNION ALL
    SELECT c.queue, c.free, c.taken, c.n_busy, c.last, n.account_id, n.upto, c.place + 1
    FROM circle c, LATERAL (
        (SELECT account_id, c.upto FROM chunks
         WHERE queue = c.queue AND account_id > c.account_id AND account_id <= c.upto
           AND status = 'queued' AND dispatched_until IS NULL AND retry_at IS NULL
         ORDER BY account_id LIMIT 1)
        UNION ALL
        (SELECT account_id, c.last FROM chunks
         WHERE queue = c.queue AND c.upto <> c.last AND account_id <= c.last
           AND status = 'queued' AND dispatched_until IS NULL AND retry_at IS NULL
         ORDER BY account_id LIMIT 1)
        LIMIT 1
    ) n
    WHERE c.place < c.free + c.n_busy
), share AS MATERIALIZED (
    SELECT c.queue, c.account_id, c.place, c.free, coalesce(b.n, 0) AS taken, coalesce(b.n_jobs, 0) AS n_busy,
           ceil((c.free + c.taken) / count(*) OVER (PARTITION BY c.queue)) - coalesce(b.n, 0) AS share,
           coalesce(t.job_id, :nobody) AS last
    FROM circle c LEFT JOIN busy_account b USING (queue, account_id) LEFT JOIN job_turns t USING (queue, account_id)
    WHERE c.place > 0
), job_circle AS (
    SELECT queue, account_id, place, free, taken, n_busy, share, last, last AS job_id, CAST(:everybody AS uuid) AS upto,
           0 AS job_place
    FROM share WHERE share > 0
    UNION ALL
    SELECT j.queue, j.account_id, j.place, j.free, j.taken, j.n_busy, j.share, j.last, n.job_id, n.upto, j.job_place + 1
    FROM job_circle j, LATERAL (
        (SELECT job_id, j.upto FROM chunks
         WHERE queue = j.queue AND account_id = j.account_id AND job_id > j.job_id AND job_id <= j.upto
           AND status = 'queued' AND dispatched_until IS NULL AND retry_at IS NULL
         ORDER BY job_id LIMIT 1)
        UNION ALL
        (SELECT job_id, j.last FROM chunks
         WHERE queue = j.queue AND account_id = j.account_id AND j.upto <> j.last AND job_id <= j.last
           AND status = 'queued' AND dispatched_until IS NULL AND retry_at IS NULL
         ORDER BY job_id LIMIT 1)
        LIMIT 1
    ) n
    WHERE j.job_place < j.share + j.n_busy
), job_share AS (
    SELECT j.*, coalesce(f.n, 0) AS job_taken,
           ceil((j.share + j.taken) / count(*) OVER (PARTITION BY j.queue, j.account_id)) - coalesce(f.n, 0)
               AS job_share
    FROM job_circle j LEFT JOIN in_flight f USING (queue, account_id, job_id)
    WHERE j.job_place > 0
), waiting AS (
    SELECT j.queue, j.account_id, j.place, j.free, j.taken, j.job_place, w.id, w.n + j.job_taken AS job_turn
    FROM job_share j, LATERAL (
        SELECT id, row_number() OVER (ORDER BY ordinal) AS n
        FROM (
            SELECT id, ordinal FROM chunks
            WHERE queue = j.queue AND account_id = j.account_id AND job_id = j.job_id
              AND status = 'queued' AND dispatched_until IS NULL AND retry_at IS NULL
            ORDER BY ordinal LIMIT greatest(j.job_share, 0)::bigint
        ) first
    ) w
), by_account AS (
    SELECT id, queue, place, free,
           row_number() OVER (PARTITION BY queue, account_id ORDER BY job_turn, job_place) + taken AS account_turn
    FROM waiting
), picked AS (
    SELECT id, turn
    FROM (
        SELECT id, free, row_number() OVER (PARTITION BY queue ORDER BY account_turn, place) AS turn FROM by_account
    ) turns
    WHERE turn <= free
), free AS (
    SELECT c.id, p.turn FROM chunks c JOIN picked p USING (id) WHERE c.status = 'queued' FOR UPDATE OF c SKIP LOCKED
), dispatched AS (
    UPDATE chunks
    SET dispatches = dispatches + 1,
        -- A message that nobody claims is sent again, ever more rarely while no worker lives.
        dispatched_until = now() + make_interval(secs => :redispatch_s * least(power(2, dispatches), :most_patience))
    FROM free
    WHERE chunks.id = free.id
    RETURNING chunks.id, chunks.stage, chunks.queue, chunks.account_id, chunks.job_id, chunks.dispatches, free.turn
), served_account AS (
    INSERT INTO account_turns AS t (queue, account_id, served_at)
    SELECT DISTINCT ON (queue) queue, account_id,
           CASE WHEN min(dispatches) OVER (PARTITION BY queue) = 1 THEN now() ELSE '-infinity' END
    FROM dispatched ORDER BY queue, turn DESC
    ON CONFLICT (queue) DO UPDATE
    SET account_id = excluded.account_id, served_at = greatest(t.served_at, excluded.served_at)
), served_job AS (
    INSERT INTO job_turns SELECT DISTINCT ON (queue, account_id) queue, account_id, job_id
    FROM dispatched ORDER BY queue, account_id, turn DESC
    ON CONFLICT (queue, account_id) DO UPDATE SET job_id = excluded.job_id
)
SELECT id, stage, queue FROM dispatched ORDER BY turn
""")


def lock(connection: Connection) -> None:
    """Keep every round waiting until the end of the transaction."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _DISPATCH_LOCK})


def dispatch(connection: Connection, promises: Promises) -> list[Dispatched]:
    """Mark the fairest next chunks of each queue as dispatched and return them in order."""
    lock(connection)  # a second dispatcher waits here, and then sees what the first one did
    connection.execute(_RETURN)
    move_up(connection, promises.max_wait_s, promises.worker_silence_s)
    dispatched: list[Dispatched] = []
    while picked := _pick(connection, promises):
        dispatched += picked
    return dispatched


def _pick(connection: Connection, promises: Promises) -> list[Dispatched]:
    rows = connection.execute(PICK, picking_values(promises))
    return [Dispatched(row.id, Stage(row.stage), row.queue) for row in rows]


def picking_values(promises: Promises) -> Mapping[str, object]:
    """What `PICK` is executed with."""
    return {
        "queues": [*INFERENCE_QUEUES, *IO_QUEUES],
        "per_worker": IN_FLIGHT_PER_WORKER,
        "redispatch_s": promises.redispatch_s,
        "most_patience": _MOST_PATIENCE,
        "worker_silence_s": promises.worker_silence_s,
        "nobody": NOBODY,
        "everybody": EVERYBODY,
    }


_UNDISPATCH = sa.text("""
UPDATE chunks SET dispatched_until = NULL, dispatches = greatest(dispatches - 1, 0)
WHERE id IN (SELECT id FROM chunks WHERE id = ANY(:ids) AND status = 'queued' FOR UPDATE SKIP LOCKED)
""")


def undispatch(connection: Connection, chunk_ids: Sequence[UUID]) -> None:
    """Take back what could not be published; the next tick tries again."""
    connection.execute(_UNDISPATCH, {"ids": list(chunk_ids)})


def forget(connection: Connection, account_id: UUID) -> None:
    """Let nobody have been served last where this account was. The time stays: it tells whether a lane starves."""
    anybody = sa.update(account_turns).where(account_turns.c.account_id == account_id)
    connection.execute(anybody.values(account_id=NOBODY))
