"""What Beat's upkeep has done, daily reports, a way out for the ledger of closed months, and the database's own id."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

UPKEEP = """
CREATE TABLE upkeep (
    chore text PRIMARY KEY,
    started_at timestamptz NOT NULL,                 -- of the last run, as all before `succeeded_at`
    duration_s double precision NOT NULL CHECK (duration_s >= 0),
    items bigint NOT NULL CHECK (items >= 0),        -- removed, corrected or written
    error text,                                      -- NULL if it succeeded
    resume text,                                     -- where the next run goes on; NULL if it came to the end
    succeeded_at timestamptz,                        -- the last run that did
    runs bigint NOT NULL,
    failures bigint NOT NULL,
    items_total bigint NOT NULL
);
"""

REPORTS = """
CREATE TABLE daily_reports (
    day date PRIMARY KEY,                            -- in UTC
    submitted integer NOT NULL,
    completed integer NOT NULL,
    failed integer NOT NULL,
    cancelled integer NOT NULL,
    audio_s numeric(14, 3) NOT NULL,
    pages numeric(14, 3) NOT NULL,
    failures jsonb NOT NULL,                         -- how many of each error code
    wait_p95_s jsonb NOT NULL,                       -- of each lane in which a job was started
    written_at timestamptz NOT NULL DEFAULT now()
);
"""

# A second way out, beside the account's own end: what a report has summed up, and nobody reads any more. Reconciling
# reads this month and the one before.
CLOSED = """
CREATE OR REPLACE FUNCTION refuse_to_change_the_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM accounts WHERE id = OLD.account_id) THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'DELETE' AND OLD.period < date_trunc('month', now() AT TIME ZONE 'UTC')::date - interval '1 month'
       AND EXISTS (SELECT FROM usage_reports WHERE account_id = OLD.account_id AND period = OLD.period) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'usage_events is append-only; add an event instead';
END $$;
"""


INSTALLATION = """
CREATE TABLE installation (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
CREATE UNIQUE INDEX installation_is_one ON installation ((true));
INSERT INTO installation DEFAULT VALUES;
"""


def upgrade() -> None:
    """No chore has run yet, no day is reported, and the database has an id."""
    for part in (UPKEEP, REPORTS, CLOSED, INSTALLATION):
        op.get_bind().exec_driver_sql(part)
