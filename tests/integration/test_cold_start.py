"""A chunk that waits for its model says so, and what it computes is not mixed up with that."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.dispatch import Dispatcher
from core.job import JobKind, Stage
from core.store.accounts import Account
from core.store.session import Database
from models.fake import FakeEmbedder
from models.pool import Pool
from models.registry import ModelKind
from tests.conftest import write_tiers
from tests.integration import work
from tests.integration.worker import context, working
from workers.attempts import Attempts

LOAD_S = 0.3


def slowly(name: str, kind: ModelKind) -> FakeEmbedder:
    time.sleep(LOAD_S)
    return FakeEmbedder()


@pytest.fixture
def attempts(database: Database, dispatcher: Dispatcher, tmp_path: Path) -> Iterator[Attempts]:
    stores = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml"))
    with working(replace(stores, pool=Pool(slowly, math.inf))) as attempts:
        yield attempts


def test_the_first_chunk_of_a_process_waits_for_its_model_and_the_next_does_not(
    attempts: Attempts, database: Database, account: Account
) -> None:
    job_id = work.submit(database, account, JobKind.DOCUMENT)
    for chunk_id in work.prepare(database, job_id, 2):
        attempts.work(chunk_id)

    first, second = work.chunk_rows(database, job_id, Stage.EMBED)
    in_work_s = (first.finished_at - first.started_at).total_seconds()
    assert first.cold_start_s >= LOAD_S
    assert 0 < first.compute_s <= in_work_s - LOAD_S
    assert second.cold_start_s == 0
    assert work.job(database, job_id).cold_start_s == first.cold_start_s
