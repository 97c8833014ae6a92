"""`POST /v1/search`: one question over all of one's transcripts and documents."""

from __future__ import annotations

from fastapi import APIRouter

from core import errors
from service import searching
from service.deps import AccountDep, ServiceDep
from service.formats import search_out
from service.forms import SearchIn
from service.problems import responses
from service.text_schemas import SearchOut

router = APIRouter(prefix="/v1", tags=["search"])


@router.post(
    "/search",
    response_model_exclude_unset=True,
    responses=responses(errors.UnsupportedMedia, errors.InvalidRequest, errors.SearchUnavailable),
)
def search(service: ServiceDep, account: AccountDep, wanted: SearchIn) -> SearchOut:
    """The passages that answer the query, each with its page or its second, found by meaning and by words."""
    return search_out(searching.search(service, account, wanted), wanted.mode)
