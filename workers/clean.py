"""Delete what is old: jobs past their retention, chunk audio of ended jobs, records of dead workers.

A job whose blobs cannot be erased now is passed over and tried again by the next run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog
from obstore.exceptions import BaseError as BlobError

from core.erasure import erase_job
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


def clean(database: Database, blobs: Blobs, *, worker_silence_s: float, idle_s: float) -> Cleaned:
    """One run over everything, at most `_BATCH` jobs of each sort; the next tick goes on.

    `idle_s` is how long after a job's end no worker can be writing its chunks any more.
    """
    with database.transaction() as connection:
        silent = workers.forget_silent(connection, worker_silence_s)
    cleaned = Cleaned(_expired_jobs(database, blobs), _chunk_blobs(database, blobs, idle_s), silent)
    if cleaned.expired_jobs or cleaned.chunk_blobs:
        log.info("cleaned", expired_jobs=cleaned.expired_jobs, chunk_blobs=cleaned.chunk_blobs)
    return cleaned


def _expired_jobs(database: Database, blobs: Blobs) -> int:
    with database.transaction() as connection:
        expired = jobs.expired(connection, _BATCH)
    erased = 0
    for job_id, account_id in expired:
        with _passed_over_if_it_fails(job_id):
            erase_job(database, blobs, job_id, account_id)
            erased += 1
    return erased


def _chunk_blobs(database: Database, blobs: Blobs, idle_s: float) -> int:
    with database.transaction() as connection:
        ended = jobs.with_idle_chunk_blobs(connection, idle_s=idle_s, limit=_BATCH)
    erased = 0
    for job_id in ended:
        with _passed_over_if_it_fails(job_id):
            erased += blobs.erase(blob_store.chunks_prefix(job_id))
            with database.transaction() as connection:
                jobs.mark_chunk_blobs_erased(connection, job_id)
    return erased


@contextmanager
def _passed_over_if_it_fails(job_id: UUID) -> Iterator[None]:
    """One job that cannot be erased must not keep the others from it."""
    try:
        yield
    except NotFound:
        log.info("somebody else erased this job", job=str(job_id))
    except (BlobError, OSError) as error:
        log.warning("could not erase; the next run tries again", job=str(job_id), error=str(error))
