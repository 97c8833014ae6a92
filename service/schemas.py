"""The JSON that the API answers of jobs and of itself. Times are seconds, dates carry their zone.

`service.text_schemas` has transcripts, passages and hits; `service.forms` is what the API takes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from core.job import JobKind, JobStatus, Stage
from core.lanes import Lane, Tier


class ProgressOut(BaseModel):
    """Chunks of transcribing and embedding; `chunks_total` is null until the input is prepared."""

    chunks_done: int
    chunks_total: int | None
    percent: int
    stage_percent: int | None = Field(description="Of a download in progress; null where no share of a stage is known.")


class ChapterOut(BaseModel):
    """A part of a recording, as its publisher divided it."""

    title: str
    start_s: float
    end_s: float


class HeadingOut(BaseModel):
    """An entry of a PDF's outline. `level` is 0 for the outermost."""

    title: str
    page: int
    level: int


class InputOut(BaseModel):
    """What was sent, and what it says of itself; `duration_s` or `pages` once known."""

    type: Literal["upload", "youtube", "url", "passages"]
    name: str
    url: str | None
    duration_s: float | None
    pages: int | None
    title: str | None
    channel: str | None
    video_id: str | None = Field(description="Of YouTube.")
    thumbnail_url: str | None
    chapters: list[ChapterOut] = Field(description="Of a recording.")
    outline: list[HeadingOut] = Field(description="Of a PDF.")


class UsageOut(BaseModel):
    """What the job took. The seconds are those of the attempts whose results are kept, of all its chunks together."""

    audio_s: float | None
    pages: int | None
    compute_s: float = Field(description="Seconds that its chunks were transcribed and embedded, without cold starts.")
    cold_start_s: float = Field(description="Seconds that they waited for models to be loaded; 0 if all were there.")


class ErrorOut(BaseModel):
    """Why a job failed. `retryable`: the same input may succeed on another try."""

    code: str
    message: str
    retryable: bool
    stage: Stage


class WarningOut(BaseModel):
    """Something a reader of the result should know; what is about a part of a recording has its span, in seconds."""

    code: str
    message: str
    start_s: float | None
    end_s: float | None


class JobOut(BaseModel):
    """A job as it stands."""

    id: UUID
    object: Literal["job"] = "job"
    batch_id: UUID | None = Field(description="Of the batch that it was submitted with.")
    reused_from: UUID | None = Field(
        description="In the answer to a submit: the finished job that it was answered with. Null otherwise."
    )
    kind: JobKind
    status: JobStatus
    stage: Stage
    lane: Lane
    tier: Tier
    status_url: str
    progress: ProgressOut
    queue_position: int | None = Field(
        description="Of a job that waits to begin: about its place in its lane, from 1; null if far away."
    )
    eta_s: float | None = Field(description="Seconds left of the present stage; null until measured.")
    input: InputOut
    options: dict[str, Any]
    metadata: dict[str, Any]
    usage: UsageOut
    warnings: list[WarningOut]
    error: ErrorOut | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    urls: dict[str, str]


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    data: list[JobOut]
    next_cursor: str | None


class BatchErrorOut(BaseModel):
    """Why an item was refused, or its job failed."""

    code: str
    message: str


class BatchItemOut(BaseModel):
    """An item of a batch. `refused`: no job was made of it."""

    index: int = Field(description="Its place among the items that were sent, from 0.")
    file: str
    status: JobStatus | Literal["refused"]
    job_id: UUID | None
    status_url: str | None
    error: BatchErrorOut | None


class RequestCounts(BaseModel):
    """How many items stand how; all but `total` add up to it."""

    total: int
    refused: int = Field(description="Of which no job was made.")
    queued: int
    processing: int
    completed: int
    failed: int
    cancelled: int
    erased: int = Field(description="Whose jobs were deleted, or had expired.")


class BatchOut(BaseModel):
    """A batch as it stands. When all its jobs have ended it is `completed` if one of those not erased was."""

    id: UUID
    object: Literal["batch"] = "batch"
    status: JobStatus
    lane: Lane
    status_url: str
    request_counts: RequestCounts
    items: list[BatchItemOut] = Field(description="In the order in which they were sent, without those erased.")
    created_at: datetime
    cancelled_at: datetime | None
    expires_at: datetime
    urls: dict[str, str]


class VectorsDropped(BaseModel):
    """How many vectors of a model one call has deleted; 0: none is left."""

    model: str
    deleted: int


class WorkerOut(BaseModel):
    """A worker process; `pid` is the one that infers."""

    id: str
    host: str
    pid: int
    device: str
    lanes: list[str]
    models: list[str]
    current_chunk: UUID | None
    last_seen: datetime


class WorkerList(BaseModel):
    """The workers that were heard of lately."""

    workers: list[WorkerOut]


class Health(BaseModel):
    """`missing` says what is not there and what to do about it."""

    status: Literal["ok", "unavailable"]
    missing: list[str] = []
