"""Nobody gets at anything without a key, or at the jobs of another with one."""

from __future__ import annotations

import importlib
import pkgutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from core.job import JobKind
from core.store import accounts
from core.store.accounts import Account
from core.store.session import Database
from service import routes
from tests.integration import work

OPEN = {"/healthz", "/readyz", "/metrics"}


def routes_of_the_api() -> Iterator[tuple[str, str]]:
    """Every method and path, read from the route modules, so that a new one is never forgotten."""
    for module in pkgutil.iter_modules(routes.__path__):
        for route in importlib.import_module(f"{routes.__name__}.{module.name}").router.routes:
            assert isinstance(route, APIRoute)
            yield from ((method, route.path) for method in sorted(route.methods or ()))


ROUTES = sorted(routes_of_the_api())
PROTECTED = [(method, path) for method, path in ROUTES if path not in OPEN]
OF_A_JOB = [(method, path) for method, path in ROUTES if "{job_id}" in path]


def counts(database: Database) -> list[int]:
    tables = ("jobs", "chunks", "segments", "passages", "vectors")
    return [work.execute(database, f"SELECT count(*) FROM {table}")[0][0] for table in tables]


@pytest.fixture
def mallorys_key(database: Database) -> str:
    mallory = work.open_account(database, "mallory")
    with database.transaction() as connection:
        return accounts.issue_key(connection, mallory.id)


def test_every_route_of_the_documentation_is_tested_here(api: TestClient) -> None:
    documented = {
        (method.upper(), path)
        for path, methods in api.get("/openapi.json").json()["paths"].items()
        for method in methods
    }

    assert documented == set(ROUTES)
    assert len(OF_A_JOB) >= 5


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_no_key_and_a_wrong_key_are_a_401(api: TestClient, method: str, path: str) -> None:
    path = path.format(job_id=uuid.uuid4(), batch_id=uuid.uuid4())
    del api.headers["Authorization"]
    for headers in ({}, {"Authorization": "Bearer sl_wrong"}, {"Authorization": "Basic sl_wrong"}):
        answer = api.request(method, path, headers=headers)

        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (answer.headers["Content-Type"], answer.json()["code"]) == ("application/problem+json", "unauthorized")


def test_a_revoked_key_is_a_401(api: TestClient, database: Database) -> None:
    work.execute(database, "UPDATE api_keys SET revoked_at = now()")

    assert api.get("/v1/jobs").status_code == 401


def test_an_upload_without_a_key_is_not_stored(api: TestClient, tmp_path: Path) -> None:
    del api.headers["Authorization"]

    assert api.post("/v1/transcriptions", files={"file": ("a.wav", b"RIFF")}).status_code == 401
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("method", "path"), OF_A_JOB)
def test_the_job_of_another_account_is_not_there_on_any_route(
    api: TestClient, database: Database, account: Account, mallorys_key: str, method: str, path: str
) -> None:
    job_id = work.submit(database, account)
    work.prepare(database, job_id, 1)
    work.complete(database, work.claim_one(database, job_id))
    before = (counts(database), work.job(database, job_id))

    answer = api.request(method, path.format(job_id=job_id), headers={"Authorization": f"Bearer {mallorys_key}"})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (counts(database), work.job(database, job_id).status) == (before[0], before[1].status)


@pytest.mark.parametrize(("method", "path"), OF_A_JOB)
def test_a_job_that_never_was_is_not_told_from_one_of_another(
    api: TestClient, database: Database, account: Account, mallorys_key: str, method: str, path: str
) -> None:
    job_id, never = work.submit(database, account), uuid.uuid4()
    headers = {"Authorization": f"Bearer {mallorys_key}"}

    answers = [api.request(method, path.format(job_id=each), headers=headers) for each in (job_id, never)]

    assert answers[0].text.replace(str(job_id), "") == answers[1].text.replace(str(never), "")


@pytest.mark.parametrize(("method", "path"), OF_A_JOB)
def test_a_job_id_that_is_none_is_refused(api: TestClient, method: str, path: str) -> None:
    assert api.request(method, path.format(job_id="1 OR 1=1")).status_code == 422


def test_a_list_shows_ones_own_jobs_alone(
    api: TestClient, database: Database, account: Account, mallorys_key: str
) -> None:
    work.submit(database, account)

    answer = api.get("/v1/jobs", headers={"Authorization": f"Bearer {mallorys_key}"})

    assert answer.json() == {"data": [], "next_cursor": None}


def test_the_cursor_of_another_shows_nothing_of_theirs(
    api: TestClient, database: Database, account: Account, mallorys_key: str
) -> None:
    for _ in range(3):
        work.submit(database, account, JobKind.DOCUMENT)
    cursor = api.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]

    answer = api.get("/v1/jobs", params={"cursor": cursor}, headers={"Authorization": f"Bearer {mallorys_key}"})

    assert answer.json()["data"] == []


def test_the_workers_are_for_operators(api: TestClient, database: Database) -> None:
    work.report_worker(database, "express")
    refusal = api.get("/v1/workers")
    work.execute(database, "UPDATE accounts SET operator = true")
    answer = api.get("/v1/workers")

    assert (refusal.status_code, refusal.json()["code"]) == (403, "forbidden")
    (worker,) = answer.json()["workers"]
    assert set(worker) == {"id", "host", "pid", "device", "lanes", "models", "current_chunk", "last_seen"}


@pytest.mark.parametrize("path", sorted(OPEN))
def test_health_needs_no_key(api: TestClient, path: str) -> None:
    del api.headers["Authorization"]

    assert api.get(path).status_code in (200, 503)
