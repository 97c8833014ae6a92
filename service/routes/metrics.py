"""`GET /metrics`: this process and Beat's upkeep in figures, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.deps import ServiceDep

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: ServiceDep) -> PlainTextResponse:
    """The counters of this API process and of upkeep in Prometheus' text format. Needs no key and names no account."""
    return PlainTextResponse(generate_latest() + service.upkeep_metrics.text(), media_type=CONTENT_TYPE_LATEST)
