"""A backup comes back as it was, wholly or not at all, and what was in work goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core import ownership
from core.backup import Facts, sha256_of_file, take
from core.erasure import erase_job
from core.errors import BackupFailed, Unavailable
from core.job import JobStatus
from core.restore import restore
from core.settings import settings as process_settings
from core.store import accounts, migrations
from core.store.accounts import Account
from core.store.blobs import Blobs, chunk_key, input_key
from core.store.keywords import Keywords
from core.store.search import QueryVector, Scope, nearest, read
from core.store.session import Database
from service.cli import app
from service.embedded import start_postgres
from service.supervisor import Supervisor
from tests.conftest import Servers
from tests.integration import household, work
from tests.integration.backed_up import AUDIO, MEDIA, let_go, new_database, rows, with_media
from workers.rescue import rescue
from workers.upkeep import Swept


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def all_but_what_it_is(database: Database) -> Mapping[str, Sequence[str]]:
    """Every row but that which says which database this is: a restored one is another."""
    return {table: its for table, its in rows(database).items() if table != "installation"}


def test_a_second_server_goes_on_where_the_first_was_when_the_backup_was_made(
    database: Database, database_url: str, account: Account, key: str, blobs: Blobs, folder: Path, tmp_path: Path
) -> None:
    done, in_work = work.submit(database, account), with_media(database, account, blobs)
    work.finish(database, done)
    take(database_url, blobs, folder)
    before = all_but_what_it_is(database)
    supervisor = Supervisor(tmp_path / "logs")
    try:
        url = start_postgres(supervisor, tmp_path / "postgres")
        restored = restore(url, blobs, folder, take_over=True)
        second = Database(url)

        assert (restored.missing, restored.different, restored.put_back) == ([], [], 0)
        assert all_but_what_it_is(second) == before
        with second.transaction() as connection:
            assert accounts.by_key(connection, key) == account
            scope, wanted = Scope(account.id), QueryVector(work.MODEL, work.VECTOR)
            [hit, *_] = read(connection, scope, dict(nearest(connection, scope, wanted, Keywords(), 5)), wanted, None)
            assert hit.job_id == done
        work.execute(second, "UPDATE chunks SET lease_until = now() WHERE status = 'running'")  # time has passed
        assert rescue(second, max_failures=3) == 1
        assert work.finish(second, in_work).status is JobStatus.COMPLETED
        second.close()
    finally:
        supervisor.stop()


def test_a_database_that_holds_something_is_replaced_only_by_force(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    take(database_url, blobs, folder)
    later = work.submit(database, account)
    before = rows(database)
    let_go(database)

    with pytest.raises(BackupFailed, match="1 accounts, 1 chunks, 1 jobs; all of it would be lost"):
        restore(database_url, blobs, folder)
    assert rows(database) == before
    let_go(database)

    restore(database_url, blobs, folder, force=True)
    assert str(later) in str(before["jobs"])
    assert rows(database)["jobs"] == []
    assert work.submit(database, account) != later


def test_a_service_that_runs_is_not_replaced_under_its_feet(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    take(database_url, blobs, folder)

    with database.transaction(), pytest.raises(BackupFailed, match="stop all of it"):
        restore(database_url, blobs, folder, force=True)


def forge(folder: Path, **facts: object) -> None:
    """Change what a backup says of itself."""
    said = Facts.model_validate_json((folder / "backup.json").read_bytes())
    (folder / "backup.json").write_text(said.model_copy(update=facts).model_dump_json())


def test_a_backup_of_a_newer_release_is_refused(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    take(database_url, blobs, folder)
    forge(folder, revision="9999", version="9.0.0")
    before = rows(database)
    let_go(database)

    with pytest.raises(BackupFailed, match=r"9999.*9\.0\.0"):
        restore(database_url, blobs, folder, force=True)
    assert rows(database) == before


@pytest.mark.parametrize("harmed", ["database.dump", "blobs.jsonl", "backup.json"])
def test_a_damaged_backup_is_refused(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path, harmed: str
) -> None:
    with_media(database, account, blobs)
    take(database_url, blobs, folder)
    content = (folder / harmed).read_bytes()
    (folder / harmed).write_bytes(content[: len(content) // 2])
    before = rows(database)
    let_go(database)

    with pytest.raises(BackupFailed, match=r"damaged|not a backup"):
        restore(database_url, blobs, folder, force=True)
    assert rows(database) == before


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_restore_that_breaks_off_leaves_the_database_as_it_was(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path, part: float
) -> None:
    take(database_url, blobs, folder)
    dump = folder / "database.dump"
    content = dump.read_bytes()
    dump.write_bytes(content[: int(len(content) * part)])
    forge(folder, dump_sha256=sha256_of_file(dump))  # found out only when it is read
    work.submit(database, account)
    before = rows(database)
    let_go(database)

    with pytest.raises(BackupFailed, match="as it was"):
        restore(database_url, blobs, folder, force=True)
    assert rows(database) == before


def test_a_statement_that_fails_after_the_rows_are_in_undoes_all(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    take(database_url, blobs, folder)
    work.execute(database, "CREATE SCHEMA strict")
    work.execute(
        database,
        "CREATE FUNCTION strict.refuse() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no index here'; END $$",
    )
    tags = "WHEN TAG IN ('CREATE INDEX')"
    work.execute(database, f"CREATE EVENT TRIGGER strict ON ddl_command_start {tags} EXECUTE FUNCTION strict.refuse()")
    before = rows(database)
    let_go(database)

    with pytest.raises(BackupFailed, match=r"as it was.*no index here"):
        restore(database_url, blobs, folder, force=True)
    assert rows(database) == before


def test_the_owner_of_a_database_needs_no_more_rights(
    database: Database, servers: Servers, database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    take(database_url, blobs, folder)
    before = all_but_what_it_is(database)
    url = new_database(servers, owner="plain")
    superuser = Database(url.replace("plain@", "postgres@"))
    work.execute(superuser, "CREATE EXTENSION vector")
    let_go(superuser)
    for _ in range(2):
        restore(url, blobs, folder, force=True, take_over=True)
    restored = Database(url)
    assert all_but_what_it_is(restored) == before
    restored.close()


def test_a_backup_of_an_older_release_is_brought_to_the_newest_migration(
    empty_database: Database, servers: Servers, database_url: str, blobs: Blobs, folder: Path
) -> None:
    old = new_database(servers)
    migrations.upgrade(Database(old), "0006")
    take(old, blobs, folder)

    restore(database_url, blobs, folder)

    restored = Database(database_url)
    assert migrations.current(restored) == migrations.newest()
    restored.close()


def test_a_copy_beside_the_one_that_runs_does_not_get_its_media_store(
    database: Database,
    servers: Servers,
    database_url: str,
    account: Account,
    blobs: Blobs,
    folder: Path,
    tmp_path: Path,
) -> None:
    ownership.check(database, blobs)
    job_id = with_media(database, account, blobs)
    take(database_url, blobs, folder)
    url = new_database(servers)

    with pytest.raises(BackupFailed, match=r"--take-over.*store of its own"):
        restore(url, blobs, folder)
    copy = Database(url)
    assert rows(copy) == {}
    let_go(copy)

    elsewhere = Blobs((tmp_path / "elsewhere").as_uri())
    restore(url, elsewhere, folder)
    ownership.check(copy, elsewhere)
    with pytest.raises(Unavailable):  # should somebody start it on the other's store all the same
        erase_job(copy, blobs, job_id, account.id)
    copy.close()
    ownership.check(database, blobs)
    assert blobs.get(input_key(job_id)) == MEDIA


def test_a_store_without_room_is_found_out_before_anything_is_replaced(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path, tmp_path: Path
) -> None:
    ownership.check(database, blobs)
    with_media(database, account, blobs)
    take(database_url, blobs, folder)
    before = rows(database)
    (tmp_path / "blobs" / "probes").write_bytes(b"no folder, so nothing can be written in it")
    let_go(database)

    with pytest.raises(BackupFailed, match="cannot be written"):
        restore(database_url, blobs, folder, force=True)
    assert rows(database) == before


def test_a_database_that_takes_the_place_of_a_lost_one_gets_its_media_store(
    database: Database, servers: Servers, database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    ownership.check(database, blobs)
    job_id = with_media(database, account, blobs)
    take(database_url, blobs, folder)
    url = new_database(servers)

    restored = restore(url, blobs, folder, take_over=True)

    assert (restored.missing, restored.different) == ([], [])
    second = Database(url)
    ownership.check(second, blobs)
    second.close()
    with pytest.raises(Unavailable):  # should the lost one come back
        erase_job(database, blobs, job_id, account.id)


def test_a_database_that_is_set_back_keeps_its_media_store_and_what_was_written_to_it_since(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path, tmp_path: Path
) -> None:
    ownership.check(database, blobs)
    take(database_url, blobs, folder)
    later = with_media(database, account, blobs)
    for path in (tmp_path / "blobs" / "jobs").rglob("*"):
        os.utime(path, (0, 0))
    let_go(database)

    restore(database_url, blobs, folder, force=True)

    assert household.do(database, blobs, "orphan_blobs") == Swept(0)
    assert blobs.get(input_key(later)) == MEDIA


def test_media_that_is_missing_or_other_than_it_was_is_named(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    gone, other, same = (with_media(database, account, blobs) for _ in range(3))
    take(database_url, blobs, folder)
    blobs.erase(f"jobs/{gone}")
    blobs.put(input_key(other), MEDIA[::-1])
    blobs.put(input_key(same), MEDIA)  # written anew, and the same
    let_go(database)

    restored = restore(database_url, blobs, folder, force=True)

    assert sorted(restored.missing) == [chunk_key(gone, 0), input_key(gone)]
    assert (restored.different, restored.put_back) == ([input_key(other)], 0)


def test_media_in_the_backup_is_put_back(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path, tmp_path: Path
) -> None:
    gone, other = (with_media(database, account, blobs) for _ in range(2))
    take(database_url, blobs, folder, with_media=True)
    blobs.erase(f"jobs/{gone}")
    blobs.put(input_key(other), b"other")
    let_go(database)

    restored = restore(database_url, blobs, folder, force=True)

    assert (restored.missing, restored.different, restored.put_back) == ([], [], 3)
    assert [blobs.get(input_key(job_id)) for job_id in (gone, other)] == [MEDIA, MEDIA]
    assert blobs.get(chunk_key(gone, 0)) == AUDIO


def test_media_that_went_bad_in_the_backup_is_not_put_back(
    database: Database, database_url: str, account: Account, blobs: Blobs, folder: Path
) -> None:
    job_id = with_media(database, account, blobs)
    take(database_url, blobs, folder, with_media=True)
    (folder / "blobs" / input_key(job_id)).write_bytes(b"rotten")
    blobs.erase(f"jobs/{job_id}")
    let_go(database)

    restored = restore(database_url, blobs, folder, force=True)

    assert (restored.missing, restored.put_back) == ([input_key(job_id)], 1)


def test_the_commands_say_what_they_did_and_what_is_missing(
    database: Database,
    database_url: str,
    account: Account,
    blobs: Blobs,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCRIBELANE_DATABASE_URL", database_url)
    monkeypatch.setenv("SCRIBELANE_BLOB_URL", (tmp_path / "blobs").as_uri())
    process_settings.cache_clear()
    job_id = with_media(database, account, blobs)

    made = CliRunner().invoke(app, ["backup", str(folder)])
    blobs.erase(f"jobs/{job_id}/chunks")
    let_go(database)
    refused = CliRunner().invoke(app, ["restore", str(folder)])
    restored = CliRunner().invoke(app, ["restore", str(folder), "--force"])
    process_settings.cache_clear()

    assert (made.exit_code, refused.exit_code, restored.exit_code) == (0, 1, 1)
    assert "2 blobs" in made.stderr
    assert refused.stderr.startswith("error: The database holds 1 accounts")
    assert restored.stdout == f"missing  {chunk_key(job_id, 0)}\n"
