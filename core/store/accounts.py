"""Accounts and their API keys. A key is shown once; only its hash is kept.

A key opens its account until it is revoked: at once, or at a time to come, so that a new key can be handed out first.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from core.errors import Conflict, NotFound, Unauthorized
from core.lanes import Tier
from core.store import turns
from core.store.tables import accounts, api_keys, jobs

_KEY_BYTES = 32
_PREFIX_LENGTH = 9

_DELETED = "This account has been deleted."

_ERASING = accounts.c.erasing_since.is_not(None)
_WORKS = sa.or_(api_keys.c.revoked_at.is_(None), api_keys.c.revoked_at > sa.func.now())

# By an index: looking through the table, each slice would come by all that those before it have deleted.
_FORGET_SOME = [
    sa.text(f"""
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {table} WHERE account_id = :account ORDER BY {order} LIMIT :at_most FOR UPDATE SKIP LOCKED
        ))
    """)
    for table, order in (("usage_events", "period"), ("idempotency_keys", "key"), ("batches", "account_id"))
]


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a request acts for. `operator` accounts may look at the workers."""

    id: UUID
    name: str
    tier: Tier
    operator: bool


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key. It works until `revoked_at`, and for ever where that is None."""

    prefix: str
    created_at: datetime
    revoked_at: datetime | None
    works: bool


def create(connection: Connection, name: str, tier: Tier, *, operator: bool = False) -> Account:
    """Add an account. Raises `Conflict` when the name is taken."""
    if not name.strip():
        raise Conflict("An account needs a name.")
    account_id = connection.scalar(
        upsert(accounts)
        .values(name=name, tier=str(tier), operator=operator)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(accounts.c.id),
    )
    if account_id is None:
        raise Conflict(f"There is an account named {name!r} already.")
    return Account(account_id, name, tier, operator)


def by_name(connection: Connection, name: str) -> Account:
    """The account of that name. Raises `NotFound`."""
    row = connection.execute(sa.select(accounts).where(accounts.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no account named {name!r}.")
    return Account(row.id, row.name, Tier(row.tier), row.operator)


def set_tier(connection: Connection, name: str, tier: Tier) -> None:
    """Change the tier of the account of that name. Raises `NotFound`."""
    changed = connection.execute(sa.update(accounts).where(accounts.c.name == name).values(tier=str(tier)))
    if changed.rowcount == 0:
        raise NotFound(f"There is no account named {name!r}.")


def issue_key(connection: Connection, account_id: UUID) -> str:
    """A new key for the account. This return value is the only time it is seen.

    Raises `Conflict` for an account that is being erased: it would open nothing.
    """
    if connection.scalar(sa.select(accounts.c.name).where(accounts.c.id == account_id, _ERASING)) is not None:
        raise Conflict("This account is being erased, and no key opens it. `scribelane accounts delete` goes on.")
    key = "sl_" + secrets.token_urlsafe(_KEY_BYTES)
    connection.execute(
        sa.insert(api_keys).values(account_id=account_id, prefix=key[:_PREFIX_LENGTH], hash=_hash(key)),
    )
    return key


def by_key(connection: Connection, key: str) -> Account | None:
    """The account that a key belongs to, or None for an unknown or revoked key, or of an account that is erased."""
    row = connection.execute(
        sa.select(accounts)
        .join(api_keys, api_keys.c.account_id == accounts.c.id)
        .where(api_keys.c.hash == _hash(key), _WORKS, accounts.c.erasing_since.is_(None)),
    ).one_or_none()
    return None if row is None else Account(row.id, row.name, Tier(row.tier), row.operator)


def keys_of(connection: Connection, account_id: UUID) -> Sequence[Key]:
    """The keys that an account has had, the first made first."""
    query = sa.select(api_keys, _WORKS.label("works")).where(api_keys.c.account_id == account_id)
    rows = connection.execute(query.order_by(api_keys.c.id))
    return [Key(row.prefix, row.created_at, row.revoked_at, row.works) for row in rows]


def revoke_keys(connection: Connection, account_id: UUID, *, prefix: str | None = None, grace_s: float = 0) -> int:
    """Revoke the keys of an account that work, or those of them with this prefix; returns how many.

    They go on working for `grace_s`. One that ends sooner as it is keeps its end.
    """
    these = sa.update(api_keys).where(api_keys.c.account_id == account_id, _WORKS)
    if prefix is not None:
        these = these.where(api_keys.c.prefix == prefix)
    ends = sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, grace_s)
    return connection.execute(these.values(revoked_at=sa.func.least(api_keys.c.revoked_at, ends))).rowcount


def half_erased(connection: Connection, name: str) -> UUID | None:
    """The account of that name, if its erasure was begun and not finished."""
    found: UUID | None = connection.scalar(sa.select(accounts.c.id).where(accounts.c.name == name, _ERASING))
    return found


def close(connection: Connection, account_id: UUID) -> None:
    """Let nobody in any more, by no key, for ever: the account is being erased. Its ledger may go from now on."""
    first = sa.func.coalesce(accounts.c.erasing_since, sa.func.now())
    connection.execute(sa.update(accounts).where(accounts.c.id == account_id).values(erasing_since=first))
    revoke_keys(connection, account_id)


def check_open(connection: Connection, account_id: UUID) -> None:
    """Raises `Unauthorized` for an account that is being erased. Only who holds its row's lock may rely on it."""
    query = sa.select(accounts.c.erasing_since.is_(None)).where(accounts.c.id == account_id)
    if not connection.scalar(query):
        raise Unauthorized(_DELETED)


def forget_some(connection: Connection, account_id: UUID, at_most: int) -> int:
    """Delete some of the rows of which an account that is being erased may have very many; returns how many."""
    values = {"account": account_id, "at_most": at_most}
    return sum(connection.execute(statement, values).rowcount for statement in _FORGET_SOME)


def delete(connection: Connection, account_id: UUID) -> bool:
    """Forget an account that has no jobs, with all that is kept of it; False, and nothing is changed, if it has any.

    Keys, answers to repeated submits, batches of which nothing was accepted, the ledger, totals and reports go with
    its row. Whoever submits meanwhile comes before this, or finds no account.
    """
    turns.lock(connection)  # a round of dispatching notes whose turn it was, and waits for the account's row
    connection.execute(sa.select(accounts.c.id).where(accounts.c.id == account_id).with_for_update())
    # A statement of its own, after the lock: it sees the job of whoever held the account until now.
    if connection.scalar(sa.select(sa.exists().where(jobs.c.account_id == account_id))):
        return False
    turns.forget(connection, account_id)
    connection.execute(sa.delete(accounts).where(accounts.c.id == account_id))
    return True


@contextmanager
def existing() -> Iterator[None]:
    """Around the insertion of what an account submits. Raises `Unauthorized` if it was deleted since it was let in."""
    try:
        yield
    except IntegrityError as error:
        if isinstance(error.orig, psycopg.errors.ForeignKeyViolation):
            raise Unauthorized(_DELETED) from error
        raise


def _hash(key: str) -> bytes:
    # A key has 256 random bits, so a fast hash is enough; the look-up by hash leaks nothing of the key by its timing.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
