"""Turns are fair over time, whoever came first and however much one sends, and nothing waits for ever."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest

from core.job import JobKind, Stage
from core.lanes import Lane
from core.store import turns
from core.store.accounts import Account
from core.store.session import Database
from core.store.turns import Dispatched
from tests.integration import work


def serve(database: Database, n_chunks: int) -> list[UUID]:
    """One worker works so many chunks off, in the order in which they are sent; the jobs that they belong to."""
    under_way = (
        "SELECT id FROM chunks WHERE status = 'queued' AND dispatched_until IS NOT NULL ORDER BY dispatched_until"
    )
    sent: list[UUID] = [row.id for row in work.execute(database, under_way)]
    served: list[UUID] = []
    while len(served) < n_chunks:
        with database.transaction() as connection:
            sent += [chunk.chunk_id for chunk in turns.dispatch(connection, work.PROMISES)]
        claimed = work.claim(database, sent.pop(0))
        assert claimed is not None
        work.complete(database, claimed)
        served.append(claimed.job_id)
    return served


def queues(database: Database, job_id: UUID) -> Counter[str]:
    return Counter(row.queue for row in work.chunk_rows(database, job_id) if row.status == "queued")


def let_pass(database: Database, seconds: float) -> None:
    work.execute(database, "UPDATE chunks SET waiting_since = waiting_since - make_interval(secs => :s)", s=seconds)
    work.execute(database, "UPDATE account_turns SET served_at = served_at - make_interval(secs => :s)", s=seconds)


def dispatch(database: Database) -> list[Dispatched]:
    with database.transaction() as connection:
        return turns.dispatch(connection, work.PROMISES)


def move_up(database: Database) -> None:
    dispatch(database)
    work.execute(database, "UPDATE chunks SET dispatched_until = NULL WHERE status = 'queued'")


def test_a_newcomer_does_not_wait_for_the_long_jobs_of_others(database: Database, account: Account) -> None:
    for name in ("grace", "edsger"):
        work.transcribing(database, work.open_account(database, name), 30)
    serve(database, 6)
    short = work.transcribing(database, account, 1)

    # Two chunks were under way already, then each of the others may have its turn.
    assert short in serve(database, 2 + 3)


def test_a_second_job_of_an_account_does_not_wait_for_the_first(database: Database, account: Account) -> None:
    work.transcribing(database, account, 30)
    serve(database, 4)
    second = work.transcribing(database, account, 10)

    assert Counter(serve(database, 12))[second] in (5, 6)


def test_every_account_has_as_many_turns_as_any_other(database: Database) -> None:
    mine = {}
    for n in range(7):
        one = work.open_account(database, f"account {n}")
        mine.update({work.transcribing(database, one, 20): n for _ in range(1 + n % 3)})

    turns_had = Counter(mine[job_id] for job_id in serve(database, 42))

    assert max(turns_had.values()) - min(turns_had.values()) <= 1


def test_a_window_is_filled_however_unevenly_the_chunks_lie(database: Database, account: Account) -> None:
    for n in range(10):
        work.report_worker(database, "express", worker_id=f"w/{n}")
    for name, sizes in {"grace": [1, 1, 1], "edsger": [2], "barbara": [3, 40, 1]}.items():
        own = work.open_account(database, name)
        for size in sizes:
            work.transcribing(database, own, size)

    with database.transaction() as connection:
        sent = turns.dispatch(connection, work.PROMISES)

    assert len([chunk for chunk in sent if chunk.queue == "express"]) == 20


def test_chunks_of_a_job_are_sent_in_their_order(database: Database, account: Account) -> None:
    job_id = work.transcribing(database, account, 8)
    serve(database, 8)

    rows = work.execute(database, "SELECT ordinal FROM chunks WHERE stage = 'transcribe' ORDER BY finished_at")
    assert [row.ordinal for row in rows] == list(range(8)), job_id


def test_a_chunk_that_waited_past_its_lanes_promise_moves_up_once_for_each_lane(
    database: Database, account: Account
) -> None:
    job_id = work.transcribing(database, account, 1, Lane.BATCH)
    seen: list[str] = []
    for waited_s in (0, 3500, 101, 500, 101, 9000):
        let_pass(database, waited_s)
        move_up(database)
        seen.append(*queues(database, job_id))

    assert seen == ["batch", "batch", "standard", "standard", "express", "express"]


@pytest.mark.parametrize("n_workers", [0, 3])
def test_a_starving_lane_moves_up_as_many_at_a_time_as_workers_take_from_above(
    database: Database, account: Account, n_workers: int
) -> None:
    job_id = work.transcribing(database, account, 10, Lane.STANDARD)
    for n in range(n_workers):
        work.report_worker(database, "express", worker_id=f"w/{n}")
    let_pass(database, 601)
    seen = []
    for waited_s in (0, 1, 150):
        let_pass(database, waited_s)
        move_up(database)
        seen.append(queues(database, job_id)["express"])

    once = max(n_workers, 1)
    assert seen == [once, once, 2 * once]


def test_a_lane_that_is_served_late_does_not_crowd_the_one_above(database: Database, account: Account) -> None:
    late = work.transcribing(database, work.open_account(database, "grace"), 20, Lane.STANDARD)
    serve(database, 1)
    for _ in range(5):
        claimed = work.claim_one(database, late)
        let_pass(database, 601)  # a long chunk
        dispatch(database)
        work.complete(database, claimed)
        dispatch(database)
        assert set(queues(database, late)) == {"standard"}

    work.transcribing(database, account, 1)

    assert [chunk.queue for chunk in dispatch(database)] == ["express"]


def test_a_message_that_nobody_takes_does_not_count_as_service(database: Database, account: Account) -> None:
    job_id = work.transcribing(database, account, 5, Lane.STANDARD)
    for _ in range(21):
        let_pass(database, 30)
        work.execute(database, "UPDATE chunks SET dispatched_until = now() WHERE dispatched_until IS NOT NULL")
        dispatch(database)

    assert queues(database, job_id) == {"standard": 4, "express": 1}


def test_an_input_that_waits_to_be_opened_moves_up_like_a_chunk(database: Database, account: Account) -> None:
    job_id = work.submit(database, account, JobKind.DOCUMENT, lane=Lane.STANDARD)
    let_pass(database, 601)
    move_up(database)

    assert queues(database, job_id) == {"io.express": 1}


def test_batch_is_worked_although_express_never_ends(database: Database, account: Account) -> None:
    batch = work.transcribing(database, work.open_account(database, "grace"), 1, Lane.BATCH)
    work.transcribing(database, account, 200)
    waited_s = 0
    while [row.status for row in work.chunk_rows(database, batch, Stage.TRANSCRIBE)] != ["done"]:
        serve_express(database)
        let_pass(database, 300)
        waited_s += 300

    assert waited_s <= 3600 + 600 + 4 * 300


def serve_express(database: Database) -> None:
    """A worker that never gets to another lane, because there is always something in its first."""
    dispatch(database)
    query = "SELECT id FROM chunks WHERE queue = 'express' AND dispatched_until IS NOT NULL ORDER BY dispatched_until"
    claimed = work.claim(database, work.execute(database, query)[0].id)
    assert claimed is not None
    work.complete(database, claimed)
