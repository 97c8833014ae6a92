"""The path of a chunk through a worker, in this process and with real stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.store.workers import WorkerRecord
from workers.attempts import Attempts
from workers.lease import Heartbeat, Pace
from workers.stages.context import Context


@contextmanager
def working(context: Context) -> Iterator[Attempts]:
    """A worker that has begun, for the length of the block."""
    record = WorkerRecord("w/0", "host", 1, "cpu", ("io.express",), (), None)
    heartbeat = Heartbeat(context.database, Pace(5, 60, 300), lambda claim: record)
    try:
        yield Attempts("w/0", 60, 3, heartbeat, context)
    finally:
        heartbeat.stop()
        context.bell.close()
