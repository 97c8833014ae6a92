"""The pool loads each model once, never unloads one in use, and lets go of the idle ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from models.fake import FakeTranscriber
from models.pool import Pool
from models.registry import ModelKind

WHISPER, EMBEDDING = ModelKind.WHISPER, ModelKind.EMBEDDING


class Engine(FakeTranscriber):
    closed = False

    def close(self) -> None:
        self.closed = True


def closed(engine: object) -> bool:
    assert isinstance(engine, Engine)
    return engine.closed


@dataclass
class Loader:
    """Counts what it loads; `before` runs first, in the loading thread."""

    before: Callable[[], object] = lambda: None
    loads: list[str] = field(default_factory=list)

    def __call__(self, name: str, kind: ModelKind) -> Engine:
        self.loads.append(name)
        self.before()
        return Engine()


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_model_is_loaded_at_its_first_use_and_kept() -> None:
    loader = Loader()
    pool = Pool(loader, idle_s=60)
    assert pool.loaded() == []
    with pool.use("base", WHISPER) as first:
        assert pool.loaded() == ["base"]
    with pool.use("base", WHISPER) as second:
        assert second is first
    assert loader.loads == ["base"]


def test_two_threads_that_want_the_same_model_load_it_once() -> None:
    both_want_it = threading.Barrier(2)
    pool = Pool(loader := Loader(), idle_s=60)

    def borrow(_: int) -> object:
        both_want_it.wait(5)
        with pool.use("base", WHISPER) as engine:
            return engine

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(borrow, range(2))
    assert first is second
    assert loader.loads == ["base"]


def test_a_model_that_loads_slowly_does_not_hold_up_another() -> None:
    other_is_ready = threading.Event()
    pool = Pool(lambda name, kind: (name == "slow" and other_is_ready.wait(5), Engine())[1], idle_s=60)

    def borrow_slow() -> bool:
        with pool.use("slow", WHISPER):
            return other_is_ready.is_set()

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(borrow_slow)
        with pool.use("fast", WHISPER):
            other_is_ready.set()
        assert slow.result(5)


def test_only_what_has_been_idle_long_enough_is_unloaded() -> None:
    clock = Clock()
    pool = Pool(Loader(), idle_s=60, clock=clock)
    with pool.use("old", WHISPER) as old:
        pass
    clock.now_s = 30
    with pool.use("young", WHISPER) as young:
        pass
    clock.now_s = 60
    assert pool.unload_idle() == ["old"]
    assert pool.loaded() == ["young"]
    assert closed(old)
    assert not closed(young)


def test_a_model_in_use_is_never_unloaded_however_long() -> None:
    clock = Clock()
    pool = Pool(Loader(), idle_s=60, clock=clock)
    with pool.use("base", WHISPER) as engine:
        clock.now_s = 10_000
        assert pool.unload_idle() == []
        assert not closed(engine)
    assert pool.unload_idle() == []
    clock.now_s = 10_060
    assert pool.unload_idle() == ["base"]


def test_users_and_an_eager_idle_timer_never_meet_a_closed_engine() -> None:
    pool = Pool(Loader(), idle_s=0)
    stop = threading.Event()

    def unload() -> None:
        while not stop.is_set():
            pool.unload_idle()

    def borrow(_: int) -> bool:
        with pool.use("base", WHISPER) as engine:
            return not closed(engine)

    with ThreadPoolExecutor(5) as threads:
        timer = threads.submit(unload)
        assert all(threads.map(borrow, range(2000)))
        stop.set()
        timer.result(5)


def test_a_failed_load_is_told_to_the_caller_and_tried_again_next_time() -> None:
    outcomes = iter([OSError("no such weights"), None])

    def load(name: str, kind: ModelKind) -> Engine:
        if error := next(outcomes):
            raise error
        return Engine()

    pool = Pool(load, idle_s=60)
    with pytest.raises(OSError, match="no such weights"), pool.use("base", WHISPER):
        pass
    assert pool.loaded() == []
    with pool.use("base", WHISPER):
        assert pool.loaded() == ["base"]


def test_the_same_name_of_two_kinds_is_two_engines() -> None:
    pool = Pool(loader := Loader(), idle_s=60)
    with pool.use("fake", WHISPER) as hears, pool.use("fake", EMBEDDING) as embeds:
        assert hears is not embeds
    assert loader.loads == ["fake", "fake"]


def test_closing_closes_idle_engines_now_and_those_in_use_when_given_back() -> None:
    pool = Pool(Loader(), idle_s=60)
    with pool.use("idle", WHISPER) as idle:
        pass
    with pool.use("busy", WHISPER) as busy:
        pool.close()
        assert closed(idle)
        assert not closed(busy)
    assert closed(busy)
    with pytest.raises(RuntimeError, match="closed"), pool.use("idle", WHISPER):
        pass
