"""The client says in one error what the service refused or why it was not reached, and waits through a restart."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from service import patience
from service.answers import JobStatus
from service.cli import app
from service.client import Client, ClientError
from service.embedded import free_port
from tests.unit.service.answering import Answer, as_job, as_json, problem, refused, serving


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "POLL_S", 0.01)


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
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    too_often = problem(429, "rate_limited", retry_after=sent)
    with serving(too_often, as_job("completed", 4)) as (url, _), Client(url, "k") as client:
        assert client.wait("7").status == "completed"

    assert waits == [waited_s]


def test_waiting_ends_when_the_job_is_gone() -> None:
    with serving(as_job(), problem(404, "not_found")) as (url, _), Client(url, "k") as client:
        assert refused(lambda: client.wait("7")).code == "not_found"


def test_waiting_gives_up_on_a_service_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AWAY_RETRIES_S", 0.1)
    with Client(f"http://127.0.0.1:{free_port()}", "k") as client:
        assert refused(lambda: client.wait("7")).code == "unreachable"


def test_a_search_returns_hits_with_their_citations() -> None:
    hit = {"job_id": "7", "kind": "document", "name": "a.pdf", "text": "Tides.", "score": 0.9, "new_field": 1}
    known = {"citation": {"page_from": 3, "page_to": 3}, "highlights": [[0, 5]], "scores": {"semantic": 0.9}}
    answer = as_json({"mode": "hybrid", "hits": [{**hit, **known}], "warnings": []})
    with serving(answer) as (url, asked), Client(url, "k") as client:
        hits = client.search("moon", limit=3)

    assert json.loads(asked.bodies[0]) == {"query": "moon", "limit": 3}
    assert [(found.name, found.citation, found.highlights) for found in hits] == [
        ("a.pdf", {"page_from": 3, "page_to": 3}, [[0, 5]])
    ]


@pytest.mark.parametrize(("flags", "asked_for"), [([], None), (["--rerank"], True), (["--no-rerank"], False)])
def test_the_command_line_asks_for_a_re_ranker_or_none_and_shows_its_score(
    flags: list[str], asked_for: bool | None
) -> None:
    hit = {"job_id": "7", "kind": "document", "name": "a.pdf", "text": "Tides.", "score": 0.9, "highlights": []}
    hit |= {
        "citation": {"page_from": 3, "page_to": 3, "label": "p. 3"},
        "scores": {"semantic": 0.9, "keyword": None, "rerank": 0.25},
    }
    with serving(as_json({"mode": "hybrid", "hits": [hit], "warnings": []})) as (url, asked):
        done = CliRunner().invoke(app, ["search", "moon", "--url", url, "--key", "k", *flags])

    assert done.output.startswith("0.25  a.pdf, p. 3")
    assert json.loads(asked.bodies[0]).get("rerank") is asked_for


def test_a_hit_that_no_re_ranker_has_read_shows_no_score_of_another_sort() -> None:
    def hit(name: str, **scores: float) -> dict[str, object]:
        one = {"job_id": "7", "kind": "document", "name": name, "text": "Tides.", "score": 0.9, "highlights": []}
        return one | {
            "citation": {"page_from": 3, "page_to": 3, "label": "p. 3"},
            "scores": {"semantic": 0.9, **scores},
        }

    hits = [hit("first.pdf", rerank=0.25), hit("behind.pdf")]
    with serving(as_json({"mode": "hybrid", "hits": hits, "warnings": []})) as (url, _):
        done = CliRunner().invoke(app, ["search", "moon", "--limit", "40", "--url", url, "--key", "k"])

    assert [line for line in done.output.splitlines() if "pdf" in line] == [
        "0.25  first.pdf, p. 3",
        "   –  behind.pdf, p. 3",
    ]


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
