"""Models stay beside each other within a budget; the least recently used idle one makes room."""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import OutOfDeviceMemory
from models.fake import FakeTranscriber
from models.pool import Budget, Pool
from models.registry import ModelKind

WHISPER = ModelKind.WHISPER
SIZES: Mapping[str, int] = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}


@dataclass
class Device:
    """Knows what is loaded on it and in use; refuses what would be wrong."""

    room: float = float("inf")
    loaded: dict[str, int] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    most_bytes: int = 0
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, name: str, kind: ModelKind) -> Engine:
        with self.lock:
            self.loads.append(name)
            if name in self.loaded:
                self.wrong.append(f"{name} is loaded twice")
            if sum(self.loaded.values()) + SIZES[name] > self.room:
                raise OutOfDeviceMemory(name)
            self.loaded[name] = SIZES[name]
            self.most_bytes = max(self.most_bytes, sum(self.loaded.values()))
        return Engine(name, self)

    def pool(self, total_bytes: float) -> Pool:
        return Pool(self.load, idle_s=60, budget=Budget(total_bytes, lambda name, _: SIZES[name]))


class Engine(FakeTranscriber):
    def __init__(self, name: str, device: Device) -> None:
        super().__init__()
        self.name, self.device = name, device

    def close(self) -> None:
        with self.device.lock:
            if self.device.used.get(self.name):
                self.device.wrong.append(f"{self.name} is unloaded in use")
            del self.device.loaded[self.name]


def borrow(pool: Pool, *names: str) -> None:
    for name in names:
        with pool.use(name, WHISPER):
            pass


def test_models_that_fit_beside_each_other_stay() -> None:
    device = Device()

    borrow(device.pool(total_bytes=6), "a", "b", "c", "a", "b", "c")

    assert device.loads == ["a", "b", "c"]


def test_the_least_recently_used_one_makes_room_and_no_other() -> None:
    pool = Device().pool(total_bytes=6)

    borrow(pool, "a", "b", "c", "a", "b", "d")

    assert pool.loaded() == ["b", "d"]  # c and then a were older; b still fits


def test_a_model_in_use_stays_and_what_is_over_the_budget_goes_when_it_is_given_back() -> None:
    device = Device()
    pool = device.pool(total_bytes=5)

    with pool.use("d", WHISPER):
        with pool.use("c", WHISPER):
            assert pool.loaded() == ["c", "d"]
        assert pool.loaded() == ["c", "d"]  # c was used last
    assert pool.loaded() == ["d"]
    assert device.wrong == []


def test_a_model_larger_than_the_budget_is_loaded_alone_and_kept_until_another_is_wanted() -> None:
    device = Device()
    pool = device.pool(total_bytes=3)

    borrow(pool, "a", "e", "e")
    assert (pool.loaded(), device.loads) == (["e"], ["a", "e"])
    borrow(pool, "a")
    assert pool.loaded() == ["a"]


def test_a_device_without_room_is_emptied_of_idle_models_and_the_load_tried_once_more() -> None:
    device = Device(room=5)
    pool = device.pool(total_bytes=100)  # knows less than the device

    borrow(pool, "b", "c", "d")

    assert pool.loaded() == ["d"]
    assert device.loads == ["b", "c", "d", "d"]


def test_a_device_without_room_for_a_model_alone_says_so_and_is_not_asked_again() -> None:
    device = Device(room=4)
    pool = device.pool(total_bytes=100)

    with pytest.raises(OutOfDeviceMemory), pool.use("e", WHISPER):
        pass

    assert (device.loads, pool.loaded()) == (["e"], [])


def test_what_a_failed_load_would_have_taken_is_free_again() -> None:
    device = Device(room=3)
    pool = device.pool(total_bytes=5)
    borrow(pool, "b")

    with pytest.raises(OutOfDeviceMemory), pool.use("e", WHISPER):
        pass
    borrow(pool, "b", "a")

    assert pool.loaded() == ["a", "b"]


@given(st.lists(st.sampled_from(sorted(SIZES)), max_size=30), st.integers(1, 16))
def test_in_any_order_of_use_what_is_loaded_is_what_was_used_last_and_fits(names: Sequence[str], total: int) -> None:
    pool = Device().pool(total)
    expected: OrderedDict[str, int] = OrderedDict()

    for name in names:
        if name not in expected:
            while expected and sum(expected.values()) + SIZES[name] > total:
                expected.popitem(last=False)
        expected[name] = SIZES[name]
        expected.move_to_end(name)
        borrow(pool, name)
        assert pool.loaded() == sorted(expected)


def test_many_threads_never_load_twice_unload_what_is_used_or_exceed_the_budget() -> None:
    device = Device()
    pool = device.pool(total_bytes=10)  # the two that are used at once always fit
    wish = random.Random(5)
    wishes = [wish.choice(sorted(SIZES)) for _ in range(3000)]

    def use(name: str) -> None:
        with pool.use(name, WHISPER):
            with device.lock:
                device.used[name] = device.used.get(name, 0) + 1
                if name not in device.loaded:
                    device.wrong.append(f"{name} is used and not loaded")
            with device.lock:
                device.used[name] -= 1

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(use, wishes))

    assert device.wrong == []
    assert 8 <= device.most_bytes <= 10
    assert len(device.loads) < len(wishes)
