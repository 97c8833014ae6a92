"""`POST /v1/transcriptions`: a recording becomes a transcript."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from core import errors
from core.job import JobKind
from models.registry import ModelKind
from service import submit
from service.deps import AccountDep, ServiceDep
from service.problems import responses
from service.schemas import JobOut, TranscriptionForm
from service.upload import UploadDep

router = APIRouter(prefix="/v1", tags=["submit"])

_ERRORS = responses(errors.Forbidden, errors.UploadTooLarge, errors.UnsupportedMedia, errors.InvalidRequest)
_FILE = "Audio or video: wav, flac, mp3, m4a/mp4, ogg/opus, webm."


@router.post(
    "/transcriptions",
    status_code=202,
    responses=_ERRORS,
    openapi_extra=submit.form_body(TranscriptionForm, _FILE),
)
def transcribe(
    request: Request,
    response: Response,
    service: ServiceDep,
    account: AccountDep,
    upload: UploadDep,
) -> JobOut:
    """Accept a recording and answer at once with the job; poll its `status_url`."""
    form = submit.parse(upload.fields, TranscriptionForm)
    submit.check_model(form.model, ModelKind.WHISPER)
    submit.check_language(form.language, form.model)
    submit.check_task(form.task, form.model)
    return submit.accepted(submit.accept(service, account, upload, JobKind.TRANSCRIPTION, form), request, response)
