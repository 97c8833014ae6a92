"""Documents with vectors of an old model, and a reindex of them, worked chunk by chunk as a worker does."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from uuid_utils.compat import uuid7

from core.job import JobKind
from core.lanes import Lane
from core.options import ReindexOptions
from core.store import jobs, reindexes
from core.store.accounts import Account
from core.store.jobs import JobInput, NewJob
from core.store.results import Embedded, Prepared
from core.store.session import Database
from core.work import PassageBatch
from tests.integration import work
from workers.attempts import Attempts

OLD = "old"
"""A model that no registry knows any more; its vectors have three dimensions."""
NEW = "fake"


def document(database: Database, account: Account, *texts: str, model: str = OLD) -> UUID:
    """A completed document with these passages."""
    job_id = prepared(database, account, *texts)
    embed = work.claim_one(database, job_id)
    passages = [work.passage(text, 1) for text in texts]
    work.complete(database, embed, Embedded(passages, [work.VECTOR] * len(texts), model))
    work.complete(database, work.claim_one(database, job_id))
    return job_id


def prepared(database: Database, account: Account, *texts: str) -> UUID:
    """A document whose passages have no vectors yet."""
    job_id = work.submit(database, account, JobKind.DOCUMENT)
    passages = [work.passage(text, 1) for text in texts]
    found = Prepared([PassageBatch(len(texts))], pages=1, texts=[passages])
    work.complete(database, work.claim_one(database, job_id), found)
    return job_id


def begin(database: Database, operator: Account, model: str = NEW) -> UUID:
    """A reindex that was accepted."""
    limits = {"retention_days": 30.0, "concurrent_jobs": 10}
    asked = (JobInput("passages", model), ReindexOptions(model=model))
    new = NewJob(uuid7(), operator.id, JobKind.REINDEX, Lane.BATCH, operator.tier, *asked, {}, **limits)  # type: ignore[arg-type]
    with database.transaction() as connection, reindexes.one_at_a_time():
        jobs.insert(connection, new)
    return new.id


def finish(attempts: Attempts, job_id: UUID) -> None:
    """Work what is queued of a job until nothing is."""
    while queued := work.queued(attempts.context.database, job_id):
        attempts.work(queued[0])


def embedded(database: Database, model: str = NEW) -> Sequence[str]:
    """The texts of the passages that have a vector of the model, in order; each as often as it has one."""
    query = "SELECT text FROM passages p JOIN vectors v ON v.passage_id = p.id WHERE model = :model ORDER BY p.id"
    return [row.text for row in work.execute(database, query, model=model)]
