"""What a tier includes holds at the door and in the worker: upload, lane, retention, the longest recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from core.dispatch import Dispatcher
from core.errors import MediaTooLong
from core.lanes import Lane, Tier
from core.settings import Settings
from core.store.accounts import Account
from core.store.blobs import input_key
from core.store.session import Database
from service.app import create_app
from tests.integration import work
from tests.integration.worker import SAMPLE, context
from workers.lease import Lease
from workers.stages.prepare import prepare

RECORDING = {"file": ("talk.wav", b"RIFF")}
OWN = """
[tiers.free]
lane = "batch"
upload_max_bytes = 4
retention_days = 0.5
media_max_s = 60
"""


@pytest.fixture
def tiers_file(tmp_path: Path) -> Path:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    return file


@pytest.fixture
def api(settings: Settings, tiers_file: Path, key: str) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update={"tiers_file": tiers_file}))
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


def become(database: Database, tier: Tier) -> None:
    work.execute(database, "UPDATE accounts SET tier = :tier", tier=str(tier))


def test_each_tier_has_its_own_upload_limit(api: TestClient, database: Database) -> None:
    larger = {"file": ("talk.wav", b"RIFF!")}
    become(database, Tier.FREE)
    exactly, over = api.post("/v1/transcriptions", files=RECORDING), api.post("/v1/transcriptions", files=larger)
    become(database, Tier.PRO)
    paid = api.post("/v1/transcriptions", files=larger)

    assert (exactly.status_code, over.status_code, paid.status_code) == (202, 413, 202)
    assert over.json()["code"] == "upload_too_large"


@pytest.mark.parametrize(("tier", "days"), [(Tier.FREE, 0.5), (Tier.PRO, 30)])
def test_a_job_is_kept_as_long_as_its_tier_says(api: TestClient, database: Database, tier: Tier, days: float) -> None:
    become(database, tier)
    api.post("/v1/transcriptions", files=RECORDING)

    (kept,) = work.execute(database, "SELECT extract(epoch FROM expires_at - created_at) / 86400 AS days FROM jobs")
    assert float(kept.days) == pytest.approx(days)


def test_a_job_takes_the_lane_of_its_tier_and_may_not_ask_for_a_better_one(api: TestClient, database: Database) -> None:
    become(database, Tier.FREE)
    taken = api.post("/v1/transcriptions", files=RECORDING)
    refused = api.post("/v1/transcriptions", files=RECORDING, data={"lane": "standard"})

    assert taken.json()["lane"] == Lane.BATCH
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "ask for batch" in refused.json()["detail"]


@pytest.mark.parametrize("tier", [Tier.FREE, Tier.PRO])
def test_a_recording_may_be_as_long_as_the_tier_of_its_job_says(
    database: Database, dispatcher: Dispatcher, tmp_path: Path, tiers_file: Path, tier: Tier
) -> None:
    own = context(dispatcher, tmp_path, tiers_file)
    job_id = work.submit(database, work.open_account(database, "grace", tier))
    own.blobs.put(input_key(job_id), SAMPLE.read_bytes())
    become(database, Tier.ENTERPRISE)  # of the account, and too late for this job
    claimed = work.claim_one(database, job_id)

    with closing(own.bell):
        if tier is Tier.FREE:
            with pytest.raises(MediaTooLong, match="60 s"):
                prepare(own, claimed, Lease(claimed))
        else:
            assert prepare(own, claimed, Lease(claimed)).duration_s == pytest.approx(87, abs=1)


def test_a_claim_carries_the_tier_that_the_job_was_submitted_with(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    become(database, Tier.FREE)

    assert work.claim_one(database, job_id).tier is Tier.PRO
