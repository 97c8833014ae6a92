"""The chunks of workers that went silent go on elsewhere, but not for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from sqlalchemy.engine import Connection

from core.job import JobStatus
from core.store import chunks, completion, interventions
from core.store.accounts import Account
from core.store.chunks import Orphan, ServerTime
from core.store.completion import Rescued
from core.store.session import Database
from tests.integration import work
from workers.rescue import Lookout, rescue


def lose(database: Database) -> None:
    """Every lease runs out."""
    work.execute(database, "UPDATE chunks SET lease_until = now() - interval '1 second' WHERE status = 'running'")


def test_a_chunk_whose_lease_ran_out_waits_again(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.claim_one(database, job_id)
    lose(database)

    assert rescue(database, max_failures=3) == 1

    (row,) = work.chunk_rows(database, job_id)
    assert (row.status, row.failures, row.lease_until) == ("queued", 1, None)
    assert work.job(database, job_id).status is JobStatus.PROCESSING


def test_a_chunk_with_a_lease_is_left_alone(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.claim_one(database, job_id)

    assert rescue(database, max_failures=3) == 0
    assert work.chunk_rows(database, job_id)[0].status == "running"


def test_a_poison_chunk_fails_its_job_in_the_end(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    for _ in range(3):
        work.claim_one(database, job_id)
        lose(database)
        rescue(database, max_failures=3)

    failed = work.job(database, job_id)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobStatus.FAILED, "chunk_crashed")


def test_a_rescued_job_completes(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.prepare(database, job_id, 3)
    work.claim_one(database, job_id)
    lose(database)
    rescue(database, max_failures=3)

    assert work.finish(database, job_id).status is JobStatus.COMPLETED
    assert work.execute(database, "SELECT count(*) FROM segments")[0][0] == 3


def test_a_replaced_process_gives_back_what_its_predecessor_held_and_nothing_else(
    database: Database, account: Account
) -> None:
    held, other = work.submit(database, account), work.submit(database, account)
    work.claim_one(database, held, worker_id="w/0")
    work.claim_one(database, other, worker_id="w/1")

    assert rescue(database, max_failures=3, worker_id="w/0") == 1

    statuses = [work.chunk_rows(database, job_id)[0].status for job_id in (held, other)]
    assert statuses == ["queued", "running"]


def test_rescuers_at_once_charge_a_crash_once(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.claim_one(database, job_id)
    lose(database)

    work.together(6, *[lambda: rescue(database, max_failures=3)] * 6)

    assert [row.failures for row in work.chunk_rows(database, job_id)] == [1]


def test_a_crash_in_a_cancelled_job_is_nobodys_business(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.claim_one(database, job_id)
    with database.transaction() as connection:
        interventions.cancel(connection, job_id, account.id)

    assert rescue(database, max_failures=1) == 0
    assert work.job(database, job_id).status is JobStatus.CANCELLED


def test_a_lease_that_was_renewed_after_it_was_found_expired_is_kept(database: Database, account: Account) -> None:
    claimed = work.claim_one(database, work.submit(database, account), lease_s=-1)
    with database.transaction() as connection:
        (orphan,) = chunks.orphans(connection)
        chunks.renew(connection, claimed, lease_s=60)

    with database.transaction() as connection:
        assert completion.rescue(connection, orphan, max_failures=3) is Rescued.UNTOUCHED

    (row,) = work.chunk_rows(database, claimed.job_id)
    assert (row.status, row.failures) == ("running", 0)


def test_a_chunk_that_cannot_be_rescued_keeps_no_other_from_it(
    database: Database, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = work.submit(database, account), work.submit(database, account)
    for job_id in (bad, good):
        work.claim_one(database, job_id)
    lose(database)
    sound = completion.rescue

    def rescue_all_but_one(connection: Connection, orphan: Orphan, *, max_failures: int) -> Rescued:
        if orphan.job_id == bad:
            raise ValueError("a row that this release cannot read")
        return sound(connection, orphan, max_failures=max_failures)

    monkeypatch.setattr(completion, "rescue", rescue_all_but_one)

    assert rescue(database, max_failures=3) == 1
    assert [work.chunk_rows(database, job_id)[0].status for job_id in (bad, good)] == ["running", "queued"]


@dataclass
class Clocks:
    """The server's clock and this process's, both as the test sets them."""

    up_s: float = 1e6
    ahead_s: float = 0.0
    passed_s: float = 0.0
    lookout: Lookout = field(init=False)

    def there(self, connection: Connection) -> ServerTime:
        told = chunks.server_time(connection)
        return replace(told, now=told.now + timedelta(seconds=self.ahead_s), up_s=self.up_s)

    def go_on(self, seconds: float) -> None:
        self.ahead_s += seconds
        self.passed_s += seconds


@pytest.fixture
def clocks(database: Database) -> Clocks:
    clocks = Clocks()
    clocks.lookout = Lookout(
        database, lease_s=60, max_failures=3, server_time=clocks.there, clock=lambda: clocks.passed_s
    )
    return clocks


def an_hour_ahead(clocks: Clocks) -> None:
    clocks.ahead_s += 3600


def an_hour_back(clocks: Clocks) -> None:
    clocks.ahead_s -= 3600


def away_for_a_minute(clocks: Clocks) -> None:
    clocks.go_on(60)


def restarted(clocks: Clocks) -> None:
    clocks.up_s = 1


@pytest.mark.parametrize("happens", [an_hour_ahead, an_hour_back, away_for_a_minute, restarted])
def test_an_old_lease_says_nothing_while_nobody_could_renew_it(
    database: Database, account: Account, clocks: Clocks, happens: Callable[[Clocks], None]
) -> None:
    job_id = work.submit(database, account)
    work.claim_one(database, job_id)
    assert clocks.lookout.round() == 0
    happens(clocks)
    lose(database)

    assert clocks.lookout.round() == 0
    for _ in range(3):
        clocks.go_on(15)
        clocks.up_s += 15
        assert clocks.lookout.round() == 0
    assert work.chunk_rows(database, job_id)[0].status == "running"

    clocks.go_on(15)
    clocks.up_s += 15
    lose(database)
    assert clocks.lookout.round() == 1


def test_a_lookout_that_looks_in_time_rescues(database: Database, account: Account, clocks: Clocks) -> None:
    work.claim_one(database, work.submit(database, account))
    for _ in range(8):
        assert clocks.lookout.round() == 0
        clocks.go_on(30)
    lose(database)

    assert clocks.lookout.round() == 1


def test_a_clock_that_is_set_back_keeps_nobody_waiting_for_the_time_it_had(
    database: Database, account: Account, clocks: Clocks
) -> None:
    leased, pausing = work.submit(database, account), work.submit(database, account)
    work.claim_one(database, leased)
    clocks.lookout.round()
    work.execute(database, "UPDATE chunks SET lease_until = now() + interval '1 hour' WHERE status = 'running'")
    later = "UPDATE chunks SET dispatched_until = now() + interval '1 hour', retry_at = now() + interval '1 hour'"
    work.execute(database, later + " WHERE status = 'queued'")

    an_hour_back(clocks)
    clocks.lookout.round()

    rows = "SELECT greatest(lease_until, dispatched_until, retry_at) - now() AS left FROM chunks WHERE job_id = '{}'"
    assert work.execute(database, rows.format(leased))[0].left <= timedelta(seconds=60)
    assert work.execute(database, rows.format(pausing))[0].left <= timedelta(0)
