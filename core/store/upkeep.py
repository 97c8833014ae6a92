"""The record of Beat's upkeep: one row a chore, with its last run and its totals.

`workers.upkeep` asks whether a chore is due and writes each run that ended; `GET /metrics` shows them. A run that was
killed has left no record: its chore is as due as before, and the time of its last success grows old.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.store.tables import upkeep


@dataclass(frozen=True, slots=True)
class Due:
    """A chore that is to be run now, and where the run before stopped; None: at the end."""

    started_at: datetime
    resume: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A run: how many items it removed, corrected or wrote, what failed, and where the next one goes on."""

    items: int
    error: str | None = None
    resume: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A chore as its runs have left it; `succeeded_at` is None until one has succeeded."""

    chore: str
    started_at: datetime
    duration_s: float
    error: str | None
    resume: str | None
    succeeded_at: datetime | None
    runs: int
    failures: int
    items_total: int


# Ticks are not exact, so a tenth of the period early is on time. What stopped half-way
# goes on at once, unless it failed. A pause begins when the run that failed has ended.
_DUE = sa.text("""
SELECT now() AS started_at, (SELECT resume FROM upkeep WHERE chore = :chore) AS resume
WHERE NOT EXISTS (
    SELECT FROM upkeep
    WHERE chore = :chore
      AND started_at > now() - make_interval(secs =>
          CASE WHEN error IS NOT NULL AND CAST(:pause_s AS float) IS NOT NULL
               THEN duration_s + 0.9 * CAST(:pause_s AS float) ELSE 0.9 * :period_s END)
      AND started_at <= now()  -- a clock that was ahead, and was set back, would stop it until then
      AND (resume IS NULL OR error IS NOT NULL)
)
""")


def due(connection: Connection, chore: str, period_s: float, pause_s: float | None = None) -> Due | None:
    """Whether a chore was not run for a period. Ask it where nobody else can run the chore (`Database.alone`).

    `pause_s` is in the place of the period after a run that failed, from its end on.
    """
    values = {"chore": chore, "period_s": period_s, "pause_s": pause_s}
    row = connection.execute(_DUE, values).one_or_none()
    return None if row is None else Due(row.started_at, row.resume)


_WRITE = sa.text("""
INSERT INTO upkeep AS u (chore, started_at, duration_s, items, error, resume, succeeded_at, runs, failures, items_total)
VALUES (:chore, :started_at, greatest(0, extract(epoch FROM now() - :started_at)), :items, :error, :resume,
        CASE WHEN CAST(:error AS text) IS NULL THEN now() END,
        1, CASE WHEN CAST(:error AS text) IS NULL THEN 0 ELSE 1 END, :items)
ON CONFLICT (chore) DO UPDATE SET
    started_at = excluded.started_at, duration_s = excluded.duration_s, items = excluded.items,
    error = excluded.error, resume = excluded.resume, succeeded_at = coalesce(excluded.succeeded_at, u.succeeded_at),
    runs = u.runs + 1, failures = u.failures + excluded.failures, items_total = u.items_total + excluded.items
""")


def write(connection: Connection, chore: str, began: Due, ended: Ended) -> None:
    """Keep what a run came to, whether it succeeded or not."""
    run = {"items": ended.items, "error": ended.error, "resume": ended.resume}
    connection.execute(_WRITE, {"chore": chore, "started_at": began.started_at, **run})


def records(connection: Connection) -> list[Record]:
    """Every chore that has been run, by name."""
    columns = [upkeep.c[name] for name in Record.__dataclass_fields__]
    return [Record(*row) for row in connection.execute(sa.select(*columns).order_by(upkeep.c.chore))]
