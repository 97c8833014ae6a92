"""PostgreSQL decides what is sent: short windows, fair turns, and nothing sent twice without need."""

from __future__ import annotations

import base64
import json
from collections import Counter

import pytest
import redis

from core.dispatch import Dispatcher
from core.lanes import Lane, Tier
from core.store import interventions
from core.store.accounts import Account
from core.store.session import Database
from core.store.turns import IN_FLIGHT_PER_WORKER
from tests.integration import work


def test_a_waiting_chunk_is_sent_to_the_queue_of_its_stage_and_lane(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.submit(database, account, lane=Lane.BATCH)

    assert dispatcher.round() == 1
    assert broker.llen("io.batch") == 1


def test_a_message_names_the_stage_and_the_chunk_and_nothing_else(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    (chunk_id,) = work.queued(database, work.submit(database, account))
    dispatcher.round()

    (message,) = work.messages(broker, "io.express")
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (message["headers"]["task"], args, kwargs) == ("prepare", [str(chunk_id)], {})


def test_a_chunk_that_was_sent_is_not_sent_again(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.submit(database, account)

    assert [dispatcher.round() for _ in range(3)] == [1, 0, 0]


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_the_window_of_a_queue_grows_with_the_workers_that_live(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis, n_workers: int
) -> None:
    work.transcribing(database, account, 12)
    for n in range(n_workers):
        work.report_worker(database, "express", "batch", worker_id=f"w/{n}")

    dispatcher.round()

    assert broker.llen("express") == IN_FLIGHT_PER_WORKER * max(1, n_workers)


def test_a_worker_that_went_silent_has_no_window(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.transcribing(database, account, 12)
    for n in range(3):
        work.report_worker(database, "express", worker_id=f"w/{n}")
    work.execute(database, "UPDATE workers SET last_seen = now() - interval '1 minute' WHERE id <> 'w/0'")

    assert dispatcher.round() == IN_FLIGHT_PER_WORKER


def test_a_chunk_in_work_takes_its_place_in_the_window(
    database: Database, account: Account, dispatcher: Dispatcher
) -> None:
    job_id = work.transcribing(database, account, 12)
    held = work.claim_one(database, job_id)

    assert dispatcher.round() == IN_FLIGHT_PER_WORKER - 1
    work.complete(database, held)
    assert dispatcher.round() == 1


def test_a_full_queue_does_not_hold_up_another(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.transcribing(database, account, 12)
    dispatcher.round()
    work.transcribing(database, account, 12, Lane.BATCH)

    assert dispatcher.round() == IN_FLIGHT_PER_WORKER
    assert broker.llen("batch") == IN_FLIGHT_PER_WORKER


def test_accounts_take_turns_however_much_one_of_them_sends(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    large = [work.transcribing(database, account, 20) for _ in range(2)]
    small = work.transcribing(database, work.open_account(database, "grace"), 3)
    for n in range(3):
        work.report_worker(database, "express", worker_id=f"w/{n}")

    dispatcher.round()

    turns = Counter(work.jobs_of(database, work.sent(broker, "express")))
    assert turns[small] == 3
    assert sum(turns[job_id] for job_id in large) == 3


def test_the_jobs_of_an_account_take_turns(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    first, second = work.transcribing(database, account, 20), work.transcribing(database, account, 20)
    for n in range(2):
        work.report_worker(database, "express", worker_id=f"w/{n}")

    dispatcher.round()

    assert work.jobs_of(database, work.sent(broker, "express")) == [first, second, first, second]


def test_who_has_much_in_work_waits_for_who_has_nothing(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    busy = work.transcribing(database, account, 20)
    work.report_worker(database, "express", worker_id="w/0")
    work.report_worker(database, "express", worker_id="w/1")
    for _ in range(2):
        work.claim_one(database, busy)
    newcomer = work.transcribing(database, work.open_account(database, "grace"), 20)

    dispatcher.round()

    assert work.jobs_of(database, work.sent(broker, "express")) == [newcomer, newcomer]


def test_two_dispatchers_at_once_send_nothing_twice_and_never_exceed_the_window(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    work.transcribing(database, account, 50)
    for n in range(8):
        work.report_worker(database, "express", worker_id=f"w/{n}")

    published = work.together(6, *[dispatcher.round] * 6)

    assert sum(published) == 8 * IN_FLIGHT_PER_WORKER
    assert len(set(work.sent(broker, "express"))) == broker.llen("express") == 8 * IN_FLIGHT_PER_WORKER


def test_a_message_that_nobody_takes_is_sent_ever_more_rarely(
    database: Database, account: Account, dispatcher: Dispatcher
) -> None:
    work.submit(database, account)
    pauses = []
    for _ in range(5):
        assert dispatcher.round() == 1
        wait = "extract(epoch FROM dispatched_until - now())::int"
        pauses.append(work.execute(database, f"SELECT {wait} FROM chunks")[0][0])
        work.execute(database, "UPDATE chunks SET dispatched_until = now()")

    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[1]
    assert pauses[-1] <= 30 * 4


def test_a_chunk_that_waits_after_a_failure_is_not_sent_before_its_time(
    database: Database, account: Account, dispatcher: Dispatcher
) -> None:
    work.submit(database, account)
    work.execute(database, "UPDATE chunks SET retry_at = now() + interval '1 minute'")

    assert dispatcher.round() == 0


def test_a_cancelled_job_is_not_sent(database: Database, account: Account, dispatcher: Dispatcher) -> None:
    job_id = work.transcribing(database, account, 3)
    with database.transaction() as connection:
        interventions.cancel(connection, job_id, account.id)

    assert dispatcher.round() == 0


def test_the_tiers_do_not_change_the_turns(
    database: Database, account: Account, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    """Within a queue everybody is equal: what a tier pays for is its lane."""
    free = work.transcribing(database, work.open_account(database, "grace", Tier.FREE), 5, Lane.BATCH)
    paid = work.transcribing(database, account, 5, Lane.BATCH)

    dispatcher.round()

    assert Counter(work.jobs_of(database, work.sent(broker, "batch"))) == {free: 1, paid: 1}
