"""Accounts are told apart by name and by key; a key is kept as a hash alone."""

from __future__ import annotations

import uuid

import pytest

from core.errors import Conflict, NotFound
from core.lanes import Tier
from core.store import accounts
from core.store.accounts import Account
from core.store.session import Database
from tests.integration import work


def by_key(database: Database, key: str) -> Account | None:
    with database.transaction() as connection:
        return accounts.by_key(connection, key)


def issue(database: Database, account: Account) -> str:
    with database.transaction() as connection:
        return accounts.issue_key(connection, account.id)


def revoke(database: Database, account: Account, *, prefix: str | None = None, grace_s: float = 0) -> int:
    with database.transaction() as connection:
        return accounts.revoke_keys(connection, account.id, prefix=prefix, grace_s=grace_s)


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("operator", [False, True])
def test_an_account_is_found_by_its_name_as_it_was_made(database: Database, tier: Tier, operator: bool) -> None:
    made = work.open_account(database, "grace", tier, operator=operator)

    with database.transaction() as connection:
        assert accounts.by_name(connection, "grace") == made == Account(made.id, "grace", tier, operator)


def test_a_name_that_nobody_has_is_not_found(database: Database) -> None:
    with database.transaction() as connection, pytest.raises(NotFound, match="nobody"):
        accounts.by_name(connection, "nobody")


def test_a_name_is_given_once(database: Database, account: Account) -> None:
    with pytest.raises(Conflict, match="ada"):
        work.open_account(database, account.name)


def test_of_two_who_take_a_name_at_once_one_gets_it(database: Database) -> None:
    answers = work.together(8, *[lambda: work.open_account(database, "grace")] * 8)

    assert sorted(type(answer).__name__ for answer in answers) == ["Account", *["Conflict"] * 7]


@pytest.mark.parametrize("name", ["", "  "])
def test_an_account_needs_a_name(database: Database, name: str) -> None:
    with pytest.raises(Conflict):
        work.open_account(database, name)


def test_a_key_leads_to_its_account(database: Database, account: Account) -> None:
    assert by_key(database, issue(database, account)) == account


def test_each_key_of_an_account_works(database: Database, account: Account) -> None:
    keys = {issue(database, account) for _ in range(3)}

    assert [by_key(database, key) for key in keys] == [account] * 3


@pytest.mark.parametrize("key", ["", "sl_", "sl_" + "x" * 43, "🗝", "\ud800", "a\x00b"])
def test_another_key_leads_nowhere(database: Database, account: Account, key: str) -> None:
    issue(database, account)

    assert by_key(database, key) is None


def test_a_revoked_key_leads_nowhere(database: Database, account: Account) -> None:
    key, other = issue(database, account), issue(database, account)

    assert revoke(database, account, prefix=key[:9]) == 1

    assert by_key(database, key) is None
    assert by_key(database, other) == account


def test_a_key_with_a_grace_works_until_it_has_run_out(database: Database, account: Account) -> None:
    key = issue(database, account)

    assert revoke(database, account, grace_s=3600) == 1
    assert by_key(database, key) == account

    work.execute(database, "UPDATE api_keys SET revoked_at = revoked_at - interval '3600 s'")
    assert by_key(database, key) is None


def test_a_grace_is_shortened_by_a_later_one_and_never_lengthened(database: Database, account: Account) -> None:
    key = issue(database, account)

    def lasts_h() -> list[float]:
        return [
            round(row.s / 3600, 2)
            for row in work.execute(database, "SELECT extract(epoch FROM revoked_at - now()) AS s FROM api_keys")
        ]

    found = []
    for grace_h in (2, 5, 1):
        revoke(database, account, grace_s=grace_h * 3600)
        found += lasts_h()
    assert found == [2, 2, 1]
    assert revoke(database, account) == 1
    assert by_key(database, key) is None


def test_a_key_is_revoked_once_and_stays_so(database: Database, account: Account) -> None:
    key = issue(database, account)

    assert [revoke(database, account) for _ in range(2)] == [1, 0]
    assert by_key(database, key) is None


def test_the_keys_of_others_are_left_alone(database: Database, account: Account) -> None:
    other = work.open_account(database, "grace")
    key = issue(database, other)

    assert revoke(database, account) == revoke(database, account, prefix=key[:9]) == 0
    assert by_key(database, key) == other


def test_a_key_is_not_stored(database: Database, account: Account) -> None:
    key = issue(database, account)

    stored = str(work.execute(database, "SELECT prefix, encode(hash, 'escape'), encode(hash, 'hex') FROM api_keys"))

    assert key.startswith("sl_")
    assert len(key) > 40
    assert key[9:] not in stored


def test_a_key_needs_an_account(database: Database) -> None:
    stranger = Account(uuid.uuid4(), "nobody", Tier.FREE, False)

    with pytest.raises(Exception, match="api_keys"):
        issue(database, stranger)
