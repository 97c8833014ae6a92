"""With the broker, the database or the workers away the API still answers, in time, and says what is missing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.job import JobStatus
from core.lanes import CONTROL_QUEUE, INFERENCE_QUEUES, IO_QUEUES, QUERY_QUEUE
from core.settings import Settings
from core.store.session import Database
from service.app import create_app
from service.embedded import free_port
from tests.integration import work

ROOT = Path(__file__).parents[2]
RECORDING = {"file": ("talk.wav", b"RIFF")}
PROMPT_S = 15
"""Far below what the broker's client would wait and retry on its own, far above what a busy machine needs."""

QUESTION = {"query": "When is the tide highest?", "mode": "semantic"}


def changed(settings: Settings, key: str, **changes: Any) -> TestClient:
    """The API on other settings."""
    app = create_app(settings.model_copy(update=changes))
    return TestClient(app, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def brokerless(settings: Settings, key: str) -> Iterator[TestClient]:
    with changed(settings, key, broker_url=f"redis://127.0.0.1:{free_port()}/0") as client:
        yield client


def test_a_search_that_no_worker_answers_is_a_503_in_time(settings: Settings, key: str) -> None:
    with changed(settings, key, query_timeout_s=0.3) as client:
        started = time.monotonic()
        answer = client.post("/v1/search", json=QUESTION)

    assert (answer.status_code, answer.json()["code"]) == (503, "search_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert time.monotonic() - started < PROMPT_S


def test_a_search_without_a_broker_is_a_503_in_time(brokerless: TestClient) -> None:
    started = time.monotonic()
    answer = brokerless.post("/v1/search", json=QUESTION)

    assert (answer.status_code, answer.json()["code"]) == (503, "search_unavailable")
    assert time.monotonic() - started < PROMPT_S


@pytest.mark.parametrize("query", ["", "  ", "x" * 2001, "a\x00b"])
def test_a_query_that_cannot_be_searched_for_is_refused(api: TestClient, query: str) -> None:
    assert api.post("/v1/search", json={"query": query}).status_code == 422


def test_a_job_is_accepted_while_the_broker_is_down(brokerless: TestClient, database: Database) -> None:
    started = time.monotonic()
    answer = brokerless.post("/v1/transcriptions", files=RECORDING)

    assert answer.status_code == 202
    assert time.monotonic() - started < PROMPT_S
    assert work.job(database, UUID(answer.json()["id"])).status is JobStatus.QUEUED


def test_readiness_says_what_is_missing_and_what_to_do(brokerless: TestClient) -> None:
    answer = brokerless.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    missing = "\n".join(answer.json()["missing"])
    assert "the broker does not answer" in missing
    for command in ("worker", "worker --io", "worker --lanes query", "beat"):
        assert f"`scribelane {command}`" in missing


def test_a_service_with_a_worker_for_every_queue_is_ready(api: TestClient, database: Database) -> None:
    work.report_worker(database, *INFERENCE_QUEUES, *IO_QUEUES, QUERY_QUEUE, CONTROL_QUEUE)

    assert api.get("/readyz").json() == {"status": "ok", "missing": []}


def test_a_database_that_is_not_there_is_said_and_nothing_hangs(settings: Settings, tmp_path: Path) -> None:
    with changed(settings, "sl_any", database_url=f"postgresql:///x?host={tmp_path}") as client:
        ready, jobs, health = client.get("/readyz"), client.get("/v1/jobs"), client.get("/healthz")

    assert "the database does not answer" in ready.json()["missing"]
    assert (jobs.status_code, jobs.json()["code"]) == (503, "unavailable")
    assert health.status_code == 200


def test_the_api_imports_no_engine() -> None:
    engines = "torch faster_whisper sentence_transformers transformers ctranslate2 onnxruntime av numpy pypdf"
    script = f"import sys, service.app; print([name for name in '{engines}'.split() if name in sys.modules])"

    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


def test_a_body_without_end_is_refused_before_it_fills_the_memory(api: TestClient) -> None:
    pieces = (b" " * 100_000 for _ in range(11))
    answer = api.post("/v1/search", content=pieces, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")


class _FailingWorker:
    """A Celery that answers as one does whose task raised."""

    def send_task(self, *_: Any, **__: Any) -> Any:
        return self

    def get(self, **_: Any) -> Any:
        return RuntimeError("no such weights")


def test_a_query_worker_that_fails_is_a_503_too(api: TestClient) -> None:
    service = api.app.state.service  # type: ignore[attr-defined]
    api.app.state.service = replace(service, celery=_FailingWorker())  # type: ignore[attr-defined]

    answer = api.post("/v1/search", json=QUESTION)

    assert (answer.status_code, answer.json()["code"]) == (503, "search_unavailable")
