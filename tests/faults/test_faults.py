"""Accepted work survives what a machine does: every job ends, every chunk counts once, and the books are right.

`make test` runs the quick ones, `make faults` all of them; `benchmarks/faults.py` repeats them and prints figures.
"""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.faults.books import faults_in_the_books, orphans
from tests.faults.conftest import Undisturbed, submit
from tests.faults.faults import FAULTS, Fault, accepts_work
from tests.faults.moments import Moment, caught
from tests.waiting import until

CASES = [
    pytest.param(fault, moment, id=f"{fault.name}, {moment}", marks=[] if moment in fault.quick else [pytest.mark.long])
    for fault in FAULTS
    for moment in fault.moments
]


@pytest.mark.parametrize(("fault", "moment"), CASES)
def test_nothing_is_lost_and_nothing_doubled_when(undisturbed: Undisturbed, fault: Fault, moment: Moment) -> None:
    whole = undisturbed.whole
    with whole.client() as client:
        with caught(whole, moment, fault.stage, fault.worker, lambda: submit(client)) as held:
            undo = fault.strike(whole, held)
        undo()
        until(lambda: accepts_work(whole), within_s=60)
        job_ids = [held.job_id, submit(client)]
        ended = [client.wait(str(job_id)) for job_id in job_ids]
    assert [job.status for job in ended] == ["completed"] * 2, [job.error for job in ended]
    _check_books(undisturbed, job_ids)


def _check_books(undisturbed: Undisturbed, job_ids: list[UUID]) -> None:
    whole = undisturbed.whole
    with whole.database() as database, database.transaction() as connection:
        assert faults_in_the_books(connection, job_ids, undisturbed.job_id) == []
        assert orphans(whole.blob_folder, connection) == []
