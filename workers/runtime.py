"""The composition root of a worker process, and the one path that every chunk takes through it.

    claim → stage (slow, no transaction open) → complete, or fail → ring the dispatcher

`tasks` calls `work(chunk_id)`. Everything a stage needs is handed to it as `Context`.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import structlog
from billiard import current_process
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from core import backup, tiers
from core.broker import make_celery
from core.dispatch import WORKER_SILENCE_BEATS, Bell, Dispatcher
from core.errors import (
    ChunkTimeout,
    DeviceBroken,
    Internal,
    JobError,
    LeaseLost,
    ModelUnavailable,
    NotFound,
    OutOfMemory,
)
from core.lanes import CONTROL_QUEUE, QUERY_QUEUE
from core.retry import remedy_of
from core.settings import Settings, settings
from core.store import blobs as blob_store
from core.store import chunks, completion, jobs, speeds, workers
from core.store.blobs import Blobs
from core.store.chunks import Claim
from core.store.results import Result, Transcribed
from core.store.session import Database
from core.store.turns import Promises
from core.store.workers import WorkerRecord
from models.errors import DeviceFailed, OutOfDeviceMemory, WeightsMismatch, WeightsMissing
from models.pool import Pool
from models.registry import DEFAULT_EMBEDDING, default_whisper
from workers import rescue, scratch
from workers.chores import Ages, Household, Periods, chores
from workers.engines import Loader, Weights
from workers.inputs.opening import OpenLimits
from workers.lease import Heartbeat, Lease, Pace
from workers.scratch import Scratch
from workers.stages import STAGES
from workers.stages.context import Context, InputLimits
from workers.stages.embed import embed_query
from workers.upkeep import Upkeep

log = structlog.get_logger(__name__)


_PATIENCE_S = 300.0

# Inference is worth more than a reconnect: a result waits this long for a database that is away.
_patiently = retry(
    retry=retry_if_exception_type((OperationalError, InterfaceError)),
    wait=wait_exponential_jitter(multiplier=0.2, max=5),
    stop=stop_after_delay(_PATIENCE_S),
    reraise=True,
)


class ProcessSpent(Exception):
    """This process must not work another chunk: its memory or its device is not to be relied on any more."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What one worker process holds from its start to its end; `upkeep_bell` only where Beat's ticks are taken."""

    worker_id: str
    lease_s: float
    max_failures: int
    database: Database
    blobs: Blobs
    dispatcher: Dispatcher
    bell: Bell
    heartbeat: Heartbeat
    scratch: Scratch
    context: Context
    upkeep_bell: Bell | None = None

    def work(self, chunk_id: UUID) -> None:
        """Claim a chunk, do it, store its result. A chunk that is not waiting any more is forgotten.

        Raises `ProcessSpent` when the attempt has shown that this process had better end.
        """
        with self.database.transaction() as connection:
            claim = chunks.claim(connection, chunk_id, worker_id=self.worker_id, lease_s=self.lease_s)
        if claim is None:
            return
        with structlog.contextvars.bound_contextvars(job=str(claim.job_id), stage=claim.stage, n=claim.ordinal):
            try:
                self._attempt(claim)
            except LeaseLost:
                log.info("the chunk was taken away; its result is dropped")
                self._forget_blobs_of_deleted_job(claim)
            except JobError as error:
                try:
                    self._fail(claim, error)
                finally:
                    if remedy_of(error).new_process:
                        raise ProcessSpent(error.code) from error
            finally:
                self.bell.ring()

    def _attempt(self, claim: Claim) -> None:
        started = time.monotonic()
        try:
            with self.heartbeat.keep(claim) as lease:
                result = self._result(claim, lease)
                compute_s = time.monotonic() - started
                self._complete(claim, result, compute_s)
                self._keep_speed(claim, result)
        except (JobError, LeaseLost):
            raise
        except (OutOfDeviceMemory, MemoryError) as error:
            log.exception("out of memory")
            raise OutOfMemory() from error
        except DeviceFailed as error:
            log.exception("the device failed")
            raise DeviceBroken() from error
        except (WeightsMissing, WeightsMismatch) as error:
            log.exception("no weights")
            raise ModelUnavailable() from error
        except Exception as error:  # also the time limit, if the database kept a result waiting for so long
            log.exception("a stage failed")
            raise Internal() from error
        log.info("done", seconds=round(compute_s, 2))

    def _result(self, claim: Claim, lease: Lease) -> Result:
        try:
            return STAGES[claim.stage](self.context, claim, lease)
        except SoftTimeLimitExceeded as error:
            raise ChunkTimeout() from error

    @_patiently
    def _complete(self, claim: Claim, result: Result, compute_s: float) -> None:
        with self.database.transaction() as connection:
            completion.complete(connection, claim, result, compute_s=compute_s, tiers=self.context.tiers)

    def _keep_speed(self, claim: Claim, result: Result) -> None:
        """Outside of the fenced transaction: all chunks of a device meet on one row, and none waits for it there."""
        if not isinstance(result, Transcribed) or result.measured is None:
            return
        try:
            with self.database.transaction() as connection:
                speeds.keep(connection, claim.options.model, claim.lane, result.measured)
        except SQLAlchemyError as error:
            log.warning("a speed was not kept", error=str(error).split("\n")[0])

    def _fail(self, claim: Claim, error: JobError) -> None:
        log.warning("attempt failed", code=error.code, attempt=claim.attempt, retryable=error.retryable)
        try:
            self._store_failure(claim, error)
        except LeaseLost:
            log.info("the chunk was taken away meanwhile")
            self._forget_blobs_of_deleted_job(claim)

    @_patiently
    def _store_failure(self, claim: Claim, error: JobError) -> None:
        with self.database.transaction() as connection:
            completion.fail(connection, claim, error, max_failures=self.max_failures)

    def _forget_blobs_of_deleted_job(self, claim: Claim) -> None:
        try:
            with self.database.transaction() as connection:
                jobs.get(connection, claim.job_id)
        except NotFound:
            self.blobs.erase(blob_store.job_prefix(claim.job_id))


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
    weights = Weights(own.models_dir, own.cache_dir, own.hub_download)
    loader = Loader(weights, own.device, own.threads or os.cpu_count() or 1, own.fake_speed)
    # A person waits for the query worker, so its model stays; others give the memory back.
    pool = Pool(loader, math.inf if QUERY_QUEUE in worker.lanes else own.model_ttl_s)
    _give_back(database, worker.id, own.max_failures)
    held = scratch.take()
    context = Context(
        database=database,
        blobs=blobs,
        weights=weights,
        pool=pool,
        tiers=plans,
        limits=InputLimits(
            own.pdf_max_pages,
            own.chunk_target_s,
            own.chunk_audio_s,
            OpenLimits(own.input_memory_bytes, own.input_s, own.input_step_s),
        ),
        device=f"{worker.host}/{worker.device}",
        default_whisper=own.whisper_model or default_whisper(own.device),
        query_model=own.embedding_model or DEFAULT_EMBEDDING,
        scratch=held.folder,
    )
    if QUERY_QUEUE in worker.lanes:
        embed_query(context, "warm")  # before the first heartbeat: `/readyz` waits until searches are quick
    heartbeat = Heartbeat(database, Pace(own.heartbeat_s, own.lease_s, own.stall_s), _reporter(worker, pool))
    _runtime = Runtime(
        worker_id=worker.id,
        lease_s=own.lease_s,
        max_failures=own.max_failures,
        database=database,
        blobs=blobs,
        dispatcher=dispatcher,
        bell=Bell(dispatcher),
        heartbeat=heartbeat,
        scratch=held,
        context=context,
        upkeep_bell=Bell(_upkeep(own, context)) if CONTROL_QUEUE in worker.lanes else None,
    )
    _runtime.bell.ring()
    log.info("worker ready", worker=worker.id, device=worker.device, lanes=",".join(worker.lanes))


def stop() -> None:
    """Take the runtime down; the worker's record goes with it."""
    global _runtime
    if _runtime is None:
        return
    _runtime.bell.close()
    if _runtime.upkeep_bell is not None:
        _runtime.upkeep_bell.close()
    _runtime.heartbeat.stop()
    try:
        with _runtime.database.transaction() as connection:
            workers.forget(connection, _runtime.worker_id)
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


def _upkeep(own: Settings, context: Context) -> Upkeep:
    back_up = None
    if own.backup_dir is not None:
        back_up = partial(backup.nightly, own.database_url, context.blobs, own.backup_dir, keep=own.backup_keep)
    household = Household(context.database, context.blobs, context.tiers, back_up)
    silence_s = own.heartbeat_s * WORKER_SILENCE_BEATS
    ages = Ages(silence_s, own.lease_s, own.orphan_s, own.ledger_keep_months)
    return Upkeep(context.database, chores(household, Periods(own.clean_s, own.usage_s, own.sweep_s), ages))


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
