"""What Beat does with the ledger: totals are held to it, and a month that has ended becomes one report an account.

Both may run at any time, twice, and from two Beats at once. `workers.accounting` calls them; `usage` writes the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.lanes import Tier
from core.quota import Unit
from core.store.usage import PERIOD
from core.tiers import Tiers

_LEDGER = """
SELECT account_id, period, unit,
       sum(CASE kind WHEN 'reserve' THEN amount WHEN 'grant' THEN 0 ELSE -amount END) AS reserved,
       sum(CASE kind WHEN 'settle' THEN amount ELSE 0 END) AS used,
       sum(CASE kind WHEN 'grant' THEN amount ELSE 0 END) AS granted
FROM usage_events
"""

# An event and its totals are one transaction, and this statement sees one moment: whatever differs is wrong.
# This month's and the one before: what is older has been closed, and is not looked at for ever. Not that of an account
# that is being erased, whose events go slice by slice.
_OFF = sa.text(f"""
SELECT account_id, period, unit
FROM ({_LEDGER} WHERE period >= {PERIOD} - interval '1 month' GROUP BY account_id, period, unit) AS ledger
FULL JOIN (SELECT * FROM usage_totals WHERE period >= {PERIOD} - interval '1 month') AS totals
    USING (account_id, period, unit)
WHERE (totals.reserved, totals.used, totals.granted) IS DISTINCT FROM
      (coalesce(ledger.reserved, 0), coalesce(ledger.used, 0), coalesce(ledger.granted, 0))
  AND account_id NOT IN (SELECT id FROM accounts WHERE erasing_since IS NOT NULL)
ORDER BY account_id, period, unit
""")

_LOCK = sa.text("""
INSERT INTO usage_totals AS t (account_id, period, unit) VALUES (:account, :period, :unit)
ON CONFLICT (account_id, period, unit) DO UPDATE SET reserved = t.reserved
RETURNING reserved, used, granted
""")

_SUMS = sa.text(f"""
SELECT coalesce(sum(reserved), 0) AS reserved, coalesce(sum(used), 0) AS used, coalesce(sum(granted), 0) AS granted
FROM ({_LEDGER} WHERE account_id = :account AND period = :period AND unit = :unit
      GROUP BY account_id, period, unit) AS ledger
""")

_CORRECT = sa.text("""
UPDATE usage_totals SET reserved = :reserved, used = :used, granted = :granted
WHERE account_id = :account AND period = :period AND unit = :unit
""")

# From the ledger, not from its totals. A period is closed for an account when nothing is held in it any more: until
# then a job that was prepared in it may still be settled. An hour lets transactions end that began in the old month.
_CLOSE = sa.text(f"""
WITH ended AS (
    SELECT DISTINCT account_id, period FROM usage_totals t
    WHERE period < date_trunc('month', (now() - interval '1 hour') AT TIME ZONE 'UTC')::date
      AND NOT EXISTS (SELECT FROM usage_reports r WHERE r.account_id = t.account_id AND r.period = t.period)
), ledger AS (
    SELECT account_id, period, l.unit, l.reserved, l.used, l.granted
    FROM ended JOIN LATERAL (
        {_LEDGER} WHERE account_id = ended.account_id AND period = ended.period GROUP BY account_id, period, unit
    ) AS l USING (account_id, period)
), summed AS (
    SELECT account_id, period,
           coalesce(sum(used) FILTER (WHERE unit = 'audio_s'), 0) AS used_audio_s,
           coalesce(sum(used) FILTER (WHERE unit = 'pages'), 0) AS used_pages,
           coalesce(sum(granted) FILTER (WHERE unit = 'audio_s'), 0) AS granted_audio_s,
           coalesce(sum(granted) FILTER (WHERE unit = 'pages'), 0) AS granted_pages
    FROM ledger GROUP BY account_id, period HAVING sum(reserved) = 0
)
INSERT INTO usage_reports (account_id, period, tier, jobs, used_audio_s, used_pages, granted_audio_s, granted_pages,
                           price_weight, weighted_audio_s, weighted_pages)
SELECT s.account_id, s.period, a.tier,
       (SELECT count(*) FROM usage_events e
        WHERE e.account_id = s.account_id AND e.period = s.period AND e.kind = 'settle'),
       s.used_audio_s, s.used_pages, s.granted_audio_s, s.granted_pages,
       w.weight, s.used_audio_s * w.weight, s.used_pages * w.weight
FROM summed s
JOIN accounts a ON a.id = s.account_id
JOIN unnest(CAST(:tiers AS text[]), CAST(:weights AS numeric[])) AS w (tier, weight) ON w.tier = a.tier
ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class Sums:
    """What an account holds, has used and was granted, of one unit in one period."""

    reserved: Decimal
    used: Decimal
    granted: Decimal


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the totals. `period` is the first day of its month."""

    account_id: UUID
    period: date
    unit: Unit


@dataclass(frozen=True, slots=True)
class Correction:
    """Totals that were not what the ledger says, and now are."""

    was: Sums
    now: Sums


def off_the_ledger(connection: Connection) -> list[Place]:
    """The totals of this month and the one before that differ from the ledger: none, unless something went wrong."""
    return [Place(row.account_id, row.period, Unit(row.unit)) for row in connection.execute(_OFF)]


def correct(connection: Connection, place: Place) -> Correction | None:
    """Write into the totals what the ledger says; None if somebody else has done so meanwhile."""
    where = {"account": place.account_id, "period": place.period, "unit": place.unit}
    was = Sums(*connection.execute(_LOCK, where).one())
    # A statement of its own, after the lock: it sees what those have written who held the lock before.
    now = Sums(*connection.execute(_SUMS, where).one())
    if was == now:
        return None
    values: Mapping[str, Decimal] = {"reserved": now.reserved, "used": now.used, "granted": now.granted}
    connection.execute(_CORRECT, {**where, **values})
    return Correction(was, now)


def close_periods(connection: Connection, tiers: Tiers) -> int:
    """Report what each account used in each month that has ended and is not reported yet; returns how many reports."""
    weights = {str(tier): Decimal(str(tiers.plan(tier).price_weight)) for tier in Tier}
    return connection.execute(_CLOSE, {"tiers": list(weights), "weights": list(weights.values())}).rowcount
