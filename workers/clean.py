"""Delete what is old: expired jobs, and the chunk audio of ended ones.

A job whose blobs cannot be erased now is passed over and tried again by the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

import structlog
from sqlalchemy.exc import OperationalError

from core.erasure import erase_job
from core.errors import NotFound
from core.store import blobs as blob_store
from core.store import retention
from core.store.blobs import Blobs
from core.store.session import Database
from workers.upkeep import Slice, Swept

log = structlog.get_logger(__name__)

_AT_ONCE = 100
"""Jobs that one run looks at; the next one goes on."""


def expired_jobs(database: Database, blobs: Blobs, run: Slice) -> Swept:
    """Erase jobs whose tier keeps them no longer, with all that belongs to them."""
    with database.transaction() as connection:
        expired = dict(retention.expired(connection, _AT_ONCE))

    def erase(job_id: UUID) -> int:
        erase_job(database, blobs, job_id, expired[job_id])
        return 1

    return each(expired, erase, run)


def chunk_audio(database: Database, blobs: Blobs, run: Slice, *, idle_s: float) -> Swept:
    """Erase the chunk audio of jobs that ended `idle_s` ago, when no worker can be writing it any more."""
    with database.transaction() as connection:
        ended = retention.with_idle_chunk_blobs(connection, idle_s=idle_s, limit=_AT_ONCE)

    def erase(job_id: UUID) -> int:
        erased = blobs.erase(blob_store.chunks_prefix(job_id))
        with database.transaction() as connection:
            retention.mark_chunk_blobs_erased(connection, job_id)
        return erased

    return each(ended, erase, run)


def each(job_ids: Iterable[UUID], erase: Callable[[UUID], int], run: Slice) -> Swept:
    """Erase of each job, until the run is over. One that cannot be erased must not keep the others from it."""
    items, passed_over = 0, None
    for job_id in job_ids:
        if run.over:
            break
        try:
            items += erase(job_id)
        except NotFound:
            log.info("somebody else erased this job", job=str(job_id))
        except OperationalError:
            raise  # the database is away: no other job would fare better
        except Exception as error:
            log.exception("could not erase; the next run tries again", job=str(job_id))
            passed_over = error
    return Swept(items, passed_over)
