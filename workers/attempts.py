"""The one path that every chunk takes through a worker process, and the one place where a failure gets its code.

    claim → stage (slow, no transaction open) → complete, or fail → ring the dispatcher

`tasks` calls `work(chunk_id)`; what follows on a failure is the table of `core.retry`.
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from obstore.exceptions import BaseError as BlobError
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from core import ownership
from core.errors import (
    ChunkTimeout,
    DeviceBroken,
    Internal,
    JobError,
    LeaseLost,
    ModelUnavailable,
    NotFound,
    OutOfMemory,
    StoreUnavailable,
    Unavailable,
)
from core.retry import remedy_of
from core.store import blobs as blob_store
from core.store import chunks, completion, jobs, speeds
from core.store.chunks import Claim, Orphan, Took
from core.store.results import Result, Transcribed
from models import cold_start
from models.errors import DeviceFailed, OutOfDeviceMemory, WeightsMismatch, WeightsMissing
from workers.lease import Heartbeat, Lease
from workers.places import POSTPONED_S, Postponed
from workers.stages import STAGES
from workers.stages.context import Context

log = structlog.get_logger(__name__)

_PATIENCE_S = 300.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

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
class Attempts:
    """How one process works chunks: as whom, under which rules, and with what."""

    worker_id: str
    lease_s: float
    max_failures: int
    heartbeat: Heartbeat
    context: Context

    def work(self, chunk_id: UUID) -> None:
        """Claim a chunk, do it, store its result. A chunk that is not waiting any more is forgotten.

        Raises `ProcessSpent` when the attempt has shown that this process had better end.
        """
        with self.context.database.transaction() as connection:
            claim = chunks.claim(connection, chunk_id, worker_id=self.worker_id, lease_s=self.lease_s)
        if claim is None:
            return
        with structlog.contextvars.bound_contextvars(job=str(claim.job_id), stage=claim.stage, n=claim.ordinal):
            try:
                self._attempt(claim)
            except Postponed:
                self._give_back(claim)
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
                self.context.bell.ring()

    def _attempt(self, claim: Claim) -> None:
        started = time.monotonic()
        try:
            with self.heartbeat.keep(claim) as lease:
                with cold_start.clock() as loads:
                    result = self._result(claim, lease)
                in_work_s = time.monotonic() - started
                took = Took(max(0.0, in_work_s - loads.waited_s), loads.waited_s)
                self._complete(claim, result, took)
                self._keep_speed(claim, result)
        except (JobError, LeaseLost, Postponed):
            raise
        except FileNotFoundError as error:
            log.exception("a blob is missing")
            raise self._why_missing() from error
        except Exception as error:  # also the time limit, if the database kept a result waiting for so long
            log.exception("a stage failed")
            raise in_our_words(error) from error
        log.info("done", seconds=round(took.compute_s, 2), cold_start_s=round(took.cold_start_s, 2))

    def _why_missing(self) -> JobError:
        """A store whose volume is not mounted has no blobs at all, and they come back."""
        try:
            ownership.check(self.context.database, self.context.blobs)
        except (Unavailable, BlobError, OSError, SQLAlchemyError) as error:
            log.warning("the media store is not there", error=str(error).split("\n")[0])
            return StoreUnavailable()
        return Internal()

    def _result(self, claim: Claim, lease: Lease) -> Result:
        try:
            return STAGES[claim.stage](self.context, claim, lease)
        except SoftTimeLimitExceeded as error:
            raise ChunkTimeout() from error

    @_patiently
    def _complete(self, claim: Claim, result: Result, took: Took) -> None:
        with self.context.database.transaction() as connection:
            completion.complete(connection, claim, result, took=took, tiers=self.context.tiers)

    def _keep_speed(self, claim: Claim, result: Result) -> None:
        """Outside of the fenced transaction: all chunks of a device meet on one row, and none waits for it there."""
        if not isinstance(result, Transcribed) or result.measured is None:
            return
        try:
            with self.context.database.transaction() as connection:
                speeds.keep(connection, claim.options.model, claim.lane, result.measured)
        except SQLAlchemyError as error:
            log.warning("a speed was not kept", error=str(error).split("\n")[0])

    @_patiently
    def _give_back(self, claim: Claim) -> None:
        held = Orphan(claim.chunk_id, claim.job_id, claim.attempt)
        with self.context.database.transaction() as connection:
            completion.hand_back(connection, held, delay_s=POSTPONED_S)

    def _fail(self, claim: Claim, error: JobError) -> None:
        log.warning("attempt failed", code=error.code, attempt=claim.attempt, retryable=error.retryable)
        try:
            self._store_failure(claim, error)
        except LeaseLost:
            log.info("the chunk was taken away meanwhile")
            self._forget_blobs_of_deleted_job(claim)

    @_patiently
    def _store_failure(self, claim: Claim, error: JobError) -> None:
        with self.context.database.transaction() as connection:
            completion.fail(connection, claim, error, max_failures=self.max_failures)

    def _forget_blobs_of_deleted_job(self, claim: Claim) -> None:
        try:
            with self.context.database.transaction() as connection:
                jobs.get(connection, claim.job_id)
        except NotFound:
            self.context.blobs.erase(blob_store.job_prefix(claim.job_id))


def in_our_words(error: Exception) -> JobError:
    """The error of a job for what came out of a stage."""
    match error:
        case OutOfDeviceMemory() | MemoryError():
            return OutOfMemory()
        case DeviceFailed():
            return DeviceBroken()
        case WeightsMissing() | WeightsMismatch():
            return ModelUnavailable()
        case BlobError() | Unavailable() | OperationalError() | InterfaceError() | PoolTimeout():
            return StoreUnavailable()
        case OSError(errno=code) if code in _NO_ROOM:
            return StoreUnavailable()
        case _:
            return Internal()
