"""What operators ask for, and nobody else: a reindex, and that old vectors go."""

from __future__ import annotations

from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.store import reindexes, workers
from core.store.accounts import Account
from core.store.session import Database
from core.store.workers import WorkerRecord
from models.registry import DEFAULT_EMBEDDING
from tests.integration import work
from tests.integration.reindexed import NEW, OLD, document, embedded


@pytest.fixture
def operators(api: TestClient, database: Database) -> TestClient:
    work.execute(database, "UPDATE accounts SET operator = true")
    return api


def report_query_worker(database: Database, model: str) -> None:
    with database.transaction() as connection:
        workers.report(connection, WorkerRecord("q/0", "host", 1, "cpu", ("query",), (model,), None))


def test_a_reindex_is_a_job_that_is_polled_listed_and_cancelled(operators: TestClient) -> None:
    answer = operators.post("/v1/reindexes", json={"model": NEW})
    job = answer.json()

    assert (answer.status_code, answer.headers["Location"]) == (202, job["status_url"])
    assert (job["kind"], job["lane"], job["options"]) == ("reindex", "batch", {"model": NEW})
    assert (job["input"]["type"], job["input"]["name"], "passages" in job["urls"]) == ("passages", NEW, False)
    assert operators.get(job["status_url"]).json()["stage"] == "prepare"
    assert [one["id"] for one in operators.get("/v1/jobs", params={"kind": "reindex"}).json()["data"]] == [job["id"]]
    assert operators.post(job["urls"]["cancel"]).json()["status"] == "cancelled"
    assert operators.get(f"{job['status_url']}/transcript").status_code == 404


def test_one_reindex_with_a_model_is_in_work_at_a_time(operators: TestClient) -> None:
    first = operators.post("/v1/reindexes", json={"model": NEW}).json()
    second = operators.post("/v1/reindexes", json={"model": NEW})
    operators.post(first["urls"]["cancel"])
    third = operators.post("/v1/reindexes", json={"model": NEW, "lane": "standard"})

    assert (second.status_code, second.json()["code"]) == (409, "conflict")
    assert (third.status_code, third.json()["lane"]) == (202, "standard")


def test_a_request_that_is_sent_again_under_its_key_makes_no_second_job(operators: TestClient) -> None:
    key = {"Idempotency-Key": "the new model"}
    refused = operators.post("/v1/reindexes", json={"model": "base"}, headers=key)
    no_such = operators.post("/v1/reindexes", json={"model": NEW, "pace": 1}, headers=key)
    first, again = (operators.post("/v1/reindexes", json={"model": NEW}, headers=key) for _ in range(2))
    other = operators.post("/v1/reindexes", json={"model": "all-MiniLM-L6-v2"}, headers=key)

    assert [answer.status_code for answer in (refused, no_such, first, again, other)] == [422, 422, 202, 202, 422]
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    assert other.json()["code"] == "idempotency_mismatch"


@pytest.mark.parametrize("model", ["no-such-model", "base", ""])
def test_what_is_no_embedding_model_is_refused(operators: TestClient, model: str) -> None:
    answer = operators.post("/v1/reindexes", json={"model": model})

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model" if model else "invalid_request")


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/reindexes"), ("DELETE", f"/v1/vectors?model={OLD}")])
def test_it_is_for_operators(api: TestClient, database: Database, account: Account, method: str, path: str) -> None:
    document(database, account, "1")

    answer = api.request(method, path, json={"model": NEW} if method == "POST" else None)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (embedded(database, OLD), len(work.execute(database, "SELECT FROM jobs"))) == (["1"], 1)


def test_old_vectors_go_some_at_a_time_and_nothing_else(
    operators: TestClient, database: Database, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexes, "DROPPED_AT_ONCE", 2)
    document(database, account, "1", "2", "3")
    document(database, account, "4", model=NEW)
    report_query_worker(database, NEW)

    answers = [operators.delete("/v1/vectors", params={"model": OLD}).json() for _ in range(3)]

    assert answers == [{"model": OLD, "deleted": n} for n in (2, 1, 0)]
    assert (embedded(database, OLD), embedded(database)) == ([], ["4"])
    assert len(work.execute(database, "SELECT FROM passages")) == 4


def test_the_model_that_is_set_for_searches_is_not_dropped_while_no_query_worker_lives(
    operators: TestClient, database: Database, account: Account
) -> None:
    document(database, account, "1", model=DEFAULT_EMBEDDING)

    refusal = operators.delete("/v1/vectors", params={"model": DEFAULT_EMBEDDING})

    assert work.execute(database, "SELECT FROM workers") == []
    assert (refusal.status_code, refusal.json()["code"]) == (409, "conflict")
    assert "SCRIBELANE_EMBEDDING_MODEL" in refusal.json()["detail"]
    assert embedded(database, DEFAULT_EMBEDDING) == ["1"]


def test_the_model_that_a_query_worker_still_searches_with_is_not_dropped(
    operators: TestClient, database: Database, account: Account
) -> None:
    document(database, account, "1")
    report_query_worker(database, OLD)

    refusal = operators.delete("/v1/vectors", params={"model": OLD})
    work.execute(database, "UPDATE workers SET last_seen = now() - interval '1 hour'")
    answer = operators.delete("/v1/vectors", params={"model": OLD})

    assert (refusal.status_code, refusal.json()["code"]) == (409, "conflict")
    assert "SCRIBELANE_EMBEDDING_MODEL" in refusal.json()["detail"]
    assert answer.json()["deleted"] == 1


@pytest.mark.parametrize("model", ["all-MiniLM", "base"])
def test_a_name_of_no_embedding_model_is_refused(operators: TestClient, model: str) -> None:
    refusal = operators.delete("/v1/vectors", params={"model": model})

    assert (refusal.status_code, refusal.json()["code"]) == (422, "unknown_model")


def test_what_is_being_made_is_not_dropped(operators: TestClient) -> None:
    operators.post("/v1/reindexes", json={"model": NEW})

    refusal = operators.delete("/v1/vectors", params={"model": NEW})

    assert (refusal.status_code, "cancel it first" in refusal.json()["detail"]) == (409, True)


def shown(api: TestClient, job_id: UUID, **asked: str) -> list[tuple[str, str | None]]:
    """The passages of a job, two a page, each with the model of its vector."""
    answers: list[tuple[str, str | None]] = []
    query = {"vectors": "true", "limit": "2", **asked}
    while True:
        page = api.get(f"/v1/jobs/{job_id}/passages", params=query).json()
        answers += [(one["text"], one.get("model")) for one in page["data"]]
        if page["next_cursor"] is None:
            return answers
        query["cursor"] = page["next_cursor"]


def test_a_passage_is_shown_once_with_the_vector_of_its_own_job_or_of_the_model_that_is_named(
    api: TestClient, database: Database, account: Account
) -> None:
    job_id = document(database, account, "1", "2", "3")
    more = "SELECT id, 'bge-m3', account_id, '[0,0,0,1]' FROM passages"
    work.execute(database, f"INSERT INTO vectors (passage_id, model, account_id, vector) {more}")

    assert shown(api, job_id) == [(text, OLD) for text in "123"]
    assert shown(api, job_id, model="bge-m3") == [(text, "bge-m3") for text in "123"]
    assert shown(api, job_id, model="bge-small-en-v1.5") == [(text, None) for text in "123"]
    work.execute(database, "DELETE FROM vectors WHERE model = :old", old=OLD)
    assert shown(api, job_id) == [(text, "bge-m3") for text in "123"]
