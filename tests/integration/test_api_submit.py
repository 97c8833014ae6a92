"""What the API accepts as a job, and what it refuses without leaving anything behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from core.job import JobKind
from core.store.session import Database
from tests.integration import work

RECORDING = {"file": ("talk.wav", b"RIFF")}
SUBMITS = ["/v1/transcriptions", "/v1/documents"]


def stored_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blobs" / "jobs").rglob("*") if path.is_file()]


def nested(levels: int) -> str:
    """A JSON object with so many lists and objects in each other."""
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize(("path", "kind"), list(zip(SUBMITS, work.UPLOADED, strict=True)))
def test_an_upload_is_accepted_at_once_as_a_job_to_be_polled(
    api: TestClient, tmp_path: Path, path: str, kind: JobKind
) -> None:
    answer = api.post(path, files=RECORDING)

    job = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (202, job["status_url"])
    assert (job["object"], job["kind"], job["status"], job["stage"]) == ("job", kind, "queued", "prepare")
    assert job["progress"] == {"chunks_done": 0, "chunks_total": None, "percent": 0, "stage_percent": None}
    assert job["input"]["name"] == "talk.wav"
    assert (job["queue_position"], job["eta_s"], job["error"]) == (1, None, None)
    assert [file.read_bytes() for file in stored_files(tmp_path)] == [b"RIFF"]


def test_the_status_url_answers_the_job(api: TestClient) -> None:
    job = api.post("/v1/transcriptions", files=RECORDING).json()

    assert api.get(job["status_url"]).json() == job


def test_metadata_and_options_come_back_as_they_were_sent(api: TestClient) -> None:
    options = {"model": "fake", "language": "de", "word_timestamps": "true", "lane": "batch"}
    sent = {**options, "metadata": '{"id": 7, "tags": ["Übung", null]}'}

    job = api.post("/v1/transcriptions", data=sent, files=RECORDING).json()

    assert (job["lane"], job["metadata"]) == ("batch", {"id": 7, "tags": ["Übung", None]})
    assert (job["options"]["model"], job["options"]["language"]) == ("fake", "de")
    assert (job["options"]["word_timestamps"], job["options"]["index"]) == (True, True)


@pytest.mark.parametrize("field", ["language", "model", "lane", "prompt"])
def test_an_empty_option_counts_as_left_out(api: TestClient, field: str) -> None:
    assert api.post("/v1/transcriptions", data={field: ""}, files=RECORDING).status_code == 202


@pytest.mark.parametrize("path", SUBMITS)
@pytest.mark.parametrize(
    ("options", "status", "code", "says"),
    [
        ({"model": "gpt"}, 422, "unknown_model", "fake"),
        ({"colour": "red"}, 422, "invalid_request", "colour"),
        ({"lane": "slow"}, 422, "invalid_request", "lane"),
        ({"metadata": "[]"}, 422, "invalid_request", "metadata"),
        ({"metadata": "{"}, 422, "invalid_request", "metadata"),
        ({"metadata": '{"a": "' + "x" * 17_000 + '"}'}, 422, "invalid_request", "metadata"),
        ({"metadata": '{"a": "\\u0000"}'}, 422, "invalid_request", "metadata"),
        ({"metadata": '{"a": NaN}'}, 422, "invalid_request", "metadata"),
        ({"metadata": '{"a": 1e999}'}, 422, "invalid_request", "metadata"),
        ({"metadata": '{"a": "\\ud800"}'}, 422, "invalid_request", "metadata"),
        ({"metadata": '{"a":' * 10_000}, 422, "invalid_request", "metadata"),
        ({"metadata": nested(51)}, 422, "invalid_request", "50 levels"),
        ({"metadata": nested(900)}, 422, "invalid_request", "metadata"),
        ({"model": "a\x00b"}, 422, "invalid_request", "model"),
    ],
)
def test_options_that_cannot_be_met_are_refused_and_leave_nothing(
    api: TestClient,
    database: Database,
    tmp_path: Path,
    path: str,
    options: dict[str, str],
    status: int,
    code: str,
    says: str,
) -> None:
    answer = api.post(path, data=options, files=RECORDING)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert stored_files(tmp_path) == []
    assert work.execute(database, "SELECT 1 FROM jobs") == []


@pytest.mark.parametrize(
    "options",
    [
        {"language": "klingon"},
        {"language": "xx"},
        {"language": "de", "model": "tiny.en"},
        {"task": "sing"},
        {"task": "translate", "model": "tiny.en"},
    ],
)
def test_what_whisper_cannot_do_is_refused(api: TestClient, options: dict[str, str]) -> None:
    answer = api.post("/v1/transcriptions", data=options, files=RECORDING)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_metadata_may_hold_a_backslash(api: TestClient) -> None:
    answer = api.post("/v1/transcriptions", data={"metadata": r'{"path": "C:\\u0000"}'}, files=RECORDING)

    assert answer.json()["metadata"] == {"path": "C:\\u0000"}


def test_metadata_as_deep_as_it_may_be_is_answered_again(api: TestClient) -> None:
    job = api.post("/v1/transcriptions", data={"metadata": nested(50)}, files=RECORDING).json()

    assert [listed["metadata"] for listed in api.get("/v1/jobs").json()["data"]] == [json.loads(nested(50))]
    assert api.get(job["status_url"]).json() == job


def test_a_more_urgent_lane_than_the_tier_pays_for_is_a_403(
    api: TestClient, database: Database, tmp_path: Path
) -> None:
    work.execute(database, "UPDATE accounts SET tier = 'free'")

    answer = api.post("/v1/transcriptions", data={"lane": "express"}, files=RECORDING)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("talk.wav", b"", 422, "empty_upload"),
        ("talk.wav", b"x" * 1_000_001, 413, "upload_too_large"),
        ("talk.wav", b"x" * 1_200_000, 413, "upload_too_large"),
        ("../", b"RIFF", 422, "invalid_request"),
    ],
)
def test_a_file_that_cannot_be_taken_leaves_nothing(
    api: TestClient, database: Database, tmp_path: Path, name: str, content: bytes, status: int, code: str
) -> None:
    answer = api.post("/v1/transcriptions", files={"file": (name, content)})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert stored_files(tmp_path) == []
    assert work.execute(database, "SELECT 1 FROM jobs") == []


def test_a_file_without_a_name_is_refused(api: TestClient) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\nRIFF\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    assert api.post("/v1/transcriptions", content=body, headers=headers).status_code == 422


def test_a_name_with_folders_loses_them(api: TestClient, tmp_path: Path) -> None:
    job = api.post("/v1/transcriptions", files={"file": ("../../etc/passwd", b"RIFF")}).json()

    assert job["input"]["name"] == "passwd"
    assert stored_files(tmp_path) == [tmp_path / "blobs" / "jobs" / job["id"] / "input"]


def test_a_file_cannot_be_named_in_json(api: TestClient) -> None:
    answer = api.post("/v1/transcriptions", json={"file": "talk.wav"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "multipart/form-data" in answer.json()["detail"]
