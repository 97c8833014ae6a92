"""`POST /v1/documents`: a PDF becomes passages that search finds."""

from __future__ import annotations

from fastapi import APIRouter, Response

from core import errors
from core.job import JobKind
from models.registry import ModelKind
from service import submit
from service.problems import responses
from service.schemas import DocumentForm, JobOut
from service.submit import SubmissionDep

router = APIRouter(prefix="/v1", tags=["submit"])

_ERRORS = responses(
    *(errors.Forbidden, errors.IdempotencyInFlight, errors.UploadTooLarge, errors.UnsupportedMedia),
    *(errors.InvalidRequest, errors.QuotaExceeded),
)


@router.post(
    "/documents",
    status_code=202,
    response_model=JobOut,
    responses=_ERRORS,
    openapi_extra=submit.form_body(DocumentForm, "A PDF with text."),
)
def embed(submission: SubmissionDep) -> Response:
    """Accept a PDF and answer at once with the job; poll its `status_url`."""
    form = submit.parse(submission.upload.fields, DocumentForm)
    submit.check_model(form.model, ModelKind.EMBEDDING)
    return submit.accept(submission, JobKind.DOCUMENT, form)
