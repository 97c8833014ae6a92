"""Erase what lies in the media store and belongs to no job: uploads whose request died, and erasures that failed.

An upload has no job yet while it arrives, and the files of a batch wait for the last of them: nothing is touched that
is younger than `SCRIBELANE_ORPHAN_S`. What a job of the database owns is never touched, and nothing at all is while the
store does not say that it is this database's, or when that was just restored: what was written after its backup may be
all that is left of a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import islice
from uuid import UUID

import structlog

from core import ownership
from core.store import installation, retention
from core.store.blobs import JOBS, PROBES, Blobs
from core.store.session import Database
from workers.clean import each
from workers.upkeep import Slice, Swept

log = structlog.get_logger(__name__)

_AT_ONCE = 100


def erase_orphans(database: Database, blobs: Blobs, run: Slice, *, older_than_s: float) -> Swept:
    """Erase orphans until the run is over; it says where the next one goes on. Raises `Unavailable`."""
    ownership.check(database, blobs)
    with database.transaction() as connection:
        before = installation.ago(connection, older_than_s)
        if installation.was_restored_within(connection, older_than_s):
            return Swept(0)
    for probe in blobs.holdings(PROBES):  # a few: each is erased by the look at the store that wrote it
        if probe.written_at < before:
            blobs.erase(probe.prefix)
    items, passed_over = 0, None
    holdings = blobs.holdings(JOBS, run.resume or "")
    while found := list(islice(holdings, _AT_ONCE)):
        names = {job_id: one.name for one in found if one.written_at < before and (job_id := _job_id(one.name))}
        with database.transaction() as connection:
            ownerless = retention.ownerless(connection, names)
        swept = each(sorted(ownerless, key=names.__getitem__), partial(_erase, blobs, names), run)
        items, passed_over = items + swept.items, swept.passed_over or passed_over
        if swept.resume is not None:
            return Swept(items, passed_over, resume=names[UUID(swept.resume)])
        if run.over:
            return Swept(items, passed_over, resume=found[-1].name)
    return Swept(items, passed_over)


def _erase(blobs: Blobs, names: Mapping[UUID, str], job_id: UUID) -> int:
    blobs.erase(f"{JOBS}/{names[job_id]}")
    log.info("erased what belongs to no job", job=str(job_id))
    return 1


def _job_id(name: str) -> UUID | None:
    """Whose it is; None for what is not ours."""
    try:
        return UUID(name)
    except ValueError:
        return None
