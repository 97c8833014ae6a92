"""What every answer carries: a request id, what keeps a browser from harm, and nothing of our insides."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from core.settings import Settings
from service.app import create_app
from service.body_limit import MAX_BODY_BYTES
from tests.integration.routed import PROTECTED, parameters

ID = "00000000-0000-0000-0000-000000000000"
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
CALLS: Mapping[str, tuple[int, Callable[[TestClient], Response]]] = {
    "an answer": (200, lambda api: api.get("/v1/jobs")),
    "the document": (200, lambda api: api.get("/openapi.json")),
    "a 202": (202, lambda api: api.post("/v1/documents", files={"file": ("a.pdf", b"%PDF")})),
    "no key": (401, lambda api: api.get("/v1/jobs", headers={"Authorization": ""})),
    "nothing there": (404, lambda api: api.get("/nowhere")),
    "no such method": (405, lambda api: api.put("/v1/jobs")),
    "too much": (413, lambda api: api.post("/v1/search", json={"query": "x" * MAX_BODY_BYTES})),
    "no form": (415, lambda api: api.post("/v1/documents", content="x", headers={"Content-Type": "text/plain"})),
    "no JSON": (
        415,
        lambda api: api.post("/v1/search", content='{"query": "x"}', headers={"Content-Type": "text/plain"}),
    ),
    "wrong JSON": (422, lambda api: api.post("/v1/search", json={"query": 1})),
    "deep JSON": (
        422,
        lambda api: api.post("/v1/search", content="[" * 100_000, headers={"Content-Type": "application/json"}),
    ),
    "JSON of no text": (
        422,
        lambda api: api.post("/v1/search", content=b"\xff", headers={"Content-Type": "application/json"}),
    ),
}


def called(api: TestClient, method: str, path: str, **options: Any) -> Response:
    return api.request(method, path.format_map(dict.fromkeys(parameters(path), ID)), **options)


@pytest.fixture
def broken(settings: Settings, key: str) -> TestClient:
    """An API whose database fails in a way that nobody foresaw."""

    class Broken:
        def transaction(self) -> None:
            raise RuntimeError("/var/lib/secret: SELECT password")

    app = create_app(settings)
    app.state.service = replace(app.state.service, database=Broken())
    return TestClient(app, headers={"Authorization": f"Bearer {key}"}, raise_server_exceptions=False)


@pytest.mark.parametrize("call", CALLS)
def test_every_kind_of_answer_has_an_id_and_is_safe_to_show(api: TestClient, call: str) -> None:
    status, make = CALLS[call]

    answer = make(api)

    assert answer.status_code == status
    assert len(answer.headers["X-Request-Id"]) == 36
    assert {name: answer.headers[name] for name in SAFE} == SAFE
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    if status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_a_fault_of_ours_tells_nothing_but_its_id_on_any_route(
    broken: TestClient, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = called(broken, method, path, headers={"X-Request-Id": "mine-1"})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert {name: answer.headers[name] for name in SAFE} == SAFE
    assert not [inner for inner in ("secret", "SELECT", "Traceback", ".py", "RuntimeError") if inner in answer.text]
    assert "mine-1" in caplog.text


def test_two_requests_have_two_ids(api: TestClient) -> None:
    first, second = (api.get("/healthz").headers["X-Request-Id"] for _ in range(2))

    assert first != second


@pytest.mark.parametrize("sent", ["a", "0f8fad5b-d9cb-469f-a165-70867728950e", "edge:7.x_Y" + "z" * 54])
def test_a_sane_id_of_the_client_is_kept(api: TestClient, sent: str) -> None:
    assert api.get("/healthz", headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["", " ", "z" * 65, "two words", "line\\n", "\x1b[31m", "<b>", "é"])
def test_an_id_that_could_spoil_a_log_is_replaced(api: TestClient, sent: str) -> None:
    answer = api.get("/healthz", headers={b"X-Request-Id": sent.encode()})

    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Request-Id"])


def test_the_page_of_the_documentation_may_load_all_that_it_names(api: TestClient) -> None:
    answer = api.get("/docs")
    policy = {
        kind: rest
        for kind, _, rest in (
            part.strip().partition(" ") for part in answer.headers["Content-Security-Policy"].split(";")
        )
    }
    named = re.findall(r'<(link|script)[^>]* (?:href|src)="(https://[^"]+)"', answer.text)

    assert answer.status_code == 200
    assert len(named) >= 3
    for tag, url in named:
        kind = "script-src" if tag == "script" else "img-src" if url.endswith(".png") else "style-src"
        assert f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" in policy[kind]
    assert "'unsafe-inline'" in policy["script-src"]
    assert policy["connect-src"] == "'self'"
