"""How well passages answer a query, from the cross-encoder of the worker on the lane `query`.

`searching` asks this of the best that it found, if a model is configured, and goes on without it if none answers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from celery import Celery

from core.broker import RERANK
from core.errors import SearchUnavailable
from service import query_worker


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """What is to be read: passages of an account, by their ids, against a query."""

    account_id: UUID
    query: str
    ids: Sequence[int]


def scores_of(celery: Celery, request: RerankRequest, timeout_s: float) -> dict[int, float]:
    """A score, 0 to 1, for each passage that is still there. Raises `SearchUnavailable` when none comes in time."""
    until = time.time() + timeout_s  # counted from here: the worker may take it from the queue late
    args = [str(request.account_id), request.query, list(request.ids), until]
    answer = query_worker.ask(celery, RERANK, args, timeout_s)
    if answer["scores"] is None:
        raise SearchUnavailable("The query worker did not read the passages in time.")
    scores: dict[int, float] = dict(answer["scores"])
    return scores
