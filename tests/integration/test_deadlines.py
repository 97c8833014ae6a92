"""No transaction lasts, neither on a server that works on nor on a connection that nobody answers any more."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from core.store import deadlines, session
from core.store.session import Database
from tests.faults.proxy import Proxy


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    folder = urllib.parse.parse_qs(urllib.parse.urlsplit(database_url).query)["host"][0]
    opened = Proxy(f"{folder}/.s.PGSQL.5432")
    yield opened
    opened.close()


@pytest.fixture
def behind(proxy: Proxy, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database whose transactions may take a second, behind a proxy."""
    monkeypatch.setattr(session, "_SLACK_S", 0.5)
    monkeypatch.setattr(session, "_PING_S", 0.5)
    monkeypatch.setattr(deadlines, "_LOOK_EVERY_S", 0.1)
    name = urllib.parse.urlsplit(database_url).path
    opened = Database(f"postgresql://postgres@127.0.0.1:{proxy.port}{name}", pool_size=1, transaction_s=1.0)
    yield opened
    opened.close()


def test_the_server_ends_a_transaction_that_takes_too_long_and_with_it_its_locks(behind: Database) -> None:
    with pytest.raises(OperationalError, match="transaction timeout"), behind.transaction() as connection:
        connection.execute(sa.text("SELECT pg_sleep(30)"))


def test_a_reader_whose_connection_went_dead_gets_an_error_and_the_next_one_a_new_connection(
    behind: Database, proxy: Proxy
) -> None:
    def read() -> None:
        with behind.transaction() as connection:
            assert proxy.go_dead() == 1
            connection.execute(sa.text("SELECT 1"))

    began = time.monotonic()
    with pytest.raises(OperationalError):
        read()
    assert time.monotonic() - began < 20  # TCP itself would have waited for ever
    with behind.transaction() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_a_connection_that_went_dead_in_the_pool_is_replaced(
    behind: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with behind.transaction() as connection:
        connection.execute(sa.text("SELECT 1"))
    proxy.go_dead()
    monkeypatch.setattr(session, "_RESTED_S", 0.0)
    with behind.transaction() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_a_guard_whose_connection_went_dead_is_let_go_of_with_an_error(behind: Database, proxy: Proxy) -> None:
    def guarded() -> None:
        with behind.alone("sweeping") as alone:
            assert alone
            assert proxy.go_dead() == 1

    with pytest.raises(OperationalError):
        guarded()
