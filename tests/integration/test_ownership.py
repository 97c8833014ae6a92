"""A media store is one database's: nothing is erased in another's, nor where the volume is not mounted."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core import backup, ownership, restore
from core.erasure import erase_account
from core.errors import BackupFailed, Unavailable
from core.store.accounts import Account
from core.store.blobs import OWNER, Blobs, chunk_key, input_key
from core.store.session import Database
from tests.integration import household, work
from workers import runtime


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(folder: Path) -> Blobs:
    return Blobs(folder.as_uri())


def own_id(database: Database) -> str:
    return str(work.execute(database, "SELECT id FROM installation")[0].id)


def become_another(database: Database) -> None:
    """As any other database, with a media store of its own."""
    work.execute(database, "UPDATE installation SET id = gen_random_uuid()")


def unmount(folder: Path) -> Path:
    """Leave the empty mount point; returns where the volume is."""
    volume = folder.rename(folder.with_name("volume"))
    folder.mkdir()
    return volume


def mount(volume: Path, folder: Path) -> None:
    folder.rmdir()
    volume.rename(folder)


def expired_job(database: Database, account: Account, blobs: Blobs) -> UUID:
    """A job that is over, with all of its media."""
    job_id = work.submit(database, account)
    work.finish(database, job_id)
    blobs.put(input_key(job_id), b"media")
    blobs.put(chunk_key(job_id, 0), b"audio")
    work.execute(database, "UPDATE jobs SET expires_at = now()")
    return job_id


def test_a_new_store_becomes_that_of_the_first_database_and_of_no_other(database: Database, blobs: Blobs) -> None:
    for _ in range(2):
        ownership.check(database, blobs)
    assert ownership.owner_of(blobs) == own_id(database)

    become_another(database)
    with pytest.raises(Unavailable, match="belongs to the database"):
        ownership.check(database, blobs)


class _JustTaken(Blobs):
    """A new store that another process of the same service takes while this one looks at it."""

    database: Database | None = None

    def get(self, key: str) -> bytes:
        if self.database is None:
            return super().get(key)
        database, self.database = self.database, None
        ownership.check(database, self)
        raise FileNotFoundError(key)


def test_two_who_take_a_new_store_at_once_both_have_it(database: Database, folder: Path) -> None:
    blobs = _JustTaken(folder.as_uri())
    blobs.database = database

    ownership.check(database, blobs)

    assert ownership.owner_of(blobs) == own_id(database)


def test_an_empty_mount_point_is_not_taken_for_a_new_store(database: Database, blobs: Blobs, folder: Path) -> None:
    ownership.check(database, blobs)
    volume = unmount(folder)

    with pytest.raises(Unavailable, match="mounted"):
        ownership.check(database, blobs)
    assert list(folder.iterdir()) == []

    mount(volume, folder)
    ownership.check(database, blobs)


def test_a_store_that_an_operator_hands_over_is_taken(database: Database, blobs: Blobs, folder: Path) -> None:
    ownership.check(database, blobs)
    unmount(folder)
    blobs.put(OWNER, f"{own_id(database)}\n".encode())

    ownership.check(database, blobs)


def test_a_store_that_a_release_before_has_marked_is_known_from_then_on(
    database: Database, blobs: Blobs, folder: Path
) -> None:
    blobs.put(OWNER, own_id(database).encode())
    ownership.check(database, blobs)
    unmount(folder)

    with pytest.raises(Unavailable):
        ownership.check(database, blobs)


def test_without_its_volume_no_job_is_deleted_and_the_client_is_told(
    api: TestClient, database: Database, account: Account, blobs: Blobs, folder: Path
) -> None:
    ownership.check(database, blobs)
    job_id = expired_job(database, account, blobs)
    volume = unmount(folder)

    refused = api.delete(f"/v1/jobs/{job_id}")

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert work.job(database, job_id).id == job_id
    mount(volume, folder)
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert [path.name for path in folder.rglob("*") if path.is_file()] == [OWNER]


def test_without_its_volume_nothing_is_accepted(
    api: TestClient, database: Database, blobs: Blobs, folder: Path
) -> None:
    ownership.check(database, blobs)
    unmount(folder)

    refused = api.post("/v1/transcriptions", files={"file": ("talk.wav", b"RIFF")})

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert work.execute(database, "SELECT FROM jobs") == []
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_without_its_volume_there_is_no_backup_and_none_is_put_back(
    database: Database, database_url: str, blobs: Blobs, folder: Path, tmp_path: Path
) -> None:
    ownership.check(database, blobs)
    backup.take(database_url, blobs, tmp_path / "backup")
    unmount(folder)

    with pytest.raises(BackupFailed, match="is its volume mounted"):
        backup.take(database_url, blobs, tmp_path / "another")
    before = own_id(database)
    database.close()
    with pytest.raises(BackupFailed, match="is its volume mounted"):
        restore.restore(database_url, blobs, tmp_path / "backup", force=True)
    assert own_id(database) == before


@pytest.mark.parametrize("chore", ["expired_jobs", "chunk_audio", "orphan_blobs"])
def test_without_its_volume_no_chore_erases(
    database: Database, account: Account, blobs: Blobs, folder: Path, chore: str
) -> None:
    ownership.check(database, blobs)
    job_id = expired_job(database, account, blobs)
    volume = unmount(folder)

    with pytest.raises(Unavailable):
        household.do(database, blobs, chore)

    mount(volume, folder)
    assert len(work.execute(database, "SELECT FROM jobs WHERE chunk_blobs_erased_at IS NULL")) == 1
    assert blobs.get(input_key(job_id)) + blobs.get(chunk_key(job_id, 0)) == b"mediaaudio"


def test_without_its_volume_no_account_is_forgotten(
    database: Database, account: Account, blobs: Blobs, folder: Path
) -> None:
    ownership.check(database, blobs)
    job_id = expired_job(database, account, blobs)
    volume = unmount(folder)

    with pytest.raises(Unavailable):
        erase_account(database, blobs, account.id)

    assert work.job(database, job_id).account_id == account.id
    mount(volume, folder)
    assert erase_account(database, blobs, account.id) == 1


def test_no_worker_starts_on_the_media_of_another_database_and_readiness_says_why(
    api: TestClient, database: Database, blobs: Blobs, folder: Path
) -> None:
    ownership.check(database, blobs)
    become_another(database)

    with pytest.raises(Unavailable):
        runtime.check_media(database, blobs)
    assert "the media store is not this service's, or not mounted" in api.get("/readyz").json()["missing"]


def test_a_worker_starts_while_the_media_store_is_away(database: Database, blobs: Blobs, folder: Path) -> None:
    folder.rmdir()
    folder.write_bytes(b"a file where the store was")

    runtime.check_media(database, blobs)
