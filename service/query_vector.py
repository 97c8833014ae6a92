"""The vector of a search query, from the worker on the lane `query`."""

from __future__ import annotations

from celery import Celery

from core.broker import EMBED_QUERY
from core.store.search import QueryVector
from service import query_worker


def query_vector(celery: Celery, text: str, timeout_s: float) -> QueryVector:
    """Ask for a vector and wait for it. Raises `SearchUnavailable` when none comes in time."""
    answer = query_worker.ask(celery, EMBED_QUERY, [text], timeout_s)
    return QueryVector(answer["model"], answer["vector"])
