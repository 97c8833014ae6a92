"""The window of a rate: it moves, it is shared, and a Valkey that does not answer is left alone for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
import redis

from service.embedded import free_port, start_valkey
from service.rates import PAUSE_S, Rates, Standing
from service.supervisor import Supervisor
from tests.integration import work
from tests.waiting import until

PROMPT_S = 5
"""Far above one wait for a Valkey that hangs, far below a wait for each of many requests."""


def test_of_many_requests_at_once_as_many_pass_as_are_allowed(broker_url: str) -> None:
    rates, account = Rates(broker_url), uuid4()

    standings = work.together(16, *[lambda: rates.take(account, 10)] * 50)

    assert sum(standing.allowed for standing in standings) == 10
    assert {standing.remaining for standing in standings if not standing.allowed} == {0}
    rates.close()


def test_the_window_moves(broker_url: str, broker: redis.Redis) -> None:
    rates, account = Rates(broker_url), uuid4()
    assert [taken(rates, account, 2).allowed for _ in range(3)] == [True, True, False]

    let_pass(broker, seconds=50)
    late = taken(rates, account, 2)
    let_pass(broker, seconds=11)
    again = taken(rates, account, 2)

    assert (late.allowed, again.allowed, again.remaining) == (False, True, 1)
    assert late.reset_s <= 10
    rates.close()


def taken(rates: Rates, account: UUID, per_minute: int) -> Standing:
    standing = rates.take(account, per_minute)
    assert standing is not None
    return standing


def let_pass(broker: redis.Redis, *, seconds: float) -> None:
    """Make every request that was counted so much older."""
    for name in broker.keys("*rates*"):
        entries: Any = broker.lrange(name, 0, -1)
        broker.delete(name)
        broker.rpush(name, *[float(entry) - seconds for entry in entries])


def test_what_is_counted_goes_by_itself(broker_url: str, broker: redis.Redis) -> None:
    rates = Rates(broker_url)
    taken(rates, uuid4(), 5)

    (name,) = broker.keys("*rates*")
    assert 0 < int(broker.ttl(name)) <= 60
    rates.close()


class Clock:
    """A clock that the test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A Valkey of this test's own, to be stopped in between."""
    supervisor = Supervisor(tmp_path / "logs")
    try:
        url = start_valkey(supervisor, tmp_path / "valkey")
        with redis.Redis.from_url(url) as client:
            info: Any = client.info("server")
        yield url, psutil.Process(info["process_id"])
    finally:
        supervisor.stop()


def test_a_broker_that_hangs_is_asked_once_and_then_left_alone(own_valkey: tuple[str, psutil.Process]) -> None:
    url, process = own_valkey
    rates, account = Rates(url, Clock()), uuid4()
    process.suspend()
    try:
        started = time.monotonic()
        answers = [rates.take(account, 1) for _ in range(1000)]
    finally:
        process.resume()

    assert answers == [None] * 1000
    assert time.monotonic() - started < PROMPT_S
    rates.close()


def test_a_broker_that_is_back_counts_again_after_the_pause(own_valkey: tuple[str, psutil.Process]) -> None:
    url, process = own_valkey
    clock, account = Clock(), uuid4()
    rates = Rates(url, clock)
    assert taken(rates, account, 5).remaining == 4
    process.suspend()
    away = rates.take(account, 5)
    process.resume()

    still_away = rates.take(account, 5)
    clock.now += PAUSE_S
    back = taken(rates, account, 5)

    assert (away, still_away) == (None, None)
    assert back.remaining <= 3
    rates.close()


def test_while_one_request_looks_whether_the_broker_is_back_the_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    rates = Rates(f"redis://127.0.0.1:{free_port()}/0", clock)
    assert rates.take(uuid4(), 5) is None
    clock.now += PAUSE_S
    asked: list[str] = []
    looked = threading.Event()

    def hangs(account: str, _: object) -> Standing:
        asked.append(account)
        assert looked.wait(30)
        raise redis.ConnectionError

    monkeypatch.setattr(rates, "_ask", hangs)
    looking = threading.Thread(target=rates.take, args=(uuid4(), 5))
    looking.start()
    until(lambda: asked)
    others = [rates.take(uuid4(), 5) for _ in range(10)]
    looked.set()
    looking.join()

    assert (others, len(asked)) == ([None] * 10, 1)
    rates.close()
