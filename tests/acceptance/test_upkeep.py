"""A running service keeps itself in order, and shows that it does."""

from __future__ import annotations

import os
import time
import uuid

from tests.acceptance.conftest import Service
from tests.waiting import until

CHORES = (
    *("expired_jobs", "orphan_blobs", "old_events", "reconcile", "close_periods", "daily_report", "old_speeds"),
    "vector_indexes",
)


def test_what_a_dead_request_left_is_erased_and_every_chore_is_seen_to_succeed(service: Service) -> None:
    left = service.folder / "blobs" / "jobs" / str(uuid.uuid4())
    left.mkdir(parents=True)
    (left / "input#1").write_bytes(b"half an upload")
    for path in (left / "input#1", left):
        os.utime(path, (time.time() - 2 * 86400,) * 2)

    until(lambda: not left.exists(), what="the orphan is erased")

    with service.http() as http:
        text = http.get("/metrics").text
    for chore in CHORES:
        assert f'scribelane_upkeep_last_success_timestamp_seconds{{chore="{chore}"}}' in text
        assert f'scribelane_upkeep_failures_total{{chore="{chore}"}} 0.0' in text
