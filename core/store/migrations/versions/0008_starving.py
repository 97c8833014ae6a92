"""When each queue was last served, so that only the chunks of one that starves move up."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

SERVED = """
ALTER TABLE account_turns ADD COLUMN served_at timestamptz NOT NULL DEFAULT now();
"""


def upgrade() -> None:
    """Every queue counts as just served."""
    op.get_bind().exec_driver_sql(SERVED)
