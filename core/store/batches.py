"""Batches: many inputs submitted at once. How one stands is read from its jobs; the row keeps what no job can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.errors import Conflict, NotFound
from core.job import ENDED, JobStatus
from core.lanes import Lane
from core.store import accounts, interventions
from core.store import jobs as job_store
from core.store.jobs import Job
from core.store.tables import batches


@dataclass(frozen=True, slots=True)
class Refused:
    """An item of which no job was made: its place among the items, from 0, what it was called, and why."""

    index: int
    name: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch about to be accepted, of so many items; its jobs are inserted after it."""

    id: UUID
    account_id: UUID
    lane: Lane
    total: int
    refused: Sequence[Refused]
    retention_days: float


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it stands; `jobs` are those that have not been erased, in the order of the items."""

    id: UUID
    lane: Lane
    total: int
    refused: Sequence[Refused]
    jobs: Sequence[Job]
    created_at: datetime
    cancelled_at: datetime | None
    expires_at: datetime

    @property
    def counts(self) -> Mapping[JobStatus, int]:
        """How many of its jobs have each status."""
        return Counter(job.status for job in self.jobs)

    @property
    def erased(self) -> int:
        """How many of its jobs are no more."""
        return self.total - len(self.refused) - len(self.jobs)

    @property
    def status(self) -> JobStatus:
        """When all has ended: `completed` if one of the jobs that are there was, else `failed`.

        What has been erased counts for nothing: it may have failed.
        """
        counts = self.counts
        if any(counts[status] for status in JobStatus if status not in ENDED):
            return JobStatus.QUEUED if counts[JobStatus.QUEUED] == len(self.jobs) else JobStatus.PROCESSING
        if self.cancelled_at is not None:
            return JobStatus.CANCELLED
        return JobStatus.COMPLETED if counts[JobStatus.COMPLETED] else JobStatus.FAILED


def insert(connection: Connection, new: NewBatch) -> None:
    """Accept a batch in the caller's transaction, which inserts its jobs next. Raises `Unauthorized` as those do."""
    retention = sa.func.make_interval(0, 0, 0, 0, 0, 0, new.retention_days * 86400)
    with accounts.existing():
        connection.execute(
            sa.insert(batches).values(
                id=new.id,
                account_id=new.account_id,
                lane=new.lane,
                total=new.total,
                refused=[asdict(one) for one in new.refused],
                expires_at=sa.func.now() + retention,
            ),
        )


def get(connection: Connection, batch_id: UUID, account_id: UUID) -> Batch:
    """A batch of the account. Raises `NotFound`."""
    row = connection.execute(
        sa.select(batches).where(batches.c.id == batch_id, batches.c.account_id == account_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no batch {batch_id} in this account.")
    return Batch(
        id=row.id,
        lane=Lane(row.lane),
        total=row.total,
        refused=[Refused(**one) for one in row.refused],
        jobs=job_store.of_batch(connection, batch_id),
        created_at=row.created_at,
        cancelled_at=row.cancelled_at,
        expires_at=row.expires_at,
    )


def cancel(connection: Connection, batch_id: UUID, account_id: UUID) -> Batch:
    """End the jobs that have not ended, all at once. Raises `NotFound`, `Conflict`."""
    this = (batches.c.id == batch_id, batches.c.account_id == account_id)
    # Of two who cancel at once the second sees what the first has done.
    connection.execute(sa.select(batches.c.id).where(*this).with_for_update(key_share=True))
    batch = get(connection, batch_id, account_id)
    n_ended = interventions.end_batch(connection, batch_id)
    if n_ended == 0 and batch.cancelled_at is None:
        raise Conflict("The batch has ended already.")
    cancelled = sa.update(batches).where(*this, batches.c.cancelled_at.is_(None))
    connection.execute(cancelled.values(cancelled_at=sa.func.now()))
    return get(connection, batch_id, account_id)


def delete_expired(connection: Connection) -> int:
    """Forget old batches of which nothing was accepted; returns how many. Others go with their jobs."""
    old = batches.c.expires_at < sa.func.now()
    return connection.execute(sa.delete(batches).where(old, interventions.JOBLESS)).rowcount
