"""Jobs: inserted by the API, read by everyone, ended by `completion` and `interventions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from core import details
from core.content_key import ContentKey
from core.details import Details
from core.errors import NotFound
from core.job import ChunkStatus, JobKind, JobStatus, JobWarning, Stage
from core.lanes import Lane, Tier
from core.options import SECRET, JobOptions, TranscriptionOptions, options_of, to_stored
from core.store import accounts
from core.store.admission import admit
from core.store.tables import chunks, jobs

_OPEN_CHUNKS = (ChunkStatus.QUEUED, ChunkStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class JobInput:
    """What the client sent. `bytes` is the size of the media, `name` what the client called it."""

    type: str
    name: str
    url: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job about to be accepted; its media is stored under `blobs.input_key(id)` already."""

    id: UUID
    account_id: UUID
    kind: JobKind
    lane: Lane
    tier: Tier
    input: JobInput
    options: JobOptions
    metadata: Mapping[str, Any]
    retention_days: float
    concurrent_jobs: int
    batch_id: UUID | None = None
    batch_index: int | None = None
    content_key: ContentKey | None = None
    """Of `core.content_key`; None: it is offered to nobody who submits the same again."""


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed: a stable `code` of `core.errors`, and where."""

    code: str
    message: str
    retryable: bool
    stage: Stage


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. Durations are in seconds, times carry their zone."""

    id: UUID
    account_id: UUID
    batch_id: UUID | None
    batch_index: int | None
    kind: JobKind
    status: JobStatus
    stage: Stage
    lane: Lane
    tier: Tier
    input: JobInput
    duration_s: float | None
    pages: int | None
    details: Details
    options: JobOptions
    metadata: Mapping[str, Any]
    chunks_done: int
    chunks_total: int | None
    stage_percent: int | None
    compute_s: float
    cold_start_s: float
    warnings: Sequence[JobWarning]
    error: JobFailure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime

    @property
    def index(self) -> bool:
        """Whether its text is embedded for search."""
        return self.options.index if isinstance(self.options, TranscriptionOptions) else True


def insert(connection: Connection, first: NewJob, *more: NewJob) -> None:
    """Accept jobs of one account and lane in the caller's transaction, and admit those that there is room for.

    Raises `Unauthorized` if the account has been deleted meanwhile, or is being erased.
    """
    retention = sa.func.make_interval(0, 0, 0, 0, 0, 0, first.retention_days * 86400)
    inserting = sa.insert(jobs).values(expires_at=sa.func.now() + retention)
    with accounts.existing():
        connection.execute(inserting, [_row(new) for new in (first, *more)])
    admit(connection, first.account_id, first.lane)
    accounts.check_open(connection, first.account_id)  # after the lock of the account's row, which that one takes


FORGOTTEN: Mapping[str, object] = {
    "options": jobs.c.options.op("-")(sa.literal(SECRET, sa.Text)),
    "stage_percent": None,
}
"""What the row of a job loses once its input was read, or will not be: its secret, and how far the input is fetched."""


def _row(new: NewJob) -> dict[str, object]:
    return {
        "id": new.id,
        "account_id": new.account_id,
        "batch_id": new.batch_id,
        "batch_index": new.batch_index,
        "kind": new.kind,
        "status": JobStatus.QUEUED,
        "stage": Stage.PREPARE,
        "lane": new.lane,
        "tier": new.tier,
        "concurrent_jobs": new.concurrent_jobs,
        "input_type": new.input.type,
        "input_name": new.input.name,
        "input_url": new.input.url,
        "input_bytes": new.input.bytes,
        "content_key": new.content_key and new.content_key.digest,
        "options": to_stored(new.options),
        "metadata": dict(new.metadata),
        "chunks_left": 1,
    }


def get(connection: Connection, job_id: UUID, account_id: UUID | None = None) -> Job:
    """One job; of the given account, if one is given. Raises `NotFound`."""
    query = sa.select(jobs).where(jobs.c.id == job_id)
    if account_id is not None:
        query = query.where(jobs.c.account_id == account_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id} in this account.")
    return _job(row)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which of an account's jobs to list. `before` is the last job of the previous page."""

    status: JobStatus | None = None
    kind: JobKind | None = None
    before: tuple[datetime, UUID] | None = None
    limit: int = 20


def list_of(connection: Connection, account_id: UUID, wanted: JobFilter) -> list[Job]:
    """Jobs of an account, the newest first."""
    query = sa.select(jobs).where(jobs.c.account_id == account_id)
    if wanted.status is not None:
        query = query.where(jobs.c.status == wanted.status)
    if wanted.kind is not None:
        query = query.where(jobs.c.kind == wanted.kind)
    if wanted.before is not None:
        query = query.where(sa.tuple_(jobs.c.created_at, jobs.c.id) < sa.tuple_(*wanted.before))
    query = query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(wanted.limit)
    return [_job(row) for row in connection.execute(query)]


def newest_of(connection: Connection, account_id: UUID, limit: int) -> Sequence[UUID]:
    """The ids of an account's newest jobs."""
    query = sa.select(jobs.c.id).where(jobs.c.account_id == account_id).order_by(jobs.c.id.desc()).limit(limit)
    return connection.scalars(query).all()


def of_batch(connection: Connection, batch_id: UUID) -> list[Job]:
    """The jobs of a batch, in the order of its items."""
    query = sa.select(jobs).where(jobs.c.batch_id == batch_id).order_by(jobs.c.batch_index)
    return [_job(row) for row in connection.execute(query)]


def lock(connection: Connection, job_id: UUID, account_id: UUID | None = None) -> Job | None:
    """The job, of the given account if one is given, locked until the end of the transaction; None if it is gone."""
    query = sa.select(jobs).where(jobs.c.id == job_id)
    if account_id is not None:
        query = query.where(jobs.c.account_id == account_id)
    row = connection.execute(query.with_for_update(key_share=True)).one_or_none()
    return None if row is None else _job(row)


def lock_batch(connection: Connection, batch_id: UUID) -> list[Job]:
    """The jobs of a batch, locked one after the other by their ids: so no two who do this wait for each other."""
    query = sa.select(jobs).where(jobs.c.batch_id == batch_id).order_by(jobs.c.id)
    return [_job(row) for row in connection.execute(query.with_for_update(key_share=True))]


def end_chunks(connection: Connection, job_id: UUID) -> None:
    """Cancel what is left of a job's chunks; the caller holds the job's lock."""
    connection.execute(
        sa.update(chunks)
        .where(chunks.c.job_id == job_id, chunks.c.status.in_(_OPEN_CHUNKS))
        .values(status=ChunkStatus.CANCELLED, finished_at=sa.func.now(), lease_until=None),
    )


def _warnings(stored: Sequence[Mapping[str, Any]]) -> list[JobWarning]:
    """In the order of what they are about: first those of the whole."""
    warnings = [JobWarning(one["code"], one["message"], one.get("start_s"), one.get("end_s")) for one in stored]
    return sorted(warnings, key=lambda warning: -1.0 if warning.start_s is None else warning.start_s)


def _job(row: Row[Any]) -> Job:
    failure = None
    if row.error_code is not None:
        failure = JobFailure(row.error_code, row.error_message, row.error_retryable, Stage(row.error_stage))
    return Job(
        id=row.id,
        account_id=row.account_id,
        batch_id=row.batch_id,
        batch_index=row.batch_index,
        kind=(kind := JobKind(row.kind)),
        status=JobStatus(row.status),
        stage=Stage(row.stage),
        lane=Lane(row.lane),
        tier=Tier(row.tier),
        input=JobInput(row.input_type, row.input_name, row.input_url, row.input_bytes),
        duration_s=row.duration_s,
        pages=row.pages,
        details=details.from_stored(kind, row.details),
        options=options_of(kind, row.options),
        metadata=row.metadata,
        chunks_done=row.chunks_done,
        chunks_total=row.chunks_total,
        stage_percent=row.stage_percent,
        compute_s=row.compute_s,
        cold_start_s=row.cold_start_s,
        warnings=_warnings(row.warnings),
        error=failure,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
    )
