"""The client says in one error what the service refused or why it was not reached, and waits through a restart."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service import client as client_module
from service.client import Client, ClientError, JobStatus
from service.embedded import free_port
from tests.integration.work import until


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    retry_after: str = ""


BROKEN_OFF = Answer(0, b"")
"""The request is read, and the connection closed without an answer."""


@dataclass
class Asked:
    """The requests that came in, as `METHOD path`, with their headers and bodies."""

    lines: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


def as_json(content: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode())


def as_job(status: str = "processing", done: int = 1) -> Answer:
    return as_json(
        {
            "id": "7",
            "kind": "transcription",
            "status": status,
            "stage": "transcribe",
            "input": {"name": "talk.wav"},
            "progress": {"chunks_done": done, "chunks_total": 4, "percent": 25 * done},
            "eta_s": None,
            "warnings": [],
            "error": None,
            "created_at": "2026-11-22T00:00:00Z",
        }
    )


def problem(status: int, code: str) -> Answer:
    return as_json({"code": code, "detail": f"This is {code}."}, status)


@contextmanager
def serving(*answers: Answer, port: int = 0) -> Iterator[tuple[str, Asked]]:
    """A server that gives these answers in turn, the last one for ever; with its URL and what it was asked."""
    asked = Asked()
    left = list(answers)

    class Door(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked.lines.append(f"{self.command} {self.path}")
            asked.headers.append(dict(self.headers))
            asked.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer is BROKEN_OFF:
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            if answer.retry_after:
                self.send_header("Retry-After", answer.retry_after)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "POLL_S", 0.01)


def refused(call: Callable[[], object]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value


def test_every_call_carries_the_key() -> None:
    with serving(as_job()) as (url, asked), Client(url, "sl_secret") as client:
        client.job("7")

    assert asked.headers[0]["Authorization"] == "Bearer sl_secret"


def test_a_refusal_says_the_code_and_the_detail_of_the_service() -> None:
    with serving(problem(404, "not_found")) as (url, _), Client(url, "k") as client:
        error = refused(lambda: client.job("7"))

    assert (error.code, str(error)) == ("not_found", "This is not_found.")


@pytest.mark.parametrize(("status", "code"), [(502, "unavailable"), (400, "refused")])
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"null"])
def test_an_error_of_something_between_is_told_by_its_status(status: int, code: str, body: bytes) -> None:
    with serving(Answer(status, body)) as (url, _), Client(url, "k") as client:
        assert refused(lambda: client.job("7")).code == code


def test_a_page_that_is_no_job_is_an_error_of_the_client() -> None:
    with serving(Answer(200, b"<html>Please log in</html>", "text/html")) as (url, _), Client(url, "k") as client:
        assert refused(lambda: client.job("7")).code


def test_a_service_that_is_not_there_is_unreachable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, "k") as client:
        error = refused(lambda: client.job("7"))

    assert error.code == "unreachable"
    assert url in str(error)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "http://", "http://[", ""])
def test_an_address_that_is_none_is_an_error_of_the_client(url: str) -> None:
    def call() -> None:
        with Client(url, "k") as client:
            client.job("7")

    assert refused(call).code == "unreachable"


def test_an_upload_sends_its_options_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(b"RIFF")
    with serving(as_job("queued")) as (url, asked), Client(url, "k") as client:
        job = client.transcribe(tmp_path / "talk.wav", {"language": "de"})

    assert (asked.lines, job.status) == (["POST /v1/transcriptions"], "queued")
    assert 0 < asked.bodies[0].index(b'name="language"') < asked.bodies[0].index(b'filename="talk.wav"')


def keys_of(asked: Asked) -> list[str]:
    return [headers["Idempotency-Key"] for headers in asked.headers]


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    (tmp_path / "talk.wav").write_bytes(b"RIFF")
    return tmp_path / "talk.wav"


def test_each_submit_has_a_key_of_its_own(talk: Path) -> None:
    with serving(as_job("queued")) as (url, asked), Client(url, "k") as client:
        client.transcribe(talk)
        client.embed(talk)

    assert len(set(keys_of(asked))) == 2


@pytest.mark.parametrize("between", [(), (problem(409, "idempotency_in_flight"),), (Answer(502, b"<html>"),)])
def test_a_submit_that_broke_off_is_sent_again_whole_under_the_same_key(talk: Path, between: tuple[Answer]) -> None:
    with serving(BROKEN_OFF, *between, as_job("queued")) as (url, asked), Client(url, "k") as client:
        assert client.transcribe(talk, {"language": "de"}).id == "7"

    assert len(asked.lines) == 2 + len(between)
    assert len(set(keys_of(asked))) == 1
    assert all(b'name="language"' in body and b"RIFF" in body for body in asked.bodies)


def test_a_submit_that_broke_off_is_sent_again_through_a_restart(talk: Path) -> None:
    port = free_port()
    answers: list[JobStatus] = []
    with Client(f"http://127.0.0.1:{port}", "k") as client:
        thread = threading.Thread(target=lambda: answers.append(client.transcribe(talk)))
        with serving(BROKEN_OFF, port=port) as (_, asked):
            thread.start()
            until(lambda: asked.lines)
        with serving(as_job("queued"), port=port):
            thread.join(10)

    assert [job.id for job in answers] == ["7"]


def test_a_submit_that_breaks_off_again_and_again_is_given_up(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_AWAY_RETRIES_S", 0.1)
    with serving(BROKEN_OFF) as (url, asked), Client(url, "k") as client:
        assert refused(lambda: client.transcribe(talk)).code == "unreachable"

    assert len(asked.lines) > 1


@pytest.mark.parametrize("refusal", [problem(503, "unavailable"), problem(422, "unknown_model")])
def test_a_submit_that_was_refused_is_not_sent_again(talk: Path, refusal: Answer) -> None:
    with serving(refusal) as (url, asked), Client(url, "k") as client:
        refused(lambda: client.transcribe(talk))

    assert len(asked.lines) == 1


def test_a_submit_to_a_service_that_is_not_there_fails_at_once(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("service.client.time.sleep", waits.append)
    with Client(f"http://127.0.0.1:{free_port()}", "k") as client:
        assert refused(lambda: client.transcribe(talk)).code == "unreachable"

    assert waits == []


def test_waiting_tells_each_poll_and_returns_how_the_job_ended() -> None:
    polls: list[JobStatus] = []
    with serving(as_job("queued", 0), as_job(), as_job("completed", 4)) as (url, _), Client(url, "k") as client:
        ended = client.wait("7", polls.append)

    assert [job.status for job in polls] == ["queued", "processing", "completed"]
    assert ended.ended


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_waiting_ends_however_the_job_ends(status: str) -> None:
    with serving(as_job(status)) as (url, _), Client(url, "k") as client:
        assert client.wait("7").status == status


def test_waiting_survives_a_restart_of_the_service() -> None:
    port = free_port()
    waited: list[JobStatus] = []
    in_work = threading.Event()
    with Client(f"http://127.0.0.1:{port}", "k") as client:
        thread = threading.Thread(target=lambda: waited.append(client.wait("7", lambda _: in_work.set())))
        with serving(as_job(), port=port):
            thread.start()
            assert in_work.wait(10)
        with serving(as_job("completed", 4), port=port):
            thread.join(10)

    assert [job.status for job in waited] == ["completed"]


def test_waiting_survives_a_database_that_is_away() -> None:
    answers = (as_job(), problem(503, "unavailable"), Answer(502, b"<html>"), as_job("completed", 4))
    with serving(*answers) as (url, _), Client(url, "k") as client:
        assert client.wait("7").status == "completed"


@pytest.mark.parametrize(("sent", "waited_s"), [("17", 17), ("", 0.01), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.01)])
def test_waiting_polls_no_sooner_than_the_service_asks(
    monkeypatch: pytest.MonkeyPatch, sent: str, waited_s: float
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("service.client.time.sleep", waits.append)
    too_often = replace(problem(429, "rate_limited"), retry_after=sent)
    with serving(too_often, as_job("completed", 4)) as (url, _), Client(url, "k") as client:
        assert client.wait("7").status == "completed"

    assert waits == [waited_s]


def test_waiting_ends_when_the_job_is_gone() -> None:
    with serving(as_job(), problem(404, "not_found")) as (url, _), Client(url, "k") as client:
        assert refused(lambda: client.wait("7")).code == "not_found"


def test_waiting_gives_up_on_a_service_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_AWAY_RETRIES_S", 0.1)
    with Client(f"http://127.0.0.1:{free_port()}", "k") as client:
        assert refused(lambda: client.wait("7")).code == "unreachable"


def test_a_search_returns_hits_with_their_citations() -> None:
    hit = {"job_id": "7", "kind": "document", "name": "a.pdf", "text": "Tides.", "score": 0.9, "new_field": 1}
    answer = as_json({"hits": [{**hit, "citation": {"page_from": 3, "page_to": 3}}]})
    with serving(answer) as (url, asked), Client(url, "k") as client:
        hits = client.search("moon", limit=3)

    assert json.loads(asked.bodies[0]) == {"query": "moon", "limit": 3}
    assert [(found.name, found.citation) for found in hits] == [("a.pdf", {"page_from": 3, "page_to": 3})]


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(Answer(502, b"<html>")) as (proxy, through_proxy), serving(as_job()) as (url, _):
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy)
        for host in ("127.0.0.1", "localhost"):
            with Client(url.replace("127.0.0.1", host), "k") as client:
                assert client.job("7").id == "7"
        with Client("http://scribelane.test", "k") as client:
            refused(lambda: client.job("7"))

    assert through_proxy.lines == ["GET http://scribelane.test/v1/jobs/7"]


@pytest.mark.parametrize("key", ["sl_\u2603", "sl_a\nb"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ClientError) as refused:
        Client("http://127.0.0.1:1", key)

    assert refused.value.code == "unauthorized"
    assert key not in str(refused.value)
