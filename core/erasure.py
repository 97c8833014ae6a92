"""Erasing a job for good: its media, chunks, text and vectors. The one place that does it.

A client's DELETE and the clean-up of expired jobs come here. The blobs go before the row: if the blob store fails,
the job is still there, and erasing it can be tried again.
"""

from __future__ import annotations

from uuid import UUID

from core.store import blobs as blob_store
from core.store import interventions
from core.store.blobs import Blobs
from core.store.session import Database


def erase_job(database: Database, blobs: Blobs, job_id: UUID, account_id: UUID) -> None:
    """End the job, erase its blobs, forget it. Raises `NotFound`, or the blob store's error.

    A worker that is still preparing the job learns at its next step that it lost its lease, and then takes
    away what it wrote in between.
    """
    with database.transaction() as connection:
        interventions.end(connection, job_id, account_id)
    blobs.erase(blob_store.job_prefix(job_id))
    with database.transaction() as connection:
        interventions.delete(connection, job_id, account_id)
    # What a worker wrote between the two; from here on it finds no job and takes away what it wrote itself.
    blobs.erase(blob_store.job_prefix(job_id))
