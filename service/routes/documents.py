"""`POST /v1/documents`: a PDF becomes passages that search finds."""

from __future__ import annotations

from fastapi import APIRouter, Response

from core import errors
from service import submit, submit_bodies
from service.forms import DocumentForm
from service.problems import responses
from service.schemas import JobOut
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
    responses={**submit_bodies.REUSED, **_ERRORS},
    openapi_extra=submit_bodies.either_body(DocumentForm, submit_bodies.one_file("A PDF with text.")),
)
def embed(submission: SubmissionDep) -> Response:
    """Accept a PDF, or the URL of one, and answer at once with the job; poll its `status_url`."""
    return submit.accept(submission, submit.parse(submission.upload.fields, DocumentForm))
