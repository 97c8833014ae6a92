"""One strike: a job is held at a moment, the fault comes, and everything that was accepted is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from service.answers import JobStatus
from service.client import Client
from tests.faults.deployment import Deployment, submit
from tests.faults.faults import Fault
from tests.faults.moments import Moment, caught
from tests.faults.state import EVERY_S, accepts_work
from tests.waiting import until

WITHIN_S = 180.0


@dataclass(frozen=True)
class Struck:
    """The job that was struck, then those submitted before and after it; `at`: when, by the database's clock."""

    job_ids: list[UUID]
    at: object


def strike(whole: Deployment, client: Client, fault: Fault, moment: Moment) -> Struck:
    """Returns as soon as the service accepts work again."""
    if fault.fresh:
        whole.kill_children(fault.worker)
        whole.await_workers(fault.worker)
    others: list[UUID] = []

    def submit_last() -> UUID:
        others[:] = [submit(client) for _ in range(fault.others)]
        return submit(client)

    with caught(whole, moment, fault.stage, fault.worker, submit_last) as held:
        undo = fault.strike(whole, held)
    undo()
    until(lambda: accepts_work(whole), WITHIN_S, every_s=EVERY_S)
    return Struck([held.job_id, *others, submit(client)], held.at)


def ended(client: Client, job_ids: Sequence[UUID]) -> list[JobStatus]:
    """The jobs when all have ended, or as they stand when they should have."""
    found: list[JobStatus] = []

    def all_have() -> bool:
        found[:] = [client.job(str(job_id)) for job_id in job_ids]
        return all(job.ended for job in found)

    with suppress(AssertionError):
        until(all_have, WITHIN_S, every_s=EVERY_S)
    return found
