"""A TCP proxy on the loopback that can stop forwarding without closing anything: a half-open connection."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Forwards to `target`: a host and port, or the path of a UNIX socket."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._pairs: list[_Pair] = []
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def go_dead(self) -> int:
        """Every connection that is open now carries nothing any more, for good; new ones work. Returns how many."""
        dead = [pair for pair in self._pairs if not pair.ended]
        for pair in dead:
            pair.forwarding = False
        return len(dead)

    def close(self) -> None:
        self._closed = True
        self._listening.close()
        for pair in self._pairs:
            pair.end()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            self._pairs = [pair for pair in self._pairs if not pair.ended]
            self._pairs.append(_Pair(client, server))

    def _connect(self) -> socket.socket:
        if isinstance(self._target, str):
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            return server
        return socket.create_connection(self._target)


class _Pair:
    """One client and its connection to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.forwarding = True
        self.ended = False
        self._other = {client: server, server: client}
        threading.Thread(target=self._run, daemon=True).start()

    def end(self) -> None:
        self.ended = True
        for one in self._other:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one in self._other:
                selector.register(one, selectors.EVENT_READ)
            with contextlib.suppress(OSError):
                while self._forward(selector):
                    pass
        self.ended = True
        for one in self._other:
            one.close()

    def _forward(self, selector: selectors.BaseSelector) -> bool:
        for found, _ in selector.select():
            one = found.fileobj
            assert isinstance(one, socket.socket)
            received = one.recv(65536)
            if not received:
                return False
            if self.forwarding:
                self._other[one].sendall(received)
        return True
