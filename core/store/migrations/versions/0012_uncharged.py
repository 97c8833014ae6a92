"""A chunk counts the attempts that it was not charged for by themselves: trying its job again begins anew."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Nothing was waited for yet."""
    op.get_bind().exec_driver_sql("ALTER TABLE chunks ADD COLUMN uncharged integer NOT NULL DEFAULT 0")
