"""No transaction may last: a limit on the server's side, and one on ours for a server that answers nothing any more.

A connection whose other end vanished without a word (a cable, a proxy that hangs, a machine that is stopped) blocks
whoever reads from it, and TCP's own checks do not see a proxy that still acknowledges. psycopg has no limit on reading,
so one thread a process looks after every open transaction and shuts the socket of one that is overdue: the reader gets
an `OperationalError`, as from any server that went away. `core.store.session` uses it for each transaction.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
import structlog

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Watched:
    connection: psycopg.Connection
    until: float


_watched: dict[int, _Watched] = {}
_lock = threading.Lock()
_watcher: threading.Thread | None = None


@contextmanager
def within(connection: psycopg.Connection, limit_s: float) -> Iterator[None]:
    """Shut the connection's socket if the block lasts longer than `limit_s`."""
    _start_watcher()
    key = id(connection)
    with _lock:
        _watched[key] = _Watched(connection, time.monotonic() + limit_s)
    try:
        yield
    finally:
        with _lock:
            _watched.pop(key, None)


def _start_watcher() -> None:
    global _watcher
    if _watcher is None or not _watcher.is_alive():  # a forked child has none
        with _lock:
            if _watcher is None or not _watcher.is_alive():
                _watcher = threading.Thread(target=_watch, name="database-deadlines", daemon=True)
                _watcher.start()


def _watch() -> None:
    while True:
        time.sleep(_LOOK_EVERY_S)
        with _lock:  # while it is held, no block ends: none of these sockets is closed, and its number taken again
            for key in [key for key, one in _watched.items() if time.monotonic() > one.until]:
                _shut(_watched.pop(key).connection)


def _shut(connection: psycopg.Connection) -> None:
    log.error("a transaction took too long; its connection is cut")
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as its:
        its.shutdown(socket.SHUT_RDWR)
