"""A submit whose connection breaks off is sent again under its key, until the service has said what became of it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from service import patience
from service.answers import JobStatus
from service.client import Client
from service.embedded import free_port
from tests.unit.service.answering import BROKEN_OFF, Answer, Asked, as_job, problem, refused, serving
from tests.waiting import until


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "POLL_S", 0.01)


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


def test_a_url_is_submitted_as_json_and_again_under_the_same_key() -> None:
    with serving(BROKEN_OFF, as_job("queued")) as (url, asked), Client(url, "k") as client:
        client.transcribe("https://youtu.be/abc_DEF-123", {"language": "de", "model": ""})

    assert len(set(keys_of(asked))) == 1
    assert [json.loads(body) for body in asked.bodies] == 2 * [
        {"url": "https://youtu.be/abc_DEF-123", "language": "de"}
    ]


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


def test_how_long_sending_takes_does_not_count(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AWAY_RETRIES_S", 0.1)
    slow = replace(BROKEN_OFF, after_s=0.2)
    with serving(slow, slow, as_job("queued")) as (url, asked), Client(url, "k") as client:
        assert client.transcribe(talk).id == "7"

    assert len(asked.lines) == 3


def test_a_submit_that_broke_off_waits_out_a_used_up_rate(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    used_up = problem(429, "rate_limited", retry_after="50")
    with serving(BROKEN_OFF, used_up, used_up, as_job("queued")) as (url, _), Client(url, "k") as client:
        assert client.transcribe(talk).id == "7"

    assert waits[1:] == [50, 50]


def test_the_pauses_of_a_submit_grow_and_come_to_a_minute(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "POLL_S", 0.5)
    waits: list[float] = []
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    with serving(BROKEN_OFF) as (url, asked), Client(url, "k") as client:
        refused(lambda: client.transcribe(talk))

    assert waits == [0.5, 1, 2, 4, *[8] * 7]
    assert len(asked.lines) == 12


def test_a_submit_that_breaks_off_again_and_again_is_given_up(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AWAY_RETRIES_S", 0.1)
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
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    with Client(f"http://127.0.0.1:{free_port()}", "k") as client:
        assert refused(lambda: client.transcribe(talk)).code == "unreachable"

    assert waits == []
