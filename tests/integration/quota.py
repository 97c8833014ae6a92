"""What the tests of usage share: plans that include little, looks into ledger and totals, and a month that passes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.errors import JobError, MediaUnreadable, OverQuota
from core.quota import Balance, Unit
from core.store import completion, interventions, usage
from core.store.accounts import Account
from core.store.chunks import Claim
from core.store.session import Database
from core.tiers import Tiers
from tests.integration import work

ZERO, MINUTE = Decimal(0), Decimal(60)
"""A minute is what a job of one chunk takes."""


_TOTALS_OFF_THE_LEDGER = """
SELECT * FROM (
    SELECT account_id, period, unit,
           coalesce(sum(amount) FILTER (WHERE kind = 'reserve'), 0)
             - coalesce(sum(amount) FILTER (WHERE kind IN ('settle', 'refund')), 0) AS reserved,
           coalesce(sum(amount) FILTER (WHERE kind = 'settle'), 0) AS used,
           coalesce(sum(amount) FILTER (WHERE kind = 'grant'), 0) AS granted
    FROM usage_events GROUP BY account_id, period, unit
) ledger FULL JOIN usage_totals t USING (account_id, period, unit)
WHERE (coalesce(ledger.reserved, 0), coalesce(ledger.used, 0), coalesce(ledger.granted, 0))
      IS DISTINCT FROM (t.reserved, t.used, t.granted)
"""
"""Totals that are not what the ledger says; written out apart from the statement of the service that it tests."""


def limited(audio_s: float | None = None, pages: int | None = None) -> Tiers:
    """Plans that include so much a month, whatever the tier."""
    plans = {
        tier: replace(plan, monthly_audio_s=audio_s, monthly_pages=pages) for tier, plan in work.TIERS.tiers.items()
    }
    return replace(work.TIERS, tiers=plans)


def balance(database: Database, account: Account, unit: Unit = Unit.AUDIO_S) -> Balance:
    with database.transaction() as connection:
        return usage.of(connection, account.id, work.TIERS).balances[unit]


def used_and_reserved(database: Database, account: Account, unit: Unit = Unit.AUDIO_S) -> tuple[Decimal, Decimal]:
    now = balance(database, account, unit)
    return now.used, now.reserved


def ledger(database: Database, job_id: UUID) -> list[tuple[str, Decimal]]:
    query = "SELECT kind, amount FROM usage_events WHERE job_id = :job ORDER BY id"
    return [(row.kind, row.amount) for row in work.execute(database, query, job=job_id)]


def fail(database: Database, claimed: Claim, error: JobError | None = None) -> None:
    with database.transaction() as connection:
        completion.fail(connection, claimed, error or MediaUnreadable(), max_failures=3)


def failed(database: Database, account: Account, n_chunks: int = 1) -> UUID:
    """A job of so many minutes, each a chunk, of which the first has failed."""
    job_id = work.transcribing(database, account, n_chunks)
    fail(database, work.claim_one(database, job_id))
    return job_id


def cancel(database: Database, job_id: UUID, account: Account) -> None:
    with database.transaction() as connection:
        interventions.cancel(connection, job_id, account.id)


def prepare_as_a_worker_does(database: Database, job_id: UUID, plans: Tiers) -> None:
    """Complete the `prepare` chunk, or fail it with what that raised, as `workers.runtime` does."""
    claimed = work.claim_one(database, job_id)
    try:
        work.complete(database, claimed, work.result_of(claimed), plans=plans)
    except OverQuota as error:
        fail(database, claimed, error)


def totals_that_differ_from_the_ledger(database: Database) -> list[Any]:
    return list(work.execute(database, _TOTALS_OFF_THE_LEDGER))


def move_usage_to_last_month(database: Database, months: int = 1) -> None:
    """Let months pass: what the ledger and the totals say of this one was in the one before."""
    with database.transaction() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))  # past the trigger
        for table in ("usage_events", "usage_totals"):
            moved = f"UPDATE {table} SET period = period - make_interval(months => :months)"
            connection.execute(sa.text(moved), {"months": months})
