"""The multipart form of an upload, parsed as it arrives: pieces of files to pass on, small fields to keep.

`service.upload` feeds it. Nothing here waits for the network, so the tests feed it too.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import dataclass, field
from email.message import Message
from email.utils import collapse_rfc2231_value

from python_multipart.multipart import MultipartParser

from core.errors import InvalidRequest, UnsupportedMedia

_FIELDS_BYTES = 64 * 1024
_FIELDS_BYTES_PER_FILE = 20 * 1024
_MAX_NAME = 200
_TOO_MANY = "Send one file a request; POST /v1/batches takes many."
_MAX_SHOWN_NAME = 50
_ESCAPED = {"%22": '"', "%0D": "\r", "%0A": "\n"}  # by WHATWG's encoding of forms, which leaves % itself as it is
# Control characters, halves of surrogate pairs, what takes no room or ends a line, and the marks that turn the
# direction of what follows. The joiners U+200C and U+200D stay: letters of many scripts are made with them.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]")


@dataclass(slots=True)
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    header_name: bytes = b""
    header_value: bytes = b""
    name: str = ""
    filename: str | None = None
    content: bytearray = field(default_factory=bytearray)


@dataclass(slots=True, eq=False)
class FormFile:
    """A file of the form, as far as it has arrived; `sent_name` is what the client called it."""

    sent_name: str
    n_bytes: int = 0
    ended: bool = False


def max_fields_bytes(max_files: int) -> int:
    """How long all fields and the headers of all parts may be together, in a form of so many files."""
    return _FIELDS_BYTES + (max_files - 1) * _FIELDS_BYTES_PER_FILE


class Form:
    """Collects what the parser finds: pieces of the files to be passed on, and small fields to be kept."""

    def __init__(self, boundary: bytes, max_files: int = 1) -> None:
        self.files: list[FormFile] = []
        self.pieces: deque[tuple[FormFile, bytes]] = deque()
        """What has arrived of the files and was not passed on yet."""
        self.fields: dict[str, str] = {}
        self._max_files = max_files
        self._fields_bytes_left = max_fields_bytes(max_files)
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
            self._part.filename = _sent_name(parsed)
        except ValueError as error:
            raise InvalidRequest("The file's name cannot be read.") from error
        if self._part.filename is not None:
            if self._part.name != "file":
                raise InvalidRequest(f"Send the file in the field `file`, not {self._part.name[:_MAX_SHOWN_NAME]!r}.")
            if len(self.files) == self._max_files:
                raise InvalidRequest(_TOO_MANY if self._max_files == 1 else f"Send up to {self._max_files} files.")
            self.files.append(FormFile(self._part.filename))
        elif self._part.name == "file":
            raise InvalidRequest("The file has no name.")

    def _content(self, content: bytes, start: int, end: int) -> None:
        if self._part.filename is None:
            self._part.content += content[start:end]
            self._count(end - start)
            return
        file = self.files[-1]
        file.n_bytes += end - start
        self.pieces.append((file, content[start:end]))

    def _end(self) -> None:
        if self._part.filename is not None:
            self.files[-1].ended = True
        elif self._part.name in self.fields:
            raise InvalidRequest(f"The field {self._part.name[:_MAX_SHOWN_NAME]!r} was sent twice.")
        else:
            self.fields[self._part.name] = self._part.content.decode("utf-8", "replace")

    def _count(self, n_bytes: int) -> None:
        self._fields_bytes_left -= n_bytes
        if self._fields_bytes_left < 0:
            raise InvalidRequest("The form's fields are too long.")


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


def _sent_name(disposition: Message) -> str | None:
    """What a part calls its file. Raises `ValueError`."""
    name = disposition.get_filename()
    encoded = isinstance(disposition.get_param("filename", None, "content-disposition"), tuple)  # as RFC 5987 has it
    return name if name is None or encoded else unescaped(name)


def unescaped(name: str) -> str:
    """The name of a file as browsers and httpx send it, without the escapes of what may not stand in quotes."""
    for escape, meant in _ESCAPED.items():
        name = name.replace(escape, meant)
    return name


def clean_name(sent: str) -> str:
    """What the client called a file, without folders and control characters; it never becomes a path."""
    name = re.split(r"[/\\]", sent)[-1]
    name = unicodedata.normalize("NFC", printable(name)).strip()[:_MAX_NAME]  # macOS sends letters taken apart
    if name in ("", ".", ".."):
        raise InvalidRequest("The file has no name.")
    return name


def printable(text: str) -> str:
    """The text without what nobody can read, and no database store."""
    return _UNPRINTABLE.sub("", text)
