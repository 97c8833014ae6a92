"""The end of the ledger's lines: what a report has summed up and nobody reads any more goes after some years.

`workers.accounting` calls it. The report of the month (`usage_reports`) stays. A trigger refuses to delete any other
event, so a fault here could not take what is still counted.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.store.usage import PERIOD

_OLD = f"""
WHERE period < {PERIOD} - make_interval(months => :keep_months)
  AND EXISTS (SELECT FROM usage_reports r WHERE r.account_id = old.account_id AND r.period = old.period)
"""

_FORGET = sa.text(f"""
DELETE FROM usage_events WHERE id IN (
    SELECT id FROM usage_events old {_OLD} ORDER BY period LIMIT :at_most FOR UPDATE SKIP LOCKED
)
""")

# The sums of a month go after the last of its lines; reconciling, which compares the two, does not look so far back.
_FORGET_TOTALS = sa.text(f"""
DELETE FROM usage_totals old {_OLD}
  AND NOT EXISTS (
      SELECT FROM usage_events e
      WHERE e.account_id = old.account_id AND e.period = old.period AND e.unit = old.unit
  )
""")


def forget(connection: Connection, *, keep_months: int, at_most: int) -> int:
    """Delete some of the events of closed months that ended more than `keep_months` ago; returns how many."""
    return connection.execute(_FORGET, {"keep_months": keep_months, "at_most": at_most}).rowcount


def forget_totals(connection: Connection, *, keep_months: int) -> int:
    """Delete the sums of which no event is left; returns how many."""
    return connection.execute(_FORGET_TOTALS, {"keep_months": keep_months}).rowcount
