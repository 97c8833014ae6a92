"""Connections to PostgreSQL: one pool a process, one transaction a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection, make_url

from core.errors import Misconfigured


class Database:
    """A pool of connections that survives a restart of PostgreSQL.

    `url` is a `postgresql://` URL; sockets are given as `?host=/folder`. At most `pool_size` connections are opened,
    each when it is first needed, and kept: to open one costs more than most of what it is used for.
    """

    def __init__(self, url: str, *, pool_size: int = 15) -> None:
        if not url:
            raise Misconfigured("SCRIBELANE_DATABASE_URL is not set; `scribelane up` brings a database of its own.")
        self._engine = sa.create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=True,  # a connection that died with the server is replaced, not handed out
            connect_args={
                "connect_timeout": 5,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
                "application_name": "scribelane",
            },
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed at the end of the block, or undone by an exception."""
        with self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()
