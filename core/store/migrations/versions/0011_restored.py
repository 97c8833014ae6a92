"""When a database first had a media store of its own, and when it was restored."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Nothing is known of either: the next look at the media store will tell."""
    for column in ("media_since", "restored_at"):
        op.get_bind().exec_driver_sql(f"ALTER TABLE installation ADD COLUMN {column} timestamptz")
