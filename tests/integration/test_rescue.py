"""The chunks of workers that went silent go on elsewhere, but not for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from sqlalchemy.engine import Connection

from core.job import JobStatus
from core.store import chunks, completion, interventions, jobs
from core.store.accounts import Account
from core.store.chunks import Orphan, ServerTime
from core.store.completion import Rescued
from core.store.session import Database
from tests.integration import work
from workers.rescue import Lookout, Waits, rescue


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
        self.set_ahead(seconds)
        self.passed_s += seconds

    def set_ahead(self, seconds: float) -> None:
        self.ahead_s += seconds
        self.up_s += seconds


@pytest.fixture
def clocks(database: Database) -> Clocks:
    clocks = Clocks()
    clocks.lookout = Lookout(
        database, Waits(lease_s=60, wait_s=90), max_failures=3, server_time=clocks.there, clock=lambda: clocks.passed_s
    )
    return clocks


def an_hour_ahead(clocks: Clocks) -> None:
    clocks.set_ahead(3600)


def an_hour_back(clocks: Clocks) -> None:
    clocks.set_ahead(-3600)


def back_to_before_the_server_began(clocks: Clocks) -> None:
    clocks.set_ahead(-2e6)


def away_for_a_minute(clocks: Clocks) -> None:
    clocks.go_on(60)


def restarted(clocks: Clocks) -> None:
    clocks.up_s = 1


@pytest.mark.parametrize(
    "happens", [an_hour_ahead, an_hour_back, back_to_before_the_server_began, away_for_a_minute, restarted]
)
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
        assert clocks.lookout.round() == 0
    assert work.chunk_rows(database, job_id)[0].status == "running"

    clocks.go_on(15)
    assert clocks.lookout.round() == 1


def test_a_lookout_that_looks_in_time_rescues(database: Database, account: Account, clocks: Clocks) -> None:
    work.claim_one(database, work.submit(database, account))
    for _ in range(8):
        assert clocks.lookout.round() == 0
        clocks.go_on(30)
    lose(database)

    assert clocks.lookout.round() == 1


def test_a_lookout_that_always_comes_late_rescues_all_the_same(
    database: Database, account: Account, clocks: Clocks
) -> None:
    work.claim_one(database, work.submit(database, account))
    lose(database)
    clocks.lookout.round()
    rescued = work.submit(database, account)
    work.claim_one(database, rescued)
    lose(database)
    found = []
    for _ in range(6):
        clocks.go_on(50)
        found.append(clocks.lookout.round())

    assert sum(found) == 1


def test_a_clock_that_was_set_back_keeps_nobody_waiting_for_the_time_it_had(
    database: Database, account: Account, clocks: Clocks
) -> None:
    """Also where nobody saw it: this is the first look."""
    leased, pausing, sent = (work.submit(database, account) for _ in range(3))
    work.claim_one(database, leased)
    later = {
        leased: "lease_until = now() + interval '1 hour'",
        pausing: "retry_at = now() + interval '1 hour'",
        sent: "dispatched_until = now() + interval '1 hour'",
    }
    for job_id, column in later.items():
        work.execute(database, f"UPDATE chunks SET {column} WHERE job_id = '{job_id}'")

    clocks.lookout.round()

    left = "SELECT greatest(lease_until, dispatched_until, retry_at) - now() AS left FROM chunks WHERE job_id = '{}'"
    assert timedelta(0) < work.execute(database, left.format(leased))[0].left <= timedelta(seconds=60)
    assert work.execute(database, left.format(pausing))[0].left <= timedelta(0)
    assert work.execute(database, left.format(sent))[0].left <= timedelta(0)


def test_waits_of_a_usual_length_are_left_alone(database: Database, account: Account, clocks: Clocks) -> None:
    job_id = work.submit(database, account)
    work.execute(database, "UPDATE chunks SET retry_at = now() + interval '90 seconds'")

    clocks.lookout.round()

    left = work.execute(database, f"SELECT retry_at - now() AS left FROM chunks WHERE job_id = '{job_id}'")
    assert left[0].left > timedelta(seconds=80)


def test_a_lost_chunk_whose_job_somebody_holds_keeps_no_other_waiting(database: Database, account: Account) -> None:
    held, free = work.submit(database, account), work.submit(database, account)
    for job_id in (held, free):
        work.claim_one(database, job_id)
    lose(database)
    with database.transaction() as holding:
        jobs.lock(holding, held)
        assert rescue(database, max_failures=3) == 1

    assert [work.chunk_rows(database, job_id)[0].status for job_id in (held, free)] == ["running", "queued"]
