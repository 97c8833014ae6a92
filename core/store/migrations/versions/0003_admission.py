"""Jobs beyond an account's concurrency wait without chunks, and a failed job can be queued again.

The CHECKs and triggers of migration 0001 stay; the transitions are written out anew.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = """
ALTER TABLE jobs
    ADD COLUMN concurrent_jobs integer CHECK (concurrent_jobs > 0),   -- of its account's plan when it was submitted
    ADD COLUMN admitted_at timestamptz;                               -- null: it waits until others have ended
UPDATE jobs SET
    concurrent_jobs = CASE tier WHEN 'free' THEN 2 WHEN 'pro' THEN 10 ELSE 100 END,   -- of its plan now
    admitted_at = created_at;
ALTER TABLE jobs ALTER COLUMN concurrent_jobs SET NOT NULL;
ALTER TABLE jobs ADD CHECK (status NOT IN ('processing', 'completed', 'failed') OR admitted_at IS NOT NULL);
"""

INDEXES = """
CREATE INDEX jobs_admitted ON jobs (account_id, lane)
    WHERE admitted_at IS NOT NULL AND status IN ('queued', 'processing');
CREATE INDEX jobs_held ON jobs (account_id, lane, id) WHERE admitted_at IS NULL AND status = 'queued';
"""

TRANSITIONS = """
DROP TRIGGER jobs_transitions ON jobs;
CREATE TRIGGER jobs_transitions BEFORE UPDATE OF status ON jobs
FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
EXECUTE FUNCTION refuse_unknown_transition(
    'queued>processing', 'queued>cancelled',
    'processing>completed', 'processing>failed', 'processing>cancelled',
    'failed>queued');

DROP TRIGGER chunks_transitions ON chunks;
CREATE TRIGGER chunks_transitions BEFORE UPDATE OF status ON chunks
FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
EXECUTE FUNCTION refuse_unknown_transition(
    'queued>running', 'queued>cancelled',
    'running>done', 'running>failed', 'running>cancelled', 'running>queued',
    'failed>queued', 'cancelled>queued');
"""


def upgrade() -> None:
    """Every job that is there has been admitted."""
    for part in (COLUMNS, INDEXES, TRANSITIONS):
        op.get_bind().exec_driver_sql(part)
