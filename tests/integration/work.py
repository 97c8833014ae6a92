"""Jobs and chunks for the tests of the store: submitted, claimed, worked and looked at in one line each."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import redis
import sqlalchemy as sa
from sqlalchemy.engine import Row
from uuid_utils.compat import uuid7

from core import tiers
from core.job import JobKind, Stage
from core.lanes import Lane, Tier
from core.options import DocumentOptions, TranscriptionOptions
from core.passages import Passage
from core.plan import AudioChunk, Clip, Region
from core.store import accounts, chunks, completion, estimates, jobs, planning, workers
from core.store.accounts import Account
from core.store.chunks import Claim, Took
from core.store.estimates import Estimate
from core.store.jobs import Job, JobInput, NewJob
from core.store.results import Assembled, Embedded, Prepared, Result, Transcribed
from core.store.session import Database
from core.store.tables import chunks as chunk_table
from core.store.turns import Promises
from core.store.workers import WorkerRecord
from core.tiers import Tiers
from core.transcript import HeardLanguage, TranscriptSegment
from core.work import PassageBatch

MODEL = "fake"
UPLOADED = (JobKind.TRANSCRIPTION, JobKind.DOCUMENT)
"""The kinds of job that a client submits."""
VECTOR = [1.0, 0.0, 0.0]
TIERS = tiers.load()
PROMISES = Promises(redispatch_s=30, worker_silence_s=15, max_wait_s={Lane.STANDARD: 600, Lane.BATCH: 3600})


def open_account(database: Database, name: str, tier: Tier = Tier.PRO, *, operator: bool = False) -> Account:
    with database.transaction() as connection:
        return accounts.create(connection, name, tier, operator=operator)


def new_job(
    account: Account,
    kind: JobKind = JobKind.TRANSCRIPTION,
    *,
    index: bool = True,
    lane: Lane = Lane.EXPRESS,
    retention_days: float = 30,
    concurrent_jobs: int = 10_000,
    batch: tuple[UUID, int] | tuple[None, None] = (None, None),
) -> NewJob:
    """A job about to be accepted."""
    transcription = TranscriptionOptions(model=MODEL, index=index)
    options = transcription if kind is JobKind.TRANSCRIPTION else DocumentOptions(model=MODEL)
    received = JobInput("upload", "talk.wav", bytes=3)
    limits = (retention_days, concurrent_jobs)
    return NewJob(uuid7(), account.id, kind, lane, account.tier, received, options, {}, *limits, *batch)


def submit(database: Database, account: Account, kind: JobKind = JobKind.TRANSCRIPTION, **details: Any) -> UUID:
    """An accepted job with its one `prepare` chunk; `details` as of `new_job`."""
    new = new_job(account, kind, **details)
    with database.transaction() as connection:
        jobs.insert(connection, new)
    return new.id


def job(database: Database, job_id: UUID) -> Job:
    with database.transaction() as connection:
        return jobs.get(connection, job_id)


def estimate(database: Database, job_id: UUID) -> Estimate:
    with database.transaction() as connection:
        return estimates.of(connection, [jobs.get(connection, job_id)]).get(job_id, estimates.UNKNOWN)


def chunk_rows(database: Database, job_id: UUID, stage: Stage | None = None) -> Sequence[Row[Any]]:
    """The chunks of a job, or of one of its stages, in order."""
    query = sa.select(chunk_table).where(chunk_table.c.job_id == job_id).order_by(chunk_table.c.ordinal)
    if stage is not None:
        query = query.where(chunk_table.c.stage == stage)
    with database.transaction() as connection:
        return connection.execute(query).all()


def queued(database: Database, job_id: UUID) -> list[UUID]:
    return [row.id for row in chunk_rows(database, job_id) if row.status == "queued"]


def execute(database: Database, statement: str, **values: Any) -> Sequence[Row[Any]]:
    """Reach into the database where no function of the service does: to let time pass, or to break a rule."""
    with database.transaction() as connection:
        result = connection.execute(sa.text(statement), values)
        return result.all() if result.returns_rows else []


def claim(database: Database, chunk_id: UUID, worker_id: str = "w/0", lease_s: float = 60) -> Claim | None:
    with database.transaction() as connection:
        return chunks.claim(connection, chunk_id, worker_id=worker_id, lease_s=lease_s)


def claim_one(database: Database, job_id: UUID, worker_id: str = "w/0", lease_s: float = 60) -> Claim:
    """The first chunk that waits, made claimable at once and claimed."""
    execute(database, "UPDATE chunks SET retry_at = NULL WHERE job_id = :job", job=job_id)
    claimed = claim(database, queued(database, job_id)[0], worker_id, lease_s)
    assert claimed is not None
    return claimed


def segment(ordinal: int = 0) -> TranscriptSegment:
    return TranscriptSegment(ordinal * 60.0, ordinal * 60.0 + 5, f"Words of part {ordinal}.")


def passage(text: str, page: int | None = None) -> Passage:
    return Passage(text, page, page, None if page else 0.0, None if page else 5.0)


def audio_chunk(ordinal: int) -> AudioChunk:
    """A minute of which five seconds are speech."""
    return AudioChunk((Clip((Region(60.0 * ordinal, 60.0 * ordinal + 5),)),))


def emit(database: Database, claimed: Claim, ordinal: int, *, plans: Tiers = TIERS) -> None:
    """Queue a chunk of what is still being prepared."""
    with database.transaction() as connection:
        planning.emit(connection, claimed, audio_chunk(ordinal), plans)


def prepared(n_chunks: int, kind: JobKind = JobKind.TRANSCRIPTION) -> Prepared:
    """What `prepare` answers for an input of so many chunks, each of one segment or one passage."""
    if kind is JobKind.DOCUMENT:
        return Prepared(
            [PassageBatch(1)] * n_chunks,
            pages=n_chunks,
            texts=[[passage(f"Page {n}.", n + 1)] for n in range(n_chunks)],
        )
    work = [audio_chunk(n) for n in range(n_chunks)]
    return Prepared(work, duration_s=60.0 * n_chunks)


def result_of(claimed: Claim, n_chunks: int = 1) -> Result:
    """What a worker would answer for this chunk; `n_chunks` is what `prepare` finds."""
    match claimed.stage:
        case Stage.PREPARE:
            return prepared(n_chunks, claimed.kind)
        case Stage.TRANSCRIBE:
            return Transcribed([segment(claimed.ordinal)], HeardLanguage("en", 0.9, 5.0))
        case Stage.EMBED:
            page = claimed.ordinal + 1 if claimed.kind is JobKind.DOCUMENT else None
            return Embedded([passage(f"Page {claimed.ordinal}.", page)], [VECTOR], MODEL)
        case Stage.ASSEMBLE:
            return Assembled()


def complete(
    database: Database,
    claimed: Claim,
    result: Result | None = None,
    *,
    compute_s: float = 0.5,
    cold_start_s: float = 0.0,
    plans: Tiers = TIERS,
) -> None:
    took = Took(compute_s, cold_start_s)
    with database.transaction() as connection:
        completion.complete(connection, claimed, result or result_of(claimed), took=took, tiers=plans)


def prepare(database: Database, job_id: UUID, n_chunks: int) -> list[UUID]:
    """Work the job's `prepare` chunk; returns the ids of the chunks that it opened."""
    claimed = claim_one(database, job_id)
    complete(database, claimed, result_of(claimed, n_chunks))
    return queued(database, job_id)


def finish(database: Database, job_id: UUID, n_chunks: int = 1) -> Job:
    """Work a job to its end, one chunk after the other."""
    while queued(database, job_id):
        claimed = claim_one(database, job_id)
        complete(database, claimed, result_of(claimed, n_chunks))
    return job(database, job_id)


def searchable(
    database: Database,
    account: Account,
    passages: Sequence[Passage],
    vectors: Sequence[Sequence[float]] = (),
    language: str | None = "en",
) -> UUID:
    """A document of these passages that is done; without vectors, all are as near to every query."""
    job_id = submit(database, account, JobKind.DOCUMENT)
    ready = Prepared([PassageBatch(len(passages))], pages=len(passages), texts=[passages], language=language)
    complete(database, claim_one(database, job_id), ready)
    complete(database, claim_one(database, job_id), Embedded(passages, vectors or [VECTOR] * len(passages), MODEL))
    finish(database, job_id)
    return job_id


def report_worker(database: Database, *lanes: str, worker_id: str = "w/0", current_chunk: UUID | None = None) -> None:
    with database.transaction() as connection:
        workers.report(connection, WorkerRecord(worker_id, "host", 1, "cpu", lanes, (), current_chunk))


def together(n_threads: int, *calls: Any) -> list[Any]:
    """Run calls from several threads at once; their answers in order, an exception as itself."""

    def answer(call: Any) -> Any:
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(n_threads) as threads:
        return list(threads.map(answer, calls))


def waits_for_a_lock(database: Database) -> bool:
    """Whether some transaction waits for another."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(execute(database, waiting))


def messages(broker: redis.Redis, queue: str) -> list[dict[str, Any]]:
    """What waits in a queue, the first sent first."""
    waiting: Any = broker.lrange(queue, 0, -1)
    return [json.loads(message) for message in reversed(waiting)]


def sent(broker: redis.Redis, queue: str) -> list[str]:
    """The chunk ids that wait in a queue, the first sent first."""
    return [json.loads(base64.b64decode(message["body"]))[0][0] for message in messages(broker, queue)]


def transcribing(database: Database, account: Account, n_chunks: int, lane: Lane = Lane.EXPRESS) -> UUID:
    """A job with so many chunks that wait to be transcribed."""
    job_id = submit(database, account, lane=lane)
    prepare(database, job_id, n_chunks)
    return job_id


def jobs_of(database: Database, chunk_ids: list[str]) -> list[UUID]:
    found = {str(row.id): row.job_id for row in execute(database, "SELECT id, job_id FROM chunks")}
    return [found[chunk_id] for chunk_id in chunk_ids]
