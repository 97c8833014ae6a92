"""`/v1/batches`: submit many recordings and PDFs at once, look at how they stand, cancel them together."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response

from core import errors
from core.store import batches
from service import batch
from service.deps import AccountDep, ServiceDep
from service.formats import batch_out
from service.forms import BatchForm, BatchItem
from service.problems import responses
from service.schemas import BatchOut
from service.submit import BatchSubmissionDep
from service.submit_bodies import form_body, one_file, schema_of

router = APIRouter(prefix="/v1/batches", tags=["batches"])

_ERRORS = responses(
    *(errors.Forbidden, errors.IdempotencyInFlight, errors.UploadTooLarge, errors.UnsupportedMedia),
    errors.InvalidRequest,
)
_NOT_FOUND = responses(errors.NotFound, errors.InvalidRequest)
_FORM = form_body(
    BatchForm,
    {
        "file": {
            "type": "array",
            "items": one_file("A recording or a PDF, under a name that an item names."),
        },
        "items": {
            **schema_of(BatchForm)["properties"]["items"],
            "items": schema_of(BatchItem),
        },
    },
)


@router.post(
    "",
    status_code=202,
    response_model=BatchOut,
    responses=_ERRORS,
    openapi_extra=_FORM,
)
def submit_batch(submission: BatchSubmissionDep) -> Response:
    """Accept up to 100 recordings and PDFs and answer at once; poll the batch's `status_url`, or those of its jobs.

    Each item is accepted or refused by itself: look at `request_counts`, and at the `error` of refused items. Without
    `lane` the jobs take the lane `batch`.
    """
    return batch.accept(submission)


@router.get("/{batch_id}", responses=_NOT_FOUND)
def get_batch(request: Request, service: ServiceDep, account: AccountDep, batch_id: UUID) -> BatchOut:
    """How a batch and each of its items stands, for polling."""
    with service.database.transaction() as connection:
        return batch_out(batches.get(connection, batch_id, account.id), str(request.base_url))


@router.post("/{batch_id}/cancel", responses={**_NOT_FOUND, **responses(errors.Conflict)})
def cancel_batch(request: Request, service: ServiceDep, account: AccountDep, batch_id: UUID) -> BatchOut:
    """Stop every job of a batch that has not ended; what is done stays readable."""
    with service.database.transaction() as connection:
        cancelled = batches.cancel(connection, batch_id, account.id)
    service.bell.ring()
    return batch_out(cancelled, str(request.base_url))
