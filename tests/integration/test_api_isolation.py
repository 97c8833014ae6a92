"""Nobody gets at anything without a key, or at the jobs of another with one."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Route

from core.job import JobKind
from core.store import accounts
from core.store.accounts import Account
from core.store.search import QueryVector
from core.store.session import Database
from service import searching
from tests.integration import routed, work
from tests.integration.routed import OPEN, PROTECTED, ROUTES, parameters

NAMING = [(method, path) for method, path in PROTECTED if parameters(path)]


def rows(database: Database) -> list[int]:
    tables = ("jobs", "batches", "chunks", "segments", "passages", "vectors")
    return [work.execute(database, f"SELECT count(*) FROM {table}")[0][0] for table in tables]


def states(database: Database) -> list[str]:
    return [row.status for row in work.execute(database, "SELECT status FROM jobs ORDER BY id")]


@pytest.fixture
def mallorys_key(database: Database) -> str:
    mallory = work.open_account(database, "mallory")
    with database.transaction() as connection:
        return accounts.issue_key(connection, mallory.id)


@pytest.fixture
def adas(api: TestClient, database: Database, account: Account) -> dict[str, str]:
    return routed.belongings(api, database, account)


def test_every_route_of_the_application_is_tested_here(api: TestClient, adas: dict[str, str]) -> None:
    app = api.app
    assert isinstance(app, FastAPI)
    documented = {
        (method.upper(), path)
        for path, methods in api.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    beside_the_routers = {route.path for route in app.routes if isinstance(route, Route)}

    assert documented == set(ROUTES)
    assert beside_the_routers == {app.docs_url, app.openapi_url, app.swagger_ui_oauth2_redirect_url}
    assert {name for _, path in ROUTES for name in parameters(path)} == set(adas)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_no_key_and_a_wrong_key_are_a_401(api: TestClient, method: str, path: str) -> None:
    path = path.format_map(dict.fromkeys(parameters(path), uuid.uuid4()))
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
    assert [path for path in (tmp_path / "blobs" / "jobs").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("method", "path"), NAMING)
def test_what_is_anothers_is_not_there_on_any_route_and_stays_as_it_is(
    api: TestClient, database: Database, adas: dict[str, str], mallorys_key: str, method: str, path: str
) -> None:
    before = (rows(database), states(database))

    answer = api.request(method, path.format_map(adas), headers={"Authorization": f"Bearer {mallorys_key}"})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (rows(database), states(database)) == before


@pytest.mark.parametrize(("method", "path"), NAMING)
def test_what_is_anothers_is_not_told_from_what_never_was(
    api: TestClient, adas: dict[str, str], mallorys_key: str, method: str, path: str
) -> None:
    headers = {"Authorization": f"Bearer {mallorys_key}"}
    never = dict.fromkeys(adas, str(uuid.uuid4()))

    theirs, nobodys = (
        api.request(method, path.format_map(ids), headers=headers).text.replace(ids[name], "")
        for ids in (adas, never)
        for name in parameters(path)
    )

    assert theirs == nobodys


@pytest.mark.parametrize(("method", "path"), NAMING)
def test_an_id_that_is_none_is_refused(api: TestClient, method: str, path: str) -> None:
    assert api.request(method, path.format_map(dict.fromkeys(parameters(path), "1 OR 1=1"))).status_code == 422


@pytest.mark.parametrize(("method", "path"), [route for route in PROTECTED if route not in NAMING])
def test_no_call_tells_anything_of_another(
    api: TestClient, adas: dict[str, str], mallorys_key: str, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    monkeypatch.setattr(searching, "query_vector", lambda *_: QueryVector(work.MODEL, work.VECTOR))
    body = {"query": "words", "job_ids": [adas["job_id"]]} if path == "/v1/search" else None

    answer = api.request(method, path, json=body, headers={"Authorization": f"Bearer {mallorys_key}"})

    assert not [secret for secret in (*adas.values(), "Page 0", "ada", "talk.wav") if secret in answer.text]


def test_a_search_over_the_jobs_of_another_finds_what_is_there_for_its_owner_alone(
    api: TestClient, adas: dict[str, str], mallorys_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "query_vector", lambda *_: QueryVector(work.MODEL, work.VECTOR))
    body = {"query": "words", "job_ids": [adas["job_id"]]}

    own = api.post("/v1/search", json=body).json()["hits"]
    mallorys = api.post("/v1/search", json=body, headers={"Authorization": f"Bearer {mallorys_key}"}).json()["hits"]

    assert ([hit["job_id"] for hit in own], mallorys) == ([adas["job_id"]], [])


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
