"""A submit repeated under its Idempotency-Key makes one job and gets one answer, whoever repeats it and whenever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.dispatch import Bell
from core.store import accounts, jobs
from core.store.accounts import Account
from core.store.blobs import Blobs
from core.store.session import Database
from tests.integration import household, work
from tests.integration.repeated import DEFAULT_FILE, begin, held_keys, let_pass, n_jobs, refused, stored_files, submit


@pytest.mark.parametrize("path", ["/v1/transcriptions", "/v1/documents"])
def test_the_same_request_again_gets_the_same_answer_byte_by_byte_and_no_second_job(
    api: TestClient, database: Database, tmp_path: Path, path: str
) -> None:
    first = submit(api, path=path, metadata='{"id": "Übung"}')
    work.execute(database, "UPDATE jobs SET status = 'cancelled', finished_at = now()")
    again = submit(api, path=path, metadata='{"id": "Übung"}')

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"] == first.json()["status_url"]
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert n_jobs(database) == len(stored_files(tmp_path)) == 1


def test_without_a_key_every_request_makes_a_job(api: TestClient, database: Database) -> None:
    assert submit(api, None).json()["id"] != submit(api, None).json()["id"]
    assert held_keys(database) == []


def test_another_key_makes_another_job(api: TestClient, database: Database) -> None:
    assert submit(api, "one").json()["id"] != submit(api, "two").json()["id"]


def test_the_order_of_the_fields_does_not_matter(api: TestClient) -> None:
    first = submit(api, language="de", task="translate")

    assert submit(api, task="translate", language="de").content == first.content


@pytest.mark.parametrize(
    "other",
    [
        {"file": ("talk.wav", b"RIFG")},
        {"file": ("talk.wav", b"RIFFF")},
        {"file": ("other.wav", b"RIFF")},
        {"language": "de"},
        {"metadata": "{}"},
        {"path": "/v1/documents"},
    ],
)
def test_another_request_under_the_same_key_is_a_422_and_leaves_nothing(
    api: TestClient, database: Database, tmp_path: Path, other: dict[str, Any]
) -> None:
    first = submit(api)

    assert refused(submit(api, **other), 422, "idempotency_mismatch")
    assert n_jobs(database) == len(stored_files(tmp_path)) == 1
    assert submit(api).content == first.content


def test_the_same_key_of_another_account_is_another_key(api: TestClient, database: Database) -> None:
    other = work.open_account(database, "grace")
    with database.transaction() as connection:
        key = accounts.issue_key(connection, other.id)
    first = submit(api)
    api.headers["Authorization"] = f"Bearer {key}"

    assert submit(api).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("sent", ["", "a\tb", "x" * 256, "schlüssel"])
def test_a_key_that_is_none_is_a_422(api: TestClient, database: Database, sent: str) -> None:
    headers = {b"Idempotency-Key": sent.encode("latin-1")}
    answer = api.post("/v1/transcriptions", files={"file": DEFAULT_FILE}, headers=headers)

    assert refused(answer, 422, "invalid_request")
    assert "Idempotency-Key" in answer.json()["detail"]
    assert n_jobs(database) == 0


@pytest.mark.parametrize("sent", ["a", "x" * 255, '"8e03978e-40d5"', "a key: ~!@#"])
def test_a_key_may_be_any_printable_text(api: TestClient, database: Database, sent: str) -> None:
    assert submit(api, sent).content == submit(api, sent).content
    assert held_keys(database) == [sent]


def test_a_request_whose_first_is_still_in_flight_is_a_409_that_says_when_to_try_again(
    api: TestClient, database: Database, account: Account, tmp_path: Path
) -> None:
    begin(database, account)

    answer = submit(api)

    assert refused(answer, 409, "idempotency_in_flight")
    assert int(answer.headers["Retry-After"]) > 0
    assert stored_files(tmp_path) == []
    assert held_keys(database) == ["one"]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"model": "gpt"}, 422),
        ({"lane": "slow"}, 422),
        ({"file": ("a.wav", b"")}, 422),
        ({"file": ("a.wav", bytes(1_000_001))}, 413),
    ],
)
def test_a_request_that_was_refused_frees_its_key(
    api: TestClient, database: Database, wrong: dict[str, Any], status: int
) -> None:
    assert submit(api, **wrong).status_code == status
    assert held_keys(database) == []
    assert submit(api).status_code == 202


def test_a_request_that_failed_frees_its_key(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise RuntimeError("the store is away")

    with monkeypatch.context() as broken:
        broken.setattr(jobs, "insert", away)
        with pytest.raises(RuntimeError, match="away"):
            submit(api)

    assert held_keys(database) == []
    assert submit(api).status_code == 202


def test_a_request_that_fails_after_its_job_was_accepted_keeps_its_answer(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Bell) -> None:
        raise RuntimeError("after the commit")

    with monkeypatch.context() as after_the_commit:
        after_the_commit.setattr(Bell, "ring", broken)
        with pytest.raises(RuntimeError, match="after the commit"):
            submit(api)
    again = submit(api)

    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert n_jobs(database) == 1


def test_an_answer_is_given_again_for_a_day_of_the_database(api: TestClient, database: Database) -> None:
    first = submit(api)
    let_pass(database, 24 * 3600 - 60)
    within = submit(api)
    let_pass(database, 60)
    after = submit(api)

    assert within.content == first.content
    assert after.json()["id"] != first.json()["id"]
    assert "Idempotent-Replayed" not in after.headers


def test_after_a_day_the_key_may_carry_another_request(api: TestClient, database: Database) -> None:
    submit(api)
    let_pass(database, 24 * 3600)

    assert submit(api, language="de").status_code == 202


def test_erasing_a_job_erases_its_answer_and_frees_the_key(api: TestClient, database: Database) -> None:
    first = submit(api)
    api.delete(f"/v1/jobs/{first.json()['id']}")

    assert held_keys(database) == []
    assert submit(api).json()["id"] != first.json()["id"]


def test_expired_keys_are_cleaned_up_and_others_stay(api: TestClient, database: Database, tmp_path: Path) -> None:
    submit(api, "old")
    let_pass(database, 24 * 3600)
    submit(api, "new")
    blobs = Blobs((tmp_path / "blobs").as_uri())

    assert household.do(database, blobs, "idempotency_keys").items == 1
    assert household.do(database, blobs, "idempotency_keys").items == 0

    assert held_keys(database) == ["new"]
    assert n_jobs(database) == 2


def test_the_openapi_document_shows_the_header_on_every_submit(api: TestClient) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    shown = {
        path: [one for one in operation.get("parameters", []) if one["name"] == "Idempotency-Key"]
        for path, operations in paths.items()
        for operation in operations.values()
        if "202" in operation["responses"] and "requestBody" in operation
    }

    assert set(shown) == {"/v1/transcriptions", "/v1/documents", "/v1/batches", "/v1/reindexes"}
    assert [(one["in"], one["required"]) for found in shown.values() for one in found] == [("header", False)] * 4
