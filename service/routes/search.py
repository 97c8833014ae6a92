"""`POST /v1/search`: one question over all of one's transcripts and documents."""

from __future__ import annotations

from fastapi import APIRouter

from core import errors
from core.store import passages
from core.store.passages import Query
from service.deps import AccountDep, ServiceDep
from service.formats import hit_out
from service.forms import SearchIn
from service.problems import responses
from service.query_vector import query_vector
from service.schemas import SearchOut

router = APIRouter(prefix="/v1", tags=["search"])


@router.post(
    "/search",
    response_model_exclude_unset=True,
    responses=responses(errors.UnsupportedMedia, errors.InvalidRequest, errors.SearchUnavailable),
)
def search(service: ServiceDep, account: AccountDep, wanted: SearchIn) -> SearchOut:
    """The passages nearest in meaning to the query, each with its page or its seconds."""
    asked = query_vector(service.celery, wanted.query, service.query_timeout_s)
    query = Query(asked.vector, asked.model, wanted.limit, wanted.kind, wanted.job_ids)
    with service.database.transaction() as connection:
        hits = passages.nearest(connection, account.id, query)
    return SearchOut(hits=[hit_out(hit) for hit in hits])
