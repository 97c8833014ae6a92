"""What chunks wait for models to be loaded is kept beside what they compute."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

JOBS = "ALTER TABLE jobs ADD COLUMN cold_start_s double precision NOT NULL DEFAULT 0 CHECK (cold_start_s >= 0)"
CHUNKS = "ALTER TABLE chunks ADD COLUMN cold_start_s double precision CHECK (cold_start_s >= 0)"


def upgrade() -> None:
    """Until now both were one figure, `compute_s`, and it stays as it was."""
    for part in (JOBS, CHUNKS):
        op.get_bind().exec_driver_sql(part)
