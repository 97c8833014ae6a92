"""The ledger of what accounts reserve and use, and the totals that are derived from it.

`usage_events` is the truth and is only ever added to; `usage_totals` is written in the same transaction. `completion`
reserves when the length of a job is known, and settles when it is completed; `interventions` and `completion` refund
what ends otherwise. A reservation belongs to the period in which it was made, also when it is settled in the next one.

Whoever reserves, settles or refunds holds the job's lock, and takes the lock of the totals' row after it: so what a job
holds changes by one transaction at a time, and what an account holds as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from core import quota
from core.errors import NotFound, OverQuota, QuotaExceeded
from core.lanes import Tier
from core.quota import Balance, Cost, Entry, Period, Unit, limit_of, period_at
from core.store.tables import usage_events
from core.tiers import Tiers

# The database's clock says which period it is; now() is one moment for the whole transaction.
PERIOD = "date_trunc('month', now() AT TIME ZONE 'UTC')::date"

_TOTALS = sa.text(f"""
SELECT a.tier, now() AS now, t.unit, t.reserved, t.used, t.granted
FROM accounts a LEFT JOIN usage_totals t ON t.account_id = a.id AND t.period = {PERIOD}
WHERE a.id = :account
""")

# Makes the row if there is none, and locks it either way: of a hundred jobs that ask at once, each sees what those
# before it have reserved. The tier is the account's present one, so that a change of tier counts at once.
_LOCKED = sa.text(f"""
INSERT INTO usage_totals AS t (account_id, period, unit) VALUES (:account, {PERIOD}, :unit)
ON CONFLICT (account_id, period, unit) DO UPDATE SET reserved = t.reserved
RETURNING (SELECT tier FROM accounts WHERE id = t.account_id) AS tier, now() AS now, unit, reserved, used, granted
""")

_ADD = sa.text(f"""
UPDATE usage_totals SET reserved = reserved + :reserved, granted = granted + :granted
WHERE account_id = :account AND period = {PERIOD} AND unit = :unit
""")

# A job that is prepared over the end of a month holds something in both.
_HELD = sa.text(f"""
SELECT coalesce(sum(amount), 0) AS in_all, coalesce(sum(amount) FILTER (WHERE period = {PERIOD}), 0) AS now
FROM (
    SELECT period, CASE kind WHEN 'reserve' THEN amount ELSE -amount END AS amount FROM usage_events
    WHERE job_id = :job AND unit = :unit
) its
""")

# What a job still holds is read from the ledger: nothing after the first end, so a second one changes nothing. The
# caller holds the job's lock, so this statement sees all that was committed for the job before.
_END = sa.text("""
WITH held AS (
    SELECT account_id, period, unit, sum(CASE kind WHEN 'reserve' THEN amount ELSE -amount END) AS amount
    FROM usage_events WHERE job_id = :job
    GROUP BY account_id, period, unit
    HAVING sum(CASE kind WHEN 'reserve' THEN amount ELSE -amount END) > 0
), counted AS (
    UPDATE usage_totals t
    SET reserved = t.reserved - held.amount,
        used = t.used + CASE WHEN :kind = 'settle' THEN held.amount ELSE 0 END
    FROM held
    WHERE t.account_id = held.account_id AND t.period = held.period AND t.unit = held.unit
)
INSERT INTO usage_events (account_id, job_id, period, unit, kind, amount)
SELECT account_id, :job, period, unit, :kind, amount FROM held
""").bindparams(sa.bindparam("kind", type_=sa.Text))


@dataclass(frozen=True, slots=True)
class Usage:
    """An account in the present period: one balance for each unit."""

    tier: Tier
    period: Period
    balances: Mapping[Unit, Balance]


def of(connection: Connection, account_id: UUID, tiers: Tiers) -> Usage:
    """What an account has used, holds and has left. Raises `NotFound`."""
    rows = connection.execute(_TOTALS, {"account": account_id}).all()
    if not rows:
        raise NotFound("There is no such account.")
    known = {Unit(row.unit): _balance(row, tiers) for row in rows if row.unit is not None}
    tier = Tier(rows[0].tier)
    balances = {unit: known.get(unit) or Balance(unit, limit_of(tiers.plan(tier), unit)) for unit in Unit}
    return Usage(tier, period_at(rows[0].now), balances)


def check_left(connection: Connection, account_id: UUID, unit: Unit, tiers: Tiers) -> None:
    """Whether a job may be submitted, whose length nobody knows yet. Raises `QuotaExceeded` if nothing is left.

    Takes no lock: what several submits see at once is decided by `reserve`.
    """
    usage = of(connection, account_id, tiers)
    if usage.balances[unit].exhausted:
        raise _refusal(usage.balances[unit], usage.period)


def reserve(connection: Connection, account_id: UUID, job_id: UUID, cost: Cost, tiers: Tiers) -> None:
    """Hold what a job takes, in all, until it ends; of that, what it holds already stays where it is held.

    The caller holds the job's lock. Raises `OverQuota`.
    """
    row = _locked(connection, account_id, cost.unit)
    held = connection.execute(_HELD, {"job": job_id, "unit": cost.unit}).one()
    more = cost.amount - held.in_all
    if more <= 0:
        return
    others = replace(balance := _balance(row, tiers), reserved=balance.reserved - held.now)
    if not others.admits(more + held.now):
        raise OverQuota(quota.does_not_fit(cost, others, period_at(row.now)))
    _add(connection, account_id, Entry.RESERVE, Cost(cost.unit, more), job_id)


def reserve_again(connection: Connection, account_id: UUID, job_id: UUID, cost: Cost, tiers: Tiers) -> None:
    """`reserve` for somebody who asks and waits for an answer. Raises `QuotaExceeded`."""
    try:
        reserve(connection, account_id, job_id, cost, tiers)
    except OverQuota as error:
        left_s = of(connection, account_id, tiers).period.left_s
        raise QuotaExceeded(error.message, retry_after_s=left_s) from error


def settle(connection: Connection, job_id: UUID) -> None:
    """What the job holds is used. The caller holds its lock and completes it."""
    connection.execute(_END, {"job": job_id, "kind": Entry.SETTLE})


def refund(connection: Connection, job_id: UUID) -> None:
    """What the job holds, if anything, is free again. The caller holds its lock and ends or erases it."""
    connection.execute(_END, {"job": job_id, "kind": Entry.REFUND})


def lock_held(connection: Connection, account_id: UUID) -> None:
    """Lock the totals that hold anything, in one order; call it before several jobs of one account are refunded.

    They hold seconds and pages: two who end such jobs in different orders would wait for each other.
    """
    held = "SELECT FROM usage_totals WHERE account_id = :account AND reserved > 0 ORDER BY period, unit"
    connection.execute(sa.text(f"{held} FOR NO KEY UPDATE"), {"account": account_id})


def grant(connection: Connection, account_id: UUID, granted: Cost) -> None:
    """Add to an account's quota of the present period; a grant ends with the period."""
    _locked(connection, account_id, granted.unit)
    _add(connection, account_id, Entry.GRANT, granted, None)


def _locked(connection: Connection, account_id: UUID, unit: Unit) -> Row[Any]:
    return connection.execute(_LOCKED, {"account": account_id, "unit": unit}).one()


def _add(connection: Connection, account_id: UUID, kind: Entry, cost: Cost, job_id: UUID | None) -> None:
    """Write the event and count it in the totals, whose row the caller has locked."""
    amounts = {Entry.RESERVE: Decimal(0), Entry.GRANT: Decimal(0), kind: cost.amount}
    totals = {"reserved": amounts[Entry.RESERVE], "granted": amounts[Entry.GRANT]}
    connection.execute(_ADD, {"account": account_id, "unit": cost.unit, **totals})
    connection.execute(
        sa.insert(usage_events).values(
            account_id=account_id,
            job_id=job_id,
            period=sa.text(PERIOD),
            unit=cost.unit,
            kind=kind,
            amount=cost.amount,
        ),
    )


def _balance(row: Row[Any], tiers: Tiers) -> Balance:
    unit = Unit(row.unit)
    return Balance(unit, limit_of(tiers.plan(Tier(row.tier)), unit), row.granted, row.used, row.reserved)


def _refusal(balance: Balance, period: Period) -> QuotaExceeded:
    return QuotaExceeded(quota.nothing_left(balance, period), retry_after_s=period.left_s)
