"""The keys under which clients repeat a submit, and the answers that they get again."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

IDEMPOTENCY_KEYS = """
-- Without an answer the key is in flight: the request `token` holds it until `expires_at`, and renews that while its
-- body arrives. With an answer it stands until `expires_at`. Erasing a job erases its answer and frees the key.
CREATE TABLE idempotency_keys (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    token uuid NOT NULL,
    fingerprint bytea CHECK (length(fingerprint) = 32),          -- SHA-256 of route, options and file
    job_id uuid REFERENCES jobs ON DELETE CASCADE,
    status integer,
    location text,
    body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, key),
    CHECK (num_nulls(fingerprint, job_id, status, location, body) IN (0, 5))
);
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);
CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job_id);  -- for the cascade
"""


def upgrade() -> None:
    """Add the table."""
    op.get_bind().exec_driver_sql(IDEMPOTENCY_KEYS)
