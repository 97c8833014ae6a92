"""What follows on each end of an attempt."""

from __future__ import annotations

from functools import partial

import pytest

from core import errors
from core.errors import ChunkCrashed, DeviceBroken, Internal, JobError, OutOfMemory, StoreUnavailable
from core.retry import UNCHARGED_TIMES, NextTry, Tries, next_try, remedy_of

evenly = partial(next_try, max_failures=3, spread=0)
FIRST = Tries(failures=0, uncharged=0)


def test_what_a_client_is_told_may_pass_by_itself_is_tried_again_by_the_service() -> None:
    named = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, JobError)]
    assert [kind for kind in named if kind.retryable and evenly(kind(), FIRST) is None] == []


@pytest.mark.parametrize("error", [errors.MediaUnreadable(), errors.OverQuota(), errors.ChunkTimeout()])
def test_a_permanent_error_is_not_tried_again(error: JobError) -> None:
    assert evenly(error, FIRST) is None


@pytest.mark.parametrize(("error", "fresh"), [(Internal(), False), (OutOfMemory(), True), (DeviceBroken(), True)])
def test_a_process_whose_memory_or_device_failed_is_replaced(error: JobError, fresh: bool) -> None:
    assert remedy_of(error).new_process is fresh


def test_the_first_crash_costs_no_pause_and_later_ones_wait_longer_each_time() -> None:
    crashes = [evenly(ChunkCrashed(), Tries(n, 0), max_failures=4) for n in range(3)]
    assert crashes == [NextTry(0, True), NextTry(6, True), NextTry(24, True)]
    failures = [evenly(Internal(), Tries(n, 0)) for n in range(3)]
    assert failures == [NextTry(3, True), NextTry(9, True), None]


def test_a_media_store_that_is_away_is_waited_for_at_no_charge() -> None:
    away = [evenly(StoreUnavailable(), Tries(2, uncharged)) for uncharged in (0, 1, 2, 3, 4, UNCHARGED_TIMES - 1)]
    assert away == [NextTry(pause_s, charged=False) for pause_s in (3, 9, 27, 60, 60, 60)]


def test_a_media_store_that_stays_away_ends_the_job() -> None:
    assert evenly(StoreUnavailable(), Tries(0, UNCHARGED_TIMES)) == NextTry(3, charged=True)
    assert evenly(StoreUnavailable(), Tries(2, UNCHARGED_TIMES)) is None


def test_pauses_differ_so_that_what_failed_together_does_not_come_back_together() -> None:
    drawn = [next_try(Internal(), FIRST, max_failures=3) for _ in range(20)]
    pauses = {one.pause_s for one in drawn if one}
    assert len(pauses) > 1
    assert all(1.5 <= pause <= 4.5 for pause in pauses)
