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


def rerank(context: Context, account_id: UUID, query: str, ids: list[int], until: float) -> dict[str, Any]:
    """The model, and `scores`: pairs of a passage's id and its score, 0 to 1. Passages that are gone have none.

    `scores` is None if the model is not loaded (yet), or if they are not there by `until`, in seconds of the epoch:
    nobody waits any more, and the next query does. Raises `Misconfigured` where this worker has no re-ranker.
    """
    if context.reranker is None:
        raise Misconfigured("SCRIBELANE_RERANK_MODEL is set for the API, and not for this query worker.")
    model = context.reranker.model
    if not context.reranker.ready():
        return {"model": model, "scores": None}
    in_time = partial(_still_waited_for, until)
    try:
        in_time()  # it may have waited behind others until now
        with context.database.transaction() as connection:
            texts = texts_of(connection, account_id, ids)
        with context.pool.use(model, ModelKind.RERANKER) as engine:
            scores = engine.scores(query, list(texts.values()), on_batch=in_time).tolist()
    except _TooLate:
        log.warning("nobody waited for this re-ranking any more", model=model)
        return {"model": model, "scores": None}
    return {"model": model, "scores": list(zip(texts, scores, strict=True))}


class _TooLate(Exception):
    """Nobody waits any more."""


def _still_waited_for(until: float) -> None:
    """Raises `_TooLate` if not."""
    if time.time() > until:
        raise _TooLate
