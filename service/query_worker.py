"""Asking the worker on the lane `query`: the one kind of call whose answer is waited for.

`query_vector` asks it for the vector of a query, `reranking` to read once more what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from celery import Celery
from celery.exceptions import CeleryError
from celery.exceptions import TimeoutError as CeleryTimeout
from celery.result import AsyncResult
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from core.errors import SearchUnavailable
from core.lanes import QUERY_QUEUE

log = structlog.get_logger(__name__)


def ask(celery: Celery, task: str, args: Sequence[Any], timeout_s: float) -> Mapping[str, Any]:
    """The answer of `task`. Raises `SearchUnavailable` when none comes in time."""
    try:
        call = celery.send_task(
            task,
            args=list(args),
            queue=QUERY_QUEUE,
            expires=timeout_s,  # what nobody waits for any more is not worked
            ignore_result=False,
            retry=False,
        )
        answer = _answer(call, timeout_s)
    except (CeleryError, KombuError, RedisError, OSError, RuntimeError) as error:
        log.warning("no answer from a query worker", task=task, error=repr(error))
        raise SearchUnavailable() from error
    if isinstance(answer, BaseException):
        log.error("the query worker failed", task=task, error=repr(answer))
        raise SearchUnavailable("The query worker failed; the operator's log says why.")
    found: Mapping[str, Any] = answer
    return found


def _answer(call: AsyncResult, timeout_s: float) -> Any:
    """What the worker answered. Celery keeps a call that is not answered in time, and its subscription, for good."""
    try:
        return call.get(timeout=timeout_s, disable_sync_subtasks=False, propagate=False)
    except CeleryTimeout:
        call.forget()
        raise
