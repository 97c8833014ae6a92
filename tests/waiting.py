"""For every test: wait until something is so, instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(true: Callable[[], object], within_s: float = 60, *, every_s: float = 0.02, what: str = "this") -> None:
    """Return as soon as `true` is; fail, with `what` is waited for, if it is not `within_s`.

    What costs others time is asked less often.
    """
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)
