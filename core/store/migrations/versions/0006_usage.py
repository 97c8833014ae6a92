"""The ledger of what accounts reserve and use, its totals, and a report for each period that has ended.

Jobs that were prepared before this have no reservation: they cost nothing.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

EVENTS = """
CREATE TABLE usage_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    job_id uuid,                                     -- refers to no row: erasing a job does not erase what it used
    period date NOT NULL CHECK (extract(day FROM period) = 1),     -- a calendar month in UTC
    unit text NOT NULL CHECK (unit IN ('audio_s', 'pages')),
    kind text NOT NULL CHECK (kind IN ('reserve', 'settle', 'refund', 'grant')),
    amount numeric(14, 3) NOT NULL CHECK (amount > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'grant') = (job_id IS NULL))
);
CREATE INDEX usage_events_by_period ON usage_events (period, account_id, unit);
CREATE INDEX usage_events_by_job ON usage_events (job_id) WHERE job_id IS NOT NULL;
-- A job completes once, however often it was tried.
CREATE UNIQUE INDEX usage_events_settled ON usage_events (job_id) WHERE kind = 'settle';
"""

# The one way out is the cascade of deleting the account itself: whoever is to be forgotten is forgotten wholly. The
# cascade runs when the account's row is gone already, which is how it is told from a DELETE of somebody's lines.
APPEND_ONLY = """
CREATE FUNCTION refuse_to_change_the_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM accounts WHERE id = OLD.account_id) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'usage_events is append-only; add an event instead';
END $$;

CREATE TRIGGER usage_events_append_only BEFORE UPDATE OR DELETE ON usage_events
FOR EACH ROW EXECUTE FUNCTION refuse_to_change_the_ledger();
CREATE TRIGGER usage_events_not_truncated BEFORE TRUNCATE ON usage_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_ledger();
"""

# The CHECKs are a second lock on the rules: a reservation that was given back twice would take `reserved` below zero.
TOTALS = """
CREATE TABLE usage_totals (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    period date NOT NULL,
    unit text NOT NULL CHECK (unit IN ('audio_s', 'pages')),
    reserved numeric(14, 3) NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    used numeric(14, 3) NOT NULL DEFAULT 0 CHECK (used >= 0),
    granted numeric(14, 3) NOT NULL DEFAULT 0 CHECK (granted >= 0),
    PRIMARY KEY (account_id, period, unit)
);
CREATE INDEX usage_totals_by_period ON usage_totals (period);
"""

REPORTS = """
CREATE TABLE usage_reports (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    period date NOT NULL,
    tier text NOT NULL,                              -- when the period was closed
    jobs integer NOT NULL,                           -- that were completed
    used_audio_s numeric(14, 3) NOT NULL,
    used_pages numeric(14, 3) NOT NULL,
    granted_audio_s numeric(14, 3) NOT NULL,
    granted_pages numeric(14, 3) NOT NULL,
    price_weight numeric NOT NULL,                   -- of the tier
    weighted_audio_s numeric NOT NULL,
    weighted_pages numeric NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, period)
);
"""


def upgrade() -> None:
    """Everybody begins with an empty ledger."""
    for part in (EVENTS, APPEND_ONLY, TOTALS, REPORTS):
        op.get_bind().exec_driver_sql(part)
