"""The state machines: what may follow what, and which queue and stages a job gets."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from core.job import CHUNK_TRANSITIONS, ENDED, JOB_TRANSITIONS, ChunkStatus, JobKind, JobStatus, Stage, stages_of
from core.lanes import Lane, queue_of

TABLES: list[tuple[type[StrEnum], Any]] = [(JobStatus, JOB_TRANSITIONS), (ChunkStatus, CHUNK_TRANSITIONS)]


@pytest.mark.parametrize(("statuses", "table"), TABLES)
def test_every_status_has_its_line_in_the_table(statuses: type[StrEnum], table: Any) -> None:
    assert set(table) == set(statuses)


@pytest.mark.parametrize(("statuses", "table"), TABLES)
def test_every_status_but_the_first_can_be_reached(statuses: type[StrEnum], table: Any) -> None:
    reached = {follower for followers in table.values() for follower in followers}

    assert reached | {statuses("queued")} == set(statuses)


@pytest.mark.parametrize(("statuses", "table"), TABLES)
def test_no_status_follows_itself(statuses: type[StrEnum], table: Any) -> None:
    assert [status for status in statuses if status in table[status]] == []


def test_a_job_goes_back_only_to_be_tried_again_after_it_failed() -> None:
    back = [status for status, followers in JOB_TRANSITIONS.items() if JobStatus.QUEUED in followers]

    assert back == [JobStatus.FAILED]
    assert JOB_TRANSITIONS[JobStatus.COMPLETED] == JOB_TRANSITIONS[JobStatus.CANCELLED] == frozenset()


def test_a_job_has_ended_when_it_is_completed_failed_or_cancelled() -> None:
    assert {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED} == ENDED


def test_only_a_running_chunk_can_be_done_or_failed() -> None:
    for outcome in (ChunkStatus.DONE, ChunkStatus.FAILED):
        assert [status for status, next_ones in CHUNK_TRANSITIONS.items() if outcome in next_ones] == [
            ChunkStatus.RUNNING
        ]


def test_what_is_done_is_never_worked_again() -> None:
    assert CHUNK_TRANSITIONS[ChunkStatus.DONE] == frozenset()


def test_a_document_is_prepared_embedded_and_assembled() -> None:
    assert stages_of(JobKind.DOCUMENT, index=True) == (Stage.PREPARE, Stage.EMBED, Stage.ASSEMBLE)


def test_a_reindex_is_planned_embedded_and_looked_over() -> None:
    assert stages_of(JobKind.REINDEX, index=True) == (Stage.PREPARE, Stage.EMBED, Stage.ASSEMBLE)


def test_a_document_is_embedded_whatever_its_index_option_says() -> None:
    assert Stage.EMBED in stages_of(JobKind.DOCUMENT, index=False)


def test_an_indexed_transcription_is_embedded_after_it_is_transcribed() -> None:
    assert stages_of(JobKind.TRANSCRIPTION, index=True) == (
        Stage.PREPARE,
        Stage.TRANSCRIBE,
        Stage.EMBED,
        Stage.ASSEMBLE,
    )


def test_a_transcription_without_index_is_not_embedded() -> None:
    assert stages_of(JobKind.TRANSCRIPTION, index=False) == (Stage.PREPARE, Stage.TRANSCRIBE, Stage.ASSEMBLE)


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("stage", [Stage.TRANSCRIBE, Stage.EMBED])
def test_what_infers_goes_to_the_queue_of_its_lane(stage: Stage, lane: Lane) -> None:
    assert queue_of(stage, lane) == lane.value


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.ASSEMBLE])
def test_what_opens_and_stitches_goes_to_the_io_queue_of_its_lane(stage: Stage, lane: Lane) -> None:
    assert queue_of(stage, lane) == f"io.{lane.value}"


def test_lanes_are_listed_from_the_most_urgent_to_the_least() -> None:
    assert list(Lane) == [Lane.EXPRESS, Lane.STANDARD, Lane.BATCH]
