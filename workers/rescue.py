"""Give back the chunks of workers that went silent. Beat rings it; a new child rings it for its predecessor."""

from __future__ import annotations

import structlog

from core.store import chunks, completion
from core.store.session import Database

log = structlog.get_logger(__name__)


def rescue(database: Database, *, max_failures: int, worker_id: str | None = None) -> int:
    """Requeue or fail every chunk whose lease has run out; returns how many.

    With `worker_id`, every chunk that this worker still holds: its process has just been replaced, so
    whatever it was doing died with it and there is no need to wait for the lease.
    """
    with database.transaction() as connection:
        orphans = chunks.orphans(connection, worker_id=worker_id)
    for orphan in orphans:
        with database.transaction() as connection:
            failed = completion.rescue(connection, orphan, max_failures=max_failures)
        log.warning("rescued a chunk", chunk=str(orphan.chunk_id), job=str(orphan.job_id), failed=failed)
    return len(orphans)
