"""What is measured: how fast each device transcribes, and which jobs wait in a lane."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

SPEEDS = """
CREATE TABLE speeds (
    model text NOT NULL,                                          -- as the job asked; '' is the service's default
    device text NOT NULL,
    lane text NOT NULL CHECK (lane IN ('express', 'standard', 'batch')),
    speed double precision NOT NULL CHECK (speed > 0),            -- seconds of speech a second, newer ones weigh more
    n_chunks bigint NOT NULL DEFAULT 1,
    measured_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, device, lane)
);
"""

QUEUED = """
CREATE INDEX jobs_queued ON jobs (lane, account_id, id) WHERE status = 'queued';
"""


def upgrade() -> None:
    """Nothing is measured yet."""
    for part in (SPEEDS, QUEUED):
        op.get_bind().exec_driver_sql(part)
