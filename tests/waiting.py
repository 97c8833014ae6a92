"""For every test: wait until something is so, instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(true: Callable[[], object], within_s: float = 30) -> None:
    """Return as soon as `true` is; fail if it is not `within_s`."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "this did not come to be"
        time.sleep(0.01)
