"""Who works: each worker process tells what it is and what it does every few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection

from core.store.tables import workers


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One worker. `pid` is the process that infers, `lanes` the queues that it takes from."""

    id: str
    host: str
    pid: int
    device: str
    lanes: Sequence[str]
    models: Sequence[str]
    current_chunk: UUID | None


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker and when it was last heard of, on the database's clock."""

    worker: WorkerRecord
    last_seen: datetime


def report(connection: Connection, worker: WorkerRecord) -> None:
    """Write a worker's heartbeat."""
    values = {**asdict(worker), "lanes": list(worker.lanes), "models": list(worker.models)}
    statement = upsert(workers).values(values)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={**{key: statement.excluded[key] for key in values if key != "id"}, "last_seen": sa.func.now()},
        ),
    )


def forget(connection: Connection, worker_id: str) -> None:
    """A worker has stopped."""
    connection.execute(sa.delete(workers).where(workers.c.id == worker_id))


def forget_silent(connection: Connection, silence_s: float) -> int:
    """Drop the records of workers that died without a word; returns how many."""
    limit = sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, silence_s)
    return connection.execute(sa.delete(workers).where(workers.c.last_seen < limit)).rowcount


def seen(connection: Connection, silence_s: float) -> list[SeenWorker]:
    """The workers heard of within `silence_s`."""
    limit = sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, silence_s)
    rows = connection.execute(sa.select(workers).where(workers.c.last_seen >= limit).order_by(workers.c.id))
    return [
        SeenWorker(
            WorkerRecord(row.id, row.host, row.pid, row.device, row.lanes, row.models, row.current_chunk),
            row.last_seen,
        )
        for row in rows
    ]
