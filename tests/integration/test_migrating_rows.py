"""A database that the first revision has filled is migrated with every row, and its work goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from core.job import JobStatus, Stage
from core.lanes import Lane, Tier
from core.store import chunks, completion, interventions, migrations, passages, turns
from core.store.accounts import Account
from core.store.completion import Rescued
from core.store.keywords import Keywords
from core.store.search import QueryVector, Scope, nearest, read
from core.store.session import Database
from tests.integration import work

TABLES = ("accounts", "api_keys", "jobs", "chunks", "segments", "passages", "vectors", "workers")
NEW_NAMES = {"available_at": "waiting_since"}
ENDED = {"finished_at": "now", "lease_until": None}

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Held:
    """What was in the database before it was migrated: its jobs by their status, and every row of every table."""

    account: Account
    jobs: Mapping[str, UUID]
    rows: Rows


def insert(database: Database, table: str, **row: Any) -> None:
    """Insert a row as JSON, so that no column is named that the table does not have yet."""
    names = ", ".join(row)
    values = f"SELECT {names} FROM jsonb_populate_record(NULL::{table}, CAST(:row AS jsonb))"
    work.execute(database, f"INSERT INTO {table} ({names}) {values}", row=json.dumps(row, default=str))


def rows_of(database: Database) -> Rows:
    return {table: [row[0] for row in work.execute(database, f"SELECT to_jsonb(t) FROM {table} t")] for table in TABLES}


def insert_account(database: Database, name: str, tier: Tier) -> Account:
    account = Account(uuid7(), name, tier, operator=False)
    insert(database, "accounts", id=account.id, name=name, tier=tier)
    insert(database, "api_keys", account_id=account.id, prefix="sl_", hash=f"\\x{account.id.hex}")
    return account


def insert_job(database: Database, account: Account, status: str, stage: str, **facts: Any) -> UUID:
    job_id = uuid7()
    own = {"id": job_id, "account_id": account.id, "tier": account.tier, "lane": "express"}
    received = {"input_type": "upload", "input_name": "talk.wav", "input_bytes": 3, "duration_s": 300}
    asked = {"kind": "transcription", "options": {"model": work.MODEL, "index": True}, "metadata": {"shelf": "sea"}}
    times = {"created_at": "yesterday", "started_at": "yesterday", "expires_at": "2100-01-01"}
    row = {**own, **received, **asked, **times, "status": status, "stage": stage, "chunks_left": 0, **facts}
    insert(database, "jobs", **row)
    return job_id


def insert_chunks(database: Database, account: Account, job_id: UUID, stage: str, *facts: Mapping[str, Any]) -> None:
    """Chunks of one stage in order, each queued unless its facts say otherwise."""
    queue = "io.express" if stage in ("prepare", "assemble") else "express"
    for ordinal, own in enumerate(facts):
        clip = {"start_s": 60 * ordinal, "end_s": 60 * ordinal + 5}
        asked = {"transcribe": {**clip, "clips": [clip]}, "embed": {"n_passages": 1}}.get(stage, {})
        where = {"job_id": job_id, "account_id": account.id, "stage": stage, "ordinal": ordinal, "queue": queue}
        insert(database, "chunks", **where, **{"status": "queued", "input": asked, **own})


DONE = {"status": "done", "attempt": 1, "compute_s": 0.5, "started_at": "yesterday", **ENDED}
FAILED = {"status": "failed", "attempt": 3, "failures": 3, "error_code": "internal", **ENDED}
CANCELLED = {"status": "cancelled", **ENDED}
ABANDONED = {"status": "running", "attempt": 1, "worker_id": "w/9", "lease_until": "yesterday"}
UNDER_WAY = {"dispatches": 1, "dispatched_until": "tomorrow"}
PAUSING = {"failures": 1, "available_at": "tomorrow"}
WAITING: Mapping[str, Any] = {}


def insert_jobs(database: Database, account: Account) -> dict[str, UUID]:
    """One job of each status."""
    early = {"started_at": None, "duration_s": None, "chunks_left": 1}
    queued = insert_job(database, account, "queued", "prepare", **early)
    insert_chunks(database, account, queued, "prepare", WAITING)
    cancelled = insert_job(database, account, "cancelled", "prepare", **early, finished_at="now")
    insert_chunks(database, account, cancelled, "prepare", CANCELLED)

    counted = {"chunks_left": 4, "chunks_done": 1, "chunks_total": 6}
    processing = insert_job(database, account, "processing", "transcribe", **counted)
    insert_chunks(database, account, processing, "prepare", DONE)
    insert_chunks(database, account, processing, "transcribe", DONE, ABANDONED, WAITING, UNDER_WAY, PAUSING)

    error = {"error_code": "internal", "error_message": "It failed.", "error_retryable": True}
    ended = {"finished_at": "now", **error, "error_stage": "transcribe"}
    counted = {"chunks_left": 2, "chunks_done": 1, "chunks_total": 4}
    failed = insert_job(database, account, "failed", "transcribe", **counted, **ended)
    insert_chunks(database, account, failed, "prepare", DONE)
    insert_chunks(database, account, failed, "transcribe", DONE, FAILED, CANCELLED)

    read = {"kind": "document", "duration_s": None, "pages": 1, "chunks_done": 1, "chunks_total": 1}
    completed = insert_job(database, account, "completed", "assemble", **read, finished_at="now")
    for stage in ("prepare", "embed", "assemble"):
        insert_chunks(database, account, completed, stage, DONE)
    return {
        "queued": queued,
        "processing": processing,
        "completed": completed,
        "failed": failed,
        "cancelled": cancelled,
    }


def insert_results(database: Database, account: Account, held: Mapping[str, UUID]) -> None:
    for status in ("processing", "failed"):
        segment = {"chunk_ordinal": 0, "ordinal": 0, "start_s": 0, "end_s": 5, "text": "Words of before."}
        insert(database, "segments", job_id=held[status], **segment)
    place = {"chunk_ordinal": 0, "ordinal": 0, "page_from": 1, "page_to": 1}
    insert(database, "passages", job_id=held["completed"], account_id=account.id, text="Page 1.", **place)
    vector = f"SELECT id, '{work.MODEL}', account_id, '{work.VECTOR}' FROM passages"
    work.execute(database, f"INSERT INTO vectors (passage_id, model, account_id, vector) {vector}")
    worker = {"id": "w/9", "host": "host", "pid": 1, "device": "cpu", "lanes": ["express"], "models": []}
    insert(database, "workers", **worker, last_seen="yesterday")


@pytest.fixture
def held(empty_database: Database) -> Held:
    """A database of the first revision, filled and then migrated to the newest."""
    migrations.upgrade(empty_database, "0001")
    account = insert_account(empty_database, "ada", Tier.PRO)
    ids = insert_jobs(empty_database, account)
    insert_results(empty_database, account, ids)
    found = Held(account, ids, rows_of(empty_database))
    assert migrations.upgrade(empty_database) == migrations.newest()
    return found


def test_every_row_is_kept_as_it_was(empty_database: Database, held: Held) -> None:
    after = rows_of(empty_database)

    for table, rows in held.rows.items():
        assert len(after[table]) == len(rows) > 0
        for row in rows:
            renamed = {NEW_NAMES.get(name, name): value for name, value in row.items()}
            assert any(renamed.items() <= now.items() for now in after[table]), (table, row)


def test_every_job_was_admitted_when_it_was_submitted_with_the_limit_of_its_tier(
    empty_database: Database, held: Held
) -> None:
    rows = work.execute(empty_database, "SELECT admitted_at = created_at AS at_once, concurrent_jobs FROM jobs")

    assert [(row.at_once, row.concurrent_jobs) for row in rows] == [(True, 10)] * len(held.jobs)


def test_every_job_reads_as_before(empty_database: Database, held: Held) -> None:
    for status, job_id in held.jobs.items():
        job = work.job(empty_database, job_id)
        assert (job.status, job.metadata, job.options.model) == (status, {"shelf": "sea"}, work.MODEL)


def test_what_was_embedded_is_found(empty_database: Database, held: Held) -> None:
    scope, wanted = Scope(held.account.id), QueryVector(work.MODEL, work.VECTOR)
    with empty_database.transaction() as connection:
        hits = read(connection, scope, dict(nearest(connection, scope, wanted, Keywords(), 5)), wanted, None)

    assert [hit.job_id for hit in hits] == [held.jobs["completed"]]


def test_what_waited_is_dispatched_and_what_is_under_way_or_pauses_is_not(empty_database: Database, held: Held) -> None:
    for worker in ("w/0", "w/1"):
        work.report_worker(empty_database, "express", "io.express", worker_id=worker)
    with empty_database.transaction() as connection:
        sent = {message.chunk_id for message in turns.dispatch(connection, work.PROMISES)}

    _, _, waiting, _, pausing = work.chunk_rows(empty_database, held.jobs["processing"], Stage.TRANSCRIBE)
    assert sent == {waiting.id, *work.queued(empty_database, held.jobs["queued"])}
    assert work.claim(empty_database, pausing.id) is None


def test_the_chunk_of_a_worker_that_died_meanwhile_is_rescued(empty_database: Database, held: Held) -> None:
    with empty_database.transaction() as connection:
        (orphan,) = chunks.orphans(connection)
        assert completion.rescue(connection, orphan, max_failures=3) is Rescued.REQUEUED


@pytest.mark.parametrize("status", ["queued", "processing", "failed"])
def test_a_job_that_had_not_completed_completes(empty_database: Database, held: Held, status: str) -> None:
    with empty_database.transaction() as connection:
        for orphan in chunks.orphans(connection):
            completion.rescue(connection, orphan, max_failures=3)
        if status == "failed":
            interventions.retry(connection, held.jobs["failed"], held.account.id, work.TIERS)

    job = work.finish(empty_database, held.jobs[status])

    assert (job.status, job.chunks_done) == (JobStatus.COMPLETED, job.chunks_total)
    with empty_database.transaction() as connection:
        texts = [segment.text for segment in passages.segments_of(connection, job.id)]
    assert len(texts) == {"queued": 1, "processing": 5, "failed": 3}[status]
    assert ("Words of before." in texts) == (status != "queued")


def test_an_old_job_that_is_tried_again_lifts_no_limit(empty_database: Database) -> None:
    migrations.upgrade(empty_database, "0001")
    account = insert_account(empty_database, "grace", Tier.FREE)
    old = insert_jobs(empty_database, account)
    migrations.upgrade(empty_database)
    newer = [work.submit(empty_database, account, lane=Lane.EXPRESS, concurrent_jobs=2) for _ in range(3)]

    with empty_database.transaction() as connection:
        interventions.retry(connection, old["failed"], account.id, work.TIERS)

    assert [work.queued(empty_database, job_id) for job_id in newer] == [[]] * 3


def test_of_vectors_of_several_lengths_those_are_kept_that_most_of_their_model_have(empty_database: Database) -> None:
    migrations.upgrade(empty_database, "0015")
    account = insert_account(empty_database, "grace", Tier.FREE)
    ended = {"finished_at": "now", "admitted_at": "yesterday", "concurrent_jobs": 1}
    job_id = insert_job(empty_database, account, "completed", "assemble", **ended)
    its = {
        "job_id": job_id,
        "account_id": account.id,
        "chunk_ordinal": 0,
        "text": "Text.",
        "page_from": 1,
        "page_to": 1,
    }
    for ordinal in range(3):
        insert(empty_database, "passages", ordinal=ordinal, **its)
    mixed = "SELECT id, 'mixed', account_id, array_fill(1, ARRAY[2 + sign(ordinal)::int])::vector FROM passages"
    work.execute(empty_database, f"INSERT INTO vectors (passage_id, model, account_id, vector) {mixed}")

    migrations.upgrade(empty_database)

    (model,) = work.execute(empty_database, "SELECT name, dimensions FROM embedding_models")
    kept = [row.dims for row in work.execute(empty_database, "SELECT vector_dims(vector) AS dims FROM vectors")]
    assert (tuple(model), kept) == (("mixed", 3), [3, 3])
