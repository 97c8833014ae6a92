"""A search read once more: how well each of the passages that it found answers it, by a cross-encoder.

Runs on the lane `query`. The API (`service.reranking`) sends ids; the texts are read here, so that a message stays
small however long the passages of a model are.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from core.errors import Misconfigured
from core.store.passages import texts_of
from models.registry import ModelKind
from workers.stages.context import Context

log = structlog.get_logger(__name__)


def rerank(context: Context, account_id: UUID, query: str, ids: list[int], within_s: float) -> dict[str, Any]:
    """The model, and `scores`: pairs of a passage's id and its score, 0 to 1. Passages that are gone have none.

    `scores` is None if it took longer than `within_s`: nobody waits any more, and the next query does. Raises
    `Misconfigured` where this worker has no re-ranker.
    """
    if not context.rerank_model:
        raise Misconfigured("SCRIBELANE_RERANK_MODEL is set for the API, and not for this query worker.")
    until = time.monotonic() + within_s
    with context.database.transaction() as connection:
        texts = texts_of(connection, account_id, ids)
    try:
        with context.pool.use(context.rerank_model, ModelKind.RERANKER) as engine:
            scores = engine.scores(query, list(texts.values()), on_batch=partial(_still_waited_for, until)).tolist()
    except _TooLate:
        log.warning("re-ranking took longer than a search waits", model=context.rerank_model, within_s=within_s)
        return {"model": context.rerank_model, "scores": None}
    return {"model": context.rerank_model, "scores": list(zip(texts, scores, strict=True))}


class _TooLate(Exception):
    """Nobody waits any more."""


def _still_waited_for(until: float) -> None:
    """Raises `_TooLate` if not."""
    if time.monotonic() > until:
        raise _TooLate


def warm(context: Context) -> None:
    """Load the model, where there is one, and let it read a pair."""
    if context.rerank_model:
        with context.pool.use(context.rerank_model, ModelKind.RERANKER) as engine:
            engine.scores("warm", ["warm"])
