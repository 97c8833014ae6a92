"""What a message can ask for. The stages are named like the stages of a job, and all take one chunk id."""

from __future__ import annotations

import os
from typing import Any, NoReturn
from uuid import UUID

import structlog

from core.broker import EMBED_QUERY
from core.job import Stage
from models.errors import DeviceFailed, OutOfDeviceMemory
from workers import beat, rescue, runtime
from workers.attempts import ProcessSpent
from workers.celery_app import app
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
    """The vector of a search query, the only task with a result: somebody waits for it."""
    try:
        return embed_query(runtime.current().attempts.context, text)
    except (DeviceFailed, OutOfDeviceMemory, MemoryError):
        log.exception("this process cannot embed any more")
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
