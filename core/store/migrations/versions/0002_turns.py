"""What waits is found by index in the order of turns, and who was served last is remembered.

A queued chunk is one of three: waiting (in `chunks_waiting`), under way to a worker until `dispatched_until`, or
pausing after a failure until `retry_at`.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

COLUMNS = """
ALTER TABLE chunks RENAME COLUMN available_at TO waiting_since;   -- in its present queue
ALTER TABLE chunks ADD COLUMN retry_at timestamptz;
UPDATE chunks SET retry_at = waiting_since WHERE status = 'queued' AND waiting_since > now();
"""

INDEXES = """
DROP INDEX chunks_waiting;
CREATE INDEX chunks_waiting ON chunks (queue, account_id, job_id, ordinal)
    WHERE status = 'queued' AND dispatched_until IS NULL AND retry_at IS NULL;
CREATE INDEX chunks_ageing ON chunks (queue, waiting_since) WHERE status = 'queued' AND retry_at IS NULL;
CREATE INDEX chunks_dispatched ON chunks (dispatched_until) WHERE status = 'queued' AND dispatched_until IS NOT NULL;
CREATE INDEX chunks_retrying ON chunks (retry_at) WHERE status = 'queued' AND retry_at IS NOT NULL;
"""

# Ids, not references: a turn that points at an account or a job that is gone is still a place in the circle.
TURNS = """
CREATE TABLE account_turns (
    queue text PRIMARY KEY,
    account_id uuid NOT NULL                                      -- served last in this queue
);
CREATE TABLE job_turns (
    queue text NOT NULL,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    job_id uuid NOT NULL,                                         -- served last of this account's in this queue
    PRIMARY KEY (queue, account_id)
);
"""


def upgrade() -> None:
    """From one chunk at a time found by its age to turns found by index."""
    for part in (COLUMNS, INDEXES, TURNS):
        op.get_bind().exec_driver_sql(part)
