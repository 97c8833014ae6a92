"""What a job's owner may expect: its place in the queue, and the seconds left. None is not known, never a guess.

Asked wherever a job is shown, so each statement is bounded: by `DEEPEST` places, by the chunks of one job, by the
chunks in flight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.job import JobStatus, Stage
from core.lanes import INFERENCE_QUEUES
from core.store.ageing import NOBODY
from core.store.jobs import Job
from core.store.speeds import FORGOTTEN_S, SILENT_S, model_key

DEEPEST = 1000
"""A job behind more than so many others has no place: counting them would cost more than the number is worth."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """`queue_position` of a job that waits to begin, from 1; `eta_s`, seconds left of its stage, of one in work."""

    queue_position: int | None = None
    eta_s: float | None = None


UNKNOWN = Estimate()


def of(connection: Connection, shown: Sequence[Job]) -> Mapping[UUID, Estimate]:
    """What is known of these jobs; those of which nothing is known lack."""
    waiting = [job.id for job in shown if job.status is JobStatus.QUEUED]
    working = [job for job in shown if job.status is JobStatus.PROCESSING]
    positions = _positions(connection, waiting) if waiting else {}
    return {
        **{job_id: Estimate(queue_position=position) for job_id, position in positions.items()},
        **{job_id: Estimate(eta_s=eta_s) for job_id, eta_s in _times_left(connection, working).items()},
    }


# Accounts take turns, so before an account's n-th job come the first n of the accounts before it and the first n - 1 of
# those after it: about what the dispatcher does, which goes on from whoever was served last. The accounts that wait are
# found by stepping through the index jobs_queued, and no more of them than could matter. The order by account and id,
# and BETWEEN for an equality, leave the planner no index but that one.
_POSITIONS = sa.text("""
WITH RECURSIVE asked AS (
    SELECT j.id, j.lane, j.account_id, (
        SELECT count(*) FROM (
            SELECT FROM jobs e
            WHERE e.status = 'queued' AND e.lane = j.lane AND e.account_id BETWEEN j.account_id AND j.account_id
              AND e.id <= j.id
            ORDER BY e.account_id, e.id LIMIT :deepest + 2  -- one more than can be shown
        ) mine
    ) AS turn
    FROM jobs j WHERE j.id = ANY (:ids) AND j.status = 'queued'
), waiting AS (
    SELECT lane, CAST(:nobody AS uuid) AS account_id, 0 AS n FROM (SELECT DISTINCT lane FROM asked) lanes
    UNION ALL
    SELECT w.lane, next.account_id, w.n + 1
    FROM waiting w CROSS JOIN LATERAL (
        SELECT j.account_id FROM jobs j
        WHERE j.status = 'queued' AND j.lane = w.lane AND j.account_id > w.account_id
        ORDER BY j.account_id LIMIT 1
    ) next
    WHERE w.n <= :deepest
)
SELECT asked.id, ahead.n + 1 AS position
FROM asked CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT FROM waiting CROSS JOIN LATERAL (
            SELECT FROM jobs e
            WHERE e.status = 'queued' AND e.lane = waiting.lane
              AND e.account_id BETWEEN waiting.account_id AND waiting.account_id
            ORDER BY e.account_id, e.id
            LIMIT asked.turn - CASE WHEN waiting.account_id < asked.account_id THEN 0 ELSE 1 END
        ) turns
        WHERE waiting.lane = asked.lane
        LIMIT :deepest + 1
    ) bounded
) ahead
WHERE ahead.n <= :deepest
""").bindparams(deepest=DEEPEST, nobody=NOBODY)


def _positions(connection: Connection, job_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    return {row.id: row.position for row in connection.execute(_POSITIONS, {"ids": list(job_ids)})}


# The job's own pace in its stage holds all that matters: devices, neighbours, lanes. One that is tried again begins
# anew, for what was done before says nothing of the pace. While it is being prepared nobody knows what is left.
_OWN_PACE = sa.text("""
SELECT j.id, c.elapsed_s / c.n_done * c.n_left AS eta_s
FROM jobs j CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status = 'done' AND started_at >= j.started_at) AS n_done,
           count(*) FILTER (WHERE status <> 'done') AS n_left,
           extract(epoch FROM now() - min(started_at) FILTER (WHERE started_at >= j.started_at)) AS elapsed_s
    FROM chunks WHERE job_id = j.id AND stage = j.stage
) c
WHERE j.id = ANY (:ids) AND j.chunks_total IS NOT NULL AND c.n_done > 0
""")

# From when a chunk of it is in work until one is done: the speech that is left, at the measured speed of the lane's
# devices, on the job's share of them. Jobs in flight in any lane share the devices evenly, and no job uses more of them
# than it has chunks. One live worker whose device has not measured makes the whole unknown.
_MEASURED_SPEED = sa.text("""
SELECT todo.speech_s / (devices.speed * least(todo.n, devices.n::float / sharing.n)) AS eta_s
FROM (
    SELECT count(*) AS n, sum((
        SELECT sum(coalesce((clip->>'audio_s')::float, (clip->>'end_s')::float - (clip->>'start_s')::float))
        FROM jsonb_array_elements(input->'clips') clip
    )) AS speech_s
    FROM chunks WHERE job_id = :job AND stage = 'transcribe' AND status <> 'done'
) todo, (
    SELECT count(*) AS n, avg(s.speed) AS speed, bool_and(s.speed IS NOT NULL) AS all_known
    FROM workers w LEFT JOIN speeds s
        ON s.model = :model AND s.lane = :lane AND s.device = concat(w.host, '/', w.device)
        AND s.measured_at > now() - make_interval(secs => :forgotten_s)
    WHERE :lane = ANY (w.lanes) AND w.last_seen > now() - make_interval(secs => :silent_s)
) devices, (
    SELECT count(DISTINCT job_id) + 1 AS n FROM chunks
    WHERE job_id <> :job AND queue = ANY (:inference)
      AND (status = 'running' OR status = 'queued' AND dispatched_until IS NOT NULL)
) sharing
WHERE todo.n > 0 AND devices.all_known
  AND EXISTS (SELECT FROM chunks WHERE job_id = :job AND stage = 'transcribe' AND status = 'running')
""").bindparams(forgotten_s=FORGOTTEN_S, silent_s=SILENT_S, inference=list(INFERENCE_QUEUES))


def _times_left(connection: Connection, working: Sequence[Job]) -> Mapping[UUID, float]:
    if not working:
        return {}
    paces = connection.execute(_OWN_PACE, {"ids": [job.id for job in working]})
    known = {row.id: float(row.eta_s) for row in paces}
    for job in working:
        if job.stage is Stage.TRANSCRIBE and job.chunks_total is not None and job.id not in known:
            asked = {"job": job.id, "lane": job.lane, "model": model_key(job.options.model)}
            eta_s = connection.scalar(_MEASURED_SPEED, asked)
            if eta_s is not None:
                known[job.id] = eta_s
    return known
