"""Brings a file that a URL leads to into a folder: a recording or a PDF on a host that the operator allows.

Runs in a process of its own, as `youtube` does; `fetched` says what goes in and out, and `outgoing` where it may go. A
download that breaks off is continued where the server lets it, after a pause. The prepare stage then opens the file
like an upload.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from email.message import Message
from http.client import responses as PHRASES
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential
from tenacity.stop import stop_base

from core.errors import DownloadFailed, FileUnavailable, MediaTooLarge
from core.links import UrlHosts
from workers.inputs.fetched import Fetched, FetchLimits, OnBytes
from workers.outgoing import MAX_REDIRECTS, client

MAX_NAME = 200

_PIECE_BYTES = 64 * 1024
"""A try that brought less has brought nothing."""
_LEAST_BYTES_PER_S = 1024
_MAX_PAUSE_S = 20.0
_MAY_PASS = frozenset({408, 425, 429})
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class DirectOptions:
    """Where files are fetched from, and how. A server that says nothing for `silence_s`, or next to nothing, is gone.
    What broke off is tried again, after pauses that double from `pause_s`, until `retries` tries in a row have brought
    nothing more.
    """

    hosts: UrlHosts
    proxy: str | None = None
    retries: int = 2
    pause_s: float = 1.0
    silence_s: float = 20.0


def download(url: str, folder: Path, limits: FetchLimits, options: DirectOptions, on_bytes: OnBytes) -> Fetched:
    """The file, in `folder`.

    Raises `AddressRefused`, `FileUnavailable`, `MediaTooLarge` and `DownloadFailed`, and an `OSError` where the disk is
    full.
    """
    with client(options.hosts, proxy=options.proxy, silence_s=options.silence_s) as web:
        coming = _Coming(web, url, folder / "input", limits.max_bytes, on_bytes)
        again = Retrying(
            retry=retry_if_exception_type(DownloadFailed),
            stop=_Stuck(coming.path, options.retries),
            wait=wait_exponential(options.pause_s, max=_MAX_PAUSE_S),
            reraise=True,
        )
        again(coming.fetch, options.silence_s)
    return Fetched(coming.path, coming.name)


class _Stuck(stop_base):
    """When to give up: after so many tries in a row, and one, that brought next to nothing."""

    def __init__(self, path: Path, retries: int) -> None:
        self._path = path
        self._retries = retries
        self._most = self._in_vain = 0

    def __call__(self, retry_state: RetryCallState) -> bool:
        there = self._path.stat().st_size
        self._in_vain = 0 if there >= self._most + _PIECE_BYTES else self._in_vain + 1
        self._most = max(self._most, there)
        return self._in_vain > self._retries


class _Coming:
    """A file as far as it has come, and by what the server is to know it again (`ETag`, or when it was changed)."""

    def __init__(self, web: httpx.Client, url: str, path: Path, max_bytes: int, on_bytes: OnBytes) -> None:
        self.path = path
        self.name = _from_path(url)
        self._web = web
        self._url = url
        self._max_bytes = max_bytes
        self._on_bytes = on_bytes
        self._mark = ""
        self.path.touch()

    def fetch(self, silence_s: float) -> None:
        """Fetch what is not there yet; from the beginning where the server does not continue. See `download`."""
        try:
            with self._web.stream("GET", self._url, headers=self._asked()) as answer:
                self._take(answer, silence_s)
        except httpx.TooManyRedirects as error:
            raise FileUnavailable(f"The URL redirects more than {MAX_REDIRECTS} times.") from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise FileUnavailable("The URL redirects to something that is no URL of the web.") from error
        except httpx.DecodingError as error:
            raise FileUnavailable("The server sends the file in a form that cannot be decoded; upload it.") from error
        except httpx.TransportError as error:
            raise DownloadFailed(f"The download broke off each time it was tried: {_reason(error)}") from error

    def _asked(self) -> dict[str, str]:
        asked = {"Accept-Encoding": "identity", "User-Agent": "Scribelane"}
        there = self.path.stat().st_size
        return {**asked, "Range": f"bytes={there}-", "If-Range": self._mark} if there and self._mark else asked

    def _take(self, answer: httpx.Response, silence_s: float) -> None:
        if answer.status_code == 416:  # what is there is not of this file any more: the next try begins anew
            self._mark = ""
        _check_status(answer)
        _check_type(answer)
        self.name = _name_of(answer)
        there, total = _begin_and_total(answer, self.path.stat().st_size)
        if there and _mark_of(answer) != self._mark:  # the server knows Range, and not If-Range
            self._mark = ""
            raise DownloadFailed("The file changed while it was fetched; try again later.")
        self._mark = _mark_of(answer)
        with self.path.open("r+b") as file:
            file.truncate(there)
            file.seek(there)
            self._hold(there if total is None else total)
            speed = _Speed(silence_s, there)
            for piece in answer.iter_bytes():
                there += len(piece)
                self._hold(there)
                file.write(piece)
                self._on_bytes(there, total)
                speed.check(there)
        if total is not None and there < total:
            raise DownloadFailed()
        if not there:
            raise FileUnavailable("The file that the URL leads to is empty.")

    def _hold(self, n_bytes: int) -> None:
        if n_bytes > self._max_bytes:
            sizes = f"larger than the {self._max_bytes} bytes that this account's tier accepts"
            raise MediaTooLarge(f"The file is {sizes}.")


class _Speed:
    """A server that sends a byte now and then holds whoever fetches as one does that sends none."""

    def __init__(self, within_s: float, there: int) -> None:
        self._within_s = within_s
        self._since = time.monotonic()
        self._from = there

    def check(self, there: int) -> None:
        """Raises `DownloadFailed` where too little has come of late."""
        took_s = time.monotonic() - self._since
        if took_s < self._within_s:
            return
        if there - self._from < took_s * _LEAST_BYTES_PER_S:
            raise DownloadFailed("The server sends the file too slowly; try again later, or upload the file.")
        self._since, self._from = time.monotonic(), there


def _check_status(answer: httpx.Response) -> None:
    status = answer.status_code
    if status in (200, 206):
        return
    said = f"{status} {PHRASES.get(status, '')}".strip()
    if status >= 500 or status in _MAY_PASS or status == 416:
        raise DownloadFailed(f"The server answered {said} each time it was asked; try again later, or upload the file.")
    if status in (401, 403, 407):
        raise FileUnavailable(f"The server does not give the file to everybody ({said}); upload it instead.")
    if status in (404, 410):
        raise FileUnavailable(f"The server knows no such file ({said}).")
    raise FileUnavailable(f"The server does not give the file ({said}).")


def _check_type(answer: httpx.Response) -> None:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _PAGES:
        raise FileUnavailable("The URL leads to a web page, not to a recording or a PDF.")


def _begin_and_total(answer: httpx.Response, there: int) -> tuple[int, int | None]:
    """From which byte on the answer has the file, and how long the file is, if that is said."""
    if answer.status_code == 206:
        found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        if found is None or int(found[1]) != there:
            raise FileUnavailable("The server continues the file at another place than it was asked to.")
        return there, None if found[2] == "*" else int(found[2])
    said = answer.headers.get("content-length", "")
    is_plain = answer.headers.get("content-encoding", "identity") == "identity"
    return 0, int(said) if is_plain and said.isascii() and said.isdigit() else None


def _mark_of(answer: httpx.Response) -> str:
    """What `If-Range` takes; nothing where what is written is not, byte for byte, what was sent."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        return ""
    tag: str = answer.headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("last-modified", "")


def _name_of(answer: httpx.Response) -> str:
    """As the server calls the file, or else the last part of the address where it lies."""
    said = Message()
    said["content-disposition"] = answer.headers.get("content-disposition", "")
    try:
        named = said.get_filename("")
    except Exception:  # the library takes what it reads for well-formed: it fails in many ways where it is not
        named = ""
    return _cleaned(named) or _from_path(str(answer.url))


def _from_path(url: str) -> str:
    parts = urlsplit(url)
    return _cleaned(unquote(parts.path)) or parts.hostname or "file"


def _cleaned(name: str) -> str:
    """Of a path the last part, without what cannot be shown."""
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return "".join(letter for letter in last if letter.isprintable()).strip()[:MAX_NAME]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
