"""Accepted work survives what a machine does to it: real processes, really killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from itertools import pairwise
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


@pytest.fixture
def client(service: Service) -> Client:
    return service.client()


def _segments(service: Service, job: JobStatus) -> list[dict[str, Any]]:
    with service.http() as http:
        found: list[dict[str, Any]] = http.get(f"/v1/jobs/{job.id}/transcript").json()["segments"]
    return found


_JUST_CLAIMED = """
SELECT c.id, w.pid FROM chunks c JOIN workers w ON w.id = c.worker_id
WHERE c.job_id = %s AND c.stage = 'transcribe' AND c.status = 'running' AND c.started_at > now() - interval '0.5 s'
"""


def _killed_in_a_chunk(service: Service, job: JobStatus) -> tuple[UUID, int] | None:
    """Kill the process that has just claimed a chunk of the job; returns both, or None if the job ends before."""
    ended = "SELECT FROM jobs WHERE id = %s AND finished_at IS NOT NULL"
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        while connection.execute(ended, [job.id]).fetchone() is None:
            for chunk_id, pid in connection.execute(_JUST_CLAIMED, [job.id]).fetchall():
                with suppress(ProcessLookupError):  # for a moment, one that was killed before is still listed
                    os.kill(pid, signal.SIGKILL)
                    return chunk_id, pid
            time.sleep(0.02)
    return None


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
    job = client.transcribe(RECORDING, force=True)
    interrupted = _killed_in_a_chunk(service, job)
    assert interrupted is not None
    ended = client.wait(job.id)
    assert ended.status == "completed", ended.error
    assert _attempts(service, interrupted[0]) == (2, 1)
    spans = [(segment["start"], segment["text"]) for segment in _segments(service, ended)]
    assert spans == [(segment["start"], segment["text"]) for segment in _segments(service, undisturbed)]


_CUT_IN_PART = """
SELECT w.pid FROM chunks p JOIN workers w ON w.id = p.worker_id
WHERE p.job_id = %(job)s AND p.stage = 'prepare' AND p.status = 'running'
  AND EXISTS (SELECT FROM chunks c WHERE c.job_id = p.job_id AND c.stage = 'transcribe' AND c.status <> 'queued')
"""


def test_a_long_recording_is_heard_while_it_is_decoded_and_goes_on_though_whoever_decodes_it_is_killed(
    service: Service, client: Client, tmp_path: Path
) -> None:
    long = tmp_path / "long.ogg"
    long.write_bytes(RECORDING.read_bytes() * 6)
    job = client.transcribe(long, {"model": "fake"})
    found: list[int] = []
    with psycopg.connect(service.database_url, autocommit=True) as connection:

        def in_the_middle() -> bool:
            found[:] = [pid for (pid,) in connection.execute(_CUT_IN_PART, {"job": job.id}).fetchall()]
            return bool(found)

        until(in_the_middle, every_s=0.005, what="a chunk is transcribed while others are still to be cut")
        os.kill(found[0], signal.SIGKILL)
        so_far = client.job(job.id)
        assert (so_far.stage, so_far.chunks_total, so_far.percent, so_far.eta_s) == ("transcribe", None, 0, None)

        ended = client.wait(job.id)
        prepared = "SELECT attempt FROM chunks WHERE job_id = %s AND stage = 'prepare'"
        assert connection.execute(prepared, [job.id]).fetchone() == (2,)
    assert (ended.status, ended.chunks_done) == ("completed", ended.chunks_total), ended.error
    spans = [(segment["start"], segment["end"]) for segment in _segments(service, ended)]
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    once = client.wait(client.transcribe(RECORDING, {"model": "fake"}, force=True).id)
    assert _speech_s(service, ended) == pytest.approx(6 * _speech_s(service, once), rel=0.03)


def _speech_s(service: Service, job: JobStatus) -> float:
    """How much speech the chunks of a job hold."""
    lengths = """
        SELECT sum((region->>1)::float - (region->>0)::float)
        FROM chunks, jsonb_array_elements(input->'clips') clip, jsonb_array_elements(clip->'regions') region
        WHERE job_id = %s AND stage = 'transcribe'
    """
    with psycopg.connect(service.database_url) as connection:
        (row,) = connection.execute(lengths, [job.id])
    return float(row[0])


def test_an_input_that_kills_its_worker_each_time_fails_its_neighbour_completes_and_it_can_be_tried_again(
    service: Service, client: Client
) -> None:
    poison = client.transcribe(RECORDING, {"model": "fake"}, force=True)
    killed: list[int] = []
    while interrupted := _killed_in_a_chunk(service, poison):
        killed.append(interrupted[1])

    ended = client.job(poison.id)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error["code"] == "chunk_crashed"
    assert len(set(killed)) >= 3  # three ends of one chunk; its siblings may have been hit as well
    assert client.wait(client.embed(PDF, {"model": "fake"}, force=True).id).status == "completed"

    client.retry(poison.id)  # nobody kills it now
    assert client.wait(poison.id).status == "completed"
    starts = [segment["start"] for segment in _segments(service, ended)]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("server", ["postgres", "valkey"])
def test_jobs_finish_although_a_server_dies_and_comes_back(service: Service, client: Client, server: str) -> None:
    jobs = [client.transcribe(RECORDING, {"model": "fake"}, force=True) for _ in range(3)]
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


def test_a_cancelled_job_stops_and_keeps_what_was_done(service: Service, client: Client) -> None:
    job = client.transcribe(RECORDING, {"model": "fake"}, force=True)
    done = "SELECT FROM chunks WHERE job_id = %s AND stage = 'transcribe' AND status = 'done'"
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        until(lambda: connection.execute(done, [job.id]).fetchone() is not None, what="one chunk is done")
    with service.held_still("express"):
        cancelled = client.cancel(job.id)
    assert cancelled.status == "cancelled"
    until(lambda: service.worker("express")["current_chunk"] is None, what="the worker lets go of the chunk")
    kept = _segments(service, cancelled)
    assert kept
    assert client.job(job.id).chunks_done == cancelled.chunks_done


def test_an_up_that_is_stopped_or_killed_leaves_no_process_and_goes_on_when_it_is_started_again(tmp_path: Path) -> None:
    first = start_service(tmp_path / "data")
    with first.client() as client:
        done = client.wait(client.transcribe(RECORDING, {"model": "fake"}, force=True).id)
        unfinished = [client.transcribe(RECORDING, {"model": "fake"}, force=True) for _ in range(4)]
    processes = _children(first.pid)
    assert len(processes) >= 7
    assert first.stop() == 0
    assert not [pid for pid in processes if _lives(pid)]

    second = start_service(tmp_path / "data")
    with second.client() as client:
        assert client.job(done.id).status == "completed"
        assert client.transcript(done.id)
        assert [client.wait(job.id).status for job in unfinished] == ["completed"] * 4
    processes = _children(second.pid)
    second.kill()
    until(lambda: not [pid for pid in processes if _lives(pid)], what="its processes have ended too")
    assert start_service(tmp_path / "data").stop() == 0


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _children(pid: int) -> list[int]:
    """Every process below `pid`."""
    below = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return below + [deeper for child in below for deeper in _children(child)]


def test_many_submits_at_once_are_all_finished(client: Client, service: Service) -> None:
    accepted: list[JobStatus] = []

    def submit() -> None:
        with service.client() as own:
            accepted.extend(own.embed(PDF, {"model": "fake"}, force=True) for _ in range(3))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job in accepted}) == 12
    assert {client.wait(job.id).status for job in accepted} == {"completed"}
