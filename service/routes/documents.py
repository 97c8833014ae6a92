"""`POST /v1/documents`: a PDF becomes passages that search finds."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from core import errors
from core.job import JobKind
from models.registry import ModelKind
from service import submit
from service.deps import AccountDep, ServiceDep
from service.problems import responses
from service.schemas import DocumentForm, JobOut
from service.upload import UploadDep

router = APIRouter(prefix="/v1", tags=["submit"])

_ERRORS = responses(errors.Forbidden, errors.UploadTooLarge, errors.UnsupportedMedia, errors.InvalidRequest)


@router.post(
    "/documents",
    status_code=202,
    responses=_ERRORS,
    openapi_extra=submit.form_body(DocumentForm, "A PDF with text."),
)
def embed(
    request: Request,
    response: Response,
    service: ServiceDep,
    account: AccountDep,
    upload: UploadDep,
) -> JobOut:
    """Accept a PDF and answer at once with the job; poll its `status_url`."""
    form = submit.parse(upload.fields, DocumentForm)
    submit.check_model(form.model, ModelKind.EMBEDDING)
    return submit.accepted(submit.accept(service, account, upload, JobKind.DOCUMENT, form), request, response)
