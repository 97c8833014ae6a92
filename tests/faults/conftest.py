"""One deployment for all faults: each leaves it as it found it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from service.client import Client
from tests.faults.deployment import Deployment, deployment

RECORDING = Path(__file__).parents[2] / "examples" / "tides.ogg"


@dataclass(frozen=True)
class Undisturbed:
    """A deployment, and a job of the sample recording that nothing happened to."""

    whole: Deployment
    job_id: UUID


def submit(client: Client) -> UUID:
    """The sample recording, for the fake engine."""
    return UUID(client.transcribe(RECORDING, {"model": "fake"}).id)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    with deployment(tmp_path_factory.mktemp("deployment")) as whole, whole.client() as client:
        job = client.wait(str(submit(client)))
        assert job.status == "completed", job.error
        yield Undisturbed(whole, UUID(job.id))
