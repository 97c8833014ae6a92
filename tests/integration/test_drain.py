"""A worker that has to stop gives back what it works, at no charge."""

from __future__ import annotations

import pytest

from core.errors import LeaseLost
from core.store.accounts import Account
from core.store.chunks import Claim
from core.store.session import Database
from tests.integration import work
from workers.drain import hand_back


def _claim(database: Database, account: Account, worker_id: str) -> Claim:
    job_id = work.submit(database, account)
    claim = work.claim_one(database, job_id)
    work.execute(database, "UPDATE chunks SET worker_id = :worker WHERE id = :id", worker=worker_id, id=claim.chunk_id)
    return claim


def test_what_any_of_its_processes_works_waits_again_and_is_not_charged(database: Database, account: Account) -> None:
    held = [_claim(database, account, worker_id) for worker_id in ("io@host/0", "io@host/1")]

    assert hand_back(database, "io@host") == 2

    rows = [row for claim in held for row in work.chunk_rows(database, claim.job_id)]
    assert [(row.status, row.failures, row.lease_until, row.retry_at) for row in rows] == [
        ("queued", 0, None, None)
    ] * 2


def test_the_chunks_of_others_stay_theirs(database: Database, account: Account) -> None:
    claim = _claim(database, account, "io@host-2/0")

    assert hand_back(database, "io@host") == 0
    work.complete(database, claim)


def test_what_a_worker_still_delivers_of_a_chunk_that_was_given_back_is_refused(
    database: Database, account: Account
) -> None:
    claim = _claim(database, account, "io@host/0")
    hand_back(database, "io@host")

    with pytest.raises(LeaseLost):
        work.complete(database, claim)
    assert hand_back(database, "io@host") == 0
    assert work.claim_one(database, claim.job_id).attempt == claim.attempt + 1


def test_a_chunk_that_cannot_be_given_back_keeps_no_other_from_it(database: Database, account: Account) -> None:
    first, second, third = (_claim(database, account, "io@host/0") for _ in range(3))
    work.execute(
        database,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$",
    )
    when = f"BEFORE UPDATE ON chunks FOR EACH ROW WHEN (NEW.id = '{first.chunk_id}')"
    work.execute(database, f"CREATE TRIGGER refuse {when} EXECUTE FUNCTION refuse()")

    assert hand_back(database, "io@host") == 2

    rows = [row for claim in (first, second, third) for row in work.chunk_rows(database, claim.job_id)]
    assert [row.status for row in rows] == ["running", "queued", "queued"]
