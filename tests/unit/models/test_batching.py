"""A batch grows while that pays and shrinks where the device has no room."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.batching import BatchSize, fitting
from models.errors import OutOfDeviceMemory


class Engine:
    """Stands for a model on a device: so fast with so many at once, and room for no more than `room`."""

    def __init__(self, rate: Callable[[int], float], room: int = 1000) -> None:
        self.rate, self.room = rate, room
        self.tried: list[int] = []

    def work(self, batch: BatchSize, batches: int = 30) -> int:
        """Work full batches as an engine does; the size at the end."""
        for _ in range(batches):
            self.tried.append(batch.n)
            if batch.n > self.room:
                batch.halve(batch.n, OutOfDeviceMemory("CUDA failed: out of memory"))
            else:
                batch.ran(batch.n, batch.n / self.rate(batch.n))
        return batch.n


def saturating(n: int) -> float:
    """More at once is faster until 16."""
    return min(n, 16)


def test_it_doubles_until_that_is_no_faster_and_stays_with_the_smaller() -> None:
    engine = Engine(saturating)

    assert engine.work(batch := BatchSize(4, most=64)) == 16
    assert batch.found
    assert engine.tried[:7] == [4, 4, 8, 8, 16, 16, 32]
    assert max(engine.tried) == 32


def test_it_is_not_looked_for_beyond_what_fits() -> None:
    engine = Engine(lambda n: n)

    assert engine.work(BatchSize(4, most=32)) == 32
    assert max(engine.tried) == 32


def test_out_of_memory_ends_the_search_with_the_half() -> None:
    engine = Engine(lambda n: n, room=20)

    assert engine.work(BatchSize(4, most=64)) == 16
    assert engine.tried.count(32) == 1


def test_memory_that_runs_short_later_halves_it_for_good() -> None:
    engine = Engine(lambda n: n)
    engine.work(batch := BatchSize(4, most=16))
    engine.room = 5

    assert engine.work(batch) == 4
    engine.room = 1000
    assert engine.work(batch) == 4


def test_a_slow_first_batch_does_not_mislead_it() -> None:
    warm = iter([0.1, *[1.0] * 40])

    assert Engine(lambda n: saturating(n) * next(warm)).work(BatchSize(4, most=64)) == 16


def test_batches_that_are_not_full_say_nothing() -> None:
    batch = BatchSize(4, most=64)

    for _ in range(10):
        batch.ran(3, 0.001)

    assert batch.n == 4


def test_a_size_that_is_given_is_kept() -> None:
    assert Engine(lambda n: n).work(batch := BatchSize(4)) == 4
    assert batch.found


def test_one_at_once_that_has_no_room_is_the_callers_to_know() -> None:
    with pytest.raises(OutOfDeviceMemory, match="of memory"):
        Engine(lambda n: n, room=0).work(BatchSize(4))


@pytest.mark.parametrize(
    ("free", "expected"), [(0, 1), (99, 1), (100, 1), (250, 2), (399, 2), (400, 4), (6399, 32), (10**9, 64)]
)
def test_what_fits_is_a_power_of_two_between_one_and_the_most(free: int, expected: int) -> None:
    assert fitting(free, 100, 64) == expected


def test_a_batch_that_was_not_full_and_too_many_all_the_same_is_halved_itself() -> None:
    batch = BatchSize(64)

    batch.halve(5, OutOfDeviceMemory("CUDA failed: out of memory"))

    assert batch.n == 2
