"""Backups: a folder with a dump of the database and a list of the media that belong to it, or with the media itself.

    backup.json      what it is: `Facts`; written last
    database.dump    the database at one moment, of `pg_dump`
    blobs.jsonl      a `KeptBlob` a line
    blobs/<key>      the media, if it was asked for

A backup is whole or absent: it is written as a draft beside its place, which is what a killed one leaves, and the next
backup there removes. The dump comes before the list, for a blob is stored before the row that needs it and goes before
that row goes: so the list has every blob of the dump that still exists. `core.restore` reads it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from obstore.exceptions import BaseError as BlobError
from pydantic import BaseModel

from core import ownership
from core.errors import BackupFailed, Unavailable
from core.store import dumps, migrations
from core.store.blobs import Blobs, StoredBlob
from core.store.session import Database

FACTS, DUMP, MANIFEST, MEDIA = "backup.json", "database.dump", "blobs.jsonl", "blobs"

_DRAFT = ".scribelane-draft"
_LOCK = ".scribelane-backup.lock"
_NIGHTLY = "scribelane-{:%Y-%m-%d}"
_IS_NIGHTLY = re.compile(r"scribelane-\d{4}-\d\d-\d\d")


class Facts(BaseModel, frozen=True):
    """What a backup is. `revision` is the migration of its database; `taken_at` is by the database's clock."""

    format: Literal[1] = 1
    version: str
    revision: str
    taken_at: datetime
    dump_bytes: int
    dump_sha256: str
    n_blobs: int
    blob_bytes: int
    media: bool


class KeptBlob(BaseModel, frozen=True):
    """A blob as it was when the backup was made."""

    key: str
    n_bytes: int
    e_tag: str | None
    sha256: str

    def is_still(self, stored: StoredBlob) -> bool:
        """Whether the store says that it is the same; if not, it may be the same all the same."""
        return self.e_tag is not None and self.e_tag == stored.e_tag and self.n_bytes == stored.n_bytes


def take(
    database_url: str, blobs: Blobs, folder: Path, *, with_media: bool = False, earlier: Path | None = None
) -> Facts:
    """Make the backup `folder`, which must not exist. Raises `BackupFailed`.

    The content of a blob that stands in an `earlier` backup with the same `e_tag` is not read again, unless it is
    copied.
    """
    with _alone(folder.parent):
        return _take(database_url, blobs, folder, with_media=with_media, earlier=earlier)


def nightly(database_url: str, blobs: Blobs, folder: Path, *, keep: int, with_media: bool = False) -> Path | None:
    """Make the backup of this day (UTC) in `folder`, and let only the `keep` newest such backups stay.

    Returns the backup, or None if this day has one: ringing twice makes one. Raises `BackupFailed`; then nothing goes.
    """
    with _alone(folder):
        with closing(Database(database_url)) as database:
            today = folder / _NIGHTLY.format(_now(database))
        made = not today.exists()
        if made:
            earlier = _nightly_ones(folder)
            _take(database_url, blobs, today, with_media=with_media, earlier=earlier[-1] if earlier else None)
        for old in _nightly_ones(folder)[:-keep]:
            shutil.rmtree(old.rename(_draft_of(old)))  # half removed, it must not look like a backup
    return today if made else None


def manifest(backup: Path) -> Iterator[KeptBlob]:
    """The blobs of a backup."""
    with (backup / MANIFEST).open() as file:
        for line in file:
            yield KeptBlob.model_validate_json(line)


def sha256_of(pieces: Iterator[bytes]) -> str:
    """The SHA-256 of a content, in hexadecimal digits."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def sha256_of_file(path: Path) -> str:
    """The same of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _take(database_url: str, blobs: Blobs, folder: Path, *, with_media: bool, earlier: Path | None) -> Facts:
    if folder.exists():
        raise BackupFailed(f"{folder} is there already; a backup is a new folder.")
    draft = _draft_of(folder)
    draft.mkdir(mode=0o700)  # all that anybody ever said is in it
    try:
        facts = _write(database_url, blobs, draft, with_media=with_media, earlier=earlier)
        for path in (*draft.rglob("*"), draft):
            _to_disk(path)
        draft.rename(folder)
        _to_disk(folder.parent)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise BackupFailed(f"The backup could not be written: {error.strerror or error}") from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return facts


def _check_media(database: Database, blobs: Blobs) -> None:
    try:
        ownership.check(database, blobs)
    except (Unavailable, BlobError, OSError) as error:
        raise BackupFailed(f"The media could not be listed. {error}") from error


def _write(database_url: str, blobs: Blobs, draft: Path, *, with_media: bool, earlier: Path | None) -> Facts:
    with closing(Database(database_url)) as database:
        revision, taken_at = migrations.current(database), _now(database)
        if revision is None:
            raise BackupFailed("The database is empty; `scribelane migrate` or `scribelane up` prepares it.")
        if revision == migrations.newest():  # one of an older release does not know whose the media are
            _check_media(database, blobs)
        with database.transaction() as connection:
            server_version = dumps.server_version(connection)
        dumps.dump(database_url, server_version, draft / DUMP)
        if migrations.current(database) != revision:
            raise BackupFailed("The database was migrated meanwhile; make the backup again.")
        with database.transaction() as connection:
            jobs = dumps.job_ids(connection)
    n_blobs, blob_bytes = _write_manifest(blobs, draft, jobs, with_media=with_media, earlier=earlier)
    facts = Facts(
        version=version("scribelane"),
        revision=revision,
        taken_at=taken_at,
        dump_bytes=(draft / DUMP).stat().st_size,
        dump_sha256=sha256_of_file(draft / DUMP),
        n_blobs=n_blobs,
        blob_bytes=blob_bytes,
        media=with_media,
    )
    (draft / FACTS).write_text(facts.model_dump_json(indent=2) + "\n")
    return facts


def _write_manifest(
    blobs: Blobs, draft: Path, jobs: frozenset[str], *, with_media: bool, earlier: Path | None
) -> tuple[int, int]:
    """Note the blobs of these jobs; returns how many, and their bytes. One that is erased meanwhile is left out."""
    known = {one.key: one for one in manifest(earlier)} if earlier else {}
    n_blobs = blob_bytes = 0
    with (draft / MANIFEST).open("w") as file:
        for stored in blobs.of_jobs():
            if stored.job not in jobs:
                continue
            with suppress(FileNotFoundError):
                if with_media:
                    kept = _copied(blobs, stored, draft / MEDIA / stored.key)
                elif (before := known.get(stored.key)) is not None and before.is_still(stored):
                    kept = before
                else:
                    kept = _noted(stored, stored.n_bytes, sha256_of(blobs.pieces(stored.key)))
                file.write(kept.model_dump_json() + "\n")
                n_blobs, blob_bytes = n_blobs + 1, blob_bytes + kept.n_bytes
    return n_blobs, blob_bytes


def _copied(blobs: Blobs, stored: StoredBlob, copy: Path) -> KeptBlob:
    copy.parent.mkdir(parents=True, exist_ok=True)
    blobs.download(stored.key, copy)
    return _noted(stored, copy.stat().st_size, sha256_of_file(copy))


def _noted(stored: StoredBlob, n_bytes: int, sha256: str) -> KeptBlob:
    return KeptBlob(key=stored.key, n_bytes=n_bytes, e_tag=stored.e_tag, sha256=sha256)


def _now(database: Database) -> datetime:
    with database.transaction() as connection:
        return dumps.now(connection)


def _nightly_ones(folder: Path) -> list[Path]:
    """The nightly backups, the oldest first."""
    return sorted(path for path in folder.iterdir() if _IS_NIGHTLY.fullmatch(path.name))


def _draft_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}{_DRAFT}")


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """One process at a time makes a backup there, and begins by removing what a killed one left."""
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / _LOCK).open("w") as lock:  # the system lets go of it however this process ends
        fcntl.flock(lock, fcntl.LOCK_EX)
        for draft in parent.glob(f".*{_DRAFT}"):
            shutil.rmtree(draft)
        yield


def _to_disk(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
