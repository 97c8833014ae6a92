"""A search whose best hits a cross-encoder reads once more: in the API, and through a real query worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from core.errors import SearchUnavailable
from core.search import RERANK_UNAVAILABLE, RERANKED
from core.settings import Settings
from core.store.accounts import Account
from core.store.passages import texts_of
from core.store.search import QueryVector
from core.store.session import Database
from models.registry import reranker
from models.reranker import RerankingEngine
from service import processes, query_vector, searching
from service.app import create_app
from service.reranking import RerankRequest
from service.supervisor import Program, Supervisor
from tests import cross_encoder
from tests.integration import work
from tests.waiting import until

TEXTS = [
    "The tides follow the moon.",
    "High water at noon, and the moon was full.",
    "Under the moon, bread rises near the oven.",
    "No moon tonight.",
]


def store(database: Database, account: Account, texts: Sequence[str]) -> None:
    """A document of these texts that is done, all as near to every query."""
    work.searchable(database, account, [work.passage(text, 1) for text in texts])


@pytest.fixture
def reranking(settings: Settings, database: Database, account: Account, key: str) -> Iterator[TestClient]:
    """The API of an operator who configured a re-ranker, with some passages."""
    store(database, account, TEXTS)
    app = create_app(settings.model_copy(update={"rerank_model": "tiny", "rerank_timeout_s": 0.3}))
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


@pytest.fixture(autouse=True)
def read_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "query_vector", lambda *_: QueryVector(work.MODEL, [1.0, 0.0, 0.0]))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RerankRequest]:
    """What a re-ranker was asked that likes what was stored last the most."""
    requests: list[RerankRequest] = []

    def scores(celery: object, request: RerankRequest, timeout_s: float) -> dict[int, float]:
        requests.append(request)
        return {passage_id: place / 100 for place, passage_id in enumerate(sorted(request.ids), 1)}

    monkeypatch.setattr(searching, "scores_of", scores)
    return requests


def found(api: TestClient, **wanted: Any) -> dict[str, Any]:
    answer = api.post("/v1/search", json={"query": "moon", **wanted})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def texts(answer: dict[str, Any]) -> list[str]:
    return [hit["text"] for hit in answer["hits"]]


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_the_hits_of_every_mode_stand_in_the_order_of_the_re_ranker(
    reranking: TestClient, asked: list[RerankRequest], account: Account, mode: str
) -> None:
    answer = found(reranking, query='"moon" -sun', mode=mode)

    assert texts(answer) == TEXTS[::-1]
    assert [hit["scores"]["rerank"] for hit in answer["hits"]] == [0.04, 0.03, 0.02, 0.01]
    assert (answer["mode"], answer["warnings"]) == (mode, [])
    assert [(request.account_id, request.query) for request in asked] == [(account.id, "moon")]


def test_few_hits_are_the_best_of_all_that_was_read(reranking: TestClient, asked: list[RerankRequest]) -> None:
    assert texts(found(reranking, limit=1)) == TEXTS[-1:]
    assert [len(request.ids) for request in asked] == [len(TEXTS)]


def test_no_more_than_the_best_are_read_and_the_others_follow(
    reranking: TestClient, asked: list[RerankRequest], database: Database, account: Account
) -> None:
    store(database, account, [f"Moon number {n}." for n in range(2 * RERANKED)])

    plain, answer = found(reranking, limit=50, rerank=False), found(reranking, limit=50)

    assert [len(request.ids) for request in asked] == [RERANKED]
    assert [("rerank" in hit["scores"]) for hit in answer["hits"]] == [True] * RERANKED + [False] * (50 - RERANKED)
    assert set(texts(answer)[:RERANKED]) == set(texts(plain)[:RERANKED])
    assert texts(answer)[RERANKED:] == texts(plain)[RERANKED:]


def test_who_wants_none_is_answered_without(reranking: TestClient, asked: list[RerankRequest]) -> None:
    answer = found(reranking, rerank=False)

    assert asked == []
    assert all("rerank" not in hit["scores"] for hit in answer["hits"])
    assert answer["warnings"] == []


def test_where_no_model_is_configured_it_is_never_done_and_asking_for_it_is_refused(
    api: TestClient, database: Database, account: Account, asked: list[RerankRequest]
) -> None:
    store(database, account, TEXTS)

    refused = api.post("/v1/search", json={"query": "moon", "rerank": True})

    assert (refused.status_code, refused.json()["code"]) == (422, "rerank_not_configured")
    assert len(found(api)["hits"]) == len(found(api, rerank=False)["hits"]) == len(TEXTS)
    assert asked == []


@pytest.mark.parametrize("rerank", [None, True])
def test_without_an_answer_in_time_the_hits_stand_as_they_were_found_and_a_warning_says_so(
    reranking: TestClient, broker: redis.Redis, rerank: bool | None
) -> None:
    answer = found(reranking, rerank=rerank)

    assert texts(answer) == texts(found(reranking, rerank=False))
    assert answer["mode"] == "hybrid"
    assert [warning["code"] for warning in answer["warnings"]] == ["rerank_unavailable"]


def test_a_worker_that_did_not_read_the_query_is_not_waited_for_again(
    reranking: TestClient, asked: list[RerankRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object) -> QueryVector:
        raise SearchUnavailable

    monkeypatch.setattr(searching, "query_vector", unavailable)
    answer = found(reranking)

    assert [warning["code"] for warning in answer["warnings"]] == ["search_unavailable", "rerank_unavailable"]
    assert len(answer["hits"]) == len(TEXTS)
    assert asked == []


def test_texts_are_read_of_the_own_account_alone(database: Database, account: Account) -> None:
    store(database, account, TEXTS)
    ids = [row[0] for row in work.execute(database, "SELECT id FROM passages ORDER BY id")]
    other = work.open_account(database, "bob")

    with database.transaction() as connection:
        assert texts_of(connection, account.id, ids[:2]) == dict(zip(ids, TEXTS[:2], strict=False))
        assert texts_of(connection, other.id, ids) == {}
        assert texts_of(connection, account.id, []) == {}


def test_a_real_query_worker_reads_the_hits_with_the_model_of_the_operators_folder(
    settings: Settings,
    database: Database,
    account: Account,
    key: str,
    broker: redis.Redis,
    supervisor: Supervisor,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store(database, account, TEXTS)
    models = tmp_path_factory.mktemp("models")
    folder = cross_encoder.write(models / "tiny", tmp_path_factory.mktemp("weights"))
    start(supervisor, settings, database, models)
    engine = RerankingEngine(folder, reranker("tiny"), device="cpu", threads=1)
    expected = dict(zip(TEXTS, engine.scores("the moon", TEXTS).tolist(), strict=True))
    app = create_app(settings.model_copy(update={"rerank_model": "tiny", "rerank_timeout_s": 20.0}))
    log = supervisor.log_of("query")
    until(lambda: "re-ranker ready" in log.read_text(), within_s=120, what=str(log))

    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        answer = found(client, query="the moon", mode="keyword", rerank=True)

    assert answer["warnings"] == []
    assert texts(answer) == sorted(TEXTS, key=lambda text: -expected[text])
    assert [hit["scores"]["rerank"] for hit in answer["hits"]] == pytest.approx(
        sorted(expected.values(), reverse=True), abs=1e-3
    )


def test_a_re_ranker_that_cannot_be_loaded_leaves_semantic_search_as_it_is(
    settings: Settings,
    database: Database,
    account: Account,
    key: str,
    broker: redis.Redis,
    supervisor: Supervisor,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store(database, account, TEXTS)
    monkeypatch.setattr(searching, "query_vector", query_vector.query_vector)
    models = tmp_path_factory.mktemp("models")
    cross_encoder.write(models / "tiny", tmp_path_factory.mktemp("weights"), labels=3)
    start(supervisor, settings, database, models)
    account = work.open_account(database, "reader")
    own = settings.model_copy(update={"rerank_model": "tiny", "rerank_timeout_s": 20.0, "query_timeout_s": 20.0})
    log = supervisor.log_of("query")
    until(lambda: "the re-ranker cannot be loaded" in log.read_text(), within_s=120, what=str(log))

    with TestClient(create_app(own), headers={"Authorization": f"Bearer {key}"}) as client:
        by_meaning, by_words = found(client, mode="semantic"), found(client, mode="keyword")

    assert by_meaning["mode"] == "semantic"
    assert len(by_words["hits"]) == len(TEXTS)
    assert [warning["code"] for warning in by_words["warnings"]] == [RERANK_UNAVAILABLE]
    assert "this worker cannot start" not in log.read_text()


def start(supervisor: Supervisor, settings: Settings, database: Database, models: Path) -> None:
    """A real query worker, whose re-ranker is `tiny` in the folder `models`."""
    command = processes.query_worker()
    own = {
        "SCRIBELANE_DATABASE_URL": settings.database_url,
        "SCRIBELANE_BROKER_URL": settings.broker_url,
        "SCRIBELANE_BLOB_URL": settings.blob_url,
        "SCRIBELANE_EMBEDDING_MODEL": "fake",
        "SCRIBELANE_RERANK_MODEL": "tiny",
        "SCRIBELANE_MODELS_DIR": str(models),
        "SCRIBELANE_HUB_DOWNLOAD": "false",
    }
    work.execute(database, "DELETE FROM vectors")
    work.execute(database, "DELETE FROM embedding_models")  # the model's real vectors are longer than a test's
    supervisor.start(Program("query", command.argv, {**command.environment, **own}, grace_s=5))


@pytest.fixture
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path_factory.mktemp("logs"))
    yield supervisor
    supervisor.stop()
