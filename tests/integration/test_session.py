"""The pool of database connections keeps what it has opened."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from core.store.session import Database
from tests.integration import work
from tests.waiting import until

AT_ONCE = 12


def test_transactions_at_once_find_the_connections_of_those_before_them(database: Database) -> None:
    first, second = at_once(database), at_once(database)

    assert len(first) == AT_ONCE
    assert second == first


def at_once(database: Database) -> set[int]:
    """The backends of so many transactions that are open at the same time."""
    all_open = threading.Barrier(AT_ONCE, timeout=30)

    def backend() -> int:
        with database.transaction() as connection:
            pid: int = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            all_open.wait()
            return pid

    return set(work.together(AT_ONCE, *[backend] * AT_ONCE))


@pytest.mark.parametrize("rested_s", [0.0, 5.0])
def test_a_connection_that_died_while_it_rested_is_replaced(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, rested_s: float
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr("core.store.session.time", SimpleNamespace(monotonic=lambda: now[0]))
    with database.transaction() as connection:
        first = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    other = Database(database_url, pool_size=1)
    work.execute(other, "SELECT pg_terminate_backend(:pid)", pid=first)
    until(lambda: not work.execute(other, "SELECT FROM pg_stat_activity WHERE pid = :pid", pid=first))
    other.close()
    now[0] += rested_s

    def pid() -> object:
        return work.execute(database, "SELECT pg_backend_pid() AS pid")[0].pid

    if rested_s:
        assert pid() != first
        return
    with pytest.raises(OperationalError):
        pid()
    assert pid() != first  # one transaction at most meets it
