"""Offering a finished job to whoever submits the same again, so that nobody waits or pays for it twice.

`core.content_key` says what the same is; `service.reused` answers with the job that is found here. A job that is about
to be erased is withdrawn first: whoever was offered it before has extended it, and then it is not erased. One whose
vectors were dropped (`reindexes.drop`) is no longer what a new job would be, and is passed over.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection

from core.job import JobStatus
from core.store import jobs as job_store
from core.store.jobs import Job, NewJob
from core.store.tables import jobs, passages, vectors

_DAY_S = 86400


def find(connection: Connection, new: NewJob) -> Job | None:
    """The account's newest completed job that is the same work under the same metadata; None if there is none.

    It is kept for as long as the new job would have been, and stays locked until the end of the transaction.
    """
    if new.content_key is None:
        return None
    same = (
        sa.select(jobs.c.id)
        .where(jobs.c.account_id == new.account_id, jobs.c.content_key == new.content_key.digest)
        .where(jobs.c.status == JobStatus.COMPLETED, jobs.c.expires_at > sa.func.now())
        .where(jobs.c.metadata == sa.cast(dict(new.metadata), JSONB))
        .where(~_lacks_vectors(new.content_key.embedding))
        .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        .limit(1)
        .with_for_update(key_share=True)
    )
    job_id = connection.scalar(same)
    return None if job_id is None else _kept(connection, job_id, new.retention_days)


def _lacks_vectors(model: str | None) -> sa.ColumnElement[bool]:
    """Whether a passage of the job has no vector of the model any more."""
    if model is None:
        return sa.false()
    own = sa.and_(vectors.c.passage_id == passages.c.id, vectors.c.model == model)
    of_job = sa.select(sa.literal(1)).select_from(passages.outerjoin(vectors, own)).correlate(jobs)
    return of_job.where(passages.c.job_id == jobs.c.id, vectors.c.passage_id.is_(None)).exists()


def _kept(connection: Connection, job_id: UUID, retention_days: float) -> Job:
    as_new = sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, retention_days * _DAY_S)
    until = sa.func.greatest(jobs.c.expires_at, as_new)
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(expires_at=until))
    return job_store.get(connection, job_id)


def withdraw(connection: Connection, job_id: UUID) -> None:
    """Offer a job to nobody any more: it is being erased."""
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(content_key=None))


def withdraw_expired(connection: Connection, job_id: UUID) -> bool:
    """`withdraw`, unless the job has been extended since somebody saw that it had expired; whether it was done."""
    old = sa.and_(jobs.c.id == job_id, jobs.c.expires_at < sa.func.now())
    return connection.execute(sa.update(jobs).where(old).values(content_key=None)).rowcount > 0
