"""The guard of every outgoing fetch: nothing here connects to an address that is not public.

It has two halves, and each is enough by itself. `client` makes requests that go to the very address that was checked,
each redirect anew, so a name that changes its mind is of no use. `guarded` watches a block, and `guard_process` a whole
process: Python itself asks before it connects a socket, whatever library wants it, such as yt-dlp. The hosts that are
allowed at all are `core.links.UrlHosts`.

What is no Python code is not watched: another program that is started, or a library that opens its own sockets.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from core.addresses import is_public
from core.errors import AddressRefused, UrlNotAllowed
from core.links import UrlHosts

MAX_REDIRECTS = 5

Lookup = Callable[[str, int], Sequence[str]]
"""All addresses that a host has, for a port. Raises `OSError` if it has none."""

_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_OF_A_BODY = frozenset({"content-length", "content-encoding", "transfer-encoding"})


@dataclass(slots=True)
class Guard:
    """Which addresses, with their ports, may be connected to although they are not public, and what was refused."""

    private: frozenset[tuple[str, int]] = frozenset()
    refused: list[str] = field(default_factory=list)

    def check(self, address: object) -> None:
        """Raises `AddressRefused` for what is not the address of a public host, or one of `private`."""
        if isinstance(address, tuple) and len(address) >= 2 and _is_allowed(address[0], address[1], self.private):
            return
        self.refused.append(str(address[0] if isinstance(address, tuple) and address else address))
        raise AddressRefused()


class _OfThread(threading.local):
    guard: Guard | None = None


_of_thread = _OfThread()
_of_process: Guard | None = None
_is_watching = threading.Lock()  # held for good by who has added the hook: it cannot be removed, nor is it to be twice


@contextmanager
def guarded(private: frozenset[tuple[str, int]] = frozenset()) -> Iterator[Guard]:
    """Within the block, this thread connects to public addresses alone; elsewhere a try ends in `AddressRefused`."""
    _watch()
    before, _of_thread.guard = _of_thread.guard, Guard(private)
    try:
        yield _of_thread.guard
    finally:
        _of_thread.guard = before


def guard_process(private: frozenset[tuple[str, int]] = frozenset()) -> Guard:
    """From now on, every thread of this process connects to public addresses alone. It cannot be taken back."""
    global _of_process
    assert _of_process is None, "this process is guarded already"
    _watch()
    _of_process = Guard(private)
    return _of_process


def _watch() -> None:
    if _is_watching.acquire(blocking=False):
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _CONNECTING:
        return
    guard = _of_process or _of_thread.guard
    if guard is None or (event == "socket.sendmsg" and arguments[1] is None):  # over what is connected already
        return
    guard.check(arguments[1])


def _is_allowed(host: object, port: object, private: frozenset[tuple[str, int]]) -> bool:
    """A name is none: what it stands for would be looked up after this."""
    if not isinstance(host, str):
        return False
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return is_public(address) or (host, port) in private


def addresses_of(host: str, port: int) -> Sequence[str]:
    """As the system looks them up."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def private_of(proxy: str | None) -> frozenset[tuple[str, int]]:
    """The addresses of the operator's own proxy, which may stand in a private network. Raises `OSError`."""
    if proxy is None:
        return frozenset()
    url = httpx.URL(proxy)
    port = url.port or (443 if url.scheme == "https" else 80)
    return frozenset((address, port) for address in addresses_of(url.host, port))


def client(
    hosts: UrlHosts, *, proxy: str | None = None, silence_s: float = 20.0, lookup: Lookup = addresses_of
) -> httpx.Client:
    """Fetches from these hosts alone, and follows redirects to them, whose bodies it does not read. Whatever it is to
    reach besides raises `AddressRefused`; a server that says nothing for `silence_s` a `httpx.TransportError`.

    A proxy looks names up itself, and its operator answers for what it reaches: then only hosts are checked here.
    """
    return httpx.Client(
        transport=_Checked(hosts, proxy, lookup),
        timeout=silence_s,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        trust_env=False,
    )


class _Checked(httpx.BaseTransport):
    """Called for each request of a client, those after a redirect as well."""

    def __init__(self, hosts: UrlHosts, proxy: str | None, lookup: Lookup) -> None:
        self._hosts = hosts
        self._is_direct = proxy is None
        self._lookup = lookup
        # A connection is used once: another host may have the same address, and a certificate of its own.
        alone = httpx.Limits(max_keepalive_connections=0)
        self._inner = httpx.HTTPTransport(proxy=proxy, limits=alone, trust_env=True)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            url = urlsplit(self._hosts.check(str(request.url)))
        except UrlNotAllowed as error:
            reason = error.message.removeprefix("url: ")
            raise AddressRefused(f"The URL leads to where this service does not fetch: {reason}") from error
        if not self._is_direct:
            return _without_body(self._inner.handle_request(request))
        assert url.hostname is not None
        port = url.port or (443 if url.scheme == "https" else 80)
        return _without_body(self._through(request, url.hostname, port))

    def _through(self, request: httpx.Request, host: str, port: int) -> httpx.Response:
        """Send it to the first of the host's addresses that answers, after all of them were checked."""
        failure: httpx.TransportError = httpx.ConnectError(f"{host} has no address")
        for address in self._checked(host, port):
            try:
                return self._inner.handle_request(_to(request, host, port, address))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    def _checked(self, host: str, port: int) -> Sequence[str]:
        try:
            found = self._lookup(host, port)
        except OSError as error:
            raise httpx.ConnectError(f"{host} has no address") from error
        if not all(_is_allowed(address, port, self._hosts.private) for address in found):
            raise AddressRefused()
        return found

    def close(self) -> None:
        self._inner.close()


def _to(request: httpx.Request, host: str, port: int, address: str) -> httpx.Request:
    """The same request to one address: `Host` stays, and so does the name that the certificate is to have."""
    url = request.url.copy_with(host=address, port=port)
    named = {**request.extensions, "sni_hostname": host}
    return httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=named)


def _without_body(answer: httpx.Response) -> httpx.Response:
    """Of a redirect its head alone: httpx would read the body into memory, however long it is, before it goes on."""
    if not answer.has_redirect_location:
        return answer
    answer.close()  # ends the connection as well
    kept = [(name, value) for name, value in answer.headers.multi_items() if name not in _OF_A_BODY]
    return httpx.Response(answer.status_code, headers=kept)
