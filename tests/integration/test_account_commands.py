"""What an operator does to accounts from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from core.lanes import Tier
from core.quota import Unit
from core.settings import settings as process_settings
from core.store import accounts
from core.store.accounts import Account
from core.store.session import Database
from service.cli import app
from tests.integration import quota, work

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Run]:
    """`scribelane accounts …` on this test's database."""
    monkeypatch.setenv("SCRIBELANE_DATABASE_URL", database_url)
    process_settings.cache_clear()
    yield lambda *arguments, **options: CliRunner().invoke(app, ["accounts", *arguments], **options)
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
        (("keys", "nobody"), "nobody"),
        (("rotate", "nobody"), "nobody"),
        (("revoke", "ada", "sl_123456"), "sl_123456"),
        (("revoke", "ada", ""), "begins with"),
        (("delete", "nobody", "--yes"), "nobody"),
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


def opens(database: Database, key: str) -> bool:
    with database.transaction() as connection:
        return accounts.by_key(connection, key) is not None


def test_a_rotated_key_is_printed_once_and_the_old_ones_open_nothing(
    run: Run, database: Database, account: Account, key: str
) -> None:
    rotated = run("rotate", account.name)

    assert rotated.exit_code == 0
    assert opens(database, rotated.stdout.strip())
    assert not opens(database, key)
    assert rotated.stdout.strip() not in run("keys", account.name).output


def test_with_a_grace_the_old_key_goes_on_working_for_a_while(
    run: Run, database: Database, account: Account, key: str
) -> None:
    new = run("rotate", account.name, "--grace", "1.5").stdout.strip()

    assert opens(database, new)
    assert opens(database, key)
    listed = run("keys", account.name).stdout.splitlines()[1:]
    assert [line.split()[0] for line in listed] == [key[:9], new[:9]]
    assert ["works until" in line for line in listed] == [True, False]

    assert run("revoke", account.name, key[:9]).exit_code == 0
    assert not opens(database, key)
    assert opens(database, new)
    assert "revoked" in run("keys", account.name).stdout.splitlines()[1]


def test_the_api_refuses_a_key_as_soon_as_it_is_revoked(run: Run, api: TestClient, account: Account, key: str) -> None:
    before = api.get("/v1/jobs").status_code
    run("revoke", account.name, key[:9])
    refused = api.get("/v1/jobs")

    assert (before, refused.status_code, refused.json()["code"]) == (200, 401, "unauthorized")


def test_an_account_is_deleted_when_its_name_is_typed(
    run: Run, database: Database, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIBELANE_BLOB_URL", (tmp_path / "blobs").as_uri())
    work.submit(database, account)

    refused = run("delete", account.name, input="bob\n")
    assert (refused.exit_code, work.execute(database, "SELECT count(*) FROM jobs")[0][0]) == (1, 1)

    deleted = run("delete", account.name, input=f"{account.name}\n")
    assert deleted.exit_code == 0
    assert "1 jobs" in deleted.stderr
    assert work.execute(database, "SELECT FROM accounts") == []
