"""An account works so many jobs at a time in each lane, whatever else happens; the others wait their turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from core.errors import MediaUnreadable
from core.job import JobKind, JobStatus
from core.lanes import Lane
from core.store import completion, interventions, jobs
from core.store.accounts import Account
from core.store.session import Database
from tests.integration import work
from workers.rescue import readmit


def admitted(database: Database) -> list[UUID]:
    return [row.id for row in work.execute(database, "SELECT id FROM jobs WHERE admitted_at IS NOT NULL ORDER BY id")]


def submit(database: Database, account: Account, n_jobs: int, lane: Lane = Lane.EXPRESS) -> list[UUID]:
    """So many jobs of an account that may work two at a time."""
    return [work.submit(database, account, JobKind.DOCUMENT, lane=lane, concurrent_jobs=2) for _ in range(n_jobs)]


def test_jobs_beyond_the_limit_wait_without_a_chunk(database: Database, account: Account) -> None:
    submitted = submit(database, account, 4)

    assert [len(work.queued(database, job_id)) for job_id in submitted] == [1, 1, 0, 0]
    assert {work.job(database, job_id).status for job_id in submitted} == {JobStatus.QUEUED}


def test_the_end_of_a_job_lets_the_oldest_of_those_that_wait_begin(database: Database, account: Account) -> None:
    first, second, third, fourth = submit(database, account, 4)

    assert work.finish(database, first).status is JobStatus.COMPLETED
    assert admitted(database) == [first, second, third]
    with database.transaction() as connection:
        interventions.cancel(connection, second, account.id)
    assert admitted(database) == [first, second, third, fourth]


def test_a_job_that_fails_makes_room_too(database: Database, account: Account) -> None:
    submitted = submit(database, account, 3)
    claimed = work.claim_one(database, submitted[0])
    with database.transaction() as connection:
        completion.fail(connection, claimed, MediaUnreadable(), max_failures=3)

    assert admitted(database) == submitted


def test_a_job_that_was_cancelled_while_it_waited_is_passed_over(database: Database, account: Account) -> None:
    first, _second, third, fourth = submit(database, account, 4)
    with database.transaction() as connection:
        interventions.cancel(connection, third, account.id)
    work.finish(database, first)

    assert work.job(database, third).status is JobStatus.CANCELLED
    assert fourth in admitted(database)


def test_batch_work_does_not_hold_up_an_express_job_of_its_own_account(database: Database, account: Account) -> None:
    submit(database, account, 5, Lane.BATCH)
    (urgent,) = submit(database, account, 1)

    assert urgent in admitted(database)


def test_one_account_does_not_take_the_room_of_another(database: Database, account: Account) -> None:
    submit(database, account, 5)
    other = submit(database, work.open_account(database, "grace"), 2)

    assert set(other) <= set(admitted(database))


def test_many_submits_and_ends_at_once_never_exceed_the_limit_and_leave_no_room_unused(
    database: Database, account: Account
) -> None:
    submitted = submit(database, account, 8)
    calls: list[Callable[[], object]] = [partial(work.finish, database, job_id) for job_id in submitted[:2]]
    calls += [partial(submit, database, account, 1)] * 12
    calls += [partial(cancel, database, job_id, account) for job_id in submitted[5:7]]

    answers = work.together(8, *calls)

    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    worked = "admitted_at IS NOT NULL AND status IN ('queued', 'processing')"
    ((n_worked,),) = work.execute(database, f"SELECT count(*) FROM jobs WHERE {worked}")
    assert n_worked == 2


def cancel(database: Database, job_id: UUID, account: Account) -> None:
    with database.transaction() as connection:
        interventions.cancel(connection, job_id, account.id)


def test_a_job_that_was_passed_over_while_it_was_locked_is_admitted_by_the_rescuer(
    database: Database, account: Account
) -> None:
    first = work.submit(database, account, JobKind.DOCUMENT, concurrent_jobs=1)
    second = work.submit(database, account, JobKind.DOCUMENT, concurrent_jobs=1)
    with database.transaction() as connection:
        jobs.lock(connection, second)
        work.finish(database, first)
    assert second not in admitted(database)

    assert readmit(database) == 1

    assert second in admitted(database)
    assert readmit(database) == 0


def test_erasing_a_job_that_was_tried_again_meanwhile_makes_room(database: Database, account: Account) -> None:
    first = work.submit(database, account, JobKind.DOCUMENT, concurrent_jobs=1)
    second = work.submit(database, account, JobKind.DOCUMENT, concurrent_jobs=1)
    with database.transaction() as connection:
        interventions.delete(connection, first, account.id)  # as the second step of an erasure, without the first

    assert second in admitted(database)


def test_an_older_lower_limit_holds_up_no_newer_job(database: Database, account: Account) -> None:
    for _ in range(6):
        work.submit(database, account, JobKind.DOCUMENT, concurrent_jobs=2)
    newer = [work.submit(database, account, JobKind.DOCUMENT, concurrent_jobs=10) for _ in range(4)]

    assert set(newer) <= set(admitted(database))
    assert len(admitted(database)) == 10
