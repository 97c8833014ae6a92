"""What a message can ask for. The stages are named like the stages of a job, and all take one chunk id."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NoReturn
from uuid import UUID

import structlog

from core.broker import EMBED_QUERY, RERANK
from core.job import Stage
from core.settings import RERANK_LIMIT_S
from models.errors import DeviceFailed, OutOfDeviceMemory
from workers import beat, rescue, runtime
from workers.attempts import ProcessSpent
from workers.celery_app import app
from workers.reranking import rerank
from workers.stages.context import Context
from workers.stages.embed import embed_query

log = structlog.get_logger(__name__)

_EXIT_SPENT = 75  # EX_TEMPFAIL of sysexits.h


def _work(chunk_id: str) -> None:
    try:
        runtime.current().attempts.work(UUID(chunk_id))
    except ProcessSpent:
        _end_process()


def _end_process() -> NoReturn:
    """The parent starts another."""
    try:
        runtime.stop()
    finally:
        os._exit(_EXIT_SPENT)  # without a word to CUDA, which may hang by now


for _stage in Stage:
    app.task(_work, name=str(_stage))


@app.task(name=EMBED_QUERY, ignore_result=False, soft_time_limit=20, time_limit=30)
def _embed_query(text: str) -> dict[str, Any]:
    """The vector of a search query. This task and the next have a result: somebody waits for it."""
    return _answered(lambda context: embed_query(context, text))


@app.task(name=RERANK, ignore_result=False, soft_time_limit=RERANK_LIMIT_S + 5, time_limit=RERANK_LIMIT_S + 10)
def _rerank(account_id: str, query: str, ids: list[int], until: float) -> dict[str, Any]:
    """How well passages answer a query, if it can be said by `until`. Its own limits are for a batch that hangs."""
    return _answered(lambda context: rerank(context, UUID(account_id), query, ids, until))


def _answered(ask: Callable[[Context], dict[str, Any]]) -> dict[str, Any]:
    try:
        return ask(runtime.current().attempts.context)
    except (DeviceFailed, OutOfDeviceMemory, MemoryError):
        log.exception("this process cannot read queries any more")
        _end_process()


@app.task(name=beat.DISPATCH)
def _dispatch() -> None:
    runtime.current().attempts.context.bell.ring()  # a round that waits for a lock keeps nobody from rescuing


@app.task(name=beat.RESCUE)
def _rescue() -> None:
    own = runtime.current()
    if own.lookout.round() + rescue.readmit(own.database):
        own.attempts.context.bell.ring()


@app.task(name=beat.UPKEEP)
def _upkeep() -> None:
    for bell in runtime.current().upkeep_bells:
        bell.ring()
