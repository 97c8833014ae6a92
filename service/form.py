"""The multipart form of an upload, parsed as it arrives: pieces of one file to pass on, small fields to keep.

`service.upload` feeds it. Nothing here waits for the network, so the tests feed it too.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from email.message import Message
from email.utils import collapse_rfc2231_value

from python_multipart.multipart import MultipartParser

from core.errors import InvalidRequest, UnsupportedMedia, UploadTooLarge

MAX_FIELDS_BYTES = 64 * 1024
"""Of all fields and the headers of all parts together."""

_MIB = 1024 * 1024
_MAX_NAME = 200
_MAX_SHOWN_NAME = 50
# Control characters, halves of surrogate pairs, and the marks that turn the direction of what follows.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(slots=True)
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    header_name: bytes = b""
    header_value: bytes = b""
    name: str = ""
    filename: str | None = None
    content: bytearray = field(default_factory=bytearray)


class Form:
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
        if self._fields_bytes > MAX_FIELDS_BYTES:
            raise InvalidRequest("The form's fields are too long.")


def too_large(limit: int) -> UploadTooLarge:
    """The refusal of a file over `limit` bytes."""
    return UploadTooLarge(f"The file is larger than the {limit / _MIB:.3g} MiB that this account's tier accepts.")


def boundary_of(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if (
        header.get_content_type() != "multipart/form-data"
        or not isinstance(boundary, str)
        or not 0 < len(boundary) <= 70  # RFC 2046
    ):
        raise UnsupportedMedia()
    return boundary.encode("latin-1", "replace")


def clean_name(form: Form) -> str:
    """What the client called the file, without folders and control characters; it never becomes a path."""
    name = re.split(r"[/\\]", form.file_name or "")[-1]
    name = _UNPRINTABLE.sub("", name).strip()[:_MAX_NAME]
    if name in ("", ".", ".."):
        raise InvalidRequest("The file has no name.")
    return name
