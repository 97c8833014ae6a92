"""How long a piece of work has waited for its models to be loaded, told apart from its own time.

Whoever works a chunk opens a `clock` around it; `pool` lets it run while a load keeps the same thread waiting. So no
stage in between has to hand the figure on, and a stage that borrows two models waits for both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Seconds that were waited for loads until now."""

    waited_s: float = 0.0


_clock: ContextVar[Clock | None] = ContextVar("cold_start", default=None)


@contextmanager
def clock() -> Iterator[Clock]:
    """Count for the length of the block what this thread waits for loads in it."""
    token = _clock.set(running := Clock())
    try:
        yield running
    finally:
        _clock.reset(token)


@contextmanager
def waiting() -> Iterator[None]:
    """This thread waits for a load for the length of the block, also if the load fails."""
    began = time.monotonic()
    try:
        yield
    finally:
        if (running := _clock.get()) is not None:
            running.waited_s += time.monotonic() - began
