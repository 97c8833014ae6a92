"""The database's clock is set while there is work: nobody waits until it shows again what it showed before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import pytest
import redis

from core.job import Stage
from core.lanes import INFERENCE_QUEUES
from service import processes
from tests.faults.books import faults_in_the_books, orphans
from tests.faults.clock import ClockedSupervisor, DatabaseClock
from tests.faults.conftest import Undisturbed
from tests.faults.deployment import INFERENCE, Deployment, deployment, submit
from tests.faults.media import away
from tests.faults.moments import Moment, caught
from tests.faults.state import EVERY_S, pauses
from tests.faults.striking import ended
from tests.waiting import until

pytestmark = pytest.mark.long

HOUR = 3600
START, NOW = HOUR, 2 * HOUR
"""How far ahead the database's clock is when its server starts, and then; libfaketime is at fault with one behind."""
JUMP = 5 * 60
"""Longer than `ended` waits: who waits for the clock is found out."""


@dataclass(frozen=True)
class Clocked(Undisturbed):
    clock: DatabaseClock


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    """By its clock the server has been up for an hour."""
    folder = tmp_path_factory.mktemp("clocked")
    clock = DatabaseClock(folder)
    clock.set_ahead(START)
    with deployment(folder, supervised=partial(ClockedSupervisor, clock=clock)) as whole, whole.client() as client:
        clock.set_ahead(NOW)
        job = client.wait(str(submit(client)))
        assert job.status == "completed", job.error
        yield Clocked(whole, UUID(job.id), clock)


def _at_work(whole: Deployment, set_clock: Callable[[], None]) -> UUID:
    with whole.client() as client:
        with caught(whole, Moment.AT_WORK, Stage.TRANSCRIBE, INFERENCE, lambda: submit(client)) as held:
            set_clock()
        return held.job_id


def _worker_lost(whole: Deployment, set_clock: Callable[[], None]) -> UUID:
    """Its lease was given by the old time."""
    with (
        whole.client() as client,
        caught(whole, Moment.AT_WORK, Stage.TRANSCRIBE, INFERENCE, lambda: submit(client)) as held,
    ):
        whole.lose(INFERENCE)
        set_clock()
    whole.start(INFERENCE, processes.inference_worker("cpu", INFERENCE_QUEUES))
    return held.job_id


def _message_lost(whole: Deployment, set_clock: Callable[[], None]) -> UUID:
    with whole.client() as client:
        with caught(whole, Moment.BEFORE_CLAIM, Stage.TRANSCRIBE, INFERENCE, lambda: submit(client)) as held:
            whole.kill_children(INFERENCE)
            with redis.Redis.from_url(whole.environment["SCRIBELANE_BROKER_URL"]) as broker:
                broker.flushall()
            set_clock()
        return held.job_id


def _pausing(whole: Deployment, set_clock: Callable[[], None]) -> UUID:
    """A chunk has failed, and waits before it is tried again."""
    with (
        whole.client() as client,
        caught(whole, Moment.AT_WORK, Stage.TRANSCRIBE, INFERENCE, lambda: submit(client)) as held,
        away(whole),
    ):
        until(lambda: pauses(whole, held.job_id), every_s=EVERY_S)
        set_clock()
    return held.job_id


CASES = [
    pytest.param(_at_work, JUMP, id="work in progress, forward"),
    pytest.param(_at_work, -JUMP, id="work in progress, back"),
    pytest.param(_worker_lost, -JUMP, id="a lost worker, back"),
    pytest.param(_worker_lost, START - NOW - JUMP, id="a lost worker, back before the server's own start"),
    pytest.param(_pausing, -JUMP, id="a pause after a failure, back"),
    pytest.param(_message_lost, -JUMP, id="a lost message, back"),
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("while_", "jump_s"), CASES)
def test_work_goes_on_when_the_clock_is_set(
    clocked: Clocked, while_: Callable[[Deployment, Callable[[], None]], UUID], jump_s: int
) -> None:
    whole = clocked.whole
    try:
        with whole.client() as client:
            job_id = while_(whole, lambda: clocked.clock.set_ahead(NOW + jump_s))
            job_ids = [job_id, submit(client)]
            jobs = ended(client, job_ids)
    finally:
        clocked.clock.set_ahead(NOW)
    assert [job.status for job in jobs] == ["completed"] * 2, [job.error for job in jobs]
    with whole.database() as database, database.transaction() as connection:
        assert faults_in_the_books(connection, job_ids, clocked.job_id) == []
        assert orphans(whole.blob_folder, connection) == []
