"""What is old goes: jobs past their retention, audio that nobody will work again, workers that died."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from core.erasure import erase_job
from core.errors import Internal, MediaUnreadable, NotFound
from core.store import completion, interventions
from core.store.accounts import Account
from core.store.blobs import Blobs, chunk_key, input_key
from core.store.session import Database
from tests.integration import household, work
from tests.integration.household import do
from workers import clean
from workers.upkeep import Slice, Swept


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


def with_blobs(database: Database, account: Account, blobs: Blobs) -> UUID:
    """A job with its media and the audio of one chunk."""
    job_id = work.submit(database, account)
    blobs.put(input_key(job_id), b"media")
    blobs.put(chunk_key(job_id, 0), b"audio")
    return job_id


def kept(blobs: Blobs, key: str) -> bool:
    try:
        blobs.get(key)
    except FileNotFoundError:
        return False
    return True


def fail(database: Database, job_id: UUID, error: Internal | MediaUnreadable) -> None:
    with database.transaction() as connection:
        completion.fail(connection, work.claim_one(database, job_id), error, max_failures=1)


def test_a_clean_service_stays_as_it_is(database: Database, account: Account, blobs: Blobs) -> None:
    job_id = with_blobs(database, account, blobs)

    assert [one.work(Slice()) for one in household.all_chores(database, blobs)] == [Swept(0)] * 12
    assert kept(blobs, input_key(job_id))
    assert kept(blobs, chunk_key(job_id, 0))


def test_an_expired_job_goes_with_its_media(database: Database, account: Account, blobs: Blobs) -> None:
    gone, stays = with_blobs(database, account, blobs), with_blobs(database, account, blobs)
    work.execute(database, "UPDATE jobs SET expires_at = now() - interval '1 second' WHERE id = :id", id=gone)

    assert do(database, blobs, "expired_jobs").items == 1

    assert not kept(blobs, input_key(gone))
    assert kept(blobs, input_key(stays))
    with pytest.raises(NotFound):
        work.job(database, gone)


def test_the_chunk_audio_of_a_completed_job_goes_once_and_its_media_stays(
    database: Database, account: Account, blobs: Blobs
) -> None:
    job_id = with_blobs(database, account, blobs)
    work.finish(database, job_id)

    assert [do(database, blobs, "chunk_audio").items for _ in range(2)] == [1, 0]
    assert (kept(blobs, chunk_key(job_id, 0)), kept(blobs, input_key(job_id))) == (False, True)


def test_the_chunk_audio_of_a_cancelled_job_goes(database: Database, account: Account, blobs: Blobs) -> None:
    job_id = with_blobs(database, account, blobs)
    with database.transaction() as connection:
        interventions.cancel(connection, job_id, account.id)

    assert do(database, blobs, "chunk_audio").items == 1


def test_the_chunk_audio_of_a_failed_job_stays_to_be_tried_again(
    database: Database, account: Account, blobs: Blobs
) -> None:
    job_id = with_blobs(database, account, blobs)
    fail(database, job_id, MediaUnreadable())

    assert do(database, blobs, "chunk_audio").items == 0


def test_the_records_of_silent_workers_go(database: Database, blobs: Blobs) -> None:
    work.report_worker(database, "express", worker_id="dead/0")
    work.execute(database, "UPDATE workers SET last_seen = now() - interval '1 minute'")
    work.report_worker(database, "express", worker_id="alive/0")

    assert do(database, blobs, "silent_workers").items == 1
    assert [row.id for row in work.execute(database, "SELECT id FROM workers")] == ["alive/0"]


def test_two_cleaners_at_once_do_not_disturb_each_other(database: Database, account: Account, blobs: Blobs) -> None:
    for _ in range(20):
        with_blobs(database, account, blobs)
    work.execute(database, "UPDATE jobs SET expires_at = now() - interval '1 second'")

    answers = work.together(4, *[partial(do, database, blobs, "expired_jobs")] * 4)

    assert [answer for answer in answers if not isinstance(answer, Swept)] == []
    assert work.execute(database, "SELECT count(*) FROM jobs")[0][0] == 0


def test_chunk_audio_is_left_alone_while_a_worker_may_still_write_it(
    database: Database, account: Account, blobs: Blobs
) -> None:
    work.finish(database, with_blobs(database, account, blobs))

    assert do(database, blobs, "chunk_audio", replace(household.AGES, idle_s=60)).items == 0


class _Until(Slice):
    """A run whose time is up once it has asked so often."""

    def __init__(self, asks: int, resume: str | None = None) -> None:
        super().__init__(resume)
        self._asks = asks

    @property
    def over(self) -> bool:
        self._asks -= 1
        return self._asks < 0


@pytest.mark.parametrize("name", ["expired_jobs", "chunk_audio"])
def test_a_run_goes_on_until_all_is_gone(
    database: Database, account: Account, blobs: Blobs, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean, "_AT_ONCE", 2)
    for _ in range(5):
        work.finish(database, with_blobs(database, account, blobs))
    work.execute(database, "UPDATE jobs SET expires_at = now() - interval '1 second'")

    assert do(database, blobs, name) == Swept(5)


@pytest.mark.parametrize("name", ["expired_jobs", "chunk_audio"])
def test_a_run_whose_time_is_up_says_where_the_next_goes_on(
    database: Database, account: Account, blobs: Blobs, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean, "_AT_ONCE", 2)
    ids = [with_blobs(database, account, blobs) for _ in range(5)]
    for job_id in ids:
        work.finish(database, job_id)
    work.execute(database, "UPDATE jobs SET expires_at = now() - interval '1 second'")

    first = do(database, blobs, name, run=_Until(2))
    second = do(database, blobs, name, run=_Until(0, first.resume))  # it does one, whatever its look took
    third = do(database, blobs, name, run=Slice(second.resume))

    assert first == Swept(3, resume=str(ids[2]))
    assert second == Swept(1, resume=str(ids[3]))
    assert third == Swept(1)


class _Away(Blobs):
    """A blob store that fails once, for the first job that is erased."""

    failures = 1

    def erase(self, prefix: str) -> int:
        if self.failures:
            self.failures -= 1
            raise OSError("the store is away")
        return super().erase(prefix)


def test_a_job_whose_blobs_cannot_be_erased_keeps_neither_itself_nor_others_for_good(
    database: Database, account: Account, tmp_path: Path
) -> None:
    away = _Away((tmp_path / "blobs").as_uri())
    for _ in range(3):
        with_blobs(database, account, away)
    work.execute(database, "UPDATE jobs SET expires_at = now() - interval '1 second'")

    assert [do(database, away, "expired_jobs").items for _ in range(2)] == [2, 1]


def test_a_job_is_not_forgotten_before_its_media_is_gone(database: Database, account: Account, tmp_path: Path) -> None:
    away = _Away((tmp_path / "blobs").as_uri())
    job_id = with_blobs(database, account, away)

    with pytest.raises(OSError, match="away"):
        erase_job(database, away, job_id, account.id)
    assert work.job(database, job_id).status == "cancelled"

    erase_job(database, away, job_id, account.id)
    assert not kept(away, input_key(job_id))
    with pytest.raises(NotFound):
        work.job(database, job_id)
