"""The moments at which a fault strikes, held still by locks in PostgreSQL: no code of the service knows of them.

A worker that waits for a lock is exactly before its claim, or before its commit; one that waits to note its speed has
just committed and has not yet acknowledged its message.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg

from core.job import Stage
from tests.faults.deployment import Deployment
from tests.waiting import until

WITHIN_S = 60.0


class Moment(StrEnum):
    """Of one attempt at one chunk."""

    BEFORE_CLAIM = "before the claim"
    AT_WORK = "at work"
    BEFORE_COMMIT = "before the commit"
    AFTER_COMMIT = "after the commit"


@dataclass(frozen=True)
class Caught:
    """The chunk that is at the moment, and the database's time of it."""

    job_id: UUID
    chunk_id: UUID
    at: object


@contextmanager
def caught(
    whole: Deployment, moment: Moment, stage: Stage, worker: str, submit: Callable[[], UUID]
) -> Iterator[Caught]:
    """Submit a job and hold the worker that works its first chunk of the stage at the moment, for the block's time."""
    match moment:
        case Moment.BEFORE_CLAIM:
            with _before_claim(whole, stage, worker, submit) as found:
                yield found
        case Moment.AT_WORK:
            with psycopg.connect(whole.database_url, autocommit=True) as connection:
                job_id = submit()
                yield _caught(connection, job_id, _chunk(connection, job_id, stage, "running"))
        case Moment.BEFORE_COMMIT:
            with psycopg.connect(whole.database_url, autocommit=True) as connection:
                job_id = submit()
                chunk_id = _chunk(connection, job_id, stage, "running")
                with _locked(connection, job_id):
                    _await_blocked(whole, connection)
                    yield _caught(connection, job_id, chunk_id)
        case Moment.AFTER_COMMIT:
            with suppress(psycopg.OperationalError), psycopg.connect(whole.database_url) as connection:
                connection.execute("LOCK TABLE speeds IN EXCLUSIVE MODE")
                job_id = submit()
                with psycopg.connect(whole.database_url, autocommit=True) as looking:
                    chunk_id = _chunk(looking, job_id, stage, "done")
                    _await_blocked(whole, connection)
                    yield _caught(looking, job_id, chunk_id)


@contextmanager
def account_locked(whole: Deployment) -> Iterator[Callable[[], object]]:
    """Nobody's submit can commit; what is given tells whether somebody's waits for that."""
    with (
        psycopg.connect(whole.database_url, autocommit=True) as looking,
        psycopg.connect(whole.database_url) as connection,
    ):
        connection.execute("SELECT FROM accounts FOR NO KEY UPDATE")
        waiting = "SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        yield lambda: looking.execute(waiting, [connection.info.backend_pid]).fetchall()


@contextmanager
def _before_claim(whole: Deployment, stage: Stage, worker: str, submit: Callable[[], UUID]) -> Iterator[Caught]:
    children = whole.children(worker)
    whole.signal(signal.SIGSTOP, *children)  # or it would be quicker than the lock
    job_id = submit()
    with psycopg.connect(whole.database_url, autocommit=True) as connection:
        chunk_id = _chunk(connection, job_id, stage, "queued")
        with _locked(connection, job_id):
            whole.signal(signal.SIGCONT, *children)
            _await_blocked(whole, connection)
            yield _caught(connection, job_id, chunk_id)


@contextmanager
def _locked(connection: psycopg.Connection, job_id: UUID) -> Iterator[None]:
    """The job's row, until the block ends or the server is gone, and the lock with it."""
    with suppress(psycopg.OperationalError), connection.transaction():
        connection.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", [job_id])
        yield


def _chunk(connection: psycopg.Connection, job_id: UUID, stage: Stage, status: str) -> UUID:
    """The job's chunk of that stage and status that is first, as soon as there is one."""
    sent = "AND dispatched_until IS NOT NULL" if status == "queued" else ""
    query = f"SELECT id FROM chunks WHERE job_id = %s AND stage = %s AND status = %s {sent} ORDER BY ordinal LIMIT 1"
    found: list[Any] = []

    def there() -> bool:
        found[:] = connection.execute(query.encode(), [job_id, str(stage), status]).fetchall()
        return bool(found)

    until(there, within_s=WITHIN_S)
    chunk_id: UUID = found[0][0]
    return chunk_id


def _await_blocked(whole: Deployment, holder: psycopg.Connection) -> None:
    """Wait until somebody waits for a lock of this connection."""
    pid = holder.info.backend_pid
    with psycopg.connect(whole.database_url, autocommit=True) as looking:
        waiting = "SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        until(lambda: looking.execute(waiting, [pid]).fetchall(), within_s=WITHIN_S)


def _caught(connection: psycopg.Connection, job_id: UUID, chunk_id: UUID) -> Caught:
    (now,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
    return Caught(job_id, chunk_id, now)
