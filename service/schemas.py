"""The JSON that the API answers. Times are seconds, dates carry their zone. `service.forms` is what it takes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from core.job import JobKind, JobStatus, Stage
from core.lanes import Lane, Tier
from core.search import SearchMode


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


class WordOut(BaseModel):
    """One word of a segment: inside it, and none begins before the one before it ends."""

    start: float
    end: float
    text: str
    probability: float = Field(description="How sure Whisper was of it, 0 to 1.")


class SegmentOut(BaseModel):
    """A stretch of speech, in seconds on the media clock."""

    start: float
    end: float
    text: str
    avg_logprob: float | None = Field(description="Mean log probability of its tokens; below -1 it is doubtful.")
    compression_ratio: float | None = Field(description="Of its text by zlib; above 2.4 it probably repeats itself.")
    no_speech_prob: float | None = Field(description="The probability that nobody speaks there, 0 to 1.")
    temperature: float | None = Field(description="At which it was decoded; 0 unless that failed.")
    words: list[WordOut] | None = Field(None, description="With `word_timestamps` only.")


class TranscriptOut(BaseModel):
    """A transcript. `partial`: the job has not completed, this is what is done so far."""

    language: str | None
    language_probability: float | None = Field(
        description="How much of the speech, 0 to 1, was heard as that language; 1 if it was named."
    )
    duration_s: float | None
    partial: bool
    text: str
    segments: list[SegmentOut]


class CitationOut(BaseModel):
    """Where a passage stands: pages, or seconds. What is not known, or does not apply, is left out."""

    page_from: int | None = None
    page_to: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    label: str = Field("", description="For people: `p. 3`, `pp. iii–iv` as they are printed, `00:41`.")
    section: str | None = Field(None, description="The chapter or the heading that it stands under.")
    speaker: str | None = None
    url: str | None = Field(None, description="Where to see or hear it, if it came from a URL.")


class PassageOut(BaseModel):
    """A searchable piece of text."""

    id: int
    text: str
    citation: CitationOut
    page_label: str | None = Field(None, description="The page as it is printed, such as `iii`.")
    char_start: int | None = Field(None, description="Its place in the whole text, in characters.")
    char_end: int | None = None
    section: str | None = Field(None, description="The chapter or heading that it stands under.")
    speaker: str | None = None
    model: str | None = None
    vector: list[float] | None = None


class PassageList(BaseModel):
    """A page of passages in the order of the text."""

    data: list[PassageOut]
    next_cursor: str | None


class SearchWarningOut(BaseModel):
    """Why the answer may be less than what was asked for."""

    code: str
    message: str


class ScoresOut(BaseModel):
    """What each part of a search says of a passage; null where it was not asked."""

    semantic: float | None = Field(description="Cosine similarity of the passage and the query, at most 1.")
    keyword: float | None = Field(description="Share of the query's words that it holds, by how rare they are.")
    rerank: float | None = Field(None, description="Of the cross-encoder, 0 to 1; left out where it has not read it.")


class HitOut(BaseModel):
    """A passage found. `score`, at most 1, is that of the mode: of a hybrid search how high both halves rank it.

    Hits with `scores.rerank` stand first, in its order.
    """

    job_id: UUID
    kind: JobKind
    name: str
    text: str
    highlights: list[tuple[int, int]] = Field(description="Spans of `text` that are words of the query.")
    score: float
    scores: ScoresOut
    citation: CitationOut


class SearchOut(BaseModel):
    """The best hits first. `mode` is the one that was used: `keyword` where no worker could read the query in time."""

    mode: SearchMode
    hits: list[HitOut]
    warnings: list[SearchWarningOut]


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
