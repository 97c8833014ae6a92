"""Who submits the same again gets the job that has completed, at once and at no charge; and only then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.erasure import erase_job
from core.passages import Passage
from core.settings import Settings
from core.store import accounts, interventions, reuse
from core.store.accounts import Account
from core.store.blobs import Blobs
from core.store.results import Embedded, Prepared
from core.store.session import Database
from core.work import PassageBatch
from service.app import create_app
from tests.conftest import write_tiers
from tests.integration import household, quota, work
from tests.integration.repeated import held_keys, n_jobs, stored_files, submit

PATHS = ("/v1/transcriptions", "/v1/documents")
OTHER = "multilingual-e5-small"
EXPIRY = "SELECT expires_at FROM jobs WHERE id = :id"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Jobs are embedded with the model that `work` finishes them with."""
    return settings.model_copy(update={"embedding_model": work.MODEL})


def done(api: TestClient, database: Database, **asked: Any) -> str:
    """The id of a job that was submitted and has completed."""
    job_id: str = submit(api, None, **asked).json()["id"]
    work.finish(database, UUID(job_id))
    return job_id


def is_new(api: TestClient, key: str | None = None, **asked: Any) -> bool:
    """Whether a submit makes a job of its own."""
    answer = submit(api, key, **asked)
    assert (answer.status_code == 202) is (answer.json()["reused_from"] is None)
    return answer.status_code == 202


@pytest.mark.parametrize("path", PATHS)
def test_the_same_again_is_answered_with_the_finished_job_and_leaves_nothing_new(
    api: TestClient, database: Database, tmp_path: Path, path: str
) -> None:
    first = done(api, database, path=path)
    before = stored_files(tmp_path)

    answer = submit(api, None, path=path, file=("another name.bin", b"RIFF"))

    job = answer.json()
    assert (answer.status_code, job["id"], job["reused_from"], job["status"]) == (200, first, first, "completed")
    assert answer.headers["Location"] == job["status_url"]
    assert api.get(job["status_url"]).json() == {**job, "reused_from": None}
    assert (n_jobs(database), stored_files(tmp_path)) == (1, before)


@pytest.mark.parametrize(
    "other",
    [
        {"file": ("talk.wav", b"RIFG")},
        {"language": "de"},
        {"task": "translate"},
        {"prompt": "The tides."},
        {"hotwords": "tides"},
        {"word_timestamps": "true"},
        {"index": "false"},
        {"model": "tiny.en"},
        {"metadata": '{"shelf": "sea"}'},
        {"force": "true"},
        {"path": "/v1/documents"},
    ],
)
def test_anything_else_makes_a_job(api: TestClient, database: Database, other: dict[str, Any]) -> None:
    done(api, database)

    assert is_new(api, **other)


def test_a_less_urgent_lane_gives_no_other_text(api: TestClient, database: Database) -> None:
    done(api, database)

    assert not is_new(api, lane="batch")


def test_equal_metadata_is_equal_in_any_order(api: TestClient, database: Database) -> None:
    done(api, database, metadata='{"a": 1, "b": [2]}')

    assert not is_new(api, metadata='{"b": [2], "a": 1}')


def test_a_job_that_has_not_completed_is_not_offered(api: TestClient, database: Database, account: Account) -> None:
    waiting = submit(api, None).json()["id"]
    assert is_new(api)
    with database.transaction() as connection:
        interventions.cancel(connection, UUID(waiting), account.id)
    assert is_new(api)
    work.execute(database, "DELETE FROM jobs")

    quota.fail(database, work.claim_one(database, UUID(submit(api, None).json()["id"])))
    assert is_new(api)


def test_nobody_is_offered_the_job_of_another_account(api: TestClient, database: Database) -> None:
    first = done(api, database)
    other = work.open_account(database, "grace")
    with database.transaction() as connection:
        key = accounts.issue_key(connection, other.id)
    api.headers["Authorization"] = f"Bearer {key}"

    answer = submit(api, None)

    assert answer.status_code == 202
    assert first not in answer.text


def test_what_was_deleted_or_has_expired_is_not_offered(api: TestClient, database: Database) -> None:
    assert api.delete(f"/v1/jobs/{done(api, database)}").status_code == 204
    assert is_new(api)

    done(api, database)
    work.execute(database, "UPDATE jobs SET expires_at = now() WHERE status = 'completed'")
    assert is_new(api)


def embedded(api: TestClient, database: Database, model: str | None = None) -> str:
    """The id of a PDF's job that has completed with two passages and their vectors."""
    asked: dict[str, Any] = {} if model is None else {"model": model}
    job_id: str = submit(api, None, path="/v1/documents", **asked).json()["id"]
    passages = [Passage(text, 1, 1, None, None) for text in ("one", "two")]
    work.complete(database, work.claim_one(database, UUID(job_id)), Prepared([PassageBatch(2)], 1, texts=[passages]))
    work.complete(
        database, work.claim_one(database, UUID(job_id)), Embedded(passages, [[1.0], [0.5]], model or work.MODEL)
    )
    work.finish(database, UUID(job_id))
    return job_id


@pytest.mark.parametrize("elsewhere", [{"embedding_model": "bge-m3"}], indirect=True)
def test_a_job_whose_vectors_were_dropped_is_not_offered_whether_it_named_their_model_or_not(
    api: TestClient, elsewhere: TestClient, database: Database
) -> None:
    work.execute(database, "UPDATE accounts SET operator = true")
    path = "/v1/documents"
    default = embedded(api, database)
    named = embedded(api, database, OTHER)
    assert submit(api, None, path=path).json()["reused_from"] == default
    assert submit(api, None, path=path, model=OTHER).json()["reused_from"] == named

    assert api.delete("/v1/vectors", params={"model": OTHER}).json()["deleted"] == 2
    assert elsewhere.delete("/v1/vectors", params={"model": work.MODEL}).json()["deleted"] == 2

    assert is_new(api, path=path, model=OTHER)
    assert is_new(api, path=path)


def test_a_job_that_lost_vectors_while_it_was_in_work_is_not_offered(api: TestClient, database: Database) -> None:
    job_id = embedded(api, database)
    work.execute(database, "DELETE FROM vectors WHERE ctid = (SELECT min(ctid) FROM vectors)")

    assert is_new(api, path="/v1/documents"), job_id


class _Away(Blobs):
    def erase(self, prefix: str) -> int:
        raise OSError("the media store is away")


def test_a_job_that_is_being_erased_is_not_offered(
    api: TestClient, database: Database, account: Account, tmp_path: Path
) -> None:
    job_id = UUID(done(api, database))
    with pytest.raises(OSError, match="away"):
        erase_job(database, _Away((tmp_path / "blobs").as_uri()), job_id, account.id)

    assert work.job(database, job_id).status == "completed"
    assert is_new(api)


def test_who_is_offered_a_job_has_it_for_as_long_as_a_new_one(api: TestClient, database: Database) -> None:
    job_id = done(api, database)
    whole = work.execute(database, EXPIRY, id=job_id)[0].expires_at
    work.execute(database, "UPDATE jobs SET expires_at = now() + interval '1 hour'")

    shown = submit(api, None).json()

    assert work.execute(database, EXPIRY, id=job_id)[0].expires_at >= whole
    assert shown["expires_at"] >= whole.isoformat().replace("+00:00", "Z")[:19]


def test_a_job_that_was_to_be_kept_longer_stays_so(api: TestClient, database: Database) -> None:
    job_id = done(api, database)
    work.execute(database, "UPDATE jobs SET expires_at = now() + interval '9 years'")
    longer = work.execute(database, EXPIRY, id=job_id)[0].expires_at

    assert not is_new(api)
    assert work.execute(database, EXPIRY, id=job_id)[0].expires_at == longer


def test_a_job_that_was_offered_just_before_it_is_erased_as_expired_stays(
    api: TestClient, database: Database, tmp_path: Path
) -> None:
    job_id = UUID(done(api, database))
    with database.transaction() as connection:
        assert not reuse.withdraw_expired(connection, job_id)  # it was seen as expired, and then extended

    assert household.do(database, Blobs((tmp_path / "blobs").as_uri()), "expired_jobs").items == 0
    assert not is_new(api)


def test_the_newest_of_several_is_offered(api: TestClient, database: Database) -> None:
    done(api, database)
    newest = done(api, database, force="true")

    assert submit(api, None).json()["id"] == newest


def test_under_a_key_the_offered_job_is_the_answer_again(api: TestClient, database: Database) -> None:
    first = done(api, database)
    answers = [submit(api, "one") for _ in range(2)]

    assert [(one.status_code, one.json()["id"]) for one in answers] == [(200, first)] * 2
    assert answers[0].content == answers[1].content
    assert answers[1].headers["Idempotent-Replayed"] == "true"

    api.delete(f"/v1/jobs/{first}")
    assert held_keys(database) == []
    assert is_new(api, "one")


def test_a_job_of_a_batch_is_offered_and_an_item_of_a_batch_is_always_worked(
    api: TestClient, database: Database
) -> None:
    items = '[{"kind": "transcription", "file": "talk.wav"}]'
    for _ in range(2):
        accepted = submit(api, None, path="/v1/batches", items=items).json()["items"][0]
        work.finish(database, UUID(accepted["job_id"]))

    assert n_jobs(database) == 2
    assert submit(api, None).json()["reused_from"] == accepted["job_id"]


def test_the_earlier_job_is_offered_when_nothing_is_left_of_the_quota(
    settings: Settings, key: str, database: Database, tmp_path: Path
) -> None:
    plans = write_tiers(tmp_path / "little.toml", monthly_audio_s=60)
    little = settings.model_copy(update={"tiers_file": plans})
    with TestClient(create_app(little), headers={"Authorization": f"Bearer {key}"}) as api:
        first = done(api, database)
        used = api.get("/v1/usage").json()["audio_s"]["used"]

        assert submit(api, None, language="de").status_code == 429
        assert submit(api, None).json()["reused_from"] == first
        assert api.get("/v1/usage").json()["audio_s"]["used"] == used == 60


@pytest.fixture
def elsewhere(settings: Settings, key: str, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """The same service, on other default models."""
    other = settings.model_copy(update=request.param)
    with TestClient(create_app(other), headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


@pytest.mark.parametrize("elsewhere", [{"whisper_model": "large-v3-turbo"}], indirect=True)
def test_another_default_model_transcribes_again(api: TestClient, elsewhere: TestClient, database: Database) -> None:
    done(api, database)
    named = done(api, database, model="large-v3-turbo")

    assert submit(elsewhere, None).json()["reused_from"] == named  # the one that it would be transcribed with now
    assert is_new(elsewhere, index="false")


@pytest.mark.parametrize("elsewhere", [{"embedding_model": "bge-m3"}], indirect=True)
def test_another_default_of_embedding_counts_where_text_is_embedded(
    api: TestClient, elsewhere: TestClient, database: Database
) -> None:
    done(api, database)
    done(api, database, index="false")
    done(api, database, path="/v1/documents")

    assert is_new(elsewhere)
    assert is_new(elsewhere, path="/v1/documents")
    assert not is_new(elsewhere, index="false")


def test_two_at_once_of_what_nobody_has_done_are_both_worked(api: TestClient, database: Database) -> None:
    answers = work.together(2, *[lambda: submit(api, None)] * 2)

    assert [one.status_code for one in answers] == [202, 202]
    assert n_jobs(database) == 2
