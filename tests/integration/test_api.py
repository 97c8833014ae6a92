"""What the API takes and answers, on real servers and without a worker: from the upload to the result."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.broker import CONTROL_QUEUE, INFERENCE_QUEUES, IO_QUEUES, QUERY_QUEUE
from core.job import JobKind, JobStatus
from core.settings import Settings
from core.store.accounts import Account
from core.store.session import Database
from service.app import create_app
from service.embedded import free_port
from tests.integration import work

ROOT = Path(__file__).parents[2]
RECORDING = {"file": ("talk.wav", b"RIFF")}
SUBMITS = ["/v1/transcriptions", "/v1/documents"]


def stored_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def changed(settings: Settings, key: str, **changes: Any) -> TestClient:
    """The API on other settings."""
    app = create_app(settings.model_copy(update=changes))
    return TestClient(app, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def brokerless(settings: Settings, key: str) -> Iterator[TestClient]:
    with changed(settings, key, broker_url=f"redis://127.0.0.1:{free_port()}/0") as client:
        yield client


@pytest.mark.parametrize(("path", "kind"), list(zip(SUBMITS, JobKind, strict=True)))
def test_an_upload_is_accepted_at_once_as_a_job_to_be_polled(
    api: TestClient, tmp_path: Path, path: str, kind: JobKind
) -> None:
    answer = api.post(path, files=RECORDING)

    job = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (202, job["status_url"])
    assert (job["object"], job["kind"], job["status"], job["stage"]) == ("job", kind, "queued", "prepare")
    assert job["progress"] == {"chunks_done": 0, "chunks_total": None, "percent": 0}
    assert job["input"]["name"] == "talk.wav"
    assert (job["queue_position"], job["eta_s"], job["error"]) == (None, None, None)
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
        ({"model": "gpt"}, 422, "unknown_model", "known: "),
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
    "options", [{"language": "klingon"}, {"language": "xx"}, {"language": "de", "model": "tiny.en"}, {"task": "sing"}]
)
def test_what_whisper_cannot_do_is_refused(api: TestClient, options: dict[str, str]) -> None:
    answer = api.post("/v1/transcriptions", data=options, files=RECORDING)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_metadata_may_hold_a_backslash(api: TestClient) -> None:
    answer = api.post("/v1/transcriptions", data={"metadata": r'{"path": "C:\\u0000"}'}, files=RECORDING)

    assert answer.json()["metadata"] == {"path": "C:\\u0000"}


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


def test_json_where_a_file_is_wanted_is_a_415(api: TestClient) -> None:
    answer = api.post("/v1/transcriptions", json={"file": "talk.wav"})

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_pages_show_every_job_once_the_newest_first(api: TestClient, limit: int) -> None:
    submitted = [api.post("/v1/transcriptions", files=RECORDING).json()["id"] for _ in range(5)]
    shown: list[str] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = api.get("/v1/jobs", params=query).json()
        shown += [job["id"] for job in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]

    assert shown == submitted[::-1]


def test_jobs_are_listed_by_status_and_kind(api: TestClient) -> None:
    recording, document = (api.post(path, files=RECORDING).json()["id"] for path in SUBMITS)
    api.post(f"/v1/jobs/{recording}/cancel")

    def listed(**query: str) -> list[str]:
        return [job["id"] for job in api.get("/v1/jobs", params=query).json()["data"]]

    assert (listed(status="cancelled"), listed(kind="document")) == ([recording], [document])
    assert listed(status="failed") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "status=done", "kind=video", "cursor=x"])
def test_a_list_that_cannot_be_is_refused(api: TestClient, query: str) -> None:
    assert api.get(f"/v1/jobs?{query}").status_code == 422


def test_cancelling_twice_is_fine_and_cancelling_what_has_ended_a_conflict(
    api: TestClient, database: Database, account: Account
) -> None:
    cancelled, completed = work.submit(database, account), work.submit(database, account)
    work.finish(database, completed)

    answers = [api.post(f"/v1/jobs/{cancelled}/cancel") for _ in range(2)]
    refusal = api.post(f"/v1/jobs/{completed}/cancel")

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "cancelled")] * 2
    assert (refusal.status_code, refusal.json()["code"]) == (409, "conflict")


def test_deleting_erases_the_row_the_text_and_the_media(api: TestClient, database: Database, tmp_path: Path) -> None:
    job_id = api.post("/v1/documents", files=RECORDING).json()["id"]
    work.execute(database, 'UPDATE jobs SET options = options || \'{"model": "fake"}\'')
    work.finish(database, UUID(job_id), n_chunks=2)

    answer = api.delete(f"/v1/jobs/{job_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(f"/v1/jobs/{job_id}").status_code == 404
    assert stored_files(tmp_path) == []
    assert work.execute(database, "SELECT 1 FROM chunks UNION ALL SELECT 1 FROM passages") == []


def test_a_transcript_is_partial_until_its_job_is_completed(
    api: TestClient, database: Database, account: Account
) -> None:
    job_id = work.submit(database, account)
    url = f"/v1/jobs/{job_id}/transcript"
    assert api.get(url).json() == {"language": None, "duration_s": None, "partial": True, "text": "", "segments": []}
    work.prepare(database, job_id, 2)
    work.complete(database, work.claim_one(database, job_id))

    part = api.get(url).json()
    work.finish(database, job_id)
    whole = api.get(url).json()

    assert (part["partial"], part["text"], part["language"]) == (True, "Words of part 0.", "en")
    assert (whole["partial"], whole["text"]) == (False, "Words of part 0.\n\nWords of part 1.")
    assert [(segment["start"], segment["end"]) for segment in whole["segments"]] == [(0.0, 5.0), (60.0, 65.0)]


def test_a_transcript_may_be_plain_text(api: TestClient, database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.finish(database, job_id, n_chunks=2)

    answer = api.get(f"/v1/jobs/{job_id}/transcript", params={"format": "text"})

    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text == "Words of part 0.\n\nWords of part 1.\n"


def test_a_document_has_no_transcript(api: TestClient, database: Database, account: Account) -> None:
    job_id = work.submit(database, account, JobKind.DOCUMENT)

    assert api.get(f"/v1/jobs/{job_id}/transcript").status_code == 404


@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
@pytest.mark.parametrize("vectors", [False, True])
def test_passages_come_page_by_page_in_the_order_of_the_text(
    api: TestClient, database: Database, account: Account, limit: int, vectors: bool
) -> None:
    job_id = work.submit(database, account, JobKind.DOCUMENT)
    work.finish(database, job_id, n_chunks=5)
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": limit, "vectors": vectors}
    while True:
        page = api.get(f"/v1/jobs/{job_id}/passages", params=query).json()
        found += page["data"]
        if page.get("next_cursor") is None:
            break
        query["cursor"] = page["next_cursor"]

    assert [passage["text"] for passage in found] == [f"Page {n}." for n in range(5)]
    assert found[2]["citation"] == {"page_from": 3, "page_to": 3}
    assert [passage.get("vector") for passage in found] == [work.VECTOR if vectors else None] * 5


def test_a_search_that_no_worker_answers_is_a_503_in_time(settings: Settings, key: str) -> None:
    with changed(settings, key, query_timeout_s=0.3) as client:
        started = time.monotonic()
        answer = client.post("/v1/search", json={"query": "When is the tide highest?"})

    assert (answer.status_code, answer.json()["code"]) == (503, "search_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert time.monotonic() - started < 2


def test_a_search_without_a_broker_is_a_503_in_time(brokerless: TestClient, settings: Settings) -> None:
    started = time.monotonic()
    answer = brokerless.post("/v1/search", json={"query": "When is the tide highest?"})

    assert (answer.status_code, answer.json()["code"]) == (503, "search_unavailable")
    assert time.monotonic() - started < settings.query_timeout_s + 1


@pytest.mark.parametrize("query", ["", "  ", "x" * 2001, "a\x00b"])
def test_a_query_that_cannot_be_searched_for_is_refused(api: TestClient, query: str) -> None:
    assert api.post("/v1/search", json={"query": query}).status_code == 422


def test_a_job_is_accepted_while_the_broker_is_down(brokerless: TestClient, database: Database) -> None:
    started = time.monotonic()
    answer = brokerless.post("/v1/transcriptions", files=RECORDING)

    assert answer.status_code == 202
    assert time.monotonic() - started < 2
    assert work.job(database, UUID(answer.json()["id"])).status is JobStatus.QUEUED


def test_readiness_says_what_is_missing_and_what_to_do(brokerless: TestClient) -> None:
    answer = brokerless.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    missing = "\n".join(answer.json()["missing"])
    assert "the broker does not answer" in missing
    for command in ("worker", "worker --io", "worker --lanes query", "beat"):
        assert f"`scribelane {command}`" in missing


def test_a_service_with_a_worker_for_every_queue_is_ready(api: TestClient, database: Database) -> None:
    work.report_worker(database, *INFERENCE_QUEUES, *IO_QUEUES, QUERY_QUEUE, CONTROL_QUEUE)

    assert api.get("/readyz").json() == {"status": "ok", "missing": []}


def test_a_database_that_is_not_there_is_said_and_nothing_hangs(settings: Settings, tmp_path: Path) -> None:
    with changed(settings, "sl_any", database_url=f"postgresql:///x?host={tmp_path}") as client:
        ready, jobs, health = client.get("/readyz"), client.get("/v1/jobs"), client.get("/healthz")

    assert "the database does not answer" in ready.json()["missing"]
    assert (jobs.status_code, jobs.json()["code"]) == (503, "unavailable")
    assert health.status_code == 200


def test_the_api_imports_no_engine() -> None:
    engines = "torch faster_whisper sentence_transformers transformers ctranslate2 onnxruntime av numpy pypdf"
    script = f"import sys, service.app; print([name for name in '{engines}'.split() if name in sys.modules])"

    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
