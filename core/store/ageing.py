"""What has waited too long moves up a lane, so that nothing waits for ever behind lanes that are never empty."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.lanes import Lane, moves_up

NOBODY = UUID(int=0)
"""Below every id."""

STARVING_SHARE = 0.25
"""Of its promise: a lane of which nothing was begun for so long starves."""

# Only out of a queue that starves: none of its chunks runs, and for part of its promise none was sent for the first
# time. One that is served late, because more is asked than the workers can do, would gain nothing and crowd the lane
# above. As many move as workers take from above, and then the queue counts as served: so under endless load the work
# below gets a share, and the work above keeps the rest. The oldest first, whether they wait here or in the broker:
# behind a lane that is never empty a message is not taken either. A chunk that has moved begins to wait anew, so it
# moves at most once for each lane; its old message finds it claimed, or claims it.
_MOVE_UP = sa.text("""
WITH served AS (
    UPDATE account_turns SET served_at = now()
    WHERE served_at < now() - interval '1 second' AND queue IN (SELECT queue FROM chunks WHERE status = 'running')
), starving AS (
    SELECT up.*, (
        SELECT greatest(count(*), 1) FROM workers
        WHERE up.above = ANY (lanes) AND last_seen > now() - make_interval(secs => :worker_silence_s)
    ) AS at_once
    FROM unnest(CAST(:queues AS text[]), CAST(:above AS text[]), CAST(:max_wait_s AS float[]))
         AS up(queue, above, max_wait_s)
    WHERE NOT EXISTS (SELECT FROM chunks WHERE status = 'running' AND queue = up.queue) AND NOT EXISTS (
        SELECT FROM account_turns
        WHERE queue = up.queue AND served_at > now() - make_interval(secs => up.max_wait_s * :starving_share)
    )
), old AS (
    SELECT late.id, starving.queue, starving.above
    FROM starving, LATERAL (
        SELECT id FROM chunks
        WHERE queue = starving.queue AND waiting_since < now() - make_interval(secs => starving.max_wait_s)
          AND status = 'queued' AND retry_at IS NULL
        ORDER BY waiting_since LIMIT starving.at_once
        FOR UPDATE SKIP LOCKED
    ) late
), moved AS (
    UPDATE chunks SET queue = old.above, waiting_since = now(), dispatched_until = NULL, dispatches = 0
    FROM old WHERE chunks.id = old.id
)
INSERT INTO account_turns (queue, account_id, served_at) SELECT DISTINCT queue, CAST(:nobody AS uuid), now() FROM old
ON CONFLICT (queue) DO UPDATE SET served_at = excluded.served_at
""")


def move_up(connection: Connection, max_wait_s: Mapping[Lane, float], worker_silence_s: float) -> None:
    """Move the oldest chunks of starving queues that are late; the caller holds the lock of the dispatchers."""
    moves = [(queue, above, max_wait_s[lane]) for queue, above, lane in moves_up() if lane in max_wait_s]
    if moves:
        queues, above, waits = zip(*moves, strict=True)
        values = {
            "queues": list(queues),
            "above": list(above),
            "max_wait_s": list(waits),
            "worker_silence_s": worker_silence_s,
            "starving_share": STARVING_SHARE,
            "nobody": NOBODY,
        }
        connection.execute(_MOVE_UP, values)
