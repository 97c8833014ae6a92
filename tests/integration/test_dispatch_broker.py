"""A broker that is away, full, or has lost everything delays work and loses none."""

from __future__ import annotations

from typing import cast

import redis
from kombu import Connection

from core.broker import make_celery
from core.dispatch import Bell, Dispatcher
from core.job import JobKind
from core.store.accounts import Account
from core.store.session import Database
from service.embedded import free_port
from tests.integration import work
from tests.waiting import until


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
    away = Dispatcher(database, make_celery(f"redis://127.0.0.1:{free_port()}/0"), work.PROMISES)

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


class _FirstRoundFails:
    """A dispatcher that meets an error once."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.begun = 0

    def round(self) -> int:
        self.begun += 1
        if self.begun == 1:
            raise RuntimeError("the table is mislaid")
        return self._dispatcher.round()


def test_the_bell_goes_on_after_a_round_that_failed(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    rounds = _FirstRoundFails(dispatcher)
    bell = Bell(cast(Dispatcher, rounds))
    bell.ring()
    until(lambda: rounds.begun == 1)
    work.submit(database, account)

    bell.ring()

    until(lambda: broker.llen("io.express") == 1)
    bell.close()
