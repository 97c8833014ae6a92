"""Accepted work survives what a machine does: every job ends, every chunk counts once, and the books are right.

`make test` runs the quick ones, `make faults` all of them; `benchmarks/faults.py` repeats them and prints figures.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from core.job import Stage
from core.lanes import INFERENCE_QUEUES
from service import processes
from service.processes import Command
from tests.faults.books import faults_in_the_books, orphans
from tests.faults.conftest import Undisturbed
from tests.faults.deployment import INFERENCE, SECOND, submit
from tests.faults.faults import FAULTS, Fault
from tests.faults.moments import Moment, account_locked, caught
from tests.faults.state import charged
from tests.faults.striking import ended, strike
from tests.waiting import until

CASES = [
    pytest.param(fault, moment, id=f"{fault.name}, {moment}", marks=[] if moment in fault.quick else [pytest.mark.long])
    for fault in FAULTS
    for moment in fault.moments
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("fault", "moment"), CASES)
def test_nothing_is_lost_and_nothing_doubled_when(undisturbed: Undisturbed, fault: Fault, moment: Moment) -> None:
    whole = undisturbed.whole
    with whole.client() as client:
        struck = strike(whole, client, fault, moment)
        jobs = ended(client, struck.job_ids)
    assert {job.status for job in jobs} == {"completed"}, [job.error for job in jobs]
    _check_books(undisturbed, struck.job_ids)


def _check_books(undisturbed: Undisturbed, job_ids: list[UUID]) -> None:
    whole = undisturbed.whole
    with whole.database() as database, database.transaction() as connection:
        assert faults_in_the_books(connection, job_ids, undisturbed.job_id) == []
        assert orphans(whole.blob_folder, connection) == []


def test_a_worker_that_has_to_stop_gives_its_chunk_back_at_no_charge(undisturbed: Undisturbed) -> None:
    """It is told to stop and gets a second, for a chunk of a quarter of a minute."""
    whole = undisturbed.whole
    hurried = processes.inference_worker("cpu", INFERENCE_QUEUES)
    slow = {**hurried.environment, "SCRIBELANE_DRAIN_S": "1", "SCRIBELANE_FAKE_SPEED": "2"}
    whole.stop(INFERENCE)
    whole.start(SECOND, Command(hurried.argv, slow))
    try:
        with whole.client() as client:
            with caught(whole, Moment.AT_WORK, Stage.TRANSCRIBE, SECOND, lambda: submit(client)) as held:
                whole.stop(SECOND)
            assert charged(whole, held) == ("queued", 0)
    finally:
        whole.start_again(INFERENCE)
    with whole.client() as client:
        assert client.wait(str(held.job_id)).status == "completed"
    _check_books(undisturbed, [held.job_id])


@pytest.mark.long
def test_workers_that_are_restarted_in_turn_under_load_charge_nothing(undisturbed: Undisturbed) -> None:
    whole = undisturbed.whole
    with whole.client() as client:
        job_ids = [submit(client) for _ in range(6)]
        for name in ("io", INFERENCE, "beat"):
            whole.stop(name)
            whole.start_again(name)
            whole.await_workers(name)
        jobs = ended(client, job_ids)
    assert {job.status for job in jobs} == {"completed"}
    with whole.database() as database, database.transaction() as connection:
        failed_once = "SELECT id FROM chunks WHERE failures > 0 AND job_id = ANY(%s)"
        assert connection.exec_driver_sql(failed_once, (job_ids,)).all() == []
    _check_books(undisturbed, job_ids)


@pytest.mark.long
def test_a_submit_whose_api_is_killed_before_the_commit_makes_one_job(undisturbed: Undisturbed) -> None:
    """The client does not know whether it was accepted, and asks again with the same Idempotency-Key."""
    whole = undisturbed.whole
    with whole.client() as client, ThreadPoolExecutor(1) as threads:
        with account_locked(whole) as blocked:
            submitting = threads.submit(submit, client)
            until(blocked)
            whole.kill("api")
        job_id = submitting.result(timeout=60)
        assert client.wait(str(job_id)).status == "completed"
    with whole.database() as database, database.transaction() as connection:
        since = "SELECT count(*) FROM jobs WHERE created_at >= (SELECT created_at FROM jobs WHERE id = %s)"
        assert connection.exec_driver_sql(since, (job_id,)).scalar_one() == 1
        assert faults_in_the_books(connection, [job_id], undisturbed.job_id) == []
        abandoned = orphans(whole.blob_folder, connection)
    assert len(abandoned) == 1  # what the killed API had received; the chore `orphan_blobs` finds it by its age
    shutil.rmtree(whole.blob_folder / Path(abandoned[0]).parent)  # that takes hours, and others look for orphans too
