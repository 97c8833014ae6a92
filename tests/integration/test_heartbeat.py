"""A worker's lease is renewed while its stage moves on, and only then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import pytest

from core.errors import LeaseLost
from core.store import interventions
from core.store.accounts import Account
from core.store.chunks import Claim
from core.store.session import Database
from core.store.workers import WorkerRecord
from tests.integration import work
from tests.waiting import until
from workers.lease import Heartbeat, Lease, Pace

QUICK = Pace(heartbeat_s=0.02, lease_s=60, stall_s=60)


def describe(claim: Claim | None) -> WorkerRecord:
    return WorkerRecord("w/0", "host", 1, "cpu", ("express",), ("base",), claim.chunk_id if claim else None)


@contextmanager
def beating(database: Database, pace: Pace = QUICK) -> Iterator[Heartbeat]:
    heartbeat = Heartbeat(database, pace, describe)
    try:
        yield heartbeat
    finally:
        heartbeat.stop()


@pytest.fixture
def claimed(database: Database, account: Account) -> Claim:
    return work.claim_one(database, work.submit(database, account), lease_s=1)


def lease_until(database: Database) -> datetime:
    (row,) = work.execute(database, "SELECT lease_until FROM chunks")
    found: datetime = row.lease_until
    return found


def last_seen(database: Database) -> datetime | None:
    rows = work.execute(database, "SELECT last_seen FROM workers")
    return rows[0].last_seen if rows else None


def another_beat(database: Database) -> None:
    """Wait until the worker has reported itself once more."""
    seen = last_seen(database)
    until(lambda: last_seen(database) != seen)


def current_chunk(database: Database) -> UUID | None:
    rows = work.execute(database, "SELECT current_chunk FROM workers")
    return rows[0].current_chunk if rows else None


def lost(lease: Lease) -> bool:
    try:
        lease.progress()
    except LeaseLost:
        return True
    return False


def renewed(database: Database, times: int = 2) -> None:
    """Wait until the lease was renewed so often."""
    for _ in range(times):
        before = lease_until(database)
        until(lambda: lease_until(database) > before)  # noqa: B023


def test_a_worker_reports_itself_again_and_again(database: Database) -> None:
    with beating(database):
        until(lambda: last_seen(database) is not None)
        another_beat(database)


def test_a_worker_says_which_chunk_it_works_and_when_it_is_done(database: Database, claimed: Claim) -> None:
    with beating(database) as heartbeat:
        with heartbeat.keep(claimed):
            until(lambda: current_chunk(database) == claimed.chunk_id)
        until(lambda: current_chunk(database) is None)


def test_many_short_chunks_are_told_of_about_once_a_second(database: Database, claimed: Claim) -> None:
    told: list[Claim | None] = []

    def tell(claim: Claim | None) -> WorkerRecord:
        told.append(claim)
        return describe(claim)

    began = time.monotonic()
    heartbeat = Heartbeat(database, Pace(heartbeat_s=60, lease_s=60, stall_s=60), tell)
    for _ in range(30):
        with heartbeat.keep(claimed):
            time.sleep(0.01)  # its work
    n_told, took_s = len(told), time.monotonic() - began
    until(lambda: len(told) > n_told)  # the last one, when it is its turn
    heartbeat.stop()

    assert n_told <= 1 + took_s
    assert told[-1] is None


def test_a_lease_is_renewed_while_its_stage_moves_on(database: Database, claimed: Claim) -> None:
    with beating(database) as heartbeat, heartbeat.keep(claimed) as lease:
        renewed(database, times=3)
        lease.progress()


def test_a_lease_is_not_renewed_after_its_stage_stalled(database: Database, claimed: Claim) -> None:
    with beating(database, Pace(0.02, 60, stall_s=0.1)) as heartbeat, heartbeat.keep(claimed) as lease:
        until(lambda: time.monotonic() - lease.advanced_at > 0.1)
        another_beat(database)  # whatever renewal was under way has ended before it
        at_stall = lease_until(database)
        another_beat(database)  # the worker lives on, the lease does not
        assert lease_until(database) == at_stall

        lease.progress()
        until(lambda: lease_until(database) > at_stall)


def test_a_lease_is_not_renewed_after_its_chunk_is_done(database: Database, claimed: Claim) -> None:
    with beating(database) as heartbeat:
        with heartbeat.keep(claimed):
            renewed(database, times=1)
        until(lambda: current_chunk(database) is None)
        at_end = lease_until(database)
        another_beat(database)

    assert lease_until(database) == at_end


def test_a_stage_learns_at_its_next_step_that_its_job_was_cancelled(
    database: Database, account: Account, claimed: Claim
) -> None:
    with beating(database) as heartbeat, heartbeat.keep(claimed) as lease:
        with database.transaction() as connection:
            interventions.cancel(connection, claimed.job_id, account.id)

        until(lambda: lost(lease))


def test_a_stage_learns_at_its_next_step_that_another_attempt_took_over(database: Database, claimed: Claim) -> None:
    with beating(database) as heartbeat, heartbeat.keep(claimed) as lease:
        work.execute(database, "UPDATE chunks SET attempt = attempt + 1")

        until(lambda: lost(lease))


def test_a_lost_lease_does_not_spoil_the_next_one(database: Database, account: Account, claimed: Claim) -> None:
    with beating(database) as heartbeat:
        with heartbeat.keep(claimed) as lease:
            work.execute(database, "DELETE FROM jobs")
            until(lambda: lost(lease))
        fresh = work.claim_one(database, work.submit(database, account))
        with heartbeat.keep(fresh) as lease:
            renewed(database)
            lease.progress()


def test_a_heart_beats_on_after_the_database_was_away(database: Database, database_url: str, claimed: Claim) -> None:
    operator = Database(database_url, pool_size=1)
    with beating(database) as heartbeat, heartbeat.keep(claimed) as lease:
        renewed(operator, times=1)
        work.execute(operator, "ALTER TABLE workers RENAME TO mislaid")
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        work.execute(operator, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        work.execute(operator, "ALTER TABLE mislaid RENAME TO workers")

        renewed(operator)
        lease.progress()
    operator.close()


def test_a_stopped_heart_is_silent(database: Database) -> None:
    with beating(database):
        until(lambda: last_seen(database) is not None)
        assert "heartbeat" in {thread.name for thread in threading.enumerate()}

    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
