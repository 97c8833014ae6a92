"""Chunks of a recording are done before anybody knows how many there are: it is transcribed while it is prepared."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """The rule holds from when the total is known. What was held in two months is used in both."""
    connection = op.get_bind()
    connection.exec_driver_sql("ALTER TABLE jobs DROP CONSTRAINT jobs_check")
    connection.exec_driver_sql("ALTER TABLE jobs ADD CHECK (chunks_done >= 0 AND chunks_done <= chunks_total)")
    connection.exec_driver_sql("DROP INDEX usage_events_settled")
    connection.exec_driver_sql(
        "CREATE UNIQUE INDEX usage_events_settled ON usage_events (job_id, period) WHERE kind = 'settle'"
    )
