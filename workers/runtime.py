"""The composition root of a worker process: what it works with is made here from the settings, once.

`tasks` takes it from here; a chunk's path is in `attempts`, and everything a stage needs is handed to it as `Context`.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog
from billiard import current_process
from obstore.exceptions import BaseError as BlobError
from sqlalchemy.exc import SQLAlchemyError

from core import backup, links, ownership, tiers
from core.broker import make_celery
from core.dispatch import WORKER_SILENCE_BEATS, Bell, Dispatcher
from core.lanes import CONTROL_QUEUE, INFERENCE_QUEUES, QUERY_QUEUE
from core.retry import LONGEST_PAUSE_S
from core.settings import Settings, settings
from core.store import dimensions, turns, workers
from core.store.blobs import Blobs
from core.store.chunks import Claim
from core.store.session import Database
from core.store.turns import Promises
from core.store.workers import WorkerRecord
from models import devices
from models.pool import Budget, Pool
from models.registry import DEFAULT_EMBEDDING, default_whisper
from workers import rescue, scratch
from workers.attempts import Attempts
from workers.chores import Ages, Household, Periods, backups, chores, indexes
from workers.engines import Loader, Weights, as_seen, budget_bytes
from workers.inputs.ocr import OcrLimits
from workers.inputs.orders import FetchOptions
from workers.inputs.process import OpenLimits
from workers.lease import Heartbeat, Pace
from workers.loading import Reranker
from workers.rescue import Lookout, Waits
from workers.scratch import Scratch
from workers.stages.context import Context, InputLimits
from workers.stages.embed import embed_query
from workers.upkeep import Upkeep

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What one worker process holds from its start to its end; `upkeep_bells` only where Beat's ticks are taken."""

    attempts: Attempts
    database: Database
    lookout: Lookout
    scratch: Scratch
    upkeep_bells: Sequence[Bell] = ()


_runtime: Runtime | None = None


def start() -> None:
    """Build this process's runtime. What its predecessor in the same slot left unfinished is given back first."""
    global _runtime
    own = settings()
    database = Database(own.database_url)
    celery = make_celery(own.broker_url)
    plans = tiers.load(own.tiers_file)
    silence_s = own.heartbeat_s * WORKER_SILENCE_BEATS
    dispatcher = Dispatcher(database, celery, Promises(own.redispatch_s, silence_s, plans.max_waits_s()))
    blobs = Blobs(own.blob_url)
    worker = _identity(own)
    _give_back(database, worker.id, own.max_failures)
    check_media(database, blobs)
    device = as_seen(own.device)
    devices.check(device)
    weights = Weights(own.models_dir, own.cache_dir, own.hub_download)
    if set(worker.lanes) & set(INFERENCE_QUEUES):  # no other worker loads Whisper
        devices.compute_type(device, own.compute_type)
    loader = Loader(weights, device, own.threads or os.cpu_count() or 1, own.fake_speed, own.compute_type)
    # A person waits for the query worker, so its model stays; others give the memory back.
    idle_s = math.inf if QUERY_QUEUE in worker.lanes else own.model_ttl_s
    pool = Pool(loader, idle_s, Budget(budget_bytes(device, own.model_budget_bytes), loader.size_bytes))
    held = scratch.take()
    context = Context(
        database=database,
        bell=Bell(dispatcher),
        blobs=blobs,
        weights=weights,
        pool=pool,
        tiers=plans,
        limits=InputLimits(
            own.pdf_max_pages,
            own.chunk_target_s,
            own.chunk_audio_s,
            OpenLimits(own.input_memory_bytes, own.input_s, own.input_step_s),
            OcrLimits(own.ocr_languages, own.ocr_max_pages, own.ocr_page_s, own.input_s, own.input_memory_bytes),
        ),
        device=f"{worker.host}/{worker.device}",
        default_whisper=own.whisper_model or default_whisper(own.device),
        query_model=own.embedding_model or DEFAULT_EMBEDDING,
        reranker=Reranker(pool, own.rerank_model) if own.rerank_model else None,
        scratch=held.folder,
        fetching=_fetching(own),
    )
    if QUERY_QUEUE in worker.lanes:
        warm(context)  # before the first heartbeat: `/readyz` waits until searches are quick
    pace = Pace(own.heartbeat_s, own.lease_s, own.stall_s)
    _runtime = Runtime(
        attempts=Attempts(
            worker_id=worker.id,
            lease_s=own.lease_s,
            max_failures=own.max_failures,
            heartbeat=Heartbeat(database, pace, _reporter(worker, pool)),
            context=context,
        ),
        database=database,
        lookout=Lookout(
            database,
            Waits(own.lease_s, max(turns.longest_promise_s(own.redispatch_s), LONGEST_PAUSE_S)),
            max_failures=own.max_failures,
        ),
        scratch=held,
        upkeep_bells=[Bell(rounds) for rounds in upkeep(own, context)] if CONTROL_QUEUE in worker.lanes else (),
    )
    _runtime.attempts.context.bell.ring()
    if QUERY_QUEUE in worker.lanes and context.reranker is not None:
        context.reranker.ready()  # begins to load it; searches are answered without it until it is there
    log.info("worker ready", worker=worker.id, device=worker.device, lanes=",".join(worker.lanes))


def _fetching(own: Settings) -> FetchOptions:
    return FetchOptions(
        hosts=links.hosts_of(own.url_hosts),
        proxy=own.fetch_proxy or None,
        at_once=own.fetch_at_once,
        total_s=own.fetch_s,
        memory_bytes=own.input_memory_bytes,
        cookies_file=own.youtube_cookies_file,
        rate_bytes_per_s=own.youtube_rate_bytes_per_s or None,
        retries=own.youtube_retries,
    )


def stop() -> None:
    """Take the runtime down; the worker's record goes with it."""
    global _runtime
    if _runtime is None:
        return
    for bell in (_runtime.attempts.context.bell, *_runtime.upkeep_bells):
        bell.close()
    _runtime.attempts.heartbeat.stop()
    try:
        with _runtime.database.transaction() as connection:
            workers.forget(connection, _runtime.attempts.worker_id)
    except SQLAlchemyError as error:
        log.warning("could not sign off", error=str(error).split("\n")[0])
    _runtime.database.close()
    _runtime.scratch.remove()
    _runtime = None


def current() -> Runtime:
    """This process's runtime."""
    assert _runtime is not None, "the worker process has not started its runtime"
    return _runtime


def _identity(own: Settings) -> WorkerRecord:
    # A child that replaces a dead one gets its slot, and so its id: it knows what the dead one held.
    slot = getattr(current_process(), "index", 0)
    return WorkerRecord(
        id=f"{own.worker_name}/{slot}",
        host=socket.gethostname(),
        pid=os.getpid(),
        device=own.device,
        lanes=tuple(own.queues.split(",")),
        models=(),
        current_chunk=None,
    )


def upkeep(own: Settings, context: Context) -> Iterator[Upkeep]:
    """What keeps things in order, each with a thread of its own: a backup that takes an hour holds up nothing."""
    household = Household(context.database, context.blobs, context.tiers)
    periods = Periods(own.clean_s, own.usage_s, own.sweep_s)
    silence_s = own.heartbeat_s * WORKER_SILENCE_BEATS
    ages = Ages(silence_s, own.lease_s, own.orphan_s, own.ledger_keep_months)
    yield Upkeep(context.database, chores(household, periods, ages))
    yield Upkeep(context.database, indexes(context.database, periods))
    if own.backup_dir is not None:
        back_up = partial(backup.nightly, own.database_url, context.blobs, own.backup_dir, keep=own.backup_keep)
        yield Upkeep(context.database, backups(back_up, periods))


def check_media(database: Database, blobs: Blobs) -> None:
    """Raises `Unavailable` in a copy of a database that was started on the other's media: it would write over them."""
    try:
        ownership.check(database, blobs)
    except (SQLAlchemyError, BlobError, OSError) as error:
        log.warning("cannot tell whose the media store is", error=str(error).split("\n")[0])


def warm(context: Context) -> None:
    """Load the model that searches. Raises `Misconfigured` where its vectors are not as long as the stored ones."""
    asked = embed_query(context, "warm")
    try:
        with context.database.transaction() as connection:
            dimensions.check(connection, asked["model"], len(asked["vector"]))
    except SQLAlchemyError as error:
        log.warning("cannot tell how long the stored vectors are", error=str(error).split("\n")[0])


def _give_back(database: Database, worker_id: str, max_failures: int) -> None:
    try:
        rescue.rescue(database, max_failures=max_failures, worker_id=worker_id)
    except SQLAlchemyError as error:
        log.warning("the database is away; leases will run out", error=str(error).split("\n")[0])


def _reporter(worker: WorkerRecord, pool: Pool) -> Callable[[Claim | None], WorkerRecord]:
    def report(claim: Claim | None) -> WorkerRecord:
        pool.unload_idle()  # the heartbeat is also the clock by which idle models are let go
        return replace(worker, models=pool.loaded(), current_chunk=claim.chunk_id if claim else None)

    return report
