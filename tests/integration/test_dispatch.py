"""PostgreSQL decides what is sent: short windows, fair turns, and nothing sent twice without need."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import redis

from core.broker import make_celery
from core.dispatch import Dispatcher
from core.lanes import Lane, Tier
from core.store import jobs
from core.store.accounts import Account
from core.store.chunks import IN_FLIGHT_PER_WORKER
from core.store.session import Database
from tests.integration import work

SILENCE_S = 15.0


@pytest.fixture
def dispatcher(database: Database, broker_url: str) -> Dispatcher:
    return Dispatcher(database, make_celery(broker_url), redispatch_s=30, worker_silence_s=SILENCE_S)


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url) as client:
        yield client


def messages(broker: redis.Redis, queue: str) -> list[dict[str, Any]]:
    """What waits in a queue, the first sent first."""
    waiting: Any = broker.lrange(queue, 0, -1)
    return [json.loads(message) for message in reversed(waiting)]


def sent(broker: redis.Redis, queue: str) -> list[str]:
    """The chunk ids that wait in a queue, the first sent first."""
    return [json.loads(base64.b64decode(message["body"]))[0][0] for message in messages(broker, queue)]


def transcribing(database: Database, account: Account, n_chunks: int, lane: Lane = Lane.EXPRESS) -> UUID:
    """A job with so many chunks that wait to be transcribed."""
    job_id = work.submit(database, account, lane=lane)
    work.prepare(database, job_id, n_chunks)
    return job_id


def jobs_of(database: Database, chunk_ids: list[str]) -> list[UUID]:
    found = {str(row.id): row.job_id for row in work.execute(database, "SELECT id, job_id FROM chunks")}
    return [found[chunk_id] for chunk_id in chunk_ids]


def until(true: Callable[[], object], within_s: float = 10) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "this did not come to be"
        time.sleep(0.01)


def test_a_waiting_chunk_is_sent_to_the_queue_of_its_stage_and_lane(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.submit(database, account, lane=Lane.BATCH)

    assert dispatcher.round() == 1
    assert broker.llen("io.batch") == 1


def test_a_message_names_the_stage_and_the_chunk_and_nothing_else(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    (chunk_id,) = work.queued(database, work.submit(database, account))
    dispatcher.round()

    (message,) = messages(broker, "io.express")
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (message["headers"]["task"], args, kwargs) == ("prepare", [str(chunk_id)], {})


def test_a_chunk_that_was_sent_is_not_sent_again(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.submit(database, account)

    assert [dispatcher.round() for _ in range(3)] == [1, 0, 0]


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_the_window_of_a_queue_grows_with_the_workers_that_live(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis, n_workers: int
) -> None:
    transcribing(database, account, 12)
    for n in range(n_workers):
        work.report_worker(database, "express", "batch", worker_id=f"w/{n}")

    dispatcher.round()

    assert broker.llen("express") == IN_FLIGHT_PER_WORKER * max(1, n_workers)


def test_a_worker_that_went_silent_has_no_window(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    transcribing(database, account, 12)
    for n in range(3):
        work.report_worker(database, "express", worker_id=f"w/{n}")
    work.execute(database, "UPDATE workers SET last_seen = now() - interval '1 minute' WHERE id <> 'w/0'")

    assert dispatcher.round() == IN_FLIGHT_PER_WORKER


def test_a_chunk_in_work_takes_its_place_in_the_window(
    database: Database, account: Account, dispatcher: Dispatcher
) -> None:
    job_id = transcribing(database, account, 12)
    held = work.claim_one(database, job_id)

    assert dispatcher.round() == IN_FLIGHT_PER_WORKER - 1
    work.complete(database, held)
    assert dispatcher.round() == 1


def test_a_full_queue_does_not_hold_up_another(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    transcribing(database, account, 12)
    dispatcher.round()
    transcribing(database, account, 12, Lane.BATCH)

    assert dispatcher.round() == IN_FLIGHT_PER_WORKER
    assert broker.llen("batch") == IN_FLIGHT_PER_WORKER


def test_accounts_take_turns_however_much_one_of_them_sends(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    large = [transcribing(database, account, 20) for _ in range(2)]
    small = transcribing(database, work.open_account(database, "grace"), 3)
    for n in range(3):
        work.report_worker(database, "express", worker_id=f"w/{n}")

    dispatcher.round()

    turns = Counter(jobs_of(database, sent(broker, "express")))
    assert turns[small] == 3
    assert sum(turns[job_id] for job_id in large) == 3


def test_the_jobs_of_an_account_take_turns(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    first, second = transcribing(database, account, 20), transcribing(database, account, 20)
    for n in range(2):
        work.report_worker(database, "express", worker_id=f"w/{n}")

    dispatcher.round()

    assert jobs_of(database, sent(broker, "express")) == [first, second, first, second]


def test_who_has_much_in_work_waits_for_who_has_nothing(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    busy = transcribing(database, account, 20)
    work.report_worker(database, "express", worker_id="w/0")
    work.report_worker(database, "express", worker_id="w/1")
    for _ in range(2):
        work.claim_one(database, busy)
    newcomer = transcribing(database, work.open_account(database, "grace"), 20)

    dispatcher.round()

    assert jobs_of(database, sent(broker, "express")) == [newcomer, newcomer]


def test_two_dispatchers_at_once_send_nothing_twice_and_never_exceed_the_window(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    transcribing(database, account, 50)
    for n in range(8):
        work.report_worker(database, "express", worker_id=f"w/{n}")

    published = work.together(6, *[dispatcher.round] * 6)

    assert sum(published) == 8 * IN_FLIGHT_PER_WORKER
    assert len(set(sent(broker, "express"))) == broker.llen("express") == 8 * IN_FLIGHT_PER_WORKER


def test_a_message_that_nobody_takes_is_sent_ever_more_rarely(
    database: Database, account: Account, dispatcher: Dispatcher
) -> None:
    work.submit(database, account)
    pauses = []
    for _ in range(5):
        assert dispatcher.round() == 1
        wait = "extract(epoch FROM dispatched_until - now())::int"
        pauses.append(work.execute(database, f"SELECT {wait} FROM chunks")[0][0])
        work.execute(database, "UPDATE chunks SET dispatched_until = now()")

    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[1]
    assert pauses[-1] <= 30 * 4


def test_a_chunk_that_waits_after_a_failure_is_not_sent_before_its_time(
    database: Database, account: Account, dispatcher: Dispatcher
) -> None:
    work.submit(database, account)
    work.execute(database, "UPDATE chunks SET available_at = now() + interval '1 minute'")

    assert dispatcher.round() == 0


def test_a_cancelled_job_is_not_sent(database: Database, account: Account, dispatcher: Dispatcher) -> None:
    job_id = transcribing(database, account, 3)
    with database.transaction() as connection:
        jobs.cancel(connection, job_id, account.id)

    assert dispatcher.round() == 0


def test_the_tiers_do_not_change_the_turns(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    """Within a queue everybody is equal: what a tier pays for is its lane."""
    free = transcribing(database, work.open_account(database, "grace", Tier.FREE), 5, Lane.BATCH)
    paid = transcribing(database, account, 5, Lane.BATCH)

    dispatcher.round()

    assert jobs_of(database, sent(broker, "batch")) == [free, paid]
