"""What Beat rings, and how often. Every tick is idempotent: ringing twice, or from two Beats, does no harm.

Beat counts by a clock that nobody can set. By the machine's clock, as Celery does, one that is set back by an hour
stops every tick for an hour.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import schedule as every

DISPATCH = "dispatch"
RESCUE = "rescue"
UPKEEP = "upkeep"

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


def schedule(*, dispatch_s: float, rescue_s: float, upkeep_s: float) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`. A tick that waited longer than its period is dropped, the next one does its work.

    It is in memory and begins anew with each start, so it has short periods alone; what is due once an hour or a day
    is known to the database (`workers.upkeep`).
    """
    periods_s = {DISPATCH: dispatch_s, RESCUE: rescue_s, UPKEEP: upkeep_s}
    return {
        name: {"task": name, "schedule": every(period_s, nowfun=steady_now), "options": {"expires": period_s}}
        for name, period_s in periods_s.items()
    }


def steady_now() -> datetime:
    """A time that only ever goes forward, by as much as passes; its date means nothing."""
    return _BEGINNING + timedelta(seconds=time.monotonic())
