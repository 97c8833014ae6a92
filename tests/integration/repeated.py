"""Submits that are repeated under an Idempotency-Key, and a look at what is held under it."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient
from httpx2 import Response

from core.store import idempotency
from core.store.accounts import Account
from core.store.idempotency import Begun, Earlier
from core.store.session import Database
from tests.integration import work

DEFAULT_FILE = ("talk.wav", b"RIFF")


def submit(
    api: TestClient,
    key: str | None = "one",
    *,
    path: str = "/v1/transcriptions",
    file: tuple[str, bytes] = DEFAULT_FILE,
    **options: str,
) -> Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post(path, files={"file": file}, data=options, headers=headers)


def n_jobs(database: Database) -> int:
    return int(work.execute(database, "SELECT count(*) FROM jobs")[0][0])


def held_keys(database: Database) -> list[str]:
    return [row.key for row in work.execute(database, "SELECT key FROM idempotency_keys")]


def let_pass(database: Database, seconds: float) -> None:
    work.execute(
        database,
        "UPDATE idempotency_keys SET expires_at = expires_at - make_interval(secs => :s)",
        s=seconds,
    )


def begin(database: Database, account: Account, key: str = "one") -> Begun | Earlier:
    with database.transaction() as connection:
        return idempotency.begin(connection, account.id, key)


def stored_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "blobs" / "jobs").rglob("*") if path.is_file()]


def refused(answer: Response, status: int, code: str) -> bool:
    return (answer.status_code, answer.json()["code"]) == (status, code)
