"""Batches for the tests: submitted over HTTP, and looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi.testclient import TestClient
from httpx2 import Response

from core.errors import Internal
from core.store import completion
from core.store.session import Database
from tests.integration import work

TALK = {"kind": "transcription", "file": "talk.wav"}
PAPER = {"kind": "document", "file": "paper.pdf"}
FILES = {"talk.wav": b"RIFF", "paper.pdf": b"%PDF"}


def nested(levels: int) -> list[Any]:
    """Lists within each other."""
    return [] if levels == 1 else [nested(levels - 1)]


def submit(
    api: TestClient,
    items: Sequence[Any] | str = (TALK, PAPER),
    files: Mapping[str, bytes] | Sequence[tuple[str, bytes]] = FILES,
    key: str | None = None,
    **options: str,
) -> Response:
    named = files.items() if isinstance(files, Mapping) else files
    data = {"items": items if isinstance(items, str) else json.dumps(items), **options}
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post("/v1/batches", data=data, files=[("file", one) for one in named], headers=headers)


def counts(batch: Mapping[str, Any]) -> dict[str, int]:
    return {name: n for name, n in batch["request_counts"].items() if n}


def fail(database: Database, job_id: UUID) -> None:
    claimed = work.claim_one(database, job_id)
    with database.transaction() as connection:
        completion.fail(connection, claimed, Internal(), max_failures=1)


def job_ids(batch: Mapping[str, Any]) -> list[UUID]:
    return [UUID(item["job_id"]) for item in batch["items"] if item["job_id"]]
