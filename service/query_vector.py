"""The vector of a search query, from the worker on the lane `query`: the one call whose answer is waited for."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery
from celery.exceptions import CeleryError
from celery.exceptions import TimeoutError as CeleryTimeout
from celery.result import AsyncResult
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from core.broker import EMBED_QUERY
from core.errors import SearchUnavailable
from core.lanes import QUERY_QUEUE
from core.store.search import QueryVector

log = structlog.get_logger(__name__)


def query_vector(celery: Celery, text: str, timeout_s: float) -> QueryVector:
    """Ask for a vector and wait for it. Raises `SearchUnavailable` when none comes in time."""
    try:
        call = celery.send_task(
            EMBED_QUERY,
            args=[text],
            queue=QUERY_QUEUE,
            expires=timeout_s,  # a query that nobody waits for any more is not worked
            ignore_result=False,
            retry=False,
        )
        answer = _answer(call, timeout_s)
    except (CeleryError, KombuError, RedisError, OSError, RuntimeError) as error:
        log.warning("no query vector", error=repr(error))
        raise SearchUnavailable() from error
    if isinstance(answer, BaseException):
        log.error("the query worker failed", error=repr(answer))
        raise SearchUnavailable("The query worker failed; the operator's log says why.")
    return QueryVector(answer["model"], answer["vector"])


def _answer(call: AsyncResult, timeout_s: float) -> Any:
    """What the worker answered. Celery keeps a call that is not answered in time, and its subscription, for good."""
    try:
        return call.get(timeout=timeout_s, disable_sync_subtasks=False, propagate=False)
    except CeleryTimeout:
        call.forget()
        raise
