"""An upload on its way from the socket to the blob store, piece by piece: never whole in memory or on disk here.

Reading a request body is asynchronous in ASGI, so this dependency is `async`; the routes behind it are not.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Annotated
from uuid import UUID

from anyio import CancelScope
from fastapi import Depends, Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.concurrency import run_in_threadpool
from uuid_utils.compat import uuid7

from core.errors import EmptyUpload, InvalidRequest, UnsupportedMedia, UploadTooLarge
from core.store import blobs as blob_store
from service.deps import AccountDep, ServiceDep

_MIB = 1024 * 1024
_MAX_FIELDS_BYTES = 64 * 1024
"""Of all fields and the headers of all parts together."""
_OVERHEAD_BYTES = 2 * _MAX_FIELDS_BYTES  # as much again for the boundaries between the parts
_MAX_NAME = 200
_MAX_SHOWN_NAME = 50
# Control characters, halves of surrogate pairs, and the marks that turn the direction of what follows.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(slots=True)
class Custody:
    """Who answers for a stored file: the request that brought it, until a job is about to take it.

    Then the file stays whatever happens to the request: a commit whose answer was lost may have gone through.
    """

    offered: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """A received file, stored under the id of the job that it will be, and the form's other fields."""

    job_id: UUID
    name: str
    bytes: int
    fields: Mapping[str, str]
    custody: Custody

    def offer(self) -> None:
        """Call it before the job is written."""
        self.custody.offered = True


@dataclass(slots=True)
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    header_name: bytes = b""
    header_value: bytes = b""
    name: str = ""
    filename: str | None = None
    content: bytearray = field(default_factory=bytearray)


class _Form:
    """Collects what the parser finds: pieces of the file to be passed on, and small fields to be kept."""

    def __init__(self, boundary: bytes, file_limit: int) -> None:
        self.file_pieces: deque[bytes] = deque()
        self.file_name: str | None = None
        self.file_bytes = 0
        self.fields: dict[str, str] = {}
        self._file_limit = file_limit
        self._fields_bytes = 0
        self._part = _Part()
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._content,
                "on_part_end": self._end,
                "on_end": self._whole,
            },
        )

    def feed(self, piece: bytes) -> None:
        self._parser.write(piece)

    def finish(self) -> None:
        if not self._ended:
            raise InvalidRequest("The body is not a whole multipart form.")

    def _whole(self) -> None:
        self._ended = True

    def _begin(self) -> None:
        self._part = _Part()

    def _header_field(self, content: bytes, start: int, end: int) -> None:
        self._part.header_name += content[start:end]
        self._count(end - start)

    def _header_value(self, content: bytes, start: int, end: int) -> None:
        self._part.header_value += content[start:end]
        self._count(end - start)

    def _header_end(self) -> None:
        part = self._part
        part.headers[part.header_name.decode("latin-1").lower()] = part.header_value.decode("utf-8", "replace")
        part.header_name = part.header_value = b""

    def _headers_finished(self) -> None:
        parsed = Message()
        parsed["content-disposition"] = self._part.headers.get("content-disposition", "")
        try:
            self._part.name = collapse_rfc2231_value(parsed.get_param("name", "", "content-disposition"))
            self._part.filename = parsed.get_filename()
        except ValueError as error:
            raise InvalidRequest("The file's name cannot be read.") from error
        if self._part.filename is not None:
            if self._part.name != "file":
                raise InvalidRequest(f"Send the file in the field `file`, not {self._part.name[:_MAX_SHOWN_NAME]!r}.")
            if self.file_name is not None:
                raise InvalidRequest("Send one file a request.")
            self.file_name = self._part.filename
        elif self._part.name == "file":
            raise InvalidRequest("The file has no name.")

    def _content(self, content: bytes, start: int, end: int) -> None:
        if self._part.filename is None:
            self._part.content += content[start:end]
            self._count(end - start)
            return
        self.file_bytes += end - start
        if self.file_bytes > self._file_limit:
            raise too_large(self._file_limit)
        self.file_pieces.append(content[start:end])

    def _end(self) -> None:
        if self._part.filename is None:
            self.fields[self._part.name] = self._part.content.decode("utf-8", "replace")

    def _count(self, n_bytes: int) -> None:
        self._fields_bytes += n_bytes
        if self._fields_bytes > _MAX_FIELDS_BYTES:
            raise InvalidRequest("The form's fields are too long.")


def too_large(limit: int) -> UploadTooLarge:
    """The refusal of a file over `limit` bytes."""
    return UploadTooLarge(f"The file is larger than the {limit / _MIB:.3g} MiB that this account's tier accepts.")


async def _receive(request: Request, service: ServiceDep, account: AccountDep) -> AsyncGenerator[Upload, None]:
    """Store the form's file; if the request fails before it is a job's, take it away again."""
    limit = service.tiers.plan(account.tier).upload_max_bytes
    form = _Form(_boundary(request), limit)
    if int(request.headers.get("content-length") or 0) > limit + _OVERHEAD_BYTES:
        raise too_large(limit)
    job_id = uuid7()
    custody = Custody()
    try:
        await service.blobs.put_stream(blob_store.input_key(job_id), _file_pieces(request, form, limit))
        yield Upload(job_id, _clean_name(form), form.file_bytes, form.fields, custody)
    except BaseException:
        if not custody.offered:
            with CancelScope(shield=True):  # a client that goes away cancels the request, but not this
                await run_in_threadpool(service.blobs.erase, blob_store.job_prefix(job_id))
        raise


UploadDep = Annotated[Upload, Depends(_receive)]


def _boundary(request: Request) -> bytes:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    boundary = header.get_param("boundary")
    if (
        header.get_content_type() != "multipart/form-data"
        or not isinstance(boundary, str)
        or not 0 < len(boundary) <= 70  # RFC 2046
    ):
        raise UnsupportedMedia()
    return boundary.encode("latin-1", "replace")


async def _file_pieces(request: Request, form: _Form, limit: int) -> AsyncIterator[bytes]:
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


def _clean_name(form: _Form) -> str:
    """What the client called the file, without folders and control characters; it never becomes a path."""
    name = re.split(r"[/\\]", form.file_name or "")[-1]
    name = _UNPRINTABLE.sub("", name).strip()[:_MAX_NAME]
    if name in ("", ".", ".."):
        raise InvalidRequest("The file has no name.")
    return name
