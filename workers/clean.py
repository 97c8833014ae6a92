"""Delete what is old: expired jobs, batches and idempotency keys, chunk audio of ended jobs, records of dead workers.

A job whose blobs cannot be erased now is passed over and tried again by the next run.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy.exc import OperationalError

from core.erasure import erase_job
from core.errors import NotFound
from core.store import batches, idempotency, retention, workers
from core.store import blobs as blob_store
from core.store.blobs import Blobs
from core.store.session import Database

log = structlog.get_logger(__name__)
Found = TypeVar("Found")

_AT_ONCE = 100
_BUDGET_S = 10.0
"""A run ends after about this: it shares Beat's worker with the ticks that dispatch and rescue."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How many of each were removed in one run."""

    expired_jobs: int
    chunk_blobs: int
    silent_workers: int
    idempotency_keys: int
    batches: int


def clean(database: Database, blobs: Blobs, *, worker_silence_s: float, idle_s: float) -> Cleaned:
    """One run over everything, at most `_AT_ONCE` jobs of each sort; the next tick goes on.

    `idle_s` is how long after a job's end no worker can be writing its chunks any more.
    """
    with database.transaction() as connection:
        silent = workers.forget_silent(connection, worker_silence_s)
        keys, old_batches = idempotency.delete_expired(connection), batches.delete_expired(connection)
    until = time.monotonic() + _BUDGET_S
    jobs_erased, blobs_erased = _expired_jobs(database, blobs, until), _chunk_blobs(database, blobs, idle_s, until)
    cleaned = Cleaned(jobs_erased, blobs_erased, silent, keys, old_batches)
    if cleaned.expired_jobs or cleaned.chunk_blobs:
        log.info("cleaned", expired_jobs=cleaned.expired_jobs, chunk_blobs=cleaned.chunk_blobs)
    return cleaned


def _expired_jobs(database: Database, blobs: Blobs, until: float) -> int:
    with database.transaction() as connection:
        expired = retention.expired(connection, _AT_ONCE)
    erased = 0
    for job_id, account_id in _in_time(expired, until):
        with _passed_over_if_it_fails(job_id):
            erase_job(database, blobs, job_id, account_id)
            erased += 1
    return erased


def _chunk_blobs(database: Database, blobs: Blobs, idle_s: float, until: float) -> int:
    with database.transaction() as connection:
        ended = retention.with_idle_chunk_blobs(connection, idle_s=idle_s, limit=_AT_ONCE)
    erased = 0
    for job_id in _in_time(ended, until):
        with _passed_over_if_it_fails(job_id):
            erased += blobs.erase(blob_store.chunks_prefix(job_id))
            with database.transaction() as connection:
                retention.mark_chunk_blobs_erased(connection, job_id)
    return erased


def _in_time(found: Iterable[Found], until: float) -> Iterator[Found]:
    """What is found, until the run's time is up; the next run goes on."""
    return itertools.takewhile(lambda _: time.monotonic() < until, found)


@contextmanager
def _passed_over_if_it_fails(job_id: UUID) -> Iterator[None]:
    """One job that cannot be erased must not keep the others from it."""
    try:
        yield
    except NotFound:
        log.info("somebody else erased this job", job=str(job_id))
    except OperationalError:
        raise  # the database is away: no other job would fare better
    except Exception:
        log.exception("could not erase; the next run tries again", job=str(job_id))
