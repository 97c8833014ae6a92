"""Jobs are listed, cancelled and erased by their owner, and by nobody else."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy.engine import Connection

from core.errors import Conflict, NotFound
from core.job import JobKind, JobStatus, Stage
from core.lanes import Lane
from core.options import DocumentOptions
from core.store import interventions, jobs, retention
from core.store.accounts import Account
from core.store.jobs import Job, JobFilter
from core.store.session import Database
from tests.integration import work

TABLES = ("jobs", "chunks", "segments", "passages", "vectors")


def listed(database: Database, account: Account, wanted: JobFilter | None = None) -> list[Job]:
    with database.transaction() as connection:
        return jobs.list_of(connection, account.id, wanted or JobFilter())


def cancel(database: Database, job_id: UUID, account: Account) -> Job:
    with database.transaction() as connection:
        return interventions.cancel(connection, job_id, account.id)


def delete(database: Database, job_id: UUID, account: Account) -> None:
    with database.transaction() as connection:
        interventions.delete(connection, job_id, account.id)


def expired(database: Database, limit: int = 10) -> list[tuple[UUID, UUID]]:
    with database.transaction() as connection:
        return retention.expired(connection, UUID(int=0), limit)


def test_a_new_job_waits_with_one_chunk_to_prepare(database: Database, account: Account) -> None:
    job_id = work.submit(database, account, lane=Lane.BATCH)

    found, (chunk,) = work.job(database, job_id), work.chunk_rows(database, job_id)
    assert (found.status, found.stage, found.chunks_total) == (JobStatus.QUEUED, Stage.PREPARE, None)
    assert (chunk.stage, chunk.status, chunk.queue) == ("prepare", "queued", "io.batch")


def test_a_job_keeps_what_was_sent(database: Database, account: Account) -> None:
    found = work.job(database, work.submit(database, account, JobKind.DOCUMENT))

    assert (found.kind, found.input.name, found.input.bytes) == (JobKind.DOCUMENT, "talk.wav", 3)
    assert found.options == DocumentOptions(model=work.MODEL)
    assert (found.expires_at - found.created_at).days == 30


def test_jobs_are_listed_the_newest_first(database: Database, account: Account) -> None:
    submitted = [work.submit(database, account) for _ in range(3)]

    assert [job.id for job in listed(database, account)] == submitted[::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_show_every_job_once_even_if_several_came_in_the_same_instant(
    database: Database, account: Account, limit: int
) -> None:
    submitted = {work.submit(database, account) for _ in range(6)}
    work.execute(database, "UPDATE jobs SET created_at = date_trunc('day', now())")
    pages: list[Job] = []
    while page := listed(database, account, JobFilter(before=before(pages), limit=limit)):
        pages += page

    assert len(pages) == 6
    assert {job.id for job in pages} == submitted


def before(pages: list[Job]) -> tuple[datetime, UUID] | None:
    return (pages[-1].created_at, pages[-1].id) if pages else None


def test_jobs_are_listed_by_status_and_kind(database: Database, account: Account) -> None:
    recording, document = work.submit(database, account), work.submit(database, account, JobKind.DOCUMENT)
    cancel(database, recording, account)

    by_status = listed(database, account, JobFilter(status=JobStatus.CANCELLED))
    by_kind = listed(database, account, JobFilter(kind=JobKind.DOCUMENT))
    assert ([job.id for job in by_status], [job.id for job in by_kind]) == ([recording], [document])


def test_nobody_sees_the_jobs_of_another(database: Database, account: Account) -> None:
    work.submit(database, account)

    assert listed(database, work.open_account(database, "mallory")) == []


@pytest.mark.parametrize("act", [jobs.get, interventions.cancel, interventions.delete])
def test_the_job_of_another_is_not_there(
    database: Database, account: Account, act: Callable[[Connection, UUID, UUID], object]
) -> None:
    job_id = work.submit(database, account)
    mallory = work.open_account(database, "mallory")

    with pytest.raises(NotFound), database.transaction() as connection:
        act(connection, job_id, mallory.id)
    assert work.job(database, job_id).status is JobStatus.QUEUED


@pytest.mark.parametrize("act", [jobs.get, interventions.cancel, interventions.delete])
def test_a_job_that_never_was_is_not_found(
    database: Database, account: Account, act: Callable[[Connection, UUID, UUID], object]
) -> None:
    with pytest.raises(NotFound), database.transaction() as connection:
        act(connection, uuid.uuid4(), account.id)


def test_cancelling_ends_the_job_and_every_chunk_that_is_not_done(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.prepare(database, job_id, 3)
    work.complete(database, work.claim_one(database, job_id))
    work.claim_one(database, job_id)

    cancelled = cancel(database, job_id, account)

    assert (cancelled.status, cancelled.finished_at is not None) == (JobStatus.CANCELLED, True)
    assert [row.status for row in work.chunk_rows(database, job_id, Stage.TRANSCRIBE)] == [
        "done",
        "cancelled",
        "cancelled",
    ]


def test_cancelling_twice_is_fine(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)

    assert cancel(database, job_id, account) == cancel(database, job_id, account)


def test_a_completed_job_cannot_be_cancelled(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.finish(database, job_id)

    with pytest.raises(Conflict, match="completed"):
        cancel(database, job_id, account)


@pytest.mark.parametrize("kind", work.UPLOADED)
def test_deleting_a_job_erases_its_chunks_its_text_and_its_vectors(
    database: Database, account: Account, kind: JobKind
) -> None:
    job_id, kept = work.submit(database, account, kind), work.submit(database, account, kind)
    for each in (job_id, kept):
        work.finish(database, each, n_chunks=2)
    before = {table: work.execute(database, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}

    delete(database, job_id, account)

    left = {table: work.execute(database, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
    assert left == {table: n // 2 for table, n in before.items()}


def test_a_job_expires_when_its_retention_is_over(database: Database, account: Account) -> None:
    gone, _kept = work.submit(database, account, retention_days=1), work.submit(database, account)
    assert expired(database) == []

    work.execute(database, "UPDATE jobs SET expires_at = expires_at - interval '1 day 1 second'")

    assert expired(database) == [(gone, account.id)]


def test_no_more_expired_jobs_are_named_than_asked_for(database: Database, account: Account) -> None:
    for _ in range(3):
        work.submit(database, account)
    work.execute(database, "UPDATE jobs SET expires_at = now() - interval '1 second'")

    assert len(expired(database, limit=2)) == 2
