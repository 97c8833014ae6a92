"""The answer to a submit whose work is done already: the earlier job, with `reused_from`, and no new one.

`service.submit` asks before it inserts a job; nothing of the quota is needed, and the file that was uploaded again is
taken away, because no job takes it.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from core.store import reuse
from core.store.estimates import UNKNOWN
from core.store.jobs import Job, NewJob
from service.formats import job_out
from service.schemas import JobOut


def reused(connection: Connection, new: NewJob, base_url: str, *, force: bool) -> JobOut | None:
    """The finished job that is the same as the new one would be, for its owner; None if the work is to be done."""
    earlier: Job | None = None if force else reuse.find(connection, new)
    return None if earlier is None else job_out(earlier, UNKNOWN, base_url, reused_from=earlier.id)
