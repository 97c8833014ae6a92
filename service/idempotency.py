"""`Idempotency-Key`: a client that does not know whether its submit arrived sends it again and gets one job or batch.

The key is taken before the body is read and held while it arrives; `service.submit` or `service.batch` stores the
answer under it in the transaction that inserts the job or batch. A request that ends otherwise gives its key back here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Annotated, Any
from uuid import UUID

import structlog
from anyio import CancelScope
from fastapi import Depends, Header
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from core.store import idempotency
from core.store.idempotency import LEASE_S, Begun, Earlier
from core.store.session import Database
from service.deps import AccountDep, ServiceDep

log = structlog.get_logger(__name__)

RENEW_S = LEASE_S / 3

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern="^[ -~]+$",
        description=(
            "Any text of your own, such as a UUID, different for each job. Within 24 hours the same request with the "
            "same key makes no second job: it gets the first answer again, with `Idempotent-Replayed: true`."
        ),
    ),
]


async def _once(
    service: ServiceDep, account: AccountDep, key: Key = None
) -> AsyncGenerator[Begun | Earlier | None, None]:
    """Hold the request's key for as long as it runs; None without one. Raises `IdempotencyInFlight`."""
    if key is None:
        yield None
        return
    # Should the request be cancelled at this very moment, the key is free again when its lease has run out.
    found = await run_in_threadpool(_begin, service.database, account.id, key)
    try:
        yield found
    except BaseException:
        if isinstance(found, Begun):
            with CancelScope(shield=True):  # a client that goes away cancels the request, but not this
                await run_in_threadpool(_release, service.database, found)
        raise


OnceDep = Annotated[Begun | Earlier | None, Depends(_once)]


def _begin(database: Database, account_id: UUID, key: str) -> Begun | Earlier:
    with database.transaction() as connection:
        return idempotency.begin(connection, account_id, key)


def _release(database: Database, begun: Begun) -> None:
    try:
        with database.transaction() as connection:
            idempotency.release(connection, begun)
    except SQLAlchemyError as error:
        # The client is to hear what its request failed of; the key is free when its lease has run out.
        log.warning("could not release an idempotency key", error=str(error).split("\n")[0])


def _renew(database: Database, begun: Begun) -> None:
    try:
        with database.transaction() as connection:
            idempotency.renew(connection, begun)
    except SQLAlchemyError as error:
        # An upload of an hour outlives a restart of the database; if the key is lost by then, `complete` says so.
        log.warning("could not renew an idempotency key", error=str(error).split("\n")[0])


async def holding(database: Database, begun: Begun, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a body, and while they arrive a renewal every `RENEW_S`."""
    renewed_at = time.monotonic()
    async for piece in pieces:
        if time.monotonic() - renewed_at >= RENEW_S:
            await run_in_threadpool(_renew, database, begun)
            renewed_at = time.monotonic()
        yield piece


class Fingerprint:
    """What a submit asks, in 32 bytes: SHA-256 over the route, the options, and each file's name and content.

    The order of the form's fields does not matter, and neither does the boundary between them.
    """

    def __init__(self, route: str) -> None:
        self._route = route
        self._files: list[tuple[str, str]] = []

    async def over(self, name: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces of the next file's content, taken in on their way."""
        content = hashlib.sha256()
        async for piece in pieces:
            content.update(piece)
            yield piece
        self._files.append((name, content.hexdigest()))

    def digest(self, fields: Mapping[str, Any]) -> bytes:
        """The fingerprint, once the whole body was read."""
        asked = [self._route, sorted(fields.items()), self._files]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()

    @property
    def newest_content(self) -> bytes:
        """SHA-256 of the last file's content, once it was read to its end."""
        return bytes.fromhex(self._files[-1][1])
