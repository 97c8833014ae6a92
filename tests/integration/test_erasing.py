"""What is erased is gone everywhere: every table and every blob is searched for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection

from core import erasure
from core.dispatch import Dispatcher
from core.erasure import erase_account, erase_job
from core.errors import Conflict, NotFound, Unauthorized
from core.lanes import Tier
from core.quota import Unit, amount_of
from core.store import accounts, jobs, turns, usage
from core.store.accounts import Account
from core.store.blobs import Blobs, chunk_key, input_key
from core.store.session import Database
from tests.integration import batched, repeated, work
from tests.integration.traces import files_with, tables_with
from tests.waiting import until
from workers.accounting import reconcile

NAME, WORDS, SHELF, MEDIA = "unrepeatable-name.wav", "Words of part 0", "an-unusual-shelf", b"RIFFmedia-of-its-own"
TEXTS = (NAME, WORDS, SHELF, MEDIA.decode())


@pytest.fixture
def account(database: Database) -> Account:
    """Of a name that stands in no id: three letters may be digits of one."""
    with database.transaction() as connection:
        return accounts.create(connection, "an-unmistakable-owner", Tier.PRO)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


def worked(api: TestClient, database: Database, blobs: Blobs) -> UUID:
    """A job that was submitted under a key and has left a trace wherever one is left."""
    answer = repeated.submit(
        api, file=(NAME, MEDIA), metadata=f'{{"shelf": "{SHELF}"}}', prompt=SHELF, language="en", model="fake"
    )
    job_id = UUID(answer.json()["id"])
    work.prepare(database, job_id, 2)
    blobs.put(chunk_key(job_id, 0), b"audio")
    with database.transaction() as connection:
        turns.dispatch(connection, work.PROMISES)
    work.finish(database, job_id)
    return job_id


def left_of(database: Database, folder: Path, *traces: object) -> Mapping[str, list[Any]]:
    """Where anything of it is found."""
    found = {str(trace): [*tables_with(database, str(trace)), *files_with(folder, str(trace))] for trace in traces}
    return {trace: places for trace, places in found.items() if places}


def test_the_search_finds_what_is_there(
    api: TestClient, database: Database, account: Account, blobs: Blobs, tmp_path: Path
) -> None:
    job_id = worked(api, database, blobs)

    found = left_of(database, tmp_path / "blobs", *TEXTS, job_id, account.id)

    assert found[NAME] == ["idempotency_keys", "jobs"]
    assert found[SHELF] == ["idempotency_keys", "jobs"]
    assert found[WORDS] == ["segments"]
    assert found[MEDIA.decode()] == [tmp_path / "blobs" / input_key(job_id)]
    assert {"api_keys", "chunks", "usage_events", "usage_totals", "vectors"} <= set(found[str(account.id)])


def test_of_a_deleted_job_the_ledger_alone_keeps_its_number(
    api: TestClient, database: Database, account: Account, blobs: Blobs, tmp_path: Path
) -> None:
    job_id = worked(api, database, blobs)

    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204

    assert left_of(database, tmp_path / "blobs", *TEXTS) == {}
    assert set(left_of(database, tmp_path / "blobs", job_id)[str(job_id)]) <= {"usage_events", "job_turns"}


def test_of_a_deleted_batch_nothing_is_left(
    api: TestClient, database: Database, account: Account, blobs: Blobs, tmp_path: Path
) -> None:
    items = [{"kind": "transcription", "file": NAME}, {"kind": "document", "file": f"refused-{NAME}"}]
    batch = batched.submit(api, items, {NAME: MEDIA, f"refused-{NAME}": b""}, key="once").json()

    for job_id in batched.job_ids(batch):
        api.delete(f"/v1/jobs/{job_id}")

    assert left_of(database, tmp_path / "blobs", *TEXTS, batch["id"]) == {}


def test_of_a_deleted_account_nothing_is_left_and_others_keep_all(
    api: TestClient, database: Database, account: Account, blobs: Blobs, tmp_path: Path
) -> None:
    neighbour = work.open_account(database, "grace")
    kept = work.submit(database, neighbour)
    blobs.put(input_key(kept), b"neighbour's")
    done, waits = worked(api, database, blobs), work.submit(database, account, concurrent_jobs=1)
    batch = batched.submit(api, [{"kind": "document", "file": NAME}], {NAME: b""}, key="refused").json()
    with database.transaction() as connection:
        usage.grant(connection, account.id, amount_of(Unit.PAGES, 5) or pytest.fail("no amount"))
        turns.dispatch(connection, work.PROMISES)
    assert {"account_turns", "batches"} <= set(tables_with(database, str(account.id)))

    assert erase_account(database, blobs, account.id) == 2

    traces = (*TEXTS, account.name, account.id, done, waits, batch["id"])
    assert left_of(database, tmp_path / "blobs", *traces) == {}
    assert work.job(database, kept).account_id == neighbour.id
    assert blobs.get(input_key(kept)) == b"neighbour's"
    assert api.get("/v1/jobs").status_code == 401


class _FailingOnce(Blobs):
    """A blob store that fails at its third erasing, as if the process were killed there."""

    calls = 0

    def erase(self, prefix: str) -> int:
        self.calls += 1
        if self.calls == 3:
            raise OSError("killed here")
        return super().erase(prefix)


def test_a_deletion_that_broke_off_lets_nothing_in_and_is_finished_by_a_second_one(
    api: TestClient, database: Database, account: Account, key: str, tmp_path: Path
) -> None:
    blobs = _FailingOnce((tmp_path / "blobs").as_uri())
    ids = [work.submit(database, account) for _ in range(3)]
    for job_id in ids:
        blobs.put(input_key(job_id), MEDIA)

    with pytest.raises(OSError, match="killed"):
        erase_account(database, blobs, account.id)
    assert api.get("/v1/jobs").status_code == 401
    with database.transaction() as connection:
        assert accounts.by_name(connection, account.name) == account

    assert erase_account(database, blobs, account.id) == 2
    assert left_of(database, tmp_path / "blobs", account.id, account.name, MEDIA.decode(), *ids) == {}


@pytest.mark.timeout(120)
def test_whoever_submits_while_an_account_is_deleted_leaves_nothing_behind(
    api: TestClient, database: Database, account: Account, blobs: Blobs, tmp_path: Path, dispatcher: Dispatcher
) -> None:
    deleted = threading.Event()

    def submit(number: int) -> set[int]:
        seen = set()
        while not deleted.is_set():
            seen.add(repeated.submit(api, f"{number}", file=(NAME, MEDIA)).status_code)
            seen.add(batched.submit(api, [{"kind": "document", "file": NAME}], {NAME: MEDIA}).status_code)
        return seen

    def dispatch() -> None:
        while not deleted.is_set():
            dispatcher.round()

    def delete() -> int:
        try:
            while work.execute(database, "SELECT count(*) FROM jobs")[0][0] < 10:
                pass
            return erase_account(database, blobs, account.id)
        finally:
            deleted.set()

    *statuses, _, n_erased = work.together(6, *[partial(submit, n) for n in range(4)], dispatch, delete)

    assert set().union(*statuses) <= {202, 401, 404, 409}
    assert n_erased >= 10
    assert left_of(database, tmp_path / "blobs", account.id, NAME, MEDIA.decode()) == {}


def test_a_job_that_comes_after_its_account_is_gone_is_refused(database: Database, account: Account) -> None:
    with database.transaction() as connection:
        assert accounts.delete(connection, account.id)

    with pytest.raises(Unauthorized):
        work.submit(database, account)


def test_an_account_that_is_being_erased_takes_no_job_from_whoever_was_let_in_before(
    api: TestClient, database: Database, account: Account
) -> None:
    with database.transaction() as connection:
        accounts.close(connection, account.id)

    with pytest.raises(Unauthorized, match="deleted"):
        work.submit(database, account)
    assert work.execute(database, "SELECT FROM jobs") == []


def test_no_key_opens_an_account_that_is_being_erased(api: TestClient, database: Database, account: Account) -> None:
    with database.transaction() as connection:
        key = accounts.issue_key(connection, account.id)
    authorized = {"Authorization": f"Bearer {key}"}
    assert api.get("/v1/jobs", headers=authorized).status_code == 200

    with database.transaction() as connection:
        accounts.close(connection, account.id)
    work.execute(database, "UPDATE api_keys SET revoked_at = NULL")

    assert api.get("/v1/jobs", headers=authorized).status_code == 401
    with pytest.raises(Conflict, match="being erased"), database.transaction() as connection:
        accounts.issue_key(connection, account.id)


def with_a_long_ledger(database: Database, account: Account, n_events: int) -> None:
    """An account that has used something so often, in months that are reported and in one that is not."""
    work.execute(
        database,
        "INSERT INTO usage_events (account_id, job_id, period, unit, kind, amount) "
        "SELECT :account, gen_random_uuid(), "
        "(date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => n % 3))::date, 'pages', 'reserve', 1 "
        "FROM generate_series(1, :n) n",
        account=account.id,
        n=n_events,
    )


def n_events(database: Database, account: Account) -> int:
    statement = "SELECT count(*) FROM usage_events WHERE account_id = :account"
    count: int = work.execute(database, statement, account=account.id)[0][0]
    return count


def test_what_there_may_be_millions_of_goes_in_slices_before_the_transaction_that_keeps_dispatchers_waiting(
    database: Database, account: Account, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour = work.open_account(database, "grace")
    for one in (account, neighbour):
        with_a_long_ledger(database, one, 25)
    seen: list[int] = []
    wait_for_it = turns.lock

    def lock(connection: Connection) -> None:
        seen.append(n_events(database, account))
        wait_for_it(connection)

    monkeypatch.setattr(erasure, "_ROWS_AT_ONCE", 10)
    monkeypatch.setattr(turns, "lock", lock)
    work.execute(database, _COUNT_EACH_DELETE)

    erase_account(database, blobs, account.id)

    assert seen == [0]
    assert [row.n for row in work.execute(database, "SELECT n FROM deletes WHERE n > 0 ORDER BY n")] == [5, 10, 10]
    assert n_events(database, neighbour) == 25


_COUNT_EACH_DELETE = """
CREATE TABLE deletes (n bigint);
CREATE FUNCTION count_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deletes SELECT count(*) FROM old_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER count_deleted AFTER DELETE ON usage_events REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION count_deleted();
"""


def test_the_end_of_an_account_looks_through_no_large_table(database: Database) -> None:
    small_or_emptied_before = {"api_keys", "job_turns", "usage_events"}
    slow = set()
    with database.transaction() as connection:
        schema = sa.inspect(connection)
        for table in schema.get_table_names():
            refers = any(key["referred_table"] == "accounts" for key in schema.get_foreign_keys(table))
            first_columns = {index["column_names"][0] for index in schema.get_indexes(table)}
            first_columns |= set(schema.get_pk_constraint(table)["constrained_columns"][:1])
            if refers and "account_id" not in first_columns:
                slow.add(table)

    assert slow == small_or_emptied_before


def test_a_deletion_that_is_killed_between_two_slices_is_finished_by_a_second_one(
    database: Database, account: Account, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_long_ledger(database, account, 25)
    monkeypatch.setattr(erasure, "_ROWS_AT_ONCE", 10)
    a_slice, calls = accounts.forget_some, iter([True, True, False])

    def killed_at_the_third(connection: Connection, account_id: UUID, at_most: int) -> int:
        assert next(calls), "killed here"
        return a_slice(connection, account_id, at_most)

    monkeypatch.setattr(accounts, "forget_some", killed_at_the_third)
    with pytest.raises(AssertionError, match="killed here"):
        erase_account(database, blobs, account.id)

    assert n_events(database, account) == 5
    assert reconcile(database) == 0  # what is half gone is not taken for a fault of the totals
    with pytest.raises(Unauthorized):
        work.submit(database, account)

    monkeypatch.setattr(accounts, "forget_some", a_slice)
    erase_account(database, blobs, account.id)
    assert tables_with(database, str(account.id)) == []


def test_an_account_with_a_job_is_not_forgotten_before_it(database: Database, account: Account, blobs: Blobs) -> None:
    job_id = work.submit(database, account)

    with database.transaction() as connection:
        assert not accounts.delete(connection, account.id)
    erase_job(database, blobs, job_id, account.id)
    with database.transaction() as connection:
        assert accounts.delete(connection, account.id)
        with pytest.raises(NotFound):
            accounts.by_name(connection, account.name)


def test_a_job_that_is_just_being_accepted_keeps_its_account(database: Database, account: Account) -> None:
    def delete() -> bool:
        with database.transaction() as connection:
            return accounts.delete(connection, account.id)

    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as connection:
            jobs.insert(connection, work.new_job(account))
            deleting = threads.submit(delete)
            until(lambda: work.waits_for_a_lock(database))
        assert not deleting.result(30)
    assert len(work.execute(database, "SELECT FROM jobs")) == 1


def test_two_who_delete_an_account_at_once_both_succeed(database: Database, blobs: Blobs) -> None:
    account = work.open_account(database, "grace", Tier.FREE)
    for _ in range(10):
        work.submit(database, account)

    answers = work.together(2, *[partial(erase_account, database, blobs, account.id)] * 2)

    assert all(type(answer) is int for answer in answers)
    assert tables_with(database, str(account.id)) == []
