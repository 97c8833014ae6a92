"""What is stored becomes what is shown; a cursor that was not made here is refused, never a crash."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.details import MediaDetails
from core.errors import InvalidRequest
from core.job import JobKind, JobStatus, JobWarning, Stage
from core.lanes import Lane, Tier
from core.options import TranscriptionOptions
from core.passages import Passage
from core.store.estimates import UNKNOWN, Estimate
from core.store.jobs import Job, JobFailure, JobInput
from core.store.passages import StoredPassage
from core.transcript import HeardLanguage, TranscriptSegment
from service.formats import from_cursor, job_out, passage_out, percent, to_cursor, transcript_out
from service.routes.jobs import _job_place, _passage_place

NOW = datetime(2026, 11, 22, tzinfo=UTC)
JOB = Job(
    id=uuid.UUID(int=7),
    account_id=uuid.UUID(int=1),
    batch_id=None,
    batch_index=None,
    kind=JobKind.TRANSCRIPTION,
    status=JobStatus.PROCESSING,
    stage=Stage.TRANSCRIBE,
    lane=Lane.EXPRESS,
    tier=Tier.PRO,
    input=JobInput("upload", "talk.wav"),
    duration_s=60.0,
    pages=None,
    details=MediaDetails(title="Tides"),
    options=TranscriptionOptions(),
    metadata={},
    chunks_done=0,
    chunks_total=None,
    stage_percent=None,
    compute_s=0.0,
    cold_start_s=0.0,
    warnings=[],
    error=None,
    created_at=NOW,
    started_at=NOW,
    finished_at=None,
    expires_at=NOW,
)


def encoded(content: str | bytes) -> str:
    content = content.encode() if isinstance(content, str) else content
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
HOSTILE = st.text() | st.binary().map(encoded) | JSON.map(lambda value: encoded(json.dumps(value)))
HOSTILE |= st.lists(JSON, min_size=2, max_size=2).map(lambda value: encoded(json.dumps(value)))


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_a_place_among_passages_comes_back_from_its_cursor(chunk: int, ordinal: int) -> None:
    assert _passage_place(to_cursor(chunk, ordinal)) == (chunk, ordinal)


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_place_among_jobs_comes_back_from_its_cursor(created_at: datetime, job_id: uuid.UUID) -> None:
    assert _job_place(to_cursor(created_at.isoformat(), job_id)) == (created_at, job_id)


@given(HOSTILE)
def test_any_other_cursor_is_refused_or_read_as_a_place_among_jobs(cursor: str) -> None:
    try:
        place = _job_place(cursor)
    except InvalidRequest:
        return
    assert place is not None
    assert isinstance(place[0], datetime)
    assert isinstance(place[1], uuid.UUID)


@given(HOSTILE)
def test_any_other_cursor_is_refused_or_read_as_a_place_among_passages(cursor: str) -> None:
    try:
        chunk, ordinal = _passage_place(cursor)
    except InvalidRequest:
        return
    assert -(2**31) < chunk < 2**31
    assert -(2**31) < ordinal < 2**31


@pytest.mark.parametrize("deep", ["[" * 20_000, '{"a":' * 20_000])
def test_a_cursor_nested_without_end_is_refused(deep: str) -> None:
    with pytest.raises(InvalidRequest):
        from_cursor(encoded(deep), 2)


def test_a_cursor_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        from_cursor(to_cursor(1, 2, 3), 2)


@pytest.mark.parametrize(("done", "total", "shown"), [(0, None, 0), (0, 3, 0), (1, 3, 33), (3, 3, 99), (0, 0, 0)])
def test_percent_counts_chunks_and_keeps_100_for_the_end(done: int, total: int | None, shown: int) -> None:
    assert percent(replace(JOB, chunks_done=done, chunks_total=total)) == shown


@pytest.mark.parametrize("total", [None, 0, 3])
def test_a_completed_job_is_done_to_100_percent(total: int | None) -> None:
    assert percent(replace(JOB, status=JobStatus.COMPLETED, chunks_total=total)) == 100


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_percent_never_says_100_before_the_job_is_completed(done: int, total: int) -> None:
    assert 0 <= percent(replace(JOB, chunks_done=min(done, total), chunks_total=total)) <= 99


def test_a_job_says_where_to_ask_about_it() -> None:
    shown = job_out(JOB, UNKNOWN, "http://host/")

    assert shown.status_url == "http://host/v1/jobs/00000000-0000-0000-0000-000000000007"
    assert shown.urls["transcript"] == f"{shown.status_url}/transcript"


def test_a_warning_says_which_part_of_a_recording_it_is_about() -> None:
    about = [JobWarning("no_speech", "Nothing."), JobWarning("speech_unheard", "Unheard.", 1.5, 4.0)]
    shown = job_out(replace(JOB, warnings=about), UNKNOWN, "http://host/").warnings

    assert [(warning.code, warning.start_s, warning.end_s) for warning in shown] == [
        ("no_speech", None, None),
        ("speech_unheard", 1.5, 4.0),
    ]


def test_a_document_has_no_transcript_to_ask_for() -> None:
    assert "transcript" not in job_out(replace(JOB, kind=JobKind.DOCUMENT), UNKNOWN, "http://host/").urls


def test_a_failed_job_says_what_where_and_whether_to_try_again() -> None:
    failure = JobFailure("timeout", "Too slow.", False, Stage.TRANSCRIBE)
    shown = job_out(replace(JOB, status=JobStatus.FAILED, error=failure), UNKNOWN, "http://host/").error

    assert shown is not None
    assert shown.model_dump(mode="json") == {
        "code": "timeout",
        "message": "Too slow.",
        "retryable": False,
        "stage": "transcribe",
    }


def test_time_and_place_left_are_null_until_measured() -> None:
    shown = job_out(JOB, UNKNOWN, "http://host/")

    assert (shown.eta_s, shown.queue_position) == (None, None)
    shown = job_out(JOB, Estimate(7, 12.34), "http://host/")
    assert (shown.eta_s, shown.queue_position) == (12.3, 7)


def test_a_transcript_names_its_language_and_how_much_of_the_speech_is_in_it() -> None:
    shown = transcript_out(JOB, [HeardLanguage("en", 1.0, 30), HeardLanguage("de", 0.9, 15)], [])

    assert (shown.language, shown.language_probability) == ("en", 0.667)
    shown = transcript_out(JOB, [], [])
    assert (shown.language, shown.language_probability) == (None, None)


@pytest.mark.parametrize("status", JobStatus)
def test_a_transcript_is_partial_until_its_job_is_completed(status: JobStatus) -> None:
    shown = transcript_out(replace(JOB, status=status), [], [TranscriptSegment(0, 1, "Hello.")])

    assert shown.partial is (status is not JobStatus.COMPLETED)


def test_a_passage_cites_pages_or_seconds() -> None:
    paged = passage_out(StoredPassage(1, Passage("Text.", 3, 4, None, None))).citation
    timed = passage_out(StoredPassage(2, Passage("Text.", None, None, 0.0, 5.0))).citation

    assert paged.model_dump(exclude_none=True) == {"page_from": 3, "page_to": 4, "label": "pp. 3–4"}
    assert timed.model_dump(exclude_none=True) == {"start_s": 0.0, "end_s": 5.0, "label": "00:00"}
