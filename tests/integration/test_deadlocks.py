"""Whatever meets on one job at once: nobody waits for somebody who waits for him."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from core.errors import Conflict, Internal, LeaseLost
from core.job import JobKind, JobStatus
from core.quota import Cost, Unit
from core.store import batches, completion, interventions, jobs, turns, usage
from core.store.accounts import Account
from core.store.batches import NewBatch
from core.store.chunks import Claim, Orphan
from core.store.completion import Rescued
from core.store.session import Database
from tests.integration import work


def fail(database: Database, claimed: Claim) -> bool:
    with database.transaction() as connection:
        return completion.fail(connection, claimed, Internal(), max_failures=3)


def rescue(database: Database, claimed: Claim) -> Rescued:
    with database.transaction() as connection:
        orphan = Orphan(claimed.chunk_id, claimed.job_id, claimed.attempt, known_dead=True)
        return completion.rescue(connection, orphan, max_failures=3)


def cancel(database: Database, job_id: UUID, account: Account) -> None:
    with database.transaction() as connection:
        interventions.cancel(connection, job_id, account.id)


@pytest.mark.timeout(60)
def test_cancelling_while_chunks_complete_fail_and_are_rescued_never_deadlocks(
    database: Database, account: Account
) -> None:
    calls: list[Callable[[], object]] = []
    for _ in range(6):
        job_id = work.submit(database, account)
        for n, chunk_id in enumerate(work.prepare(database, job_id, 12)):
            claimed = work.claim(database, chunk_id)
            assert claimed is not None
            calls.append(lambda n=n, c=claimed: (work.complete, fail, rescue)[n % 3](database, c))  # type: ignore[misc]
        calls += [lambda each=job_id: cancel(database, each, account)] * 2  # type: ignore[misc]
    random.Random(7).shuffle(calls)

    answers = work.together(15, *calls)

    assert [answer for answer in answers if isinstance(answer, Exception)] == [
        answer for answer in answers if isinstance(answer, (LeaseLost, Conflict))
    ]
    with database.transaction() as connection:
        ended = jobs.list_of(connection, account.id, jobs.JobFilter())
    assert {job.status for job in ended} == {JobStatus.CANCELLED}


@pytest.mark.timeout(60)
def test_dispatching_while_jobs_are_cancelled_never_deadlocks(database: Database, account: Account) -> None:
    for n in range(100):
        work.report_worker(database, "express", worker_id=f"w/{n}")
    ids = [work.submit(database, account) for _ in range(12)]
    for job_id in ids:
        work.prepare(database, job_id, 60)

    def dispatch() -> None:
        with database.transaction() as connection:
            turns.dispatch(connection, replace(work.PROMISES, redispatch_s=0))

    for _ in range(3):
        dispatch()  # rows move within the table, so two statements meet them in different orders
    calls: list[Callable[[], None]] = []
    for job_id in ids:
        calls += [dispatch, lambda each=job_id: cancel(database, each, account), dispatch]  # type: ignore[misc]

    assert [answer for answer in work.together(8, *calls) if answer is not None] == []


@pytest.mark.timeout(60)
def test_cancelling_mixed_batches_and_granting_at_once_never_deadlocks(database: Database, account: Account) -> None:
    for _ in range(4):
        batch_ids = [
            submit_batch(database, account, kinds) for kinds in (list(work.UPLOADED), list(work.UPLOADED)[::-1])
        ]
        calls: list[Callable[[], object]] = [
            *(lambda each=batch_id: cancel_batch(database, each, account) for batch_id in batch_ids),
            lambda: grant(database, account),
        ]

        assert [answer for answer in work.together(3, *calls) if isinstance(answer, Exception)] == []


def submit_batch(database: Database, account: Account, kinds: list[JobKind]) -> UUID:
    """A batch of many jobs that all hold some quota."""
    batch_id = uuid7()
    news = [work.new_job(account, kind, batch=(batch_id, n)) for n, kind in enumerate(kinds * 6)]
    with database.transaction() as connection:
        batches.insert(connection, NewBatch(batch_id, account.id, news[0].lane, len(news), [], 30))
        jobs.insert(connection, *news)
    for new in news:
        work.prepare(database, new.id, 1)
    return batch_id


def cancel_batch(database: Database, batch_id: UUID, account: Account) -> None:
    with database.transaction() as connection:
        batches.cancel(connection, batch_id, account.id)


def grant(database: Database, account: Account) -> None:
    with database.transaction() as connection:
        for unit in Unit:
            usage.grant(connection, account.id, Cost(unit, Decimal(1)))
