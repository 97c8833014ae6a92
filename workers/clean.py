"""Delete what is old: jobs past their retention, chunk audio of ended jobs, records of dead workers.

The database forgets first and the blobs follow, so a crash in between leaves bytes, never a broken job.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from core.errors import NotFound
from core.store import blobs as blob_store
from core.store import jobs, workers
from core.store.blobs import Blobs
from core.store.session import Database

log = structlog.get_logger(__name__)

_BATCH = 100


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How many of each were removed in one run."""

    expired_jobs: int
    chunk_blobs: int
    silent_workers: int


def clean(database: Database, blobs: Blobs, *, worker_silence_s: float) -> Cleaned:
    """One run over everything, at most `_BATCH` jobs of each sort; the next tick goes on."""
    with database.transaction() as connection:
        silent = workers.forget_silent(connection, worker_silence_s)
    cleaned = Cleaned(_expired_jobs(database, blobs), _chunk_blobs(database, blobs), silent)
    if cleaned.expired_jobs or cleaned.chunk_blobs:
        log.info("cleaned", expired_jobs=cleaned.expired_jobs, chunk_blobs=cleaned.chunk_blobs)
    return cleaned


def _expired_jobs(database: Database, blobs: Blobs) -> int:
    with database.transaction() as connection:
        expired = jobs.expired(connection, _BATCH)
    for job_id, account_id in expired:
        try:
            with database.transaction() as connection:
                jobs.delete(connection, job_id, account_id)
        except NotFound:
            log.info("somebody else deleted an expired job", job=str(job_id))
        blobs.erase(blob_store.job_prefix(job_id))
    return len(expired)


def _chunk_blobs(database: Database, blobs: Blobs) -> int:
    with database.transaction() as connection:
        ended = jobs.with_idle_chunk_blobs(connection, _BATCH)
    erased = 0
    for job_id in ended:
        erased += blobs.erase(blob_store.chunks_prefix(job_id))
        with database.transaction() as connection:
            jobs.mark_chunk_blobs_erased(connection, job_id)
    return erased
