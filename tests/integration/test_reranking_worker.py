"""What the query worker makes of a request to re-rank: for whom, for how long, and with which model."""

from __future__ import annotations

import itertools
import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from celery import Celery
from numpy.typing import NDArray
from structlog.testing import capture_logs

from core.dispatch import Dispatcher
from core.errors import Misconfigured, SearchUnavailable
from core.store.accounts import Account
from core.store.session import Database
from models.engine import Engine
from models.errors import WeightsMissing
from models.pool import Pool
from models.registry import ModelKind
from models.reranker import RerankingEngine
from service import query_worker
from service.reranking import RerankRequest, scores_of
from tests import cross_encoder
from tests.conftest import write_tiers
from tests.integration import work
from tests.integration.worker import context
from tests.waiting import until
from workers.engines import Loader, Weights
from workers.loading import AGAIN_S, Reranker
from workers.reranking import rerank
from workers.stages.context import Context

PLENTY_S = 120.0
TEXTS = ["The tides follow the moon.", "Under the moon, bread rises near the oven.", "No moon tonight."]


class FakeReranker:
    """One that likes every text alike."""

    def scores(self, query: str, texts: Sequence[str], *, on_batch: object = None) -> NDArray[np.float32]:
        return np.full(len(texts), 0.5, np.float32)

    def close(self) -> None: ...


def in_time() -> float:
    return time.time() + PLENTY_S


@pytest.fixture
def worker(dispatcher: Dispatcher, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """One with a cross-encoder in the operator's folder."""
    models = tmp_path_factory.mktemp("models")
    cross_encoder.write(models / "tiny", tmp_path_factory.mktemp("weights"))
    weights = Weights(models, tmp_path, download=False)
    real = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml"))
    pool = Pool(Loader(weights, "cpu", 1, 0), math.inf)
    reranker = Reranker(pool, "tiny")
    until(reranker.ready)
    return replace(real, pool=pool, reranker=reranker)


@pytest.fixture
def ids(database: Database, account: Account) -> list[int]:
    work.searchable(database, account, [work.passage(text, 1) for text in TEXTS])
    return [row[0] for row in work.execute(database, "SELECT id FROM passages ORDER BY id")]


def test_every_passage_of_the_account_gets_a_score_that_travels_as_json(
    worker: Context, account: Account, ids: list[int]
) -> None:
    answer = json.loads(json.dumps(rerank(worker, account.id, "moon", [*ids, 10**9], in_time())))

    scores = dict(answer["scores"])
    assert answer["model"] == "tiny"
    assert sorted(scores) == ids
    assert all(0 < score < 1 for score in scores.values())
    assert len(set(scores.values())) == len(ids)


def test_nothing_is_read_of_another_account(worker: Context, database: Database, ids: list[int]) -> None:
    other = work.open_account(database, "bob")
    assert rerank(worker, other.id, "moon", ids, in_time())["scores"] == []


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs went through the model at once, each time."""
    read: list[int] = []
    infer = RerankingEngine._infer

    def inferred(engine: RerankingEngine, features: dict[str, list[list[int]]]) -> NDArray[np.float32]:
        read.append(len(features["input_ids"]))
        return infer(engine, features)

    monkeypatch.setattr(RerankingEngine, "_infer", inferred)
    return read


def test_what_nobody_waits_for_any_more_is_not_begun(
    worker: Context, account: Account, ids: list[int], batches: list[int]
) -> None:
    batches.clear()
    assert rerank(worker, account.id, "moon", ids, time.time() - 0.1)["scores"] is None
    assert batches == []
    assert rerank(worker, account.id, "moon", ids, in_time())["scores"]
    assert batches == [len(ids)]


def test_it_stops_when_nobody_waits_any_more(
    worker: Context, account: Account, ids: list[int], batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count(100.0)  # a second passes from one look at the clock to the next
    monkeypatch.setattr("workers.reranking.time", SimpleNamespace(time=lambda: next(now)))
    batches.clear()
    assert rerank(worker, account.id, "moon", ids, 100.5)["scores"] is None
    assert batches == [len(ids)]


def test_the_time_counts_from_when_it_was_asked_for(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[float] = []

    def ask(celery: Celery, task: str, args: Sequence[Any], timeout_s: float) -> Mapping[str, Any]:
        sent.append(args[-1])
        return {"model": "tiny", "scores": []}

    monkeypatch.setattr(query_worker, "ask", ask)
    before = time.time()
    scores_of(Celery(), RerankRequest(account.id, "moon", [1]), 5.0)
    assert before + 5 <= sent[0] <= time.time() + 5


def test_a_model_that_is_being_loaded_keeps_no_search_waiting(
    worker: Context, account: Account, ids: list[int]
) -> None:
    may_load = threading.Event()

    def slowly(name: str, kind: ModelKind) -> Engine:
        assert may_load.wait(PLENTY_S)
        return FakeReranker()

    pool = Pool(slowly, math.inf)
    slow = replace(worker, pool=pool, reranker=Reranker(pool, "slow"))

    assert rerank(slow, account.id, "moon", ids, in_time())["scores"] is None
    assert rerank(slow, account.id, "moon", ids, in_time())["scores"] is None
    may_load.set()
    until(lambda: rerank(slow, account.id, "moon", ids, in_time())["scores"])


def test_a_model_that_cannot_be_loaded_is_tried_again_after_a_while_and_not_at_every_search() -> None:
    tries: list[str] = []
    now = [0.0]

    def load(name: str, kind: ModelKind) -> Engine:
        tries.append(name)
        if len(tries) == 1:
            raise WeightsMissing("nowhere")
        return FakeReranker()

    reranker = Reranker(Pool(load, math.inf), "late", clock=lambda: now[0])
    with capture_logs() as logs:
        assert not reranker.ready()
        until(lambda: logs)
    assert logs[0]["log_level"] == "error"
    assert "unset SCRIBELANE_RERANK_MODEL" in logs[0]["event"]

    assert not any(reranker.ready() for _ in range(3))
    assert tries == ["late"]
    now[0] = AGAIN_S
    until(reranker.ready)
    assert tries == ["late", "late"]


def test_a_worker_without_a_model_says_so(worker: Context, account: Account, ids: list[int]) -> None:
    with pytest.raises(Misconfigured, match="not for this query worker"):
        rerank(replace(worker, reranker=None), account.id, "moon", ids, in_time())


def test_a_worker_that_gave_up_is_no_answer(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any) -> Mapping[str, Any]:
        return {"model": "tiny", "scores": None}

    monkeypatch.setattr(query_worker, "ask", ask)
    with pytest.raises(SearchUnavailable):
        scores_of(Celery(), RerankRequest(account.id, "moon", [1]), 1.0)
