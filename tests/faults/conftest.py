"""One deployment for all faults: each leaves it as it found it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest

from tests.faults.deployment import Deployment, deployment, submit


@dataclass(frozen=True)
class Undisturbed:
    """A deployment, and a job of the sample recording that nothing happened to."""

    whole: Deployment
    job_id: UUID


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    with deployment(tmp_path_factory.mktemp("deployment")) as whole, whole.client() as client:
        job = client.wait(str(submit(client)))
        assert job.status == "completed", job.error
        yield Undisturbed(whole, UUID(job.id))
