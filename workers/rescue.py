"""Give back the chunks of workers that went silent. Beat rings it; a new child rings it for its predecessor."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import OperationalError

from core.store import admission, chunks, completion
from core.store.chunks import Orphan
from core.store.completion import Rescued
from core.store.session import Database

log = structlog.get_logger(__name__)


def rescue(database: Database, *, max_failures: int, worker_id: str | None = None, lease_s: float = 0.0) -> int:
    """Requeue or fail every chunk whose lease has run out; returns how many. One that cannot be is passed over.

    With `worker_id`, every chunk that this worker still holds: its process has just been replaced, so
    whatever it was doing died with it and there is no need to wait for the lease. `lease_s`: how long the database
    must have been up before an old lease tells of a dead worker, and not of an absence of the database.
    """
    with database.transaction() as connection:
        if worker_id is None and not chunks.leases_count(connection, lease_s):
            return 0
        orphans = chunks.orphans(connection, worker_id=worker_id)
    return sum(_rescue_one(database, orphan, max_failures) is not Rescued.UNTOUCHED for orphan in orphans)


def readmit(database: Database) -> int:
    """Admit the jobs that wait although their account has room; returns for how many accounts and lanes."""
    with database.transaction() as connection:
        found = admission.with_room(connection)
    for account_id, lane in found:
        with database.transaction() as connection:
            admission.admit(connection, account_id, lane)
        log.info("admitted what was passed over", account=str(account_id), lane=lane)
    return len(found)


def _rescue_one(database: Database, orphan: Orphan, max_failures: int) -> Rescued:
    named = {"chunk": str(orphan.chunk_id), "job": str(orphan.job_id)}
    try:
        with database.transaction() as connection:
            outcome = completion.rescue(connection, orphan, max_failures=max_failures)
    except OperationalError:
        raise  # the database is away: no other chunk would fare better
    except Exception:
        log.exception("could not rescue a chunk; the next run tries again", **named)
        return Rescued.UNTOUCHED
    if outcome is not Rescued.UNTOUCHED:
        log.warning("rescued a chunk", outcome=outcome, **named)
    return outcome
