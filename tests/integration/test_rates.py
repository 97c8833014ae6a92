"""An account may ask so often a minute; every answer says where it stands, and without a Valkey requests pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
import redis
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from core.errors import RateLimited
from core.lanes import Tier
from core.settings import Settings
from core.store import accounts
from core.store.accounts import Account
from core.store.session import Database
from service.app import create_app
from service.embedded import free_port, start_valkey
from service.rates import PAUSE_S, Rates, Standing
from service.supervisor import Supervisor
from tests.conftest import write_tiers
from tests.integration import work

PROMPT_S = 5
"""Far above what a refused connection takes, far below what waiting for each of many requests would add up to."""

Limited = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def limited(settings: Settings, key: str, tmp_path: Path) -> Limited:
    """The API where every tier allows so many requests a minute."""

    @contextmanager
    def opened(per_minute: int, **changes: Any) -> Iterator[TestClient]:
        file = write_tiers(tmp_path / "rates.toml", requests_per_minute=per_minute)
        own = settings.model_copy(update={"tiers_file": file, **changes})
        with TestClient(create_app(own), headers={"Authorization": f"Bearer {key}"}) as client:
            yield client

    return opened


def another_key(database: Database) -> str:
    other = work.open_account(database, "grace", Tier.PRO)
    with database.transaction() as connection:
        return accounts.issue_key(connection, other.id)


def standing_of(headers: Any) -> tuple[int, int]:
    assert 0 < int(headers["RateLimit-Reset"]) <= 60
    return int(headers["RateLimit-Limit"]), int(headers["RateLimit-Remaining"])


def unchecked() -> float:
    return REGISTRY.get_sample_value("scribelane_rate_limit_unchecked_total") or 0.0


def test_every_answer_says_how_many_requests_are_left(limited: Limited) -> None:
    with limited(5) as api:
        answers = [
            api.get("/v1/jobs"),
            api.get(f"/v1/jobs/{uuid4()}"),
            api.post("/v1/search", json={}),
            api.post("/v1/transcriptions", files={"file": ("talk.wav", b"RIFF")}),
        ]

    assert [answer.status_code for answer in answers] == [200, 404, 422, 202]
    assert [standing_of(answer.headers) for answer in answers] == [(5, 4), (5, 3), (5, 2), (5, 1)]


def test_an_answer_that_a_route_makes_itself_says_it_too(
    limited: Limited, database: Database, account: Account
) -> None:
    job_id = work.submit(database, account)

    with limited(5) as api:
        text = api.get(f"/v1/jobs/{job_id}/transcript", params={"format": "text"})

    assert (text.status_code, standing_of(text.headers)) == (200, (5, 4))


def test_one_request_too_many_is_a_429_that_says_what_to_do(limited: Limited) -> None:
    with limited(2) as api:
        answers = [api.get("/v1/jobs") for _ in range(3)]

    refused = answers[-1]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert (refused.json()["code"], refused.headers["Content-Type"]) == ("rate_limited", "application/problem+json")
    assert standing_of(refused.headers) == (2, 0)
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert f"wait {refused.headers['Retry-After']} s" in refused.json()["detail"]


def test_a_refused_submit_leaves_nothing(limited: Limited, database: Database, tmp_path: Path) -> None:
    with limited(1) as api:
        api.get("/v1/jobs")
        refused = api.post("/v1/transcriptions", files={"file": ("talk.wav", b"RIFF")})

    assert refused.status_code == 429
    assert work.execute(database, "SELECT 1 FROM jobs") == []
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


def test_one_account_does_not_use_up_anothers_requests(limited: Limited, database: Database) -> None:
    other = {"Authorization": f"Bearer {another_key(database)}"}
    with limited(1) as api:
        own = [api.get("/v1/jobs").status_code for _ in range(2)]
        others = api.get("/v1/jobs", headers=other)

    assert (own, others.status_code) == ([200, 429], 200)


def test_all_keys_of_an_account_count_together(limited: Limited, database: Database, account: Account) -> None:
    with database.transaction() as connection:
        second = {"Authorization": f"Bearer {accounts.issue_key(connection, account.id)}"}
    with limited(1) as api:
        assert [api.get("/v1/jobs").status_code, api.get("/v1/jobs", headers=second).status_code] == [200, 429]


def test_two_processes_count_together(limited: Limited) -> None:
    with limited(2) as one, limited(2) as other:
        assert [api.get("/v1/jobs").status_code for api in (one, other, one)] == [200, 200, 429]


def test_a_request_without_a_valid_key_is_not_counted_and_says_nothing(limited: Limited) -> None:
    with limited(1) as api:
        strangers = [api.get("/v1/jobs", headers={"Authorization": "Bearer sl_guess"}) for _ in range(3)]
        own = api.get("/v1/jobs")

    assert [answer.status_code for answer in strangers] == [401] * 3
    assert "RateLimit-Limit" not in strangers[0].headers
    assert own.status_code == 200


def test_every_call_of_v1_is_counted(limited: Limited) -> None:
    with limited(1) as api:
        paths = api.get("/openapi.json").json()["paths"]
        calls = [(method, path) for path in paths if path.startswith("/v1") for method in paths[path]]
        api.get("/v1/jobs")
        answers = {f"{method} {path}": api.request(method, path.format(job_id=uuid4())) for method, path in calls}

    assert len(answers) > 8
    assert {call: answer.status_code for call, answer in answers.items() if answer.status_code != 429} == {}


def test_calls_without_a_key_have_no_limit(limited: Limited) -> None:
    with limited(1) as api:
        assert [api.get(path).status_code for path in ("/healthz", "/metrics") * 3] == [200] * 6


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


def test_without_a_broker_requests_pass_quickly_and_are_counted_in_a_metric(limited: Limited) -> None:
    before, started = unchecked(), time.monotonic()
    with limited(1, broker_url=f"redis://127.0.0.1:{free_port()}/0") as api:
        answers = [api.get("/v1/jobs") for _ in range(10)]
        shown = api.get("/metrics").text

    assert [answer.status_code for answer in answers] == [200] * 10
    assert "RateLimit-Limit" not in answers[0].headers
    assert time.monotonic() - started < PROMPT_S
    assert unchecked() - before == 10
    assert f"scribelane_rate_limit_unchecked_total {unchecked()}" in shown


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
    work.until(lambda: asked)
    others = [rates.take(uuid4(), 5) for _ in range(10)]
    looked.set()
    looking.join()

    assert (others, len(asked)) == ([None] * 10, 1)
    rates.close()


def test_a_refusal_says_when_it_ends() -> None:
    refusal = Standing(allowed=False, limit=5, remaining=0, reset_s=17).refusal()

    assert isinstance(refusal, RateLimited)
    assert (refusal.retry_after_s, refusal.retryable) == (17, True)
