"""What the API answers about jobs: lists, cancelling, erasing, transcripts and passages."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.job import JobKind
from core.settings import Settings
from core.store.accounts import Account
from core.store.session import Database
from service.app import create_app
from service.transcript_files import FILE_FORMATS
from tests.integration import work

ROOT = Path(__file__).parents[2]
RECORDING = {"file": ("talk.wav", b"RIFF")}
SUBMITS = ["/v1/transcriptions", "/v1/documents"]


def stored_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blobs" / "jobs").rglob("*") if path.is_file()]


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


@pytest.mark.parametrize("place", [[True, 1], [1.5, 1], [2**40, 1], ["a", 1], [1], None])
def test_a_cursor_that_no_list_answered_is_refused(
    api: TestClient, database: Database, account: Account, place: object
) -> None:
    job_id = work.submit(database, account)
    cursor = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()

    assert api.get(f"/v1/jobs/{job_id}/passages", params={"cursor": cursor}).status_code == 422


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
    nothing: dict[str, Any] = {
        "language": None,
        "language_probability": None,
        "duration_s": None,
        "text": "",
        "segments": [],
    }
    assert api.get(url).json() == {**nothing, "partial": True}
    work.prepare(database, job_id, 2)
    work.complete(database, work.claim_one(database, job_id))

    part = api.get(url).json()
    work.finish(database, job_id)
    whole = api.get(url).json()

    assert (part["partial"], part["text"]) == (True, "Words of part 0.")
    assert (part["language"], part["language_probability"]) == ("en", 0.9)
    assert (whole["partial"], whole["text"]) == (False, "Words of part 0.\n\nWords of part 1.")
    assert [(segment["start"], segment["end"]) for segment in whole["segments"]] == [(0.0, 5.0), (60.0, 65.0)]


def test_a_transcript_may_be_plain_text(api: TestClient, database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.finish(database, job_id, n_chunks=2)

    answer = api.get(f"/v1/jobs/{job_id}/transcript", params={"format": "text"})

    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text == "Words of part 0.\n\nWords of part 1.\n"


@pytest.mark.parametrize(
    ("form", "media_type", "first_line"),
    [
        ("srt", "application/x-subrip; charset=utf-8", "1"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT"),
        ("tsv", "text/tab-separated-values; charset=utf-8", "start\tend\ttext"),
    ],
)
def test_a_transcript_may_be_a_file(
    api: TestClient, database: Database, account: Account, form: str, media_type: str, first_line: str
) -> None:
    job_id = work.submit(database, account)
    work.finish(database, job_id, n_chunks=2)

    answer = api.get(f"/v1/jobs/{job_id}/transcript", params={"format": form})

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
    assert answer.text.splitlines()[0] == first_line
    assert answer.text.count("Words of part") == 2


def cues(api: TestClient, job_id: UUID, **query: int) -> list[str]:
    answer = api.get(f"/v1/jobs/{job_id}/transcript", params={"format": "vtt", **query})
    return answer.text.removeprefix("WEBVTT\n\n").strip().split("\n\n")


def test_subtitles_are_laid_out_as_asked_for(api: TestClient, database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.finish(database, job_id, n_chunks=1)

    def texts(**query: int) -> list[str]:
        return [cue.partition("\n")[2] for cue in cues(api, job_id, **query)]

    assert texts() == ["Words of part 0."]
    assert texts(max_line_chars=10) == ["Words of\npart 0."]
    assert texts(max_line_chars=10, max_lines=1) == ["Words of", "part 0."]


def test_subtitles_are_laid_out_as_the_operator_set_if_nobody_asks(
    settings: Settings, key: str, database: Database, account: Account
) -> None:
    job_id = work.submit(database, account)
    work.finish(database, job_id, n_chunks=1)
    layout = {"subtitle_line_chars": 12, "subtitle_lines": 1, "subtitle_chars_per_s": 5.0}

    app = create_app(settings.model_copy(update=layout))
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as api:
        assert cues(api, job_id) == [
            "00:00:00.000 --> 00:00:02.812\nWords of",
            "00:00:02.812 --> 00:00:05.000\npart 0.",
        ]
        assert app.state.service.subtitles.chars_per_s == 5
        assert len(cues(api, job_id, max_lines=2)) == 1


@pytest.mark.parametrize(
    "query", ["format=docx", "max_line_chars=9", "max_line_chars=201", "max_lines=0", "max_lines=11", "max_lines=two"]
)
def test_a_transcript_in_a_way_that_there_is_not_is_refused(
    api: TestClient, database: Database, account: Account, query: str
) -> None:
    job_id = work.submit(database, account)

    answer = api.get(f"/v1/jobs/{job_id}/transcript?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_the_formats_that_are_documented_are_those_that_are_written(api: TestClient) -> None:
    call = api.get("/openapi.json").json()["paths"]["/v1/jobs/{job_id}/transcript"]["get"]

    [form] = [one for one in call["parameters"] if one["name"] == "format"]
    assert set(form["schema"]["enum"]) == {"json", *FILE_FORMATS}
    written = {form.media_type for form in FILE_FORMATS.values()}
    assert set(call["responses"]["200"]["content"]) == {"application/json", *written}


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
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]

    assert [passage["text"] for passage in found] == [f"Page {n}." for n in range(5)]
    assert found[2]["citation"] == {"page_from": 3, "page_to": 3, "label": "p. 3"}
    assert [passage.get("vector") for passage in found] == [work.VECTOR if vectors else None] * 5
