"""The ledger does not grow for ever: what a report has summed up goes after two years, and nothing else does."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from core.quota import Cost, Unit
from core.store import usage
from core.store.accounts import Account
from core.store.blobs import Blobs
from core.store.session import Database
from tests.integration import household, quota, work
from tests.integration.quota import MINUTE
from workers import accounting
from workers.upkeep import Slice, Swept

KEPT = 24


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


def forget(database: Database, blobs: Blobs, run: Slice | None = None) -> Swept:
    return household.do(database, blobs, "old_events", run=run)


def use(database: Database, account: Account, months_ago: int) -> None:
    """A completed job of two minutes and a grant, so many months ago; other usage is as much older."""
    work.finish(database, work.submit(database, account), 2)
    with database.transaction() as connection:
        usage.grant(connection, account.id, Cost(Unit.PAGES, Decimal(1)))
    quota.move_usage_to_last_month(database, months_ago)


def count(database: Database, table: str) -> int:
    found: int = work.execute(database, f"SELECT count(*) FROM {table}")[0][0]
    return found


def test_events_of_a_closed_month_go_after_two_years_and_its_report_stays(
    database: Database, account: Account, blobs: Blobs
) -> None:
    use(database, account, KEPT + 1)
    accounting.close_periods(database, work.TIERS)

    assert [forget(database, blobs).items for _ in range(2)] == [3, 0]

    assert (count(database, "usage_events"), count(database, "usage_totals")) == (0, 0)
    (report,) = work.execute(database, "SELECT used_audio_s, granted_pages FROM usage_reports")
    assert tuple(report) == (2 * MINUTE, Decimal(1))


def test_forgetting_changes_nothing_that_is_still_counted(database: Database, account: Account, blobs: Blobs) -> None:
    use(database, account, KEPT + 1)
    use(database, account, 0)
    accounting.close_periods(database, work.TIERS)
    before = [quota.balance(database, account, unit) for unit in Unit]

    assert forget(database, blobs).items == 3

    assert [quota.balance(database, account, unit) for unit in Unit] == before
    assert quota.totals_that_differ_from_the_ledger(database) == []
    assert accounting.reconcile(database) == 0
    assert accounting.close_periods(database, work.TIERS) == 0


def test_what_is_younger_or_in_no_report_stays(database: Database, account: Account, blobs: Blobs) -> None:
    use(database, account, 1)
    use(database, account, KEPT - 1)  # the first is as old now as it may be
    accounting.close_periods(database, work.TIERS)
    other = work.open_account(database, "grace")
    work.transcribing(database, other, 1)  # holds its minute for ever, so its month is never closed
    moved = "UPDATE {} SET period = period - interval '30 months' WHERE account_id = :id"
    with database.transaction() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for table in ("usage_events", "usage_totals"):
            connection.exec_driver_sql(moved.format(table).replace(":id", f"'{other.id}'"))

    assert forget(database, blobs) == Swept(0)
    assert count(database, "usage_events") == 7


def test_a_long_ledger_is_forgotten_slice_by_slice(
    database: Database, account: Account, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "_AT_ONCE", 2)
    use(database, account, KEPT + 1)
    accounting.close_periods(database, work.TIERS)

    first = forget(database, blobs, Slice(budget_s=0))

    assert (first.items, first.resume is not None) == (2, True)
    assert (count(database, "usage_events"), accounting.reconcile(database)) == (1, 0)
    assert forget(database, blobs, Slice(first.resume)) == Swept(1)
    assert quota.totals_that_differ_from_the_ledger(database) == []


@pytest.mark.parametrize(("months_ago", "closed"), [(1, True), (0, False), (KEPT + 1, False)])
def test_the_database_itself_refuses_to_forget_what_is_counted_or_in_no_report(
    database: Database, account: Account, months_ago: int, closed: bool
) -> None:
    use(database, account, months_ago)
    if closed:
        accounting.close_periods(database, work.TIERS)

    with pytest.raises(IntegrityError, match="append-only"):
        work.execute(database, "DELETE FROM usage_events")


def test_old_daily_reports_go_too(database: Database, blobs: Blobs) -> None:
    for months in (KEPT, KEPT - 1):
        figures = "1, 1, 0, 0, 0, 0, '{}', '{}'"
        day = f"(now() - interval '{months} months' - interval '1 day')::date"
        work.execute(database, f"INSERT INTO daily_reports VALUES ({day}, {figures}, now())")

    assert [forget(database, blobs).items for _ in range(2)] == [1, 0]
    assert count(database, "daily_reports") == 1
