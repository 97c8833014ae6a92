"""What a job learns while its input is fetched from a URL: how much is there, and at last what the file is called.

`workers.stages.fetch` writes it, each time only as long as its attempt holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core import details
from core.details import Details
from core.errors import LeaseLost
from core.store.chunks import Claim, is_held
from core.store.tables import chunks, jobs


@dataclass(frozen=True, slots=True)
class Learned:
    """What the source of an input says of it, and how long the file is."""

    name: str
    n_bytes: int
    details: Details | None = None


def report(connection: Connection, claim: Claim, percent: int | None) -> None:
    """Show how much of the input is there, 0 to 100; None where its length is not known."""
    connection.execute(_update(claim).values(stage_percent=percent))


def take(connection: Connection, claim: Claim, learned: Learned) -> None:
    """Keep what was learned, now that the whole file is there. Raises `LeaseLost`."""
    values: dict[str, object] = {
        "input_name": learned.name,
        "input_bytes": learned.n_bytes,
        "stage_percent": None,
    }
    if learned.details is not None:
        values["details"] = details.to_stored(learned.details)
    if connection.execute(_update(claim).values(values)).rowcount == 0:
        raise LeaseLost()


def _update(claim: Claim) -> sa.Update:
    held = sa.exists(sa.select(chunks.c.id).where(is_held(claim)))
    return sa.update(jobs).where(jobs.c.id == claim.job_id, held)
