"""Whose a media store is: one database's, whose id stands in its blob `owner`.

    nobody's   a new store: the first database that looks and has none yet takes it
    one's own  what belongs to no job may be erased, and jobs with their media
    another's  a copy of the database was started on it, or an empty database: nothing of it may be touched
    unmarked   of a database that had a store: its volume is not mounted, and erasing in it would seem to succeed

A restored database is another than the one it is a copy of, so each of the two knows its own store. Whoever erases
asks first, and so does a worker that starts.
"""

from __future__ import annotations

from core.errors import Unavailable
from core.store import installation
from core.store.blobs import OWNER, Blobs
from core.store.session import Database


def owner_of(blobs: Blobs) -> str | None:
    """The id of the database that the store belongs to; None if it says none. Raises the store's error."""
    try:
        return blobs.get(OWNER).decode().strip()
    except FileNotFoundError:
        return None


def check(database: Database, blobs: Blobs) -> None:
    """Make sure that the store is the database's own; it takes its first. Raises `Unavailable` or the store's error."""
    with database.transaction() as connection:
        own = installation.of(connection)
    owner = owner_of(blobs)  # after that: of two who take a new store at once, neither finds it taken and unmarked
    if owner is None:
        if own.has_media:
            raise Unavailable(
                f"The media store does not say whose it is: is its volume mounted? Nothing of it is touched. "
                f"If it is to be this service's all the same, write {own.id} into its blob {OWNER!r}."
            )
        blobs.put(OWNER, str(own.id).encode())
    elif owner != str(own.id):
        raise Unavailable(
            f"The media store belongs to the database {owner}, and this is {own.id}: nothing of it is touched. "
            f"If it is to be this one's from now on, write {own.id} into its blob {OWNER!r}."
        )
    if not own.has_media:
        with database.transaction() as connection:
            installation.note_media(connection)


def begin_anew(database: Database, blobs: Blobs) -> None:
    """Make a restored database another than the one that it is a copy of, and the store its own."""
    with database.transaction() as connection:
        own = installation.renew(connection)
    blobs.put(OWNER, str(own).encode())
