"""Erasing a job or an account for good: media, chunks, text and vectors. The one place that does it.

A client's DELETE, the clean-up of expired jobs and `scribelane accounts delete` come here. The blobs go before the row:
if the blob store fails, or is not the one that holds the media, the job is still there, and erasing it can be tried
again. An account goes after its last job.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from core import ownership
from core.errors import NotFound
from core.store import accounts, interventions, jobs, reuse
from core.store import blobs as blob_store
from core.store.blobs import Blobs
from core.store.session import Database

_AT_ONCE = 100
_ROWS_AT_ONCE = 10_000


def erase_job(database: Database, blobs: Blobs, job_id: UUID, account_id: UUID) -> None:
    """End the job, erase its blobs, forget it. Raises `NotFound`, `Unavailable`, or the blob store's error."""
    ownership.check(database, blobs)
    erase_one_of_many(database, blobs, job_id, account_id)


def erase_one_of_many(database: Database, blobs: Blobs, job_id: UUID, account_id: UUID) -> None:
    """`erase_job` for whoever has made sure that the media store is the database's own, once for all of them.

    A worker that is still preparing the job learns at its next step that it lost its lease, and then takes
    away what it wrote in between.
    """
    with database.transaction() as connection:
        interventions.end(connection, job_id, account_id)
        reuse.withdraw(connection, job_id)
    blobs.erase(blob_store.job_prefix(job_id))
    with database.transaction() as connection:
        interventions.delete(connection, job_id, account_id)
    # What a worker wrote between the two; from here on it finds no job and takes away what it wrote itself.
    blobs.erase(blob_store.job_prefix(job_id))


def erase_account(database: Database, blobs: Blobs, account_id: UUID) -> int:
    """End and erase all jobs of an account and then forget it; returns how many jobs. Raises what `erase_job` does.

    It is closed first: a job that was submitted before that is erased with the others, and one that comes later is
    refused. What there may be millions of goes in slices, a transaction each, before the last one, which keeps
    dispatchers waiting. If it is killed half-way, the account stays closed, and calling it again goes on.
    """
    with database.transaction() as connection:
        accounts.close(connection, account_id)
    n_erased = 0
    while True:
        with database.transaction() as connection:
            found = jobs.newest_of(connection, account_id, _AT_ONCE)  # the oldest are in work, and make room for them
        if found:
            ownership.check(database, blobs)
        for job_id in found:
            with suppress(NotFound):  # its owner, or the clean-up, was quicker
                erase_one_of_many(database, blobs, job_id, account_id)
                n_erased += 1
        if not found and _forget(database, account_id):
            return n_erased


def _forget(database: Database, account_id: UUID) -> bool:
    """Forget an account that has no jobs; False if it has any."""
    forgotten = _ROWS_AT_ONCE
    while forgotten >= _ROWS_AT_ONCE:
        with database.transaction() as connection:
            forgotten = accounts.forget_some(connection, account_id, _ROWS_AT_ONCE)
    with database.transaction() as connection:
        return accounts.delete(connection, account_id)
