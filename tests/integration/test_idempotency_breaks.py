"""An upload under an Idempotency-Key breaks off: the client hangs up, the API is killed, or it takes very long."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from core.errors import IdempotencyInFlight
from core.settings import Settings
from core.store import idempotency
from core.store.accounts import Account
from core.store.idempotency import Begun
from core.store.session import Database
from service import idempotency as door
from tests.integration import work
from tests.integration.repeated import begin, let_pass, refused, submit
from tests.integration.served import ServedApi, serving
from tests.waiting import until

BOUNDARY = "b0undary"
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="talk.wav"\r\n\r\nRIFF'.encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Idempotency-Key": "one"}


class RunningApi:
    """The API as a process of its own, and requests to it that may stop in the middle."""

    def __init__(self, served: ServedApi, key: str) -> None:
        self.process = served.process
        self._served = served
        self._key = key

    def submit(self) -> httpx.Response:
        headers = {**HEADERS, "Authorization": f"Bearer {self._key}"}
        url = f"{self._served.url}/v1/transcriptions"
        return httpx.post(url, content=HEAD + TAIL, headers=headers, timeout=30, trust_env=False)

    def begin(self) -> socket.socket:
        """Send the first half of an upload."""
        connection = socket.create_connection(("127.0.0.1", self._served.port))
        sent = {**HEADERS, "Authorization": f"Bearer {self._key}", "Host": "x", "Content-Length": "100000"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        connection.sendall(f"POST /v1/transcriptions HTTP/1.1\r\n{lines}\r\n".encode() + HEAD)
        return connection


@contextmanager
def running(settings: Settings, key: str) -> Iterator[RunningApi]:
    with serving(settings) as served:
        yield RunningApi(served, key)


def away(*_: Any) -> None:
    raise OperationalError("UPDATE", {}, Exception("no connection"))


def in_flight(database: Database) -> bool:
    return bool(work.execute(database, "SELECT 1 FROM idempotency_keys WHERE status IS NULL"))


def test_a_client_that_hangs_up_frees_its_key(settings: Settings, key: str, database: Database) -> None:
    with running(settings, key) as api:
        half = api.begin()
        until(lambda: in_flight(database))
        meanwhile = api.submit()
        half.close()
        until(lambda: not in_flight(database))
        again = api.submit()

    assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "idempotency_in_flight")
    assert (again.status_code, "Idempotent-Replayed" in again.headers) == (202, False)


def test_an_api_that_is_killed_in_an_upload_blocks_the_key_for_its_lease_only(
    settings: Settings, key: str, database: Database
) -> None:
    with running(settings, key) as killed, running(settings, key) as api:
        with killed.begin():
            until(lambda: in_flight(database))
            killed.process.kill()
        early = api.submit()
        let_pass(database, idempotency.LEASE_S)
        later, again = api.submit(), api.submit()

    assert [answer.status_code for answer in (early, later, again)] == [409, 202, 202]
    assert again.content == later.content
    assert len(work.execute(database, "SELECT 1 FROM jobs")) == 1


def test_an_upload_that_takes_longer_than_a_lease_keeps_its_key(
    database: Database, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "RENEW_S", 0.0)
    begun = begin(database, account)
    assert isinstance(begun, Begun)

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            let_pass(database, idempotency.LEASE_S - 5)
            yield b"RIFF"

    async def upload() -> int:
        refused = 0
        async for _ in door.holding(database, begun, slow()):
            with pytest.raises(IdempotencyInFlight):
                begin(database, account)
            refused += 1
        return refused

    assert anyio.run(upload) == 3


def test_an_upload_outlives_a_database_that_is_away_when_its_key_is_to_be_renewed(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "RENEW_S", 0.0)
    monkeypatch.setattr(idempotency, "renew", away)

    assert api.post("/v1/transcriptions", content=HEAD + TAIL, headers=HEADERS).status_code == 202


def test_a_request_that_fails_says_why_even_if_its_key_cannot_be_given_back(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "release", away)

    assert refused(submit(api, model="no-such-model"), 422, "unknown_model")
    assert in_flight(database)
