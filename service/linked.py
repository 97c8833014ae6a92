"""An input that is not uploaded but fetched: the JSON body of a submit, and the job that a URL is to be.

`service.upload` reads such a body in place of a form, `service.submit` makes the job. The URL is judged here, and
looked up by nobody but the worker that fetches it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from uuid_utils.compat import uuid7

from core import links
from core.content_key import of_youtube
from core.errors import InvalidRequest, UploadTooLarge
from core.job import JobKind
from core.links import Link, UrlHosts, VideoLink
from core.store.jobs import JobInput
from service.body_limit import MAX_BODY_BYTES
from service.multipart import printable

_NO_URL = "url: name what is to be fetched, or send a file as multipart/form-data."
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Linked:
    """What a URL leads to, under the id of the job that it will be."""

    job_id: UUID
    link: Link

    @property
    def input(self) -> JobInput:
        """As it is shown until the file is there."""
        if isinstance(self.link, VideoLink):
            return JobInput("youtube", self.link.url, url=self.link.url)
        parts = urlsplit(self.link.url)
        last = printable(unquote(parts.path.rsplit("/", 1)[-1])).strip()[:_MAX_NAME]
        return JobInput("url", last or parts.netloc, url=self.link.url)

    @property
    def source(self) -> bytes | None:
        """Of `core.content_key`. Of a file nobody knows whether it is still the same."""
        return of_youtube(self.link.video_id) if isinstance(self.link, VideoLink) else None


def linked(url: str, kind: JobKind, hosts: UrlHosts) -> Linked:
    """The job-to-be of a URL. Raises `UrlNotAllowed`."""
    return Linked(uuid7(), links.read(url, kind, hosts))


def is_json(content_type: str) -> bool:
    """Whether a body of this type is one with a URL."""
    header = Message()
    header["content-type"] = content_type
    return header.get_content_type() == "application/json"


async def body_of(arriving: AsyncIterator[bytes]) -> tuple[str, Mapping[str, Any]]:
    """The URL, and the options beside it. Raises `InvalidRequest`, and `UploadTooLarge` for more than 1 MiB."""
    content = bytearray()
    async for piece in arriving:
        content += piece
        if len(content) > MAX_BODY_BYTES:
            raise UploadTooLarge(f"The body is larger than the {MAX_BODY_BYTES} bytes that this call accepts as JSON.")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not JSON.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("The body is no JSON object.")
    url = body.pop("url", None)
    if not isinstance(url, str) or not url:
        raise InvalidRequest(_NO_URL)
    return url, body
