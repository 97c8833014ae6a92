"""A worker that finds an input longer than what is left fails the job, and says why; what fits goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core import tiers
from core.dispatch import Dispatcher
from core.job import JobStatus, Stage
from core.lanes import Tier
from core.store.blobs import input_key
from core.store.session import Database
from tests.conftest import write_tiers
from tests.integration import quota, work
from tests.integration.worker import SAMPLE, context, working
from workers.attempts import Attempts


@pytest.fixture
def attempts(dispatcher: Dispatcher, tmp_path: Path) -> Iterator[Attempts]:
    """A worker where every tier but `enterprise` includes a minute of audio."""
    plans = tiers.load(write_tiers(tmp_path / "tiers.toml", monthly_audio_s=60))
    plans = replace(plans, tiers={**plans.tiers, Tier.ENTERPRISE: work.TIERS.plan(Tier.ENTERPRISE)})
    own = context(dispatcher, tmp_path, tmp_path / "tiers.toml")
    with working(replace(own, tiers=plans, limits=replace(own.limits, chunk_audio_s=30))) as attempts:
        yield attempts


@pytest.mark.parametrize(
    ("tier", "status", "ending"),
    [(Tier.PRO, JobStatus.FAILED, "refund"), (Tier.ENTERPRISE, JobStatus.PROCESSING, "reserve")],
)
def test_a_recording_goes_on_only_if_it_fits(
    attempts: Attempts, database: Database, tier: Tier, status: JobStatus, ending: str
) -> None:
    job_id = work.submit(database, work.open_account(database, "grace", tier))
    attempts.context.blobs.put(input_key(job_id), SAMPLE.read_bytes())

    attempts.work(work.queued(database, job_id)[0])

    job = work.job(database, job_id)
    assert job.status is status
    assert [kind for kind, _ in quota.ledger(database, job_id)][-1] == ending
    assert {row.status for row in work.chunk_rows(database, job_id, Stage.TRANSCRIBE)} == {
        "queued" if job.error is None else "cancelled"
    }
    if job.error is not None:
        assert (job.error.code, job.error.stage) == ("quota_exceeded", Stage.PREPARE)
        assert re.search(r"takes at least [6-8]\d\.\d+ s of audio", job.error.message)
        assert "60 s" in job.error.message
