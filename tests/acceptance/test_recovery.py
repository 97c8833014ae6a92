"""Accepted work survives what a machine does to it: real processes, really killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import redis

from service.answers import JobStatus
from service.client import Client
from tests.acceptance.conftest import ROOT, Service, start_service
from tests.waiting import until

RECORDING = ROOT / "examples" / "tides.ogg"
PDF = ROOT / "examples" / "tides.pdf"


@pytest.fixture(scope="module")
def slow_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One on which a chunk lasts for seconds, for tests that reach into the middle of it."""
    running = start_service(tmp_path_factory.mktemp("slow"), SCRIBELANE_FAKE_SPEED="5")
    yield running
    running.stop()


@pytest.fixture
def client(service: Service) -> Client:
    return service.client()


def _segments(service: Service, job: JobStatus) -> list[dict[str, Any]]:
    with service.http() as http:
        found: list[dict[str, Any]] = http.get(f"/v1/jobs/{job.id}/transcript").json()["segments"]
    return found


_JUST_CLAIMED = """
SELECT id FROM chunks
WHERE job_id = %s AND stage = 'transcribe' AND status = 'running' AND started_at > now() - interval '0.5 s'
"""


def _killed_in_a_chunk(service: Service, job: JobStatus) -> UUID:
    """Kill the inference worker's child just after it claimed a chunk of the job; returns that chunk."""
    pid = service.worker("express")["pid"]
    claimed: list[tuple[UUID]] = []
    with psycopg.connect(service.database_url, autocommit=True) as connection:

        def just_claimed() -> bool:
            claimed[:] = connection.execute(_JUST_CLAIMED, [job.id]).fetchall()
            return bool(claimed)

        until(just_claimed, what="a chunk is claimed")
        os.kill(pid, signal.SIGKILL)
    return claimed[0][0]


def _attempts(service: Service, chunk_id: UUID) -> tuple[int, int]:
    """How often a chunk was begun, and how many of these tries are charged."""
    with psycopg.connect(service.database_url) as connection:
        (row,) = connection.execute("SELECT attempt, failures FROM chunks WHERE id = %s", [chunk_id])
        attempt, failures = row
        return attempt, failures


def _busy_with(service: Service, job: JobStatus) -> dict[str, Any]:
    """The inference worker, as soon as it works a chunk of this job (the service has no other work)."""
    seen: dict[str, Any] = {}

    def works() -> bool:
        seen.update(service.worker("express"))
        return seen["current_chunk"] is not None and service.client().job(job.id).stage == "transcribe"

    until(works, what="the inference worker works a chunk")
    return seen


def test_a_child_killed_in_the_middle_of_a_chunk_loses_no_segment_and_doubles_none(
    service: Service, client: Client
) -> None:
    undisturbed = client.wait(client.transcribe(RECORDING).id)
    job = client.transcribe(RECORDING)
    interrupted = _killed_in_a_chunk(service, job)
    ended = client.wait(job.id)
    assert ended.status == "completed", ended.error
    assert _attempts(service, interrupted) == (2, 1)
    spans = [(segment["start"], segment["text"]) for segment in _segments(service, ended)]
    assert spans == [(segment["start"], segment["text"]) for segment in _segments(service, undisturbed)]


def test_an_input_that_kills_its_worker_each_time_fails_its_neighbour_completes_and_it_can_be_tried_again(
    slow_service: Service,
) -> None:
    service, client = slow_service, slow_service.client()
    poison = client.transcribe(RECORDING, {"model": "fake"})
    killed: set[int] = set()

    def kill_again() -> bool:
        worker = service.worker("express")
        job = client.job(poison.id)
        if worker["current_chunk"] is not None and job.stage == "transcribe" and worker["pid"] not in killed:
            killed.add(worker["pid"])
            os.kill(worker["pid"], signal.SIGKILL)
        return job.ended

    until(kill_again, what="the poisonous job ends", within_s=120)
    ended = client.job(poison.id)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error["code"] == "chunk_crashed"
    assert len(killed) >= 3  # three ends of one chunk; its siblings may have been hit as well
    assert client.wait(client.embed(PDF, {"model": "fake"}).id).status == "completed"

    client.retry(poison.id)  # nobody kills it now
    assert client.wait(poison.id).status == "completed"
    starts = [segment["start"] for segment in _segments(service, ended)]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("server", ["postgres", "valkey"])
def test_jobs_finish_although_a_server_dies_and_comes_back(service: Service, client: Client, server: str) -> None:
    jobs = [client.transcribe(RECORDING, {"model": "fake"}) for _ in range(3)]
    _busy_with(service, jobs[0])
    victim = _pid_of(service, server)
    os.kill(victim, signal.SIGKILL)
    ended = [client.wait(job.id) for job in jobs]
    assert [job.status for job in ended] == ["completed"] * 3, [job.error for job in ended]
    starts = [segment["start"] for segment in _segments(service, ended[0])]
    assert len(starts) == len(set(starts))
    until(lambda: _ready(service), what="everything is back")
    assert _pid_of(service, server) != victim
    assert isinstance(client.search("tides"), list)


def _pid_of(service: Service, server: str) -> int:
    if server == "postgres":
        return int((service.folder / "postgres" / "postmaster.pid").read_text().split()[0])
    settings = dict(
        line.split(maxsplit=1) for line in (service.folder / "valkey" / "valkey.conf").read_text().splitlines()
    )
    url = f"redis://:{settings['requirepass']}@127.0.0.1:{settings['port']}/0"
    with redis.Redis.from_url(url) as broker:
        return int(broker.info("server")["process_id"])


def _ready(service: Service) -> bool:
    with service.http() as http:
        return http.get("/readyz").status_code == 200


def test_a_cancelled_job_stops_and_keeps_what_was_done(slow_service: Service) -> None:
    service, client = slow_service, slow_service.client()
    job = client.transcribe(RECORDING, {"model": "fake"})
    until(lambda: client.job(job.id).chunks_done >= 1, what="one chunk is done")
    cancelled = client.cancel(job.id)
    assert cancelled.status == "cancelled"
    until(lambda: service.worker("express")["current_chunk"] is None, what="the worker lets go of the chunk")
    kept = _segments(service, cancelled)
    assert kept
    assert client.job(job.id).chunks_done == cancelled.chunks_done


def test_a_restart_keeps_jobs_and_goes_on_with_unfinished_ones(tmp_path: Path) -> None:
    first = start_service(tmp_path / "data")
    with first.client() as client:
        done = client.wait(client.transcribe(RECORDING, {"model": "fake"}).id)
        unfinished = [client.transcribe(RECORDING, {"model": "fake"}) for _ in range(4)]
    assert first.stop() == 0
    second = start_service(tmp_path / "data")
    try:
        with second.client() as client:
            assert client.job(done.id).status == "completed"
            assert client.transcript(done.id)
            assert [client.wait(job.id).status for job in unfinished] == ["completed"] * 4
    finally:
        second.stop()


def test_many_submits_at_once_are_all_finished(client: Client, service: Service) -> None:
    accepted: list[JobStatus] = []

    def submit() -> None:
        with service.client() as own:
            accepted.extend(own.embed(PDF, {"model": "fake"}) for _ in range(3))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job in accepted}) == 12
    assert {client.wait(job.id).status for job in accepted} == {"completed"}
