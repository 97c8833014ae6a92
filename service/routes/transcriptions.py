"""`POST /v1/transcriptions`: a recording becomes a transcript."""

from __future__ import annotations

from fastapi import APIRouter, Response

from core import errors
from service import submit, submit_bodies
from service.forms import TranscriptionForm
from service.problems import responses
from service.schemas import JobOut
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
    responses={**submit_bodies.REUSED, **_ERRORS},
    openapi_extra=submit_bodies.either_body(TranscriptionForm, submit_bodies.one_file(_FILE)),
)
def transcribe(submission: SubmissionDep) -> Response:
    """Accept a recording, or the URL of one, and answer at once with the job; poll its `status_url`."""
    return submit.accept(submission, submit.parse(submission.upload.fields, TranscriptionForm))
