"""How a deployment and its chunks stand, for a test that waits for a state."""

from __future__ import annotations

from uuid import UUID

import httpx

from tests.faults.deployment import Deployment
from tests.faults.moments import Caught
from tests.waiting import until

EVERY_S = 0.1
"""The deployment shares the machine with whoever asks it."""


def await_end(whole: Deployment, job_id: UUID, within_s: float = 120) -> None:
    """Wait until a job has ended, however."""
    with whole.client() as client:
        until(lambda: client.job(str(job_id)).ended, within_s, every_s=EVERY_S)


def charged(whole: Deployment, caught: Caught) -> tuple[str, int]:
    """Status and failures of the chunk."""
    query = "SELECT status, failures FROM chunks WHERE id = %s"
    with whole.database() as database, database.transaction() as connection:
        row = connection.exec_driver_sql(query, (caught.chunk_id,)).one()
    return row.status, row.failures


def attempts(whole: Deployment, chunk_id: UUID) -> int:
    with whole.database() as database, database.transaction() as connection:
        found = connection.exec_driver_sql("SELECT attempt FROM chunks WHERE id = %s", (chunk_id,)).scalar_one()
    return int(found)


def pauses(whole: Deployment, job_id: UUID) -> bool:
    """Whether a chunk of the job waits after a failure."""
    query = "SELECT FROM chunks WHERE job_id = %s AND retry_at > now()"
    with whole.database() as database, database.transaction() as connection:
        return bool(connection.exec_driver_sql(query, (job_id,)).all())


def held_still(whole: Deployment, job_id: UUID) -> bool:
    """Whether somebody holds the job's row who asks the server for nothing."""
    idle = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    row = "SELECT FROM jobs WHERE id = %s FOR UPDATE SKIP LOCKED"
    with whole.database() as database, database.transaction() as connection:
        stands_still = connection.exec_driver_sql(idle).all()
        return bool(stands_still) and not connection.exec_driver_sql(row, (job_id,)).all()


def accepts_work(whole: Deployment) -> bool:
    """The API answers, and so does the database behind it."""
    headers = {"Authorization": f"Bearer {whole.key}"}
    try:
        return httpx.get(f"{whole.url}/v1/usage", headers=headers, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
