"""The main job with real weights: a recording becomes a transcript, a PDF becomes passages, one search finds both."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import jiwer
import psycopg
import pytest
import webvtt

from service.answers import JobStatus
from service.client import Client
from tests.acceptance.conftest import ROOT, Service
from tests.waiting import until

RECORDING = ROOT / "examples" / "tides.ogg"
DOCUMENT = ROOT / "examples" / "tides.pdf"
WORDS = ROOT / "examples" / "recording.txt"
QUESTION = "Why does the tide come later every day?"


def _normal(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


@pytest.fixture(scope="module")
def client(service: Service) -> Client:
    return service.client()


@pytest.fixture(scope="module")
def recording(client: Client) -> JobStatus:
    return client.wait(client.transcribe(RECORDING, {"word_timestamps": "true"}).id)


@pytest.fixture(scope="module")
def document(client: Client) -> JobStatus:
    return client.wait(client.embed(DOCUMENT).id)


def test_a_recording_becomes_the_words_that_were_spoken(client: Client, recording: JobStatus) -> None:
    assert recording.status == "completed"
    spoken = _normal(WORDS.read_text())
    heard = _normal(client.transcript(recording.id))
    assert jiwer.wer(spoken, heard) < 0.1


def test_segments_and_words_come_in_order_within_the_recording(service: Service, recording: JobStatus) -> None:
    with service.http() as http:
        transcript = http.get(f"/v1/jobs/{recording.id}/transcript").json()
    assert transcript["language"] == "en"
    assert transcript["partial"] is False
    segments = transcript["segments"]
    assert len(segments) > 10
    starts = [segment["start"] for segment in segments]
    assert starts == sorted(starts)
    assert all(0 <= s["start"] <= s["end"] <= transcript["duration_s"] + 0.1 for s in segments)
    ends = [segment["end"] for segment in segments]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    for segment in segments:
        times = [time_s for word in segment["words"] for time_s in (word["start"], word["end"])]
        assert times
        assert [segment["start"], *times, segment["end"]] == sorted([segment["start"], *times, segment["end"]])


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_show_all_that_was_heard_in_lines_that_fit(client: Client, recording: JobStatus, form: str) -> None:
    captions = webvtt.from_buffer(StringIO(client.transcript(recording.id, form)), format=form).captions

    assert len(captions) > 10
    lines = [line for caption in captions for line in caption.lines]
    assert all(len(caption.lines) <= 2 for caption in captions)
    assert all(len(line) <= 42 for line in lines)
    assert _normal(" ".join(lines)) == _normal(client.transcript(recording.id))
    starts_ms = [caption.start_time.in_milliseconds() for caption in captions]
    ends_ms = [caption.end_time.in_milliseconds() for caption in captions]
    assert all(start < end for start, end in zip(starts_ms, ends_ms, strict=True))
    assert all(end <= start for end, start in zip(ends_ms, starts_ms[1:], strict=False))
    assert starts_ms[-1] < 90_000


def test_the_job_tells_its_length_its_usage_and_its_progress(recording: JobStatus) -> None:
    assert recording.percent == 100
    assert recording.chunks_done == recording.chunks_total
    assert recording.raw["input"]["duration_s"] == pytest.approx(88, abs=5)
    assert recording.raw["usage"]["compute_s"] > 0
    assert recording.raw["finished_at"] > recording.raw["started_at"] >= recording.raw["created_at"]


def test_a_pdf_becomes_passages_that_cite_their_pages(service: Service, document: JobStatus) -> None:
    assert document.status == "completed"
    assert document.raw["input"]["pages"] == 6
    with service.http() as http:
        passages = http.get(f"/v1/jobs/{document.id}/passages", params={"vectors": "true"}).json()["data"]
    pages = {page for p in passages for page in range(p["citation"]["page_from"], p["citation"]["page_to"] + 1)}
    assert pages == {1, 2, 3, 4, 5, 6}
    assert all(len(passage["vector"]) == 384 for passage in passages)


def test_one_question_finds_the_moment_in_the_recording_and_the_page_in_the_pdf(
    service: Service,
    recording: JobStatus,
    document: JobStatus,
) -> None:
    with service.http() as http:
        asked = {"query": QUESTION, "limit": 2, "job_ids": [recording.id, document.id]}
        moment, page = http.post("/v1/search", json=asked).json()["hits"]
    assert (moment["job_id"], page["job_id"]) == (recording.id, document.id)
    assert page["citation"] == {"page_from": 3, "page_to": 3, "label": "p. 3"}
    assert "50 minutes" in moment["text"]
    assert 30 < moment["citation"]["start_s"] < 45


def test_search_can_be_kept_to_one_kind_and_to_some_jobs(
    service: Service, recording: JobStatus, document: JobStatus
) -> None:
    with service.http() as http:
        only_documents = http.post("/v1/search", json={"query": QUESTION, "kind": "document"}).json()["hits"]
        only_one = http.post("/v1/search", json={"query": QUESTION, "job_ids": [recording.id]}).json()["hits"]
    assert {hit["kind"] for hit in only_documents} == {"document"}
    assert {hit["job_id"] for hit in only_one} == {recording.id}


def test_a_transcript_left_out_of_the_index_is_not_found(client: Client) -> None:
    job = client.wait(client.transcribe(RECORDING, {"index": "false", "model": "fake"}, force=True).id)
    assert job.status == "completed"
    assert job.id not in {hit.job_id for hit in client.search(QUESTION, limit=100)}


def test_the_command_line_prints_the_transcript_on_stdout_and_progress_on_stderr(service: Service) -> None:
    done = service.run("transcribe", str(RECORDING), "--format", "text")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Welcome to a short talk about the tides")
    assert "completed" in done.stderr
    assert "chunks" in done.stderr


def test_the_command_line_cites_hits_as_people_do(service: Service, recording: JobStatus, document: JobStatus) -> None:
    done = service.run("search", QUESTION, "--limit", "10")
    assert "tides.pdf, p. 3" in done.stdout
    assert "tides.ogg, 00:3" in done.stdout


def test_a_deleted_job_leaves_no_blob_behind(service: Service, client: Client) -> None:
    job = client.wait(client.transcribe(RECORDING, {"model": "fake"}, force=True).id)
    folder = service.folder / "blobs" / "jobs" / job.id
    assert folder.exists()
    with service.http() as http:
        assert http.delete(f"/v1/jobs/{job.id}").status_code == 204
        assert http.get(f"/v1/jobs/{job.id}").status_code == 404
    assert not Path(folder).exists()


def test_a_transcription_measures_the_speed_of_its_device(service: Service, client: Client) -> None:
    client.wait(client.transcribe(RECORDING, {"model": "fake"}, force=True).id)
    measured: list[float] = []

    def kept() -> bool:
        with psycopg.connect(service.database_url) as connection:
            rows = connection.execute(
                "SELECT speed FROM speeds WHERE model = 'fake' AND device LIKE '%/cpu'"
            ).fetchall()
        measured[:] = [speed for (speed,) in rows]
        return bool(measured)

    until(kept, what="the speed is kept")
    assert 1 < measured[0] <= 30.5  # SCRIBELANE_FAKE_SPEED
