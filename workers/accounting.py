"""Hold the totals of usage to the ledger, and close the months that have ended. Beat rings both.

A difference should never be: it is logged as an error, and corrected so that nobody is refused what is theirs.
"""

from __future__ import annotations

from dataclasses import asdict

import structlog

from core.store import reports
from core.store.session import Database
from core.tiers import Tiers

log = structlog.get_logger(__name__)


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
