"""A broker that is away, full, or has lost everything delays work and loses none."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import redis
from kombu import Connection

from core.broker import make_celery
from core.dispatch import Bell, Dispatcher
from core.job import JobKind
from core.lanes import Lane
from core.store.accounts import Account
from core.store.session import Database
from service.embedded import free_port
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


def test_a_lost_message_is_sent_again_after_a_while(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.submit(database, account)
    dispatcher.round()
    broker.delete("io.express")

    assert dispatcher.round() == 0
    work.execute(database, "UPDATE chunks SET dispatched_until = dispatched_until - interval '31 seconds'")
    assert dispatcher.round() == 1
    assert broker.llen("io.express") == 1


def test_what_could_not_be_sent_is_sent_by_the_next_round(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.submit(database, account)
    away = Dispatcher(database, make_celery(f"redis://127.0.0.1:{free_port()}/0"), 30, SILENCE_S)

    assert away.round() == 0
    (row,) = work.execute(database, "SELECT dispatched_until, dispatches FROM chunks")
    assert (row.dispatched_until, row.dispatches) == (None, 0)
    assert dispatcher.round() == 1


def test_what_a_full_broker_refused_is_sent_by_the_next_round(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.submit(database, account)
    broker.config_set("maxmemory", 1)
    try:
        assert dispatcher.round() == 0
    finally:
        broker.config_set("maxmemory", 0)

    assert dispatcher.round() == 1


def test_a_broker_that_lost_everything_still_routes_what_comes_next(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis, broker_url: str
) -> None:
    work.submit(database, account)
    dispatcher.round()
    broker.flushall()
    work.submit(database, account, JobKind.DOCUMENT)

    assert dispatcher.round() == 1
    with Connection(broker_url) as connection, connection.SimpleQueue("io.express") as queue:
        assert queue.get(timeout=5).headers["task"] == "prepare"


def test_ringing_the_bell_sends_without_waiting_for_it(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    bell = Bell(dispatcher)
    work.submit(database, account)

    bell.ring()

    until(lambda: broker.llen("io.express") == 1)
    bell.close()


def test_the_bell_goes_on_after_a_round_that_failed(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    bell = Bell(dispatcher)
    work.execute(database, "ALTER TABLE chunks RENAME TO mislaid")
    bell.ring()
    until(lambda: not bell._rung.is_set())
    work.execute(database, "ALTER TABLE mislaid RENAME TO chunks")
    work.submit(database, account)

    bell.ring()

    until(lambda: broker.llen("io.express") == 1)
    bell.close()
