"""What the clean-up looks for: jobs past their retention, chunk audio that nobody needs, blobs that no job owns."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.job import JobStatus
from core.store.tables import jobs


def expired(connection: Connection, after: UUID, limit: int) -> list[tuple[UUID, UUID]]:
    """(job, account) of jobs whose retention has ended, by their ids: those after this one."""
    query = sa.select(jobs.c.id, jobs.c.account_id).where(jobs.c.expires_at < sa.func.now(), jobs.c.id > after)
    return [(row.id, row.account_id) for row in connection.execute(query.order_by(jobs.c.id).limit(limit))]


def with_idle_chunk_blobs(connection: Connection, after: UUID, *, idle_s: float, limit: int) -> list[UUID]:
    """Jobs that ended `idle_s` ago, whose chunk audio can go, by their ids: those after this one.

    One that failed keeps its audio, to be tried again.
    """
    ended_before = sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, idle_s)
    query = (
        sa.select(jobs.c.id)
        .where(jobs.c.finished_at < ended_before, jobs.c.chunk_blobs_erased_at.is_(None))
        .where(jobs.c.status != JobStatus.FAILED, jobs.c.id > after)
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return list(connection.scalars(query))


def mark_chunk_blobs_erased(connection: Connection, job_id: UUID) -> None:
    """Remember that the chunk audio is gone."""
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(chunk_blobs_erased_at=sa.func.now()))


def ownerless(connection: Connection, job_ids: Collection[UUID]) -> set[UUID]:
    """Those of these ids that no job has."""
    found = connection.scalars(sa.select(jobs.c.id).where(jobs.c.id.in_(job_ids)))
    return set(job_ids) - set(found)
