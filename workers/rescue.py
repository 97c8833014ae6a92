"""Give back the chunks of workers that went silent. Beat rings it; a new child rings it for its predecessor."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from core.store import admission, chunks, completion
from core.store.chunks import Orphan, ServerTime
from core.store.completion import Rescued
from core.store.session import Database

log = structlog.get_logger(__name__)


class Lookout:
    """Looks for leases that have run out, again and again, and knows when one says nothing about its worker.

    Nobody can renew a lease while the database cannot be reached, and a clock that is set forward ends them all at
    once. Both show as a gap between two looks. Workers that live then have a lease's length to be heard again.
    """

    def __init__(
        self,
        database: Database,
        *,
        lease_s: float,
        max_failures: int,
        server_time: Callable[[Connection], ServerTime] = chunks.server_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`round` is to be called at least every half of `lease_s`."""
        self._database = database
        self._lease_s = lease_s
        self._max_failures = max_failures
        self._server_time = server_time
        self._clock = clock
        self._looked_at: datetime | None = None
        self._in_the_dark_until = clock()

    def round(self) -> int:
        """Requeue or fail every chunk whose lease has run out; returns how many. One that cannot be is passed over."""
        with self._database.transaction() as connection:
            time_there = self._server_time(connection)
            since = timedelta(0) if self._looked_at is None else time_there.now - self._looked_at
            if since < timedelta(0):
                chunks.follow_the_clock_back(connection, self._lease_s)
        self._looked_at = time_there.now
        if not timedelta(0) <= since <= timedelta(seconds=self._lease_s * 2 / 3):
            log.warning("leases are not looked at for a while", gap_s=since.total_seconds(), for_s=self._lease_s)
            self._in_the_dark_until = self._clock() + self._lease_s
        if 0 <= time_there.up_s < self._lease_s or self._clock() < self._in_the_dark_until:
            return 0
        return rescue(self._database, max_failures=self._max_failures)


def rescue(database: Database, *, max_failures: int, worker_id: str | None = None) -> int:
    """Requeue or fail every chunk whose lease has run out; returns how many. One that cannot be is passed over.

    With `worker_id`, every chunk that this worker still holds: its process has just been replaced, so
    whatever it was doing died with it and there is no need to wait for the lease.
    """
    with database.transaction() as connection:
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
