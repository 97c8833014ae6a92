"""An account may ask so often a minute; every answer says where it stands, and without a Valkey requests pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from core.errors import RateLimited
from core.lanes import Tier
from core.settings import Settings
from core.store import accounts, jobs
from core.store.accounts import Account
from core.store.session import Database
from service.app import create_app
from service.embedded import free_port
from service.rates import Standing
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


def test_an_unexpected_error_says_it_too(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(jobs, "list_of", fails)
    with limited(5) as api:
        quiet = TestClient(api.app, headers=dict(api.headers), raise_server_exceptions=False)
        counted, not_counted = quiet.get("/v1/jobs"), quiet.get("/v1/jobs", headers={"Authorization": "Bearer sl_no"})

    assert (counted.status_code, standing_of(counted.headers)) == (500, (5, 4))
    assert "RateLimit-Limit" not in not_counted.headers


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
    assert [path for path in (tmp_path / "blobs" / "jobs").rglob("*") if path.is_file()] == []


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
        answers = {
            f"{method} {path}": api.request(method, path.format(job_id=uuid4(), batch_id=uuid4()))
            for method, path in calls
        }

    assert len(answers) > 8
    assert {call: answer.status_code for call, answer in answers.items() if answer.status_code != 429} == {}


def test_calls_without_a_key_have_no_limit(limited: Limited) -> None:
    with limited(1) as api:
        assert [api.get(path).status_code for path in ("/healthz", "/metrics") * 3] == [200] * 6


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


def test_a_refusal_says_when_it_ends() -> None:
    refusal = Standing(allowed=False, limit=5, remaining=0, reset_s=17).refusal()

    assert isinstance(refusal, RateLimited)
    assert (refusal.retry_after_s, refusal.retryable) == (17, True)
