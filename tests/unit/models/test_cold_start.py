"""What a chunk waits for its models is counted by itself, in its own thread."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from models import cold_start
from models.fake import FakeTranscriber
from models.pool import Pool
from models.registry import ModelKind
from tests.waiting import until

WHISPER, EMBEDDING = ModelKind.WHISPER, ModelKind.EMBEDDING
LOAD_S = 0.05


def slowly(name: str, kind: ModelKind) -> FakeTranscriber:
    time.sleep(LOAD_S)
    return FakeTranscriber()


def test_a_load_counts_and_a_model_that_is_there_costs_nothing() -> None:
    pool = Pool(slowly, idle_s=60)

    began = time.monotonic()
    with cold_start.clock() as first, pool.use("base", WHISPER):
        time.sleep(LOAD_S)  # the work itself
    took_s = time.monotonic() - began
    with cold_start.clock() as second, pool.use("base", WHISPER):
        pass

    assert LOAD_S <= first.waited_s <= took_s - LOAD_S
    assert second.waited_s == 0.0


def test_two_models_of_one_chunk_count_together() -> None:
    pool = Pool(slowly, idle_s=60)

    with cold_start.clock() as clock, pool.use("base", WHISPER), pool.use("small", EMBEDDING):
        pass

    assert clock.waited_s >= 2 * LOAD_S


def test_who_waits_for_another_ones_load_has_waited_too() -> None:
    loading, may_end = threading.Event(), threading.Event()

    def load(name: str, kind: ModelKind) -> FakeTranscriber:
        loading.set()
        may_end.wait(5)
        return FakeTranscriber()

    pool = Pool(load, idle_s=60)

    def waited_s() -> float:
        with cold_start.clock() as clock, pool.use("base", WHISPER):
            return clock.waited_s

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(waited_s)
        loading.wait(5)
        second = threads.submit(waited_s)
        until(lambda: pool._entries["base", WHISPER].users == 2, what="the second wants it too")
        may_end.set()
        assert first.result(5) > 0
        assert second.result(5) > 0


def test_a_load_that_fails_was_waited_for_as_well() -> None:
    def load(name: str, kind: ModelKind) -> FakeTranscriber:
        time.sleep(LOAD_S)
        raise OSError("no such weights")

    with cold_start.clock() as clock, pytest.raises(OSError, match="no such"), Pool(load, 60).use("base", WHISPER):
        pass

    assert clock.waited_s >= LOAD_S


def test_without_a_clock_nobody_counts() -> None:
    with Pool(slowly, idle_s=60).use("base", WHISPER), cold_start.clock() as clock:
        pass

    assert clock.waited_s == 0.0
