"""What a worker does with a chunk when one of its stores fails it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy.exc import OperationalError

from core import ownership
from core.dispatch import Dispatcher
from core.errors import LeaseLost
from core.job import JobKind, JobStatus
from core.store.accounts import Account
from core.store.blobs import input_key
from core.store.session import Database
from models import vad
from models.errors import DeviceFailed, OutOfDeviceMemory, WeightsMissing
from tests.conftest import write_tiers
from tests.integration import work
from tests.integration.worker import SAMPLE, context, working
from workers.attempts import Attempts, in_our_words
from workers.lease import Lease
from workers.stages.prepare import prepare

DOCUMENT = SAMPLE.with_suffix(".pdf")


class Counted(Lease):
    """Counts the steps, and is lost after `last` of them."""

    steps = 0
    last = 10**9

    def progress(self, *_: object) -> None:
        self.steps += 1
        self.lost = self.steps > self.last
        super().progress()


@pytest.fixture
def attempts(dispatcher: Dispatcher, tmp_path: Path) -> Iterator[Attempts]:
    with working(context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml"))) as attempts:
        yield attempts


def wait_no_more(database: Database) -> None:
    work.execute(database, "UPDATE chunks SET retry_at = NULL")


def test_a_media_store_that_is_away_costs_no_try_however_long(
    attempts: Attempts, database: Database, account: Account, tmp_path: Path
) -> None:
    job_id = work.submit(database, account)
    attempts.context.blobs.put(input_key(job_id), SAMPLE.read_bytes())
    jobs, away = tmp_path / "blobs" / "jobs", tmp_path / "blobs" / "away"
    jobs.rename(away)
    jobs.write_bytes(b"no folder, so nothing opens in it")
    (chunk_id,) = work.queued(database, job_id)
    for n in range(1, 6):
        attempts.work(chunk_id)
        (row,) = work.chunk_rows(database, job_id)
        assert (row.status, row.attempt, row.failures) == ("queued", n, 0)
        assert row.retry_at is not None
        wait_no_more(database)

    jobs.unlink()
    away.rename(jobs)
    attempts.work(chunk_id)

    assert work.chunk_rows(database, job_id)[0].status == "done"


def test_a_volume_that_is_not_mounted_costs_no_try(
    attempts: Attempts, database: Database, account: Account, tmp_path: Path
) -> None:
    job_id = work.submit(database, account)
    attempts.context.blobs.put(input_key(job_id), SAMPLE.read_bytes())
    ownership.check(database, attempts.context.blobs)
    mounted, away = tmp_path / "blobs", tmp_path / "away"
    mounted.rename(away)
    mounted.mkdir()
    (chunk_id,) = work.queued(database, job_id)
    attempts.work(chunk_id)
    (row,) = work.chunk_rows(database, job_id)
    assert (row.status, row.attempt, row.failures) == ("queued", 1, 0)

    mounted.rmdir()
    away.rename(mounted)
    wait_no_more(database)
    attempts.work(chunk_id)

    assert work.chunk_rows(database, job_id)[0].status == "done"


def test_audio_that_was_written_while_the_volume_was_not_mounted_does_not_count(
    attempts: Attempts, database: Database, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = work.submit(database, account)
    attempts.context.blobs.put(input_key(job_id), SAMPLE.read_bytes())
    ownership.check(database, attempts.context.blobs)
    mounted, away = tmp_path / "blobs", tmp_path / "away"
    find_speech = vad.find_speech

    def unmount(samples: NDArray[np.float32]) -> list[vad.Region]:
        if not away.exists():
            mounted.rename(away)
            mounted.mkdir()
        return find_speech(samples)

    monkeypatch.setattr(vad, "find_speech", unmount)
    attempts.work(work.queued(database, job_id)[0])

    (row,) = work.chunk_rows(database, job_id)
    assert (row.status, row.failures, row.uncharged) == ("queued", 0, 1)


def test_a_blob_that_is_missing_is_a_failure_of_the_chunk(
    attempts: Attempts, database: Database, account: Account
) -> None:
    job_id = work.submit(database, account)
    (chunk_id,) = work.queued(database, job_id)
    for _ in range(3):
        attempts.work(chunk_id)
        wait_no_more(database)

    failed = work.job(database, job_id)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobStatus.FAILED, "internal")


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (OutOfDeviceMemory(), "out_of_memory"),
        (DeviceFailed(), "device_failed"),
        (WeightsMissing(), "model_unavailable"),
        (OSError(errno.ENOSPC, "No space left on device"), "store_unavailable"),
        (OperationalError("SELECT", {}, Exception("the server went away")), "store_unavailable"),
        (PermissionError(errno.EACCES, "Permission denied"), "internal"),
        (KeyError("anything"), "internal"),
    ],
)
def test_what_comes_out_of_a_stage_gets_a_stable_code(raised: Exception, code: str) -> None:
    assert in_our_words(raised).code == code


def test_cutting_a_document_into_passages_is_progress_and_can_be_broken_off(
    attempts: Attempts, database: Database, account: Account
) -> None:
    job_id = work.submit(database, account, JobKind.DOCUMENT)
    attempts.context.blobs.put(input_key(job_id), DOCUMENT.read_bytes())
    claimed = work.claim_one(database, job_id)
    lease = Counted(claimed)
    pages = prepare(attempts.context, claimed, lease).pages
    assert pages is not None
    assert lease.steps > pages + 10

    taken_away = Counted(claimed)
    taken_away.last = lease.steps - 1  # the last piece that is counted
    with pytest.raises(LeaseLost):
        prepare(attempts.context, claimed, taken_away)
