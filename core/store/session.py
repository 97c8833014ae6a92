"""Connections to PostgreSQL: one pool a process, one transaction a `with` block."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection, ExceptionContext, make_url
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from core.errors import Misconfigured
from core.store import deadlines

_USED_AT = "used_at"
_RESTED_S = 1.0
"""Of a pooled connection: a ping for each transaction would be a tenth of what a busy API asks of PostgreSQL."""

TRANSACTION_S = 60.0
"""A transaction that takes longer is ended by the server, and given up here: nothing that the service does all day
takes a tenth of it, and one that hangs holds locks that others wait for."""
_SLACK_S = 5.0
_PING_S = 5.0
# The server's side of what `connect_args` say of ours: by itself it holds the locks of a lost machine for two hours.
_NOTICE_A_LOST_MACHINE = sa.text("""
SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false)
""")
_NO_LIMIT = sa.text("SET transaction_timeout = 0")
_LOCK = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


class Database:
    """A pool of connections that survives a restart of PostgreSQL.

    `url` is a `postgresql://` URL; sockets are given as `?host=/folder`. At most `pool_size` connections are opened,
    each when it is first needed, and kept: to open one costs more than most of what it is used for. No transaction
    lasts longer than `transaction_s`; None is for the rare work that may, such as a migration.
    """

    def __init__(self, url: str, *, pool_size: int = 15, transaction_s: float | None = TRANSACTION_S) -> None:
        if not url:
            raise Misconfigured("SCRIBELANE_DATABASE_URL is not set; `scribelane up` brings a database of its own.")
        self._engine = sa.create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=0,
            hide_parameters=True,  # an error that is logged would tell what a client sent, such as a password
            pool_timeout=10,
            connect_args={
                "connect_timeout": 5,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
                "application_name": "scribelane",
            },
        )
        self._transaction_s = transaction_s
        sa.event.listen(self._engine, "connect", self._limit_transactions)
        sa.event.listen(self._engine, "handle_error", _take_a_timeout_for_an_absence)
        sa.event.listen(self._engine, "checkin", _note_use)
        sa.event.listen(self._engine, "checkout", self._ping_after_a_rest)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed at the end of the block, or undone by an exception."""
        with self._engine.connect() as connection, self._in_time(connection), connection.begin():
            yield connection

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Whether nobody else is in a block of this name, in any process; nobody can enter one until this ends.

        A connection of its own holds the lock, so a process that dies lets go of it.
        """
        with self._engine.connect() as opened:
            connection = opened.execution_options(isolation_level="AUTOCOMMIT")
            with deadlines.within(_psycopg_of(connection), _PING_S):
                connection.execute(_NOTICE_A_LOST_MACHINE)
                alone = bool(connection.scalar(_LOCK, {"name": name}))
            try:
                yield alone
            finally:
                if alone:  # the connection was quiet all the while, and may be dead by now
                    with deadlines.within(_psycopg_of(connection), _PING_S):
                        connection.execute(_UNLOCK, {"name": name})

    @contextmanager
    def unhurried(self) -> Iterator[Connection]:
        """A connection without a transaction or a limit of time: each statement commits by itself, and may take hours.

        For what PostgreSQL does in no transaction of ours, such as building an index while others write. What the block
        sets for its session goes with it: the connection is closed.
        """
        with self._engine.connect() as opened:
            connection = opened.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(_NOTICE_A_LOST_MACHINE)
            connection.execute(_NO_LIMIT)
            try:
                yield connection
            finally:
                connection.invalidate()

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()

    @contextmanager
    def _in_time(self, connection: Connection) -> Iterator[None]:
        if self._transaction_s is None:
            yield
            return
        with deadlines.within(_psycopg_of(connection), self._transaction_s + _SLACK_S):
            yield

    def _limit_transactions(self, connection: Any, _: ConnectionPoolEntry) -> None:
        if self._transaction_s is not None:
            connection.execute(f"SET transaction_timeout = {round(self._transaction_s * 1000)}")
            connection.commit()

    def _ping_after_a_rest(self, connection: Any, record: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        """A connection that died with the server is replaced, not handed out; one in steady use is not asked."""
        if time.monotonic() - record.info.get(_USED_AT, 0.0) > _RESTED_S:
            try:
                with deadlines.within(connection, _PING_S):
                    self._engine.dialect.do_ping(connection)
            except psycopg.Error as error:
                raise sa.exc.DisconnectionError() from error


def _psycopg_of(connection: Connection) -> psycopg.Connection:
    found: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    return found


def _take_a_timeout_for_an_absence(context: ExceptionContext) -> BaseException | None:
    """What a server that is away raises is handled everywhere; psycopg calls this one an internal error."""
    cause = context.original_exception
    if not isinstance(cause, psycopg.errors.TransactionTimeout):
        return None
    context.is_disconnect = True
    return sa.exc.OperationalError(context.statement, context.parameters, cause, connection_invalidated=True)


def _note_use(_: Any, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()
