"""Lets other processes on the same cores go first. For processes that have a session of their own."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def give_way(niceness: int) -> None:
    """Add to the niceness of this process, which its children inherit, and give its session the sum.

    Where Linux groups processes by session, outside of containers, a niceness counts within its session alone, and
    those of two sessions are compared instead (`sched(7)`, autogroup).
    """
    now = os.nice(niceness)
    with suppress(OSError):  # a system that does not group
        Path("/proc/self/autogroup").write_text(str(now))
