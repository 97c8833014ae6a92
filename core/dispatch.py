"""From the database to the broker: pick the fairest next chunks, publish their ids.

`Bell.ring()` is called after every commit that makes work; it returns at once and many rings become one
round. Beat calls `Dispatcher.round()` every few seconds as well, because a message can always be lost.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from core.store import turns
from core.store.session import Database
from core.store.turns import Dispatched, Promises

log = structlog.get_logger(__name__)

WORKER_SILENCE_BEATS = 3
"""A worker that missed this many heartbeats is taken for gone."""


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Fills the window of every queue."""

    database: Database
    celery: Celery
    promises: Promises

    def round(self) -> int:
        """Dispatch what fits; returns how many messages were published."""
        with self.database.transaction() as connection:
            picked = turns.dispatch(connection, self.promises)
        published = self._publish(picked)
        if published < len(picked):
            with self.database.transaction() as connection:
                turns.undispatch(connection, [chunk.chunk_id for chunk in picked[published:]])
        return published

    def _publish(self, picked: list[Dispatched]) -> int:
        for published, chunk in enumerate(picked):
            try:
                self.celery.send_task(
                    chunk.stage,
                    args=[str(chunk.chunk_id)],
                    queue=chunk.queue,
                    retry=False,
                    ignore_result=True,  # or Celery would subscribe to an answer that never comes
                )
            except (OperationalError, OSError) as error:
                log.warning("broker unreachable; the next dispatch tick tries again", error=str(error))
                return published
        return len(picked)


class Rounds(Protocol):
    """What a bell rings for: the dispatcher, or Beat's upkeep."""

    def round(self) -> int:
        """Do what there is to do; returns how much that was."""


class Bell:
    """Runs rounds on a thread of its own, so that a submit never waits for the broker."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._rung = threading.Event()
        self._closed = False
        name = f"{type(rounds).__name__.lower()}-bell"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """There is new work. Never blocks and never raises."""
        self._rung.set()

    def close(self) -> None:
        """Finish a round in progress and stop."""
        self._closed = True
        self._rung.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            self._rung.wait()
            self._rung.clear()
            try:
                self._rounds.round()
            except Exception:
                log.exception("a round failed; Beat's next tick tries again", thread=self._thread.name)
            if self._closed:
                return
