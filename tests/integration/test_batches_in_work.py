"""A batch is looked at, cancelled, repeated and erased as one, whatever becomes of its jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.errors import LeaseLost
from core.lanes import Tier
from core.store import accounts
from core.store.accounts import Account
from core.store.blobs import Blobs
from core.store.session import Database
from tests.integration import household, work
from tests.integration.batched import FILES, PAPER, TALK, counts, fail, job_ids, submit
from tests.integration.repeated import held_keys, n_jobs, stored_files


def test_a_batch_is_completed_when_all_has_ended_and_something_came_of_it(api: TestClient, database: Database) -> None:
    batch = submit(api).json()
    talk, paper = job_ids(batch)
    work.finish(database, talk)
    now = api.get(batch["status_url"]).json()
    assert (now["status"], counts(now)) == ("processing", {"total": 2, "completed": 1, "queued": 1})

    fail(database, paper)
    ended = api.get(batch["status_url"]).json()

    assert (ended["status"], counts(ended)) == ("completed", {"total": 2, "completed": 1, "failed": 1})
    assert [item["error"] and item["error"]["code"] for item in ended["items"]] == [None, "internal"]


def test_a_batch_of_which_all_failed_has_failed(api: TestClient, database: Database) -> None:
    batch = submit(api, [TALK, {**PAPER, "model": "gpt"}]).json()
    fail(database, *job_ids(batch))

    ended = api.get(batch["status_url"]).json()

    assert (ended["status"], counts(ended)) == ("failed", {"total": 2, "refused": 1, "failed": 1})


@pytest.mark.parametrize("erase", ["talk.wav", "paper.pdf"])
def test_a_batch_that_has_failed_does_not_complete_by_an_erasure(
    api: TestClient, database: Database, erase: str
) -> None:
    batch = submit(api, [TALK, PAPER, {**TALK, "model": "gpt"}]).json()
    for job_id in job_ids(batch):
        fail(database, job_id)
    (erased,) = [item["job_id"] for item in batch["items"] if item["file"] == erase and item["job_id"]]

    api.delete(f"/v1/jobs/{erased}")

    left = api.get(batch["status_url"]).json()
    assert (left["status"], counts(left)) == ("failed", {"total": 3, "refused": 1, "failed": 1, "erased": 1})


def test_cancelling_a_batch_ends_what_has_not_ended_and_keeps_what_is_done(api: TestClient, database: Database) -> None:
    files = {**FILES, "long.wav": b"RIFF", "next.wav": b"RIFF"}
    items = [TALK, PAPER, {**TALK, "file": "long.wav"}, {**TALK, "file": "next.wav"}]
    batch = submit(api, items, files).json()
    done, _, running, prepared = job_ids(batch)
    work.finish(database, done)
    work.prepare(database, prepared, 2)
    first, *_ = work.prepare(database, running, 3)
    claimed = work.claim(database, first)
    assert claimed is not None
    work.complete(database, claimed)

    answer = api.post(batch["urls"]["cancel"])

    cancelled = answer.json()
    assert (answer.status_code, cancelled["status"]) == (200, "cancelled")
    assert counts(cancelled) == {"total": 4, "completed": 1, "cancelled": 3}
    assert cancelled["cancelled_at"] is not None
    assert "Words of part 0." in api.get(f"/v1/jobs/{running}/transcript").json()["text"]
    usage = api.get("/v1/usage").json()["audio_s"]
    assert (usage["used"], usage["reserved"]) == (60.0, 0.0)
    assert api.post(batch["urls"]["cancel"]).json() == cancelled


def test_a_batch_that_has_ended_cannot_be_cancelled(api: TestClient, database: Database) -> None:
    batch = submit(api, [TALK], {"talk.wav": b"RIFF"}).json()
    work.finish(database, job_ids(batch)[0])

    answer = api.post(batch["urls"]["cancel"])

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_batch_of_another_account_is_not_there(api: TestClient, database: Database) -> None:
    batch = submit(api).json()
    with database.transaction() as connection:
        other = accounts.create(connection, "grace", Tier.PRO, operator=True)
        key = accounts.issue_key(connection, other.id)
    api.headers["Authorization"] = f"Bearer {key}"

    assert api.get(batch["status_url"]).status_code == api.post(batch["urls"]["cancel"]).status_code == 404


def test_a_batch_repeated_under_its_key_is_one_batch_and_gets_one_answer(
    api: TestClient, database: Database, tmp_path: Path
) -> None:
    first = submit(api, key="one")
    again = submit(api, key="one")

    assert (again.status_code, again.content) == (202, first.content)
    assert (again.headers["Location"], again.headers["Idempotent-Replayed"]) == (first.headers["Location"], "true")
    assert n_jobs(database) == len(stored_files(tmp_path)) == 2
    assert work.execute(database, "SELECT count(*) AS n FROM batches")[0].n == 1


@pytest.mark.parametrize(
    ("items", "files"),
    [
        ([TALK, {**PAPER, "metadata": {"a": 1}}], FILES),
        ([TALK, PAPER], {**FILES, "paper.pdf": b"%PDG"}),
        ([PAPER, TALK], FILES),
        ([TALK], {"talk.wav": b"RIFF"}),
    ],
)
def test_another_batch_under_the_same_key_is_a_422_and_leaves_nothing(
    api: TestClient, database: Database, tmp_path: Path, items: Any, files: Any
) -> None:
    submit(api, key="one")

    answer = submit(api, items, files, key="one")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert n_jobs(database) == len(stored_files(tmp_path)) == 2


def test_erasing_one_job_leaves_the_others_and_erases_the_answer_that_named_it(
    api: TestClient, database: Database
) -> None:
    batch = submit(api, key="one").json()
    talk, paper = job_ids(batch)

    assert api.delete(f"/v1/jobs/{talk}").status_code == 204

    left = api.get(batch["status_url"]).json()
    assert (counts(left), job_ids(left)) == ({"total": 2, "queued": 1, "erased": 1}, [paper])
    assert held_keys(database) == []


def test_a_batch_goes_with_the_last_of_its_jobs_and_so_do_the_names_of_refused_files(
    api: TestClient, database: Database
) -> None:
    batch = submit(api, [TALK, PAPER, {**TALK, "file": "secret.wav"}]).json()
    talk, paper = job_ids(batch)

    api.delete(f"/v1/jobs/{talk}")
    assert api.get(batch["status_url"]).status_code == 200
    api.delete(f"/v1/jobs/{paper}")

    assert api.get(batch["status_url"]).status_code == api.post(batch["urls"]["cancel"]).status_code == 404
    assert work.execute(database, "SELECT FROM batches") == []


def test_old_batches_go_with_their_expired_jobs_and_those_without_any_by_themselves(
    api: TestClient, database: Database, tmp_path: Path
) -> None:
    young, old = submit(api).json(), submit(api).json()
    nothing, young_nothing = (submit(api, [{**TALK, "model": "x"}], {"talk.wav": b"1"}).json() for _ in range(2))
    for one in (old, nothing):
        work.execute(database, "UPDATE batches SET expires_at = now() WHERE id = :id", id=UUID(one["id"]))
    work.execute(database, "UPDATE jobs SET expires_at = now() WHERE batch_id = :id", id=UUID(old["id"]))

    blobs = Blobs((tmp_path / "blobs").as_uri())
    erased = [household.do(database, blobs, chore).items for chore in ("expired_jobs", "refused_batches")]

    assert erased == [2, 1]
    left = [api.get(one["status_url"]).status_code for one in (young, old, nothing, young_nothing)]
    assert left == [200, 404, 404, 200]


def test_deleting_the_jobs_of_a_batch_while_it_is_cancelled_never_deadlocks(
    api: TestClient, database: Database
) -> None:
    for _ in range(3):
        files = {f"{n}.wav": b"RIFF" for n in range(8)}
        batch = submit(api, [{**TALK, "file": name} for name in files], files, key="one").json()
        calls: list[Callable[[], int]] = []
        for job_id in job_ids(batch):
            calls += [
                lambda each=job_id: api.delete(f"/v1/jobs/{each}").status_code,  # type: ignore[misc]
                lambda url=batch["urls"]["cancel"]: api.post(url).status_code,  # type: ignore[misc]
            ]
        answers = work.together(8, *calls)

        assert set(answers[::2]) == {204}
        assert set(answers[1::2]) <= {200, 404, 409}
        assert held_keys(database) == []
        assert work.execute(database, "SELECT FROM batches") == []


def test_cancelling_batches_while_their_jobs_end_never_deadlocks(
    api: TestClient, database: Database, account: Account
) -> None:
    batch = submit(
        api,
        [{**TALK, "file": f"{n}.wav"} for n in range(10)],
        {f"{n}.wav": b"RIFF" for n in range(10)},
    ).json()
    claims = [work.claim_one(database, job_id) for job_id in job_ids(batch)]

    def cancel() -> int:
        return api.post(batch["urls"]["cancel"]).status_code

    calls = [cancel, *(lambda claimed=one: work.complete(database, claimed) for one in claims), cancel]
    answers = work.together(8, *calls)

    assert [answers[0], answers[-1]] == [200, 200]
    assert {type(answer) for answer in answers[1:-1]} <= {type(None), LeaseLost}
    ended = api.get(batch["status_url"]).json()
    assert (ended["status"], counts(ended)) == ("cancelled", {"total": 10, "cancelled": 10})
