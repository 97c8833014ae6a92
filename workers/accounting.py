"""Hold the totals of usage to the ledger, report months and days that have ended, forget what is old. Beat's upkeep.

A difference should never be: it is logged as an error, and corrected so that nobody is refused what is theirs.
"""

from __future__ import annotations

from dataclasses import asdict

import structlog

from core.store import daily, old_events, reports
from core.store.session import Database
from core.tiers import Tiers
from workers.upkeep import Slice, Swept

log = structlog.get_logger(__name__)

_AT_ONCE = 5000
"""Events that one transaction deletes."""


def reconcile(database: Database) -> int:
    """Correct each total that differs from the ledger, one transaction each; returns how many did."""
    with database.transaction() as connection:
        differing = reports.off_the_ledger(connection)
    corrected = 0
    for place in differing:
        with database.transaction() as connection:
            correction = reports.correct(connection, place)
        if correction is not None:
            corrected += 1
            named = {"account": str(place.account_id), "period": str(place.period), "unit": str(place.unit)}
            was, now = ({name: str(sum_) for name, sum_ in asdict(s).items()} for s in (correction.was, correction.now))
            log.error("totals of usage were not what the ledger says", **named, was=was, now=now)
    return corrected


def close_periods(database: Database, tiers: Tiers) -> int:
    """Write the reports of months that have ended; returns how many."""
    with database.transaction() as connection:
        written = reports.close_periods(connection, tiers)
    if written:
        log.info("closed a period", reports=written)
    return written


def report_days(database: Database) -> int:
    """Write the reports of days that have ended, and log each as a line; returns how many."""
    with database.transaction() as connection:
        written = daily.write_missing(connection)
    for report in written:
        log.info("report of a day", **{name: str(value) for name, value in asdict(report).items()})
    return len(written)


def forget_old_events(database: Database, run: Slice, *, keep_months: int) -> Swept:
    """Delete events of months that were closed long ago, and daily reports as old, until the run is over."""
    with database.transaction() as connection:
        items = daily.forget(connection, keep_months=keep_months)
    while True:
        with database.transaction() as connection:
            forgotten = old_events.forget(connection, keep_months=keep_months, at_most=_AT_ONCE)
            old_events.forget_totals(connection, keep_months=keep_months)
        items += forgotten
        if forgotten < _AT_ONCE:
            return Swept(items)
        if run.over:
            return Swept(items, resume="there are more")
