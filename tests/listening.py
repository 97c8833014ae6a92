"""Real servers on loopback: one that answers as a test says, and one that must never hear anything."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Reply:
    """An answer. `breaks_after`: so many bytes of the body are sent, and then the connection is closed.

    `holds`: what there is of the body is sent, and then nothing, until the other side goes away. `drips`: it is sent
    byte by byte, a hundred in a second at most.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks_after: int | None = None
    holds: bool = False
    drips: bool = False


@dataclass
class Site:
    """A server at `url`. `requests` are what it was asked, each with its headers."""

    port: int
    host: str = "127.0.0.1"
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://{self.host}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        """As a guard permits it."""
        return self.host, self.port


Answering = Callable[[str, Mapping[str, str]], Reply]


@contextmanager
def site(answer: Answering, host: str = "127.0.0.1") -> Iterator[Site]:
    """A server that answers every GET with what `answer` makes of its path and headers. As a proxy it refuses."""
    found = Site(0, host)

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.requests.append((self.path, headers))
            reply = answer(self.path, headers)
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # who refuses what is too large does not read it
                body = reply.body[: reply.breaks_after]
                for piece in (bytes([one]) for one in body) if reply.drips else (body,):
                    self.wfile.write(piece)
                    time.sleep(0.01 if reply.drips else 0)
                if reply.holds:
                    self.rfile.read(1)
            self.close_connection = True

        def do_CONNECT(self) -> None:
            found.requests.append((self.path, {}))
            self.send_error(502)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer((host, 0), Answer) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Trap:
    """A port on every address of this machine, and who connected to it."""

    port: int
    listening: tuple[socket.socket, ...]

    def visitors(self) -> int:
        """How many connections were made since the last time it was asked."""
        return sum(_accepted(one) for one in self.listening)


def _accepted(listening: socket.socket) -> int:
    """The kernel completes a connection before `connect` returns, so none is still on its way."""
    n = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return n
        n += 1


@contextmanager
def trap() -> Iterator[Trap]:
    """A listening port, of IPv4 and where there is one of IPv6."""
    with socket.create_server(("0.0.0.0", 0)) as of_4:
        port = of_4.getsockname()[1]
        every = [of_4]
        with suppress(OSError):  # where there is no IPv6
            every.append(socket.create_server(("::", port), family=socket.AF_INET6))
        for one in every:
            one.setblocking(False)
        try:
            yield Trap(port, tuple(every))
        finally:
            for one in every[1:]:
                one.close()
