"""Where a job that waits to begin stands among the others of its lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

# Accounts take turns, so every account's oldest job comes before any account's second.
_POSITIONS = sa.text("""
WITH waiting AS (
    SELECT id, lane, account_id, row_number() OVER (PARTITION BY lane, account_id ORDER BY id) AS turn
    FROM jobs
    WHERE status = 'queued' AND lane IN (SELECT lane FROM jobs WHERE id = ANY(:ids) AND status = 'queued')
), placed AS (
    SELECT id, row_number() OVER (PARTITION BY lane ORDER BY turn, account_id) AS position FROM waiting
)
SELECT id, position FROM placed WHERE id = ANY(:ids)
""")


def queue_positions(connection: Connection, job_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """Where each of these jobs stands among all that wait to begin in its lane, from 1; those that do not wait lack."""
    rows = connection.execute(_POSITIONS, {"ids": list(job_ids)})
    return {row.id: row.position for row in rows}
