"""`GET /metrics`: this process in figures, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse)
def metrics() -> PlainTextResponse:
    """The counters of this API process in Prometheus' text format. Needs no key and names no account."""
    return PlainTextResponse(generate_latest(), media_type=CONTENT_TYPE_LATEST)
