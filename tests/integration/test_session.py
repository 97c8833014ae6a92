"""The pool of database connections keeps what it has opened."""

from __future__ import annotations

import threading

from core.store.session import Database
from tests.integration import work

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
