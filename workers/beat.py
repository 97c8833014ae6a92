"""What Beat rings, and how often. Every tick is idempotent: ringing twice, or from two Beats, does no harm."""

from __future__ import annotations

from typing import Any

DISPATCH = "dispatch"
RESCUE = "rescue"
UPKEEP = "upkeep"


def schedule(*, dispatch_s: float, rescue_s: float, upkeep_s: float) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`. A tick that waited longer than its period is dropped, the next one does its work.

    It is in memory and begins anew with each start, so it has short periods alone; what is due once an hour or a day
    is known to the database (`workers.upkeep`).
    """
    periods_s = {DISPATCH: dispatch_s, RESCUE: rescue_s, UPKEEP: upkeep_s}
    return {
        name: {"task": name, "schedule": period_s, "options": {"expires": period_s}}
        for name, period_s in periods_s.items()
    }
