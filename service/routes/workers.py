"""`GET /v1/workers`: what operators see of the workers."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from core import errors
from core.store import workers
from service.deps import OperatorDep, ServiceDep
from service.problems import responses
from service.schemas import WorkerList, WorkerOut

router = APIRouter(prefix="/v1", tags=["operators"])


@router.get("/workers", responses=responses(errors.Forbidden))
def list_workers(service: ServiceDep, operator: OperatorDep) -> WorkerList:
    """The workers that were heard of lately: device, lanes, loaded models and the chunk in work."""
    with service.database.transaction() as connection:
        seen = workers.seen(connection, service.worker_silence_s)
    return WorkerList(workers=[WorkerOut(**asdict(one.worker), last_seen=one.last_seen) for one in seen])
