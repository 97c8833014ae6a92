"""`POST /v1/transcriptions`: a recording becomes a transcript."""

from __future__ import annotations

from fastapi import APIRouter, Response

from core import errors
from core.job import JobKind
from models.registry import ModelKind
from service import submit
from service.problems import responses
from service.schemas import JobOut, TranscriptionForm
from service.submit import SubmissionDep

router = APIRouter(prefix="/v1", tags=["submit"])

_ERRORS = responses(
    *(errors.Forbidden, errors.IdempotencyInFlight, errors.UploadTooLarge, errors.UnsupportedMedia),
    *(errors.InvalidRequest, errors.QuotaExceeded),
)
_FILE = "Audio or video: wav, flac, mp3, m4a/mp4, ogg/opus, webm."


@router.post(
    "/transcriptions",
    status_code=202,
    response_model=JobOut,
    responses=_ERRORS,
    openapi_extra=submit.form_body(TranscriptionForm, _FILE),
)
def transcribe(submission: SubmissionDep) -> Response:
    """Accept a recording and answer at once with the job; poll its `status_url`."""
    form = submit.parse(submission.upload.fields, TranscriptionForm)
    submit.check_model(form.model, ModelKind.WHISPER)
    submit.check_language(form.language, form.model)
    submit.check_task(form.task, form.model)
    return submit.accept(submission, JobKind.TRANSCRIPTION, form)
