"""Brings the input of a job to the folder in which `prepare` opens it: the upload, or what its URL leads to.

What was fetched is stored as if it had been uploaded, so an attempt that follows another fetches nothing again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from obstore.exceptions import BaseError as BlobError
from sqlalchemy.exc import SQLAlchemyError

from core import links, ownership
from core.details import Details
from core.errors import AddressRefused, Internal, LeaseLost, NotFound, UrlNotAllowed
from core.links import Link
from core.store import blobs as blob_store
from core.store import fetched, jobs
from core.store.chunks import Claim
from core.store.fetched import Learned
from core.store.jobs import Job
from workers import places
from workers.inputs import fetching
from workers.inputs.fetched import FetchLimits
from workers.inputs.orders import FetchOptions, Order
from workers.lease import Lease
from workers.stages.context import Context

log = structlog.get_logger(__name__)

REPORT_S = 2.0
"""Between two reports of how much is there."""


@dataclass(frozen=True, slots=True)
class Brought:
    """An input as a file, and what is known of it before it is opened. `was_fetched`: this attempt fetched it, and the
    next one finds it in the media store."""

    path: Path
    was_fetched: bool
    details: Details


def bring(context: Context, claim: Claim, lease: Lease, scratch: Path) -> Brought:
    """The job's input as a file in `scratch`. Raises what `fetching.fetch` raises, and `LeaseLost`."""
    path, key = scratch / "input", blob_store.input_key(claim.job_id)
    job = _job(context, claim)
    url, details = job.input.url, job.details
    is_stored = url is None or context.blobs.has(key)
    if url is None or is_stored:
        context.blobs.download(key, path)
    else:
        order = Order(_link(context, claim, url), *_place(context, claim, scratch))
        details = _fetch(context, claim, lease, order, path) or details
    lease.progress()
    return Brought(path, not is_stored, details)


def _job(context: Context, claim: Claim) -> Job:
    try:
        with context.database.transaction() as connection:
            return jobs.get(connection, claim.job_id)
    except NotFound as error:  # deleted since it was claimed
        raise LeaseLost() from error


def _link(context: Context, claim: Claim, url: str) -> Link:
    """As it was read when it was submitted; by now the operator may allow other hosts."""
    try:
        return links.read(url, claim.kind, context.fetching.hosts)
    except UrlNotAllowed as error:
        raise AddressRefused(f"This was allowed before: {error.message.removeprefix('url: ')}") from error


def _place(context: Context, claim: Claim, scratch: Path) -> tuple[Path, FetchLimits, FetchOptions]:
    folder, plan = scratch / "fetched", context.tiers.plan(claim.tier)
    folder.mkdir()
    return folder, FetchLimits(plan.upload_max_bytes, plan.media_max_s), context.fetching


def _fetch(context: Context, claim: Claim, lease: Lease, order: Order, path: Path) -> Details | None:
    """Fetch the file to `path` and into the media store; what its source says of it. Raises `Postponed`."""
    context.blobs.check()  # nothing is fetched that could not be kept; it is not charged, and tried again
    with places.one_of(context.fetching.at_once, "fetching", context.scratch.parent):
        found = fetching.fetch(order, _Progress(context, claim, lease), lease.check)
    # Out of the folder in which a stranger's words could make files.
    found.path.rename(path)
    learned = Learned(found.name, path.stat().st_size, found.details)
    with context.database.transaction() as connection:
        fetched.take(connection, claim, learned)
    try:
        context.blobs.put(blob_store.input_key(claim.job_id), path)
    except (BlobError, OSError) as error:
        log.error("what was fetched cannot be stored", error=str(error).split("\n")[0])
        raise Internal from error  # charged: nobody is to fetch the same file a thousand times
    ownership.check(context.database, context.blobs)  # or it may lie where the store's volume is to be mounted
    return found.details


class _Progress:
    """Takes each step of a download: it keeps the lease, and now and then the client is shown how much is there."""

    def __init__(self, context: Context, claim: Claim, lease: Lease) -> None:
        self._context = context
        self._claim = claim
        self._lease = lease
        self._there = -1
        self._reported_at = -REPORT_S

    def __call__(self, there: int, total: int | None) -> None:
        self._lease.check()
        if there == self._there:  # a server that is asked again and again makes no progress
            return
        self._there = there
        self._lease.progress()
        if time.monotonic() - self._reported_at >= REPORT_S:
            self._reported_at = time.monotonic()
            self._report(min(100, 100 * there // total) if total else None)

    def _report(self, percent: int | None) -> None:
        try:
            with self._context.database.transaction() as connection:
                fetched.report(connection, self._claim, percent)
        except SQLAlchemyError as error:  # the download is worth more
            log.warning("the progress of a download was not shown", error=str(error).split("\n")[0])
