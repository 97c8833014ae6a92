"""Requests under one Idempotency-Key that meet: at once, after a death, and one that is overtaken."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from core.store import idempotency, jobs
from core.store.accounts import Account
from core.store.idempotency import Begun
from core.store.session import Database
from tests.integration import work
from tests.integration.repeated import begin, let_pass, n_jobs, refused, stored_files, submit

THREADS = 16


def test_the_key_of_a_request_whose_process_died_is_free_when_its_lease_has_run_out(
    api: TestClient, database: Database, account: Account
) -> None:
    begin(database, account)
    let_pass(database, idempotency.LEASE_S - 5)
    still_held = submit(api)
    let_pass(database, 5)

    assert (still_held.status_code, submit(api).status_code) == (409, 202)


def test_a_request_that_is_heard_of_keeps_its_key(database: Database, account: Account, api: TestClient) -> None:
    begun = begin(database, account)
    assert isinstance(begun, Begun)
    let_pass(database, idempotency.LEASE_S - 5)
    with database.transaction() as connection:
        idempotency.renew(connection, begun)
    let_pass(database, idempotency.LEASE_S - 5)

    assert submit(api).status_code == 409


def test_a_request_that_was_overtaken_makes_no_job(
    api: TestClient, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its upload stalled for longer than its lease, and the client has sent it again meanwhile."""
    overtaking: list[Response] = []
    insert = jobs.insert

    def late(*arguments: Any) -> None:
        if not overtaking:
            let_pass(database, idempotency.LEASE_S)
            overtaking.append(Response(0))
            overtaking[0] = submit(api)
        insert(*arguments)

    monkeypatch.setattr(jobs, "insert", late)
    overtaken = submit(api)

    assert (overtaking[0].status_code, overtaken.status_code) == (202, 409)
    assert n_jobs(database) == len(stored_files(tmp_path)) == 1
    assert submit(api).content == overtaking[0].content


def test_a_late_request_whose_expired_key_was_cleaned_up_still_answers_under_it(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = jobs.insert

    def late(*arguments: Any) -> None:
        work.execute(database, "DELETE FROM idempotency_keys")
        insert(*arguments)

    with monkeypatch.context() as slow:
        slow.setattr(jobs, "insert", late)
        first = submit(api)

    assert submit(api).content == first.content


def test_of_many_who_send_the_same_at_once_one_makes_a_job_and_all_get_its_answer(
    api: TestClient, database: Database, tmp_path: Path
) -> None:
    answers = work.together(THREADS, *[lambda: submit(api)] * 4 * THREADS)

    accepted = [answer for answer in answers if answer.status_code == 202]
    others = [answer for answer in answers if answer.status_code != 202]
    assert len({answer.content for answer in accepted}) == 1
    assert [answer for answer in others if not refused(answer, 409, "idempotency_in_flight")] == []
    assert submit(api).content == accepted[0].content
    assert n_jobs(database) == len(stored_files(tmp_path)) == 1


def test_of_many_who_begin_at_once_one_gets_the_key(database: Database, account: Account) -> None:
    for n in range(20):
        answers = work.together(THREADS, *[lambda key=f"key {n}": begin(database, account, key)] * THREADS)

        assert sum(isinstance(answer, Begun) for answer in answers) == 1


def test_many_keys_at_once_make_a_job_each(api: TestClient, database: Database) -> None:
    answers = work.together(THREADS, *[lambda n=n: submit(api, f"key {n % 20}") for n in range(100)])

    jobs_of_key: dict[int, set[UUID]] = {}
    for n, answer in enumerate(answers):
        if answer.status_code == 202:
            jobs_of_key.setdefault(n % 20, set()).add(answer.json()["id"])
    assert Counter(len(found) for found in jobs_of_key.values()) == {1: 20}
    assert n_jobs(database) == 20
