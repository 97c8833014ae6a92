"""What deleting a job locks comes in the order in which everybody locks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from uuid_utils.compat import uuid7

from core.store import batches, idempotency, interventions, jobs
from core.store.accounts import Account
from core.store.batches import NewBatch
from core.store.idempotency import Answer, Begun, Outcome
from core.store.session import Database
from tests.integration import work
from tests.integration.repeated import begin
from tests.waiting import until


def delete(database: Database, job_id: UUID, account: Account) -> None:
    with database.transaction() as connection:
        interventions.delete(connection, job_id, account.id)


@contextmanager
def holding(database: Database, statement: str, while_waits: Callable[[], None]) -> Iterator[Connection]:
    """The transaction that holds what the statement locks, while the call waits for it."""
    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as connection:
            connection.execute(sa.text(statement))
            waiting = threads.submit(while_waits)
            until(lambda: work.waits_for_a_lock(database))
            yield connection
        waiting.result(30)


def test_deleting_a_job_waits_for_its_account_before_it_locks_its_key(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    begun = begin(database, account)
    assert isinstance(begun, Begun)
    with database.transaction() as connection:
        idempotency.complete(connection, begun, Outcome(bytes(32), Answer(202, "/", b"{}"), job_id=job_id))

    held = "SELECT FROM accounts FOR NO KEY UPDATE"
    with holding(database, held, lambda: delete(database, job_id, account)) as connection:
        connection.execute(sa.text("SELECT FROM idempotency_keys FOR UPDATE NOWAIT"))

    assert work.execute(database, "SELECT FROM jobs") == work.execute(database, "SELECT FROM idempotency_keys") == []


def test_deleting_a_job_waits_for_its_batch_before_it_locks_the_job(database: Database, account: Account) -> None:
    batch_id = uuid7()
    new = work.new_job(account, batch=(batch_id, 0))
    with database.transaction() as connection:
        batches.insert(connection, NewBatch(batch_id, account.id, new.lane, 1, [], 30))
        jobs.insert(connection, new)

    held = "SELECT FROM batches FOR NO KEY UPDATE"
    with holding(database, held, lambda: delete(database, new.id, account)) as connection:
        connection.execute(sa.text("SELECT FROM jobs FOR UPDATE NOWAIT"))

    assert work.execute(database, "SELECT FROM batches") == []
