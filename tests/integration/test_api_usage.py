"""What the API says of quotas: `GET /v1/usage`, and a 429 that says what is left and when to come back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from core.job import JobKind
from core.settings import Settings
from core.store import accounts
from core.store.accounts import Account
from core.store.session import Database
from service.app import create_app
from tests.conftest import write_tiers
from tests.integration import quota, work

RECORDING = {"file": ("talk.wav", b"RIFF")}
UNTOUCHED = {"granted": 0, "used": 0, "reserved": 0}


@pytest.fixture
def little(settings: Settings, tmp_path: Path, key: str) -> Iterator[TestClient]:
    """The API where every tier includes two minutes and two pages."""
    file = write_tiers(tmp_path / "little.toml", monthly_audio_s=120, monthly_pages=2)
    app = create_app(settings.model_copy(update={"tiers_file": file}))
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


def test_usage_says_what_is_included_used_held_and_left(
    little: TestClient, database: Database, account: Account
) -> None:
    work.finish(database, work.submit(database, account))
    work.finish(database, work.submit(database, account, JobKind.DOCUMENT))
    work.transcribing(database, account, 1)

    answer = little.get("/v1/usage").json()

    assert answer["tier"] == "pro"
    assert answer["audio_s"] == {"limit": 120, "granted": 0, "used": 60, "reserved": 60, "remaining": 0}
    assert answer["pages"] == {"limit": 2, "granted": 0, "used": 1, "reserved": 0, "remaining": 1}


def test_the_period_is_the_present_month_of_the_database(api: TestClient, database: Database) -> None:
    period = api.get("/v1/usage").json()["period"]

    start, end = (datetime.fromisoformat(period[name]) for name in ("start", "end"))
    now = work.execute(database, "SELECT now() AS now")[0].now
    assert start <= now < end
    assert (start.day, start.hour, end.day, (end - start).days >= 28) == (1, 0, 1, True)


def test_an_unlimited_quota_is_null_and_metered(api: TestClient, database: Database, account: Account) -> None:
    work.execute(database, "UPDATE accounts SET tier = 'enterprise'")
    work.finish(database, work.submit(database, account, JobKind.DOCUMENT))

    assert api.get("/v1/usage").json()["pages"] == {**UNTOUCHED, "limit": None, "used": 1, "remaining": None}


def test_nobody_sees_or_uses_up_the_quota_of_another(little: TestClient, database: Database, account: Account) -> None:
    work.finish(database, work.submit(database, account), 2)
    mallory = work.open_account(database, "mallory")
    with database.transaction() as connection:
        headers = {"Authorization": f"Bearer {accounts.issue_key(connection, mallory.id)}"}

    assert little.get("/v1/usage", headers=headers).json()["audio_s"] == {**UNTOUCHED, "limit": 120, "remaining": 120}
    assert little.post("/v1/transcriptions", files=RECORDING, headers=headers).status_code == 202
    assert little.post("/v1/transcriptions", files=RECORDING).status_code == 429


@pytest.mark.parametrize(("path", "kind"), [("/v1/transcriptions", "audio"), ("/v1/documents", "pages")])
def test_a_submit_when_nothing_is_left_is_a_429_that_leaves_nothing(
    little: TestClient, database: Database, account: Account, tmp_path: Path, path: str, kind: str
) -> None:
    used = JobKind.TRANSCRIPTION if kind == "audio" else JobKind.DOCUMENT
    work.finish(database, work.submit(database, account, used), 2)

    answer = little.post(path, files=RECORDING)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (429, "quota_exceeded")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "Left: 0" in problem["detail"]
    assert kind in problem["detail"]
    end = datetime.fromisoformat(little.get("/v1/usage").json()["period"]["end"])
    assert f"{end:%Y-%m-%dT%H:%M:%SZ}" in problem["detail"]
    now = work.execute(database, "SELECT now() AS now")[0].now
    assert int(answer.headers["Retry-After"]) == pytest.approx((end - now).total_seconds(), abs=60)
    assert [file for file in (tmp_path / "blobs" / "jobs").rglob("*") if file.is_file()] == []
    assert len(work.execute(database, "SELECT FROM jobs")) == 1


def test_recordings_do_not_use_up_pages(little: TestClient, database: Database, account: Account) -> None:
    work.finish(database, work.submit(database, account), 2)

    assert little.post("/v1/documents", files=RECORDING).status_code == 202


def test_a_new_month_admits_again(little: TestClient, database: Database, account: Account) -> None:
    work.finish(database, work.submit(database, account), 2)
    quota.move_usage_to_last_month(database)

    assert little.post("/v1/transcriptions", files=RECORDING).status_code == 202
    assert little.get("/v1/usage").json()["audio_s"]["used"] == 0


def test_trying_a_job_again_when_nothing_is_left_is_a_429(
    little: TestClient, database: Database, account: Account
) -> None:
    job_id = work.transcribing(database, account, 1)
    quota.fail(database, work.claim_one(database, job_id))
    work.finish(database, work.submit(database, account), 2)

    answer = little.post(f"/v1/jobs/{job_id}/retry")

    assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
    assert "Retry-After" in answer.headers
