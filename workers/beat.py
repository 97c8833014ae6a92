"""What Beat rings, and how often. Every job here is idempotent: ringing twice, or from two Beats, does no harm."""

from __future__ import annotations

from typing import Any

DISPATCH = "dispatch"
RESCUE = "rescue"
CLEAN = "clean"
RECONCILE = "reconcile"
CLOSE_PERIODS = "close_periods"


def schedule(*, dispatch_s: float, rescue_s: float, clean_s: float, usage_s: float) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`. A tick that waited longer than its period is dropped, the next one does its work."""
    periods_s = {DISPATCH: dispatch_s, RESCUE: rescue_s, CLEAN: clean_s, RECONCILE: usage_s, CLOSE_PERIODS: usage_s}
    return {
        name: {"task": name, "schedule": period_s, "options": {"expires": period_s}}
        for name, period_s in periods_s.items()
    }
