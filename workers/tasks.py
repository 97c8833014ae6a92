"""What a message can ask for. The stages are named like the stages of a job, and all take one chunk id."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

from core.broker import EMBED_QUERY
from core.job import Stage
from workers import beat, rescue, runtime
from workers.celery_app import app
from workers.stages.embed import embed_query

_EXIT_SPENT = 75  # EX_TEMPFAIL of sysexits.h


def _work(chunk_id: str) -> None:
    try:
        runtime.current().work(UUID(chunk_id))
    except runtime.ProcessSpent:
        runtime.stop()
        os._exit(_EXIT_SPENT)  # without a word to CUDA, which may hang by now; the parent starts another


for _stage in Stage:
    app.task(_work, name=str(_stage))


@app.task(name=EMBED_QUERY, ignore_result=False, soft_time_limit=20, time_limit=30)
def _embed_query(text: str) -> dict[str, Any]:
    """The vector of a search query, the only task with a result: somebody waits for it."""
    return embed_query(runtime.current().context, text)


@app.task(name=beat.DISPATCH)
def _dispatch() -> None:
    runtime.current().dispatcher.round()


@app.task(name=beat.RESCUE)
def _rescue() -> None:
    own = runtime.current()
    if rescue.rescue(own.database, max_failures=own.max_failures, lease_s=own.lease_s) + rescue.readmit(own.database):
        own.bell.ring()


@app.task(name=beat.UPKEEP)
def _upkeep() -> None:
    bell = runtime.current().upkeep_bell
    if bell is not None:
        bell.ring()
