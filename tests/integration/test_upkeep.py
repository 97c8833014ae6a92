"""Each chore of Beat's is run by one process at a time, once a period, and what it came to is kept, good or bad."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from core.dispatch import Bell
from core.store import upkeep
from core.store.accounts import Account
from core.store.blobs import Blobs, input_key
from core.store.session import Database
from core.store.upkeep import Ended, Record
from tests.integration import household, work
from tests.waiting import until
from workers.upkeep import Chore, Slice, Swept, Upkeep, run

HOUR = 3600.0


def records(database: Database) -> dict[str, Record]:
    with database.transaction() as connection:
        return {record.chore: record for record in upkeep.records(connection)}


def let_pass(database: Database, seconds: float) -> None:
    """So long ago is every run of before."""
    work.execute(database, "UPDATE upkeep SET started_at = started_at - make_interval(secs => :s)", s=seconds)


def counting(items: int = 1) -> tuple[Chore, list[str | None]]:
    """A chore that removes so many items, and where each of its runs began."""
    runs: list[str | None] = []

    def work_(its: Slice) -> Swept:
        runs.append(its.resume)
        return Swept(items)

    return Chore("count", HOUR, work_), runs


def fail(_: Slice) -> Swept:
    raise OSError("the store is away\nand more")


def test_what_a_run_came_to_is_kept(database: Database) -> None:
    chore, _ = counting(3)

    assert run(database, chore)

    record = records(database)["count"]
    assert (record.items_total, record.runs, record.failures, record.error) == (3, 1, 0, None)
    assert 0 <= record.duration_s < 60
    assert record.succeeded_at is not None
    assert record.started_at <= record.succeeded_at <= datetime.now(UTC)


def test_a_chore_is_run_once_a_period_however_often_it_is_rung(database: Database) -> None:
    chore, runs = counting()

    ran = [bool(run(database, chore)) for _ in range(3)]
    let_pass(database, HOUR - 1)  # ticks are not exact
    ran.append(bool(run(database, chore)))

    assert (ran, len(runs)) == ([True, False, False, True], 2)
    assert records(database)["count"].items_total == 2


def test_a_clock_that_was_ahead_and_was_set_back_stops_no_chore(database: Database) -> None:
    chore, runs = counting()
    run(database, chore)
    let_pass(database, -365 * 86400)

    assert run(database, chore)
    assert len(runs) == 2


def test_of_many_who_are_rung_at_once_one_runs(database: Database) -> None:
    chore, runs = counting()

    ran = work.together(8, *[partial(run, database, chore)] * 8)

    assert ([one for one in ran if one is not None], len(runs)) == ([Ended(1)], 1)


def test_nobody_runs_a_chore_that_another_is_at_and_other_chores_need_not_wait(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: Slice) -> Swept:
        begun.set()
        assert go_on.wait(30)
        return Swept(0)

    at_it = threading.Thread(target=run, args=(database, Chore("slow", HOUR, slow)))
    at_it.start()
    assert begun.wait(30)

    assert not run(database, Chore("slow", 0.001, fail))
    assert run(database, counting()[0])
    go_on.set()
    at_it.join()
    assert records(database)["slow"].failures == 0


def test_a_tick_waits_for_no_chore(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: Slice) -> Swept:
        begun.set()
        assert go_on.wait(30)
        return Swept(1)

    bell = Bell(Upkeep(database, [Chore("slow", HOUR, slow)]))
    bell.ring()
    assert begun.wait(30)
    bell.ring()  # a tick that comes meanwhile returns as well
    assert records(database) == {}
    go_on.set()
    bell.close()

    assert records(database)["slow"].runs == 1


def test_a_failure_is_kept_and_tried_again_after_the_period(database: Database) -> None:
    chore = Chore("count", HOUR, fail)
    succeeded = run(database, counting()[0]) and records(database)["count"].succeeded_at
    let_pass(database, HOUR)

    assert [bool(run(database, chore)) for _ in range(2)] == [True, False]

    record = records(database)["count"]
    assert (record.runs, record.failures, record.error) == (2, 1, "OSError: the store is away")
    assert record.succeeded_at == succeeded
    let_pass(database, HOUR)
    assert run(database, counting()[0])
    assert records(database)["count"].error is None


def test_a_chore_with_a_pause_waits_for_it_after_a_failure_from_its_end_on(database: Database) -> None:
    def try_it(work_: Callable[[Slice], Swept]) -> bool:
        return bool(run(database, Chore("dear", 60, work_, pause_s=HOUR)))

    assert try_it(fail)
    work.execute(database, "UPDATE upkeep SET duration_s = :s", s=HOUR)
    let_pass(database, HOUR + 60)
    assert not try_it(fail)
    let_pass(database, HOUR - 60)
    assert try_it(lambda _: Swept(1))

    let_pass(database, 60)
    assert try_it(lambda _: Swept(0))  # after a success the period counts


def test_a_chore_that_fails_keeps_no_other_from_its_run(database: Database) -> None:
    chore, runs = counting()

    assert Upkeep(database, [Chore("bad", HOUR, fail), chore]).round() == 2
    assert len(runs) == 1


def test_what_stops_half_way_goes_on_there_at_the_next_tick(database: Database) -> None:
    began: list[str | None] = []

    def in_two(its: Slice) -> Swept:
        began.append(its.resume)
        return Swept(1, resume=None if its.resume else "half")

    chore = Chore("long", HOUR, in_two)

    assert [bool(run(database, chore)) for _ in range(3)] == [True, True, False]
    assert began == [None, "half"]
    assert records(database)["long"].items_total == 2


def test_a_round_goes_on_until_nothing_stops_half_way_and_others_have_their_turn_meanwhile(database: Database) -> None:
    done: list[str] = []

    def long(its: Slice) -> Swept:
        part = int(its.resume or 0)
        done.append(f"part {part}")
        return Swept(1, resume=str(part + 1) if part < 2 else None)

    def short(_: Slice) -> Swept:
        done.append("short")
        return Swept(0)

    assert Upkeep(database, [Chore("long", HOUR, long), Chore("short", 1e-9, short)]).round() == 6
    assert done == ["part 0", "short", "part 1", "short", "part 2", "short"]


def test_a_round_does_not_go_on_with_what_fails_half_way(database: Database) -> None:
    half = Swept(1, passed_over=OSError("one stays"), resume="half")

    assert Upkeep(database, [Chore("long", HOUR, lambda _: half)]).round() == 1


def test_what_fails_half_way_goes_on_there_after_the_period(database: Database) -> None:
    run(database, Chore("long", HOUR, lambda _: Swept(1, resume="half")))

    assert run(database, Chore("long", HOUR, fail))
    assert not run(database, Chore("long", HOUR, fail))
    let_pass(database, HOUR)
    chore, runs = counting()
    assert run(database, Chore("long", HOUR, chore.work))
    assert runs == ["half"]


KILLED = """
import sys, time
from core.store.session import Database
from workers.upkeep import Chore, run

def hang(_):
    print("begun", flush=True)
    time.sleep(600)

run(Database(sys.argv[1]), Chore("count", 3600, hang))
"""


def test_a_process_that_is_killed_in_a_chore_blocks_nobody_and_leaves_no_record(
    database: Database, database_url: str
) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", KILLED, database_url], stdout=subprocess.PIPE, cwd=root)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    assert not run(database, counting()[0])

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert records(database) == {}
    until(lambda: run(database, counting()[0]), within_s=10)


def test_without_a_database_a_round_says_so(database: Database, database_url: str) -> None:
    nowhere = Database(database_url.replace("/test_", "/nowhere_"))

    with pytest.raises(OperationalError):
        Upkeep(nowhere, [counting()[0]]).round()


def test_a_media_store_that_is_away_is_a_failure_and_the_next_run_goes_on(
    database: Database, account: Account, tmp_path: Path
) -> None:
    folder = tmp_path / "blobs"
    blobs = Blobs(folder.as_uri())
    job_id = work.submit(database, account)
    blobs.put(input_key(job_id), b"media")
    work.execute(database, "UPDATE jobs SET expires_at = now()")
    folder.rename(tmp_path / "away")
    folder.write_bytes(b"a file where the store was")
    all_chores = household.all_chores(database, blobs)

    assert Upkeep(database, all_chores).round() == len(all_chores)

    failed = {chore for chore, record in records(database).items() if record.error}
    assert failed == {"expired_jobs", "chunk_audio", "orphan_blobs"}
    folder.unlink()
    (tmp_path / "away").rename(folder)
    let_pass(database, HOUR)
    Upkeep(database, all_chores).round()
    after = records(database)
    assert [record.error for record in after.values()] == [None] * len(all_chores)
    assert (after["expired_jobs"].items_total, after["expired_jobs"].failures) == (1, 1)
