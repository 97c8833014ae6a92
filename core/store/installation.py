"""Which database this is: an id that no other has, but for a copy that was not made by `scribelane restore`.

The media store is told it (`core.ownership`), so that nobody erases the media of another service's jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.store.tables import installation


@dataclass(frozen=True, slots=True)
class Installation:
    """`has_media`: a media store was seen that says that it is this database's."""

    id: UUID
    has_media: bool


def of(connection: Connection) -> Installation:
    """What this database is."""
    row = connection.execute(sa.select(installation)).one()
    return Installation(row.id, row.media_since is not None)


def if_any(connection: Connection) -> Installation | None:
    """What a database is that may be of an older release, or empty."""
    if not sa.inspect(connection).has_table(installation.name):
        return None
    columns = {column["name"] for column in sa.inspect(connection).get_columns(installation.name)}
    if installation.c.media_since.name in columns:
        return of(connection)
    return Installation(connection.execute(sa.select(installation.c.id)).scalar_one(), has_media=False)


def note_media(connection: Connection) -> None:
    """From now on there is a media store that is this database's."""
    connection.execute(sa.update(installation).values(media_since=sa.func.now()))


def renew(connection: Connection) -> UUID:
    """Give a database that was just restored an id of its own, and a media store; returns the id."""
    anew = {"id": sa.func.gen_random_uuid(), "media_since": sa.func.now(), "restored_at": sa.func.now()}
    found: UUID = connection.execute(sa.update(installation).values(anew).returning(installation.c.id)).scalar_one()
    return found


def ago(connection: Connection, age_s: float) -> datetime:
    """So long ago by the database's clock."""
    moment: datetime = connection.execute(sa.select(_ago(age_s))).scalar_one()
    return moment


def was_restored_within(connection: Connection, age_s: float) -> bool:
    """Whether it has come out of a backup since so long ago."""
    return bool(connection.scalar(sa.select(installation.c.restored_at > _ago(age_s))))


def _ago(age_s: float) -> sa.ColumnElement[datetime]:
    return sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, age_s)
