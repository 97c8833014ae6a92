"""What a message can ask for. The stages are named like the stages of a job, and all take one chunk id."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

from core.broker import EMBED_QUERY
from core.job import Stage
from workers import accounting, beat, clean, rescue, runtime
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


@app.task(name=beat.CLEAN)
def _clean() -> None:
    own = runtime.current()
    silence_s, idle_s = own.dispatcher.promises.worker_silence_s, own.lease_s
    clean.clean(own.database, own.blobs, worker_silence_s=silence_s, idle_s=idle_s)


@app.task(name=beat.RECONCILE)
def _reconcile() -> None:
    accounting.reconcile(runtime.current().database)


@app.task(name=beat.CLOSE_PERIODS)
def _close_periods() -> None:
    own = runtime.current()
    accounting.close_periods(own.database, own.context.tiers)
