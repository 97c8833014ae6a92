"""`/v1/reindexes`, `/v1/vectors`: operators embed all passages with another model, and drop what the old one made.

The job goes the way of every job; `workers.stages.reindex` works it. It costs no quota, and searches go on meanwhile.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from uuid_utils.compat import uuid7

from core import errors
from core.job import JobKind
from core.lanes import Lane
from core.options import ReindexOptions, Text
from core.store import idempotency, jobs, reindexes
from core.store.accounts import Account
from core.store.idempotency import Earlier, Outcome
from core.store.jobs import JobInput, NewJob
from core.tiers import Plan
from models.registry import ModelKind
from service import submit
from service.deps import OperatorDep, ServiceDep
from service.forms import ReindexIn
from service.idempotency import Fingerprint, OnceDep
from service.problems import responses
from service.schemas import JobOut, VectorsDropped

router = APIRouter(prefix="/v1", tags=["operators"])

_ERRORS = responses(errors.Forbidden, errors.Conflict, errors.InvalidRequest)
_DROP = "An embedding model. It may be one that this release does not know any more."


@router.post(
    "/reindexes",
    status_code=202,
    response_model=JobOut,
    responses={**_ERRORS, **responses(errors.IdempotencyInFlight, errors.UnsupportedMedia)},
)
def reindex(request: Request, service: ServiceDep, operator: OperatorDep, once: OnceDep, wanted: ReindexIn) -> Response:
    """Embed the passages of all accounts that have no vector of this model; poll the job's `status_url`.

    Searches go on with the model that they have. One reindex with a model is in work at a time.
    """
    asked = Fingerprint(request.url.path).digest({"model": wanted.model, "lane": wanted.lane})
    if isinstance(once, Earlier):
        return submit.sent_again(once, asked)
    submit.check_model(wanted.model, ModelKind.EMBEDDING)
    plan = service.tiers.plan(operator.tier)
    new = _job(operator, plan, wanted.model, submit.lane_for(operator.tier, plan, wanted.lane))
    with service.database.transaction() as connection:
        with reindexes.one_at_a_time():
            jobs.insert(connection, new)
        answer = submit.accepted(connection, new.id, str(request.base_url))
        if once is not None:
            idempotency.complete(connection, once, Outcome(asked, answer, job_id=new.id))
    service.bell.ring()
    return submit.sent(answer)


def _job(operator: Account, plan: Plan, model: str, lane: Lane) -> NewJob:
    return NewJob(
        id=uuid7(),
        account_id=operator.id,
        kind=JobKind.REINDEX,
        lane=lane,
        tier=operator.tier,
        input=JobInput("passages", model),
        options=ReindexOptions(model=model),
        metadata={},
        retention_days=plan.retention_days,
        concurrent_jobs=plan.concurrent_jobs,
    )


@router.delete("/vectors", responses=_ERRORS)
def drop_vectors(
    service: ServiceDep,
    operator: OperatorDep,
    model: Annotated[Text, Query(min_length=1, max_length=100, description=_DROP)],
) -> VectorsDropped:
    """Delete vectors of a model that is not used any more, 10,000 a call: call it again until `deleted` is 0.

    Refused for the model that searches, and while a reindex with it is in work.
    """
    with service.database.transaction() as connection:
        if not reindexes.is_known(connection, model):  # else one that is not registered any more
            submit.check_model(model, ModelKind.EMBEDDING)
        deleted = reindexes.drop(
            connection, model, configured=service.default_models.embedding, silent_s=service.worker_silence_s
        )
    return VectorsDropped(model=model, deleted=deleted)
