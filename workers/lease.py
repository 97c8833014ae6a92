"""The heartbeat of a worker process: it says "I live", and keeps the lease of the chunk in work.

A thread renews the lease while the stage reports progress. A stage that hangs stops reporting, so its
lease runs out and `rescue` gives the chunk to another worker. A renewal that is refused means that the
attempt holds no more (cancelled, rescued, deleted): the stage learns it at its next `progress()`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import LeaseLost
from core.store import chunks, workers
from core.store.chunks import Claim
from core.store.session import Database
from core.store.workers import WorkerRecord

log = structlog.get_logger(__name__)

_REST_S = 1.0
"""Between two beats at least: many short chunks are not each told of, it would cost as much as working them."""


@dataclass(slots=True)
class Lease:
    """What a stage holds while it works: it calls `progress` at every step."""

    claim: Claim
    advanced_at: float = field(default_factory=time.monotonic)
    lost: bool = False

    def check(self) -> None:
        """Raises `LeaseLost` if the chunk belongs to somebody else by now. For a stage that waits."""
        if self.lost:
            raise LeaseLost()

    def progress(self, *_: object) -> None:
        """A step is done. Raises `LeaseLost` as `check` does."""
        self.check()
        self.advanced_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to beat, how long a lease lasts, and how long a stage may be without progress; in seconds."""

    heartbeat_s: float
    lease_s: float
    stall_s: float


class Heartbeat:
    """A thread that reports the worker and renews its lease every `heartbeat_s`, and when a chunk begins or ends."""

    def __init__(self, database: Database, pace: Pace, describe: Callable[[Claim | None], WorkerRecord]) -> None:
        self._database = database
        self._pace = pace
        self._describe = describe
        self._lease: Lease | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    @contextmanager
    def keep(self, claim: Claim) -> Iterator[Lease]:
        """Renew the claim's lease for the length of the block."""
        self._lease = lease = Lease(claim)
        self._wake.set()
        try:
            yield lease
        finally:
            self._lease = None
            self._wake.set()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._beat()
            except SQLAlchemyError as error:
                log.warning("heartbeat could not reach the database", error=str(error).split("\n")[0])
            except Exception:
                log.exception("heartbeat failed")
            self._wake.wait(self._pace.heartbeat_s)
            self._stopping.wait(began + min(_REST_S, self._pace.heartbeat_s) - time.monotonic())
            self._wake.clear()

    def _beat(self) -> None:
        lease = self._lease
        with self._database.transaction() as connection:
            workers.report(connection, self._describe(lease.claim if lease else None))
        if lease is None:
            return
        if time.monotonic() - lease.advanced_at > self._pace.stall_s:
            log.error("no progress; the lease is left to run out", chunk=str(lease.claim.chunk_id))
            return
        with self._database.transaction() as connection:
            lease.lost = not chunks.renew(connection, lease.claim, lease_s=self._pace.lease_s)
