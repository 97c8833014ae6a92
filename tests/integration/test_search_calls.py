"""`POST /v1/search`: what is answered, in each mode, and when no worker reads the query."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.details import MediaDetails
from core.errors import SearchUnavailable
from core.passages import Passage
from core.store.accounts import Account
from core.store.results import Embedded, Prepared
from core.store.search import QueryVector
from core.store.session import Database
from service import searching
from tests.integration import work

EAST, NORTH = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
VIDEO = MediaDetails(video_id="dQw4w9WgXcQ")


@pytest.fixture
def manual(database: Database, account: Account) -> UUID:
    """Two pages; the second part of the first runs over into its neighbour."""
    passages = [
        Passage("The tides follow the moon.", 1, 1, None, None, "i", 0, 26, "Tides"),
        Passage("The moon. High water at noon.", 1, 2, None, None, "i–ii", 17, 46, "Tides"),
        Passage("Bread rises near the oven.", 2, 2, None, None, "ii", 46, 72),
    ]
    return work.searchable(database, account, passages, [EAST, [0.9, 0.1, 0.0], NORTH])


def found(api: TestClient, **asked: Any) -> dict[str, Any]:
    answer = api.post("/v1/search", json=asked)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture
def eastward(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that reads every query as one about tides."""
    monkeypatch.setattr(searching, "query_vector", lambda *_: QueryVector(work.MODEL, EAST))


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker that reads a query."""

    def unavailable(*_: object) -> QueryVector:
        raise SearchUnavailable

    monkeypatch.setattr(searching, "query_vector", unavailable)


@pytest.mark.usefixtures("eastward")
def test_a_hit_says_where_it_stands_which_words_match_and_what_each_half_thinks_of_it(
    api: TestClient, manual: UUID
) -> None:
    answer = found(api, query="the moon's tide")

    assert (answer["mode"], answer["warnings"]) == ("hybrid", [])
    assert answer["hits"][0] == {
        "job_id": str(manual),
        "kind": "document",
        "name": "talk.wav",
        "text": "The tides follow the moon.",
        "highlights": [[4, 9], [21, 25]],
        "score": 1.0,
        "scores": {"semantic": 1.0, "keyword": 1.0},
        "citation": {"page_from": 1, "page_to": 1, "label": "p. i", "section": "Tides"},
    }


@pytest.mark.usefixtures("eastward")
def test_of_neighbours_that_share_text_the_better_one_is_shown(api: TestClient, manual: UUID) -> None:
    texts = [hit["text"] for hit in found(api, query="moon")["hits"]]
    assert texts == ["The tides follow the moon.", "Bread rises near the oven."]


@pytest.mark.usefixtures("eastward", "manual")
def test_each_half_can_be_asked_alone(api: TestClient) -> None:
    by_words = found(api, query="oven", mode="keyword")
    by_meaning = found(api, query="oven", mode="semantic")

    assert [hit["text"] for hit in by_words["hits"]] == ["Bread rises near the oven."]
    assert by_words["hits"][0]["scores"] == {"semantic": None, "keyword": 1.0}
    assert by_meaning["hits"][0]["text"] == "The tides follow the moon."
    assert by_meaning["hits"][0]["scores"] == {"semantic": 1.0, "keyword": None}


@pytest.mark.usefixtures("nobody", "manual")
def test_without_a_worker_for_the_query_hybrid_search_finds_by_words_and_says_so(api: TestClient) -> None:
    answer = found(api, query="high water")

    assert [hit["text"] for hit in answer["hits"]] == ["The moon. High water at noon."]
    assert answer["mode"] == "keyword"
    assert [warning["code"] for warning in answer["warnings"]] == ["search_unavailable"]


@pytest.mark.usefixtures("nobody", "manual")
def test_without_a_worker_for_the_query_semantic_search_is_a_503_and_keyword_search_is_as_ever(api: TestClient) -> None:
    refused = api.post("/v1/search", json={"query": "high water", "mode": "semantic"})

    assert (refused.status_code, refused.json()["code"]) == (503, "search_unavailable")
    assert found(api, query="high water", mode="keyword")["warnings"] == []


@pytest.mark.usefixtures("eastward")
def test_a_moment_of_a_video_is_linked(api: TestClient, database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    claimed = work.claim_one(database, job_id)
    work.complete(database, claimed, Prepared([work.audio_chunk(0)], duration_s=60.0, details=VIDEO))
    work.complete(database, work.claim_one(database, job_id))
    said = Passage("The tide is out.", None, None, 41.2, 52.0)
    work.complete(database, work.claim_one(database, job_id), Embedded([said], [EAST], work.MODEL, "en"))
    work.finish(database, job_id)

    [hit] = found(api, query="tides")["hits"]

    assert hit["citation"] == {
        "start_s": 41.2,
        "end_s": 52.0,
        "label": "00:41",
        "url": "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=41s",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "magic"},
        {"created_after": "2026-11-26T00:00:00"},
        {"metadata": []},
        {"metadata": {"a": "\x00"}},
        {"limit": 0},
        {"kind": "reindex"},
    ],
)
def test_a_search_that_cannot_be_is_refused(api: TestClient, wrong: dict[str, Any]) -> None:
    answer = api.post("/v1/search", json={"query": "tide", **wrong})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
