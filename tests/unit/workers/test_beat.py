"""Beat's ticks come by a clock that nobody can set."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from celery.beat import ScheduleEntry

from workers import beat


def _entry(app: Celery) -> ScheduleEntry:
    periods = beat.schedule(dispatch_s=5, rescue_s=15, upkeep_s=60)
    return ScheduleEntry(name="dispatch", app=app, **periods["dispatch"])


def test_a_tick_is_due_after_its_period_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = _entry(Celery(set_as_current=False))
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + 4)
    assert not entry.is_due().is_due
    monkeypatch.setattr(time, "monotonic", lambda: began + 6)
    assert entry.is_due().is_due


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=365)])
def test_a_clock_that_is_set_neither_stops_a_tick_nor_hurries_it(
    monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    app = Celery(set_as_current=False)
    entry = _entry(app)
    monkeypatch.setattr(app, "now", lambda: datetime.now(UTC) + jump)
    assert not entry.is_due().is_due
    assert entry.is_due().next <= 5
