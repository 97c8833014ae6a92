"""Nothing that is fetched reaches an address that is not public, whatever is tried: a server there hears nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from core.errors import AddressRefused
from core.links import HostRule, UrlHosts, hosts_of
from tests.evasions import PRIVATE_URLS
from tests.listening import Reply, Trap, site, trap
from workers.outgoing import client, guarded, private_of

PRIVATE_ANSWERS = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "64:ff9b::7f00:1")


@pytest.fixture(scope="module")
def closed() -> Iterator[Trap]:
    with trap() as found:
        yield found


@pytest.fixture
def unheard(closed: Trap) -> Iterator[Trap]:
    """A port on all addresses of this machine, which nobody may have connected to when the test is over."""
    yield closed
    assert closed.visitors() == 0


def with_port(url: str, port: int) -> str:
    """The same URL with this port."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}:{port}{slash}{path}"


def anywhere(*ports: int, private: frozenset[tuple[str, int]] = frozenset()) -> UrlHosts:
    """Every host is allowed, with these ports besides the usual ones."""
    return UrlHosts((HostRule("*"), *(HostRule("*", port=port) for port in ports)), private)


def test_the_trap_hears_of_who_connects(closed: Trap) -> None:
    with socket.create_connection(("127.0.0.1", closed.port)):
        pass

    assert closed.visitors() == 1


@pytest.mark.parametrize("url", PRIVATE_URLS)
def test_the_client_reaches_no_private_address_by_any_spelling(url: str, unheard: Trap) -> None:
    with client(anywhere(unheard.port)) as web, pytest.raises((AddressRefused, httpx.InvalidURL)):
        web.get(with_port(url, unheard.port))


@pytest.mark.parametrize("url", PRIVATE_URLS)
def test_no_library_reaches_a_private_address_where_it_is_guarded(url: str, unheard: Trap) -> None:
    with guarded(), pytest.raises((AddressRefused, OSError, ValueError)):
        urllib.request.urlopen(with_port(url, unheard.port), timeout=0.3)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "2130706433", "[::ffff:127.0.0.1]", "localhost"])
def test_no_redirect_leads_to_a_private_address(status: int, host: str, unheard: Trap) -> None:
    there = f"http://{host}:{unheard.port}/secret"
    with site(lambda path, headers: Reply(status, headers={"Location": there})) as allowed:
        hosts = anywhere(unheard.port, private=frozenset({allowed.address}))
        with client(hosts) as web, pytest.raises(AddressRefused):
            web.get(f"{allowed.url}/a")

    assert [path for path, _ in allowed.requests] == ["/a"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leads_a_guarded_library_to_a_private_address(status: int, unheard: Trap) -> None:
    there = f"http://127.0.0.1:{unheard.port}/secret"
    with (
        site(lambda path, headers: Reply(status, headers={"Location": there})) as allowed,
        guarded(frozenset({allowed.address})) as guard,
        pytest.raises(AddressRefused),
    ):
        urllib.request.urlopen(allowed.url, timeout=5)

    assert guard.refused == ["127.0.0.1"]
    assert len(allowed.requests) == 1


OUT_OF_THE_WEB = [
    "file:///etc/passwd",
    "ftp://example.org/",
    "gopher://example.org/",
    "data:text/plain,hello",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("url", OUT_OF_THE_WEB)
def test_no_redirect_leads_out_of_the_web(url: str) -> None:
    with (
        site(lambda path, headers: Reply(302, headers={"Location": url})) as allowed,
        client(anywhere(private=frozenset({allowed.address}))) as web,
        pytest.raises((AddressRefused, httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.RemoteProtocolError)),
    ):
        web.get(allowed.url)


def test_a_redirect_to_a_host_that_is_not_allowed_is_not_followed() -> None:
    with site(lambda path, headers: Reply(302, headers={"Location": "https://example.net/"})) as allowed:
        hosts = UrlHosts(hosts_of("example.org").rules, frozenset({allowed.address}))
        with client(hosts) as web, pytest.raises(AddressRefused, match=r"example\.net"):
            web.get(allowed.url)


def test_a_redirect_that_never_ends_does() -> None:
    with (
        site(lambda path, headers: Reply(302, headers={"Location": f"{path}x"})) as allowed,
        client(UrlHosts(private=frozenset({allowed.address}))) as web,
        pytest.raises(httpx.TooManyRedirects),
    ):
        web.get(allowed.url)

    assert len(allowed.requests) == 6


@pytest.mark.parametrize("private", PRIVATE_ANSWERS)
@pytest.mark.parametrize("mixed", [False, True])
def test_a_name_that_has_a_private_address_among_others_is_refused(private: str, unheard: Trap, *, mixed: bool) -> None:
    def lookup(host: str, port: int) -> Sequence[str]:
        return ["1.1.1.1", private] if mixed else [private]

    with client(anywhere(unheard.port), lookup=lookup) as web, pytest.raises(AddressRefused):
        web.get(f"http://example.org:{unheard.port}/")


def test_a_name_that_changes_its_mind_reaches_only_what_was_checked(unheard: Trap) -> None:
    with site(lambda path, headers: Reply(302, headers={"Location": "/again"})) as allowed:
        answers = iter([[allowed.host], ["127.0.0.2"]])

        def lookup(host: str, port: int) -> Sequence[str]:
            return next(answers)

        with (
            client(anywhere(allowed.port, private=frozenset({allowed.address})), lookup=lookup) as web,
            pytest.raises(AddressRefused),
        ):
            web.get(f"http://rebinding.example:{allowed.port}/first")

    assert [(path, headers["host"]) for path, headers in allowed.requests] == [
        ("/first", f"rebinding.example:{allowed.port}")
    ]


def test_a_name_is_looked_up_once_a_request() -> None:
    asked = []

    def lookup(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with (
        site(lambda path, headers: Reply(body=b"there")) as allowed,
        client(anywhere(allowed.port, private=frozenset({allowed.address})), lookup=lookup) as web,
    ):
        assert web.get(f"http://EXAMPLE.org.:{allowed.port}/").content == b"there"

    assert asked == ["example.org"]


def test_the_next_address_is_tried_where_the_first_does_not_answer() -> None:
    with site(lambda path, headers: Reply(body=b"there"), host="127.0.0.2") as allowed:
        private = frozenset({allowed.address, ("127.0.0.1", allowed.port)})
        with client(anywhere(allowed.port, private=private), lookup=lambda *_: ["127.0.0.1", "127.0.0.2"]) as web:
            assert web.get(f"http://example.org:{allowed.port}/").content == b"there"


def test_a_name_without_an_address_is_a_fault_of_the_network() -> None:
    def lookup(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with client(anywhere(), lookup=lookup) as web, pytest.raises(httpx.ConnectError, match="has no address"):
        web.get("http://example.org/")


def test_a_proxy_of_the_operator_may_stand_in_a_private_network() -> None:
    with (
        site(lambda path, headers: Reply(body=b"by proxy")) as proxy,
        guarded(private_of(proxy.url)),
        client(hosts_of("example.org"), proxy=proxy.url) as web,
    ):
        assert web.get("http://example.org/a").content == b"by proxy"
        with pytest.raises(AddressRefused):
            web.get("http://169.254.169.254/")

    assert [path for path, _ in proxy.requests] == ["http://example.org/a"]


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("localhost", 1)),
        (socket.AF_INET, ("127.1", 1)),
        (socket.AF_INET, ("", 1)),
        (socket.AF_INET, (b"127.0.0.1", 1)),
        (socket.AF_INET6, ("::1", 1, 0, 0)),
        (socket.AF_INET6, ("::ffff:127.0.0.1", 1)),
        (socket.AF_UNIX, "/run/secret.sock"),
        (socket.AF_UNIX, b"\0abstract"),
    ],
)
def test_a_guarded_block_connects_to_nothing_else_either(family: socket.AddressFamily, address: Any) -> None:
    with guarded(), socket.socket(family, socket.SOCK_DGRAM) as one:
        for connect in (one.connect, one.connect_ex):
            with pytest.raises(AddressRefused):
                connect(address)
        with pytest.raises(AddressRefused):
            one.sendto(b"x", address)
        with pytest.raises(AddressRefused):
            one.sendmsg([b"x"], [], 0, address)


def test_a_guard_holds_its_own_thread_and_ends_with_its_block(closed: Trap) -> None:
    def connect() -> None:
        socket.create_connection(("127.0.0.1", closed.port)).close()

    with guarded():
        other = threading.Thread(target=connect)
        other.start()
        other.join()
        assert closed.visitors() == 1
        with guarded(frozenset({("127.0.0.1", closed.port)})):
            connect()
        with pytest.raises(AddressRefused):
            connect()
    connect()
    assert closed.visitors() == 2


def test_a_guarded_process_holds_all_its_threads(unheard: Trap) -> None:
    code = f"""
import socket, threading
from workers.outgoing import guard_process
guard = guard_process()
def connect():
    socket.create_connection(("127.0.0.1", {unheard.port}))
threading.excepthook = lambda found: print(found.exc_type.__name__)
thread = threading.Thread(target=connect); thread.start(); thread.join()
print(guard.refused)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split("\n")[:2] == ["AddressRefused", "['127.0.0.1']"]


def test_the_certificate_is_asked_of_the_name_and_not_of_the_address() -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def hear() -> None:
            connection, _ = listening.accept()
            with connection:
                heard.append(connection.recv(4096))

        thread = threading.Thread(target=hear)
        thread.start()
        hosts = anywhere(port, private=frozenset({("127.0.0.1", port)}))
        with client(hosts, lookup=lambda *_: ["127.0.0.1"]) as web, pytest.raises(httpx.TransportError):
            web.get(f"https://example.org:{port}/")
        thread.join()

    assert b"example.org" in heard[0]
