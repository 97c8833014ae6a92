"""What follows on each end of an attempt."""

from __future__ import annotations

import pytest

from core import errors
from core.errors import ChunkCrashed, DeviceBroken, Internal, JobError, OutOfMemory
from core.retry import pause_s, remedy_of


def test_what_a_client_is_told_may_pass_by_itself_is_tried_again_by_the_service() -> None:
    named = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, JobError)]
    assert [kind for kind in named if kind.retryable and not remedy_of(kind()).again] == []


@pytest.mark.parametrize("error", [errors.MediaUnreadable(), errors.OverQuota(), errors.ChunkTimeout()])
def test_a_permanent_error_is_not_tried_again(error: JobError) -> None:
    assert not remedy_of(error).again


@pytest.mark.parametrize(("error", "fresh"), [(Internal(), False), (OutOfMemory(), True), (DeviceBroken(), True)])
def test_a_process_whose_memory_or_device_failed_is_replaced(error: JobError, fresh: bool) -> None:
    assert remedy_of(error).new_process is fresh


def test_the_first_crash_costs_no_pause_and_later_ones_wait_longer_each_time() -> None:
    crashed = remedy_of(ChunkCrashed())
    assert [pause_s(crashed, failures, spread=0) for failures in (1, 2, 3)] == [0, 6, 24]
    assert [pause_s(remedy_of(Internal()), failures, spread=0) for failures in (1, 2)] == [3, 9]


def test_pauses_differ_so_that_what_failed_together_does_not_come_back_together() -> None:
    pauses = {pause_s(remedy_of(Internal()), 1) for _ in range(20)}
    assert len(pauses) > 1
    assert all(1.5 <= pause <= 4.5 for pause in pauses)
