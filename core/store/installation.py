"""Which database this is: an id that goes with it into a copy and comes back with it, and that no other has.

The media store is told it, so that nobody takes the media of another service's jobs for orphans.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.store.tables import installation


def id_of(connection: Connection) -> UUID:
    """The id that this database was given when it was made."""
    found: UUID = connection.execute(sa.select(installation.c.id)).scalar_one()
    return found


def ago(connection: Connection, age_s: float) -> datetime:
    """So long ago by the database's clock."""
    moment: datetime = connection.execute(
        sa.select(sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, age_s))
    ).scalar_one()
    return moment
