"""An account that is being erased lets nobody in, and lets its ledger go in slices.

Chunks and passages go with their job and its account: that they refer to the account as well made the end of an account
look through all chunks and all passages that there are.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

ERASING = "ALTER TABLE accounts ADD COLUMN erasing_since timestamptz"

REFER_TO_THE_JOB = """
ALTER TABLE chunks DROP CONSTRAINT chunks_account_id_fkey;
ALTER TABLE passages DROP CONSTRAINT passages_account_id_fkey;
"""

# Of an account that is being erased nothing is brought back or counted any more. With the cascade alone all of its
# lines would go in one transaction, which may take longer than any may.
ERASED = """
CREATE OR REPLACE FUNCTION refuse_to_change_the_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (
        SELECT FROM accounts WHERE id = OLD.account_id AND erasing_since IS NULL
    ) THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'DELETE' AND OLD.period < date_trunc('month', now() AT TIME ZONE 'UTC')::date - interval '1 month'
       AND EXISTS (SELECT FROM usage_reports WHERE account_id = OLD.account_id AND period = OLD.period) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'usage_events is append-only; add an event instead';
END $$;
"""


def upgrade() -> None:
    """Nobody is being erased yet."""
    for part in (ERASING, REFER_TO_THE_JOB, ERASED):
        op.get_bind().exec_driver_sql(part)
