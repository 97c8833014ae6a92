"""Every chore finds what it is for, and finds nothing when it is done again or by two at once."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from uuid_utils.compat import uuid7

from core import backup
from core.backup import nightly
from core.dispatch import Bell
from core.lanes import Lane
from core.settings import Settings
from core.store import speeds
from core.store.accounts import Account
from core.store.blobs import Blobs, chunk_key, input_key
from core.store.session import Database
from core.store.speeds import Measured
from core.tiers import Tiers
from tests.integration import household, quota, work
from tests.waiting import until
from workers import runtime
from workers.stages.context import Context
from workers.upkeep import Slice, Swept

TWO_YEARS = 25
"""Months after which a reported event goes."""


@dataclass(frozen=True)
class _Held:
    """Of a worker's context what upkeep needs."""

    database: Database
    blobs: Blobs
    tiers: Tiers


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def untidy(database: Database, account: Account, blobs: Blobs, tmp_path: Path) -> None:
    """Something for every chore; for `old_events`, of a month that `close_periods` has yet to report."""
    expired, completed = work.submit(database, account), work.submit(database, account)
    work.execute(database, "UPDATE jobs SET expires_at = now() WHERE id = :id", id=expired)
    work.finish(database, completed)
    quota.move_usage_to_last_month(database, TWO_YEARS)
    work.transcribing(database, account, 1)
    work.execute(database, "UPDATE usage_totals SET granted = 7 WHERE reserved > 0")
    blobs.put(chunk_key(completed, 0), b"audio")
    orphan = uuid7()
    blobs.put(input_key(orphan), b"media")
    for path in (tmp_path / "blobs" / "jobs" / str(orphan)).rglob("*"):
        os.utime(path, (0, 0))
    os.utime(tmp_path / "blobs" / "jobs" / str(orphan), (0, 0))
    work.report_worker(database, "express", worker_id="dead/0")
    work.execute(database, "UPDATE workers SET last_seen = now() - interval '1 minute'")
    with database.transaction() as connection:
        speeds.keep(connection, None, Lane.EXPRESS, Measured("gone/cpu", speech_s=60, infer_s=1))
    work.execute(database, "UPDATE speeds SET measured_at = now() - interval '2 days'")
    held = {"account": account.id, "id": uuid7()}
    key = "(account_id, key, token, expires_at) VALUES (:account, 'key', :id, now())"
    work.execute(database, f"INSERT INTO idempotency_keys {key}", **held)
    batch = "(id, account_id, lane, total, refused, expires_at) VALUES (:id, :account, 'batch', 1, '[{}]', now())"
    work.execute(database, f"INSERT INTO batches {batch}", **held)
    work.execute(database, "UPDATE accounts SET created_at = now() - interval '3 days'")
    index = "vectors_hnsw_gone_00000000 ON vectors USING hnsw ((vector::vector(3)) vector_cosine_ops)"
    work.execute(database, f"CREATE INDEX {index} WHERE model = 'gone'")


@pytest.mark.usefixtures("untidy")
def test_every_chore_has_something_to_do_once(database: Database, blobs: Blobs) -> None:
    every = household.all_chores(database, blobs)

    first = {chore.name: chore.work(Slice()).items for chore in every}
    again = {chore.name: chore.work(Slice()) for chore in every}

    assert {name for name, items in first.items() if items == 0} == set()
    assert again == {chore.name: Swept(0) for chore in every}


@pytest.mark.usefixtures("untidy")
def test_two_who_do_a_chore_at_once_do_no_harm(database: Database, blobs: Blobs) -> None:
    """Past the lock that keeps them apart, in case it is ever lost."""
    every = household.all_chores(database, blobs)

    for chore in every:
        answers = work.together(2, *[partial(chore.work, Slice())] * 2)
        assert [answer.passed_over for answer in answers] == [None, None], answers
        assert max(answer.items for answer in answers) > 0, chore.name

    assert [chore.work(Slice()) for chore in every] == [Swept(0)] * len(every)


def test_the_backup_of_a_day_is_made_once(database: Database, database_url: str, blobs: Blobs, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    back_up = partial(nightly, database_url, blobs, folder, keep=7)
    (chore,) = [one for one in household.all_chores(database, blobs, back_up=back_up) if one.name == "backup"]

    assert [chore.work(Slice()).items, chore.work(Slice()).items] == [1, 0]
    assert len([path for path in folder.iterdir() if path.name.startswith("scribelane-")]) == 1


def test_a_backup_that_takes_long_keeps_no_other_chore_from_its_run(
    database: Database, blobs: Blobs, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        begun.set()
        assert go_on.wait(60)

    monkeypatch.setattr(backup, "nightly", hang)
    own = settings.model_copy(update={"backup_dir": tmp_path / "backups"})
    others = {chore.name for chore in household.all_chores(database, blobs)}
    bells = [Bell(rounds) for rounds in runtime.upkeep(own, cast(Context, _Held(database, blobs, work.TIERS)))]

    def runs() -> dict[str, int]:
        return {row.chore: row.runs for row in work.execute(database, "SELECT chore, runs FROM upkeep")}

    for n in (1, 2):
        for bell in bells:
            bell.ring()
        assert begun.wait(30)
        until(lambda n=n: runs() == dict.fromkeys(others, n))  # type: ignore[misc]
        work.execute(database, "UPDATE upkeep SET started_at = started_at - interval '1 day'")
    go_on.set()
    until(lambda: work.execute(database, "SELECT FROM upkeep WHERE chore = 'backup' AND succeeded_at IS NOT NULL"))
    for bell in bells:
        bell.close()
