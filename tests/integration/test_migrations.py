"""The migrated database is the one that the code describes, and it checks the rules of `core.job` itself."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from core.job import CHUNK_TRANSITIONS, JOB_TRANSITIONS, ChunkStatus, JobStatus
from core.store import migrations
from core.store.accounts import Account
from core.store.session import Database
from core.store.tables import metadata
from tests.integration import work

FACTS_OF_JOB = {
    JobStatus.QUEUED: "started_at = NULL, finished_at = NULL, error_code = NULL",
    JobStatus.PROCESSING: "started_at = now(), finished_at = NULL, error_code = NULL",
    JobStatus.COMPLETED: "started_at = now(), finished_at = now(), error_code = NULL",
    JobStatus.FAILED: "started_at = now(), finished_at = now(), error_code = 'timeout'",
    JobStatus.CANCELLED: "finished_at = now(), error_code = NULL",
}
FACTS_OF_CHUNK = {
    ChunkStatus.QUEUED: "lease_until = NULL, finished_at = NULL, error_code = NULL",
    ChunkStatus.RUNNING: "lease_until = now(), finished_at = NULL, error_code = NULL",
    ChunkStatus.DONE: "lease_until = NULL, finished_at = now(), error_code = NULL",
    ChunkStatus.FAILED: "lease_until = NULL, finished_at = now(), error_code = 'timeout'",
    ChunkStatus.CANCELLED: "lease_until = NULL, finished_at = now(), error_code = NULL",
}


def go(database: Database, table: str, row: UUID, status: StrEnum, facts: str) -> bool:
    """Whether the database lets a row change to this status, with the facts that belong to it."""
    try:
        work.execute(database, f"UPDATE {table} SET status = '{status}', {facts} WHERE id = :id", id=row)
    except IntegrityError as refusal:
        if "cannot go from" not in str(refusal):
            raise  # a CHECK refused, not the trigger: the facts of this test are wrong
        return False
    return True


def put(database: Database, table: str, row: UUID, status: StrEnum, facts: str) -> None:
    """Set a status past the triggers, but not past the CHECKs."""
    with database.transaction() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(f"UPDATE {table} SET status = '{status}', {facts} WHERE id = :id"), {"id": row})


def test_the_tables_of_the_code_are_those_of_the_migrated_database(database: Database) -> None:
    with database.transaction() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_a_migrated_database_is_at_the_newest_revision(database: Database) -> None:
    assert migrations.current(database) == migrations.newest() != ""


def test_a_new_database_has_no_revision(empty_database: Database) -> None:
    assert migrations.current(empty_database) is None


def test_migrating_again_changes_nothing(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)

    assert migrations.upgrade(database) == migrations.newest()
    assert work.job(database, job_id).status is JobStatus.QUEUED


def test_two_processes_may_migrate_at_once(empty_database: Database) -> None:
    answers = work.together(2, *[lambda: migrations.upgrade(empty_database)] * 2)

    assert answers == [migrations.newest()] * 2


@pytest.mark.parametrize("before", JobStatus)
def test_the_database_lets_a_job_change_as_the_table_says(
    database: Database, account: Account, before: JobStatus
) -> None:
    job_id = work.submit(database, account)
    followers = set()
    for after in set(JobStatus) - {before}:
        put(database, "jobs", job_id, before, FACTS_OF_JOB[before])
        if go(database, "jobs", job_id, after, FACTS_OF_JOB[after]):
            followers.add(after)

    assert followers == JOB_TRANSITIONS[before]


@pytest.mark.parametrize("before", ChunkStatus)
def test_the_database_lets_a_chunk_change_as_the_table_says(
    database: Database, account: Account, before: ChunkStatus
) -> None:
    chunk_id = work.queued(database, work.submit(database, account))[0]
    followers = set()
    for after in set(ChunkStatus) - {before}:
        put(database, "chunks", chunk_id, before, FACTS_OF_CHUNK[before])
        if go(database, "chunks", chunk_id, after, FACTS_OF_CHUNK[after]):
            followers.add(after)

    assert followers == CHUNK_TRANSITIONS[before]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("jobs", "status = 'lost'"),
        ("jobs", "kind = 'video'"),
        ("jobs", "chunks_left = -1"),
        ("jobs", "chunks_done = 1, chunks_total = 0"),
        ("jobs", "chunks_done = -1"),
        ("jobs", "finished_at = now()"),
        ("jobs", "error_code = 'timeout'"),
        ("jobs", "started_at = now()"),
        ("chunks", "status = 'lost'"),
        ("chunks", "stage = 'dream'"),
        ("chunks", "attempt = -1"),
        ("chunks", "lease_until = now()"),
        ("chunks", "finished_at = now()"),
        ("chunks", "error_code = 'timeout'"),
        ("accounts", "name = ''"),
        ("accounts", "tier = 'gold'"),
    ],
)
def test_the_database_refuses_what_contradicts_itself(
    database: Database, account: Account, table: str, change: str
) -> None:
    work.submit(database, account)

    with pytest.raises(IntegrityError):
        work.execute(database, f"UPDATE {table} SET {change}")


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ("page_from, page_to", "NULL, NULL"),
        ("page_from, page_to", "2, 1"),
        ("page_from, page_to", "1, NULL"),
        ("start_s, end_s", "2, 1"),
        ("page_from, page_to, start_s, end_s", "1, 1, 0, 1"),
    ],
)
def test_a_passage_without_one_sound_citation_is_refused(
    database: Database, account: Account, columns: str, values: str
) -> None:
    job_id = work.submit(database, account)
    insert = f"INSERT INTO passages (job_id, account_id, chunk_ordinal, ordinal, text, {columns})"

    with pytest.raises(IntegrityError):
        work.execute(
            database, f"{insert} VALUES (:job, :account, 0, 0, 'Text.', {values})", job=job_id, account=account.id
        )
