"""Delete what is old: expired jobs, and the chunk audio of ended ones.

A run goes on until all of it is gone or its time is up; then the next goes on behind the last job that this one tried.
A job whose blobs cannot be erased now is passed over, and tried again after the chore's period.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import structlog
from sqlalchemy.exc import OperationalError

from core import ownership
from core.erasure import erase_one_of_many
from core.errors import NotFound
from core.store import blobs as blob_store
from core.store import retention, reuse
from core.store.blobs import Blobs
from core.store.session import Database
from workers.upkeep import Slice, Swept

log = structlog.get_logger(__name__)

_AT_ONCE = 1000
"""Jobs of one look."""
_BEFORE_ALL = UUID(int=0)


def expired_jobs(database: Database, blobs: Blobs, run: Slice) -> Swept:
    """Erase jobs whose tier keeps them no longer, with all that belongs to them. Raises `Unavailable`."""
    ownership.check(database, blobs)
    accounts: dict[UUID, UUID] = {}

    def look(after: UUID) -> Sequence[UUID]:
        with database.transaction() as connection:
            found = retention.expired(connection, after, _AT_ONCE)
        accounts.update(found)
        return [job_id for job_id, _ in found]

    def erase(job_id: UUID) -> int:
        account_id = accounts.pop(job_id)
        with database.transaction() as connection:
            if not reuse.withdraw_expired(connection, job_id):
                return 0  # somebody has submitted the same again in between, and got this job
        erase_one_of_many(database, blobs, job_id, account_id)
        return 1

    return _all(look, erase, run)


def chunk_audio(database: Database, blobs: Blobs, run: Slice, *, idle_s: float) -> Swept:
    """Erase the chunk audio of jobs that ended `idle_s` ago, when no worker can be writing it any more.

    Raises `Unavailable`.
    """
    ownership.check(database, blobs)

    def look(after: UUID) -> Sequence[UUID]:
        with database.transaction() as connection:
            return retention.with_idle_chunk_blobs(connection, after, idle_s=idle_s, limit=_AT_ONCE)

    def erase(job_id: UUID) -> int:
        erased = blobs.erase(blob_store.chunks_prefix(job_id))
        with database.transaction() as connection:
            retention.mark_chunk_blobs_erased(connection, job_id)
        return erased

    return _all(look, erase, run)


def each(job_ids: Iterable[UUID], erase: Callable[[UUID], int], run: Slice) -> Swept:
    """Erase of each job, at least of one, until the run is over: then `resume` is the last that was tried.

    One that cannot be erased must not keep the others from it.
    """
    items, passed_over = 0, None
    for job_id in job_ids:
        try:
            items += erase(job_id)
        except NotFound:
            log.info("somebody else erased this job", job=str(job_id))
        except OperationalError:
            raise  # the database is away: no other job would fare better
        except Exception as error:
            log.exception("could not erase; the next run tries again", job=str(job_id))
            passed_over = error
        if run.over:
            return Swept(items, passed_over, resume=str(job_id))
    return Swept(items, passed_over)


def _all(look: Callable[[UUID], Sequence[UUID]], erase: Callable[[UUID], int], run: Slice) -> Swept:
    """Erase of every job that `look` finds, in the order of their ids, from where the run before stopped."""
    items, passed_over = 0, None
    after = UUID(run.resume) if run.resume else _BEFORE_ALL
    while found := look(after):
        swept = each(found, erase, run)
        items, passed_over = items + swept.items, swept.passed_over or passed_over
        if swept.resume is not None:
            return Swept(items, passed_over, resume=swept.resume)
        after = found[-1]
    return Swept(items, passed_over)
