"""The JSON of the API: what it takes and what it answers. Times are seconds, dates carry their zone."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from core.job import JobKind, JobStatus, Stage
from core.lanes import Lane, Tier
from core.options import DocumentOptions, Text, TranscriptionOptions, storable

_METADATA_BYTES = 16 * 1024


def _parsed_metadata(value: Any) -> Any:
    """A form carries metadata as a JSON string."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError("metadata must be a JSON object") from error
    return value


Metadata = Annotated[dict[str, Any], BeforeValidator(_parsed_metadata)]


class _Submission(BaseModel):
    lane: Lane | None = Field(None, description="A less urgent lane than the account's own.")
    metadata: Metadata = Field(default_factory=dict, description="Anything of yours; a JSON object.")

    @field_validator("metadata")
    @classmethod
    def _small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value)) > _METADATA_BYTES:
            raise ValueError(f"metadata may take {_METADATA_BYTES} bytes")
        storable(value)
        return value


class TranscriptionForm(_Submission, TranscriptionOptions):
    """A recording to be transcribed."""

    def options(self) -> TranscriptionOptions:
        """What is kept with the job."""
        return TranscriptionOptions(**self.model_dump(include=set(TranscriptionOptions.model_fields)))


class DocumentForm(_Submission, DocumentOptions):
    """A PDF to be embedded."""

    def options(self) -> DocumentOptions:
        """What is kept with the job."""
        return DocumentOptions(**self.model_dump(include=set(DocumentOptions.model_fields)))


class ProgressOut(BaseModel):
    """Chunks of transcribing and embedding; `chunks_total` is null until the input is prepared."""

    chunks_done: int
    chunks_total: int | None
    percent: int


class InputOut(BaseModel):
    """What was sent; `duration_s` or `pages` once known."""

    type: Literal["upload", "youtube", "url"]
    name: str
    url: str | None
    duration_s: float | None
    pages: int | None


class UsageOut(BaseModel):
    """What the job took."""

    audio_s: float | None
    pages: int | None
    compute_s: float


class ErrorOut(BaseModel):
    """Why a job failed. `retryable`: the same input may succeed on another try."""

    code: str
    message: str
    retryable: bool
    stage: Stage


class WarningOut(BaseModel):
    """Something a reader of the result should know."""

    code: str
    message: str


class JobOut(BaseModel):
    """A job as it stands."""

    id: UUID
    object: Literal["job"] = "job"
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


class WordOut(BaseModel):
    """One word of a segment."""

    start: float
    end: float
    text: str
    probability: float


class SegmentOut(BaseModel):
    """A stretch of speech, in seconds on the media clock."""

    start: float
    end: float
    text: str
    avg_logprob: float | None
    compression_ratio: float | None
    no_speech_prob: float | None
    temperature: float | None
    words: list[WordOut] | None = None


class TranscriptOut(BaseModel):
    """A transcript. `partial`: the job has not completed, this is what is done so far."""

    language: str | None
    duration_s: float | None
    partial: bool
    text: str
    segments: list[SegmentOut]


class CitationOut(BaseModel):
    """Where a passage stands: pages, or seconds."""

    page_from: int | None = None
    page_to: int | None = None
    start_s: float | None = None
    end_s: float | None = None


class PassageOut(BaseModel):
    """A searchable piece of text."""

    id: int
    text: str
    citation: CitationOut
    model: str | None = None
    vector: list[float] | None = None


class PassageList(BaseModel):
    """A page of passages in the order of the text."""

    data: list[PassageOut]
    next_cursor: str | None


class SearchIn(BaseModel):
    """A search over one's own transcripts and documents together."""

    model_config = ConfigDict(extra="forbid")

    query: Text = Field(min_length=1, max_length=2000)
    mode: Literal["semantic"] = "semantic"
    limit: int = Field(10, ge=1, le=100)
    kind: JobKind | None = None
    job_ids: list[UUID] | None = Field(None, max_length=1000)

    @field_validator("query")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the query is empty")
        return value


class HitOut(BaseModel):
    """A passage found; `score` is its cosine similarity to the query."""

    job_id: UUID
    kind: JobKind
    name: str
    text: str
    score: float
    citation: CitationOut


class SearchOut(BaseModel):
    """The best hits first."""

    hits: list[HitOut]


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
