"""What an operator does to accounts from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from core.lanes import Tier
from core.quota import Unit
from core.settings import settings as process_settings
from core.store import accounts
from core.store.accounts import Account
from core.store.session import Database
from service.cli import app
from tests.integration import quota

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Run]:
    """`scribelane accounts …` on this test's database."""
    monkeypatch.setenv("SCRIBELANE_DATABASE_URL", database_url)
    process_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(app, ["accounts", *arguments])
    process_settings.cache_clear()


def test_an_account_is_made_and_its_key_printed(run: Run, database: Database) -> None:
    made = run("create", "grace", "--tier", "pro")

    assert made.exit_code == 0
    with database.transaction() as connection:
        account = accounts.by_key(connection, made.stdout.strip())
    assert account is not None
    assert (account.name, account.tier) == ("grace", Tier.PRO)


def test_the_tier_of_an_account_can_be_changed(run: Run, database: Database, account: Account) -> None:
    assert run("set-tier", account.name, "enterprise").exit_code == 0

    with database.transaction() as connection:
        assert accounts.by_name(connection, account.name).tier is Tier.ENTERPRISE
    assert quota.balance(database, account).remaining is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("set-tier", "ada", "gold"), "free, pro, enterprise"),
        (("set-tier", "nobody", "pro"), "nobody"),
        (("grant", "nobody", "--pages", "1"), "nobody"),
        (("grant", "ada"), "--audio-hours"),
        (("create", "bob", "--tier", "gold"), "free, pro, enterprise"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    run: Run, account: Account, arguments: tuple[str, ...], says: str
) -> None:
    refused = run(*arguments)

    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    assert says in refused.stderr


def test_a_grant_adds_to_the_quota_of_this_month(run: Run, database: Database, account: Account) -> None:
    before = quota.balance(database, account).remaining
    granted = [run("grant", account.name, "--audio-hours", "1.5", "--pages", "20") for _ in range(2)]

    assert [one.exit_code for one in granted] == [0, 0]
    assert "5400 s of audio, 20 pages" in granted[0].stderr
    assert before is not None
    assert quota.balance(database, account).remaining == before + 2 * 5400
    assert quota.balance(database, account, Unit.PAGES).granted == 40
    assert quota.totals_that_differ_from_the_ledger(database) == []


@pytest.mark.parametrize("amount", [("--pages", "-1"), ("--audio-hours", "inf"), ("--audio-hours", "1e12")])
def test_a_grant_below_zero_or_beyond_measure_is_refused(
    run: Run, database: Database, account: Account, amount: tuple[str, str]
) -> None:
    assert run("grant", account.name, *amount).exit_code == 2
    assert quota.balance(database, account, Unit.PAGES).granted == 0
    assert quota.balance(database, account, Unit.AUDIO_S).granted == 0
