"""`/v1/jobs`: look at one's jobs, fetch their results, cancel and erase them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy.engine import Connection

from core import errors
from core.erasure import erase_job
from core.errors import InvalidRequest, NotFound
from core.job import JobKind, JobStatus
from core.options import Text
from core.store import estimates, interventions, jobs, passages
from core.store.estimates import UNKNOWN
from core.store.jobs import Job, JobFilter
from core.subtitles import MAX_LINE_CHARS, MAX_LINES, MIN_LINE_CHARS
from models.registry import ModelKind, find
from service.deps import AccountDep, Service, ServiceDep
from service.formats import from_cursor, job_out, passage_out, to_cursor, transcript_out
from service.passage_files import PASSAGE_FILES, Export
from service.problems import responses
from service.schemas import JobList, JobOut
from service.submit import check_model
from service.text_schemas import PassageList, TranscriptOut
from service.transcript_files import FILE_FORMATS

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_NOT_FOUND = responses(errors.NotFound, errors.InvalidRequest)
_AS_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {form.media_type: {"schema": {"type": "string"}} for form in FILE_FORMATS.values()}}
}
_PASSAGES_OF_A_PAGE = 200
_AS_PASSAGE_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            form.media_type: {"schema": {"type": "string", "format": "binary"}} for form in PASSAGE_FILES.values()
        }
    }
}
_PASSAGE_FORMAT = "`json` comes in pages; `jsonl` and `parquet` are files of all passages."
_PAGE_OF = f"Of `json`: passages of a page; none: {_PASSAGES_OF_A_PAGE}."
_VECTORS_OF = "With `vectors`: those of which model; none: the job's own."
_FORMAT = "`json` has all that Whisper reports; `srt` and `vtt` are subtitles, `tsv` has a segment a line."
_LINE_CHARS = "Of a subtitle: columns in a line; a Chinese, Japanese or Korean character takes two."
_LINES = "Of a subtitle: lines at a time."
_RETRY_ERRORS = {**_NOT_FOUND, **responses(errors.Conflict, errors.QuotaExceeded)}


@router.get("", responses=responses(errors.InvalidRequest))
def list_jobs(
    request: Request,
    service: ServiceDep,
    account: AccountDep,
    status: JobStatus | None = None,
    kind: JobKind | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> JobList:
    """One's jobs, the newest first."""
    wanted = JobFilter(status, kind, _job_place(cursor), limit + 1)
    with service.database.transaction() as connection:
        found = jobs.list_of(connection, account.id, wanted)
        page = found[:limit]
        data = _shown(connection, page, request)
    more = to_cursor(page[-1].created_at.isoformat(), page[-1].id) if len(found) > limit else None
    return JobList(data=data, next_cursor=more)


def _shown(connection: Connection, found: Sequence[Job], request: Request) -> list[JobOut]:
    known = estimates.of(connection, found)
    return [job_out(job, known.get(job.id, UNKNOWN), str(request.base_url)) for job in found]


def _job_place(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    created_at, job_id = from_cursor(cursor, 2)
    try:
        return datetime.fromisoformat(created_at), UUID(job_id)
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest("This cursor is not one that a list answered.") from error


@router.get("/{job_id}", responses=_NOT_FOUND)
def get_job(request: Request, service: ServiceDep, account: AccountDep, job_id: UUID) -> JobOut:
    """The status of a job, for polling."""
    with service.database.transaction() as connection:
        return _shown(connection, [jobs.get(connection, job_id, account.id)], request)[0]


@router.post("/{job_id}/cancel", responses={**_NOT_FOUND, **responses(errors.Conflict)})
def cancel_job(request: Request, service: ServiceDep, account: AccountDep, job_id: UUID) -> JobOut:
    """Stop a job. Waiting parts at once, a running part at its next step; what is done stays readable."""
    with service.database.transaction() as connection:
        job = interventions.cancel(connection, job_id, account.id)
    service.bell.ring()
    return job_out(job, UNKNOWN, str(request.base_url))


@router.post("/{job_id}/retry", status_code=202, responses=_RETRY_ERRORS)
def retry_job(request: Request, service: ServiceDep, account: AccountDep, job_id: UUID) -> JobOut:
    """Try a failed job again: only what failed or was cancelled with it is worked, what was done stays."""
    with service.database.transaction() as connection:
        [shown] = _shown(connection, [interventions.retry(connection, job_id, account.id, service.tiers)], request)
    service.bell.ring()
    return shown


@router.delete("/{job_id}", status_code=204, responses={**_NOT_FOUND, **responses(errors.Unavailable)})
def delete_job(service: ServiceDep, account: AccountDep, job_id: UUID) -> None:
    """Erase a job: its media, chunks, text and vectors."""
    erase_job(service.database, service.blobs, job_id, account.id)
    service.bell.ring()


@router.head("/{job_id}/transcript", include_in_schema=False, response_model=TranscriptOut)
@router.get("/{job_id}/transcript", response_model=TranscriptOut, responses={**_NOT_FOUND, **_AS_FILE})
def get_transcript(
    service: ServiceDep,
    account: AccountDep,
    job_id: UUID,
    format: Annotated[Literal["json", "text", "srt", "vtt", "tsv"], Query(description=_FORMAT)] = "json",
    max_line_chars: Annotated[int | None, Query(ge=MIN_LINE_CHARS, le=MAX_LINE_CHARS, description=_LINE_CHARS)] = None,
    max_lines: Annotated[int | None, Query(ge=1, le=MAX_LINES, description=_LINES)] = None,
) -> Response | TranscriptOut:
    """The transcript; while the job is processing, what is done so far with `"partial": true`."""
    with service.database.transaction() as connection:
        job = jobs.get(connection, job_id, account.id)
        if job.kind is not JobKind.TRANSCRIPTION:
            raise NotFound(f"A {job.kind} has no transcript.")
        segments = passages.segments_of(connection, job_id)
        heard = passages.heard_languages(connection, job_id)
    if format in FILE_FORMATS:
        form = FILE_FORMATS[format]
        layout = service.subtitles
        layout = replace(layout, line_chars=max_line_chars or layout.line_chars, lines=max_lines or layout.lines)
        return Response(form.write(segments, layout), media_type=f"{form.media_type}; charset=utf-8")
    return transcript_out(job, heard, segments)


@router.head(
    "/{job_id}/passages", include_in_schema=False, response_model=PassageList, response_model_exclude_unset=True
)
@router.get(
    "/{job_id}/passages",
    response_model=PassageList,
    response_model_exclude_unset=True,
    responses={**_NOT_FOUND, **_AS_PASSAGE_FILE},
)
def get_passages(
    request: Request,
    service: ServiceDep,
    account: AccountDep,
    job_id: UUID,
    vectors: bool = False,
    format: Annotated[Literal["json", "jsonl", "parquet"], Query(description=_PASSAGE_FORMAT)] = "json",
    model: Annotated[Text | None, Query(max_length=100, description=_VECTORS_OF)] = None,
    cursor: str | None = None,
    limit: Annotated[int | None, Query(ge=1, le=1000, description=_PAGE_OF)] = None,
) -> Response | PassageList:
    """The passages of a document or transcript, with their vectors if asked for."""
    _check_pages(format, {"cursor": cursor, "limit": limit})
    after = _passage_place(cursor)
    with service.database.transaction() as connection:
        job = jobs.get(connection, job_id, account.id)
        name, dimensions = _vectors(connection, service, job, model) if vectors else (None, 0)
        if format == "json":
            found, more = passages.passages_of(
                connection, job_id, model=name, after=after, limit=limit or _PASSAGES_OF_A_PAGE
            )
    if format != "json":
        form, export = PASSAGE_FILES[format], Export(service.database, job_id, account.id, name, dimensions)
        pieces = form.write(export) if request.method == "GET" else ()  # HEAD: all but the file
        return StreamingResponse(pieces, media_type=form.media_type, headers=form.headers(job_id))
    return PassageList(
        data=[passage_out(stored) for stored in found],
        next_cursor=None if more is None else to_cursor(*more),
    )


def _check_pages(format: str, asked: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` where a page is asked for of what comes whole."""
    for name, value in asked.items():
        if value is not None and format != "json":
            raise InvalidRequest(f"{name}: a file has all passages; only json comes in pages.")


def _vectors(connection: Connection, service: Service, job: Job, asked: str | None) -> tuple[str, int]:
    """The model whose vectors are read, and their dimensions. Raises `UnknownModel`."""
    if asked is not None:
        check_model(asked, ModelKind.EMBEDDING)
        found = passages.vectors_for(connection, job.id, [asked])
        return found if found and found[0] == asked else (asked, find(asked, ModelKind.EMBEDDING).dimensions)
    default = service.default_models.embedding
    own = job.options.model if job.kind is JobKind.DOCUMENT else None
    found = passages.vectors_for(connection, job.id, [own] if own else [])
    return found or (own or default, find(own or default, ModelKind.EMBEDDING).dimensions)


def _passage_place(cursor: str | None) -> tuple[int, int]:
    chunk, ordinal = from_cursor(cursor, 2) if cursor is not None else (-1, -1)
    if not all(type(one) is int and abs(one) < 2**31 for one in (chunk, ordinal)):  # True is an int, too
        raise InvalidRequest("This cursor is not one that a list answered.")
    return chunk, ordinal
