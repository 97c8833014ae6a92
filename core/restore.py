"""Putting a backup back: the database in one transaction, then the media that is not as it was.

Nothing of Scribelane may run meanwhile. Afterwards everything goes on by itself: leases of the time of the backup have
run out, so what was in work is rescued, and messages that the broker does not have are sent again. The database that
the backup was made of, should it still run somewhere, loses the media store, or keeps it if this one has another:
`core.ownership`. `core.backup` makes what this reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from obstore.exceptions import BaseError as BlobError
from pydantic import ValidationError

from core import ownership
from core.backup import DUMP, FACTS, MEDIA, Facts, KeptBlob, manifest, sha256_of, sha256_of_file
from core.errors import BackupFailed
from core.store import dumps, installation, migrations
from core.store.blobs import Blobs, StoredBlob
from core.store.installation import Installation
from core.store.session import Database


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of it: the keys of blobs that the media store lacks or has otherwise, and how many were put back."""

    facts: Facts
    missing: list[str]
    different: list[str]
    put_back: int


def restore(database_url: str, blobs: Blobs, folder: Path, *, force: bool = False, take_over: bool = False) -> Restored:
    """Put the backup in the place of what the database holds. Raises `BackupFailed`, and has changed nothing then.

    `force` is needed for a database that has rows, `take_over` for a media store that belongs to another one. An older
    database is brought to the newest migration. The restored one has an id of its own.
    """
    facts = _checked(folder)
    with closing(Database(database_url, transaction_s=None)) as database:
        with database.transaction() as connection:
            running, rows = dumps.others(connection), dumps.contents(connection)
            server_version = dumps.server_version(connection)
            replaced = installation.if_any(connection)
        if running:
            raise BackupFailed(f"{running} connections of a running Scribelane are open; stop all of it first.")
        if rows and not force:
            raise BackupFailed(f"The database holds {_told(rows)}; all of it would be lost. --force replaces it.")
    if not take_over:
        _check_media(blobs, replaced)
    try:
        blobs.check()
    except (BlobError, OSError) as error:
        raise BackupFailed(f"The media store cannot be written. {str(error).splitlines()[0]}") from error
    dumps.replace(database_url, server_version, folder / DUMP)
    with closing(Database(database_url, transaction_s=None)) as database:
        migrations.upgrade(database)
        ownership.begin_anew(database, blobs)
    return _compared(blobs, folder, facts)


def _check_media(blobs: Blobs, replaced: Installation | None) -> None:
    """Raises `BackupFailed` if the store is another database's, or perhaps not mounted."""
    owner = ownership.owner_of(blobs)
    if owner is None and replaced is not None and replaced.has_media:
        raise BackupFailed(
            "The media store does not say whose it is, and the database had one that did: is its volume mounted? "
            "If this one is to take its place, say --take-over."
        )
    if owner is not None and (replaced is None or owner != str(replaced.id)):
        raise BackupFailed(
            f"The media store belongs to the database {owner}. If that one is gone for good and this one takes its "
            f"place, say --take-over; if it is not, give this one a media store of its own."
        )


def _checked(folder: Path) -> Facts:
    """The facts of a backup that is whole and not too new. Raises `BackupFailed`."""
    try:
        facts = Facts.model_validate_json((folder / FACTS).read_bytes())
    except (OSError, ValidationError) as error:
        raise BackupFailed(f"{folder} is not a backup, or one of a newer release.") from error
    if facts.revision not in migrations.known():
        raise BackupFailed(
            f"The backup is of migration {facts.revision}, and this release knows none after {migrations.newest()}; "
            f"restore it with release {facts.version} or a newer one."
        )
    try:
        whole = sha256_of_file(folder / DUMP) == facts.dump_sha256
        whole = whole and sum(1 for _ in manifest(folder)) == facts.n_blobs
    except (OSError, ValidationError):
        whole = False
    if not whole:
        raise BackupFailed(f"{folder} is damaged: it does not hold what was written.")
    return facts


def _compared(blobs: Blobs, folder: Path, facts: Facts) -> Restored:
    """Look at every blob that the backup knows, and put back what can be."""
    missing: list[str] = []
    different: list[str] = []
    put_back = 0
    stored = {one.key: one for one in blobs.of_jobs()}
    for kept in manifest(folder):
        found = stored.get(kept.key)
        if found is not None and _same(blobs, kept, found):
            continue
        copy = folder / MEDIA / kept.key
        if copy.exists() and sha256_of_file(copy) == kept.sha256:
            blobs.put(kept.key, copy)
            put_back += 1
        else:
            (missing if found is None else different).append(kept.key)
    return Restored(facts, missing, different, put_back)


def _same(blobs: Blobs, kept: KeptBlob, found: StoredBlob) -> bool:
    if found.n_bytes != kept.n_bytes:
        return False
    return kept.is_still(found) or sha256_of(blobs.pieces(kept.key)) == kept.sha256


def _told(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {table}" for table, n in rows.items())
