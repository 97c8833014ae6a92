"""What the query worker makes of a request to re-rank: for whom, for how long, and with which model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from core.dispatch import Dispatcher
from core.errors import Misconfigured, SearchUnavailable
from core.store.accounts import Account
from core.store.session import Database
from models.pool import Pool
from service import query_worker
from service.reranking import RerankRequest, scores_of
from tests import cross_encoder
from tests.conftest import write_tiers
from tests.integration import work
from tests.integration.test_reranking import TEXTS, store
from tests.integration.test_tiers_hold import context
from workers.engines import Loader, Weights
from workers.reranking import rerank
from workers.stages.context import Context

PLENTY_S = 120


@pytest.fixture
def worker(dispatcher: Dispatcher, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """One with a cross-encoder in the operator's folder."""
    models = tmp_path_factory.mktemp("models")
    cross_encoder.write(models / "tiny", tmp_path_factory.mktemp("weights"))
    weights = Weights(models, tmp_path, download=False)
    real = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml"))
    return replace(real, pool=Pool(Loader(weights, "cpu", 1, 0), math.inf), rerank_model="tiny")


@pytest.fixture
def ids(database: Database, account: Account) -> list[int]:
    store(database, account, TEXTS)
    return [row[0] for row in work.execute(database, "SELECT id FROM passages ORDER BY id")]


def test_every_passage_of_the_account_gets_a_score_that_travels_as_json(
    worker: Context, account: Account, ids: list[int]
) -> None:
    answer = json.loads(json.dumps(rerank(worker, account.id, "moon", [*ids, 10**9], PLENTY_S)))

    scores = dict(answer["scores"])
    assert answer["model"] == "tiny"
    assert sorted(scores) == ids
    assert all(0 < score < 1 for score in scores.values())
    assert len(set(scores.values())) == len(ids)


def test_nothing_is_read_of_another_account(worker: Context, database: Database, ids: list[int]) -> None:
    other = work.open_account(database, "bob")
    assert rerank(worker, other.id, "moon", ids, PLENTY_S)["scores"] == []


def test_it_stops_when_nobody_waits_any_more(worker: Context, account: Account, ids: list[int]) -> None:
    assert rerank(worker, account.id, "moon", ids, 0.0)["scores"] is None
    assert rerank(worker, account.id, "moon", ids, PLENTY_S)["scores"]


def test_a_worker_without_a_model_says_so(worker: Context, account: Account, ids: list[int]) -> None:
    with pytest.raises(Misconfigured, match="not for this query worker"):
        rerank(replace(worker, rerank_model=""), account.id, "moon", ids, PLENTY_S)


def test_a_worker_that_gave_up_is_no_answer(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any) -> Mapping[str, Any]:
        return {"model": "tiny", "scores": None}

    monkeypatch.setattr(query_worker, "ask", ask)
    with pytest.raises(SearchUnavailable):
        scores_of(Celery(), RerankRequest(account.id, "moon", [1]), 1.0)
