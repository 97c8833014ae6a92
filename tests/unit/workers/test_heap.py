"""A process that has used much memory for a while does not keep it."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import pytest

from workers import heap


def held_kib() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc alone keeps memory, and gives it back")
def test_what_is_free_goes_back_to_the_system() -> None:
    taken = [bytearray(1000) for _ in range(100_000)]
    last = bytearray(1000)  # above it nothing is free, so that glibc could not shorten its heap by itself
    del taken
    gc.collect()
    kept = held_kib()

    heap.give_back()

    assert last
    assert kept - held_kib() > 50_000
