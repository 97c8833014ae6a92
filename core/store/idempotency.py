"""Idempotency keys: a submit that a client repeats under its key makes one job and gets one answer.

    begin ── first ──────────── complete (in the transaction that inserts the job)
      │                    └─── release (it failed: the key is free again)
      ├── answered before ───── the answer again, if the body is the same
      └── still in flight ───── IdempotencyInFlight

A request holds its key by its token and renews that right while its body arrives. When its process dies the right runs
out, and another request may take the key over; should the first live after all, `complete` refuses it and its job is
never inserted. All times are the database's.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.errors import IdempotencyInFlight

LEASE_S = 45.0
"""How long a key stays in flight after its request was last heard of."""
KEPT_S = 24 * 3600.0
"""How long an answer is given again."""

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to the first request, byte by byte."""

    status: int
    location: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Begun:
    """This request is the first with its key, and holds it."""

    account_id: UUID
    key: str
    token: UUID


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier request with this key was accepted: what it asked, as a fingerprint, and what it was answered."""

    fingerprint: bytes
    answer: Answer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the first request came to: a job or a batch, and what was answered."""

    fingerprint: bytes
    answer: Answer
    job_id: UUID | None = None
    batch_id: UUID | None = None


# One statement, so that of many who begin at once one gets the key: the others meet its row, wait for its commit, and
# find it neither expired nor theirs. What has expired, in flight or answered, is taken over as if it were not there.
_BEGIN = sa.text("""
INSERT INTO idempotency_keys AS held (account_id, key, token, expires_at)
VALUES (:account, :key, :token, now() + make_interval(secs => :lease_s))
ON CONFLICT (account_id, key) DO UPDATE
SET token = excluded.token, expires_at = excluded.expires_at, created_at = now(),
    fingerprint = NULL, job_id = NULL, batch_id = NULL, status = NULL, location = NULL, body = NULL
WHERE held.expires_at <= now()
RETURNING token
""")

_FIND = sa.text("""
SELECT fingerprint, status, location, body FROM idempotency_keys WHERE account_id = :account AND key = :key
""")


def begin(connection: Connection, account_id: UUID, key: str) -> Begun | Earlier:
    """Take the key, or find what was answered under it. Raises `IdempotencyInFlight`."""
    begun = Begun(account_id, key, uuid.uuid4())
    for _ in range(_TRIES):
        values = {"account": account_id, "key": key, "token": begun.token, "lease_s": LEASE_S}
        if connection.scalar(_BEGIN, values) is not None:
            return begun
        row = connection.execute(_FIND, {"account": account_id, "key": key}).one_or_none()
        if row is not None and row.status is None:
            raise IdempotencyInFlight()
        if row is not None:
            return Earlier(row.fingerprint, Answer(row.status, row.location, row.body))
        # Released in between: the key is free again.
    raise IdempotencyInFlight()


def renew(connection: Connection, begun: Begun) -> None:
    """Say that the request lives. Nothing happens if another has taken the key: `complete` will say so."""
    connection.execute(
        sa.text("""
            UPDATE idempotency_keys SET expires_at = now() + make_interval(secs => :lease_s)
            WHERE account_id = :account AND key = :key AND token = :token AND status IS NULL
        """),
        {**_held(begun), "lease_s": LEASE_S},
    )


# The fence: only the request that holds the key may answer under it. A row that was deleted because it had expired
# comes back; one that another request has taken over stays as it is, and RETURNING gives nothing.
_COMPLETE = sa.text("""
INSERT INTO idempotency_keys AS held
    (account_id, key, token, fingerprint, job_id, batch_id, status, location, body, expires_at)
VALUES (:account, :key, :token, :fingerprint, :job, :batch, :status, :location, :body,
        now() + make_interval(secs => :kept_s))
ON CONFLICT (account_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, job_id = excluded.job_id, batch_id = excluded.batch_id,
    status = excluded.status, location = excluded.location, body = excluded.body, expires_at = excluded.expires_at
WHERE held.token = excluded.token AND held.status IS NULL
RETURNING token
""")


def complete(connection: Connection, begun: Begun, outcome: Outcome) -> None:
    """Keep the answer, in the transaction that inserts what it tells of.

    Raises `IdempotencyInFlight` if another request has overtaken this one.
    """
    answer = outcome.answer
    values = {
        "fingerprint": outcome.fingerprint,
        "job": outcome.job_id,
        "batch": outcome.batch_id,
        "status": answer.status,
        "location": answer.location,
        "body": answer.body,
        "kept_s": KEPT_S,
    }
    if connection.scalar(_COMPLETE, {**_held(begun), **values}) is None:
        raise IdempotencyInFlight("Another request with this Idempotency-Key overtook this one; try again shortly.")


def release(connection: Connection, begun: Begun) -> None:
    """Free the key of a request that came to nothing. An answer that is stored, or another's right, stays."""
    connection.execute(
        sa.text("""
            DELETE FROM idempotency_keys
            WHERE account_id = :account AND key = :key AND token = :token AND status IS NULL
        """),
        _held(begun),
    )


def forget_batch(connection: Connection, batch_id: UUID) -> None:
    """Erase the answer about a batch: it names a job's file, and the job is being erased."""
    connection.execute(sa.text("DELETE FROM idempotency_keys WHERE batch_id = :batch"), {"batch": batch_id})


def delete_expired(connection: Connection) -> int:
    """Forget what has run out, answered or not; returns how many."""
    return connection.execute(sa.text("DELETE FROM idempotency_keys WHERE expires_at <= now()")).rowcount


def _held(begun: Begun) -> dict[str, object]:
    return {"account": begun.account_id, "key": begun.key, "token": begun.token}
