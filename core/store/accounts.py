"""Accounts and their API keys. A key is shown once; only its hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection

from core.errors import Conflict, NotFound
from core.lanes import Tier
from core.store.tables import accounts, api_keys

_KEY_BYTES = 32
_PREFIX_LENGTH = 9


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a request acts for. `operator` accounts may look at the workers."""

    id: UUID
    name: str
    tier: Tier
    operator: bool


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
    """A new key for the account. This return value is the only time it is seen."""
    key = "sl_" + secrets.token_urlsafe(_KEY_BYTES)
    connection.execute(
        sa.insert(api_keys).values(account_id=account_id, prefix=key[:_PREFIX_LENGTH], hash=_hash(key)),
    )
    return key


def by_key(connection: Connection, key: str) -> Account | None:
    """The account that a key belongs to, or None for an unknown or revoked key."""
    row = connection.execute(
        sa.select(accounts)
        .join(api_keys, api_keys.c.account_id == accounts.c.id)
        .where(api_keys.c.hash == _hash(key), api_keys.c.revoked_at.is_(None)),
    ).one_or_none()
    return None if row is None else Account(row.id, row.name, Tier(row.tier), row.operator)


def _hash(key: str) -> bytes:
    # A key has 256 random bits, so a fast hash is enough; the look-up by hash leaks nothing of the key by its timing.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
