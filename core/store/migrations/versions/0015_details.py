"""Inputs say what they are, and how far they are fetched; passages know their place in the text."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

DETAILS = "ALTER TABLE jobs ADD COLUMN details jsonb NOT NULL DEFAULT '{}'"
STAGE_PERCENT = "ALTER TABLE jobs ADD COLUMN stage_percent smallint CHECK (stage_percent BETWEEN 0 AND 100)"
CONTENT_KEY = "ALTER TABLE jobs ADD COLUMN content_key bytea"
BY_CONTENT = """
    CREATE INDEX jobs_by_content ON jobs (account_id, content_key)
    WHERE content_key IS NOT NULL AND status = 'completed'
"""
PASSAGES = """
    ALTER TABLE passages
        ADD COLUMN page_label text,
        ADD COLUMN char_start integer,
        ADD COLUMN char_end integer,
        ADD COLUMN section text,
        ADD COLUMN speaker text,
        ADD CHECK (char_start >= 0 AND char_end >= char_start)
"""
BY_TEXT = "CREATE INDEX passages_by_text ON passages (account_id, md5(text))"


def upgrade() -> None:
    """What is there already goes without: it is not read again."""
    for part in (DETAILS, STAGE_PERCENT, CONTENT_KEY, BY_CONTENT, PASSAGES, BY_TEXT):
        op.get_bind().exec_driver_sql(part)
