"""A job can be submitted by the URL of its input; a worker fetches it, and it is prepared like an upload."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from fastapi.testclient import TestClient

from core.dispatch import Dispatcher
from core.job import JobStatus
from core.links import UrlHosts
from core.store import fetched, jobs
from core.store.accounts import Account
from core.store.blobs import Blobs, input_key
from core.store.fetched import Learned
from core.store.session import Database
from tests.chaptered import Mark, chaptered
from tests.conftest import write_tiers
from tests.integration import work
from tests.integration.worker import SAMPLE, context, working
from tests.listening import Reply, Site, site
from workers import places
from workers.attempts import Attempts
from workers.inputs.orders import FetchOptions

SUBMITS = ["/v1/transcriptions", "/v1/documents"]
DOCUMENT = SAMPLE.with_suffix(".pdf")
VIDEO = "https://www.youtube.com/watch?v=abc_DEF-123"


@pytest.fixture
def media() -> Iterator[Site]:
    """The samples, on a server of their own."""

    def answer(path: str, headers: Mapping[str, str]) -> Reply:
        files = {"/talk.ogg": SAMPLE, "/tides.pdf": DOCUMENT}
        return Reply(body=files[path].read_bytes()) if path in files else Reply(404)

    with site(answer) as found:
        yield found


@pytest.fixture
def own_hosts(api: TestClient, media: Site) -> UrlHosts:
    """What the API allows: the server of this test and no other."""
    hosts = UrlHosts(private=frozenset({media.address}))
    app: Any = api.app
    app.state.service = replace(app.state.service, url_hosts=hosts)
    return hosts


@pytest.fixture
def attempts(dispatcher: Dispatcher, tmp_path: Path, own_hosts: UrlHosts) -> Iterator[Attempts]:
    # On the media store of the API.
    plain = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml", upload_max_bytes=1_000_000))
    with working(replace(plain, fetching=FetchOptions(own_hosts, direct_retries=0))) as attempts:
        yield attempts


def prepared(attempts: Attempts, database: Database, job: Mapping[str, Any]) -> None:
    work.execute(database, "UPDATE chunks SET retry_at = NULL")
    attempts.work(work.queued(database, job["id"])[0])


def test_while_a_place_for_fetching_is_taken_a_link_waits_at_no_charge_and_uploads_do_not(
    api: TestClient, database: Database, attempts: Attempts, media: Site
) -> None:
    job = api.post("/v1/documents", json={"url": f"{media.url}/tides.pdf"}).json()
    upload = api.post("/v1/documents", files={"file": ("tides.pdf", DOCUMENT.read_bytes())}).json()

    with places.one_of(1, "fetching", attempts.context.scratch.parent):
        prepared(attempts, database, upload)
        prepared(attempts, database, job)

    waiting = "SELECT status, failures, uncharged, retry_at > now() FROM chunks WHERE job_id = :id"
    assert [tuple(row) for row in work.execute(database, waiting, id=job["id"])] == [("queued", 0, 0, True)]
    assert api.get(f"/v1/jobs/{upload['id']}").json()["stage"] == "embed"
    assert media.requests == []

    prepared(attempts, database, job)

    assert api.get(f"/v1/jobs/{job['id']}").json()["stage"] == "embed"


@pytest.mark.parametrize("body", [{"url": "https://youtu.be/abc_DEF-123"}, {"url": VIDEO, "language": "de"}])
def test_a_video_is_accepted_at_once_under_its_one_url(api: TestClient, body: Mapping[str, str]) -> None:
    answer = api.post("/v1/transcriptions", json=body)

    job = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (202, job["status_url"])
    assert (job["status"], job["stage"]) == ("queued", "prepare")
    assert (job["input"]["type"], job["input"]["url"]) == ("youtube", VIDEO)
    assert job["options"]["language"] == body.get("language")


def test_options_keep_their_types_in_json(api: TestClient) -> None:
    sent = {"url": VIDEO, "word_timestamps": True, "metadata": {"id": 7}, "lane": "batch", "prompt": ""}

    job = api.post("/v1/transcriptions", json=sent).json()

    assert (job["options"]["word_timestamps"], job["metadata"], job["lane"]) == (True, {"id": 7}, "batch")
    assert job["options"]["prompt"] is None


@pytest.mark.parametrize("path", SUBMITS)
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/talk.mp3",
        "http://169.254.169.254/latest/meta-data/",
        "https://example.org/talk.mp3",
        "https://www.youtube.com/playlist?list=PL1",
        "file:///etc/passwd",
        "nonsense",
    ],
)
def test_a_url_that_is_not_fetched_is_refused_at_the_door(
    api: TestClient, database: Database, path: str, url: str
) -> None:
    answer = api.post(path, json={"url": url})

    assert (answer.status_code, answer.json()["code"]) == (422, "url_not_allowed")
    assert answer.json()["detail"].startswith("url: ")
    assert work.execute(database, "SELECT FROM jobs") == []


@pytest.mark.parametrize("path", SUBMITS)
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 422, "not JSON"),
        (b"{", 422, "not JSON"),
        (b"\xff", 422, "not JSON"),
        (b"[" * 100_000, 422, "not JSON"),
        (b"[]", 422, "no JSON object"),
        (b"{}", 422, "url: "),
        (b'{"url": 7}', 422, "url: "),
        (b'{"url": "' + b"x" * 2**20 + b'"}', 413, "1048576"),
        (json.dumps({"url": "https://example.org/", "colour": "red"}).encode(), 422, "colour"),
        (json.dumps({"url": "https://example.org/", "metadata": {"a": "\x00"}}).encode(), 422, "metadata"),
    ],
)
def test_a_body_that_says_no_url_is_refused(api: TestClient, path: str, body: bytes, status: int, says: str) -> None:
    answer = api.post(path, content=body, headers={"Content-Type": "application/json; charset=utf-8"})

    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_a_batch_takes_no_json(api: TestClient) -> None:
    assert api.post("/v1/batches", json={"url": VIDEO}).status_code == 415


def test_the_same_request_under_the_same_key_makes_one_job(api: TestClient, database: Database) -> None:
    headers = {"Idempotency-Key": "once"}
    first = api.post("/v1/transcriptions", json={"url": VIDEO, "metadata": {"a": 1, "b": 2}}, headers=headers)
    again = api.post("/v1/transcriptions", json={"metadata": {"b": 2, "a": 1}, "url": VIDEO}, headers=headers)
    other = api.post("/v1/transcriptions", json={"url": VIDEO, "language": "de"}, headers=headers)
    upload = api.post("/v1/transcriptions", files={"file": ("a", b"RIFF")}, headers=headers)

    assert (first.status_code, again.content, again.headers["Idempotent-Replayed"]) == (202, first.content, "true")
    assert [one.json()["code"] for one in (other, upload)] == ["idempotency_mismatch"] * 2
    assert len(work.execute(database, "SELECT FROM jobs")) == 1


def test_the_description_of_the_api_shows_both_ways(api: TestClient) -> None:
    paths = api.get("/openapi.json").json()["paths"]

    for path in SUBMITS:
        content = paths[path]["post"]["requestBody"]["content"]
        assert list(content) == ["multipart/form-data", "application/json"]
        assert content["application/json"]["schema"]["required"] == ["url"]


def test_a_document_is_fetched_and_prepared(
    api: TestClient, attempts: Attempts, database: Database, media: Site
) -> None:
    job = api.post("/v1/documents", json={"url": f"{media.url}/tides.pdf", "model": "fake"}).json()
    assert (job["input"]["type"], job["input"]["name"]) == ("url", "tides.pdf")

    prepared(attempts, database, job)

    found = api.get(job["status_url"]).json()
    assert (found["error"], found["stage"]) == (None, "embed")
    assert found["input"]["pages"] > 0
    assert found["progress"]["stage_percent"] is None
    assert attempts.context.blobs.get(input_key(job["id"])) == DOCUMENT.read_bytes()


def test_a_recording_is_fetched_once_however_often_it_is_prepared(
    api: TestClient, attempts: Attempts, database: Database, media: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = api.post("/v1/transcriptions", json={"url": f"{media.url}/talk.ogg", "model": "fake"}).json()

    with monkeypatch.context() as broken:
        broken.setattr("workers.inputs.opening.decoding", lambda *_, **__: 1 / 0)
        prepared(attempts, database, job)
    assert api.get(job["status_url"]).json()["stage"] == "prepare"
    prepared(attempts, database, job)

    assert api.get(job["status_url"]).json()["stage"] == "transcribe"
    assert [path for path, _ in media.requests] == ["/talk.ogg"]


def test_a_file_that_is_not_there_fails_its_job_at_once(
    api: TestClient, attempts: Attempts, database: Database, media: Site
) -> None:
    job = api.post("/v1/documents", json={"url": f"{media.url}/gone.pdf"}).json()

    prepared(attempts, database, job)

    found = api.get(job["status_url"]).json()
    assert (found["status"], found["error"]["code"]) == ("failed", "file_unavailable")


def test_a_worker_without_room_charges_nobody_and_tries_again(
    api: TestClient, attempts: Attempts, database: Database, media: Site, small_disk: Path
) -> None:
    job = api.post("/v1/transcriptions", json={"url": f"{media.url}/talk.ogg", "model": "fake"}).json()

    prepared(replace(attempts, context=replace(attempts.context, scratch=small_disk)), database, job)
    assert tuple(work.execute(database, "SELECT status, failures, uncharged FROM chunks")[0]) == ("queued", 0, 1)
    prepared(attempts, database, job)

    assert api.get(job["status_url"]).json()["stage"] == "transcribe"


def test_what_was_fetched_slowly_is_opened_in_an_attempt_of_its_own(
    api: TestClient, attempts: Attempts, database: Database, media: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = api.post("/v1/transcriptions", json={"url": f"{media.url}/talk.ogg", "model": "fake"}).json()

    def too_late(*_: object, **__: object) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr("workers.inputs.opening.decoding", too_late)
    prepared(attempts, database, job)
    assert api.get(job["status_url"]).json()["status"] == "processing"
    prepared(attempts, database, job)  # it had all of the time

    assert api.get(job["status_url"]).json()["error"]["code"] == "timeout"
    assert [path for path, _ in media.requests] == ["/talk.ogg"]


def test_nothing_is_fetched_that_could_not_be_kept(
    api: TestClient, attempts: Attempts, database: Database, media: Site, small_disk: Path
) -> None:
    full = Blobs((small_disk / "blobs").as_uri())
    (small_disk / "rest").write_bytes(bytes(32 * 1024))
    job = api.post("/v1/transcriptions", json={"url": f"{media.url}/talk.ogg", "model": "fake"}).json()

    prepared(replace(attempts, context=replace(attempts.context, blobs=full)), database, job)

    assert tuple(work.execute(database, "SELECT status, failures, uncharged FROM chunks")[0]) == ("queued", 0, 1)
    assert media.requests == []


CHAPTERS = [Mark("At sea", 0, 40), Mark("On the shore", 40, 87)]


def test_the_chapters_of_an_upload_are_shown_and_kept_to(
    api: TestClient, attempts: Attempts, database: Database, tmp_path: Path
) -> None:
    recording = chaptered(tmp_path / "talk.m4a", "The tides", CHAPTERS, length_s=90)
    sent = {"file": ("talk.m4a", recording.read_bytes())}
    job = api.post("/v1/transcriptions", files=sent, data={"model": "fake"}).json()

    while chunks := work.queued(database, job["id"]):
        attempts.work(chunks[0])

    found = api.get(job["status_url"]).json()
    assert (found["status"], found["input"]["name"], found["input"]["title"]) == ("completed", "talk.m4a", "The tides")
    assert [one["title"] for one in found["input"]["chapters"]] == ["At sea", "On the shore"]
    passages = api.get(f"/v1/jobs/{job['id']}/passages").json()["data"]
    assert list(dict.fromkeys(one["section"] for one in passages)) == ["At sea", "On the shore"]


def test_what_the_source_of_a_recording_said_of_it_stays(
    api: TestClient, attempts: Attempts, database: Database, tmp_path: Path
) -> None:
    recording = chaptered(tmp_path / "talk.m4a", "audio only", CHAPTERS)
    sent = {"file": ("talk.m4a", recording.read_bytes())}
    job = api.post("/v1/transcriptions", files=sent, data={"model": "fake"}).json()
    work.execute(database, """UPDATE jobs SET details = '{"title": "The tides", "video_id": "abc_DEF-123"}'""")

    prepared(attempts, database, job)

    found = api.get(job["status_url"]).json()["input"]
    assert (found["title"], found["video_id"], found["chapters"]) == ("The tides", "abc_DEF-123", [])


def test_a_host_that_is_not_allowed_any_more_is_not_fetched_from(
    api: TestClient, attempts: Attempts, database: Database, media: Site
) -> None:
    job = api.post("/v1/documents", json={"url": f"{media.url}/tides.pdf"}).json()
    strict = replace(attempts, context=replace(attempts.context, fetching=FetchOptions(UrlHosts())))

    prepared(strict, database, job)

    assert api.get(job["status_url"]).json()["error"]["code"] == "url_not_allowed"
    assert media.requests == []


def test_the_share_that_is_there_is_shown_only_by_who_holds_the_chunk(
    api: TestClient, database: Database, account: Account
) -> None:
    job_id = work.submit(database, account)
    held = work.claim_one(database, job_id)
    with database.transaction() as connection:
        fetched.report(connection, held, 41)
    assert api.get(f"/v1/jobs/{job_id}").json()["progress"]["stage_percent"] == 41

    with database.transaction() as connection:
        fetched.report(connection, replace(held, attempt=held.attempt + 1), 77)
    assert api.get(f"/v1/jobs/{job_id}").json()["progress"]["stage_percent"] == 41

    with database.transaction() as connection:
        fetched.take(connection, held, Learned("A talk", 9))
        found = jobs.get(connection, job_id)
    assert (found.input.name, found.input.bytes, found.stage_percent) == ("A talk", 9, None)
    assert found.status is JobStatus.PROCESSING
