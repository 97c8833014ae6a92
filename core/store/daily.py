"""The report of each day that has ended, in UTC: one row, from what the database holds when it is written.

`workers.accounting` writes it in the night, `scribelane report` prints it. Audio and pages are those of the jobs that
were completed, from the ledger, which keeps them whatever is erased. All else is counted from the jobs that are still
there: one that was erased before the night had its report is not among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from core.errors import NotFound
from core.store.tables import daily_reports

MAKES_UP_DAYS = 7
"""Days that are reported afterwards, if the service did not run in their nights."""

# Ten minutes let transactions end that began in the old day. The wait is that of jobs whose first chunk was taken once:
# of one that was taken again it is not known any more when it was taken first.
_WRITE = sa.text("""
WITH today AS (
    SELECT date_trunc('day', (now() - interval '10 minutes') AT TIME ZONE 'UTC') AS began
), days AS (
    SELECT day::date AS day, day AT TIME ZONE 'UTC' AS began, (day + interval '1 day') AT TIME ZONE 'UTC' AS ended
    FROM today CROSS JOIN LATERAL generate_series(
        greatest(
            today.began - make_interval(days => :days),
            (SELECT date_trunc('day', min(created_at) AT TIME ZONE 'UTC') FROM accounts)
        ),
        today.began - interval '1 day',
        interval '1 day'
    ) AS day
    WHERE NOT EXISTS (SELECT FROM daily_reports r WHERE r.day = day::date)
)
INSERT INTO daily_reports (day, submitted, completed, failed, cancelled, audio_s, pages, failures, wait_p95_s)
SELECT days.day,
       (SELECT count(*) FROM jobs WHERE created_at >= began AND created_at < ended),
       jobs_ended.completed, jobs_ended.failed, jobs_ended.cancelled,
       used.audio_s, used.pages,
       (SELECT coalesce(jsonb_object_agg(error_code, n), '{}') FROM (
            SELECT error_code, count(*) AS n FROM jobs
            WHERE status = 'failed' AND finished_at >= began AND finished_at < ended GROUP BY error_code
        ) codes),
       (SELECT coalesce(jsonb_object_agg(lane, wait_s), '{}') FROM (
            SELECT lane, round(percentile_cont(0.95) WITHIN GROUP (
                ORDER BY extract(epoch FROM c.started_at - j.created_at))::numeric, 3) AS wait_s
            FROM jobs j JOIN chunks c ON c.job_id = j.id AND c.stage = 'prepare' AND c.attempt = 1
            WHERE (j.started_at >= began OR j.started_at IS NULL) AND j.created_at < ended
              AND c.started_at >= began AND c.started_at < ended
            GROUP BY lane
        ) lanes)
FROM days
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status = 'completed') AS completed,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled
    FROM jobs WHERE finished_at >= began AND finished_at < ended
) jobs_ended
CROSS JOIN LATERAL (
    -- A job is settled in the period of its reservation, which may be that of the month before.
    SELECT coalesce(sum(amount) FILTER (WHERE unit = 'audio_s'), 0) AS audio_s,
           coalesce(sum(amount) FILTER (WHERE unit = 'pages'), 0) AS pages
    FROM usage_events
    WHERE kind = 'settle' AND created_at >= began AND created_at < ended
      AND period >= date_trunc('month', days.day) - interval '1 month' AND period <= days.day
) used
ORDER BY days.day
ON CONFLICT DO NOTHING
RETURNING *
""")


@dataclass(frozen=True, slots=True)
class DailyReport:
    """A day: jobs submitted, jobs ended by how, what was completed, failures by code, and how long starts took."""

    day: date
    submitted: int
    completed: int
    failed: int
    cancelled: int
    audio_s: Decimal
    pages: Decimal
    failures: Mapping[str, int]
    wait_p95_s: Mapping[str, float]

    @property
    def audio_hours(self) -> float:
        """Of recordings whose jobs were completed."""
        return round(float(self.audio_s) / 3600, 2)


def write_missing(connection: Connection) -> list[DailyReport]:
    """Report the days that have ended and have no report, a week back at most; returns the new ones."""
    return sorted((_report(row) for row in connection.execute(_WRITE, {"days": MAKES_UP_DAYS})), key=lambda r: r.day)


def get(connection: Connection, day: date | None = None) -> DailyReport:
    """The report of a day, or the last. Raises `NotFound`."""
    query = sa.select(daily_reports).order_by(daily_reports.c.day.desc()).limit(1)
    if day is not None:
        query = query.where(daily_reports.c.day == day)
    row = connection.execute(query).one_or_none()
    if row is None:
        of = "any day" if day is None else str(day)
        raise NotFound(f"There is no report of {of}; Beat writes one of each day (UTC) in the night after it.")
    return _report(row)


def forget(connection: Connection, *, keep_months: int) -> int:
    """Delete reports older than so many months; returns how many."""
    oldest = sa.func.now() - sa.func.make_interval(0, keep_months)
    return connection.execute(sa.delete(daily_reports).where(daily_reports.c.day < oldest)).rowcount


def _report(row: Row[Any]) -> DailyReport:
    return DailyReport(**{name: row._mapping[name] for name in DailyReport.__dataclass_fields__})
