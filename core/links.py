"""A URL that a client submits, read and judged: a video of YouTube, a file on a host that the operator allows, or no.

`service.submit` calls `read` before a job is made of it; `workers.outgoing` holds each redirect to the same `UrlHosts`.
Nothing is resolved here: what a name stands for is looked at when it is fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qs, quote, urlsplit, urlunsplit

from core.addresses import is_public, literal
from core.errors import UrlNotAllowed
from core.job import JobKind

MAX_URL = 2000

_PORTS = {"http": 80, "https": 443}
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)+")
_LOCAL = (".localhost", ".local", ".localdomain", ".internal", ".lan", ".home.arpa")
_YOUTUBE = frozenset({
    *("youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com"),
    *("youtube-nocookie.com", "www.youtube-nocookie.com"),
})  # fmt: skip
_SHORT = frozenset({"youtu.be", "www.youtu.be"})
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)
_NO_IDS = frozenset({"videoseries", "live_stream"})  # eleven letters as well, in links to embed a list or a channel
_VIDEO_PATHS = frozenset({"shorts", "live", "embed", "v", "watch"})
_LISTS = {"playlist": "a playlist", "channel": "a channel", "c": "a channel", "user": "a channel", "feed": "a feed"}


@dataclass(frozen=True, slots=True)
class VideoLink:
    """A video of YouTube."""

    video_id: str

    @property
    def url(self) -> str:
        """The one URL of it, however it was linked to."""
        return f"https://www.youtube.com/watch?v={self.video_id}"


@dataclass(frozen=True, slots=True)
class DirectLink:
    """A file on a host that is allowed."""

    url: str


Link = VideoLink | DirectLink


@dataclass(frozen=True, slots=True)
class HostRule:
    """A host, or with `subdomains` those below it; the usual ports, or the one that is named. `*` is any host."""

    host: str
    subdomains: bool = False
    port: int | None = None

    def allows(self, host: str, port: int) -> bool:
        """Whether the rule is about this host and port."""
        if port != self.port and not (self.port is None and port in _PORTS.values()):
            return False
        if self.host == "*":
            return True
        return host.endswith(f".{self.host}") if self.subdomains else host == self.host


@dataclass(frozen=True, slots=True)
class UrlHosts:
    """The hosts that files are fetched from. None: files are fetched from nowhere, only YouTube is left.

    `private` are addresses, with their ports, that may be connected to although they are not public. No setting fills
    it: a test does, which has its own server.
    """

    rules: tuple[HostRule, ...] = ()
    private: frozenset[tuple[str, int]] = frozenset()

    def check(self, url: str) -> str:
        """The URL in its one spelling. Raises `UrlNotAllowed`."""
        parts, host, port = _taken_apart(url)
        if (host, port) not in self.private:
            _check_host(host)
            if not any(rule.allows(host, port) for rule in self.rules):
                raise UrlNotAllowed(f"url: this service does not fetch from {_shown(host, port, parts.scheme)}.")
        return _put_together(parts, host, port)


def hosts_of(text: str) -> UrlHosts:
    """`example.org, .example.net, files.example.com:8443` or `*` as rules. Raises `ValueError` for what is none."""
    return UrlHosts(tuple(_rule(entry.strip().lower()) for entry in text.split(",") if entry.strip()))


def _rule(entry: str) -> HostRule:
    name, colon, digits = entry.partition(":")
    if colon and not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536):
        raise ValueError(f"{entry!r} is no host; after a colon stands a port")
    port, bare = int(digits) if colon else None, name.removeprefix(".")
    host = bare if bare == "*" else _ascii(bare)
    if host != "*" and not _NAME.fullmatch(host):
        raise ValueError(f"{entry!r} is no host; write example.org, .example.org for its subdomains, or * for any")
    return HostRule(host, name.startswith("."), port)


def read(url: str, kind: JobKind, hosts: UrlHosts) -> Link:
    """What a submitted URL leads to. Raises `UrlNotAllowed`, which says why."""
    parts, host, port = _taken_apart(url)
    if port in _PORTS.values() and host in _YOUTUBE | _SHORT:
        if kind is JobKind.DOCUMENT:
            raise UrlNotAllowed("url: a video is no PDF; submit it as a transcription.")
        return VideoLink(_video_id(parts, host))
    return DirectLink(hosts.check(url))


def _video_id(parts: SplitResult, host: str) -> str:
    """Raises `UrlNotAllowed` for a link to YouTube that is none to a video."""
    steps = [step for step in parts.path.split("/") if step]
    first = steps[0] if steps else ""
    if host in _SHORT:
        found = first
    elif first in _VIDEO_PATHS and len(steps) > 1:
        found = steps[1]
    elif first == "watch":
        found = parse_qs(parts.query).get("v", [""])[0]
    else:
        found = ""
    if _VIDEO_ID.fullmatch(found) and found not in _NO_IDS:
        return found
    what = "a channel" if first.startswith("@") or found == "live_stream" else _LISTS.get(first)
    if found == "videoseries" or (what is None and "list" in parse_qs(parts.query)):
        what = "a playlist"
    if what is not None:
        raise UrlNotAllowed(f"url: this leads to {what} of YouTube, not to one video; submit its videos one by one.")
    raise UrlNotAllowed("url: this is YouTube, but no link to a video, such as https://www.youtube.com/watch?v=…")


def _taken_apart(url: str) -> tuple[SplitResult, str, int]:
    """A URL of the web, its host in one spelling, and its port. Raises `UrlNotAllowed`."""
    if len(url) > MAX_URL:
        raise UrlNotAllowed(f"url: it is longer than {MAX_URL} characters.")
    if _FORBIDDEN.search(url):
        raise UrlNotAllowed("url: it holds a blank, a backslash or a control character; write %20 or %5C instead.")
    try:
        parts = urlsplit(url)
        named, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise UrlNotAllowed("url: this is no URL.") from error
    if parts.scheme not in _PORTS:
        raise UrlNotAllowed("url: only http:// and https:// are fetched.")
    if "@" in parts.netloc:
        raise UrlNotAllowed("url: it holds a user name or a password, which this service would keep and show.")
    if not host:
        raise UrlNotAllowed("url: it names no host.")
    try:
        if "[" in parts.netloc:
            ip_address(host.partition("%")[0])
        host = _one_spelling(host)
    except ValueError as error:
        raise UrlNotAllowed("url: its host is neither a name nor an address.") from error
    return parts, host, _PORTS[parts.scheme] if named is None else named


def _one_spelling(host: str) -> str:
    """In lower case and ASCII, without a last dot, an address as addresses are written. Raises `ValueError`."""
    host = _ascii(host) if ":" not in host else host
    address = literal(host)
    return host if address is None else str(address)


def _ascii(host: str) -> str:
    """Digits and dots of other scripts become those of ASCII, as resolvers read them; other letters punycode."""
    try:
        return host.lower().encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError as error:
        raise ValueError("no name of a host") from error


def _check_host(host: str) -> None:
    """Raises `UrlNotAllowed` for a host that is of no public network, as far as its name tells."""
    try:
        address = literal(host)
    except ValueError:
        address = None
    if address is not None:
        if not is_public(address):
            raise UrlNotAllowed("url: its host is an address of a private network, which this service does not fetch.")
    elif not _NAME.fullmatch(host) or host.endswith(_LOCAL):
        raise UrlNotAllowed("url: its host is a name of a private network, which this service does not fetch.")


def _put_together(parts: SplitResult, host: str, port: int) -> str:
    """Raises `UrlNotAllowed` for half a character."""
    try:
        path, query = (_NOT_ASCII.sub(lambda found: quote(found[0]), text) for text in (parts.path or "/", parts.query))
    except UnicodeError as error:
        raise UrlNotAllowed("url: this is no URL.") from error
    return urlunsplit((parts.scheme, _shown(host, port, parts.scheme), path, query, ""))


def _shown(host: str, port: int, scheme: str) -> str:
    named = f"[{host}]" if ":" in host else host
    return named if port == _PORTS[scheme] else f"{named}:{port}"
