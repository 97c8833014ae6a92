"""What a job and a chunk can be, and every change that is allowed: the one transition table.

A client submits a job; its stages are worked chunk by chunk (`docs/architecture.md` draws the flow).
The same strings stand in the database, the API, the logs and the metrics, and the first migration
makes PostgreSQL refuse every change of status that `JOB_TRANSITIONS` and `CHUNK_TRANSITIONS` lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class JobKind(StrEnum):
    """What a job turns into text, a recording or a PDF; or what is done to all text that there is."""

    TRANSCRIPTION = "transcription"
    DOCUMENT = "document"
    REINDEX = "reindex"
    """An operator's: the passages of all accounts get vectors of another embedding model."""


class JobStatus(StrEnum):
    """Where a job stands; it only ever moves to the right, unless a failed one is tried again."""

    QUEUED = "queued"
    """Accepted and stored; no worker has touched it yet, or none since it failed and was tried again."""
    PROCESSING = "processing"
    """A worker has claimed at least one of its chunks."""
    COMPLETED = "completed"
    """Every chunk is done and the result is whole."""
    FAILED = "failed"
    """One chunk failed for good; its siblings were cancelled, what was done stays readable."""
    CANCELLED = "cancelled"
    """Its owner cancelled it; what was done stays readable."""


class ChunkStatus(StrEnum):
    """Where one unit of work stands."""

    QUEUED = "queued"
    """Waits for a worker; dispatched to the broker or about to be."""
    RUNNING = "running"
    """Leased by one attempt of one worker until `lease_until`."""
    DONE = "done"
    """Its result is stored, exactly once."""
    FAILED = "failed"
    """Tried as often as it may be, or impossible; its job failed with it."""
    CANCELLED = "cancelled"
    """Its job was cancelled or failed before it was done."""


class Stage(StrEnum):
    """The steps of a job; also the names of the Celery tasks."""

    PREPARE = "prepare"
    TRANSCRIBE = "transcribe"
    EMBED = "embed"
    ASSEMBLE = "assemble"


JOB_TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.PROCESSING, JobStatus.CANCELLED}),
    JobStatus.PROCESSING: frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.COMPLETED: frozenset(),
    # Tried again at its owner's wish.
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.CANCELLED: frozenset(),
}

CHUNK_TRANSITIONS: Mapping[ChunkStatus, frozenset[ChunkStatus]] = {
    ChunkStatus.QUEUED: frozenset({ChunkStatus.RUNNING, ChunkStatus.CANCELLED}),
    # Back to queued: a retry after a passing fault, or a rescue after the lease ran out.
    ChunkStatus.RUNNING: frozenset(
        {ChunkStatus.DONE, ChunkStatus.FAILED, ChunkStatus.CANCELLED, ChunkStatus.QUEUED},
    ),
    ChunkStatus.DONE: frozenset(),
    # Back to queued: the failed job that they belong to is tried again.
    ChunkStatus.FAILED: frozenset({ChunkStatus.QUEUED}),
    ChunkStatus.CANCELLED: frozenset({ChunkStatus.QUEUED}),
}

ENDED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
"""The statuses in which nothing more happens to a job by itself."""


@dataclass(frozen=True, slots=True)
class JobWarning:
    """Something that a reader of the result should know. `code` is stable, `message` is for people.

    What is about a part of a recording has its span, in seconds.
    """

    code: str
    message: str
    start_s: float | None = None
    end_s: float | None = None


def stages_of(kind: JobKind, *, index: bool) -> tuple[Stage, ...]:
    """The stages of a job in order. `index=False` leaves a transcript out of search."""
    if kind in (JobKind.DOCUMENT, JobKind.REINDEX):
        return (Stage.PREPARE, Stage.EMBED, Stage.ASSEMBLE)
    if index:
        return (Stage.PREPARE, Stage.TRANSCRIBE, Stage.EMBED, Stage.ASSEMBLE)
    return (Stage.PREPARE, Stage.TRANSCRIBE, Stage.ASSEMBLE)
