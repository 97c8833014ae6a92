"""The last look at a job whose chunks are all done: say what a reader should know. Runs on the io lanes."""

from __future__ import annotations

from core.job import JobKind, JobWarning
from core.store import jobs, passages
from core.store.chunks import Claim
from core.store.results import Assembled
from workers.lease import Lease
from workers.stages import reindex
from workers.stages.context import Context


def assemble(context: Context, claim: Claim, lease: Lease) -> Assembled:
    """Warn about a recording in which speech was found but no word understood, or about what a reindex left."""
    lease.progress()
    if claim.kind is JobKind.REINDEX:
        return reindex.assemble(context, claim)
    if claim.kind is JobKind.DOCUMENT:
        return Assembled()
    with context.database.transaction() as connection:
        job = jobs.get(connection, claim.job_id)
        heard = passages.segments_of(connection, claim.job_id)
    if heard or any(warning.code == "no_speech" for warning in job.warnings):
        return Assembled()
    return Assembled([JobWarning("no_speech", "No words were understood in the recording.")])
