"""An upload on its way from the socket to the blob store, piece by piece: never whole in memory or on disk here.

Reading a request body is asynchronous in ASGI, so this dependency is `async`; the routes behind it are not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from anyio import CancelScope
from fastapi import Depends, Request
from python_multipart.exceptions import MultipartParseError
from starlette.concurrency import run_in_threadpool
from uuid_utils.compat import uuid7

from core.errors import EmptyUpload, IdempotencyMismatch, InvalidRequest
from core.store import blobs as blob_store
from core.store.blobs import Blobs
from core.store.idempotency import Begun, Earlier
from service.deps import AccountDep, ServiceDep
from service.form import MAX_FIELDS_BYTES, Form, boundary_of, clean_name, too_large
from service.idempotency import Fingerprint, OnceDep, holding

_OVERHEAD_BYTES = 2 * MAX_FIELDS_BYTES  # as much again for the boundaries between the parts


@dataclass(slots=True)
class Custody:
    """Who answers for a stored file: the request that brought it, until a job is about to take it.

    Then the file stays whatever happens to the request: a commit whose answer was lost may have gone through.
    """

    offered: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """A received file and the form's other fields, with the request's fingerprint and what is known of its key.

    The file is stored under the id of the job that it will be; not so if the request was answered `Earlier`.
    """

    job_id: UUID
    name: str
    n_bytes: int
    fields: Mapping[str, str]
    custody: Custody
    once: Begun | Earlier | None
    fingerprint: bytes

    def offer(self) -> None:
        """Call it last before the job is committed."""
        self.custody.offered = True


async def _receive(
    request: Request, service: ServiceDep, account: AccountDep, once: OnceDep
) -> AsyncGenerator[Upload, None]:
    """Store the form's file, unless the same request had its answer before. Raises `IdempotencyMismatch`."""
    limit = service.tiers.plan(account.tier).upload_max_bytes
    form = Form(boundary_of(request.headers.get("content-type", "")), limit)
    if int(request.headers.get("content-length") or 0) > limit + _OVERHEAD_BYTES:
        raise too_large(limit)
    fingerprint = Fingerprint(request.url.path)
    pieces = fingerprint.over(_file_pieces(request, form, limit))
    job_id, custody = uuid7(), Custody()
    async with _erased_unless_offered(service.blobs, job_id, custody):
        if isinstance(once, Earlier):
            await _read_through(pieces)
        else:
            held = pieces if once is None else holding(service.database, once, pieces)
            await service.blobs.put_stream(blob_store.input_key(job_id), held)
        name, digest = clean_name(form), fingerprint.digest(form.file_name or "", form.fields)
        if isinstance(once, Earlier) and once.fingerprint != digest:
            raise IdempotencyMismatch()
        yield Upload(job_id, name, form.file_bytes, form.fields, custody, once, digest)


UploadDep = Annotated[Upload, Depends(_receive)]


@asynccontextmanager
async def _erased_unless_offered(blobs: Blobs, job_id: UUID, custody: Custody) -> AsyncGenerator[None, None]:
    """If the request fails before its file is a job's, take the file away again."""
    try:
        yield
    except BaseException:
        if not custody.offered:
            with CancelScope(shield=True):  # a client that goes away cancels the request, but not this
                await run_in_threadpool(blobs.erase, blob_store.job_prefix(job_id))
        raise


async def _read_through(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


async def _file_pieces(request: Request, form: Form, limit: int) -> AsyncIterator[bytes]:
    try:
        received = 0
        async for piece in request.stream():
            received += len(piece)
            if received > limit + _OVERHEAD_BYTES:  # counts what is no part of the file as well
                raise too_large(limit)
            form.feed(piece)
            while form.file_pieces:
                yield form.file_pieces.popleft()
        form.finish()
    except MultipartParseError as error:
        raise InvalidRequest("The body is not a whole multipart form.") from error
    if form.file_name is None:
        raise InvalidRequest("The form has no file in its field `file`.")
    if form.file_bytes == 0:
        raise EmptyUpload()
