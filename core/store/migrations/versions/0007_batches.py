"""Many inputs submitted by one request: a batch, its jobs, and the items of which no job was made."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

BATCHES = """
CREATE TABLE batches (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    lane text NOT NULL CHECK (lane IN ('express', 'standard', 'batch')),
    total integer NOT NULL CHECK (total > 0),                     -- items that were sent
    refused jsonb NOT NULL CHECK (jsonb_array_length(refused) <= total),
    created_at timestamptz NOT NULL DEFAULT now(),
    cancelled_at timestamptz,
    expires_at timestamptz NOT NULL                               -- it goes when its last job has gone as well
);
CREATE INDEX batches_by_expiry ON batches (expires_at);
CREATE INDEX batches_by_account ON batches (account_id);          -- for the cascade

ALTER TABLE jobs
    ADD COLUMN batch_id uuid REFERENCES batches,
    ADD COLUMN batch_index integer CHECK (batch_index >= 0),      -- of its item, from 0
    ADD CHECK ((batch_id IS NULL) = (batch_index IS NULL));
CREATE UNIQUE INDEX jobs_by_batch ON jobs (batch_id, batch_index) WHERE batch_id IS NOT NULL;
"""

# An answer is about a job or about a batch, and goes with it.
KEYS = """
ALTER TABLE idempotency_keys
    ADD COLUMN batch_id uuid REFERENCES batches ON DELETE CASCADE,
    DROP CONSTRAINT idempotency_keys_check,
    ADD CHECK (num_nulls(fingerprint, status, location, body) IN (0, 4)
               AND num_nonnulls(job_id, batch_id) = CASE WHEN status IS NULL THEN 0 ELSE 1 END);
CREATE INDEX idempotency_keys_by_batch ON idempotency_keys (batch_id);
"""


def upgrade() -> None:
    """Jobs that are there belong to no batch."""
    for part in (BATCHES, KEYS):
        op.get_bind().exec_driver_sql(part)
