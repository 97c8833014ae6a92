"""Uploads on their way from the socket to the blob store, piece by piece: never whole in memory or on disk here.

Reading a request body is asynchronous in ASGI, so these dependencies are `async`; the routes behind them are not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from anyio import CancelScope
from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from starlette.concurrency import run_in_threadpool
from uuid_utils.compat import uuid7

from core import ownership
from core.errors import EmptyUpload, IdempotencyMismatch, InvalidRequest, RequestError, UploadTooLarge
from core.store import blobs as blob_store
from core.store.blobs import Blobs
from core.store.idempotency import Begun, Earlier
from core.store.session import Database
from service.deps import AccountDep, ServiceDep
from service.idempotency import Fingerprint, OnceDep, holding
from service.linked import body_of, is_json
from service.multipart import Form, FormFile, boundary_of, clean_name, max_fields_bytes

log = structlog.get_logger(__name__)

_MIB = 1024 * 1024


@dataclass(slots=True)
class Custody:
    """Who answers for stored files: the request that brought them, until jobs are about to take them.

    Then a file stays whatever happens to the request: a commit whose answer was lost may have gone through.
    """

    stored: list[UUID] = field(default_factory=list)
    offered: set[UUID] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Received:
    """A file, stored under the id of the job that it will be; or, with a `refusal`, one that cannot be a job's.

    `sha256` is that of its content.
    """

    job_id: UUID
    name: str
    n_bytes: int
    sha256: bytes
    refusal: RequestError | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """The received files and the form's fields, with the request's fingerprint and what is known of its key.

    No file is stored if the request was answered `Earlier`. With a `url` there is none, and what is to be fetched is
    there instead; `fields` are then what stood beside it in the JSON.
    """

    files: Sequence[Received]
    fields: Mapping[str, Any]
    custody: Custody
    once: Begun | Earlier | None
    fingerprint: bytes
    url: str | None = None

    def offer(self, *job_ids: UUID) -> None:
        """Call it last before these jobs are committed; the files of others will be erased."""
        self.custody.offered.update(job_ids)


Receive = Callable[[Request, ServiceDep, AccountDep, OnceDep], AsyncGenerator[Upload, None]]


def receiving(max_files: int) -> Receive:
    """The dependency that stores a form of one to `max_files` files.

    It raises `IdempotencyMismatch`; and for the one file of a form that takes no more, what refuses that file.
    """

    async def receive(
        request: Request, service: ServiceDep, account: AccountDep, once: OnceDep
    ) -> AsyncGenerator[Upload, None]:
        if max_files == 1 and is_json(request.headers.get("content-type", "")):
            yield await _linked(request, service.database, once)
            return
        limit = service.tiers.plan(account.tier).upload_max_bytes
        form = Form(boundary_of(request.headers.get("content-type", "")), max_files)
        # As much again as the fields may take, for the boundaries between the parts.
        most = max_files * limit + 2 * max_fields_bytes(max_files)
        if int(request.headers.get("content-length") or 0) > most:
            raise _too_large(limit) if max_files == 1 else _form_too_large(most)
        body = _Body(form, _arriving(request, service.database, once), most)
        fingerprint = Fingerprint(request.url.path)
        blobs = None if isinstance(once, Earlier) else service.blobs
        async with _custody(service.blobs) as custody:
            files = []
            async for file in body.files():
                name, pieces = clean_name(file.sent_name), fingerprint.over(file.sent_name, body.pieces(file))
                job_id, refusal = uuid7(), None
                try:
                    await _take(pieces, blobs, job_id, limit, custody)
                    if file.n_bytes == 0:
                        raise EmptyUpload()
                except (UploadTooLarge, EmptyUpload) as error:
                    if max_files == 1:
                        raise
                    refusal = error
                    await _read_through(pieces)
                files.append(Received(job_id, name, file.n_bytes, fingerprint.newest_content, refusal))
            if not files:
                raise InvalidRequest("The form has no file in its field `file`.")
            digest = fingerprint.digest(form.fields)
            if isinstance(once, Earlier) and once.fingerprint != digest:
                raise IdempotencyMismatch()
            if blobs is not None:  # after they were written: or they may lie where the store's volume is to be mounted
                await run_in_threadpool(ownership.check, service.database, blobs)
            yield Upload(files, form.fields, custody, once, digest)

    return receive


def _arriving(request: Request, database: Database, once: Begun | Earlier | None) -> AsyncIterator[bytes]:
    """The body, piece by piece; the request's key is held meanwhile."""
    return holding(database, once, request.stream()) if isinstance(once, Begun) else request.stream()


async def _linked(request: Request, database: Database, once: Begun | Earlier | None) -> Upload:
    """A submit of a URL. Raises `InvalidRequest`, `UploadTooLarge` and `IdempotencyMismatch`."""
    url, fields = await body_of(_arriving(request, database, once))
    digest = Fingerprint(request.url.path).digest({**fields, "url": url})
    if isinstance(once, Earlier) and once.fingerprint != digest:
        raise IdempotencyMismatch()
    return Upload((), fields, Custody(), once, digest, url)


class _Body:
    """The files of a form, one after the other as the body arrives."""

    def __init__(self, form: Form, arriving: AsyncIterator[bytes], most_bytes: int) -> None:
        self._form = form
        self._arriving = arriving
        self._most_bytes = self._bytes_left = most_bytes

    async def files(self) -> AsyncIterator[FormFile]:
        """Each file when it begins; read its `pieces` before the next."""
        n_begun = 0
        while n_begun < len(self._form.files) or await self._feed():
            if n_begun < len(self._form.files):
                n_begun += 1
                yield self._form.files[n_begun - 1]

    async def pieces(self, file: FormFile) -> AsyncIterator[bytes]:
        """The content of the file that begins."""
        waiting = self._form.pieces
        while True:
            while waiting and waiting[0][0] is file:
                yield waiting.popleft()[1]
            if file.ended or not await self._feed():
                return

    async def _feed(self) -> bool:
        """Parse what arrives next; False at the end of the body."""
        try:
            piece = await anext(self._arriving, None)
            if piece is None:
                self._form.finish()
                return False
            self._bytes_left -= len(piece)
            if self._bytes_left < 0:  # counts what is no part of a file as well
                raise _form_too_large(self._most_bytes)
            self._form.feed(piece)
        except MultipartParseError as error:
            raise InvalidRequest("The body is not a whole multipart form.") from error
        return True


async def _take(pieces: AsyncIterator[bytes], blobs: Blobs | None, job_id: UUID, limit: int, custody: Custody) -> None:
    """Store one file, or only read it if there is nowhere to store it. Raises `UploadTooLarge`."""
    if blobs is None:
        await _read_through(pieces)
        return
    custody.stored.append(job_id)
    await blobs.put_stream(blob_store.input_key(job_id), _limited(pieces, limit))


async def _read_through(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


async def _limited(pieces: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    left = limit
    async for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise _too_large(limit)
        yield piece


def _too_large(limit: int) -> UploadTooLarge:
    """The refusal of a file over `limit` bytes."""
    return UploadTooLarge(f"The file is larger than the {limit / _MIB:.3g} MiB that this account's tier accepts.")


def _form_too_large(most: int) -> UploadTooLarge:
    """The refusal of a form that is longer than all that it may hold."""
    return UploadTooLarge(f"The upload is larger than the {most / _MIB:.3g} MiB that this call accepts.")


@asynccontextmanager
async def _custody(blobs: Blobs) -> AsyncGenerator[Custody, None]:
    """Whatever comes of the request: files that it stored and no job is about to take are taken away again."""
    custody = Custody()
    try:
        yield custody
    finally:
        with CancelScope(shield=True):  # a client that goes away cancels the request, but not this
            for job_id in custody.stored:
                if job_id not in custody.offered:
                    await run_in_threadpool(_erase, blobs, job_id)


def _erase(blobs: Blobs, job_id: UUID) -> None:
    try:
        blobs.erase(blob_store.job_prefix(job_id))
    except Exception as error:
        # The client is to hear what its request came to, and the other files are to go all the same.
        log.warning("could not erase an upload that no job took", job=str(job_id), error=str(error).split("\n")[0])
