"""A backup is whole or absent, and holds what belongs together."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.backup import Facts, manifest, nightly, take
from core.errors import BackupFailed, Misconfigured
from core.store import dumps, migrations
from core.store.accounts import Account
from core.store.blobs import Blobs, StoredBlob, chunk_key, input_key
from core.store.session import Database
from service.launch import SCRIBELANE
from tests.integration import work
from tests.integration.backed_up import AUDIO, MEDIA, with_media
from tests.waiting import until


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "of-today"


def visible(folder: Path) -> list[str]:
    """What whoever looks for backups sees."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def drafts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir() and path.name.startswith(".")]


def test_a_backup_says_what_it_is(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    job_id = with_media(database, account, blobs)

    facts = take(database_url, blobs, folder)

    assert Facts.model_validate_json((folder / "backup.json").read_text()) == facts
    assert (facts.revision, facts.media) == (migrations.newest(), False)
    assert timedelta() <= datetime.now(UTC) - facts.taken_at < timedelta(minutes=1)
    assert facts.dump_bytes == (folder / "database.dump").stat().st_size > 0
    assert (facts.n_blobs, facts.blob_bytes) == (2, len(MEDIA) + len(AUDIO))
    assert {one.key: one.n_bytes for one in manifest(folder)} == {
        input_key(job_id): len(MEDIA),
        chunk_key(job_id, 0): len(AUDIO),
    }
    assert sorted(path.name for path in folder.iterdir()) == ["backup.json", "blobs.jsonl", "database.dump"]
    assert folder.stat().st_mode & 0o077 == 0


def test_media_of_no_job_is_left_out(database_url: str, account: Account, blobs: Blobs, folder: Path) -> None:
    blobs.put("jobs/0190aaaa-0000-7000-8000-000000000000/input", MEDIA)
    blobs.put("jobs/stray", MEDIA)

    assert take(database_url, blobs, folder).n_blobs == 0


class _Watched(Blobs):
    """A store that notes what was there when it was listed, and of which one blob goes right after that."""

    draft: Path
    at_listing: tuple[str, ...] = ()

    def of_jobs(self) -> Iterator[StoredBlob]:
        self.at_listing = tuple(path.name for path in self.draft.iterdir())
        yield from super().of_jobs()
        yield StoredBlob(self.gone, 5, None)

    gone = ""


@pytest.mark.parametrize("media", [False, True])
def test_the_dump_comes_before_the_list_and_what_is_erased_in_between_is_left_out(
    database: Database, database_url: str, account: Account, tmp_path: Path, folder: Path, media: bool
) -> None:
    watched = _Watched((tmp_path / "blobs").as_uri())
    watched.draft, watched.gone = (
        folder.with_name(".of-today.scribelane-draft"),
        input_key(work.submit(database, account)),
    )
    with_media(database, account, watched)

    facts = take(database_url, watched, folder, with_media=media)

    assert "database.dump" in watched.at_listing
    assert facts.n_blobs == 2


def test_a_backup_never_takes_the_place_of_something(
    database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    folder.mkdir(parents=True)
    (folder / "mine").touch()

    with pytest.raises(BackupFailed, match="there already"):
        take(database_url, blobs, folder)
    assert visible(folder) == ["mine"]


def test_a_database_before_its_first_migration_has_no_backup(
    empty_database: Database, servers: object, blobs: Blobs, folder: Path, database_url: str
) -> None:
    url = work.execute(empty_database, "SELECT current_database()")[0][0]
    with pytest.raises(BackupFailed, match="migrate"):
        take(database_url.replace(sa.make_url(database_url).database or "", url), blobs, folder)


class _Away(Blobs):
    def of_jobs(self) -> Iterator[StoredBlob]:
        raise OSError("the store is away")


def test_of_a_backup_that_fails_nothing_is_left(
    database_url: str, account: Account, tmp_path: Path, folder: Path
) -> None:
    with pytest.raises(BackupFailed, match="away"):
        take(database_url, _Away((tmp_path / "blobs").as_uri()), folder)

    assert (visible(folder.parent), drafts(folder.parent)) == ([], [])


def test_a_killed_backup_leaves_a_draft_alone_and_the_next_one_removes_it(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path, tmp_path: Path
) -> None:
    own = {"SCRIBELANE_DATABASE_URL": database_url, "SCRIBELANE_BLOB_URL": (tmp_path / "blobs").as_uri()}
    with database.transaction() as connection:
        connection.execute(sa.text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))  # pg_dump waits for it
        process = subprocess.Popen([SCRIBELANE, "backup", str(folder)], env={**os.environ, **own})
        try:
            until(lambda: folder.parent.exists() and drafts(folder.parent))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    assert (visible(folder.parent), len(drafts(folder.parent))) == ([], 1)

    take(database_url, blobs, folder.with_name("another"))
    assert (visible(folder.parent), drafts(folder.parent)) == (["another"], [])


def a_program(folder: Path, version: int) -> None:
    """PostgreSQL programs of a version, which note how they were called."""
    folder.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        program = folder / name
        program.write_text(
            f"""#!/bin/sh
            if [ "$1" = --version ]; then echo "{name} (PostgreSQL) {version}.1 (Debian {version}.1-1)"; exit; fi
            echo "$@" > {folder}/arguments; echo "$PGPASSWORD" > {folder}/password"""
        )
        program.chmod(0o755)


def test_a_password_is_not_on_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_program(tmp_path / "bin", 99)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    dumps.dump("postgresql+psycopg://ada:s%40cret@db.example:6543/lane?sslmode=require", 98, tmp_path / "dump")

    arguments = (tmp_path / "bin" / "arguments").read_text()
    assert "cret" not in arguments
    assert "user=ada dbname=lane host=db.example port=6543 sslmode=require" in arguments
    assert (tmp_path / "bin" / "password").read_text() == "s@cret\n"


def test_programs_that_are_older_than_the_server_are_passed_over(
    database_url: str, account: Account, blobs: Blobs, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_program(tmp_path / "bin", 15)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    take(database_url, blobs, folder)

    assert not (tmp_path / "bin" / "arguments").exists()
    with pytest.raises(Misconfigured, match="PostgreSQL 99 or newer"):
        dumps.dump(database_url, 99, tmp_path / "dump")


def of_another_day(folder: Path, days: int) -> None:
    """Let the backup of today be one of so many days ago."""
    today = datetime.now(UTC).date()
    (folder / f"scribelane-{today}").rename(folder / f"scribelane-{today - timedelta(days=days)}")


def named(day: date) -> str:
    return f"scribelane-{day}"


def test_a_day_has_one_backup_and_the_newest_stay(
    database: Database, database_url: str, account: Account, blobs: Blobs, tmp_path: Path
) -> None:
    folder, today = tmp_path / "nightly", datetime.now(UTC).date()
    (folder / "a-holiday").mkdir(parents=True)
    for days in (3, 2, 1):
        assert nightly(database_url, blobs, folder, keep=2) == folder / named(today)
        of_another_day(folder, days)

    assert nightly(database_url, blobs, folder, keep=2) == folder / named(today)
    assert nightly(database_url, blobs, folder, keep=2) is None

    assert visible(folder) == ["a-holiday", named(today - timedelta(days=1)), named(today)]
    assert drafts(folder) == []


def test_two_who_make_the_backup_of_a_day_at_once_make_one(
    database_url: str, account: Account, blobs: Blobs, tmp_path: Path
) -> None:
    answers = work.together(2, *[lambda: nightly(database_url, blobs, tmp_path / "nightly", keep=7)] * 2)

    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", type(tmp_path).__name__]


def test_when_the_backup_of_a_day_fails_the_old_ones_stay(
    database_url: str, account: Account, blobs: Blobs, tmp_path: Path
) -> None:
    folder = tmp_path / "nightly"
    for days in (2, 1):
        nightly(database_url, blobs, folder, keep=7)
        of_another_day(folder, days)

    with pytest.raises(BackupFailed, match="away"):
        nightly(database_url, _Away((tmp_path / "blobs").as_uri()), folder, keep=1)

    assert len(visible(folder)) == 2


class _Counting(Blobs):
    """A store that notes what is read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.read: list[str] = []

    def pieces(self, key: str) -> Iterator[bytes]:
        self.read.append(key)
        return super().pieces(key)


def test_media_that_has_not_changed_is_not_read_every_night(
    database: Database, database_url: str, account: Account, tmp_path: Path
) -> None:
    blobs, folder = _Counting((tmp_path / "blobs").as_uri()), tmp_path / "nightly"
    job_id = with_media(database, account, blobs)
    nightly(database_url, blobs, folder, keep=7)
    of_another_day(folder, 1)
    blobs.put(chunk_key(job_id, 0), AUDIO[::-1])
    blobs.read.clear()

    last = nightly(database_url, blobs, folder, keep=7)

    assert last is not None
    assert blobs.read == [chunk_key(job_id, 0)]
    first, second = [{one.key: one.sha256 for one in manifest(folder / name)} for name in visible(folder)]
    assert first[input_key(job_id)] == second[input_key(job_id)]
    assert first[chunk_key(job_id, 0)] != second[chunk_key(job_id, 0)]
