"""Give back the chunks of workers that went silent. Beat rings it; a new child rings it for its predecessor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from core.store import admission, chunks, completion
from core.store.chunks import Orphan, ServerTime
from core.store.completion import Rescued
from core.store.session import Database

log = structlog.get_logger(__name__)

_WAIT_BRIEFLY = sa.text("SET LOCAL lock_timeout = '3s'")
"""A process that stands still in a transaction must not keep other lost chunks waiting."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a lease lasts, and a chunk waits for a message to be claimed or for a pause to end, at most."""

    lease_s: float
    wait_s: float


class Lookout:
    """Looks for leases that have run out, again and again, and knows when one says nothing about its worker.

    Nobody can renew a lease while the database cannot be reached, and a clock that is set forward ends them all at
    once. Both show as a gap between two looks. Workers that live then have a lease's length to be heard again, before
    leases are believed; gap upon gap puts that off, but for no longer than three leases.
    """

    def __init__(
        self,
        database: Database,
        waits: Waits,
        *,
        max_failures: int,
        server_time: Callable[[Connection], ServerTime] = chunks.server_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`round` is to be called at least every half of a lease."""
        self._database = database
        self._waits = waits
        self._max_failures = max_failures
        self._server_time = server_time
        self._clock = clock
        self._looked_at: datetime | None = None
        self._dark_since: float | None = None
        self._dark_until = clock()

    def round(self) -> int:
        """Requeue or fail every chunk whose lease has run out; returns how many. One that cannot be is passed over."""
        lease_s, now = self._waits.lease_s, self._clock()
        with self._database.transaction() as connection:
            there = self._server_time(connection)
            brought_near = chunks.forget_the_future(connection, lease_s=lease_s, wait_s=self._waits.wait_s)
        gap_s = 0.0 if self._looked_at is None else (there.now - self._looked_at).total_seconds()
        self._looked_at = there.now
        if brought_near or not 0 <= gap_s <= lease_s * 2 / 3:
            self._dark_since = now if self._dark_since is None else self._dark_since
            self._dark_until = min(now + lease_s, self._dark_since + 3 * lease_s)
            log.warning("no lease is believed for a while", gap_s=round(gap_s, 1), brought_near=brought_near)
        if 0 <= there.up_s < lease_s or now < self._dark_until:
            return 0
        self._dark_since = None
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
            connection.execute(_WAIT_BRIEFLY)
            outcome = completion.rescue(connection, orphan, max_failures=max_failures)
    except OperationalError as error:
        if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise  # the database is away: no other chunk would fare better
        log.warning("somebody holds the job of a lost chunk; the next look tries again", **named)
        return Rescued.UNTOUCHED
    except Exception:
        log.exception("could not rescue a chunk; the next run tries again", **named)
        return Rescued.UNTOUCHED
    if outcome is not Rescued.UNTOUCHED:
        log.warning("rescued a chunk", outcome=outcome, **named)
    return outcome
