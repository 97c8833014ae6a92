"""What belongs to no job goes from the media store in the end; what belongs to one, or may yet, is never touched."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from obstore.exceptions import GenericError
from uuid_utils.compat import uuid7

from core import ownership
from core.errors import Unavailable
from core.store.accounts import Account
from core.store.blobs import JOBS, OWNER, PROBES, Blobs, chunk_key, input_key, job_prefix
from core.store.session import Database
from tests.integration import household, work
from workers import orphans
from workers.upkeep import Slice, Swept

AGE_S = 3600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(folder: Path) -> Blobs:
    return Blobs(folder.as_uri())


def sweep(database: Database, blobs: Blobs, run: Slice | None = None) -> Swept:
    return household.do(database, blobs, "orphan_blobs", run=run)


def upload(blobs: Blobs) -> UUID:
    """An upload of which no job was made."""
    job_id = uuid7()
    blobs.put(input_key(job_id), b"media")
    return job_id


def let_pass(folder: Path, seconds: float = AGE_S + 1) -> None:
    """So long ago was everything written that is in the folder."""
    then = time.time() - seconds
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def held(folder: Path) -> set[str]:
    return {path.name for path in (folder / JOBS).iterdir()}


def test_an_upload_that_no_job_took_goes_once_it_is_old(database: Database, blobs: Blobs, folder: Path) -> None:
    upload(blobs)
    let_pass(folder)
    young = upload(blobs)

    assert [sweep(database, blobs).items for _ in range(2)] == [1, 0]
    assert held(folder) == {str(young)}


def test_what_a_job_owns_stays_however_old_it_is(
    database: Database, account: Account, blobs: Blobs, folder: Path
) -> None:
    job_id = work.submit(database, account)
    blobs.put(input_key(job_id), b"media")
    blobs.put(chunk_key(job_id, 0), b"audio")
    let_pass(folder)

    assert sweep(database, blobs) == Swept(0)
    assert blobs.get(input_key(job_id)) + blobs.get(chunk_key(job_id, 0)) == b"mediaaudio"


def test_an_upload_that_still_arrives_stays_although_it_began_long_ago(
    database: Database, blobs: Blobs, folder: Path
) -> None:
    job_id = uuid7()
    half = folder / f"{input_key(job_id)}#1"  # as obstore writes it, until it is whole
    half.parent.mkdir(parents=True)
    let_pass(folder)
    half.write_bytes(b"half")
    os.utime(half.parent, (0, 0))

    assert sweep(database, blobs).items == 0
    let_pass(folder)
    assert sweep(database, blobs).items == 1
    assert held(folder) == set()


def test_an_empty_folder_and_an_old_probe_go_and_what_is_not_ours_stays(
    database: Database, blobs: Blobs, folder: Path
) -> None:
    (folder / job_prefix(uuid7())).mkdir(parents=True)
    blobs.put(f"{JOBS}/lost+found/x", b"not ours")
    blobs.put(f"{PROBES}/1/written", b"0")
    let_pass(folder)
    blobs.put(f"{PROBES}/2/written", b"0")

    assert sweep(database, blobs).items == 1
    assert held(folder) == {"lost+found"}
    assert [path.name for path in (folder / PROBES).iterdir()] == ["2"]


def test_an_object_store_is_swept_like_a_folder(database: Database, account: Account) -> None:
    blobs = Blobs("memory:///")
    job_id, orphan = work.submit(database, account), upload(blobs)
    blobs.put(chunk_key(orphan, 0), b"audio")
    blobs.put(input_key(job_id), b"media")
    blobs.put(f"{PROBES}/1/written", b"0")

    at_once = replace(household.AGES, orphan_s=-60)
    done = [household.do(database, blobs, "orphan_blobs", at_once).items for _ in range(2)]

    assert done == [1, 0]
    assert [one.name for one in blobs.holdings(JOBS)] == [str(job_id)]
    assert list(blobs.holdings(PROBES)) == []


@pytest.mark.parametrize("url", ["memory:///", ""])
def test_holdings_go_on_after_a_name(url: str, folder: Path) -> None:
    blobs = Blobs(url or folder.as_uri())
    ids = sorted(str(uuid7()) for _ in range(5))
    for job_id in ids:
        blobs.put(f"{JOBS}/{job_id}/chunks/0", b"x")
        blobs.put(f"{JOBS}/{job_id}/input", b"x")

    assert [one.name for one in blobs.holdings(JOBS)] == ids
    assert [one.name for one in blobs.holdings(JOBS, after=ids[2])] == ids[3:]
    assert list(blobs.holdings("nothing")) == []


def test_a_run_ends_when_its_time_is_up_and_the_next_goes_on(
    database: Database, blobs: Blobs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_AT_ONCE", 2)
    ids = sorted(str(upload(blobs)) for _ in range(4))
    let_pass(folder)

    first = sweep(database, blobs, Slice(budget_s=0))
    assert first == Swept(1, resume=ids[0])
    assert sweep(database, blobs, Slice(first.resume)) == Swept(3)
    assert held(folder) == set()


class _ForOne(Slice):
    """A run whose time is up once it has erased one."""

    looks = 0

    @property
    def over(self) -> bool:
        self.looks += 1
        return self.looks > 0


def test_a_run_that_ends_among_orphans_leaves_none_of_them_to_a_later_sweep(
    database: Database, blobs: Blobs, folder: Path
) -> None:
    for _ in range(4):
        upload(blobs)
    let_pass(folder)

    first = sweep(database, blobs, _ForOne())
    assert first.items == 1
    assert first.resume is not None  # so it goes on at the next tick
    assert sweep(database, blobs, Slice(first.resume)) == Swept(3)
    assert held(folder) == set()


class _Stubborn(Blobs):
    """A store in which one prefix cannot be erased."""

    kept = ""

    def erase(self, prefix: str) -> int:
        if prefix == self.kept:
            raise GenericError("Operation not permitted")
        return super().erase(prefix)


def test_one_that_cannot_be_erased_keeps_no_other_from_it_and_is_told(database: Database, folder: Path) -> None:
    blobs = _Stubborn(folder.as_uri())
    ids = [upload(blobs) for _ in range(3)]
    blobs.kept = job_prefix(ids[1])
    let_pass(folder)

    swept = sweep(database, blobs)

    assert (swept.items, str(swept.passed_over)) == (2, "Operation not permitted")
    assert held(folder) == {str(ids[1])}


def test_nothing_is_an_orphan_for_a_database_that_the_store_does_not_belong_to(
    database: Database, blobs: Blobs, folder: Path
) -> None:
    sweep(database, blobs)
    theirs = upload(blobs)
    let_pass(folder)
    work.execute(database, "UPDATE installation SET id = gen_random_uuid()")  # as in any other database

    with pytest.raises(Unavailable, match="belongs to"):
        sweep(database, blobs)
    assert held(folder) == {str(theirs)}

    blobs.put(OWNER, str(work.execute(database, "SELECT id FROM installation")[0].id).encode())
    assert sweep(database, blobs).items == 1


def test_nothing_is_an_orphan_until_a_restored_database_has_run_for_as_long_as_an_upload_may_take(
    database: Database, blobs: Blobs, folder: Path
) -> None:
    after_the_backup = upload(blobs)
    let_pass(folder)
    ownership.begin_anew(database, blobs)

    assert sweep(database, blobs) == Swept(0)
    assert held(folder) == {str(after_the_backup)}

    work.execute(database, "UPDATE installation SET restored_at = now() - make_interval(secs => :s)", s=AGE_S + 1)
    assert sweep(database, blobs).items == 1
